//! The timeline applied to real buffers: what is outside is dropped, what spans a cut is
//! clipped, what is missing is filled, and every buffer leaves with its recorded time.
//!
//! A gate belongs to one track of one recording. It is pure but for the buffers: times come in
//! as arguments, the buffers to encode go out in a list.

mod align;
mod audio;
mod cursor;
mod encoded;
mod fill;
mod mute;
mod stand_in;
mod video;

pub use audio::AudioGate;
pub use cursor::IntervalCursor;
pub use encoded::{EncodedGate, KEY_FRAME_LIMIT, headroom, is_entry_point};
pub use mute::Mutes;
pub use video::VideoGate;

use crate::model::{Orientation, timeline::Ns};
use smallvec::SmallVec;

/// What is ready for the encoder, in order.
#[derive(Debug, Default)]
pub struct GateOutput {
    pieces: SmallVec<[Piece; 2]>,
    inputs: u64,
}

/// A piece of [`GateOutput`].
#[derive(Debug)]
pub enum Piece {
    /// Stamped with recorded time, plus the [`headroom`] of the caps before it.
    Buffer(gst::Buffer),
    /// What the buffers after it are.
    Caps(gst::Caps),
    /// Orientation of the frames after it.
    Turn(Orientation),
    /// Nothing comes before this recorded time.
    Gap(Ns),
}

impl GateOutput {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more buffer.
    pub fn push(&mut self, buffer: gst::Buffer) {
        self.pieces.push(Piece::Buffer(buffer));
    }

    /// The buffers to come are of these caps.
    pub fn caps(&mut self, caps: gst::Caps) {
        self.pieces.push(Piece::Caps(caps));
    }

    /// The frames that follow have this orientation.
    pub fn turn(&mut self, turn: Orientation) {
        self.pieces.push(Piece::Turn(turn));
    }

    /// Nothing comes before this recorded time.
    pub fn gap(&mut self, until: Ns) {
        self.pieces.push(Piece::Gap(until));
    }

    /// An input has its first, or only, part in what goes out.
    fn count_input(&mut self) {
        self.inputs += 1;
    }

    /// How many inputs have their first, or only, part in it.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }
}

impl IntoIterator for GateOutput {
    type Item = Piece;
    type IntoIter = smallvec::IntoIter<[Piece; 2]>;

    fn into_iter(self) -> Self::IntoIter {
        self.pieces.into_iter()
    }
}

/// A buffer with its place in running time.
#[derive(Debug, Clone)]
pub struct Input {
    /// As it came from upstream.
    pub buffer: gst::Buffer,
    /// Running time of its first instant.
    pub running: Ns,
    /// Its length as far as its stamps tell.
    pub duration: Option<Ns>,
}

impl Input {
    /// Running time of its end.
    pub fn end(&self) -> Ns {
        self.running.saturating_add(self.duration.unwrap_or(0))
    }

    /// Running time before which nothing will come after it: with B-frames, stamps go back as far
    /// as to the decode time.
    pub fn settled(&self) -> Ns {
        match (self.buffer.pts(), self.buffer.dts()) {
            (Some(pts), Some(dts)) => {
                let ahead = pts.saturating_sub(dts).nseconds();
                self.end().saturating_sub(ahead)
            }
            _ => self.end(),
        }
    }
}

/// Why media is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Upstream has left it out, or went elsewhere.
    Upstream,
    /// Downstream of the gate was too slow for it.
    TooSlow,
}

/// The gate of one track, by what the track carries.
#[derive(Debug)]
pub enum Gate {
    /// Raw audio, cut to the sample.
    Audio(Box<AudioGate>),
    /// Raw video: each frame lasts until the next.
    Video(Box<VideoGate>),
    /// Encoded media, beginning at key frames.
    Encoded(Box<EncodedGate>),
}

impl Gate {
    /// The gate for what `caps` describe.
    pub fn new(caps: &gst::CapsRef) -> Result<Self, glib::BoolError> {
        let Some(structure) = caps.structure(0) else {
            return Err(glib::bool_error!("empty caps"));
        };
        Ok(match structure.name().as_str() {
            "audio/x-raw" => Gate::Audio(Box::new(AudioGate::new(caps)?)),
            "video/x-raw" => Gate::Video(Box::new(VideoGate::new(caps)?)),
            _ => Gate::Encoded(Box::new(EncodedGate::new(structure))),
        })
    }

    /// Takes new caps in the middle of a recording; recorded time goes on from where it is.
    pub fn set_caps(&mut self, caps: &gst::CapsRef) -> Result<(), glib::BoolError> {
        match self {
            Gate::Audio(gate) => gate.set_caps(caps),
            Gate::Video(gate) => gate.set_caps(caps),
            Gate::Encoded(gate) => {
                gate.set_caps(caps);
                Ok(())
            }
        }
    }

    /// Buffers are missing between the last one pushed and the next.
    pub fn lose(&mut self, why: Loss) {
        match self {
            Gate::Encoded(gate) => gate.lose(why),
            // Raw media does not refer to what was before it.
            Gate::Audio(_) | Gate::Video(_) => {}
        }
    }

    /// Black or silence from running time `at` on, or the track's media again. Encoded media
    /// cannot be muted: FALSE.
    pub fn mute(&mut self, at: Ns, muted: bool) -> bool {
        match self {
            Gate::Audio(gate) => gate.mutes.set(at, muted),
            Gate::Video(gate) => gate.mutes.set(at, muted),
            Gate::Encoded(_) => return false,
        }
        true
    }

    /// Takes a buffer and lets out what `safe_until` (running time before which no cut can come
    /// any more) allows.
    pub fn push(
        &mut self,
        input: Input,
        cursor: &mut IntervalCursor,
        safe_until: Ns,
        out: &mut GateOutput,
    ) {
        self.hold(input);
        self.advance(cursor, safe_until, out);
    }

    /// Takes a buffer and lets nothing out yet.
    pub fn hold(&mut self, input: Input) {
        match self {
            Gate::Audio(gate) => gate.push(input),
            Gate::Video(gate) => gate.push(input),
            Gate::Encoded(gate) => gate.push(input),
        }
    }

    /// Lets out what waited for `safe_until`, or for a cut that is known now.
    pub fn advance(&mut self, cursor: &mut IntervalCursor, safe_until: Ns, out: &mut GateOutput) {
        match self {
            Gate::Audio(gate) => gate.advance(cursor, safe_until, out),
            Gate::Video(gate) => gate.advance(cursor, safe_until, out),
            Gate::Encoded(gate) => gate.advance(cursor, safe_until, out),
        }
    }

    /// Nothing has come, and nothing is waited for before running time `until`: silence, the
    /// current frame or black stand in, or a GAP is sent.
    pub fn fill(&mut self, cursor: &mut IntervalCursor, until: Ns, out: &mut GateOutput) {
        match self {
            Gate::Audio(gate) => gate.fill(cursor, until, out),
            Gate::Video(gate) => gate.fill(cursor, until, out),
            Gate::Encoded(gate) => gate.fill(cursor, until, out),
        }
    }

    /// Nothing more comes in: what waits for it waits no longer.
    pub fn settle(&mut self) {
        match self {
            Gate::Audio(gate) => gate.settle(),
            Gate::Video(_) | Gate::Encoded(_) => {}
        }
    }

    /// The end of the track, at recorded time `end`: the frame that is held leaves.
    pub fn finish(&mut self, end: Ns, out: &mut GateOutput) {
        match self {
            Gate::Video(gate) => gate.finish(end, out),
            Gate::Audio(gate) => gate.finish(out),
            Gate::Encoded(_) => {}
        }
    }

    /// The track has all of its part, which ends at recorded time `end`: what is held for it leaves.
    pub fn end_part(&mut self, end: Ns, out: &mut GateOutput) {
        match self {
            Gate::Video(gate) => gate.end_part(end, out),
            Gate::Audio(gate) => gate.finish(out),
            Gate::Encoded(_) => {}
        }
    }

    /// What leaves from now on belongs to the part that begins at recorded time `begin`, and is stamped from there.
    pub fn begin_part(&mut self, begin: Ns) {
        match self {
            Gate::Video(gate) => gate.begin_part(begin),
            Gate::Audio(gate) => gate.begin_part(begin),
            Gate::Encoded(gate) => gate.begin_part(begin),
        }
    }

    /// Running time of the first frame of raw video that waits, from running time `from` on.
    pub fn frame(&self, from: Ns) -> Option<Ns> {
        match self {
            Gate::Video(gate) => gate.frame(from),
            Gate::Audio(_) | Gate::Encoded(_) => None,
        }
    }

    /// How many buffers wait here.
    pub fn waiting(&self) -> usize {
        match self {
            Gate::Audio(gate) => gate.waiting(),
            Gate::Video(gate) => gate.waiting(),
            Gate::Encoded(gate) => gate.waiting(),
        }
    }

    /// How many bytes those are; takes time for each of them.
    pub fn waiting_bytes(&self) -> u64 {
        match self {
            Gate::Audio(gate) => gate.waiting_bytes(),
            Gate::Video(gate) => gate.waiting_bytes(),
            Gate::Encoded(gate) => gate.waiting_bytes(),
        }
    }

    /// The first key frame from running time `from` on that waits.
    pub fn key_frame(&self, from: Ns) -> Option<Ns> {
        match self {
            Gate::Encoded(gate) => gate.key_frame(from),
            Gate::Audio(_) | Gate::Video(_) => None,
        }
    }

    /// The latest running time of encoded media that has come.
    pub fn newest(&self) -> Option<Ns> {
        match self {
            Gate::Encoded(gate) => Some(gate.newest()),
            Gate::Audio(_) | Gate::Video(_) => None,
        }
    }

    /// No key frame comes: the next interval begins with whatever frame does.
    pub fn begin_anywhere(&mut self) {
        if let Gate::Encoded(gate) = self {
            gate.begin_anywhere();
        }
    }

    /// Frames of the recording that were dropped here: what they refer to has been, for [`Loss::TooSlow`]; or a
    /// newer one had come.
    pub fn left_out(&self) -> u64 {
        match self {
            Gate::Encoded(gate) => gate.left_out(),
            Gate::Video(gate) => gate.left_out(),
            Gate::Audio(_) => 0,
        }
    }

    /// Recorded time filled with silence, black or a repeated frame.
    pub fn filled(&self) -> Ns {
        match self {
            Gate::Audio(gate) => gate.filled(),
            Gate::Video(gate) => gate.filled(),
            Gate::Encoded(gate) => gate.filled(),
        }
    }
}
