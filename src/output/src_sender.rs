//! The `src` pad's protocol: the events and buffers of a recording, and their order.
//!
//! Used by one thread, without any lock.

use super::src_queue::Audience;
use glib::prelude::*;
use gst::prelude::*;

/// The caps field with the header.
const STREAM_HEADER: &str = "streamheader";

/// Called with a message for the application when a recording is not output on `src`.
pub(super) type Warn = dyn Fn(String) + Send + Sync;

/// The thread's state of the pad.
pub(super) struct Sender<'a> {
    pad: &'a gst::Pad,
    warn: &'a Warn,
    /// The latest stream. Where downstream may have lost its stream-start, that is pushed again as a new event: a pad
    /// forwards the same sticky event only once.
    stream: (glib::GString, gst::GroupId),
    /// Caps for prerolling a sink, if known.
    caps: Option<gst::Caps>,
    /// Something has been pushed since `stream_start` was created.
    used: bool,
    /// EOS has been pushed since the latest stream-start.
    eos: bool,
    /// That EOS was the final one: all tracks have ended.
    over: bool,
    recording: Recording,
    /// The downstream pad that it began on.
    peer: Option<gst::Pad>,
    /// The next bytes are for this kind of downstream only.
    audience: Option<Audience>,
    /// Header buffers gathered until media arrives, and the caps to push again with them as `streamheader`.
    header: Option<(gst::Caps, Vec<gst::Buffer>)>,
    /// No media has been pushed yet.
    opening: bool,
    list: Vec<gst::Buffer>,
}

/// State of the current recording.
enum Recording {
    /// None, or not output: nothing is pushed, not even EOS.
    None,
    Sending {
        /// Downstream is seekable.
        seekable: bool,
        /// Downstream's current position.
        at: u64,
        /// The highest offset pushed.
        end: u64,
    },
    /// Output has stopped: only EOS is pushed.
    Failed,
}

impl<'a> Sender<'a> {
    pub(super) fn new(pad: &'a gst::Pad, warn: &'a Warn, caps: Option<gst::Caps>) -> Self {
        Self {
            pad,
            warn,
            stream: new_stream(),
            caps,
            used: false,
            eos: false,
            over: false,
            recording: Recording::None,
            peer: None,
            audience: None,
            header: None,
            opening: false,
            list: Vec::new(),
        }
    }

    /// Prerolls a linked sink while there is no data.
    pub(super) fn hello(&mut self) {
        if self.over {
            // A sink linked late. A pad pushes a second EOS only after a stream-start.
            self.pad.push_event(self.stream_start());
            self.pad.push_event(gst::event::Eos::new());
            return;
        }
        if !self.leave_replaced() && self.eos && !is_done(self.pad) {
            // Another sink, for the next recording.
            self.renew();
        }
        if matches!(self.recording, Recording::None) && !self.used {
            self.pad.push_event(self.stream_start());
            // Caps after a segment cause a GStreamer warning ("misordering"), so the segment has to wait while the caps
            // are unknown.
            if let Some(caps) = &self.caps {
                self.pad.push_event(gst::event::Caps::new(caps));
                self.pad.push_event(segment(0));
            }
            self.pad
                .push_event(gst::event::Gap::builder(gst::ClockTime::ZERO).build());
        }
    }

    /// Leaves a recording whose output has failed if another downstream pad has been linked since: that gets nothing of
    /// it, not even EOS. Returns whether it has been left.
    fn leave_replaced(&mut self) -> bool {
        let is_other = || real_peer(self.pad).is_some_and(|peer| Some(peer) != self.peer);
        let replaced = matches!(self.recording, Recording::Failed) && is_other();
        if replaced {
            self.recording = Recording::None;
            self.renew();
        }
        replaced
    }

    /// Nothing has been pushed to downstream yet.
    fn renew(&mut self) {
        self.stream = new_stream();
        self.used = false;
        self.eos = false;
    }

    fn stream_start(&self) -> gst::Event {
        let (id, group) = &self.stream;
        gst::event::StreamStart::builder(id)
            .group_id(*group)
            .build()
    }

    /// Begins a recording, if downstream can accept one.
    pub(super) fn begin(&mut self, caps: &gst::Caps) {
        self.recording = Recording::None;
        self.audience = None;
        self.header = None;
        self.peer = real_peer(self.pad);
        if self.peer.is_none() {
            return;
        }
        if is_done(self.pad) {
            (self.warn)(format!(
                "this recording is not pushed on {}: downstream is at EOS; set the elements downstream of src to \
                 READY and back (a filesink needs that for a new location anyway)",
                self.pad.name()
            ));
            return;
        }
        if self.used || self.eos {
            self.stream = new_stream();
        }
        self.used = true;
        self.eos = false;
        self.over = false;
        self.pad.push_event(self.stream_start());
        self.pad.push_event(gst::event::Caps::new(caps));
        self.pad.push_event(segment(0));
        self.recording = Recording::Sending {
            seekable: seekable(self.pad),
            at: 0,
            end: 0,
        };
        let has_headers = caps
            .structure(0)
            .is_some_and(|s| s.has_field(STREAM_HEADER));
        self.header = (!has_headers).then(|| (caps.clone(), Vec::new()));
        self.opening = true;
    }

    /// Warns about a recording that has begun too early.
    pub(super) fn too_early(&self) {
        (self.warn)(format!(
            "this recording is not pushed on {}: the previous one is still being finalised; start after its EOS, \
             once the elements downstream of src have been set to READY and back",
            self.pad.name()
        ));
    }

    /// Pushes the header, first in the caps: sinks for several clients send it to each, and some drop buffers with the
    /// HEADER flag from the stream.
    fn send_header(&mut self) {
        let Some((mut caps, buffers)) = self.header.take() else {
            return;
        };
        if !buffers.is_empty() {
            let list = gst::Array::new(buffers.iter().cloned());
            caps.make_mut().set(STREAM_HEADER, list);
            self.pad.push_event(gst::event::Caps::new(&caps));
            self.list.extend(buffers);
        }
    }

    /// Restricts the following bytes to this kind of downstream.
    pub(super) fn write_for(&mut self, audience: Audience) {
        self.audience = Some(audience);
    }

    /// Pushes bytes, or batches them until [`Sender::flush`]. False if the recording needs no more of them.
    pub(super) fn write(&mut self, pos: u64, buffer: gst::Buffer) -> bool {
        let Recording::Sending { seekable, at, end } = self.recording else {
            return false;
        };
        let here = if seekable {
            Audience::Seekable
        } else {
            Audience::Streaming
        };
        if self.audience.is_some_and(|audience| audience != here) {
            return true;
        }
        let (mut pos, mut buffer) = (pos, buffer);
        let header = pos == at && buffer.flags().contains(gst::BufferFlags::HEADER);
        self.opening &= header;
        if !self.opening {
            self.send_header();
        }
        if pos != at {
            if seekable {
                self.flush();
                self.pad.push_event(segment(pos));
            } else if pos < end {
                let known = (end - pos) as usize;
                let flags = gst::BufferCopyFlags::FLAGS
                    | gst::BufferCopyFlags::TIMESTAMPS
                    | gst::BufferCopyFlags::MEMORY;
                // Bytes already pushed cannot be changed; only those beyond are pushed.
                match buffer.copy_region(flags, known.min(buffer.size())..) {
                    Ok(tail) if tail.size() > 0 => buffer = tail,
                    _ => return true,
                }
                pos = end;
            }
        }
        let next = pos + buffer.size() as u64;
        let inner = buffer.make_mut();
        inner.set_offset(pos);
        inner.set_offset_end(next);
        if !self.opening {
            // Headers of fragments are part of the stream: with the flag, they would be taken for another stream
            // header.
            inner.unset_flags(gst::BufferFlags::HEADER);
        }
        match &mut self.header {
            Some((_, gathered)) => gathered.push(buffer),
            None => self.list.push(buffer),
        }
        // A failed push has ended it.
        if let Recording::Sending { at, end, .. } = &mut self.recording {
            *at = next;
            *end = next.max(*end);
        }
        true
    }

    /// Pushes the batch.
    pub(super) fn flush(&mut self) {
        let list = std::mem::take(&mut self.list);
        if list.is_empty() || !matches!(self.recording, Recording::Sending { .. }) {
            return;
        }
        let flow = match <[gst::Buffer; 1]>::try_from(list) {
            Ok([buffer]) => self.pad.push(buffer),
            Err(list) => self.pad.push_list(list.into_iter().collect()),
        };
        if let Err(err) = flow {
            self.recording = Recording::Failed;
            // Our own shutdown is not a failure of downstream.
            if !self.pad.pad_flags().contains(gst::PadFlags::FLUSHING) {
                (self.warn)(format!(
                    "the recording continues, but is no longer pushed on {}: downstream returned {err}",
                    self.pad.name()
                ));
            }
        }
    }

    /// Stops the output of this recording.
    pub(super) fn give_up(&mut self, reason: &str) {
        self.send_header();
        self.flush();
        if matches!(self.recording, Recording::Sending { .. }) {
            self.recording = Recording::Failed;
            (self.warn)(format!(
                "the recording continues, but is no longer pushed on {}: {reason}",
                self.pad.name()
            ));
        }
    }

    /// Ends the recording: pushes EOS, if it was output.
    pub(super) fn end(&mut self) {
        self.send_header();
        self.flush();
        self.leave_replaced();
        if matches!(self.recording, Recording::Failed) {
            // A failed downstream may have been cycled since, and lack a stream-start.
            self.pad.push_event(self.stream_start());
        }
        if !matches!(self.recording, Recording::None) {
            self.send_eos();
        }
        self.recording = Recording::None;
    }

    /// All tracks have ended: pushes EOS unless already pushed.
    pub(super) fn eos(&mut self) {
        self.over = true;
        self.send_eos();
    }

    fn send_eos(&mut self) {
        self.send_header();
        self.flush();
        if !self.eos {
            self.eos = true;
            self.used = true;
            self.pad.push_event(gst::event::Eos::new());
        }
    }
}

/// Whether downstream of `pad` is seekable (answers SEEKING in BYTES).
pub(super) fn seekable(pad: &gst::Pad) -> bool {
    let mut query = gst::query::Seeking::new(gst::Format::Bytes);
    pad.peer_query(&mut query) && query.result().0
}

/// Whether downstream of `pad` is at EOS until its state is cycled. Check before pushing anything: stream-start would
/// clear the flag, and the sink would still refuse data.
fn is_done(pad: &gst::Pad) -> bool {
    real_peer(pad).is_some_and(|peer| peer.pad_flags().contains(gst::PadFlags::EOS))
}

/// The peer of `pad`, with ghost pads resolved.
fn real_peer(pad: &gst::Pad) -> Option<gst::Pad> {
    let mut peer = pad.peer()?;
    while let Some(proxy) = peer.downcast_ref::<gst::ProxyPad>() {
        peer = proxy.internal()?.peer()?;
    }
    Some(peer)
}

fn new_stream() -> (glib::GString, gst::GroupId) {
    (glib::uuid_string_random(), gst::GroupId::next())
}

/// A BYTES segment that starts at the offset of the next byte.
fn segment(start: u64) -> gst::Event {
    let start = gst::format::Bytes::from_u64(start);
    let mut segment = gst::FormattedSegment::<gst::format::Bytes>::new();
    segment.set_start(start);
    segment.set_time(start);
    gst::event::Segment::new(&segment)
}
