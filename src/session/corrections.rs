//! Deinterlaces frames and rotates them upright, from the first one that needs it on.
//!
//! An encoder is configured once, for interlaced or for progressive video, and few containers can store an orientation, none a
//! change in mid-stream. `deinterlace` and `videoflip` support fewer formats than encoders do, so they are inserted only when
//! they are needed, between converters.

use super::{
    exchange::Section,
    orientation::{of_event, of_tags},
    pipeline::make,
    probe::{leave_out, probe},
    timing::lock,
};
use crate::{
    formats,
    model::{Error, Orientation},
};
use gst::prelude::*;
use std::{sync::Mutex, time::Duration};

/// Links two pads of a track's chain, and corrects the frames between them as caps, orientation events, and tags from
/// decoders require. The tags are removed, as muxers that support orientation would apply it again.
///
/// `keeps_fields`: the encoder takes interlaced video. Frames that are rotated are deinterlaced even so.
pub fn follow(track: &str, (upstream, downstream): (&gst::Pad, &gst::Pad), keeps_fields: bool) {
    let corrections = Mutex::new(Corrections {
        track: track.to_owned(),
        section: Section::new(upstream, downstream, Vec::new()),
        keeps_fields,
        interlaced: false,
        turn: Orientation::default(),
        deinterlaces: false,
        flip: None,
    });
    probe(
        upstream,
        gst::PadProbeType::EVENT_DOWNSTREAM,
        move |pad, info| {
            let Some(gst::PadProbeData::Event(event)) = &mut info.data else {
                return gst::PadProbeReturn::Ok;
            };
            let correct = |change: &dyn Fn(&mut Corrections)| {
                let mut corrections = lock(&corrections);
                change(&mut corrections);
                if let Err(error) = corrections.apply()
                    && let Some(element) = pad.parent_element()
                {
                    gst::element_error!(element, gst::StreamError::Failed, ["{error}"]);
                }
            };
            match event.view() {
                gst::EventView::Caps(caps) => {
                    let info = formats::video_info(caps.caps());
                    let interlaced = info.is_some_and(|info| info.is_interlaced());
                    correct(&|corrections| corrections.interlaced = interlaced);
                }
                gst::EventView::Tag(tag) => {
                    if let Some(turn) = of_tags(tag.tag()) {
                        correct(&|corrections| corrections.turn = turn);
                        let mut rest = tag.tag_owned();
                        rest.make_mut().remove::<gst::tags::ImageOrientation>();
                        *event = gst::event::Tag::new(rest);
                    }
                }
                _ => {
                    if let Some(turn) = of_event(event) {
                        correct(&|corrections| corrections.turn = turn);
                        // No other element knows this event.
                        return leave_out(info);
                    }
                }
            }
            gst::PadProbeReturn::Ok
        },
    );
}

/// What is inserted, and what is needed for the frames that follow.
#[derive(Debug)]
struct Corrections {
    track: String,
    section: Section,
    keeps_fields: bool,
    interlaced: bool,
    turn: Orientation,
    /// Whether there is a deinterlacer.
    deinterlaces: bool,
    flip: Option<gst::Element>,
}

impl Corrections {
    /// Inserts what is missing. What is no longer needed stays, and passes frames on. Call it while no frame passes.
    fn apply(&mut self) -> Result<(), Error> {
        let turns = self.turn != Orientation::default();
        let deinterlaces = self.deinterlaces || self.interlaced && (turns || !self.keeps_fields);
        let flips = self.flip.is_some() || turns;
        if (deinterlaces, flips) != (self.deinterlaces, self.flip.is_some()) {
            let mut elements = vec![self.make("videoconvert", "to-corrections")?];
            if deinterlaces {
                let deinterlacer = self.make("deinterlace", "deinterlace")?;
                // As many frames as in the input, each with its duration unchanged, and none with a field from before a cut.
                deinterlacer.set_property_from_str("fields", "top");
                deinterlacer.set_property_from_str("method", "linear");
                elements.push(deinterlacer);
            }
            let flip = flips
                .then(|| self.make("videoflip", "videoflip"))
                .transpose()?;
            elements.extend(flip.clone());
            elements.push(self.make("videoconvert", "from-corrections")?);
            self.section.exchange(elements, Duration::ZERO)?;
            (self.deinterlaces, self.flip) = (deinterlaces, flip);
        }
        if let Some(flip) = &self.flip {
            flip.set_property_from_str("video-direction", self.turn.direction());
        }
        Ok(())
    }

    fn make(&self, factory: &str, step: &str) -> Result<gst::Element, Error> {
        make(factory, &format!("{}-{step}", self.track))
    }
}
