//! Encoders that cannot be replaced in the same file: if another part may begin, the recording continues there.

mod common;

use common::app::{App, SMALL, STEREO, temp_location};
use common::failing_encoder::fail_at;
use common::judge::{file, parts, position, sync};
use common::signal::{AudioSignal, tag};
use gst::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const MILLI: u64 = 1_000_000;
const FRAME: f64 = 1e9 / 30.0;
const WEBM: &str = "video/webm;codecs=\"vp8,opus\"";
const MKV: &str = "video/x-matroska;codecs=\"vp8,pcm\"";

/// The encoders of this kind in a recording fail at these of their buffers, one after the other; later ones work.
fn rig(
    (mime_type, name): (&str, &str),
    (factory, failures): (&'static str, &'static [u64]),
) -> (tempfile::TempDir, App, Arc<AtomicUsize>) {
    let (folder, path) = temp_location(name);
    let app = App::new(mime_type, &path);
    let count = Arc::<AtomicUsize>::default();
    let made = count.clone();
    app.recorder.connect("encoder-setup", false, move |values| {
        let encoder = values[2].get::<gst::Element>().unwrap();
        if encoder.factory().unwrap().name() == factory
            && let Some(buffer) = failures.get(made.fetch_add(1, Ordering::SeqCst))
        {
            fail_at(&encoder, *buffer, || ());
        }
        None
    });
    (folder, app, count)
}

/// Records so many seconds, in which an encoder that nothing replaces ends a part. Every frame is in one part, and
/// audio is in step across both, except for `silence` at the joint.
fn check(
    format: (&str, &str),
    failing: (&'static str, &'static [u64]),
    seconds: u64,
    silence: u64,
) {
    let (mime_type, _) = format;
    let (_folder, app, count) = rig(format, failing);
    app.recorder.set_property("autostart", true);
    // Not live: how busy the machine is does not matter.
    let audio = app.source(&format!(
        "audiotestsrc num-buffers={} samplesperbuffer=480 ! {STEREO}",
        100 * seconds
    ));
    let _clock = tag::audio(&audio, AudioSignal::Noise, 48_000);
    let frames = app.source(&format!(
        "videotestsrc num-buffers={} ! {SMALL}",
        30 * seconds
    ));
    let log = tag::video(&frames);
    audio.link(&app.pad("audio_%u")).unwrap();
    frames.link(&app.pad("video_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    app.assert_no_error();
    let warnings = app.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("a fresh"), "{warnings:?}");
    let (_, goes_on) = warnings[1].split_once("in a new part").unwrap();
    assert!(
        goes_on.contains("encoded again"),
        "{mime_type}: {warnings:?}"
    );
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let reported = parts::from_messages(&app);
    let kept = app.kept();
    assert_eq!(reported.len(), 2, "{reported:?}");
    // What FLAC's encoder and the muxer have of audio behind the joint, up to two blocks, cannot be taken back.
    let blocks = if mime_type.contains("flac") {
        200 * MILLI
    } else {
        0
    };
    parts::check_contiguous(&reported, kept.total(), FRAME + 25e6 + blocks as f64)
        .unwrap_or_else(|err| panic!("{mime_type}: {err}"));
    for part in &reported {
        file::decodes_without_errors(&part.path).unwrap();
    }
    let frames = sync::frame_times(&parts::video(&reported).unwrap()).unwrap();
    let sources = log.lock().unwrap().clone();
    sync::check_frames(&frames, &kept, &sources, FRAME, 0)
        .unwrap_or_else(|err| panic!("{mime_type}: {err}\n{reported:?} {warnings:?}"));
    let mut once: Vec<_> = frames.iter().map(|(_, source)| *source as u64).collect();
    once.dedup();
    assert_eq!(once.len(), frames.len(), "{mime_type}: shown twice");
    let joint = reported[1].timecode as f64;
    let audio = parts::audio(&reported, Some(48_000)).unwrap();
    let lasts = audio.len() as u64 * 1_000_000 / 48;
    let off = lasts.abs_diff(kept.total());
    // FFmpeg decodes the whole of an AAC track's last packet.
    let packet = if mime_type.contains("mp4a") {
        22 * MILLI
    } else {
        0
    };
    assert!(
        off < 2 * (MILLI + packet) + silence,
        "{mime_type}: {lasts} in all"
    );
    for part in &reported {
        let audio = parts::audio(std::slice::from_ref(part), Some(48_000)).unwrap();
        let lasts = audio.len() as u64 * 1_000_000 / 48;
        let off = lasts.abs_diff(part.duration);
        assert!(
            off < 2 * MILLI + packet + silence + blocks,
            "{mime_type}: {lasts} of {part:?}"
        );
        let mut places = position::find(&audio, 1e10).unwrap();
        for place in &mut places {
            place.recorded += part.timecode as f64;
        }
        // The first encoder was replaced in the same file: there its delay is silence.
        let is_judged = |recorded: f64| {
            silence == 0 && mime_type == MKV || (recorded - joint).abs() > 160e6 + silence as f64
        };
        places.retain(|place| is_judged(place.recorded));
        position::check(&places, &kept, 2e6).unwrap_or_else(|err| panic!("{mime_type}: {err}"));
    }
}

#[test]
fn the_recording_continues_in_a_new_part_without_losing_a_frame() {
    for (mime_type, name, factory) in [
        (MKV, "recording-%d.mkv", "vp8enc"),
        (WEBM, "recording-%d.webm", "vp8enc"),
        (
            "video/x-matroska;codecs=\"vp8,flac\"",
            "recording-%d.mkv",
            "vp8enc",
        ),
        (
            "video/mp4;codecs=\"vp9,mp4a.40.2\"",
            "recording-%d.mp4",
            "vp9enc",
        ),
    ] {
        check((mime_type, name), (factory, &[20, 20]), 4, 0);
    }
}

/// The recording has been stopped by the end of its tracks: their media is in the queue.
#[test]
fn the_new_part_begins_after_the_tracks_have_ended_too() {
    for seconds in [2, 3] {
        let format = (MKV, "recording-%d.mkv");
        check(format, ("vp8enc", &[20, 20]), seconds, 0);
    }
}

/// What an audio encoder has lost, up to the next frame of the video that the muxer does not have, is silence: a packet
/// and a frame. GstAggregator takes one frame more than GstCollectPads: it queues one while another waits in the pad's
/// chain function.
#[test]
fn a_failed_audio_encoder_begins_a_new_part_without_losing_a_frame() {
    common::app::init();
    let muxer = gst::ElementFactory::make("webmmux").build().unwrap();
    let aggregates = glib::Type::from_name("GstAggregator")
        .is_some_and(|aggregator| muxer.type_().is_a(aggregator));
    let silence = FRAME as u64 * (1 + u64::from(aggregates)) + 20 * MILLI;
    let format = (WEBM, "recording-%d.webm");
    check(format, ("opusenc", &[60, 60]), 4, silence);
}

#[test]
fn an_encoder_that_fails_in_the_new_part_too_ends_the_recording() {
    let (_folder, app, count) = rig((MKV, "recording-%d.mkv"), ("vp8enc", &[20, 20, 0, 0]));
    let (_clock, _log) = app.live();
    app.act("start");
    app.wait_for("stop", 1);
    let events = app.events();
    let errors = events.iter().filter(|event| event.name == "error");
    assert_eq!(errors.count(), 1, "{events:?}");
    assert_eq!(count.load(Ordering::SeqCst), 4);
    let reported = parts::from_messages(&app);
    assert_eq!(reported.len(), 2);
    file::decodes_without_errors(&reported[0].path).unwrap();
}

#[test]
fn a_recording_of_one_file_ends() {
    let (_folder, app, _) = rig((MKV, "recording.mkv"), ("vp8enc", &[20, 20]));
    let (_clock, _log) = app.live();
    app.act("start");
    app.wait_for("stop", 1);
    let events = app.events();
    let errors = events.iter().filter(|event| event.name == "error");
    assert_eq!(errors.count(), 1, "{events:?}");
    file::decodes_without_errors(&parts::from_messages(&app)[0].path).unwrap();
}
