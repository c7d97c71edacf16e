//! Gap filling for encoded media: packets of silence where the codec has them, otherwise a GAP for the muxer, which
//! would wait.

use super::GateOutput;
use crate::{formats::Silence, model::timeline::Ns};

/// Shorter gaps in audio are not filled: delayed packets have such timestamps, too.
const MIN_HOLE: Ns = 100_000_000;
/// The minimum where upstream reports a loss: players that count samples would run ahead with every gap.
const MIN_LOSS: Ns = 5_000_000;
/// After a loss, depayloaders and parsers drop more without reporting it.
const LOSSY: Ns = 250_000_000;
/// A gap that needs more packets than this is not filled: timestamps may jump by days.
const MAX_PACKETS: u64 = 1 << 15;
/// `GST_BUFFER_OFFSET_NONE`.
const NO_OFFSET: u64 = u64::MAX;

/// See the module. All times are recorded time in the current part.
#[derive(Debug)]
pub struct StandIn {
    caps: gst::Structure,
    is_audio: bool,
    /// The last audio packet that was output.
    last: Option<gst::Buffer>,
    /// End of the output so far; `None` before any.
    end: Option<Ns>,
    /// The track is absent: other tracks need not wait for it before this time.
    away: Option<Ns>,
    /// Until here gaps are losses, however short.
    lossy: Ns,
    filled: Ns,
}

impl StandIn {
    /// A filler for media with these caps.
    pub fn new(caps: &gst::StructureRef) -> Self {
        StandIn {
            caps: caps.to_owned(),
            is_audio: caps.name().starts_with("audio/"),
            last: None,
            end: None,
            away: None,
            lossy: 0,
            filled: 0,
        }
    }

    /// Sets the caps of the following buffers.
    pub fn set_caps(&mut self, caps: &gst::StructureRef) {
        self.caps = caps.to_owned();
        self.is_audio = caps.name().starts_with("audio/");
        self.last = None;
    }

    /// Begins the next part, which starts `length` after this one.
    pub fn begin_part(&mut self, length: Ns) {
        // An absent track whose gap the file cannot represent has not been filled up to here.
        let missing = self.away.map_or(0, |away| length.saturating_sub(away));
        self.filled = self.filled.saturating_add(missing);
        let place = |at: Ns| at.saturating_sub(length);
        self.end = self.end.map(place);
        self.away = self.away.map(place);
        self.lossy = place(self.lossy);
    }

    /// Recorded time filled so far.
    pub fn filled(&self) -> Ns {
        self.filled
    }

    /// Whether the codec has silence to fill gaps with.
    pub fn has_silence(&self) -> bool {
        self.silence().is_some()
    }

    /// Whether the end of the output is exact.
    fn has_length(&self) -> bool {
        let last = self.last.as_ref();
        last.is_some_and(|last| last.duration().is_some())
    }

    fn silence(&self) -> Option<Silence> {
        let last = self.last.as_ref()?.map_readable().ok()?;
        Silence::of(&self.caps, &last)
    }

    /// Silence, if it can fill the gap before `until`.
    fn silence_for(&self, until: Ns) -> Option<Silence> {
        let missing = until.saturating_sub(self.end?);
        let silence = self.silence()?;
        (missing / silence.longest().max(1) <= MAX_PACKETS).then_some(silence)
    }

    /// Fills up to `until`, before which no more media is expected.
    pub fn fill(&mut self, until: Ns, out: &mut GateOutput) {
        let from = self.end.max(self.away).unwrap_or(0);
        if until.saturating_sub(from) <= MIN_HOLE {
            return;
        }
        match self.silence_for(until) {
            Some(silence) => {
                self.fill_with(&silence, until, false, out);
                self.away = self.end;
            }
            None => {
                out.gap(until);
                self.filled = self.filled.saturating_add(until - from);
                self.away = Some(until);
            }
        }
    }

    fn fill_with(&mut self, silence: &Silence, until: Ns, whole: bool, out: &mut GateOutput) {
        let Some(from) = self.end else {
            return;
        };
        let mut end = from;
        for (at, length, packet) in silence.fill(until.saturating_sub(from), whole) {
            let mut buffer = gst::Buffer::from_slice(packet.bytes.clone());
            if let Some(fields) = buffer.get_mut() {
                fields.set_pts(gst::ClockTime::from_nseconds(from.saturating_add(at)));
                fields.set_duration(gst::ClockTime::from_nseconds(length));
                fields.set_offset(NO_OFFSET);
                fields.set_offset_end(NO_OFFSET);
                fields.set_flags(gst::BufferFlags::GAP);
            }
            end = from.saturating_add(at).saturating_add(length);
            out.push(buffer);
        }
        self.filled = self.filled.saturating_add(end - from);
        self.end = Some(end);
    }

    /// Whether a packet of audio of this length lies in time that is already filled.
    pub fn covers(&self, at: Ns, length: Ns) -> bool {
        let away = self.away.filter(|_| self.is_audio);
        away.is_some_and(|away| at.saturating_add(length / 2) < away)
    }

    /// Media comes at `at`: fills what is missing before it. Returns where it can begin. `is_loss`: upstream flags lost
    /// packets before it, which holds only if there is a hole.
    pub fn come_back(&mut self, at: Ns, is_loss: bool, out: &mut GateOutput) -> Ns {
        let away = self.away.take();
        let lacks = |end: Ns| at.saturating_sub(end) > MIN_LOSS;
        if is_loss && self.end.is_some_and(lacks) {
            self.lossy = at.saturating_add(LOSSY);
        }
        let least = if at < self.lossy && self.has_length() {
            MIN_LOSS
        } else {
            MIN_HOLE
        };
        let is_hole = |end| away.is_some() || at.saturating_sub(end) > least;
        if self.is_audio
            && self.end.is_some_and(is_hole)
            && let Some(silence) = self.silence_for(at)
        {
            self.fill_with(&silence, at, true, out);
            return at.max(self.end.unwrap_or(0));
        }
        let Some(away) = away else {
            return at;
        };
        self.filled = self.filled.saturating_add(at.saturating_sub(away));
        at.max(away)
    }

    /// Records an output buffer.
    pub fn note(&mut self, at: Ns, buffer: &gst::Buffer) {
        let length = buffer.duration().map_or(0, gst::ClockTime::nseconds);
        self.end = self.end.max(Some(at.saturating_add(length)));
        if self.is_audio {
            self.last = Some(buffer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Piece;

    const MS: Ns = 1_000_000;

    fn opus() -> StandIn {
        gst::init().unwrap();
        let caps = gst::Caps::builder("audio/x-opus")
            .field("channels", 2i32)
            .field("channel-mapping-family", 0i32);
        let caps = caps.build();
        let mut stand_in = StandIn::new(caps.structure(0).unwrap());
        let mut packet = gst::Buffer::from_slice([0xfc, 1, 2]);
        let fields = packet.get_mut().unwrap();
        fields.set_duration(gst::ClockTime::from_mseconds(20));
        stand_in.note(0, &packet);
        stand_in
    }

    /// The output: start of each buffer, or end of each gap.
    fn places(out: GateOutput) -> Vec<Ns> {
        out.into_iter()
            .map(|piece| match piece {
                Piece::Buffer(buffer) => buffer.pts().unwrap().nseconds() / MS,
                Piece::Gap(until) => until / MS,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn gaps_are_filled_and_jitter_is_not() {
        let mut out = GateOutput::new();
        assert_eq!(opus().come_back(119 * MS, false, &mut out), 119 * MS);
        assert_eq!(places(out), Vec::<Ns>::new());
        let mut out = GateOutput::new();
        let mut stand_in = opus();
        assert_eq!(stand_in.come_back(136 * MS, false, &mut out), 136 * MS);
        assert_eq!(places(out), [20, 40, 60, 80, 100, 120, 130]);
        assert_eq!(stand_in.filled(), 115 * MS);
    }

    #[test]
    fn a_packet_lost_upstream_is_filled() {
        let mut out = GateOutput::new();
        assert_eq!(opus().come_back(24 * MS, true, &mut out), 24 * MS);
        assert_eq!(places(out), Vec::<Ns>::new());
        let mut out = GateOutput::new();
        let mut stand_in = opus();
        assert_eq!(stand_in.come_back(41 * MS, true, &mut out), 41 * MS);
        assert_eq!(places(out), [20]);
        // And the next, whose loss is not reported.
        let mut packet = gst::Buffer::from_slice([0xfc, 1, 2]);
        let fields = packet.get_mut().unwrap();
        fields.set_duration(gst::ClockTime::from_mseconds(20));
        stand_in.note(41 * MS, &packet);
        let mut out = GateOutput::new();
        assert_eq!(stand_in.come_back(81 * MS, false, &mut out), 81 * MS);
        assert_eq!(places(out), [61]);
        let mut out = GateOutput::new();
        let mut unknown = opus();
        let mut packet = gst::Buffer::from_slice([0xfc, 1, 2]);
        packet.get_mut().unwrap().set_pts(gst::ClockTime::ZERO);
        unknown.note(20 * MS, &packet);
        assert_eq!(unknown.come_back(60 * MS, true, &mut out), 60 * MS);
        assert_eq!(places(out), Vec::<Ns>::new());
    }

    #[test]
    fn late_media_yields_to_filled_media() {
        let mut out = GateOutput::new();
        let mut stand_in = opus();
        stand_in.fill(205 * MS, &mut out);
        assert_eq!(places(out).last(), Some(&200));
        assert!(stand_in.covers(190 * MS, 20 * MS));
        assert!(!stand_in.covers(200 * MS, 20 * MS));
        let mut out = GateOutput::new();
        assert_eq!(stand_in.come_back(198 * MS, false, &mut out), 205 * MS);
        assert_eq!(places(out), Vec::<Ns>::new());
    }

    #[test]
    fn timestamps_that_jump_by_days_fill_no_memory() {
        let day = 86_400_000 * MS;
        let mut out = GateOutput::new();
        assert_eq!(opus().come_back(60 * day, false, &mut out), 60 * day);
        assert_eq!(places(out), Vec::<Ns>::new());
        let mut out = GateOutput::new();
        opus().fill(60 * day, &mut out);
        assert_eq!(places(out), [60 * 86_400_000]);
    }
}
