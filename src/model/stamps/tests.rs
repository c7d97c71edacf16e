//! Synthetic streams: late, early and out of order.

use super::*;
use proptest::prelude::*;

const MS: Ns = 1_000_000;
const SECOND: Ns = 1_000 * MS;
const FRAME: Ns = 40 * MS;
const LIMIT: Ns = 2 * SECOND;

/// Passes `stream` (timestamp and arrival time) to a track with this `latency`; returns all positions, in the order of
/// the decisions, and the number of shifts.
fn place(
    stream: impl IntoIterator<Item = (Ns, Ns)>,
    live: bool,
    latency: Ns,
) -> (Vec<(usize, Ns)>, Vec<i64>) {
    let mut stamps = Stamps::new(LIMIT);
    let (mut places, mut shifts) = (Vec::new(), Vec::new());
    let mut take = |decided: Decided<usize>| {
        places.extend(decided.placed.into_iter().map(|(at, item)| (item, at)));
        shifts.extend(decided.shifted);
    };
    for (number, (running, now)) in stream.into_iter().enumerate() {
        let stamp = Stamp {
            running,
            duration: FRAME,
            lead: 0,
        };
        let arrival = Arrival {
            now: live.then_some(now),
            latency,
        };
        match stamps.plain(stamp, arrival) {
            Some(at) => take(Decided {
                placed: [(at, number)].into_iter().collect(),
                ..Decided::default()
            }),
            None => take(stamps.push(stamp, arrival, number)),
        }
    }
    take(stamps.settle());
    (places, shifts)
}

fn steady(frames: u64) -> impl Iterator<Item = (Ns, Ns)> {
    (0..frames).map(|n| (n * FRAME, n * FRAME + 5 * MS))
}

fn assert_in_place(places: &[(usize, Ns)], frames: usize) {
    assert_eq!(places.len(), frames);
    for (turn, (n, at)) in places.iter().enumerate() {
        assert_eq!((*n, *at), (turn, turn as Ns * FRAME));
    }
}

#[test]
fn a_single_wrong_timestamp_costs_nothing() {
    let offs: [i64; 7] = [-3_600, -5, -2, 1, 2, 5, 3_600];
    for (live, off) in [true, false].into_iter().flat_map(|l| offs.map(|o| (l, o))) {
        if !live && off <= 1 {
            continue;
        }
        let off = off * SECOND as i64;
        let stream = steady(200).enumerate().map(|(n, (at, now))| match n {
            125 => (at.saturating_add_signed(off), now),
            _ => (at, now),
        });
        let (places, shifts) = place(stream, live, 0);
        assert_in_place(&places, 200);
        assert!(shifts.is_empty(), "{shifts:?}");
    }
}

#[test]
fn timestamps_from_zero_after_a_late_start_are_shifted_once() {
    let late = 3 * SECOND;
    for latency in [0, 300 * MS] {
        let stream = steady(125).map(|(at, now)| (at, now + late + latency));
        let (places, shifts) = place(stream, true, latency);
        assert_eq!(shifts, [(late + 5 * MS) as i64]);
        for (n, at) in &places {
            assert_eq!(*at, *n as Ns * FRAME + late + 5 * MS);
        }
        assert_eq!(places.len(), 125);
    }
}

#[test]
fn media_delayed_by_a_stall_is_placed_by_its_timestamps() {
    for stall in [SECOND, 5 * SECOND, 60 * SECOND] {
        // The backlog arrives at once.
        let stream = steady(2_000).map(|(at, now)| match now {
            _ if (2 * SECOND..2 * SECOND + stall).contains(&now) => {
                (at, 2 * SECOND + stall + now % 100)
            }
            _ => (at, now),
        });
        let (places, shifts) = place(stream, true, 0);
        assert_in_place(&places, 2_000);
        assert!(shifts.is_empty(), "{shifts:?}");
    }
}

#[test]
fn timestamps_that_stood_still_over_a_gap_are_shifted_once() {
    let hole = 5 * SECOND;
    let stream = steady(250).map(|(at, now)| (at, now + if at >= SECOND { hole } else { 0 }));
    let (places, shifts) = place(stream, true, 0);
    assert_eq!(shifts.len(), 1);
    assert_eq!(places.len(), 250);
    let (_, last) = places[249];
    assert!(last.abs_diff(249 * FRAME + hole) <= 10 * MS, "{last}");
}

#[test]
fn a_permanent_jump_is_shifted_once() {
    for leap in [-30i64, -5, 5, 3_600, 60 * 86_400] {
        let stream = steady(2_000).map(|(at, now)| match at {
            _ if at >= 40 * SECOND => (at.saturating_add_signed(leap * SECOND as i64), now),
            _ => (at, now),
        });
        let (places, shifts) = place(stream, true, 0);
        assert_eq!(shifts.len(), 1, "{leap}");
        assert_eq!(places.len(), 2_000);
        for (n, at) in places {
            assert!(
                at.abs_diff(n as Ns * FRAME) <= 10 * MS,
                "{leap}: {n} at {at}"
            );
        }
    }
}

#[test]
fn slides_every_ten_seconds_are_placed_by_their_timestamps() {
    let stream = (0..20).map(|n| (n * 10 * SECOND, 0));
    let (places, shifts) = place(stream, false, 0);
    assert!(shifts.is_empty(), "{shifts:?}");
    assert!(places.iter().all(|(n, at)| *at == *n as Ns * 10 * SECOND));
    assert_eq!(places.len(), 20);
}

#[test]
fn a_live_source_at_one_frame_per_second_that_runs_ahead_is_placed_by_its_timestamps() {
    let stream = (0..20).map(|n| (n * SECOND + 150 * MS, n * SECOND + n % 3 * 40 * MS));
    let (places, shifts) = place(stream, true, 0);
    assert!(shifts.is_empty(), "{shifts:?}");
    assert!(
        places
            .iter()
            .all(|(n, at)| *at == *n as Ns * SECOND + 150 * MS)
    );
    assert_eq!(places.len(), 20);
}

#[test]
fn a_source_that_is_too_far_ahead_is_shifted() {
    for (ahead, shifted) in [(SECOND, 0), (10 * SECOND, 1)] {
        let stream = steady(250).map(|(at, now)| (at + ahead, now));
        let (places, shifts) = place(stream, true, 0);
        assert_eq!(shifts.len(), shifted);
        assert_eq!(places.len(), 250);
    }
}

#[test]
fn a_source_that_is_too_fast_gets_no_further_ahead_than_the_queue() {
    let stream = (0..100_000).map(|n| (n * FRAME, n * FRAME / 50));
    let mut furthest = 0;
    let stream: Vec<_> = stream.collect();
    let (places, _) = place(stream.clone(), true, 0);
    for (n, at) in places {
        furthest = furthest.max(at.saturating_sub(stream[n].1));
    }
    assert!(furthest <= LIMIT, "{furthest}");
}

/// A disturbance of a stream from some buffer on.
#[derive(Debug, Clone)]
enum Change {
    /// Timestamps jump, for this many buffers, or permanently.
    Leap(i64, Option<usize>),
    /// Nothing arrives for a while, then the backlog, or nothing of it.
    Stall(Ns, bool),
}

fn change() -> impl Strategy<Value = Change> {
    let leap = -7_200_000i64..7_200_000;
    prop_oneof![
        (leap, prop::option::of(1usize..4))
            .prop_map(|(ms, length)| Change::Leap(ms * MS as i64, length)),
        (0u64..20_000, any::<bool>()).prop_map(|(ms, held)| Change::Stall(ms * MS, held)),
    ]
}

/// Two thousand 40 ms frames with some jitter, disturbed by `changes`: timestamp and arrival time.
fn disturbed(changes: &[(usize, Change)], jitter: &[u64]) -> Vec<(Ns, Ns)> {
    let (mut off, mut back_at, mut stalled) = (0i64, None, (0, 0));
    let mut stream = Vec::new();
    for n in 0..2_000usize {
        let at = 10_000 * SECOND + n as Ns * FRAME;
        for (_, change) in changes.iter().filter(|(from, _)| *from == n) {
            match change {
                Change::Leap(by, length) => {
                    off += by;
                    back_at = length.map(|length| (n + length, *by)).or(back_at);
                }
                Change::Stall(length, held) => {
                    stalled = (at + length, if *held { at } else { at + length });
                }
            }
        }
        if let Some((until, by)) = back_at
            && n >= until
        {
            off -= by;
            back_at = None;
        }
        if (stalled.1..stalled.0).contains(&at) || at >= stalled.1 {
            let now = at.max(stalled.0) + jitter[n % jitter.len()] * MS;
            stream.push((at.saturating_add_signed(off), now));
        }
    }
    // They arrive in order.
    let mut latest = 0;
    for (_, now) in &mut stream {
        latest = latest.max(*now);
        *now = latest;
    }
    stream
}

proptest! {
    /// For any disturbance, next to nothing is lost, nothing is left waiting, and no position is further ahead of the
    /// clock than may be queued, or behind it than the rule allows.
    #[test]
    fn every_live_buffer_is_placed(
        changes in prop::collection::vec((0usize..1_900, change()), 0..6),
        jitter in prop::collection::vec(0u64..60, 1..20),
        latency in prop::sample::select(vec![0, 200 * MS]),
    ) {
        let stream: Vec<_> = disturbed(&changes, &jitter)
            .into_iter()
            .map(|(at, now)| (at, now + latency))
            .collect();
        let (places, _) = place(stream.clone(), true, latency);
        // A jump during the backlog of a stall may leave the rest of that too far ahead.
        let leaps = changes.len() > 1;
        let held_up = changes.iter().filter_map(|(_, change)| match change {
            Change::Stall(length, true) if leaps => Some((*length + 2 * LIMIT) / FRAME),
            Change::Stall(..) | Change::Leap(..) => None,
        });
        let lost = (stream.len() - places.len()) as u64;
        prop_assert!(lost <= held_up.sum::<u64>(), "{} of {} lost", lost, stream.len());
        prop_assert!(places.is_sorted_by_key(|(n, _)| *n), "in the order in which they came");
        for (n, at) in &places {
            prop_assert!(*at <= stream[*n].1 + LIMIT + 2 * FRAME, "{} is ahead", n);
        }
        // A stream that has been undisturbed for a while is placed correctly.
        let last_change = changes.iter().map(|(from, _)| *from + 600).max().unwrap_or(0);
        for (n, at) in places.iter().filter(|(n, _)| *n > last_change) {
            let late = stream[*n].1.saturating_sub(at + FRAME + latency);
            prop_assert!(late <= LIMIT + 10 * MS, "{} is {} ms late", n, late / MS);
        }
    }

    /// Where timestamps were correct and are again, positions are, too.
    #[test]
    fn one_wrong_timestamp_changes_no_other(
        wrong in prop::collection::btree_map(1usize..1_999, -7_200_000i64..7_200_000, 0..20),
        live in any::<bool>(),
    ) {
        let alone = |n: &usize| wrong.contains_key(n)
            && !wrong.contains_key(&(n - 1)) && !wrong.contains_key(&(n + 1));
        let base = 10_000 * SECOND;
        let stream = steady(2_000).enumerate().map(|(n, (at, now))| {
            let off = wrong.get(&n).filter(|_| alone(&n)).map_or(0, |ms| ms * MS as i64);
            ((base + at).saturating_add_signed(off), base + now)
        });
        let (places, shifts) = place(stream, live, 0);
        prop_assert_eq!(shifts, Vec::<i64>::new());
        prop_assert_eq!(places.len(), 2_000);
        for (n, at) in places {
            // Small steps are handled by the gates.
            if !alone(&n) {
                prop_assert_eq!(at, base + n as Ns * FRAME, "{}", n);
            }
        }
    }

    /// For any timestamps and any clock: no panics, and no item is lost.
    #[test]
    fn no_media_disappears(
        stream in prop::collection::vec((any::<u64>(), any::<u64>()), 0..300),
        live in any::<bool>(),
    ) {
        let (places, _) = place(stream.clone(), live, 0);
        prop_assert!(places.len() <= stream.len());
        if !live {
            prop_assert_eq!(places.len(), stream.len());
        }
    }
}
