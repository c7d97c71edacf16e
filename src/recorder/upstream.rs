//! Liveness and latency of a track's upstream.

use gst::prelude::*;
use gst_base::prelude::*;
use std::time::Duration;

/// Maximum number of elements to search for a source: guards against loops.
const FARTHEST: usize = 64;

/// See the module.
#[derive(Clone, Copy)]
pub struct Upstream {
    /// Whether media arrives as it is captured.
    pub live: bool,
    /// Latency of the media.
    pub latency: Duration,
}

impl Upstream {
    /// Without an answer.
    pub const UNKNOWN: Self = Upstream {
        live: false,
        latency: Duration::ZERO,
    };

    /// Queries the latency upstream of a sink pad. A source that does not know its format yet does not answer, and
    /// elements after it may report it as non-live: then the source's own liveness counts.
    pub fn of(pad: &gst::Pad) -> Self {
        let mut query = gst::query::Latency::new();
        let (live, least) = if pad.peer_query(&mut query) {
            (query.result().0, query.result().1)
        } else {
            (false, gst::ClockTime::ZERO)
        };
        Upstream {
            live: live || comes_live(pad, FARTHEST),
            latency: Duration::from_nanos(least.nseconds()),
        }
    }
}

/// Whether a live source is upstream of a sink pad.
fn comes_live(pad: &gst::Pad, farthest: usize) -> bool {
    match pad.peer().filter(|_| farthest > 0) {
        Some(peer) => brings_live(peer, farthest - 1),
        None => false,
    }
}

/// Whether the stream of this src pad comes from a live source.
fn brings_live(pad: gst::Pad, farthest: usize) -> bool {
    let pad = match pad.downcast::<gst::GhostPad>() {
        // Into a bin …
        Ok(ghost) => {
            let inside = ghost.target().filter(|_| farthest > 0);
            return inside.is_some_and(|pad| brings_live(pad, farthest - 1));
        }
        Err(pad) => pad,
    };
    // … and out of one.
    if let Some(proxy) = pad.downcast_ref::<gst::ProxyPad>() {
        let outside = proxy.internal();
        return outside.is_some_and(|pad| comes_live(pad.upcast_ref(), farthest));
    }
    let Some(element) = pad.parent_element() else {
        return false;
    };
    match element.downcast_ref::<gst_base::BaseSrc>() {
        Some(source) => source.is_live(),
        None => {
            let mut pads = element.sink_pads().into_iter();
            pads.any(|pad| comes_live(&pad, farthest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_source_is_detected_through_bins_before_it_has_caps() {
        gst::init().unwrap();
        for (live, upstream) in [
            (
                "true",
                "audiotestsrc is-live=true name=source ! queue ! identity",
            ),
            ("false", "audiotestsrc name=source ! queue ! identity"),
            (
                "true",
                "videotestsrc is-live=true name=source ! tee ! queue ! videoconvert",
            ),
        ] {
            let bin = gst::parse::bin_from_description(upstream, true).unwrap();
            let outer = gst::Bin::new();
            outer.add(&bin).unwrap();
            let inner = bin.static_pad("src").unwrap();
            let ghost = gst::GhostPad::with_target(&inner).unwrap();
            outer.add_pad(&ghost).unwrap();
            let sink = gst::ElementFactory::make("fakesink").build().unwrap();
            let pipeline = gst::Pipeline::new();
            pipeline.add_many([outer.upcast_ref(), &sink]).unwrap();
            outer.link(&sink).unwrap();
            let pad = sink.static_pad("sink").unwrap();
            assert_eq!(Upstream::of(&pad).live.to_string(), live, "{upstream}");
        }
    }
}
