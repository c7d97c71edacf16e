//! Removes invalid caps fields that elements trust without validation.

/// Maximum plausible frame rate.
const MAX_RATE: i64 = 100_000;

/// Encoded caps without such fields, and raw audio caps that explicitly mark unpositioned channels.
pub fn without_unreadable(caps: &gst::CapsRef) -> gst::Caps {
    let mut caps = caps.to_owned();
    if let Some(fields) = caps.structure(0)
        && fields.name() == "audio/x-raw"
        && fields
            .get::<i32>("channels")
            .is_ok_and(|channels| channels > 2)
        && !fields.has_field("channel-mask")
    {
        caps.make_mut().set("channel-mask", gst::Bitmask::new(0));
    }
    if !super::is_raw(&caps)
        && let Some(fields) = caps.make_mut().structure_mut(0)
    {
        take_out_unreadable(fields);
    }
    caps
}

/// Removes fields whose type or value muxers do not expect.
pub fn take_out_unreadable(fields: &mut gst::StructureRef) {
    if fields.get::<gst::Buffer>("codec_data").is_err() {
        fields.remove_field("codec_data");
    }
    if stream_header(fields).is_none() {
        fields.remove_field("streamheader");
    }
    if let Ok(ratio) = fields.get::<gst::Fraction>("pixel-aspect-ratio") {
        let size = |name| i64::from(fields.get::<i32>(name).unwrap_or(1).max(1));
        let (x, y) = (i64::from(ratio.numer()), i64::from(ratio.denom()));
        let fits = |size: i64, by: i64| {
            size.checked_mul(by)
                .is_some_and(|n| i32::try_from(n).is_ok())
        };
        if x <= 0 || y <= 0 || !fits(size("width"), x) || !fits(size("height"), y) {
            fields.remove_field("pixel-aspect-ratio");
        }
    }
    if let Ok(rate) = fields.get::<gst::Fraction>("framerate")
        && (rate.numer() < 0 || i64::from(rate.numer()) > MAX_RATE * i64::from(rate.denom()))
    {
        fields.remove_field("framerate");
    }
    if let Ok(colorimetry) = fields.get::<&str>("colorimetry")
        && !is_colorimetry(colorimetry)
    {
        fields.remove_field("colorimetry");
    }
}

/// Whether it is a colorimetry name, or consists of four numbers that GStreamer knows.
fn is_colorimetry(text: &str) -> bool {
    /// One above the maximum for range, matrix, transfer function and primaries.
    const ENDS: [u32; 4] = [3, 7, 17, 12];
    let numbers: Vec<&str> = text.split(':').collect();
    if numbers.len() != ENDS.len() {
        return text.parse::<gst_video::VideoColorimetry>().is_ok();
    }
    let known = |(number, end): (&&str, u32)| number.parse::<u32>().is_ok_and(|n| n < end);
    numbers.iter().zip(ENDS).all(known)
}

/// The first stream header; `None` unless all headers are non-empty buffers.
pub fn stream_header(fields: &gst::StructureRef) -> Option<Vec<u8>> {
    let list = fields.get::<gst::Array>("streamheader").ok()?;
    let buffers: Option<Vec<gst::Buffer>> = list.iter().map(|value| value.get().ok()).collect();
    let buffers = buffers?;
    let whole = buffers.iter().all(|buffer| buffer.size() > 0);
    let first = buffers.first().filter(|_| whole)?;
    Some(first.map_readable().ok()?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(text: &str) -> gst::Caps {
        let caps: gst::Caps = text.parse().unwrap();
        without_unreadable(&caps)
    }

    #[test]
    fn fields_that_break_elements_are_removed() {
        gst::init().unwrap();
        let plain = left("video/x-vp8,width=64,height=48");
        for field in [
            "codec_data=(string)text",
            "streamheader=(string)text",
            "streamheader=(string)<text>",
            "streamheader=(buffer)<>",
            "pixel-aspect-ratio=0/1",
            "pixel-aspect-ratio=-1/1",
            "pixel-aspect-ratio=1/2147483647",
            "framerate=-30/1",
            "framerate=1073741824/1",
            "colorimetry=1:4:999:-5",
            "colorimetry=brown",
        ] {
            let text = format!("video/x-vp8,width=64,height=48,{field}");
            assert_eq!(left(&text), plain, "{field}");
        }
    }

    #[test]
    fn readable_media_is_kept() {
        gst::init().unwrap();
        for field in [
            "codec_data=(buffer)00",
            "streamheader=(buffer)<00,01>",
            "pixel-aspect-ratio=16/11",
            "framerate=0/1",
            "framerate=30000/1001",
            "colorimetry=1:4:5:1",
            "colorimetry=bt709",
        ] {
            let text = format!("video/x-vp8,width=64,height=48,{field}");
            assert_eq!(left(&text), text.parse::<gst::Caps>().unwrap(), "{field}");
        }
    }
}
