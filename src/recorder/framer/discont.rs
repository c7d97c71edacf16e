//! Moves DISCONT from input to the frame that it belongs to.

use super::Piece;

/// The pending discontinuity of the input, if any.
#[derive(Debug, Default)]
pub struct Discont(Option<Since>);

/// Which frame has the discontinuity.
#[derive(Debug)]
enum Since {
    /// The first one at or after this timestamp.
    Stamp(gst::ClockTime),
    /// The first one after the current push, which may return the frame before.
    NextPush,
    Now,
}

impl Discont {
    /// Takes the flag from an input buffer: every unit of a frame may have it, and a parser would end the frame at each.
    pub fn take(&mut self, buffer: &mut gst::Buffer) {
        self.next_push();
        if buffer.flags().contains(gst::BufferFlags::DISCONT) {
            let since = buffer.pts().map_or(Since::NextPush, Since::Stamp);
            self.0.get_or_insert(since);
            buffer.make_mut().unset_flags(gst::BufferFlags::DISCONT);
        }
    }

    /// What follows is not returned by the push that had the flag.
    pub fn next_push(&mut self) {
        if let Some(Since::NextPush) = self.0 {
            self.0 = Some(Since::Now);
        }
    }

    /// Flags the first frame after the discontinuity.
    pub fn flag(&mut self, pieces: &mut [Piece]) {
        for piece in pieces {
            let Piece::Buffer(frame) = piece else {
                continue;
            };
            let is_after = match &self.0 {
                Some(Since::Stamp(stamp)) => frame.pts().is_none_or(|pts| pts >= *stamp),
                Some(Since::Now) => true,
                Some(Since::NextPush) | None => false,
            };
            if is_after {
                frame.make_mut().set_flags(gst::BufferFlags::DISCONT);
                self.0 = None;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(pts: Option<u64>, is_discont: bool) -> gst::Buffer {
        let mut buffer = gst::Buffer::new();
        let fields = buffer.make_mut();
        fields.set_pts(pts.map(gst::ClockTime::from_mseconds));
        if is_discont {
            fields.set_flags(gst::BufferFlags::DISCONT);
        }
        buffer
    }

    /// Which of the frames have the flag that the input with this timestamp had.
    fn flagged(input: Option<u64>, pushes: &[&[Option<u64>]]) -> Vec<bool> {
        gst::init().unwrap();
        let mut discont = Discont::default();
        let mut flags = Vec::new();
        for (number, frames) in pushes.iter().enumerate() {
            let mut buffer = frame(input, number == 0);
            discont.take(&mut buffer);
            assert!(!buffer.flags().contains(gst::BufferFlags::DISCONT));
            let frames = frames.iter().map(|pts| Piece::Buffer(frame(*pts, false)));
            let mut pieces: Vec<_> = frames.collect();
            discont.flag(&mut pieces);
            flags.extend(pieces.iter().map(|piece| match piece {
                Piece::Buffer(frame) => frame.flags().contains(gst::BufferFlags::DISCONT),
                Piece::Caps(_) => unreachable!("only frames"),
            }));
        }
        flags
    }

    #[test]
    fn only_the_frame_after_the_discontinuity_has_the_flag() {
        let late = &[Some(40), Some(1_000)];
        assert_eq!(
            flagged(Some(1_000), &[late, &[Some(1_040)]]),
            [false, true, false]
        );
        assert_eq!(
            flagged(Some(1_000), &[&[Some(40)], &[None, None]]),
            [false, true, false]
        );
        assert_eq!(flagged(None, &[late, &[Some(1_040)]]), [false, false, true]);
    }
}
