//! Decodes encoded input in front of a track's gate, so that cuts in media that is not copied are as exact as in raw
//! media.
//!
//! ```text
//! pad ! [queue, if live] ! decodebin ! pad
//! ```
//!
//! Input that is not live is decoded in upstream's thread, which gives the usual backpressure. Live upstream never
//! blocks: a queue decouples the decoder, and when that is full, input is dropped up to the next keyframe. The
//! decoder keeps running while the recording is paused, so a resume needs no keyframe.

use super::{alpha_input, fixups::clipping, orientation, panic_text, timing::lock};
use crate::{
    formats::{self, EntryPoint, FrameFormat},
    gate::{Input, KEY_FRAME_LIMIT},
    model::{Kind, Orientation, queue::MAX_BYTES, timeline::Ns},
};
use gst::prelude::*;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Nothing is being replayed.
const NONE: Ns = Ns::MAX;

/// Output of a decoder, in its own thread or in upstream's.
#[derive(Debug)]
pub enum Decoded {
    /// Caps of the raw media that follows.
    Caps(gst::Caps),
    /// Raw media with its running time.
    Buffer(Input),
    /// The same, for the newest media from before the recording began.
    Replayed(Input),
    /// There is no media before this running time.
    Gap(Ns),
    /// Orientation of the frames that follow, from the stream itself.
    Turn(Orientation),
    /// The decoder has been drained.
    End,
    /// The decoder has failed for good.
    Failed(Failure),
}

/// Why a decoder has failed.
#[derive(Debug, Clone)]
pub enum Failure {
    /// No decoder for these caps is installed.
    NoDecoder,
    /// The decoder reported this error.
    Damaged(String),
}

/// Why the input cannot be decoded before the next keyframe.
#[derive(Debug, Clone, Copy)]
enum Missing {
    /// Earlier input was dropped.
    Dropped,
    /// Earlier input never arrived. Waiting since this running time.
    Upstream { since: Ns },
}

impl Missing {
    const UPSTREAM: Self = Missing::Upstream { since: Ns::MAX };

    /// The same, once a buffer has arrived at this running time.
    fn at(self, running: Ns) -> Self {
        match self {
            Missing::Dropped => self,
            Missing::Upstream { since } => Missing::Upstream {
                since: since.min(running),
            },
        }
    }

    /// Whether no keyframe can be expected any more (intra refresh).
    fn lasts_too_long(self, running: Ns) -> bool {
        match self {
            Missing::Dropped => false,
            Missing::Upstream { since } => running.saturating_sub(since) > KEY_FRAME_LIMIT,
        }
    }
}

/// Whether the decoder has been drained.
type Drained = Arc<(Mutex<bool>, Condvar)>;
type Taker = Arc<dyn Fn(Decoded) + Send + Sync>;

/// See the module documentation.
#[derive(Debug)]
pub struct Decoder {
    pipeline: gst::Pipeline,
    feed: gst::Pad,
    sink: gst::Pad,
    queue: Option<(gst::Element, Ns)>,
    /// Upstream's caps.
    caps: Mutex<gst::Caps>,
    /// Running time of the buffer being replayed.
    replayed: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
    /// Why nothing can be decoded before the next keyframe, if so.
    missing: Mutex<Option<Missing>>,
    /// Whether the next EOS ends the track.
    ends: Arc<AtomicBool>,
    drained: Drained,
}

impl Decoder {
    /// Creates a decoder for media with these caps, named after its pad. `limit`: how much media of a live upstream
    /// may be queued.
    pub fn new(
        name: &str,
        caps: &gst::Caps,
        limit: Option<Ns>,
        taker: impl Fn(Decoded) + Send + Sync + 'static,
    ) -> Result<Self, glib::BoolError> {
        let kind = formats::kind_of_caps(caps).unwrap_or(Kind::Video);
        let taker: Taker = Arc::new(contained(taker));
        let failed = Arc::<AtomicBool>::default();
        let replayed = Arc::new(AtomicU64::new(NONE));
        let pipeline = gst::Pipeline::with_name(&format!("{name}-decoding"));
        pipeline.use_clock(None::<&gst::Clock>);
        listen(&pipeline, failed.clone(), taker.clone());
        let decodebin = gst::ElementFactory::make("decodebin")
            .name(format!("{name}-decoder"))
            .build()?;
        alpha_input::keep_last_frame(pipeline.upcast_ref());
        pipeline.add(&decodebin)?;
        let queue = match limit {
            Some(limit) => Some((queue(&pipeline, &decodebin)?, limit)),
            None => None,
        };
        let (ends, drained) = (Arc::<AtomicBool>::default(), Drained::default());
        let sink = sink_pad(kind, replayed.clone(), (&ends, &drained), taker)?;
        let to = sink.downgrade();
        decodebin.connect_pad_added(move |_, pad| {
            if let Some(to) = to.upgrade()
                && !to.is_linked()
            {
                // If this fails, decodebin reports not-linked.
                let _ = pad.link_full(&to, gst::PadLinkCheck::CAPS);
            }
        });
        let this = Decoder {
            pipeline,
            feed: feed_pad(),
            sink,
            queue,
            caps: Mutex::new(caps.clone()),
            replayed,
            failed,
            missing: Mutex::new(Some(Missing::UPSTREAM)),
            ends,
            drained,
        };
        this.connect(&decodebin, caps)?;
        Ok(this)
    }

    fn connect(&self, decodebin: &gst::Element, caps: &gst::Caps) -> Result<(), glib::BoolError> {
        let entry = self.queue.as_ref().map_or(decodebin, |(queue, _)| queue);
        let entry = entry
            .static_pad("sink")
            .ok_or_else(|| glib::bool_error!("a decoder without a sink pad"))?;
        if let Some(rate) = formats::clipping_rate(caps) {
            clipping::count_in_samples(&self.feed, rate);
        }
        // The pad is not in the pipeline, and the link checks would fail only because of that.
        self.feed
            .link_full(&entry, gst::PadLinkCheck::empty())
            .map_err(|err| glib::bool_error!("{err}"))?;
        self.sink.set_active(true)?;
        self.feed.set_active(true)?;
        self.pipeline
            .set_state(gst::State::Playing)
            .map_err(|err| glib::bool_error!("{err}"))?;
        self.feed
            .push_event(gst::event::StreamStart::new("decoder"));
        self.feed.push_event(gst::event::Caps::new(caps));
        self.segment();
        Ok(())
    }

    fn segment(&self) {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.feed.push_event(gst::event::Segment::new(&segment));
    }

    /// Sets new caps from upstream; FALSE if these need another decoder.
    pub fn set_caps(&self, caps: &gst::Caps) -> bool {
        let mut known = lock(&self.caps);
        if *known == *caps {
            return true;
        }
        let same_media =
            known.structure(0).map(|s| s.name()) == caps.structure(0).map(|s| s.name());
        if !same_media {
            return false;
        }
        *known = caps.clone();
        drop(known);
        self.feed.push_event(gst::event::Caps::new(caps))
    }

    /// Upstream's caps.
    pub fn caps(&self) -> gst::Caps {
        lock(&self.caps).clone()
    }

    /// Whether it has failed for good.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Handles a buffer from upstream. Returns it if it has to be dropped: for lack of room, or because an earlier
    /// drop makes it undecodable.
    pub fn push(&self, input: Input) -> Result<(), Input> {
        let mut missing = lock(&self.missing);
        if !self.has_room() {
            *missing = Some(Missing::Dropped);
            return Err(input);
        }
        if let Some(why) = *missing {
            let why = why.at(input.running);
            if !self.is_entry(&input) && !why.lasts_too_long(input.running) {
                *missing = Some(why);
                return match why {
                    Missing::Dropped => Err(input),
                    Missing::Upstream { .. } => Ok(()),
                };
            }
            *missing = None;
        }
        drop(missing);
        self.decode(input);
        Ok(())
    }

    /// Replays the newest buffer from before the recording, if it can be decoded on its own.
    pub fn replay(&self, input: Input) {
        if self.is_entry(&input) {
            *lock(&self.missing) = None;
            self.replayed.store(input.running, Ordering::Release);
            self.decode(input);
        }
    }

    /// Whether decoding can start at this buffer.
    fn is_entry(&self, input: &Input) -> bool {
        let caps = lock(&self.caps);
        // Encoders may flag all of their frames as delta units.
        if formats::is_intra_only(&caps) {
            return true;
        }
        let format = caps.structure(0).and_then(FrameFormat::of);
        formats::entry_point(format, &input.buffer) != EntryPoint::No
    }

    fn decode(&self, mut input: Input) {
        let lead = match (input.buffer.pts(), input.buffer.dts()) {
            (Some(pts), Some(dts)) => pts.saturating_sub(dts),
            _ => gst::ClockTime::ZERO,
        };
        let running = gst::ClockTime::from_nseconds(input.running);
        let has_pts = input.buffer.pts().is_some() || input.buffer.dts().is_none();
        let stamped = input.buffer.make_mut();
        stamped.set_pts(has_pts.then_some(running));
        stamped.set_dts(running.saturating_sub(lead));
        stamped.set_duration(input.duration.map(gst::ClockTime::from_nseconds));
        // It skips what it cannot decode, and posts errors on its bus.
        let _ = self.feed.push(input.buffer);
    }

    fn has_room(&self) -> bool {
        self.queue.as_ref().is_none_or(|(queue, limit)| {
            queue.property::<u64>("current-level-time") <= *limit
                && u64::from(queue.property::<u32>("current-level-bytes")) <= MAX_BYTES
        })
    }

    /// There is no media between these running times.
    pub fn gap(&self, from: Ns, to: Ns) {
        let length = gst::ClockTime::from_nseconds(to.saturating_sub(from));
        let gap = gst::event::Gap::builder(gst::ClockTime::from_nseconds(from)).duration(length);
        self.feed.push_event(gap.build());
    }

    /// Upstream flushed or lost data: drops what is queued, and resumes at a keyframe.
    pub fn flush(&self) {
        *lock(&self.missing) = Some(Missing::UPSTREAM);
        self.feed.push_event(gst::event::FlushStart::new());
        self.feed.push_event(gst::event::FlushStop::new(true));
        self.segment();
    }

    /// Drains the decoder for good; [`Decoded::End`] follows. FALSE if it cannot any more.
    pub fn drain(&self) -> bool {
        self.ends.store(true, Ordering::Release);
        !self.has_failed() && self.feed.push_event(gst::event::Eos::new())
    }

    /// Drains the decoder, waiting at most `patience`: the track goes on.
    pub fn drain_within(&self, patience: Duration) {
        if self.has_failed() || !self.feed.push_event(gst::event::Eos::new()) {
            return;
        }
        let (drained, news) = &*self.drained;
        let wait = news.wait_timeout_while(lock(drained), patience, |drained| !*drained);
        drop(wait);
    }
}

impl Drop for Decoder {
    /// Must not run in a thread of its own pipeline.
    fn drop(&mut self) {
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
        let _ = self.feed.set_active(false);
        let _ = self.sink.set_active(false);
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// A panic in a GStreamer thread could only abort the process; here it becomes a failure of the decoder.
fn contained(
    taker: impl Fn(Decoded) + Send + Sync + 'static,
) -> impl Fn(Decoded) + Send + Sync + 'static {
    move |decoded| {
        let taken = catch_unwind(AssertUnwindSafe(|| {
            crate::fault::place("decoder");
            taker(decoded);
        }));
        if let Err(panic) = taken {
            let failed = Decoded::Failed(Failure::Damaged(panic_text(&*panic)));
            let _ = catch_unwind(AssertUnwindSafe(|| taker(failed)));
        }
    }
}

/// Whether decodebin's error means that no decoder is available.
pub(super) fn lacks_decoder(error: &glib::Error) -> bool {
    matches!(
        error.kind(),
        Some(
            gst::StreamError::CodecNotFound
                | gst::StreamError::WrongType
                | gst::StreamError::TypeNotFound,
        )
    )
}

/// Forwards errors from the bus, where all failures are posted.
fn listen(pipeline: &gst::Pipeline, failed: Arc<AtomicBool>, taker: Taker) {
    let Some(bus) = pipeline.bus() else {
        return;
    };
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view()
            && !failed.swap(true, Ordering::SeqCst)
        {
            let what = error.error();
            let failure = if lacks_decoder(&what) {
                Failure::NoDecoder
            } else {
                Failure::Damaged(what.message().trim_end_matches('.').to_owned())
            };
            taker(Decoded::Failed(failure));
        }
        gst::BusSyncReply::Drop
    });
}

/// The queue that decouples a live upstream from its decoder. It has no limits itself: `push` checks the level.
fn queue(
    pipeline: &gst::Pipeline,
    decodebin: &gst::Element,
) -> Result<gst::Element, glib::BoolError> {
    let queue = gst::ElementFactory::make("queue")
        .property("max-size-buffers", 0u32)
        .property("max-size-bytes", 0u32)
        .property("max-size-time", 0u64)
        .build()?;
    pipeline.add(&queue)?;
    queue.link(decodebin)?;
    Ok(queue)
}

/// The pad for encoded input. It reports a live source, as decoders then do not delay frames for multithreading.
fn feed_pad() -> gst::Pad {
    gst::Pad::builder(gst::PadDirection::Src)
        .name("encoded")
        .query_function(|pad, parent, query| {
            if let gst::QueryViewMut::Latency(latency) = query.view_mut() {
                latency.set(true, gst::ClockTime::ZERO, gst::ClockTime::NONE);
                return true;
            }
            gst::Pad::query_default(pad, parent, query)
        })
        .event_function(|_, _, _| true)
        .build()
}

/// The pad for raw output.
fn sink_pad(
    kind: Kind,
    replayed: Arc<AtomicU64>,
    (ends, drained): (&Arc<AtomicBool>, &Drained),
    taker: Taker,
) -> Result<gst::Pad, glib::BoolError> {
    let raw = gst::Caps::new_empty_simple(match kind {
        Kind::Audio => "audio/x-raw",
        Kind::Video => "video/x-raw",
    });
    let template = gst::PadTemplate::new(
        "sink",
        gst::PadDirection::Sink,
        gst::PadPresence::Always,
        &raw,
    )?;
    let form = Arc::new(Mutex::new((Form::default(), 0)));
    let (report, place) = (taker.clone(), form.clone());
    let (ends, drained) = (ends.clone(), drained.clone());
    Ok(gst::Pad::builder_from_template(&template)
        .name("raw")
        .chain_function(move |_, _, buffer| {
            let mut place = lock(&place);
            let input = place.0.input(buffer, place.1);
            place.1 = input.end();
            drop(place);
            let is_replayed = replayed
                .compare_exchange(input.running, NONE, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok();
            taker(if is_replayed {
                Decoded::Replayed(input)
            } else {
                Decoded::Buffer(input)
            });
            Ok(gst::FlowSuccess::Ok)
        })
        .event_function(move |_, _, event| {
            match event.view() {
                gst::EventView::Caps(caps) => {
                    lock(&form).0 = Form::of(caps.caps());
                    report(Decoded::Caps(caps.caps_owned()));
                }
                gst::EventView::Tag(tag) => {
                    if let Some(turn) = orientation::of_tags(tag.tag()) {
                        report(Decoded::Turn(turn));
                    }
                }
                gst::EventView::Gap(gap) => {
                    let (from, length) = gap.get();
                    let end = from.saturating_add(length.unwrap_or(gst::ClockTime::ZERO));
                    report(Decoded::Gap(end.nseconds()));
                }
                gst::EventView::Eos(_) => {
                    if ends.load(Ordering::Acquire) {
                        report(Decoded::End);
                    }
                    *lock(&drained.0) = true;
                    drained.1.notify_all();
                }
                _ => {}
            }
            true
        })
        .build())
}

/// How to derive the duration of raw media.
#[derive(Debug, Clone, Copy, Default)]
enum Form {
    /// Sample rate, and bytes per frame of all channels.
    Audio(u64, u64),
    /// Frame duration, if the frame rate is constant.
    Video(Option<Ns>),
    #[default]
    Unknown,
}

impl Form {
    fn of(caps: &gst::CapsRef) -> Self {
        if let Some(info) = formats::audio_info(caps) {
            return Form::Audio(info.rate().max(1).into(), info.bpf().max(1).into());
        }
        let Some(info) = formats::video_info(caps) else {
            return Form::Unknown;
        };
        let numbers = u64::try_from(info.fps().numer()).ok();
        let numbers = numbers.zip(u64::try_from(info.fps().denom()).ok());
        let fps = numbers.filter(|(numer, _)| *numer > 0);
        Form::Video(fps.map(|(numer, denom)| denom.saturating_mul(1_000_000_000) / numer))
    }

    /// Sets the running time of a decoded buffer; without a timestamp it follows the previous one.
    fn input(self, mut buffer: gst::Buffer, end: Ns) -> Input {
        let own = buffer.duration().map(gst::ClockTime::nseconds);
        let duration = match self {
            Form::Audio(rate, bytes) => {
                let samples = buffer.size() as u64 / bytes;
                Some(samples.saturating_mul(1_000_000_000) / rate)
            }
            Form::Video(frame) => own.filter(|length| *length > 0).or(frame),
            Form::Unknown => own,
        };
        let running = buffer.pts().map_or(end, gst::ClockTime::nseconds);
        if buffer.dts().is_some() {
            buffer.make_mut().set_dts(None);
        }
        Input {
            buffer,
            running,
            duration,
        }
    }
}
