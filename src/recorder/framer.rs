//! Parses encoded video into whole frames.
//!
//! The gate cuts between frames and has to know the keyframes. H.264 and H.265 byte streams, NAL-aligned and
//! OBU-aligned streams go through a parser first, in upstream's streaming thread. It runs from the first buffer on,
//! even while inactive, so that parameter sets seen before the start are in the caps.

use crate::{
    formats::{Loas, NalCodec, in_order},
    session::lock,
};
use gst::prelude::*;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

/// Output of a framer.
#[derive(Debug)]
pub enum Piece {
    /// The caps of the following buffers.
    Caps(gst::Caps),
    /// One complete frame.
    Buffer(gst::Buffer),
}

/// See the module.
#[derive(Debug)]
pub enum Framer {
    /// A GStreamer parser element.
    Parser(Box<ParserFramer>),
    /// AAC in LOAS, which no parser converts to raw AAC for containers.
    Loas(LoasFramer),
}

impl Framer {
    /// A framer for these caps, if they need one and the parser is installed.
    pub fn new(caps: &gst::Caps) -> Option<Self> {
        if is_loas(caps) {
            return Some(Framer::Loas(LoasFramer::default()));
        }
        let framer = ParserFramer::new(caps)?;
        Some(Framer::Parser(Box::new(framer)))
    }

    /// Sets new upstream caps; FALSE if they need another framer, or none.
    pub fn set_caps(&self, caps: &gst::Caps) -> bool {
        match self {
            Framer::Parser(framer) => framer.set_caps(caps),
            Framer::Loas(_) => is_loas(caps),
        }
    }

    /// Takes a buffer from upstream; returns complete frames.
    pub fn push(&self, buffer: gst::Buffer) -> Vec<Piece> {
        match self {
            Framer::Parser(framer) => framer.push(buffer),
            Framer::Loas(framer) => framer.push(&buffer),
        }
    }

    /// Drains at the end of the stream or segment.
    pub fn drain(&self) -> Vec<Piece> {
        match self {
            Framer::Parser(framer) => framer.drain(),
            Framer::Loas(_) => Vec::new(),
        }
    }

    /// Drops the partial frame only.
    pub fn flush(&self) {
        if let Framer::Parser(framer) = self {
            framer.flush();
        }
    }
}

fn is_loas(caps: &gst::CapsRef) -> bool {
    caps.structure(0).is_some_and(|structure| {
        structure.name() == "audio/mpeg" && structure.get::<&str>("stream-format") == Ok("loas")
    })
}

/// Extracts raw AAC from LOAS frames.
#[derive(Debug, Default)]
pub struct LoasFramer {
    loas: Mutex<Loas>,
    /// The last output caps.
    config: Mutex<Option<gst::Caps>>,
}

impl LoasFramer {
    fn push(&self, buffer: &gst::Buffer) -> Vec<Piece> {
        let mut loas = lock(&self.loas);
        let Ok(bytes) = buffer.map_readable() else {
            return Vec::new();
        };
        let Some((payload, config)) = loas.read(&bytes) else {
            return Vec::new();
        };
        let caps = gst::Caps::builder("audio/mpeg")
            .field("mpegversion", 4i32)
            .field("stream-format", "raw")
            .field("framed", true)
            .field("rate", i32::try_from(config.rate).unwrap_or(0))
            .field("channels", i32::try_from(config.channels).unwrap_or(0))
            .field("codec_data", gst::Buffer::from_slice(config.data.clone()))
            .build();
        let mut raw = gst::Buffer::from_mut_slice(payload);
        // A failure loses only metadata.
        let _ = buffer.copy_into(raw.make_mut(), gst::BUFFER_COPY_METADATA, ..);
        let mut said = lock(&self.config);
        let mut pieces = Vec::new();
        if said.as_ref() != Some(&caps) {
            *said = Some(caps.clone());
            pieces.push(Piece::Caps(caps));
        }
        pieces.push(Piece::Buffer(raw));
        pieces
    }
}

/// A parser and its output.
#[derive(Debug)]
pub struct ParserFramer {
    /// The parser's factory name.
    factory: &'static str,
    parser: gst::Element,
    feed: gst::Pad,
    sink: gst::Pad,
    out: Arc<Mutex<Vec<Piece>>>,
    /// Set if each buffer is an access unit of this codec's NAL units.
    access_units: Mutex<Option<NalCodec>>,
    /// Buffers have been pushed since the last drain.
    begun: AtomicBool,
}

/// The parser for media with these caps and its output caps; `None` if the buffers are whole frames already.
fn parser_for(caps: &gst::CapsRef) -> Option<(&'static str, gst::Caps)> {
    let structure = caps.structure(0)?;
    let is = |field, value: &str| structure.get::<&str>(field).is_ok_and(|v| v == value);
    let frames = is("alignment", "au");
    let (parser, format, alignment) = match structure.name().as_str() {
        "video/x-h264" if frames && (is("stream-format", "avc") || is("stream-format", "avc3")) => {
            return None;
        }
        "video/x-h265"
            if frames && (is("stream-format", "hvc1") || is("stream-format", "hev1")) =>
        {
            return None;
        }
        "video/x-h264" => ("h264parse", "avc", "au"),
        "video/x-h265" => ("h265parse", "hvc1", "au"),
        "video/x-av1" if is("alignment", "tu") && is("stream-format", "obu-stream") => {
            return None;
        }
        "video/x-av1" => ("av1parse", "obu-stream", "tu"),
        _ => return None,
    };
    let wanted = gst::Caps::builder(structure.name())
        .field("stream-format", format)
        .field("alignment", alignment)
        .build();
    Some((parser, wanted))
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

/// Whether caps have all a decoder needs; a parser may learn the parameter sets after the rest.
fn are_complete(caps: &gst::CapsRef) -> bool {
    caps.structure(0)
        .is_some_and(|s| s.name() == "video/x-av1" || s.has_field("codec_data"))
}

impl ParserFramer {
    fn new(caps: &gst::Caps) -> Option<Self> {
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
        let sink = gst::Pad::builder_from_template(&template)
            .chain_function(move |pad, _, buffer| {
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

    fn set_caps(&self, caps: &gst::Caps) -> bool {
        let fits = parser_for(caps).is_some_and(|(factory, _)| factory == self.factory)
            && self.feed.push_event(gst::event::Caps::new(caps));
        if fits {
            *lock(&self.access_units) = access_units(caps);
        }
        fits
    }

    fn push(&self, mut buffer: gst::Buffer) -> Vec<Piece> {
        // h264parse aborts the process on an empty buffer after an incomplete unit.
        if buffer.size() == 0 {
            return Vec::new();
        }
        let codec = *lock(&self.access_units);
        if let Some(codec) = codec {
            buffer = ordered(buffer, codec);
        }
        // Every unit of a frame may have DISCONT, and a parser would end the frame at each.
        buffer.make_mut().unset_flags(gst::BufferFlags::DISCONT);
        self.begun.store(true, Ordering::SeqCst);
        // The parser drops what it cannot parse; later data may be valid.
        let _ = self.feed.push(buffer);
        self.taken()
    }

    fn drain(&self) -> Vec<Piece> {
        if !self.begun.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        self.feed.push_event(gst::event::Eos::new());
        let rest = self.taken();
        self.flush();
        rest
    }

    fn flush(&self) {
        self.feed.push_event(gst::event::FlushStart::new());
        self.feed.push_event(gst::event::FlushStop::new(true));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.feed.push_event(gst::event::Segment::new(&segment));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Three H.264 frames as a byte stream, as output by the encoder.
    fn encoded(caps: &str) -> (gst::Caps, Vec<gst::Buffer>) {
        gst::init().unwrap();
        let line = format!(
            "videotestsrc num-buffers=3 ! video/x-raw,width=64,height=64 ! x264enc tune=zerolatency \
             ! h264parse ! {caps} ! appsink name=out sync=false"
        );
        let pipeline = gst::parse::launch(&line).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        let sink = pipeline.by_name("out").unwrap();
        let sink = sink.downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let mut all = (gst::Caps::new_empty(), Vec::new());
        while let Ok(sample) = sink.pull_sample() {
            all.0 = sample.caps_owned().unwrap();
            all.1.push(sample.buffer_owned().unwrap());
        }
        pipeline.set_state(gst::State::Null).unwrap();
        all
    }

    fn frames(pieces: &[Piece]) -> Vec<&gst::Buffer> {
        let buffers = pieces.iter().filter_map(|piece| match piece {
            Piece::Buffer(buffer) => Some(buffer),
            Piece::Caps(_) => None,
        });
        buffers.collect()
    }

    #[test]
    fn nal_units_become_access_units_and_parameter_sets_are_kept() {
        let (caps, units) = encoded("video/x-h264,stream-format=byte-stream,alignment=nal");
        assert!(units.len() > 5, "{}", units.len());
        let framer = Framer::new(&caps).unwrap();
        let mut pieces = Vec::new();
        for unit in &units {
            pieces.extend(framer.push(unit.clone()));
        }
        pieces.extend(framer.drain());
        let whole = frames(&pieces);
        assert_eq!(whole.len(), 3);
        let delta = |b: &&gst::Buffer| b.flags().contains(gst::BufferFlags::DELTA_UNIT);
        assert_eq!(
            whole.iter().map(delta).collect::<Vec<_>>(),
            [false, true, true]
        );
        let Some(Piece::Caps(caps)) = pieces.first() else {
            panic!("caps come first: {pieces:?}");
        };
        assert!(caps.structure(0).unwrap().has_field("codec_data"), "{caps}");
        // From then on frames without parameter sets pass, even after a flush.
        framer.flush();
        let kind = |unit: &gst::Buffer| unit.map_readable().unwrap()[4] & 0x1f;
        let bare = units.iter().filter(|unit| !matches!(kind(unit), 7..=9));
        let mut pieces = Vec::new();
        for unit in bare {
            pieces.extend(framer.push(unit.clone()));
        }
        pieces.extend(framer.drain());
        assert_eq!(frames(&pieces).len(), 3, "{pieces:?}");
    }

    #[test]
    fn framed_input_needs_no_framer() {
        gst::init().unwrap();
        for caps in [
            "video/x-h264,stream-format=avc,alignment=au",
            "video/x-h265,stream-format=hev1,alignment=au",
            "video/x-av1,stream-format=obu-stream,alignment=tu",
            "video/x-vp8",
            "audio/x-opus",
        ] {
            assert!(Framer::new(&caps.parse().unwrap()).is_none(), "{caps}");
        }
    }

    #[test]
    fn empty_elements_are_omitted() {
        gst::init().unwrap();
        let caps = "video/x-h264,stream-format=byte-stream,alignment=nal";
        let framer = Framer::new(&caps.parse().unwrap()).unwrap();
        for unit in [
            &[0, 0, 0, 1, 9, 0x10][..],
            &[0, 0, 0, 1, 6, 0x30],
            &[0, 0, 0, 1, 9, 0x50, 0x12, 0x64, 1],
            &[],
            &[0x42, 0x78],
        ] {
            let _ = framer.push(gst::Buffer::from_slice(unit.to_vec()));
        }
        assert!(framer.drain().is_empty());
    }
}
