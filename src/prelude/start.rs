//! Determines the start of a recording that begins in the past.

use crate::model::timeline::{Interval, Ns};
use smallvec::SmallVec;

/// Media kept of a track.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// Whether it has to begin at a keyframe.
    pub keyed: bool,
    /// Running time of its first record.
    pub begin: Ns,
    /// Running time of the end of its last.
    pub end: Ns,
    /// The last point at or before the requested instant, else the first after it.
    pub point: Ns,
}

/// The common start for a request of `wanted`: the keyframe at or before it, the earliest of several tracks; later only
/// if no more is kept.
pub fn cut(kept: &[Kept], wanted: Ns) -> Option<Ns> {
    // A track that has received nothing since does not reach into the recording.
    let reach = || kept.iter().filter(|kept| kept.end > wanted);
    let keys = reach().filter(|kept| kept.keyed && kept.point <= wanted);
    if let Some(key) = keys.map(|kept| kept.point).min() {
        return Some(key);
    }
    let begin = reach().map(|kept| kept.begin).min()?;
    Some(begin.max(wanted))
}

/// The recorded intervals from `cut` on. If `cut` is in a pause, they begin at its end.
pub fn intervals_from(intervals: &[Interval], cut: Ns) -> SmallVec<[(Ns, Option<Ns>); 2]> {
    let reach = intervals
        .iter()
        .filter(|interval| interval.end.is_none_or(|end| end > cut));
    reach
        .map(|interval| (interval.start.max(cut), interval.end))
        .collect()
}

/// Moves `wanted` out of a pause to its end: paused media is not part of the past.
pub fn outside_pauses(intervals: &[Interval], wanted: Ns) -> Ns {
    let first = intervals_from(intervals, wanted);
    first.first().map_or(wanted, |(start, _)| *start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn audio(begin: Ns, end: Ns) -> Kept {
        Kept {
            keyed: false,
            begin,
            end,
            point: begin,
        }
    }

    fn frames(begin: Ns, end: Ns, point: Ns) -> Kept {
        let keyed = true;
        Kept {
            keyed,
            begin,
            end,
            point,
        }
    }

    #[test]
    fn audio_alone_begins_at_the_requested_instant() {
        assert_eq!(cut(&[audio(0, 100)], 40), Some(40));
        assert_eq!(cut(&[audio(60, 100)], 40), Some(60));
        assert_eq!(cut(&[], 40), None);
    }

    #[test]
    fn video_moves_the_cut_to_its_keyframe() {
        assert_eq!(cut(&[audio(0, 100), frames(0, 100, 35)], 40), Some(35));
        // Each begins at its own keyframe.
        let both = [frames(0, 100, 35), frames(0, 100, 38)];
        assert_eq!(cut(&both, 40), Some(35));
    }

    #[test]
    fn video_that_arrived_later_or_was_dropped_does_not_move_the_cut() {
        assert_eq!(cut(&[audio(0, 100), frames(70, 100, 70)], 40), Some(40));
        assert_eq!(cut(&[audio(0, 100), frames(0, 20, 10)], 40), Some(40));
        assert_eq!(cut(&[frames(70, 100, 70)], 40), Some(70));
    }

    #[test]
    fn a_pause_is_not_part_of_the_past() {
        let interval = |start, end| Interval {
            start,
            end,
            recorded: start,
            resolved: true,
        };
        let intervals = [interval(10, Some(40)), interval(60, None)];
        assert_eq!(outside_pauses(&intervals, 50), 60);
        assert_eq!(outside_pauses(&intervals, 30), 30);
        assert_eq!(
            intervals_from(&intervals, 30).to_vec(),
            [(30, Some(40)), (60, None)]
        );
        assert_eq!(intervals_from(&intervals, 60).to_vec(), [(60, None)]);
    }

    proptest! {
        #[test]
        fn never_later_than_requested_unless_there_is_nothing(
            tracks in prop::collection::vec((any::<bool>(), 0u64..100, 1u64..100), 1..5),
            wanted in 0u64..200,
        ) {
            let kept: Vec<Kept> = tracks
                .iter()
                .map(|(keyed, begin, length)| Kept {
                    keyed: *keyed,
                    begin: *begin,
                    end: begin + length,
                    point: (*begin).max(wanted.min(begin + length - 1) / 10 * 10),
                })
                .collect();
            let there: Vec<_> = kept.iter().filter(|kept| kept.end > wanted).collect();
            match cut(&kept, wanted) {
                None => prop_assert!(there.is_empty()),
                Some(at) => prop_assert!(
                    at <= wanted || there.iter().all(|kept| kept.begin >= at),
                    "{at}"
                ),
            }
        }
    }
}
