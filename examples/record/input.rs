//! A file or URI to re-record: `--input`.

use anyhow::{Context, Result, bail};
use gst::prelude::*;

use crate::args::Args;
use crate::devices::Kind;
use crate::sources::{AUDIO_TAIL, Source, VIDEO_TAIL};

/// Timeout for finding its streams.
const LOOK_TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// The decoder, and a source for each requested track; the two are linked once it decodes.
pub fn open(name: &str, args: &Args) -> Result<(gst::Element, Vec<Source>)> {
    let uri = uri_of(name)?;
    let info = gst_pbutils::Discoverer::new(LOOK_TIMEOUT)?
        .discover_uri(&uri)
        .with_context(|| format!("{name} cannot be read"))?;
    // Cover art is not a video.
    let has_video = info.video_streams().iter().any(|video| !video.is_image());
    let mut sources = Vec::new();
    for (kind, wanted, tail) in [
        (
            Kind::Audio,
            args.wants_audio() && !info.audio_streams().is_empty(),
            AUDIO_TAIL,
        ),
        (Kind::Video, args.wants_video() && has_video, VIDEO_TAIL),
    ] {
        if wanted {
            sources.push(Source {
                kind,
                label: format!("{} of {name}", kind.content()),
                bin: gst::parse::bin_from_description(&format!("queue ! {tail}"), true)?,
            });
        }
    }
    if sources.is_empty() {
        bail!("{name} has no tracks to record");
    }
    Ok((decoder(&uri, &sources)?, sources))
}

fn uri_of(name: &str) -> Result<String> {
    if name.contains("://") {
        return Ok(name.to_owned());
    }
    let path = std::path::absolute(name)?;
    Ok(glib::filename_to_uri(&path, None)?.into())
}

/// The first track of each kind is linked to its source, others are not recorded.
fn decoder(uri: &str, sources: &[Source]) -> Result<gst::Element> {
    let decoder = gst::ElementFactory::make("uridecodebin")
        .property("uri", uri)
        .build()
        .context("the decoder cannot be made")?;
    let ends: Vec<_> = sources
        .iter()
        .filter_map(|source| Some((source.kind.raw(), source.bin.static_pad("sink")?)))
        .collect();
    decoder.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let name = caps.structure(0).map(|s| s.name());
        for (raw, end) in &ends {
            if name.is_some_and(|name| name == raw) && !end.is_linked() {
                // If the link fails, the decoder posts an error.
                let _ = pad.link(end);
            }
        }
    });
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_uris_are_distinguished() {
        gst::init().expect("GStreamer");
        assert_eq!(uri_of("https://a.b/c").expect("one"), "https://a.b/c");
        assert_eq!(uri_of("/a/b c.webm").expect("one"), "file:///a/b%20c.webm");
        assert!(uri_of("b.webm").expect("one").starts_with("file:///"));
    }
}
