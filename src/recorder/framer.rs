//! Turns encoded input into whole frames.
//!
//! The gate cuts between frames and has to know the keyframes. Input whose caps do not mark it as whole frames goes
//! through a parser first, in upstream's streaming thread: byte streams and other alignments of H.264, H.265 and AV1,
//! and MPEG audio and video as demuxers output them, several frames or a part of one in each buffer. It runs from the
//! first buffer on, even while inactive, so that parameter sets seen before the start are in the caps.

mod discont;
mod loas;
mod parser;
mod parsers;

use crate::session::lock;
use discont::Discont;
use loas::LoasFramer;
use parser::ParserFramer;
use std::sync::Mutex;

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
pub struct Framer {
    splitter: Splitter,
    discont: Mutex<Discont>,
}

#[derive(Debug)]
enum Splitter {
    /// A GStreamer parser element.
    Parser(Box<ParserFramer>),
    /// AAC in LOAS.
    Loas(Box<LoasFramer>),
}

impl Framer {
    /// A framer for these caps, if they need one and the parser is installed.
    pub fn new(caps: &gst::Caps) -> Option<Self> {
        let splitter = match LoasFramer::new(caps) {
            Some(framer) => Splitter::Loas(Box::new(framer)),
            None => Splitter::Parser(Box::new(ParserFramer::new(caps)?)),
        };
        Some(Framer {
            splitter,
            discont: Mutex::default(),
        })
    }

    /// Whether new upstream caps need no other framer.
    pub fn fits(&self, caps: &gst::CapsRef) -> bool {
        match &self.splitter {
            Splitter::Parser(framer) => framer.fits(caps),
            Splitter::Loas(framer) => framer.fits(caps),
        }
    }

    /// Sets new upstream caps that [fit](Self::fits); FALSE if the parser rejects them.
    pub fn set_caps(&self, caps: &gst::Caps) -> bool {
        match &self.splitter {
            Splitter::Parser(framer) => framer.set_caps(caps),
            Splitter::Loas(_) => true,
        }
    }

    /// Takes a buffer from upstream; returns complete frames.
    pub fn push(&self, mut buffer: gst::Buffer) -> Vec<Piece> {
        let mut discont = lock(&self.discont);
        discont.take(&mut buffer);
        let mut pieces = match &self.splitter {
            Splitter::Parser(framer) => framer.push(buffer),
            Splitter::Loas(framer) => framer.push(buffer),
        };
        discont.flag(&mut pieces);
        pieces
    }

    /// Drains at the end of the stream or segment.
    pub fn drain(&self) -> Vec<Piece> {
        let mut pieces = match &self.splitter {
            Splitter::Parser(framer) => framer.drain(),
            // It holds back no whole frame.
            Splitter::Loas(_) => Vec::new(),
        };
        let mut discont = lock(&self.discont);
        discont.next_push();
        discont.flag(&mut pieces);
        pieces
    }

    /// Drops the partial frame only.
    pub fn flush(&self) {
        match &self.splitter {
            Splitter::Parser(framer) => framer.flush(),
            Splitter::Loas(framer) => framer.flush(),
        }
        *lock(&self.discont) = Discont::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst::prelude::*;

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
            "video/mpeg,mpegversion=2,systemstream=false,parsed=true",
            "video/mpeg,mpegversion=4,systemstream=false",
            "audio/mpeg,mpegversion=1,layer=3,parsed=true",
            "audio/mpeg,mpegversion=4,stream-format=adts,framed=true",
            "audio/mpeg,mpegversion=4,stream-format=raw",
            "audio/x-opus",
        ] {
            assert!(Framer::new(&caps.parse().unwrap()).is_none(), "{caps}");
        }
    }

    #[test]
    fn unmarked_mpeg_input_has_a_parser() {
        gst::init().unwrap();
        let parsed = [
            "audio/mpeg,mpegversion=1",
            "audio/mpeg,mpegversion=2,stream-format=adts",
            "audio/mpeg,mpegversion=4,stream-format=adts,framed=false",
            "audio/mpeg,mpegversion=4,stream-format=loas",
            "video/mpeg,mpegversion=2,systemstream=false",
        ];
        let parsed = parsed.map(|caps| caps.parse::<gst::Caps>().unwrap());
        for (at, caps) in parsed.iter().enumerate() {
            let framer = Framer::new(caps).unwrap();
            for (other, caps) in parsed.iter().enumerate() {
                let is_same = at == other || [at, other].iter().all(|n| [1, 2].contains(n));
                assert_eq!(framer.fits(caps), is_same, "{caps}");
            }
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
