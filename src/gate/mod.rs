//! Applies the timeline to buffers: drops media outside the intervals, clips buffers at cuts, fills gaps, and stamps
//! every buffer with recorded time.
//!
//! A gate belongs to one track of one recording. It is pure except for the buffers: times are arguments, and the
//! buffers to encode are returned in a list.

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

/// Buffers and events for the encoder, in order.
#[derive(Debug, Default)]
pub struct GateOutput {
    pieces: SmallVec<[Piece; 2]>,
    inputs: u64,
}

/// An item of [`GateOutput`].
#[derive(Debug)]
pub enum Piece {
    /// A buffer stamped with recorded time, plus the [`headroom`] of the caps before it.
    Buffer(gst::Buffer),
    /// Caps of the following buffers.
    Caps(gst::Caps),
    /// Orientation of the following frames.
    Turn(Orientation),
    /// No media before this recorded time.
    Gap(Ns),
}

impl GateOutput {
    /// An empty output.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a buffer.
    pub fn push(&mut self, buffer: gst::Buffer) {
        self.pieces.push(Piece::Buffer(buffer));
    }

    /// Appends the caps of the following buffers.
    pub fn caps(&mut self, caps: gst::Caps) {
        self.pieces.push(Piece::Caps(caps));
    }

    /// Appends the orientation of the following frames.
    pub fn turn(&mut self, turn: Orientation) {
        self.pieces.push(Piece::Turn(turn));
    }

    /// Appends a gap until this recorded time.
    pub fn gap(&mut self, until: Ns) {
        self.pieces.push(Piece::Gap(until));
    }

    /// Counts an input whose first, or only, part is in the output.
    fn count_input(&mut self) {
        self.inputs += 1;
    }

    /// Number of inputs whose first, or only, part is in it.
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

/// An input buffer with its running time.
#[derive(Debug, Clone)]
pub struct Input {
    /// The buffer from upstream.
    pub buffer: gst::Buffer,
    /// Running time of its start.
    pub running: Ns,
    /// Its duration, if known from its timestamps.
    pub duration: Option<Ns>,
}

impl Input {
    /// Running time of its end.
    pub fn end(&self) -> Ns {
        self.running.saturating_add(self.duration.unwrap_or(0))
    }

    /// Running time before which no later buffer begins: with B-frames, timestamps go back as far as the decode time.
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
    /// Upstream dropped it or changed position.
    Upstream,
    /// Downstream of the gate was too slow.
    TooSlow,
}

/// The gate of one track, by media type.
#[derive(Debug)]
pub enum Gate {
    /// Raw audio, cut to the sample.
    Audio(Box<AudioGate>),
    /// Raw video: each frame lasts until the next.
    Video(Box<VideoGate>),
    /// Encoded media, beginning at keyframes.
    Encoded(Box<EncodedGate>),
}

impl Gate {
    /// A gate for media with these caps.
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

    /// Sets new caps in mid-recording; recorded time continues.
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

    /// Marks a loss between the last buffer pushed and the next.
    pub fn lose(&mut self, why: Loss) {
        match self {
            Gate::Encoded(gate) => gate.lose(why),
            // Raw media has no dependencies on earlier buffers.
            Gate::Audio(_) | Gate::Video(_) => {}
        }
    }

    /// Mutes the track (black or silence) from running time `at` on, or unmutes it. FALSE for encoded media, which
    /// cannot be muted.
    pub fn mute(&mut self, at: Ns, muted: bool) -> bool {
        match self {
            Gate::Audio(gate) => gate.mutes.set(at, muted),
            Gate::Video(gate) => gate.mutes.set(at, muted),
            Gate::Encoded(_) => return false,
        }
        true
    }

    /// Takes a buffer and outputs all media before `safe_until`, the running time before which no further cut is
    /// possible.
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

    /// Queues a buffer without output.
    pub fn hold(&mut self, input: Input) {
        match self {
            Gate::Audio(gate) => gate.push(input),
            Gate::Video(gate) => gate.push(input),
            Gate::Encoded(gate) => gate.push(input),
        }
    }

    /// Outputs queued media up to `safe_until`, or up to a cut that is now known.
    pub fn advance(&mut self, cursor: &mut IntervalCursor, safe_until: Ns, out: &mut GateOutput) {
        match self {
            Gate::Audio(gate) => gate.advance(cursor, safe_until, out),
            Gate::Video(gate) => gate.advance(cursor, safe_until, out),
            Gate::Encoded(gate) => gate.advance(cursor, safe_until, out),
        }
    }

    /// Advances to running time `until`, before which no more media is expected: fills with silence, the current frame
    /// or black, or sends a GAP.
    pub fn fill(&mut self, cursor: &mut IntervalCursor, until: Ns, out: &mut GateOutput) {
        match self {
            Gate::Audio(gate) => gate.fill(cursor, until, out),
            Gate::Video(gate) => gate.fill(cursor, until, out),
            Gate::Encoded(gate) => gate.fill(cursor, until, out),
        }
    }

    /// No more input: resolves what waits for later buffers.
    pub fn settle(&mut self) {
        match self {
            Gate::Audio(gate) => gate.settle(),
            Gate::Video(_) | Gate::Encoded(_) => {}
        }
    }

    /// Ends the track at recorded time `end`: outputs the held frame.
    pub fn finish(&mut self, end: Ns, out: &mut GateOutput) {
        match self {
            Gate::Video(gate) => gate.finish(end, out),
            Gate::Audio(gate) => gate.finish(out),
            Gate::Encoded(_) => {}
        }
    }

    /// Ends the track's part at recorded time `end`: outputs the media held for it.
    pub fn end_part(&mut self, end: Ns, out: &mut GateOutput) {
        match self {
            Gate::Video(gate) => gate.end_part(end, out),
            Gate::Audio(gate) => gate.finish(out),
            Gate::Encoded(_) => {}
        }
    }

    /// Begins the part at recorded time `begin`; output timestamps are relative to it.
    pub fn begin_part(&mut self, begin: Ns) {
        match self {
            Gate::Video(gate) => gate.begin_part(begin),
            Gate::Audio(gate) => gate.begin_part(begin),
            Gate::Encoded(gate) => gate.begin_part(begin),
        }
    }

    /// The media output from recorded time `begin` on is moved to the next part, which begins there. Encoded media is
    /// not moved.
    pub fn move_to_part(&mut self, begin: Ns) {
        match self {
            Gate::Video(gate) => gate.move_to_part(begin),
            Gate::Audio(gate) => gate.move_to_part(begin),
            Gate::Encoded(_) => {}
        }
    }

    /// Running time of the first queued raw video frame at or after running time `from`.
    pub fn frame(&self, from: Ns) -> Option<Ns> {
        match self {
            Gate::Video(gate) => gate.frame(from),
            Gate::Audio(_) | Gate::Encoded(_) => None,
        }
    }

    /// Number of queued buffers.
    pub fn waiting(&self) -> usize {
        match self {
            Gate::Audio(gate) => gate.waiting(),
            Gate::Video(gate) => gate.waiting(),
            Gate::Encoded(gate) => gate.waiting(),
        }
    }

    /// Running time beyond which media has to be let in so that the first queued buffer comes out.
    pub fn comes_out_at(&self) -> Option<Ns> {
        match self {
            Gate::Audio(gate) => gate.comes_out_at(),
            Gate::Video(gate) => gate.first_waiting(),
            Gate::Encoded(gate) => gate.comes_out_at(),
        }
    }

    /// Bytes of the queued buffers; linear in their number.
    pub fn waiting_bytes(&self) -> u64 {
        match self {
            Gate::Audio(gate) => gate.waiting_bytes(),
            Gate::Video(gate) => gate.waiting_bytes(),
            Gate::Encoded(gate) => gate.waiting_bytes(),
        }
    }

    /// Running time of the first queued keyframe at or after running time `from`.
    pub fn key_frame(&self, from: Ns) -> Option<Ns> {
        match self {
            Gate::Encoded(gate) => gate.key_frame(from),
            Gate::Audio(_) | Gate::Video(_) => None,
        }
    }

    /// The latest running time received, for encoded media.
    pub fn newest(&self) -> Option<Ns> {
        match self {
            Gate::Encoded(gate) => Some(gate.newest()),
            Gate::Audio(_) | Gate::Video(_) => None,
        }
    }

    /// No keyframe will arrive: the next interval may begin with any frame.
    pub fn begin_anywhere(&mut self) {
        if let Gate::Encoded(gate) = self {
            gate.begin_anywhere();
        }
    }

    /// Frames of the recording dropped here: those that depend on a [`Loss::TooSlow`], and those older than one already
    /// shown.
    pub fn dropped(&self) -> u64 {
        match self {
            Gate::Encoded(gate) => gate.dropped(),
            Gate::Video(gate) => gate.dropped(),
            Gate::Audio(_) => 0,
        }
    }

    /// Recorded time filled with silence, black or repeated frames.
    pub fn filled(&self) -> Ns {
        match self {
            Gate::Audio(gate) => gate.filled(),
            Gate::Video(gate) => gate.filled(),
            Gate::Encoded(gate) => gate.filled(),
        }
    }
}
