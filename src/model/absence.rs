//! Handling of tracks that receive no media: which ones the recording waits for, and for how long.
//!
//! The muxer waits for its emptiest track, so an absent track blocks all others: its gap is filled. It ends only if
//! codec and container cannot represent a gap. A track that is merely late is not absent, and for encoded tracks a
//! simultaneous pause of all tracks, as in a network outage, needs no action.
//!
//! Pure: time, relative to the start of the recording, is an argument.

use super::timeline::Ns;
use smallvec::SmallVec;
use std::time::Duration;

/// Timeouts of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How far a track may lag behind the others.
    pub behind: Duration,
    /// The same for a track whose last frame can be repeated: shorter, so that audio does not wait for it.
    pub frame: Duration,
    /// After this long without media on any track, the common source is considered paused.
    pub pause: Duration,
    /// How long a non-live track may receive nothing before it counts as gone: with live tracks beside it …
    pub beside_live: Duration,
    /// … and with non-live ones only, so that nothing is lost of a track that is merely slow.
    pub alone: Duration,
    /// How late, beyond its latency, a live track's last buffers may arrive.
    pub last: Duration,
}

impl Patience {
    /// The timeouts of a recording whose media may be queued for `behind`.
    pub const fn new(behind: Duration) -> Self {
        Patience {
            behind,
            frame: Duration::from_secs(1),
            pause: Duration::from_secs(1),
            beside_live: Duration::from_secs(1),
            alone: Duration::from_secs(5),
            last: Duration::from_millis(500),
        }
    }
}

/// State of a track, as needed here.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrackView {
    /// Whether upstream is live, and its latency.
    pub live: bool,
    pub latency: Duration,
    /// Whether it is stored without re-encoding: filling its gaps is final.
    pub encoded: bool,
    /// Whether its gaps can be filled.
    pub fillable: bool,
    /// Whether there is a frame to repeat.
    pub has_current_frame: bool,
    /// Whether the others wait for it: it has not ended, its media type is known, and its queue has space.
    pub awaited: bool,
    /// Whether backpressure blocks upstream because the queue is full.
    pub held_back: bool,
    /// Number of buffers received.
    pub came: u64,
    /// Whether any of them has been placed.
    pub begun: bool,
    /// Running time received so far.
    pub arrived: Ns,
    /// How far the others are ahead in recorded time, or how long a cut has waited for it.
    pub owed: Ns,
}

/// An action on a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Fill it until this running time.
    Fill { track: usize, until: Ns },
    /// End it at its current position.
    LeaveBehind { track: usize },
}

/// What to do with an incomplete track after `stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// Wait for the rest.
    Await,
    /// The rest will not arrive: fill it.
    MakeUp,
}

fn nanoseconds(duration: Duration) -> Ns {
    u64::try_from(duration.as_nanos()).unwrap_or(Ns::MAX)
}

/// When each track last received media.
#[derive(Debug)]
pub struct Absences {
    patience: Patience,
    /// Per track: number of buffers at the last arrival, and its time.
    seen: Vec<(u64, Duration)>,
    /// Time of the last arrival on any track, and since when they have been uninterrupted.
    any_seen: Duration,
    comes_since: Duration,
}

impl Absences {
    /// For this number of tracks, at the start.
    pub fn new(tracks: usize, patience: Patience) -> Self {
        Absences {
            patience,
            seen: vec![(0, Duration::ZERO); tracks],
            any_seen: Duration::ZERO,
            comes_since: Duration::ZERO,
        }
    }

    /// Call often with the current state. `held`: the missing media is blocked in the recorder itself.
    pub fn watch(&mut self, now: Duration, tracks: &[TrackView], held: bool) {
        let mut any = false;
        for (seen, track) in self.seen.iter_mut().zip(tracks) {
            if track.came != seen.0 || held {
                *seen = (track.came, now);
                any = true;
            }
            // Without backpressure there would be more.
            any |= track.held_back;
        }
        if any {
            if now.saturating_sub(self.any_seen) > self.patience.pause {
                self.comes_since = now;
            }
            self.any_seen = now;
        }
    }

    /// Time since the last arrival on a track.
    fn quiet(&self, now: Duration, track: usize) -> Duration {
        let seen = self.seen.get(track).map_or(Duration::ZERO, |seen| seen.1);
        now.saturating_sub(seen)
    }

    /// How long a track has received nothing while others have.
    fn absence(&self, track: usize) -> Duration {
        let seen = self.seen.get(track).map_or(Duration::ZERO, |seen| seen.1);
        self.any_seen.saturating_sub(seen.max(self.comes_since))
    }

    /// Actions for absent tracks when the recording has reached running time `progress`.
    pub fn poll(&self, now: Duration, progress: Ns, tracks: &[TrackView]) -> SmallVec<[Action; 4]> {
        let any_live = tracks.iter().any(|track| track.live);
        let views = tracks.iter().enumerate();
        let awaited = views.filter(|(_, track)| track.awaited);
        let brought = |index: usize| {
            let others = tracks.iter().enumerate();
            let others = others.filter(|(other, _)| *other != index);
            others.map(|(_, other)| other.arrived).max().unwrap_or(0)
        };
        awaited
            .filter_map(|(index, track)| {
                let action = self.of_track(now, progress, index, track, any_live)?;
                match action {
                    // The other tracks do not wait for it beyond their own position.
                    Action::Fill {
                        track: index,
                        until,
                    } if track.encoded => {
                        let until = until.min(brought(index));
                        let is_needed = until > track.arrived;
                        is_needed.then_some(Action::Fill {
                            track: index,
                            until,
                        })
                    }
                    action => Some(action),
                }
            })
            .collect()
    }

    fn of_track(
        &self,
        now: Duration,
        progress: Ns,
        index: usize,
        track: &TrackView,
        any_live: bool,
    ) -> Option<Action> {
        let most = nanoseconds(self.patience.behind);
        let due = progress.saturating_sub(nanoseconds(track.latency));
        let quiet = self.quiet(now, index);
        let mut behind = due.saturating_sub(track.arrived);
        if track.live && track.begun {
            // A late track still arrives.
            behind = behind.min(nanoseconds(quiet));
        }
        let patience = if track.has_current_frame {
            most.min(nanoseconds(self.patience.frame))
        } else {
            most
        };
        let gone = if any_live {
            self.patience.beside_live
        } else {
            self.patience.alone
        };
        if behind <= patience || !(track.live || quiet > gone) {
            return None;
        }
        if track.encoded {
            let absent = !track.live || self.absence(index) > self.patience.behind;
            if track.owed <= most || !absent {
                return None;
            }
        }
        if !track.fillable {
            return Some(Action::LeaveBehind { track: index });
        }
        let until = if track.begun {
            due.min(track.arrived.saturating_add(behind))
        } else {
            due
        };
        Some(Action::Fill {
            track: index,
            until: until.saturating_sub(patience / 2),
        })
    }

    /// What to do with a track that has not reached its end, after `stop` was called at `stopped`.
    pub fn complete(
        &self,
        now: Duration,
        stopped: Duration,
        track: usize,
        view: &TrackView,
    ) -> Completion {
        let since_stop = now.saturating_sub(stopped);
        let late = match view.live {
            true => since_stop > view.latency + self.patience.last,
            // Without backpressure there would be more.
            false if view.held_back => false,
            false => {
                let quiet = self.quiet(now, track).min(since_stop);
                quiet > view.latency + self.patience.beside_live
            }
        };
        if late {
            Completion::MakeUp
        } else {
            Completion::Await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);
    const TICK: Duration = Duration::from_millis(100);
    const TWO: Duration = Duration::from_secs(2);

    fn live(encoded: bool) -> TrackView {
        TrackView {
            live: true,
            encoded,
            fillable: true,
            awaited: true,
            begun: true,
            ..TrackView::default()
        }
    }

    /// Polls every 100 ms for `length`; `comes` tells when each track receives media, `late` behind the clock.
    fn run(
        mut tracks: Vec<TrackView>,
        length: Duration,
        late: Duration,
        comes: impl Fn(usize, Duration) -> bool,
    ) -> Vec<(Duration, Action)> {
        let mut absences = Absences::new(tracks.len(), Patience::new(TWO));
        let mut done = Vec::new();
        let mut now = Duration::ZERO;
        while now < length {
            now += TICK;
            let progress = nanoseconds(now);
            for (index, track) in tracks.iter_mut().enumerate() {
                if comes(index, now) {
                    track.came += 1;
                    track.arrived = nanoseconds(now.saturating_sub(late));
                }
                track.owed = progress.saturating_sub(track.arrived);
            }
            absences.watch(now, &tracks, false);
            for action in absences.poll(now, progress, &tracks) {
                if let Action::LeaveBehind { track } = action
                    && let Some(track) = tracks.get_mut(track)
                {
                    track.awaited = false;
                }
                done.push((now, action));
            }
        }
        done
    }

    #[test]
    fn silence_of_all_tracks_ends_nothing() {
        for away in [1, 5, 30, 3_600] {
            let away = 4_000 * MS..(4_000 + away * 1_000) * MS;
            // One of them returns a little later.
            let comes = |track: usize, now: Duration| {
                now < away.start || now > away.end + track as u32 * 700 * MS
            };
            let tracks = vec![live(true), live(true)];
            let done = run(tracks, away.end + TWO * 3, Duration::ZERO, comes);
            assert_eq!(done, [], "{away:?}");
        }
    }

    #[test]
    fn an_encoded_track_without_a_stand_in_ends() {
        let comes = |track: usize, now: Duration| track == 0 || now < 4_000 * MS;
        let silent = TrackView {
            fillable: false,
            ..live(true)
        };
        let done = run(vec![live(true), silent], 20_000 * MS, Duration::ZERO, comes);
        let [(when, Action::LeaveBehind { track: 1 })] = done[..] else {
            panic!("{done:?}");
        };
        assert!((6_000 * MS..6_400 * MS).contains(&when), "{when:?}");
    }

    #[test]
    fn others_wait_for_a_silent_encoded_track_only_within_its_patience() {
        let away = 4_000 * MS..64_000 * MS;
        let comes = |track: usize, now: Duration| track == 0 || !away.contains(&now);
        let done = run(
            vec![live(true), live(true)],
            80_000 * MS,
            Duration::ZERO,
            comes,
        );
        for (when, action) in &done {
            let Action::Fill { track: 1, until } = *action else {
                panic!("{action:?}");
            };
            assert!((6_000 * MS..away.end).contains(when), "{when:?}");
            assert!(
                until + nanoseconds(TWO) >= nanoseconds(*when),
                "{until} at {when:?}"
            );
        }
        // At every poll.
        assert!(done.len() >= 570, "{}", done.len());
    }

    #[test]
    fn a_frame_every_five_seconds_is_a_track() {
        let comes =
            |track: usize, now: Duration| track == 0 || now.as_millis().is_multiple_of(5_000);
        let tracks = vec![live(true), live(true)];
        let done = run(tracks, 60_000 * MS, Duration::ZERO, comes);
        assert!(!done.is_empty());
        for (when, action) in done {
            let Action::Fill { track: 1, until } = action else {
                panic!("{action:?}");
            };
            // Never beyond a frame that arrives on time.
            let next = nanoseconds(5_000 * MS * (when.as_millis() / 5_000 + 1) as u32);
            assert!(until < next, "{until} at {when:?}");
        }
    }

    #[test]
    fn a_late_raw_track_is_not_filled() {
        let frame = TrackView {
            has_current_frame: true,
            ..live(false)
        };
        let done = run(vec![frame, live(false)], 20_000 * MS, 1_800 * MS, |_, _| {
            true
        });
        assert_eq!(done, []);
    }

    #[test]
    fn a_missing_raw_track_is_filled_behind_late_arrivals() {
        let late = 1_500 * MS;
        let comes = |track: usize, now: Duration| track == 0 || now < 4_000 * MS;
        let done = run(vec![live(false), live(false)], 10_000 * MS, late, comes);
        assert!(!done.is_empty());
        for (when, action) in done {
            let Action::Fill { track: 1, until } = action else {
                panic!("{action:?}");
            };
            assert!(when >= 6_000 * MS);
            assert!(until <= nanoseconds(when - late), "{until} at {when:?}");
        }
    }

    #[test]
    fn a_track_that_never_arrives_is_filled_up_to_the_clock() {
        let never = TrackView {
            begun: false,
            ..live(false)
        };
        let done = run(
            vec![live(false), never],
            5_000 * MS,
            Duration::ZERO,
            |track, _| track == 0,
        );
        let last = done.last().unwrap();
        assert_eq!(
            last.1,
            Action::Fill {
                track: 1,
                until: nanoseconds(4_000 * MS)
            }
        );
    }

    #[test]
    fn non_live_tracks_are_awaited_longer_if_all_can_wait() {
        let file = TrackView {
            live: false,
            ..live(false)
        };
        let comes = |track: usize, now: Duration| track == 0 || now < 1_000 * MS;
        let done = run(vec![file, file], 20_000 * MS, Duration::ZERO, comes);
        assert!(done[0].0 >= 6_000 * MS, "{:?}", done[0]);
        let done = run(vec![live(false), file], 20_000 * MS, Duration::ZERO, comes);
        assert!(done[0].0 < 3_500 * MS, "{:?}", done[0]);
    }

    #[test]
    fn after_stop_late_media_is_awaited_within_its_patience() {
        let absences = Absences::new(1, Patience::new(TWO));
        let view = TrackView {
            latency: 300 * MS,
            ..live(false)
        };
        let at = |ms: u32| absences.complete(5_000 * MS + ms * MS, 5_000 * MS, 0, &view);
        assert_eq!((at(700), at(900)), (Completion::Await, Completion::MakeUp));
    }

    proptest! {
        /// For any arrivals and absences: only absent tracks are filled, and only as far as another track has arrived;
        /// and no track that arrives continuously waits for another for long.
        #[test]
        fn nothing_is_filled_needlessly_and_no_wait_is_long(
            comes in prop::collection::vec(prop::collection::vec((any::<bool>(), 1u32..80), 1..12), 1..4),
        ) {
            let state = |track: usize, now: Duration| {
                let mut at = Duration::ZERO;
                for (comes, ticks) in &comes[track] {
                    at += TICK * *ticks;
                    if now <= at {
                        return *comes;
                    }
                }
                true
            };
            let ticks_before = |when: Duration| {
                (0..20u32).map(move |n| when.saturating_sub(TICK * n))
            };
            let tracks = vec![live(true); comes.len()];
            let length = 30_000 * MS;
            let done = run(tracks, length, Duration::ZERO, state);
            for (when, action) in &done {
                let Action::Fill { track, until } = *action else {
                    panic!("{action:?}");
                };
                prop_assert!(ticks_before(*when).all(|at| !state(track, at)), "it was not away");
                let others = (0..comes.len()).filter(|other| *other != track);
                let ticks = (0..=(when.as_millis() / 100) as u32).map(|n| TICK * n);
                let came = others.filter_map(|other| ticks.clone().filter(|at| state(other, *at)).max());
                prop_assert!(
                    came.max().is_some_and(|came| until <= nanoseconds(came)),
                    "{} was made up until {} for nobody at {:?}", track, until, when
                );
            }
            // A continuous track waits no longer than a track may be late, plus one poll.
            let patient = TWO + TICK * 2;
            for track in 0..comes.len() {
                let (mut there, mut now) = (Duration::ZERO, Duration::ZERO);
                while now < length {
                    now += TICK;
                    if state(track, now) {
                        there = now;
                    }
                    let filled = done.iter().filter(|(when, action)| {
                        *when <= now && matches!(action, Action::Fill { track: filled, .. } if *filled == track)
                    });
                    let until = filled.filter_map(|(_, action)| match action {
                        Action::Fill { until, .. } => Some(Duration::from_nanos(*until)),
                        Action::LeaveBehind { .. } => None,
                    });
                    let stands = until.max().unwrap_or_default().max(there);
                    let mut last = (0..=(patient.as_millis() / 100) as u32).map(|n| now.saturating_sub(TICK * n));
                    let beside = (0..comes.len()).any(|other| last.clone().all(|at| at.is_zero() || state(other, at)));
                    prop_assert!(
                        !beside || now - stands <= patient || last.all(|at| state(track, at)),
                        "others wait for {} since {:?} at {:?}", track, stands, now
                    );
                }
            }
        }
    }
}
