//! A muxer gets the caps of a track once; parameter sets that change later travel in band.
//!
//! matroskamux refuses most other caps. mp4mux takes them, and rewrites a longer `moov` over the first fragment,
//! which loses the file. Decoders need neither: H.264 and H.265 have their parameter sets in the access units from the
//! change on, all other codecs have what changes in their frames.

use crate::formats::{self, ParameterSets};
use crate::model::Codec;
use crate::session::{probe::probe, timing::lock};
use std::sync::{Arc, Mutex};

/// What is known of a track's caps.
#[derive(Debug, Default)]
struct Caps {
    /// Those that the muxer has, once media has followed them.
    first: Option<gst::Caps>,
    /// Those that have come last.
    newest: Option<gst::Caps>,
    /// The sets that the first caps have, and the newest.
    first_sets: Option<ParameterSets>,
    sets: Option<ParameterSets>,
    /// Key frames have to have their sets with them.
    in_band: bool,
    /// The next frame has to have them, whatever it is.
    due: bool,
}

/// From when on key frames have their parameter sets with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InBand {
    /// From the first on: another encoder may take over.
    Always,
    /// From the first change on: until then media stays as it came.
    OnceChanged,
}

/// Keeps later caps from the muxer of this pad, and puts parameter sets of `codec` into its frames.
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
    /// Other caps come; gives those that the muxer has got, if it has.
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

    /// Puts the newest sets into a frame that needs them, and gives it lengths as the container knows them.
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
