//! Pad probes in the private pipeline that contain panics: a panic fails the recording.

use super::panic_text;
use gst::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Prefix of the error of an element around which the recorder's own code has panicked.
pub const PANICKED: &str = "the recorder has failed";

/// Adds a probe of these `kinds` to `pad`. A panic in it becomes an error of the pad's element, as it could only
/// abort the process otherwise.
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
                gst::element_error!(element, gst::LibraryError::Failed, ["{PANICKED}: {what}"]);
            }
            match info.data {
                Some(_) => gst::PadProbeReturn::Ok,
                None => gst::PadProbeReturn::Handled,
            }
        })
    });
}

/// Lets `change` replace the caps that pass `pad`.
pub fn on_caps(
    pad: &gst::Pad,
    change: impl Fn(&gst::CapsRef) -> Option<gst::Caps> + Send + Sync + 'static,
) {
    probe(pad, gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        change_caps(info, &change);
        gst::PadProbeReturn::Ok
    });
}

/// If this is a CAPS event, lets `change` replace the caps.
pub fn change_caps(
    info: &mut gst::PadProbeInfo,
    change: impl FnOnce(&gst::CapsRef) -> Option<gst::Caps>,
) {
    if let Some(gst::PadProbeData::Event(event)) = &mut info.data
        && let gst::EventView::Caps(caps) = event.view()
        && let Some(caps) = change(caps.caps())
    {
        *event = gst::event::Caps::builder(&caps)
            .seqnum(event.seqnum())
            .build();
    }
}

/// Whether this is an EOS event.
pub fn is_eos(info: &gst::PadProbeInfo) -> bool {
    info.event()
        .is_some_and(|event| event.type_() == gst::EventType::Eos)
}

/// Drops the data of a probe.
pub fn leave_out(info: &mut gst::PadProbeInfo) -> gst::PadProbeReturn {
    // Taken and handled: for data dropped by a probe in Rust, 1.22 has one unref too many.
    drop(info.data.take());
    gst::PadProbeReturn::Handled
}
