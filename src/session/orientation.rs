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

/// Lets a `videoflip` do what the events say, and what the tags of decoded pictures say. Behind it
/// nothing says that they have to be turned: muxers that have a place for it would have it done twice.
pub fn follow(flip: &gst::Element) {
    let Some(pad) = flip.static_pad("sink") else {
        return;
    };
    let flip = flip.downgrade();
    let follow = move |turn: Orientation| {
        if let Some(flip) = flip.upgrade() {
            flip.set_property_from_str("video-direction", turn.direction());
        }
    };
    probe(&pad, gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let Some(gst::PadProbeData::Event(event)) = &mut info.data else {
            return gst::PadProbeReturn::Ok;
        };
        if let gst::EventView::Tag(tag) = event.view() {
            if let Some(turn) = of_tags(tag.tag()) {
                follow(turn);
                let mut rest = tag.tag_owned();
                rest.make_mut().remove::<gst::tags::ImageOrientation>();
                *event = gst::event::Tag::new(rest);
            }
            return gst::PadProbeReturn::Ok;
        }
        let turn = event.structure().filter(|s| s.name() == NAME);
        let Some(turn) = turn.and_then(|s| Orientation::from_tag(s.get("turn").ok()?)) else {
            return gst::PadProbeReturn::Ok;
        };
        follow(turn);
        // Nobody else knows it.
        leave_out(info)
    });
}
