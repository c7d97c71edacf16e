//! A GStreamer parser in upstream's streaming thread.

use super::{
    Piece,
    parsers::{are_complete, parser_for},
};
use crate::{
    formats::{NalCodec, PictureTimes, in_order},
    session::lock,
};
use gst::prelude::*;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

/// A parser and its output.
#[derive(Debug)]
pub struct ParserFramer {
    /// The parser's factory name.
    factory: &'static str,
    parser: gst::Element,
    feed: gst::Pad,
    sink: gst::Pad,
    out: Arc<Mutex<Vec<Piece>>>,
    times: Arc<Mutex<PictureTimes>>,
    /// Set if each buffer is an access unit of this codec's NAL units.
    access_units: Mutex<Option<NalCodec>>,
    /// Buffers have been pushed since the last drain.
    begun: AtomicBool,
}

/// The NAL codec, if each buffer is a whole access unit.
fn access_units(caps: &gst::CapsRef) -> Option<NalCodec> {
    let structure = caps.structure(0)?;
    let is = |field, value: &str| structure.get::<&str>(field).is_ok_and(|v| v == value);
    if !is("alignment", "au") || !is("stream-format", "byte-stream") {
        return None;
    }
    match structure.name().as_str() {
        "video/x-h264" => Some(NalCodec::H264),
        "video/x-h265" => Some(NalCodec::H265),
        _ => None,
    }
}

/// The access unit with its NAL units in the order the specification requires. Otherwise a parser would end the access
/// unit at the first unit after the slices that may start another.
fn ordered(buffer: gst::Buffer, codec: NalCodec) -> gst::Buffer {
    let bytes = buffer.map_readable().ok();
    let Some(bytes) = bytes.and_then(|bytes| in_order(&bytes, codec)) else {
        return buffer;
    };
    let mut ordered = gst::Buffer::from_mut_slice(bytes);
    // A failure loses only metadata.
    let _ = buffer.copy_into(ordered.make_mut(), gst::BUFFER_COPY_METADATA, ..);
    ordered
}

/// The frame of MPEG video with its timestamp.
fn stamped(mut frame: gst::Buffer, times: &mut PictureTimes) -> gst::Buffer {
    let pts = frame.pts().map(gst::ClockTime::nseconds);
    let Some(duration) = frame.duration() else {
        return frame;
    };
    let bytes = frame.map_readable().ok();
    let stamp = bytes.and_then(|bytes| times.stamp(&bytes, pts, duration.nseconds()));
    if pts.is_none() && stamp.is_some() {
        let stamp = stamp.map(gst::ClockTime::from_nseconds);
        frame.make_mut().set_pts(stamp);
    }
    frame
}

impl ParserFramer {
    /// A parser for these caps, if they need one and it is installed.
    pub fn new(caps: &gst::Caps) -> Option<Self> {
        let (factory, wanted) = parser_for(caps)?;
        let parser = gst::ElementFactory::make(factory).build().ok()?;
        let out = Arc::<Mutex<Vec<Piece>>>::default();
        let feed = gst::Pad::builder(gst::PadDirection::Src).build();
        let template = gst::PadTemplate::new(
            "sink",
            gst::PadDirection::Sink,
            gst::PadPresence::Always,
            &wanted,
        )
        .ok()?;
        let (buffers, events) = (out.clone(), out.clone());
        let times = Arc::<Mutex<PictureTimes>>::default();
        let of_frames = times.clone();
        let is_mpeg_video = factory == "mpegvideoparse";
        let sink = gst::Pad::builder_from_template(&template)
            .chain_function(move |pad, _, mut buffer| {
                if is_mpeg_video {
                    buffer = stamped(buffer, &mut lock(&of_frames));
                }
                // Not decodable without parameter sets.
                if pad.current_caps().is_some_and(|caps| are_complete(&caps)) {
                    lock(&buffers).push(Piece::Buffer(buffer));
                }
                Ok(gst::FlowSuccess::Ok)
            })
            .event_function(move |_, _, event| {
                if let gst::EventView::Caps(caps) = event.view()
                    && are_complete(caps.caps())
                {
                    lock(&events).push(Piece::Caps(caps.caps_owned()));
                }
                true
            })
            .build();
        let this = ParserFramer {
            factory,
            parser,
            feed,
            sink,
            out,
            times,
            access_units: Mutex::new(access_units(caps)),
            begun: AtomicBool::new(false),
        };
        this.connect(caps).ok()?;
        Some(this)
    }

    fn connect(&self, caps: &gst::Caps) -> Result<(), glib::BoolError> {
        let lacks = || glib::bool_error!("a parser without pads");
        let input = self.parser.static_pad("sink").ok_or_else(lacks)?;
        let output = self.parser.static_pad("src").ok_or_else(lacks)?;
        let linked =
            |result: Result<_, gst::PadLinkError>| result.map_err(|err| glib::bool_error!("{err}"));
        linked(self.feed.link(&input))?;
        linked(output.link(&self.sink))?;
        self.feed.set_active(true)?;
        self.sink.set_active(true)?;
        self.parser
            .set_state(gst::State::Playing)
            .map_err(|err| glib::bool_error!("{err}"))?;
        self.feed.push_event(gst::event::StreamStart::new("framer"));
        self.feed.push_event(gst::event::Caps::new(caps));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.feed.push_event(gst::event::Segment::new(&segment));
        Ok(())
    }

    pub fn fits(&self, caps: &gst::CapsRef) -> bool {
        parser_for(caps).is_some_and(|(factory, _)| factory == self.factory)
    }

    pub fn set_caps(&self, caps: &gst::Caps) -> bool {
        let is_taken = self.feed.push_event(gst::event::Caps::new(caps));
        if is_taken {
            *lock(&self.access_units) = access_units(caps);
        }
        is_taken
    }

    pub fn push(&self, mut buffer: gst::Buffer) -> Vec<Piece> {
        // h264parse aborts the process on an empty buffer after an incomplete unit.
        if buffer.size() == 0 {
            return Vec::new();
        }
        let codec = *lock(&self.access_units);
        if let Some(codec) = codec {
            buffer = ordered(buffer, codec);
        }
        self.begun.store(true, Ordering::SeqCst);
        // The parser drops what it cannot parse; later data may be valid.
        let _ = self.feed.push(buffer);
        self.taken()
    }

    pub fn drain(&self) -> Vec<Piece> {
        if !self.begun.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        self.feed.push_event(gst::event::Eos::new());
        let rest = self.taken();
        self.flush();
        rest
    }

    pub fn flush(&self) {
        self.feed.push_event(gst::event::FlushStart::new());
        self.feed.push_event(gst::event::FlushStop::new(true));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.feed.push_event(gst::event::Segment::new(&segment));
        *lock(&self.times) = PictureTimes::default();
        self.taken();
    }

    fn taken(&self) -> Vec<Piece> {
        std::mem::take(&mut lock(&self.out))
    }
}

impl Drop for ParserFramer {
    fn drop(&mut self) {
        let _ = self.parser.set_state(gst::State::Null);
        let _ = self.feed.set_active(false);
        let _ = self.sink.set_active(false);
    }
}
