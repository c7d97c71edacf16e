//! Pictures that say how they have to be turned to stand upright are turned so: few containers have a
//! place for it, and none for a change of it in the middle.

use super::probe::{leave_out, probe};
use crate::model::Orientation;
use gst::prelude::*;

const NAME: &str = "mediarecorder-turn";

/// Pictures behind this event have to be turned so.
pub fn event(turn: Orientation) -> gst::Event {
    let structure = gst::Structure::builder(NAME).field("turn", turn.tag());
    gst::event::CustomDownstream::new(structure.build())
}

/// The orientation that tags tell.
pub fn of_tags(tags: &gst::TagListRef) -> Option<Orientation> {
    let tag = tags.get::<gst::tags::ImageOrientation>()?;
    Orientation::from_tag(tag.get())
}

/// Lets a `videoflip` do what the events say.
pub fn follow(flip: &gst::Element) {
    let Some(pad) = flip.static_pad("sink") else {
        return;
    };
    let flip = flip.downgrade();
    probe(&pad, gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let turn = info.event().and_then(|event| {
            let structure = event.structure().filter(|s| s.name() == NAME)?;
            Orientation::from_tag(structure.get("turn").ok()?)
        });
        let Some(turn) = turn else {
            return gst::PadProbeReturn::Ok;
        };
        if let Some(flip) = flip.upgrade() {
            flip.set_property_from_str("video-direction", turn.direction());
        }
        // Nobody else knows it.
        leave_out(info)
    });
}
