//! Rotates frames upright according to their orientation tags: few containers can store an orientation, and none a
//! change in mid-stream.

use super::{
    exchange::Section,
    pipeline::make,
    probe::{leave_out, probe},
    timing::lock,
};
use crate::model::{Error, Orientation};
use gst::prelude::*;
use std::{sync::Mutex, time::Duration};

const NAME: &str = "mediarecorder-turn";

/// An event that sets the orientation of the frames after it.
pub fn event(turn: Orientation) -> gst::Event {
    let structure = gst::Structure::builder(NAME).field("turn", turn.tag());
    gst::event::CustomDownstream::new(structure.build())
}

/// The orientation in a tag list.
pub fn of_tags(tags: &gst::TagListRef) -> Option<Orientation> {
    let tag = tags.get::<gst::tags::ImageOrientation>()?;
    Orientation::from_tag(tag.get())
}

/// Links two pads of a track's chain, and rotates the frames between them as these events, and tags from decoders,
/// require. The tags are removed, as muxers that support orientation would apply it again.
///
/// A videoflip is only inserted once frames have to be rotated, since it supports fewer formats than encoders do.
pub fn follow(track: &str, upstream: &gst::Pad, downstream: &gst::Pad) {
    let section = Mutex::new(Flip {
        track: track.to_owned(),
        section: Section::new(upstream, downstream, Vec::new()),
        flip: None,
    });
    probe(
        upstream,
        gst::PadProbeType::EVENT_DOWNSTREAM,
        move |pad, info| {
            let Some(gst::PadProbeData::Event(event)) = &mut info.data else {
                return gst::PadProbeReturn::Ok;
            };
            let follow = |turn| {
                if let Err(error) = lock(&section).turn(turn)
                    && let Some(element) = pad.parent_element()
                {
                    gst::element_error!(element, gst::StreamError::Failed, ["{error}"]);
                }
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
            // No other element knows this event.
            leave_out(info)
        },
    );
}

/// A videoflip, once there is one.
#[derive(Debug)]
struct Flip {
    track: String,
    section: Section,
    flip: Option<gst::Element>,
}

impl Flip {
    /// Sets the orientation from here on. Call it while no frame passes.
    fn turn(&mut self, turn: Orientation) -> Result<(), Error> {
        if self.flip.is_none() && turn != Orientation::default() {
            let name = |step| format!("{}-{step}", self.track);
            let flip = make("videoflip", &name("videoflip"))?;
            let before = make("videoconvert", &name("to-flip"))?;
            let behind = make("videoconvert", &name("from-flip"))?;
            let elements = vec![before, flip.clone(), behind];
            self.section.exchange(elements, Duration::ZERO)?;
            self.flip = Some(flip);
        }
        if let Some(flip) = &self.flip {
            flip.set_property_from_str("video-direction", turn.direction());
        }
        Ok(())
    }
}
