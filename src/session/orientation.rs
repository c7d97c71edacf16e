//! The orientation of frames: in tags from upstream, and in events within a track's chain.

use crate::model::Orientation;

const NAME: &str = "mediarecorder-turn";

/// An event that sets the orientation of the frames after it.
pub fn event(turn: Orientation) -> gst::Event {
    let structure = gst::Structure::builder(NAME).field("turn", turn.tag());
    gst::event::CustomDownstream::new(structure.build())
}

/// The orientation in such an event.
pub fn of_event(event: &gst::EventRef) -> Option<Orientation> {
    let turn = event.structure().filter(|s| s.name() == NAME)?;
    Orientation::from_tag(turn.get("turn").ok()?)
}

/// The orientation in a tag list.
pub fn of_tags(tags: &gst::TagListRef) -> Option<Orientation> {
    let tag = tags.get::<gst::tags::ImageOrientation>()?;
    Orientation::from_tag(tag.get())
}
