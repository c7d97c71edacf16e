//! Several tracks, raw and encoded: each is a separate track, in the order of the pads, and in sync; missing or
//! removed ones do not affect the others.

mod common;

use common::app::{App, DEADLINE, SMALL, STEREO, holds_within, temp_location};
use common::judge::{decode, file, position, sync};
use common::signal::{AudioSignal, tag};
use gst::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
const FRAME: u64 = SECOND / 30;
const X264: &str = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=3000";
const VP8: &str = "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=3000";

/// A live source on a new pad.
struct Live {
    pad: gst::Pad,
    source: gst::Pad,
    received: Arc<AtomicU64>,
}

impl Live {
    fn new(app: &App, template: &str, source: gst::Pad) -> Self {
        let pad = app.pad(template);
        let received = Arc::<AtomicU64>::default();
        let count = received.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            gst::PadProbeReturn::Ok
        });
        source.link(&pad).unwrap();
        Live {
            pad,
            source,
            received,
        }
    }

    fn camera(app: &App, name: &str, encoder: &str) -> Self {
        let source = app.source(&format!(
            "videotestsrc is-live=true ! {SMALL} ! identity name={name} ! queue ! {encoder}"
        ));
        let raw = app.pipeline.by_name(name).unwrap();
        tag::video(&raw.static_pad("src").unwrap());
        Live::new(app, "video_%u", source)
    }

    fn microphone(app: &App, name: &str, encoder: &str) -> Self {
        let source = app.source(&format!(
            "audiotestsrc is-live=true samplesperbuffer=480 ! {STEREO} ! identity name={name} \
             ! queue ! {encoder}"
        ));
        let raw = app.pipeline.by_name(name).unwrap();
        tag::audio(&raw.static_pad("src").unwrap(), AudioSignal::Noise, 48_000);
        Live::new(app, "audio_%u", source)
    }

    /// No more data, and no EOS either.
    fn fall_silent(&self) {
        self.source.add_probe(gst::PadProbeType::BUFFER, |_, info| {
            // In 1.22, dropping it from the probe would unref NULL.
            drop(info.data.take());
            gst::PadProbeReturn::Handled
        });
    }
}

fn wait_flowing(tracks: &[&Live]) {
    for track in tracks {
        assert!(
            holds_within(DEADLINE, || track.received.load(Ordering::SeqCst) > 5),
            "no data on {}",
            track.pad.name()
        );
    }
}

fn rest(app: &App, time: u64) {
    app.wait_running_time(app.running_time() + time);
}

/// Kind and codec of each stream, and its tags.
fn streams(path: &Path) -> Vec<(String, String, serde_json::Value)> {
    let probe = file::ffprobe(path).unwrap();
    let list = probe["streams"].as_array().unwrap().iter();
    list.map(|stream| {
        let text = |name: &str| stream[name].as_str().unwrap_or_default().to_owned();
        (
            text("codec_type"),
            text("codec_name"),
            stream["tags"].clone(),
        )
    })
    .collect()
}

fn seconds_of(path: &Path, stream: &str) -> f64 {
    let (text, _) = common::harness::media::run(
        std::process::Command::new("ffprobe")
            .args(["-v", "error", "-of", "csv=p=0", "-select_streams", stream])
            .args(["-show_entries", "packet=pts_time"])
            .arg(path),
    );
    let text = String::from_utf8_lossy(&text);
    let times = text
        .lines()
        .filter_map(|l| l.trim_matches(',').parse::<f64>().ok());
    times.fold(0.0, f64::max)
}

#[test]
fn three_cameras_and_two_microphones_raw_and_encoded() {
    let (_directory, path) = temp_location("studio.mkv");
    let app = App::new("video/x-matroska", &path);
    let tagged = |language: &str, title: &str, encoder: &str| {
        format!("{encoder} ! taginject tags=\"language-code={language},title={title}\"")
    };
    let all = [
        Live::camera(&app, "left", &tagged("de", "left", "identity")),
        Live::microphone(&app, "near", &tagged("en", "near", "opusenc")),
        Live::camera(&app, "middle", &tagged("fr", "middle", X264)),
        Live::microphone(&app, "far", &tagged("it", "far", "identity")),
        Live::camera(&app, "right", &tagged("es", "right", VP8)),
    ];
    app.set_state(gst::State::Playing);
    wait_flowing(&all.iter().collect::<Vec<_>>());
    app.act("start");
    rest(&app, SECOND);
    app.act("pause");
    rest(&app, 300 * MILLI);
    app.act("resume");
    rest(&app, SECOND);
    app.act("stop");
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    assert_eq!(app.warnings(), Vec::<String>::new());

    let found = streams(&path);
    let kinds: Vec<_> = found
        .iter()
        .map(|(kind, codec, _)| (kind.as_str(), codec.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("video", "vp8"),
            ("audio", "opus"),
            ("video", "h264"),
            ("audio", "opus"),
            ("video", "vp8")
        ]
    );
    let tags: Vec<_> = found
        .iter()
        .map(|(_, _, tags)| {
            let text = |name: &str| tags[name].as_str().map(str::to_owned);
            let title = text("TITLE").or(text("title"));
            (
                text("language").unwrap_or_default(),
                title.unwrap_or_default(),
            )
        })
        .collect();
    let expected = [
        ("ger", "left"),
        ("eng", "near"),
        ("fre", "middle"),
        ("ita", "far"),
        ("spa", "right"),
    ];
    for ((language, title), (due, name)) in tags.iter().zip(expected) {
        assert_eq!(title, name, "{tags:?}");
        let other = match due {
            "ger" => "deu",
            "fre" => "fra",
            due => due,
        };
        assert!(language == due || language == other, "{tags:?}");
    }

    file::decodes_without_errors(&path).unwrap();
    let kept = app.kept();
    for camera in 0..3 {
        let shown = sync::frame_times(&decode::video(&path, camera).unwrap()).unwrap();
        assert!(
            shown.len() > 45,
            "{} frames of camera {camera}",
            shown.len()
        );
        let first = shown.first().unwrap().0;
        assert!(
            first < 1.1 * FRAME as f64,
            "camera {camera} begins at {first}"
        );
        for (recorded, source) in shown {
            if kept.near_cut(recorded, 2.0 * FRAME as f64) || recorded < FRAME as f64 {
                continue;
            }
            let due = kept.source_at(recorded);
            assert!(
                (source - due).abs() < 1.3e6,
                "camera {camera}: {source} at {recorded}, {due}"
            );
        }
    }
    let horizon = kept.intervals.last().unwrap().1 as f64 + 1e9;
    for microphone in 0..2 {
        let audio = decode::audio(&path, microphone, Some(48_000)).unwrap();
        let places = position::find(&audio, horizon).unwrap();
        let off: Vec<f64> = places
            .iter()
            .filter(|p| !kept.near_cut(p.recorded, 60e6))
            .filter_map(|p| Some(p.source? - kept.source_at(p.recorded)))
            .collect();
        assert!(off.len() > 100, "{} windows", off.len());
        assert!(
            off.iter().all(|d| d.abs() < 2.5e6),
            "microphone {microphone}: {off:?}"
        );
    }
}

#[test]
fn an_encoded_track_without_data_is_omitted() {
    let (_directory, path) = temp_location("alone.mkv");
    let app = App::new("", &path);
    let camera = Live::camera(&app, "camera", "identity");
    let microphone = Live::microphone(&app, "microphone", "opusenc");
    microphone.fall_silent();
    app.set_state(gst::State::Playing);
    wait_flowing(&[&camera]);
    assert!(holds_within(DEADLINE, || microphone
        .pad
        .current_caps()
        .is_some()));
    app.act("start");
    app.wait_for("start", 1);
    rest(&app, SECOND / 2);
    app.act("stop");
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    let warnings = app.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("audio_0"), "{warnings:?}");
    assert_eq!(file::codecs(&path).unwrap(), ["vp8"]);
    file::decodes_without_errors(&path).unwrap();
    // Media that arrived during the wait is kept.
    assert!(seconds_of(&path, "v:0") > 2.0);
}

#[test]
fn an_encoded_track_that_stops_does_not_delay_the_others() {
    let (_directory, path) = temp_location("silent.mkv");
    let app = App::new("", &path);
    let camera = Live::camera(&app, "camera", X264);
    let microphone = Live::microphone(&app, "microphone", "identity");
    app.set_state(gst::State::Playing);
    wait_flowing(&[&camera, &microphone]);
    app.act("start");
    app.wait_for("start", 1);
    rest(&app, SECOND);
    camera.fall_silent();
    rest(&app, 4 * SECOND);
    app.act("stop");
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    let warnings = app.warnings();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(file::codecs(&path).unwrap(), ["h264", "opus"]);
    let kept = app.kept();
    let audio = decode::audio(&path, 0, Some(48_000)).unwrap();
    let length = audio.len() as f64 / 48_000.0 * 1e9;
    assert!(
        (length - kept.total() as f64).abs() < 25e6,
        "{length} for {kept:?}"
    );
    let places = position::find(&audio, 20e9).unwrap();
    position::check(&places, &kept, 2.5e6).unwrap();
}

#[test]
fn another_codec_than_requested_is_decoded_and_encoded() {
    let (_directory, path) = temp_location("other.webm");
    let app = App::new("video/webm;codecs=vp8,vorbis", &path);
    let camera = Live::camera(&app, "camera", X264);
    let microphone = Live::microphone(&app, "microphone", "voaacenc");
    app.set_state(gst::State::Playing);
    wait_flowing(&[&camera, &microphone]);
    app.act("start");
    rest(&app, SECOND);
    app.act("pause");
    rest(&app, 200 * MILLI);
    app.act("resume");
    rest(&app, SECOND);
    assert_eq!(app.warnings(), Vec::<String>::new());
    app.act("stop");
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    let mut codecs = file::codecs(&path).unwrap();
    codecs.sort();
    assert_eq!(codecs, ["vorbis", "vp8"]);
    file::decodes_without_errors(&path).unwrap();
    let kept = app.kept();
    let shown = sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
    assert!(shown.len() > 50, "{}", shown.len());
    for (recorded, source) in shown {
        let due = kept.source_at(recorded + 0.6e6) - 0.6e6;
        // The frame visible at a cut started before it, as with raw video.
        let on_show = if recorded < 1e6 || kept.near_cut(recorded, 1.3e6) {
            34e6
        } else {
            1.3e6
        };
        assert!(
            (-1.3e6..on_show).contains(&(due - source)),
            "{source} at {recorded}, expected {due}"
        );
    }
    let audio = decode::audio(&path, 0, Some(48_000)).unwrap();
    let length = audio.len() as f64 / 48_000.0 * 1e9;
    assert!(
        (length - kept.total() as f64).abs() < 80e6,
        "{length} for {kept:?}"
    );
}

#[test]
fn pads_can_be_added_and_released_from_any_thread_in_any_state() {
    let (_directory, path) = temp_location("busy.webm");
    let app = App::new("", &path);
    let camera = Live::camera(&app, "camera", "identity");
    for state in [
        gst::State::Null,
        gst::State::Ready,
        gst::State::Paused,
        gst::State::Playing,
        gst::State::Paused,
        gst::State::Playing,
    ] {
        app.set_state(state);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let recorder = &app.recorder;
                scope.spawn(move || {
                    let template = if thread % 2 == 0 {
                        "audio_%u"
                    } else {
                        "video_%u"
                    };
                    for round in 0..25 {
                        let pad = recorder.request_pad_simple(template).expect("a pad");
                        let source = gst::Pad::builder(gst::PadDirection::Src).build();
                        if round % 3 > 0 {
                            source.set_active(true).unwrap();
                            source.link(&pad).unwrap();
                            source.push_event(gst::event::StreamStart::new("busy"));
                        }
                        if round % 3 == 2 {
                            source.push_event(gst::event::Eos::new());
                        }
                        recorder.release_request_pad(&pad);
                        assert!(pad.parent().is_none());
                    }
                });
            }
        });
        assert_eq!(app.recorder.num_sink_pads(), 1, "in {state:?}");
    }
    wait_flowing(&[&camera]);
    app.act("start");
    rest(&app, 500 * MILLI);
    app.act("stop");
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    file::decodes_without_errors(&path).unwrap();
    assert_eq!(file::codecs(&path).unwrap(), ["vp8"]);
}

#[test]
fn pads_added_or_released_while_recording_end_it_without_loss() {
    let (_directory, path) = temp_location("changed.webm");
    let app = App::new("", &path);
    let camera = Live::camera(&app, "camera", "identity");
    let microphone = Live::microphone(&app, "microphone", "identity");
    app.set_state(gst::State::Playing);
    wait_flowing(&[&camera, &microphone]);
    app.act("start");
    app.wait_for("start", 1);
    rest(&app, SECOND);
    let recorder = &app.recorder;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let pad = recorder.request_pad_simple("audio_%u").expect("a pad");
                recorder.release_request_pad(&pad);
            });
        }
    });
    app.wait_for("stop", 1);
    let errors = app.events().iter().filter(|h| h.name == "error").count();
    assert_eq!(errors, 1);
    app.set_state(gst::State::Null);
    file::decodes_without_errors(&path).unwrap();
    for stream in ["v:0", "a:0"] {
        let length = seconds_of(&path, stream);
        assert!((0.9..3.0).contains(&length), "{stream}: {length}");
    }
}
