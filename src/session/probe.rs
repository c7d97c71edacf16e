//! Pad probes of the private pipeline, out of which no panic gets: one fails the recording.

use super::panic_text;
use gst::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `probe` for what passes `pad` of these kinds. A panic in it, which could only abort the
/// process from there, is an error of the pad's element instead.
pub fn probe(
    pad: &gst::Pad,
    kinds: gst::PadProbeType,
    probe: impl Fn(&gst::Pad, &mut gst::PadProbeInfo) -> gst::PadProbeReturn + Send + Sync + 'static,
) {
    pad.add_probe(kinds, move |pad, info| {
        let contained = AssertUnwindSafe(|| {
            crate::fault::place("probe");
            probe(pad, info)
        });
        catch_unwind(contained).unwrap_or_else(|panic| {
            if let Some(element) = pad.parent_element() {
                let what = panic_text(&*panic);
                gst::element_error!(element, gst::LibraryError::Failed, ["{what}"]);
            }
            match info.data {
                Some(_) => gst::PadProbeReturn::Ok,
                None => gst::PadProbeReturn::Handled,
            }
        })
    });
}
