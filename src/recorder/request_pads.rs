//! Sink pads: request and release.

use super::{MediaRecorderPad, imp::MediaRecorder};
use crate::session::lock;
use gst::{prelude::*, subclass::prelude::*};

impl MediaRecorder {
    pub(super) fn request_pad(
        &self,
        template: &gst::PadTemplate,
        name: Option<&str>,
    ) -> Option<gst::Pad> {
        let name = self.pad_name(template, name)?;
        let pad = gst::PadBuilder::<MediaRecorderPad>::from_template(template)
            .name(&name)
            .chain_function(|pad, parent, buffer| {
                MediaRecorder::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    // Even then upstream must not be affected.
                    |recorder| {
                        let go_on = Ok(gst::FlowSuccess::Ok);
                        recorder.contain(go_on, || recorder.chain(pad, buffer))
                    },
                )
            })
            .event_function(|pad, parent, event| {
                MediaRecorder::catch_panic_pad_function(
                    parent,
                    || false,
                    |recorder| recorder.contain(true, || recorder.sink_event(pad, event)),
                )
            })
            .query_function(|pad, parent, query| {
                MediaRecorder::catch_panic_pad_function(
                    parent,
                    || false,
                    |recorder| recorder.contain(false, || recorder.sink_query(pad, query)),
                )
            })
            // Input ends here: `src` is a separate stream, and may be blocked.
            .iterate_internal_links_function(|_, _| gst::Iterator::from_vec(Vec::new()))
            .build();
        // Shares the running-time base of the other pads.
        let epoch = *lock(&self.epoch);
        pad.join(epoch, &self.clock);
        let obj = self.obj();
        if obj.current_state() >= gst::State::Paused
            && let Err(err) = pad.set_active(true)
        {
            gst::error!(super::imp::CAT, imp = self, "cannot activate {name}: {err}");
        }
        obj.add_pad(&pad).ok()?;
        obj.set_element_flags(gst::ElementFlags::SINK);
        obj.child_added(&pad, &name);
        self.keep_past_of(&pad);
        self.tracks_modified(format!(
            "Pad {name} was requested during a recording, whose tracks cannot change. The new pad can be used from \
             the next recording on; request pads before start."
        ));
        Some(pad.upcast())
    }

    /// The requested name, or the next free one.
    fn pad_name(&self, template: &gst::PadTemplate, name: Option<&str>) -> Option<String> {
        let (kind, index) = if template.name_template().starts_with("audio") {
            ("audio_", 0)
        } else {
            ("video_", 1)
        };
        let obj = self.obj();
        if let Some(number) = name.and_then(|name| name.strip_prefix(kind)?.parse::<u32>().ok()) {
            let mut control = lock(&self.control);
            if let Some(next) = control.next_pad.get_mut(index) {
                *next = (*next).max(number.saturating_add(1));
            }
            drop(control);
            let name = format!("{kind}{number}");
            return obj.static_pad(&name).is_none().then_some(name);
        }
        loop {
            let mut control = lock(&self.control);
            let next = control.next_pad.get_mut(index)?;
            let name = format!("{kind}{next}");
            *next = next.checked_add(1)?;
            drop(control);
            if obj.static_pad(&name).is_none() {
                return Some(name);
            }
        }
    }

    pub(super) fn release_sink_pad(&self, pad: &gst::Pad) {
        let Some(pad) = pad.downcast_ref::<MediaRecorderPad>() else {
            return;
        };
        let name = pad.name();
        let (ended, subscribers) = {
            let mut stream = pad.stream();
            stream.flushing = true;
            stream.released = true;
            (stream.eos, stream.subscribers())
        };
        for subscriber in &subscribers {
            subscriber.set_flushing(true);
        }
        self.wake_held();
        if !ended {
            self.tracks_modified(format!(
                "Pad {name} was released during a recording, before EOS: the tracks of a recording cannot change. \
                 Send EOS to a track that ends early."
            ));
        }
        for subscriber in subscribers {
            subscriber.end_track();
        }
        self.forget_past_of(pad);
        let obj = self.obj();
        // Deactivation unblocks a thread that waits in the pad.
        let _ = pad.set_active(false);
        obj.child_removed(pad, &name);
        let _ = obj.remove_pad(pad);
        if obj.num_sink_pads() == 0 && obj.current_state() >= gst::State::Paused {
            self.last_pad_gone();
        }
        self.follow_video_size();
        self.check_end_of_stream();
    }

    /// In PLAYING, the removal of the last pad counts as EOS.
    fn last_pad_gone(&self) {
        let playing = lock(&self.hold).playing;
        if playing {
            let mut control = lock(&self.control);
            control.eos_seqnum.get_or_insert_with(gst::Seqnum::next);
        } else {
            self.be_sink_of_pads();
        }
    }
}
