//! Tracks the media that a track's encoder has been given: what has come out, whether the encoder has failed or
//! hangs, and where the output of a replacement encoder joins.
//!
//! ```text
//! … converters ─entry─▶ encoder ─exit─▶ parser ! muxer
//! ```
//!
//! Probes on both pads do the pushing. So they know whether a thread is inside the encoder or blocked downstream, and
//! no failure of an encoder reaches the appsrc, which would end the track.
//!
//! Lock order: `turn`, held while a buffer goes downstream, like a pad's stream lock; `state`; then `InFlight`.

use super::{
    pipeline::factory_name,
    probe::{is_eos, leave_out, probe},
    timing::lock,
    track::{InFlight, head, rounding},
};
use crate::{
    formats,
    model::{
        Codec, Container, Error, Kind,
        stall::{EncoderView, Stall},
        timeline::Ns,
    },
};
use gst::prelude::*;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// How much audio is kept beyond the pre-roll of a replacement, to compensate for different encoder delays.
const HISTORY: Ns = 200_000_000;

/// Receives encoder failures.
pub type Report = Arc<dyn Fn(&gst::Element, Error) + Send + Sync>;

/// Duration of what is clipped from the start of a packet. opusenc clips its first packet by the pre-skip, and leaves
/// that out of the duration.
fn clipped_start(codec: Codec, packet: &gst::BufferRef) -> Ns {
    let clip = packet.meta::<gst_audio::AudioClippingMeta>();
    match clip.map(|clip| clip.start()) {
        Some(gst::GenericFormattedValue::Default(Some(samples))) if codec == Codec::Opus => {
            formats::opus_length(*samples)
        }
        _ => 0,
    }
}

/// How much earlier audio the encoder of the next part may need.
fn preroll_of(encoder: &gst::Element) -> Ns {
    let factory = encoder.factory();
    factory.map_or(formats::PREROLL, |factory| {
        formats::preroll(&factory.name())
    })
}

/// The encoders of one track, one after another.
#[derive(Debug)]
pub struct EncoderMonitor {
    codec: Codec,
    /// By how much timestamps in front of the muxer are later than recorded time.
    headroom: Ns,
    /// Whether timestamps are aligned to a constant frame rate on the way to the encoder.
    on_grid: bool,
    in_flight: Arc<InFlight>,
    state: Mutex<State>,
    /// Serialises output: that of an encoder precedes that of its replacement.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    encoder: Option<glib::WeakRef<gst::Element>>,
    /// The pad upstream of it.
    entry: Option<glib::WeakRef<gst::Pad>>,
    /// Media is copied, not encoded.
    is_copied: bool,
    /// Number of the current encoder. Output of earlier ones is ignored.
    number: u64,
    run: Run,
    stall: Stall,
    out: Output,
    /// Recorded time of the last input frame.
    last_in: Ns,
    /// Recorded time from which on media is not for this part.
    end: Option<Ns>,
}

/// The state of one encoder.
#[derive(Debug, Default)]
struct Run {
    view: EncoderView,
    failed: bool,
    /// A downstream element has failed, which is not the encoder's fault.
    downstream_failed: bool,
    /// Up to where earlier encoders had produced output.
    from: Option<Ns>,
    /// Its encoder delay in samples.
    delay: u32,
    /// How much of its audio is kept after that has come out.
    history: Ns,
    /// Held until the first buffer, since caps have to precede it.
    first_segment: Option<gst::Event>,
    segment: gst::FormattedSegment<gst::ClockTime>,
}

/// The output of all encoders so far.
#[derive(Debug, Default, Clone)]
struct Output {
    /// Recorded time of the last frame (video), or end of the last packet (audio).
    until: Option<Ns>,
    /// Duration of the last audio packet.
    packet: Ns,
    /// The encoder delay that the track's header declares, in samples.
    delay: Option<u32>,
    /// Sample rate, for audio.
    rate: Option<u64>,
    /// The caps with the header packets of the track.
    header_caps: Option<gst::Caps>,
}

impl EncoderMonitor {
    /// Creates a monitor without an encoder.
    pub fn new(
        (codec, container): (Codec, Container),
        headroom: Ns,
        in_flight: Arc<InFlight>,
    ) -> Arc<Self> {
        Arc::new(EncoderMonitor {
            codec,
            headroom,
            on_grid: codec == Codec::Theora || (codec, container) == (Codec::Vp8, Container::Ogg),
            in_flight,
            state: Mutex::default(),
            turn: Mutex::default(),
        })
    }

    /// Watches the pad where the track's media enters, unmodified since the gate.
    pub fn watch_source(self: &Arc<Self>, source: &gst::Pad) {
        let monitor = self.clone();
        probe(source, gst::PadProbeType::BUFFER, move |pad, info| {
            let pts = info.buffer().and_then(|buffer| buffer.pts());
            let at = pts.map(|pts| pts.nseconds().saturating_sub(monitor.headroom));
            let mut state = lock(&monitor.state);
            let left = state.end.zip(at).map(|(end, at)| end.saturating_sub(at));
            if left == Some(0) {
                return leave_out(info);
            }
            state.last_in = at.unwrap_or(state.last_in);
            // Under the lock: what has left is known when the end is set.
            monitor.in_flight.sent(state.is_copied);
            drop(state);
            if let Some(left) = left {
                trim(pad, info, left);
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Lets no media from recorded time `end` on into the encoder, nor video out of it: it is for the next part.
    pub fn end_input(&self, end: Option<Ns>) {
        lock(&self.state).end = end.filter(|_| !self.overlaps());
    }

    /// Whether audio from after the part's end goes into its encoder, and is trimmed behind that.
    fn overlaps(&self) -> bool {
        let encoder = self.encoder().as_ref().and_then(factory_name);
        formats::seam(self.codec, encoder.as_deref()) != formats::Seam::default()
    }

    /// Recorded time up to which the audio that has come out is complete.
    pub fn audio_until(&self) -> Option<Ns> {
        let state = lock(&self.state);
        let delay = state.out.length(i64::from(state.out.delay.unwrap_or(0)));
        Some(
            state
                .out
                .until?
                .saturating_add_signed(delay.saturating_neg()),
        )
    }

    /// The current encoder.
    pub fn encoder(&self) -> Option<gst::Element> {
        lock(&self.state).encoder.as_ref()?.upgrade()
    }

    /// The caps of the encoder's input.
    pub fn form(&self) -> Option<gst::Caps> {
        let entry = lock(&self.state).entry.as_ref()?.upgrade()?;
        entry.current_caps()
    }

    /// Whether any encoder has produced output.
    pub fn has_output(&self) -> bool {
        lock(&self.state).out.until.is_some()
    }

    /// Sets whether media is copied from here on, or encoded by an encoder that is about to be added.
    pub fn set_copied(&self, is_copied: bool) {
        lock(&self.state).is_copied = is_copied;
    }

    /// Watches `encoder`, which is linked downstream of the pad `entry`. Call it after all other probes have been
    /// added to its pads.
    ///
    /// `delay`: by how many samples its packets are timestamped later than their audio.
    pub fn watch(
        self: &Arc<Self>,
        entry: &gst::Pad,
        encoder: &gst::Element,
        delay: u32,
        report: Report,
    ) {
        let Some(exit) = encoder.static_pad("src") else {
            return;
        };
        let number = {
            let mut state = lock(&self.state);
            state.number += 1;
            state.encoder = Some(encoder.downgrade());
            state.entry = Some(entry.downgrade());
            state.run = Run {
                from: state.out.until,
                delay,
                history: HISTORY + preroll_of(encoder),
                ..Run::default()
            };
            state.stall = Stall::default();
            state.out.delay.get_or_insert(delay);
            state.number
        };
        let both = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        let (monitor, weak, reports) = (self.clone(), encoder.downgrade(), report.clone());
        probe(entry, both, move |pad, info| {
            let failed = match info.data {
                Some(gst::PadProbeData::Buffer(_)) => monitor.enter(number, pad, info),
                _ => return monitor.event_in(number, info),
            };
            if let (Some(error), Some(encoder)) = (failed, weak.upgrade()) {
                reports(&encoder, error);
            }
            gst::PadProbeReturn::Handled
        });
        let (monitor, weak) = (self.clone(), encoder.downgrade());
        probe(&exit, both, move |pad, info| match info.data {
            Some(gst::PadProbeData::Buffer(_)) => monitor.leave(number, pad, info),
            _ => match monitor.event_out(number, pad, info) {
                Ok(result) => result,
                Err(error) => {
                    if let Some(encoder) = weak.upgrade() {
                        report(&encoder, error);
                    }
                    leave_out(info)
                }
            },
        });
    }

    /// Stops watching: media is no longer encoded. Further output of the last encoder is dropped.
    pub fn abandon(&self) {
        let mut state = lock(&self.state);
        state.number += 1;
        state.encoder = None;
        state.entry = None;
        state.run = Run::default();
        state.stall = Stall::default();
    }

    /// Sets whether a thread is changing the encoder's state.
    pub fn set_starting(&self, starting: bool) {
        lock(&self.state).run.view.inside = starting;
    }

    /// Polls whether the encoder hangs. `now` has to advance between calls.
    pub fn hangs(&self, now: Duration, patience: Duration) -> bool {
        let mut state = lock(&self.state);
        let view = match state.encoder {
            Some(_) if !state.run.failed => state.run.view,
            _ => return false,
        };
        state.stall.poll(now, view, patience)
    }

    /// The recorded time from which to replay audio, so that the new encoder's packets continue those of the previous
    /// one.
    pub fn restart_at(&self) -> Option<Ns> {
        let (out, delay) = {
            let state = lock(&self.state);
            (state.out.clone(), state.run.delay)
        };
        let until = out.until?;
        if self.codec.kind() == Kind::Video || out.packet == 0 {
            return None;
        }
        let earliest = self.in_flight.begin().unwrap_or(until);
        // opusenc timestamps packets by their audible content, without the encoder delay.
        let lead = match self.codec {
            Codec::Opus => formats::opus_length(OPUS_LOOKAHEAD),
            _ => 0,
        };
        let shift = out.length(i64::from(out.delay.unwrap_or(delay)) - i64::from(delay));
        let end = (until + lead).saturating_add_signed(shift.saturating_neg());
        let packets = formats::PREROLL.div_ceil(out.packet);
        let most = end.saturating_sub(earliest) / out.packet;
        Some(
            end.saturating_sub(packets.min(most) * out.packet)
                .max(earliest),
        )
    }

    /// Pushes a buffer into the encoder. Returns an error if that fails.
    fn enter(&self, number: u64, pad: &gst::Pad, info: &mut gst::PadProbeInfo) -> Option<Error> {
        let gone = Err(gst::FlowError::Flushing);
        let (Some(buffer), Some(sink)) = (info.take_buffer(), pad.peer()) else {
            info.flow_res = gone;
            return None;
        };
        {
            let mut state = lock(&self.state);
            if state.number != number || state.run.failed {
                info.flow_res = gone;
                return None;
            }
            if self.codec.kind() == Kind::Video && state.run.has(&buffer, self.headroom) {
                // Already encoded: the replay started at an earlier keyframe.
                info.flow_res = Ok(gst::FlowSuccess::Ok);
                return None;
            }
            let length = buffer.duration().map_or(0, gst::ClockTime::nseconds);
            let view = &mut state.run.view;
            view.inputs += 1;
            view.held += 1;
            view.swallowed = view.swallowed.saturating_add(length);
            view.inside = true;
        }
        let result = sink.chain(buffer);
        let mut state = lock(&self.state);
        if state.number != number {
            info.flow_res = gone;
            return None;
        }
        state.run.view.inside = false;
        match result {
            Err(flow @ (gst::FlowError::Error | gst::FlowError::NotSupported))
                if !state.run.downstream_failed =>
            {
                state.run.failed = true;
                // On an error, appsrc would pause without a message.
                info.flow_res = gone;
                Some(Error::unknown(format!("it refused its input ({flow})")))
            }
            result => {
                info.flow_res = result;
                None
            }
        }
    }

    fn event_in(&self, number: u64, info: &gst::PadProbeInfo) -> gst::PadProbeReturn {
        if is_eos(info) {
            let mut state = lock(&self.state);
            if state.number == number {
                state.run.view.draining = true;
            }
        }
        gst::PadProbeReturn::Ok
    }

    /// Pushes a buffer from the encoder downstream.
    fn leave(
        &self,
        number: u64,
        pad: &gst::Pad,
        info: &mut gst::PadProbeInfo,
    ) -> gst::PadProbeReturn {
        info.flow_res = Err(gst::FlowError::Flushing);
        let (Some(mut buffer), Some(sink)) = (info.take_buffer(), pad.peer()) else {
            return gst::PadProbeReturn::Handled;
        };
        {
            let mut state = lock(&self.state);
            if state.number == number {
                state.run.view.downstream = true;
            }
        }
        let _turn = lock(&self.turn);
        {
            let mut state = lock(&self.state);
            if state.number != number {
                return gst::PadProbeReturn::Handled;
            }
            let view = &mut state.run.view;
            view.outputs += 1;
            view.most_held = view.most_held.max(Some(view.held));
            view.held = 0;
            view.swallowed = 0;
            if !self.place(&mut state, &mut buffer) {
                state.run.view.downstream = false;
                info.flow_res = Ok(gst::FlowSuccess::Ok);
                return gst::PadProbeReturn::Handled;
            }
        }
        self.send_first_segment(&sink);
        let result = sink.chain(buffer);
        let mut state = lock(&self.state);
        if state.number == number {
            state.run.view.downstream = false;
            state.run.downstream_failed |= result.is_err();
            info.flow_res = result;
        }
        gst::PadProbeReturn::Handled
    }

    /// Aligns a packet with earlier output; FALSE if it duplicates that.
    fn place(&self, state: &mut State, buffer: &mut gst::Buffer) -> bool {
        let State {
            run,
            out,
            last_in,
            end,
            ..
        } = state;
        if buffer.flags().contains(gst::BufferFlags::HEADER) {
            return run.from.is_none();
        }
        let pts = buffer.pts();
        let Some(at) = pts.and_then(|pts| run.segment.to_running_time(pts)) else {
            // It would be placed at the start of the track, which another encoder wrote.
            return run.from.is_none();
        };
        let at = at.nseconds().saturating_sub(self.headroom);
        if self.codec.kind() == Kind::Video {
            let at = if self.on_grid { *last_in } else { at };
            if end.is_some_and(|end| at >= end) {
                return false;
            }
            out.until = out.until.max(Some(at));
            self.in_flight.came_out(at);
            return true;
        }
        let length = buffer.duration().map_or(0, gst::ClockTime::nseconds);
        let shift = out.length(i64::from(out.delay.unwrap_or(run.delay)) - i64::from(run.delay));
        let at = at.saturating_add_signed(shift);
        if run.from.is_some_and(|from| at + length / 2 < from) {
            return false;
        }
        if shift != 0 {
            let fields = buffer.make_mut();
            let pts = fields.pts();
            let moved = |stamp: gst::ClockTime| {
                gst::ClockTime::from_nseconds(stamp.nseconds().saturating_add_signed(shift))
            };
            fields.set_pts(pts.map(moved));
            fields.set_dts(gst::ClockTime::NONE);
        }
        out.until = Some(at + length);
        out.packet = length + clipped_start(self.codec, buffer);
        self.in_flight
            .came_out_whole((at + length).saturating_sub(run.history));
        true
    }

    /// Handles an event from the encoder. An error means that it cannot continue the track.
    fn event_out(
        &self,
        number: u64,
        pad: &gst::Pad,
        info: &mut gst::PadProbeInfo,
    ) -> Result<gst::PadProbeReturn, Error> {
        let Some(event) = info.event() else {
            return Ok(gst::PadProbeReturn::Ok);
        };
        let mut state = lock(&self.state);
        if state.number != number {
            return Ok(gst::PadProbeReturn::Ok);
        }
        match event.view() {
            gst::EventView::Segment(segment) => {
                if let Some(time) = segment.segment().downcast_ref::<gst::ClockTime>() {
                    state.run.segment = time.clone();
                } else if state.run.from.is_some() {
                    // It would go back into what an earlier encoder has written.
                    return Ok(leave_out(info));
                }
                if state.run.view.outputs == 0 {
                    state.run.first_segment = Some(event.to_owned());
                    return Ok(leave_out(info));
                }
            }
            gst::EventView::Caps(caps) => {
                let caps = caps.caps();
                let rate = caps.structure(0).and_then(|s| s.get::<i32>("rate").ok());
                state.out.rate = rate
                    .and_then(|rate| u64::try_from(rate).ok())
                    .or(state.out.rate);
                if !self.has_same_headers(&mut state, caps) {
                    state.run.failed = true;
                    return Err(Error::unknown(
                        "its headers differ from those of the track".to_owned(),
                    ));
                }
            }
            gst::EventView::Eos(_) => {
                if !state.run.view.draining {
                    // The EOS was not requested.
                    return Ok(leave_out(info));
                }
                state.run.view.draining = false;
                self.in_flight.drained();
                drop(state);
                if let Some(sink) = pad.peer() {
                    self.send_first_segment(&sink);
                }
            }
            _ => {}
        }
        Ok(gst::PadProbeReturn::Ok)
    }

    /// Sends the encoder's segment downstream, before its first buffer.
    fn send_first_segment(&self, sink: &gst::Pad) {
        let segment = lock(&self.state).run.first_segment.take();
        if let Some(segment) = segment {
            sink.send_event(segment);
        }
    }

    /// Whether the output is decodable with the headers that the track already has.
    fn has_same_headers(&self, state: &mut State, caps: &gst::CapsRef) -> bool {
        if !matches!(self.codec, Codec::Vorbis | Codec::Theora) {
            return true;
        }
        if !caps
            .structure(0)
            .is_some_and(|caps| caps.has_field("streamheader"))
        {
            return true;
        }
        match &state.out.header_caps {
            Some(first) if state.run.from.is_some() => formats::same_headers(first, caps),
            _ => {
                state.out.header_caps = Some(caps.to_owned());
                true
            }
        }
    }
}

/// Trims an audio buffer to this duration.
fn trim(pad: &gst::Pad, info: &mut gst::PadProbeInfo, length: Ns) {
    let caps = pad.current_caps();
    if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data
        && buffer
            .duration()
            .is_some_and(|whole| whole.nseconds() > length)
        && let Some(head) = head(buffer, length, caps.as_deref())
    {
        *buffer = head;
    }
}

/// Encoder delay of all Opus encoders supported here, in samples at 48 kHz.
const OPUS_LOOKAHEAD: u64 = 312;

impl Output {
    /// The duration of this many samples, in nanoseconds.
    fn length(&self, samples: i64) -> i64 {
        let rate = self.rate.and_then(|rate| i64::try_from(rate).ok());
        samples.saturating_mul(1_000_000_000) / rate.unwrap_or(48_000).max(1)
    }
}

impl Run {
    /// Whether an earlier encoder has already produced this frame.
    fn has(&self, frame: &gst::BufferRef, headroom: Ns) -> bool {
        let (Some(from), Some(pts)) = (self.from, frame.pts()) else {
            return false;
        };
        let length = frame.duration().map_or(0, gst::ClockTime::nseconds);
        pts.nseconds().saturating_sub(headroom) <= from.saturating_add(rounding(length))
    }
}
