//! Presentation times of MPEG-1 and MPEG-2 video (ISO/IEC 13818-2): a program stream has timestamps for some frames
//! only, and in decode order the others cannot be interpolated.

/// Start codes: 00 00 01 and one of these.
const PICTURE: u8 = 0x00;
const GROUP: u8 = 0xb8;
/// `temporal_reference` is counted modulo this.
const MODULUS: i64 = 1024;

/// Derives the missing timestamps from `temporal_reference`, a frame's number in presentation order within its group
/// of pictures.
#[derive(Debug, Default)]
pub struct PictureTimes {
    /// Timestamp of number 0 of the group, in nanoseconds.
    origin: Option<i64>,
    /// The highest number in the group so far.
    last: i64,
}

impl PictureTimes {
    /// The timestamp of a frame without one; `None` if it is unknown. Call for each frame in decode order.
    pub fn stamp(&mut self, frame: &[u8], pts: Option<u64>, duration: u64) -> Option<u64> {
        let (number, begins_group) = picture(frame)?;
        let after = |count: i64| i64::try_from(duration).ok()?.checked_mul(count);
        // The groups follow one another in presentation order, too.
        if begins_group {
            self.move_origin(after(self.last + 1));
            self.last = number;
        } else if number + MODULUS / 2 < self.last {
            self.move_origin(after(MODULUS));
            self.last = number;
        }
        self.last = self.last.max(number);
        let since = after(number)?;
        if let Some(pts) = pts {
            self.origin = i64::try_from(pts).ok()?.checked_sub(since);
            return Some(pts);
        }
        u64::try_from(self.origin?.checked_add(since)?).ok()
    }

    fn move_origin(&mut self, by: Option<i64>) {
        self.origin = self
            .origin
            .zip(by)
            .and_then(|(origin, by)| origin.checked_add(by));
    }
}

/// `temporal_reference` of the first picture, and whether a group of pictures begins with it.
fn picture(frame: &[u8]) -> Option<(i64, bool)> {
    let mut begins_group = false;
    for (at, code) in frame.windows(4).enumerate() {
        match code {
            [0, 0, 1, GROUP] => begins_group = true,
            [0, 0, 1, PICTURE] => {
                let [high, low] = frame.get(at + 4..at + 6)? else {
                    return None;
                };
                return Some((i64::from(*high) << 2 | i64::from(low >> 6), begins_group));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(number: u16, begins_group: bool) -> Vec<u8> {
        let group: &[u8] = if begins_group {
            &[0, 0, 1, GROUP, 9, 9, 9, 9]
        } else {
            &[]
        };
        let number = (number << 6).to_be_bytes();
        [group, &[0, 0, 1, PICTURE], &number].concat()
    }

    #[test]
    fn frames_are_numbered_in_presentation_order() {
        let mut times = PictureTimes::default();
        let mut stamp = |number, begins, pts| times.stamp(&frame(number, begins), pts, 10);
        assert_eq!(stamp(1, false, None), None);
        // I P B B, and an open group: I B B P.
        assert_eq!(stamp(0, true, Some(100)), Some(100));
        assert_eq!(stamp(3, false, None), Some(130));
        assert_eq!(stamp(1, false, None), Some(110));
        assert_eq!(stamp(2, false, None), Some(120));
        assert_eq!(stamp(2, true, None), Some(160));
        assert_eq!(stamp(0, false, None), Some(140));
        assert_eq!(stamp(1, false, Some(151)), Some(151));
        assert_eq!(stamp(3, false, None), Some(171));
        // Without groups, numbers wrap.
        assert_eq!(stamp(1023, false, Some(20_000)), Some(20_000));
        assert_eq!(stamp(0, false, None), Some(20_010));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(GROUP), any::<u8>()], 0..100),
            pts in any::<Option<u64>>(),
            duration: u64,
        ) {
            let mut times = PictureTimes::default();
            for _ in 0..3 {
                let _ = times.stamp(&bytes, pts, duration);
                let _ = times.stamp(&bytes, None, duration);
            }
        }
    }
}
