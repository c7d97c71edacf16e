//! Flushing seeks while recording: to another speed, and after a pause.

mod common;
mod inputs;

use common::judge::samples;
use gst::prelude::*;
use inputs::*;

const WHOLE: u64 = 48_000;

/// Pushes what follows a flushing seek to `start` at this rate.
fn seek(source: &Source, start: u64, rate: f64) {
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_rate(rate);
    for set in [
        gst::FormattedSegment::set_start,
        gst::FormattedSegment::set_time,
        gst::FormattedSegment::set_position,
    ] {
        set(&mut segment, gst::ClockTime::from_nseconds(start));
    }
    source.event(gst::event::FlushStart::new());
    source.event(gst::event::FlushStop::new(true));
    source.segment(&segment);
}

/// Pushes the audio of these seconds.
fn audio(source: &Source, from: u64, to: u64) {
    for n in from * 100..to * 100 {
        let at = Some(n * 10 * MILLI);
        source.push(stamped(tick(n), at, Some(10 * MILLI)));
    }
}

#[test]
fn audio_has_its_own_rate_again_after_a_seek_to_normal_speed() {
    let take = Take::new(WAV);
    let source = take.audio(&stereo(48_000), None);
    take.roll();
    audio(&source, 0, 1);
    seek(&source, SECOND, 2.0);
    audio(&source, 1, 3);
    seek(&source, 5 * SECOND, 1.0);
    audio(&source, 5, 6);
    source.end();
    take.wrap();
    // In between, the audio has another speed.
    let last = take.heard(0).pop().expect("some audio");
    assert!(last.recorded.end.abs_diff(3 * WHOLE) < 50, "{last:?}");
    let length = last.recorded.end - last.recorded.start;
    assert!(length.abs_diff(WHOLE) < 50, "{last:?}");
    let first = match last.content {
        samples::Content::Source(first) => first,
        other => panic!("{other:?}"),
    };
    assert!(first.abs_diff(5 * WHOLE) < 50, "{last:?}");
}

#[test]
fn recording_continues_after_a_seek_in_paused_whatever_the_clock() {
    let take = Take::new(WAV);
    let clock = gst_check::TestClock::new();
    take.app.pipeline.use_clock(Some(&clock));
    let source = take.audio(&stereo(48_000), None);
    take.app.set_state(gst::State::Playing);
    audio(&source, 0, 1);
    clock.set_time(gst::ClockTime::from_seconds(60));
    take.app.set_state(gst::State::Paused);
    seek(&source, 0, 1.0);
    take.app.act("start");
    take.app.set_state(gst::State::Playing);
    audio(&source, 0, 1);
    source.end();
    take.wrap();
    assert_eq!(runs(&take.heard(0)), (vec![(0, 0, WHOLE)], WHOLE));
}
