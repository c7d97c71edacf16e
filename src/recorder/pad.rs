//! `GstMediaRecorderPad`: a track, with the state of its stream.

mod frame_layout;
mod placement;

use self::frame_layout::FrameLayout;
use super::{framer::Framer, subscriber::Subscriber, toc};
use crate::{
    formats,
    gate::Input,
    model::{Kind, stamps::LONGEST_HOLE, timeline::Ns},
    session::{RunningTime, lock},
};
use glib::subclass::prelude::*;
use gst::{prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;
use smallvec::SmallVec;
use std::sync::{
    Arc, Mutex, MutexGuard, TryLockError,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

glib::wrapper! {
    /// A sink pad of the recorder: one track.
    pub struct MediaRecorderPad(ObjectSubclass<imp::MediaRecorderPad>)
        @extends gst::Pad, gst::Object;
}

/// A buffer further ahead of the previous one may have a wrong timestamp.
const JUMP: Ns = 1_000_000_000;

/// Media type of the buffers.
#[derive(Debug, Clone, Copy, Default)]
enum Media {
    /// Raw audio: sample rate, and bytes per sample over all channels.
    Sound { rate: u32, bytes: u32 },
    /// Raw video: frame duration from the caps, and what a frame has to contain.
    Video {
        frame: Option<gst::ClockTime>,
        layout: FrameLayout,
    },
    #[default]
    Encoded,
    /// AAC, with the duration of its frames.
    Aac { frame: gst::ClockTime },
    /// FLAC, with its sample rate.
    Flac { rate: u32 },
    /// Opus, whose packets have their duration.
    Opus,
}

impl Media {
    /// `is_system`: whether buffers are in system memory.
    fn of(caps: &gst::CapsRef, is_system: bool) -> Self {
        if let Some(info) = formats::audio_info(caps).filter(|i| i.rate() > 0 && i.bpf() > 0) {
            let (rate, bytes) = (info.rate(), info.bpf());
            return Media::Sound { rate, bytes };
        }
        match formats::video_info(caps) {
            Some(info) => {
                let frames = u64::try_from(info.fps().numer()).ok().filter(|n| *n > 0);
                let seconds = u64::try_from(info.fps().denom()).unwrap_or(0);
                let frame =
                    frames.and_then(|frames| gst::ClockTime::SECOND.mul_div_floor(seconds, frames));
                let layout = FrameLayout::new(&info, is_system);
                Media::Video { frame, layout }
            }
            None => Media::encoded(caps).unwrap_or_default(),
        }
    }

    /// Encoded media whose durations are in its caps or frames.
    fn encoded(caps: &gst::CapsRef) -> Option<Self> {
        let caps = caps.structure(0)?;
        if let Some(frame) = formats::aac_frame_duration(caps) {
            return Some(Media::Aac { frame });
        }
        match caps.name().as_str() {
            "audio/x-opus" => Some(Media::Opus),
            "audio/x-flac" => {
                let rate = u32::try_from(caps.get::<i32>("rate").ok()?).ok()?;
                (rate > 0).then_some(Media::Flac { rate })
            }
            _ => None,
        }
    }

    fn is_encoded(self) -> bool {
        !matches!(self, Media::Sound { .. } | Media::Video { .. })
    }
}

/// The first incomplete raw frame with the current caps.
#[derive(Debug, Default)]
enum Incomplete {
    #[default]
    None,
    /// Its description.
    Found(String),
    Reported,
}

/// State of the pad's stream. Guarded by one lock, which is never held while an incoming buffer is pushed to the
/// recordings (a new recording gets the latest buffer under it), a query is made or a signal emitted.
#[derive(Default)]
pub(super) struct Stream {
    segment: gst::FormattedSegment<gst::ClockTime>,
    /// No buffer has arrived since the segment.
    fresh: bool,
    /// A buffer with a timestamp has arrived since the segment.
    is_stamped: bool,
    pub caps: Option<gst::Caps>,
    /// The caps passed to the recordings: different, and later, if there is a framer.
    given: Option<gst::Caps>,
    media: Media,
    /// The latest frame was cropped.
    pub crops: bool,
    pub tags: Option<gst::TagList>,
    /// Upstream's chapters, in stream time.
    toc: Vec<(gst::ClockTime, String)>,
    /// The recordings do not have the chapters' running times yet.
    toc_is_new: bool,
    /// Rejected caps that have been reported.
    pub refused: Vec<gst::Caps>,
    incomplete: Incomplete,
    pub eos: bool,
    pub flushing: bool,
    /// Whether upstream is live, once queried.
    pub live: Option<bool>,
    /// Last result of the latency query: liveness and latency.
    pub upstream: Option<(bool, Duration)>,
    /// The pad is being released.
    pub released: bool,
    /// The latest buffer: at `start` it is the current frame, or has the first samples. Not kept for encoded media that
    /// a recording takes, nor for audio that the clock has passed: either would have to be copied to be stamped.
    recent: Option<Input>,
    /// Media has arrived after the headers.
    begun: bool,
    /// Header buffers of the current stream, which arrive only once.
    headers: SmallVec<[Input; 3]>,
    subscribers: SmallVec<[Subscriber; 1]>,
    /// Running time of the end of the latest buffer.
    end: Ns,
    /// Running time of the end of a buffer far ahead of the previous one, whose timestamp may be wrong.
    jumped: Option<Ns>,
    /// Offset added to running time, see [`RunningTime`].
    shift: i64,
}

impl Stream {
    /// Sets the caps; returns whether they are new. `is_system`: whether buffers are in system memory.
    pub fn set_caps(&mut self, caps: &gst::Caps, is_system: bool) -> bool {
        self.media = Media::of(caps, is_system);
        let is_new = self.caps.replace(caps.clone()).as_ref() != Some(caps);
        if is_new {
            self.incomplete = Incomplete::None;
        }
        is_new
    }

    /// The description of an incomplete frame, once per caps.
    pub fn incomplete_frame(&mut self) -> Option<String> {
        let Incomplete::Found(frame) = &mut self.incomplete else {
            return None;
        };
        let frame = std::mem::take(frame);
        self.incomplete = Incomplete::Reported;
        Some(frame)
    }

    /// Sets the segment; returns whether it is new.
    pub fn set_segment(&mut self, segment: &gst::FormattedSegment<gst::ClockTime>) -> bool {
        self.fresh = true;
        self.is_stamped = false;
        self.toc_is_new = true;
        let is_new = self.segment != *segment;
        self.segment = segment.clone();
        is_new
    }

    /// Sets upstream's chapters; none without a table of contents.
    pub fn set_toc(&mut self, toc: Option<&gst::TocRef>) {
        self.toc = toc.map_or_else(Vec::new, toc::chapters);
        self.toc_is_new = true;
    }

    /// Upstream's chapters in running time, if changed since the last call; call after placing a buffer.
    pub fn new_chapters(&mut self) -> Option<Vec<(Ns, String)>> {
        std::mem::take(&mut self.toc_is_new).then(|| self.chapters())
    }

    /// Applies the running-time offset set by [`RunningTime::restart`].
    pub fn restarted(&mut self, clock: &RunningTime) {
        self.shift = clock.shift();
    }

    /// Sets the caps passed to the recordings; returns whether they are new.
    pub fn give_caps(&mut self, caps: &gst::Caps) -> bool {
        self.given.replace(caps.clone()).as_ref() != Some(caps)
    }

    /// Whether buffers are accepted.
    pub fn flows(&self) -> Result<(), gst::FlowError> {
        match (self.flushing, self.eos) {
            (true, _) => Err(gst::FlowError::Flushing),
            (_, true) => Err(gst::FlowError::Eos),
            _ => Ok(()),
        }
    }

    /// Registers an arriving buffer, before a cut can miss it. A single buffer with a timestamp far ahead does not
    /// advance the stream.
    pub fn arrive(&mut self, input: &mut Input, clock: &RunningTime) {
        if input.running > self.end.saturating_add(JUMP) && self.end > 0 || self.jumped.is_some() {
            return self.arrive_elsewhere(input, clock);
        }
        self.end = input.end();
        clock.arrived(self.end);
    }

    #[cold]
    fn arrive_elsewhere(&mut self, input: &mut Input, clock: &RunningTime) {
        let end = input.end();
        let is_ahead = input.running > self.end.saturating_add(JUMP);
        match self.jumped.take() {
            // It is the first one that far ahead, or does not continue the previous one.
            jumped if is_ahead && jumped.is_none_or(|jumped| end < jumped) => {
                self.jumped = Some(end);
                return clock.jumped(Some(end));
            }
            Some(_) if is_ahead && input.running - self.end > LONGEST_HOLE => {
                self.toc_is_new = true;
                self.end = self.go_on(input);
            }
            Some(_) | None => self.end = end,
        }
        clock.jumped(None);
        clock.arrived(self.end);
    }

    /// Timestamps have jumped by more than any plausible gap: continues without a gap from this buffer on.
    fn go_on(&mut self, input: &mut Input) -> Ns {
        let by = i64::try_from(input.running - self.end).unwrap_or(i64::MAX);
        self.shift = self.shift.saturating_sub(by);
        input.running = self.end;
        input.end()
    }

    /// Keeps a buffer and returns its subscribers. `now`: the clock's running time, if there are subscribers and the
    /// stream is live.
    pub fn pass(&mut self, input: &Input, now: Option<Ns>) -> SmallVec<[Subscriber; 1]> {
        let end = input.end();
        let header = input.buffer.flags().contains(gst::BufferFlags::HEADER);
        if header && formats::has_header_packets(self.caps.as_ref()) {
            // Headers in mid-stream start another stream.
            if std::mem::take(&mut self.begun) {
                self.headers.clear();
            }
            self.recent = None;
            self.headers.push(input.clone());
        } else {
            self.begun = true;
            let kept = match self.media {
                _ if self.subscribers.is_empty() => true,
                Media::Video { .. } => true,
                // A future recording cannot begin in audio that has passed.
                Media::Sound { .. } => self.live != Some(true) || now.is_none_or(|now| now < end),
                _ => false,
            };
            self.recent = kept.then(|| input.clone());
        }
        self.subscribers.clone()
    }

    /// Whether this pad has subscribers.
    pub fn is_taken(&self) -> bool {
        !self.subscribers.is_empty()
    }

    /// The subscribers of this pad's stream.
    pub fn subscribers(&self) -> SmallVec<[Subscriber; 1]> {
        self.subscribers.clone()
    }

    /// Adds a subscriber, which first gets the latest buffer.
    pub fn subscribe(&mut self, subscriber: Subscriber) {
        if let Some((live, latency)) = self.upstream {
            subscriber.set_upstream(live, latency);
        }
        // Includes changes since the recording was configured.
        if let Some(caps) = self.caps_in_time() {
            subscriber.set_caps(&caps);
        }
        if let Some(tags) = &self.tags {
            subscriber.set_tags(tags);
        }
        if self.cannot_be_turned() {
            subscriber.refuse_backwards();
        }
        for header in &self.headers {
            subscriber.replay(header.clone());
        }
        if let Some(recent) = &self.recent {
            subscriber.replay(recent.clone());
        }
        if self.eos || self.released {
            subscriber.end_track();
        }
        self.subscribers.push(subscriber);
    }

    /// Removes a subscriber.
    pub fn unsubscribe(&mut self, gone: &Subscriber) {
        match gone {
            Subscriber::Recording(session, _) => self.keep_from(session.id()),
            Subscriber::Past(_) => self.subscribers.retain(|subscriber| !subscriber.is_over()),
        }
    }

    /// Removes a recording from the subscribers.
    pub fn keep_from(&mut self, session: u64) {
        self.subscribers
            .retain(|subscriber| !subscriber.is_of(session));
    }

    /// Flush stop: the stream restarts, recorded time continues.
    pub fn flushed(&mut self) {
        self.flushing = false;
        self.eos = false;
        self.segment = gst::FormattedSegment::new();
        self.fresh = false;
        self.recent = None;
        self.jumped = None;
    }
}

mod imp {
    use super::*;

    #[derive(Default)]
    pub struct MediaRecorderPad {
        pub(in super::super) stream: Mutex<Stream>,
        mute: AtomicBool,
        /// Held while `mute` changes, and while a new recording gets its value.
        pub(in super::super) muting: Mutex<()>,
        /// Used with `framing` held.
        pub(in super::super) framer: Mutex<Option<Arc<Framer>>>,
        /// Whether there is a framer.
        pub(in super::super) framed: AtomicBool,
        /// Held while a framer works and until its output has been passed on.
        pub(in super::super) framing: Mutex<()>,
        /// A pending out-of-band EOS.
        pub(in super::super) asked_end: Mutex<Option<gst::Seqnum>>,
        /// Number of flushes that have reset running time.
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
                self.set_mute(mute, None);
            }
        }

        fn property(&self, _id: usize, _pspec: &glib::ParamSpec) -> glib::Value {
            self.mute.load(Ordering::SeqCst).to_value()
        }
    }

    impl GstObjectImpl for MediaRecorderPad {}
    impl PadImpl for MediaRecorderPad {}

    impl MediaRecorderPad {
        /// Sets `mute` from this running time on, or from now on.
        pub(super) fn set_mute(&self, mute: bool, from: Option<Ns>) {
            let _muting = lock(&self.muting);
            self.mute.store(mute, Ordering::SeqCst);
            let subscribers = lock(&self.stream).subscribers();
            for subscriber in subscribers {
                subscriber.mute(mute, from);
            }
        }
    }
}

impl MediaRecorderPad {
    /// The pad's stream, locked.
    pub(super) fn stream(&self) -> MutexGuard<'_, Stream> {
        lock(&self.imp().stream)
    }

    /// The framer, if the stream needs one.
    pub(super) fn framer(&self) -> Option<Arc<Framer>> {
        let imp = self.imp();
        if !imp.framed.load(Ordering::SeqCst) {
            return None;
        }
        lock(&imp.framer).clone()
    }

    /// Locks the framer.
    pub(super) fn framing(&self) -> MutexGuard<'_, ()> {
        lock(&self.imp().framing)
    }

    /// Locks the framer if it is not in use.
    pub(super) fn try_framing(&self) -> Option<MutexGuard<'_, ()>> {
        match self.imp().framing.try_lock() {
            Ok(framing) => Some(framing),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Requests an out-of-band EOS of the track.
    pub(super) fn ask_for_end(&self, seqnum: gst::Seqnum) {
        *lock(&self.imp().asked_end) = Some(seqnum);
    }

    /// Whether an out-of-band EOS is pending.
    pub(super) fn is_asked_to_end(&self) -> bool {
        lock(&self.imp().asked_end).is_some()
    }

    /// Takes the pending out-of-band EOS.
    pub(super) fn end_asked(&self) -> Option<gst::Seqnum> {
        lock(&self.imp().asked_end).take()
    }

    /// Applies the value of a GstControlBinding of `mute` at a buffer's stream time, from the buffer's running time on.
    pub(super) fn follow_control(&self, stream_time: gst::ClockTime, running: Ns) {
        let binding = self.control_binding("mute");
        let binding = binding.filter(|binding| !binding.is_disabled());
        let value = binding.and_then(|binding| ControlBindingExt::value(&binding, stream_time));
        if let Some(mute) = value.and_then(|value| value.get::<bool>().ok())
            && mute != self.is_muted()
        {
            self.imp().set_mute(mute, Some(running));
            self.notify("mute");
        }
    }

    /// Kind of the track.
    pub(super) fn kind(&self) -> Kind {
        if self.name().starts_with(Kind::Audio.name()) {
            Kind::Audio
        } else {
            Kind::Video
        }
    }

    /// Prepares the framer that new upstream caps need.
    pub(super) fn frame(&self, caps: &gst::Caps) -> Option<Arc<Framer>> {
        if let Some(framer) = self.framer()
            && framer.fits(caps)
            && framer.set_caps(caps)
        {
            return Some(framer);
        }
        let framer = Framer::new(caps).map(Arc::new);
        let imp = self.imp();
        let before = {
            let mut place = lock(&imp.framer);
            imp.framed.store(framer.is_some(), Ordering::SeqCst);
            std::mem::replace(&mut *place, framer.clone())
        };
        drop(before);
        framer
    }

    /// Adopts the running-time epoch of the other pads: the number of flushes that have reset it.
    pub(super) fn join(&self, epoch: u64, clock: &RunningTime) {
        self.imp().epoch.store(epoch, Ordering::SeqCst);
        self.stream().restarted(clock);
    }

    /// Counts a flush that has reset running time; returns the new epoch.
    pub(super) fn next_epoch(&self) -> u64 {
        self.imp().epoch.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Resets the stream state for a new READY→PAUSED.
    pub(super) fn reset(&self) {
        let framer = {
            let mut place = lock(&self.imp().framer);
            self.imp().framed.store(false, Ordering::SeqCst);
            place.take()
        };
        drop(framer);
        *self.stream() = Stream::default();
        let _ = self.end_asked();
        self.imp().epoch.store(0, Ordering::SeqCst);
    }

    /// Blocks changes of `mute` until dropped.
    pub(super) fn muting(&self) -> MutexGuard<'_, ()> {
        lock(&self.imp().muting)
    }

    /// Whether the track is muted (recorded as silence or black).
    pub fn is_muted(&self) -> bool {
        self.property("mute")
    }
}
