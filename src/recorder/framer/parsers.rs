//! Which input may not be whole frames, and the parser for it.

/// The parser for media with these caps and its output caps; `None` if the buffers are whole frames already.
pub fn parser_for(caps: &gst::CapsRef) -> Option<(&'static str, gst::Caps)> {
    let structure = caps.structure(0)?;
    let text = |field| structure.get::<&str>(field).unwrap_or_default();
    let flag = |field| structure.get::<bool>(field) == Ok(true);
    let version = structure.get::<i32>("mpegversion").unwrap_or(0);
    let (format, alignment) = (text("stream-format"), text("alignment"));
    let name = structure.name().as_str();
    let wanted = gst::Caps::builder(name);
    let units = |format: &str, alignment: &str| {
        let wanted = gst::Caps::builder(name).field("stream-format", format);
        wanted.field("alignment", alignment).build()
    };
    match (name, format, alignment) {
        ("video/x-h264", "avc" | "avc3", "au") => None,
        ("video/x-h264", ..) => Some(("h264parse", units("avc", "au"))),
        ("video/x-h265", "hvc1" | "hev1", "au") => None,
        ("video/x-h265", ..) => Some(("h265parse", units("hvc1", "au"))),
        ("video/x-av1", "obu-stream", "tu") => None,
        ("video/x-av1", ..) => Some(("av1parse", units("obu-stream", "tu"))),
        ("video/mpeg", ..) => {
            let is_stream = structure.get::<bool>("systemstream") == Ok(false);
            let has_parser = is_stream && matches!(version, 1 | 2) && !flag("parsed");
            has_parser.then(|| ("mpegvideoparse", wanted.field("parsed", true).build()))
        }
        ("audio/mpeg", ..) if version == 1 => (!flag("parsed")).then(|| {
            let wanted = wanted.field("mpegversion", 1i32).field("parsed", true);
            ("mpegaudioparse", wanted.build())
        }),
        ("audio/mpeg", "adts", _) => (!flag("framed")).then(|| {
            let wanted = wanted.field("stream-format", "adts").field("framed", true);
            ("aacparse", wanted.build())
        }),
        _ => None,
    }
}

/// Whether caps have all a decoder needs; a parser of NAL units may learn the parameter sets after the rest.
pub fn are_complete(caps: &gst::CapsRef) -> bool {
    caps.structure(0).is_some_and(|structure| {
        let has_parameter_sets =
            matches!(structure.name().as_str(), "video/x-h264" | "video/x-h265");
        !has_parameter_sets || structure.has_field("codec_data")
    })
}
