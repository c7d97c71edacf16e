//! Pictures whose orientation changes in the middle of a recording are turned to what it was at
//! its beginning, which is what the file says.

use super::probe::probe;
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

/// Lets a `videoflip` do what is left to do after the file's own orientation, `first`.
pub fn follow(flip: &gst::Element, first: Orientation) {
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
            let rest = turn.then(first.inverse());
            flip.set_property_from_str("video-direction", rest.direction());
        }
        // Nobody else knows it.
        drop(info.data.take());
        gst::PadProbeReturn::Handled
    });
}
