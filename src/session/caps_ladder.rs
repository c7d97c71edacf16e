//! Caps changes on a recorded track, and the chain that its media goes through after each.
//!
//! Watches the pad through which a track's media enters the pipeline, and calls [`formats::rung`] on each new caps.
//! If the media can continue as it is, the caps pass. If it has to be decoded, or no longer has to be, the caps are
//! held back until the first buffer with them arrives, and then the section downstream of the pad is exchanged:
//!
//! ```text
//! as it is     appsrc ──────────────────────────────────────────── parser ! capsfilter ! muxer
//! re-encoded   appsrc ! decodebin ! convert ! capsfilter ! encoder ! parser ! capsfilter ! muxer
//! raw track    appsrc ! decodebin ! convert ! capsfilter ! encoder …
//! ```

use super::{
    Settings,
    encoder_monitor::EncoderMonitor,
    encoding::{self, FailedEncoders, MadeFor, fix_form, front, set_up_encoder},
    exchange::Section,
    fixups::{self, ChainSpec},
    pipeline::{Listener, TrackMedia, factory_name, make},
    probe::{leave_out, probe},
    timing::lock,
};
use crate::{
    formats::{self, Recorded, Rung},
    log::CAT,
    model::{Codec, Error, Kind, timeline::Ns},
};
use gst::prelude::*;
use std::sync::{
    Arc, Mutex, Weak,
    atomic::{AtomicBool, Ordering},
};

/// What is recorded of a track, and what it takes to create an encoder when one is needed.
pub struct Watched<L> {
    pub recorded: Recorded,
    pub spec: ChainSpec,
    /// Its index among the tracks.
    pub index: usize,
    /// Name of its pad.
    pub name: String,
    pub bits_per_second: u32,
    pub queue_time: Ns,
    pub settings: Settings,
    pub failed: FailedEncoders,
    pub monitor: Arc<EncoderMonitor>,
    /// Set once output of another encoder is mixed with copied frames.
    pub is_mixed: Arc<AtomicBool>,
    /// The muxer's pad. Its caps are those of the track in the file.
    pub mux_pad: glib::WeakRef<gst::Pad>,
    pub listener: Weak<L>,
}

struct State {
    section: Section,
    /// The caps that the section was built for.
    current: Option<gst::Caps>,
    rung: Rung,
    /// The next buffer is the first with these caps.
    due: Option<(Rung, gst::Caps)>,
}

/// Watches the caps that pass `upstream` from now on.
pub fn watch<L: Listener>(upstream: &gst::Pad, section: Section, watched: Watched<L>) {
    // Another encoder may take over after a change.
    let goes_on = watched.spec.resumes && watched.recorded.copied;
    let state = Mutex::new(State {
        section,
        current: goes_on.then(|| watched.recorded.first.clone()),
        rung: Rung::AsIs,
        due: None,
    });
    let shared = Arc::new((watched, state));
    let both = gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(upstream, both, move |pad, info| {
        let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view()) else {
            return gst::PadProbeReturn::Ok;
        };
        let (watched, state) = &*shared;
        if lock(state).pass(watched, caps.caps()) {
            return gst::PadProbeReturn::Ok;
        }
        let shared = Arc::downgrade(&shared);
        probe(pad, gst::PadProbeType::BUFFER, move |pad, info| {
            let from = info.buffer().and_then(|buffer| buffer.pts());
            if let Some(shared) = shared.upgrade() {
                let (watched, state) = &*shared;
                // The exchange sends the pad's caps downstream, in this thread.
                let due = lock(state).due.take();
                if let Some((rung, caps)) = due {
                    lock(state).exchange(watched, pad, (rung, caps), from);
                }
            }
            gst::PadProbeReturn::Remove
        });
        leave_out(info)
    });
}

impl State {
    /// Whether the existing section can handle these caps.
    fn pass<L: Listener>(&mut self, watched: &Watched<L>, caps: &gst::CapsRef) -> bool {
        let known = self.current.as_deref() == Some(caps);
        if known || self.current.is_none() {
            self.due = None;
            self.current = Some(caps.to_owned());
            return true;
        }
        let rung = formats::rung(&watched.recorded, caps);
        if rung == Rung::AsIs && self.rung == Rung::AsIs {
            self.due = None;
            self.current = Some(caps.to_owned());
            return true;
        }
        self.due = Some((rung, caps.to_owned()));
        if rung != Rung::AsIs && watched.recorded.copied {
            watched.monitor.set_copied(false);
        }
        false
    }

    fn exchange<L: Listener>(
        &mut self,
        watched: &Watched<L>,
        upstream: &gst::Pad,
        (rung, caps): (Rung, gst::Caps),
        from: Option<gst::ClockTime>,
    ) {
        gst::info!(CAT, "{} continues with {caps}: {rung:?}", watched.name);
        let Some(listener) = watched.listener.upgrade() else {
            return;
        };
        self.rung = rung;
        self.current = Some(caps.clone());
        watched.is_mixed.store(true, Ordering::SeqCst);
        if rung == Rung::End {
            return self.end(watched, upstream, &listener, (&caps, from));
        }
        let made = watched.elements(rung, &caps, &listener);
        let encoder = made.as_ref().ok().and_then(|(_, encoder)| encoder.clone());
        let exchanged = made.and_then(|(elements, encoder)| {
            let patience = watched.settings.stop_timeout;
            if let (Some(from), Kind::Audio) = (from, watched.recorded.codec.kind())
                && !formats::is_raw(&caps)
                && rung == Rung::Reencode
            {
                let next = elements.get(1).and_then(|next| next.static_pad("sink"));
                if let Some(next) = next.or_else(|| self.section.downstream()) {
                    fixups::on_decoder(&next, from, &watched.spec);
                }
            }
            watched.monitor.set_starting(true);
            let exchanged = self.section.exchange(elements, patience);
            watched.monitor.set_starting(false);
            exchanged.map(|()| encoder)
        });
        match exchanged {
            Ok(encoder) if watched.recorded.copied => {
                if encoder.is_none() {
                    watched.monitor.abandon();
                    watched.monitor.set_copied(true);
                }
                listener.exchanged(watched.index, encoder.as_ref());
            }
            Ok(_) => {}
            // The input meant for it is in flight and is replayed to another encoder.
            Err(error) if encoder.is_some() => {
                if let Some(encoder) = encoder {
                    listener.encoder_failed(&encoder, error);
                }
                leave_all_out(upstream);
            }
            Err(error) => {
                gst::warning!(CAT, "{} cannot go on: {error}", watched.name);
                self.end(watched, upstream, &listener, (&caps, from));
            }
        }
    }

    fn end<L: Listener>(
        &mut self,
        watched: &Watched<L>,
        upstream: &gst::Pad,
        listener: &Arc<L>,
        (caps, from): (&gst::Caps, Option<gst::ClockTime>),
    ) {
        self.rung = Rung::End;
        if watched.goes_on_in_next(caps) {
            leave_media_out(upstream);
            return listener.left_out(watched.index, caps);
        }
        leave_all_out(upstream);
        let at = from.map_or(0, |from| {
            from.nseconds().saturating_sub(watched.spec.headroom())
        });
        // Before EOS gets into the file, after which the report would be ignored.
        listener.track_ends(watched.index, caps, at);
        self.section.end();
    }
}

impl<L: Listener> Watched<L> {
    /// The elements for media with these caps, and the encoder among them.
    fn elements(
        &self,
        rung: Rung,
        caps: &gst::Caps,
        listener: &Arc<L>,
    ) -> Result<(Vec<gst::Element>, Option<gst::Element>), Error> {
        let mut elements = Vec::new();
        if self.recorded.copied && rung == Rung::AsIs {
            return Ok((elements, None));
        }
        if !formats::is_raw(caps) {
            elements.push(make("decodebin", &format!("{}-decoder", self.name))?);
        }
        if !self.recorded.copied {
            return Ok((elements, None));
        }
        let form = self.form();
        let track = TrackMedia {
            name: &self.name,
            caps: form.clone(),
            bits_per_second: self.bits_per_second,
            queue_time: self.queue_time,
            lacks_dts: false,
            tags: None,
            in_flight: Arc::default(),
            overlap: Arc::default(),
        };
        let spec = ChainSpec {
            copied: false,
            takes_over: true,
            overlap: Arc::default(),
            caps: form.clone(),
            ..self.spec.clone()
        };
        let chain = front(&spec, &track)?;
        if let Some(filter) = chain.last() {
            fix_form(filter, &form, |_| true);
        }
        let made_for = MadeFor {
            track: &track,
            spec: &spec,
            settings: &self.settings,
            failed: &self.failed,
            key_at: None,
        };
        let entry = chain.last().and_then(|last| last.static_pad("src"));
        elements.extend(chain);
        let made = |encoder: &gst::Element| listener.encoder(self.index, encoder);
        let encoder = set_up_encoder(&made_for, made)?;
        self.join(&encoder);
        if let Some(entry) = entry {
            // Its packets are timestamped as if there were no encoder delay.
            let report = encoding::report(listener);
            self.monitor.watch(&entry, &encoder, 0, report);
        }
        elements.push(encoder.clone());
        Ok((elements, Some(encoder)))
    }

    /// Whether the next part, which is being prepared then, can hold media with these caps.
    fn goes_on_in_next(&self, caps: &gst::Caps) -> bool {
        let settings = &self.settings;
        let location = settings.location.as_deref();
        settings.may_split
            && self.recorded.copied
            && formats::copied_codec(caps, &settings.mime_type, location).is_some()
    }

    /// The raw caps that match the track in the file.
    fn form(&self) -> gst::Caps {
        let in_file = self.mux_pad.upgrade().and_then(|pad| pad.current_caps());
        let in_file = in_file.unwrap_or_else(|| self.recorded.first.clone());
        formats::decoded_form(self.recorded.codec, &in_file)
    }

    /// Makes the encoder's packets continue a track whose header has been written.
    fn join(&self, encoder: &gst::Element) {
        let codec = self.recorded.codec;
        if codec.kind() == Kind::Video {
            return;
        }
        if codec == Codec::Flac
            && let Some(longest) = formats::flac_block(&self.recorded.first)
            && longest < encoder.property::<u32>("blocksize")
        {
            encoder.set_property("blocksize", longest);
        }
        let factory = factory_name(encoder);
        let delay = factory.map_or(0, |factory| formats::encoder_delay(&factory));
        let Some(src) = encoder.static_pad("src") else {
            return;
        };
        let first = Mutex::new(None::<gst::ClockTime>);
        probe(&src, gst::PadProbeType::BUFFER, move |pad, info| {
            let Some(buffer) = info.buffer_mut() else {
                return gst::PadProbeReturn::Ok;
            };
            // The track already has its header.
            if buffer.flags().contains(gst::BufferFlags::HEADER) {
                return leave_out(info);
            }
            let (Some(pts), true) = (buffer.pts(), delay > 0) else {
                return gst::PadProbeReturn::Ok;
            };
            // Compensate for the encoder delay, of which the container knows nothing.
            let first = *lock(&first).get_or_insert(pts);
            let late = late(pad, delay).unwrap_or_default();
            if pts < first + late {
                return leave_out(info);
            }
            buffer.make_mut().set_pts(pts - late);
            buffer.make_mut().set_dts(None);
            gst::PadProbeReturn::Ok
        });
    }
}

/// Drops everything at this pad from now on.
fn leave_all_out(pad: &gst::Pad) {
    let all = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(pad, all, |_, info| leave_out(info));
}

/// Drops all media at this pad from now on; EOS passes.
fn leave_media_out(pad: &gst::Pad) {
    let media = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(pad, media, |_, info| {
        match info.event().map(|event| event.type_()) {
            Some(gst::EventType::Eos) => gst::PadProbeReturn::Ok,
            _ => leave_out(info),
        }
    });
}

/// The duration of this many samples on this pad.
fn late(pad: &gst::Pad, samples: u32) -> Option<gst::ClockTime> {
    let rate = pad.current_caps()?.structure(0)?.get::<i32>("rate").ok()?;
    let rate = u64::try_from(rate).ok()?.max(1);
    gst::ClockTime::SECOND.mul_div_round(samples.into(), rate)
}
