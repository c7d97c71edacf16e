//! Sends a track's caps to the muxer once; later parameter sets go in band.
//!
//! matroskamux refuses most changes of caps; from 1.26 on, where GstAggregator queues events, only if it handles the
//! event before the pushing thread has stored the caps in the pad. mp4mux 1.22 accepts them, but writes a longer `moov`
//! over the first fragment, which corrupts the file. Decoders need neither: H.264 and H.265 access units carry the new
//! parameter sets, and all other codecs signal changes in their frames.

use crate::formats::{self, ParameterSets};
use crate::model::Codec;
use crate::session::{probe::probe, timing::lock};
use std::sync::{Arc, Mutex};

/// The caps of a track.
#[derive(Debug, Default)]
struct Caps {
    /// The muxer's caps, set once media has followed them.
    first: Option<gst::Caps>,
    /// The most recent caps.
    newest: Option<gst::Caps>,
    /// Parameter sets of the first and of the most recent caps.
    first_sets: Option<ParameterSets>,
    sets: Option<ParameterSets>,
    /// Keyframes must carry parameter sets.
    in_band: bool,
    /// The next frame must carry parameter sets, even if it is not a keyframe.
    due: bool,
}

/// Which keyframes carry parameter sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InBand {
    /// All, since another encoder may take over.
    Always,
    /// Those after the first change; until then the payload is unmodified.
    OnceChanged,
}

/// Keeps changed caps from the muxer, and inserts the parameter sets of `codec` into the frames.
pub fn keep_first(mux_pad: &gst::Pad, codec: Codec, in_band: InBand) {
    let caps = Arc::new(Mutex::new(Caps {
        in_band: in_band == InBand::Always,
        ..Caps::default()
    }));
    let of_events = caps.clone();
    probe(
        mux_pad,
        gst::PadProbeType::EVENT_DOWNSTREAM,
        move |_, info| {
            if let Some(gst::PadProbeData::Event(event)) = &mut info.data
                && let gst::EventView::Caps(new) = event.view()
                && let Some(first) = lock(&of_events).change(codec, new.caps_owned())
            {
                *event = gst::event::Caps::builder(&first)
                    .seqnum(event.seqnum())
                    .build();
            }
            gst::PadProbeReturn::Ok
        },
    );
    let has_sets = matches!(codec, Codec::H264 | Codec::H265);
    probe(mux_pad, gst::PadProbeType::BUFFER, move |_, info| {
        let mut caps = lock(&caps);
        if caps.first.is_none() {
            caps.first = caps.newest.clone();
        }
        if !has_sets {
            return gst::PadProbeReturn::Remove;
        }
        if let Some(buffer) = info.buffer_mut() {
            caps.complete(buffer);
        }
        gst::PadProbeReturn::Ok
    });
}

impl Caps {
    /// Handles new caps. Returns the caps that the muxer already has, if any.
    fn change(&mut self, codec: Codec, new: gst::Caps) -> Option<gst::Caps> {
        if self.newest.as_ref() != Some(&new) {
            let sets = formats::parameter_sets(codec, &new);
            match (&self.sets, &sets) {
                (Some(old), Some(new)) if old.are_same(new) => {}
                (None, _) | (_, None) => {}
                _ => {
                    self.in_band = true;
                    self.due = true;
                }
            }
            if self.first.is_none() {
                self.first_sets = sets.clone();
                self.due = false;
            }
            self.sets = sets.or(self.sets.take());
            self.newest = Some(new);
        }
        self.first.clone()
    }

    /// Inserts the newest parameter sets into a frame that needs them, and converts its NAL length fields to the size
    /// in the muxer's caps.
    fn complete(&mut self, buffer: &mut gst::Buffer) {
        let (Some(first), Some(sets)) = (&self.first_sets, &self.sets) else {
            return;
        };
        let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let complete = self.in_band && is_key || self.due;
        self.due = false;
        let length_size = first.length_size();
        if !complete && length_size == sets.length_size() {
            return;
        }
        let Some(whole) = buffer
            .map_readable()
            .ok()
            .and_then(|bytes| sets.put_into(&bytes, length_size, complete))
        else {
            return;
        };
        let fields = buffer.make_mut();
        fields.remove_all_memory();
        fields.append_memory(gst::Memory::from_slice(whole));
    }
}
