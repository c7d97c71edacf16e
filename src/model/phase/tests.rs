//! Every decision of a supervisor, and arbitrary sequences of events.

use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

const LIMITS: Limits = Limits {
    patience: Duration::from_secs(2),
    grace: SECOND,
    first_bytes: Duration::from_secs(2),
    drain: Duration::from_secs(5),
    completing: Duration::from_secs(6),
};

const KNOWN: TrackView = TrackView {
    is_known: true,
    is_in_encoder: false,
    has_ended: false,
    is_closed: false,
    is_closed_for_part: false,
};

const UNKNOWN: TrackView = TrackView {
    is_known: false,
    ..KNOWN
};

const CLOSED: TrackView = TrackView {
    is_closed: true,
    is_closed_for_part: true,
    ..UNKNOWN
};

const FIRST: View<'_> = View {
    tracks: &[],
    is_first: true,
    any_live: true,
    start_is_pending: false,
    cut_is_pending: false,
    is_paused: false,
    has_media: true,
    is_announced: true,
    has_bytes: false,
    is_drained: false,
    ahead: 0,
    begun: Duration::ZERO,
    stopped: None,
    ended: None,
    completing: None,
};

fn waiting(view: View<'_>) -> Option<Action> {
    Phase::Waiting.next(&view, &LIMITS)
}

#[test]
fn the_pipeline_is_built_once_all_tracks_are_known() {
    let tracks = [KNOWN, UNKNOWN];
    let view = View {
        tracks: &tracks,
        ..FIRST
    };
    assert_eq!(waiting(view), None);
    let tracks = [KNOWN, KNOWN];
    let view = View {
        tracks: &tracks,
        ..FIRST
    };
    assert_eq!(waiting(view), Some(Action::Build));
    let pending = View {
        start_is_pending: true,
        cut_is_pending: true,
        ..view
    };
    assert_eq!(waiting(pending), None);
    let stopped = View {
        stopped: Some(Duration::ZERO),
        ..pending
    };
    assert_eq!(waiting(stopped), Some(Action::Build));
}

#[test]
fn a_missing_track_is_omitted_after_max_queue_time() {
    let tracks = [UNKNOWN, KNOWN];
    let view = View {
        tracks: &tracks,
        ..FIRST
    };
    let begun = 3 * SECOND;
    assert_eq!(waiting(View { begun, ..view }), Some(Action::LeaveOut(0)));
    // Non-live tracks may take their time, as long as the others do.
    let any_live = false;
    assert_eq!(
        waiting(View {
            begun,
            any_live,
            ..view
        }),
        None
    );
    let ahead = 2_500_000_000;
    let ran_ahead = View {
        begun,
        any_live,
        ahead,
        ..view
    };
    assert_eq!(waiting(ran_ahead), Some(Action::LeaveOut(0)));
}

#[test]
fn silence_of_all_tracks_omits_none() {
    let tracks = [UNKNOWN, UNKNOWN];
    let view = View {
        tracks: &tracks,
        begun: 3600 * SECOND,
        ..FIRST
    };
    assert_eq!(waiting(view), None);
    let stopped = View {
        stopped: Some(2 * SECOND),
        ..view
    };
    assert_eq!(waiting(stopped), Some(Action::LeaveOut(0)));
}

#[test]
fn stop_waits_for_media_in_the_encoder_of_the_past() {
    let tracks = [TrackView {
        is_in_encoder: true,
        ..UNKNOWN
    }];
    let view = View {
        tracks: &tracks,
        stopped: Some(SECOND * 3 / 2),
        ..FIRST
    };
    assert_eq!(waiting(view), None);
    let stopped = Some(3 * SECOND);
    assert_eq!(waiting(View { stopped, ..view }), Some(Action::LeaveOut(0)));
}

#[test]
fn a_part_without_media_ends_without_a_pipeline() {
    let tracks = [CLOSED, CLOSED];
    let view = View {
        tracks: &tracks,
        ..FIRST
    };
    assert_eq!(waiting(view), Some(Action::End));
    assert_eq!(Phase::Built.next(&view, &LIMITS), Some(Action::End));
}

#[test]
fn later_parts_are_built_ahead_and_connected_when_they_begin() {
    let ended = TrackView {
        is_closed_for_part: true,
        ..UNKNOWN
    };
    let tracks = [KNOWN, ended];
    let view = View {
        tracks: &tracks,
        is_first: false,
        has_media: false,
        is_announced: true,
        ..FIRST
    };
    assert_eq!(waiting(view), Some(Action::Build));
    // It may come: the first part waits for it, too.
    let missing = View {
        tracks: &[KNOWN, UNKNOWN],
        ..view
    };
    assert_eq!(waiting(missing), None);
    assert_eq!(Phase::Built.next(&view, &LIMITS), None);
    let begun = View {
        has_media: true,
        ..view
    };
    assert_eq!(Phase::Built.next(&begun, &LIMITS), Some(Action::Connect));
}

#[test]
fn on_start_waits_for_the_first_bytes_with_a_timeout() {
    let tracks = [KNOWN];
    let view = View {
        tracks: &tracks,
        is_announced: false,
        ..FIRST
    };
    let next = |view| Phase::Recording.next(&view, &LIMITS);
    assert_eq!(next(view), None);
    let due = Some(Action::AnnounceStart);
    assert_eq!(
        next(View {
            has_bytes: true,
            ..view
        }),
        due
    );
    assert_eq!(
        next(View {
            is_paused: true,
            ..view
        }),
        due
    );
    assert_eq!(
        next(View {
            begun: 3 * SECOND,
            ..view
        }),
        due
    );
    assert_eq!(
        next(View {
            has_bytes: true,
            cut_is_pending: true,
            ..view
        }),
        None
    );
    assert_eq!(
        next(View {
            has_bytes: true,
            is_announced: true,
            ..view
        }),
        None
    );
}

#[test]
fn on_start_comes_before_the_end() {
    let tracks = [KNOWN];
    let view = View {
        tracks: &tracks,
        stopped: Some(SECOND),
        is_announced: false,
        ..FIRST
    };
    assert_eq!(
        Phase::Recording.next(&view, &LIMITS),
        Some(Action::AnnounceStart)
    );
    let announced = View {
        is_announced: true,
        ..view
    };
    assert_eq!(
        Phase::Recording.next(&announced, &LIMITS),
        Some(Action::Drain)
    );
    assert_eq!(Phase::Draining.next(&announced, &LIMITS), None);
}

#[test]
fn draining_times_out_and_the_disk_has_a_timeout_of_its_own() {
    let tracks = [CLOSED];
    let view = View {
        tracks: &tracks,
        is_announced: true,
        stopped: Some(7 * SECOND),
        ..FIRST
    };
    let next = |view| Phase::Draining.next(&view, &LIMITS);
    assert_eq!(
        next(View {
            ended: Some(4 * SECOND),
            ..view
        }),
        None
    );
    assert_eq!(
        next(View {
            ended: Some(6 * SECOND),
            ..view
        }),
        Some(Action::GiveUp)
    );
    let completing = View {
        ended: Some(60 * SECOND),
        completing: Some(SECOND),
        ..view
    };
    assert_eq!(next(completing), None);
    let drained = View {
        is_drained: true,
        ended: Some(60 * SECOND),
        ..view
    };
    assert_eq!(next(drained), Some(Action::End));
}

fn any_track() -> impl Strategy<Value = TrackView> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(has_caps, has_frame, has_ended, is_closed)| TrackView {
            is_known: has_caps && has_frame,
            is_in_encoder: has_caps,
            has_ended,
            is_closed,
            is_closed_for_part: is_closed,
        },
    )
}

/// The supervisor's reaction to an action.
fn perform(action: Action, phase: Phase, view: &mut View<'_>, tracks: &mut [TrackView]) -> Phase {
    match action {
        Action::LeaveOut(track) => {
            assert!(!tracks[track].is_known, "a track with media is left out");
            tracks[track].is_closed = true;
            tracks[track].is_closed_for_part = true;
            phase
        }
        Action::Build => Phase::Built,
        Action::Connect => Phase::Recording,
        Action::AnnounceStart => {
            view.is_announced = true;
            phase
        }
        Action::Drain => Phase::Draining,
        Action::GiveUp | Action::End => phase,
    }
}

proptest! {
    /// For any tracks, a stopped recording ends: no action repeats forever, and none is missing after all timeouts.
    #[test]
    fn a_stopped_recording_always_ends(
        mut tracks in prop::collection::vec(any_track(), 1..5),
        is_first: bool,
        any_live: bool,
        start_is_pending: bool,
        has_media: bool,
        is_announced: bool,
        is_drained: bool,
    ) {
        let mut view = View {
            is_first,
            any_live,
            start_is_pending,
            has_media,
            is_announced,
            is_drained,
            begun: 100 * SECOND,
            stopped: Some(50 * SECOND),
            ended: Some(50 * SECOND),
            ..FIRST
        };
        let mut phase = Phase::Waiting;
        for _ in 0..tracks.len() + 5 {
            let before = tracks.clone();
            let action = phase.next(&View { tracks: &before, ..view }, &LIMITS);
            let action = action.expect("something to do");
            if matches!(action, Action::GiveUp | Action::End) {
                return Ok(());
            }
            phase = perform(action, phase, &mut view, &mut tracks);
        }
        prop_assert!(false, "it goes on and on in {phase:?}");
    }
}
