//! `GstMediaRecorderPad`: a track, with what has passed it.

use crate::{
    formats,
    gate::Input,
    model::timeline::Ns,
    session::{RunningTime, Session, lock},
};
use glib::subclass::prelude::*;
use gst::{prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;
use smallvec::SmallVec;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

glib::wrapper! {
    /// A sink pad of the recorder: one track.
    pub struct MediaRecorderPad(ObjectSubclass<imp::MediaRecorderPad>)
        @extends gst::Pad, gst::Object;
}

/// Running time beyond this (73 years) is a broken stamp.
const FURTHEST: Ns = Ns::MAX / 8;
/// A buffer that says it is longer does not know how long it is.
const LONGEST: gst::ClockTime = gst::ClockTime::from_seconds(86_400);

/// A recording and the number of this pad's track in it.
pub(super) type Taker = (Arc<Session>, usize);

/// What the pad knows of its stream. Guarded by one lock that is never held while a buffer is
/// given to a recording, a query is made or a signal emitted.
#[derive(Default)]
pub(super) struct Stream {
    pub segment: gst::FormattedSegment<gst::ClockTime>,
    pub caps: Option<gst::Caps>,
    /// Sample rate and bytes per sample of all channels, of raw audio.
    samples: Option<(u64, u64)>,
    pub tags: Option<gst::TagList>,
    pub eos: bool,
    pub flushing: bool,
    /// The pad is being released.
    pub released: bool,
    /// The newest buffer: at `start` it is the picture on show, or holds the first samples.
    recent: Option<Input>,
    takers: SmallVec<[Taker; 1]>,
    /// Running time of the end of the newest buffer.
    end: Ns,
    /// What has to be added to running time after a flush.
    shift: Ns,
}

impl Stream {
    /// Sets the caps and says whether they are new.
    pub fn set_caps(&mut self, caps: &gst::Caps) -> bool {
        let info = formats::audio_info(caps);
        self.samples = info
            .filter(|info| info.rate() > 0 && info.bpf() > 0)
            .map(|info| (u64::from(info.rate()), u64::from(info.bpf())));
        self.caps.replace(caps.clone()).as_ref() != Some(caps)
    }

    /// Places a buffer in running time; `None` if it lies outside the segment, or beyond reason.
    pub fn place(&self, buffer: gst::Buffer) -> Option<Input> {
        let duration = self
            .duration(&buffer)
            .filter(|duration| *duration < LONGEST);
        let running = match buffer.pts().or(buffer.dts()) {
            None => self.end,
            Some(pts) => {
                let end = duration.map(|duration| pts.saturating_add(duration));
                // What begins before the segment is kept whole where it reaches into it.
                let (start, _) = self.segment.clip(pts, end)?;
                let start = start.unwrap_or(pts);
                let inside = self.segment.to_running_time(start)?;
                let before = start.saturating_sub(pts);
                let running = inside.saturating_sub(before).nseconds();
                running.saturating_add(self.shift)
            }
        };
        if running > FURTHEST {
            return None;
        }
        Some(Input {
            buffer,
            running,
            duration: duration.map(|duration| duration.nseconds()),
        })
    }

    /// How long a buffer lasts: of raw audio the count of samples tells, of which stamps are
    /// roundings.
    fn duration(&self, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
        let Some((rate, bytes)) = self.samples else {
            return buffer.duration();
        };
        let samples = buffer.size() as u64 / bytes;
        let exact = samples.saturating_mul(1_000_000_000) / rate;
        let exact = gst::ClockTime::from_nseconds(exact);
        let rounded = |stamp: &gst::ClockTime| stamp.absdiff(exact).nseconds() <= 1;
        Some(buffer.duration().filter(rounded).unwrap_or(exact))
    }

    /// Running time of a position in the segment.
    pub fn running(&self, position: gst::ClockTime) -> Option<Ns> {
        let running = self.segment.to_running_time(position)?;
        let running = running.nseconds().saturating_add(self.shift);
        (running <= FURTHEST).then_some(running)
    }

    /// Remembers a buffer, and gives back who takes it.
    pub fn pass(&mut self, input: &Input) -> SmallVec<[Taker; 1]> {
        self.end = input.end();
        self.recent = Some(input.clone());
        self.takers.clone()
    }

    /// Who takes this pad's stream.
    pub fn takers(&self) -> SmallVec<[Taker; 1]> {
        self.takers.clone()
    }

    /// The stream goes to one more recording, beginning with the newest buffer.
    pub fn give_to(&mut self, session: &Arc<Session>, track: usize) {
        // What has come since the recording was put together counts too.
        if let Some(caps) = &self.caps {
            session.set_caps(track, caps);
        }
        if let Some(recent) = &self.recent {
            session.replay(track, recent.clone());
        }
        if self.eos || self.released {
            session.end_track(track);
        }
        self.takers.push((session.clone(), track));
    }

    /// The stream does not go to this recording any more.
    pub fn keep_from(&mut self, session: u64) {
        self.takers.retain(|(taker, _)| taker.id() != session);
    }

    /// A flush: the stream begins anew, recorded time goes on.
    pub fn flushed(&mut self, reset_time: bool, clock: &RunningTime) {
        self.flushing = false;
        self.eos = false;
        self.segment = gst::FormattedSegment::new();
        self.recent = None;
        if reset_time {
            self.shift = clock.shift();
        }
    }
}

mod imp {
    use super::*;

    #[derive(Default)]
    pub struct MediaRecorderPad {
        pub(in super::super) stream: Mutex<Stream>,
        mute: AtomicBool,
        /// Flushes that set running time back, so far.
        pub(in super::super) epoch: std::sync::atomic::AtomicU64,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for MediaRecorderPad {
        const NAME: &'static str = "GstMediaRecorderPad";
        type Type = super::MediaRecorderPad;
        type ParentType = gst::Pad;
    }

    impl ObjectImpl for MediaRecorderPad {
        fn properties() -> &'static [glib::ParamSpec] {
            static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
                vec![
                    glib::ParamSpecBoolean::builder("mute")
                        .nick("Mute")
                        .blurb("Record silence or black instead of this track while TRUE")
                        .default_value(false)
                        .mutable_playing()
                        .controllable()
                        .build(),
                ]
            });
            &PROPERTIES
        }

        fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
            if let ("mute", Ok(mute)) = (pspec.name(), value.get::<bool>()) {
                self.mute.store(mute, Ordering::SeqCst);
                let takers = lock(&self.stream).takers();
                for (session, track) in takers {
                    session.contain(|session| session.mute(track, mute));
                }
            }
        }

        fn property(&self, _id: usize, _pspec: &glib::ParamSpec) -> glib::Value {
            self.mute.load(Ordering::SeqCst).to_value()
        }
    }

    impl GstObjectImpl for MediaRecorderPad {}
    impl PadImpl for MediaRecorderPad {}
}

impl MediaRecorderPad {
    /// The pad's stream, locked.
    pub(super) fn stream(&self) -> std::sync::MutexGuard<'_, Stream> {
        lock(&self.imp().stream)
    }

    /// Another flush has set running time back; gives the number of them.
    pub(super) fn next_epoch(&self) -> u64 {
        self.imp().epoch.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Forgets the stream, for a new READY→PAUSED.
    pub(super) fn reset(&self) {
        *self.stream() = Stream::default();
        self.imp().epoch.store(0, Ordering::SeqCst);
    }

    /// Whether silence or black is recorded instead of this track.
    pub fn is_muted(&self) -> bool {
        self.property("mute")
    }
}
