//! The typed Rust API as an application uses it: builder, callbacks, blobs, and the stream of events under tokio
//! and the GLib main loop.

use gst::prelude::*;
use gstmediarecorder::{
    BitrateMode, Blob, ErrorCode, Event, Events, MediaRecorder, MediaRecorderPad, RecorderState,
};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);

/// A live pipeline around one recorder, in PLAYING; NULL when dropped.
struct Live {
    pipeline: gst::Pipeline,
    recorder: MediaRecorder,
    tracks: Vec<MediaRecorderPad>,
}

fn source(factory: &str) -> gst::Element {
    let source = gst::ElementFactory::make(factory).property("is-live", true);
    source.build().expect("a test source")
}

impl Live {
    fn new(recorder: MediaRecorder) -> Self {
        let pipeline = gst::Pipeline::new();
        pipeline.add(&recorder).expect("added");
        let audio = source("audiotestsrc");
        let frame = source("videotestsrc");
        pipeline.add_many([&audio, &frame]).expect("added");
        let tracks = vec![
            recorder.add_audio_track().expect("an audio track"),
            recorder.add_video_track().expect("a video track"),
        ];
        for (source, track) in [audio, frame].iter().zip(&tracks) {
            let pad = source.static_pad("src").expect("a pad");
            pad.link(track).expect("linked");
        }
        pipeline.set_state(gst::State::Playing).expect("it plays");
        pipeline
            .state(gst::ClockTime::from_seconds(10))
            .0
            .expect("it plays");
        Live {
            pipeline,
            recorder,
            tracks,
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).expect("it ends");
    }
}

fn init() {
    gst::init().expect("GStreamer starts");
}

/// Takes events up to the last one of a recording.
async fn until_stop(events: &mut Events) -> Vec<Event> {
    let mut all = Vec::new();
    while let Some(event) = events.next().await {
        let last = matches!(event, Event::Stop);
        all.push(event);
        if last {
            return all;
        }
    }
    panic!("the stream ended before the recording: {all:?}");
}

fn blobs(events: &[Event]) -> Vec<&Blob> {
    let data = events.iter().filter_map(|event| match event {
        Event::Data(blob) => Some(blob),
        _ => None,
    });
    data.collect()
}

/// Names of the events; consecutive blobs are listed once.
fn names(events: &[Event]) -> Vec<&'static str> {
    let mut names: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Start => "start",
            Event::Pause => "pause",
            Event::Resume => "resume",
            Event::Data(_) => "data",
            Event::Error(_) => "error",
            Event::Part(_) => "part",
            Event::Stop => "stop",
            _ => "unknown",
        })
        .collect();
    names.dedup();
    names
}

#[test]
fn the_builder_sets_what_the_getters_return() {
    init();
    let recorder = MediaRecorder::builder()
        .name("rec")
        .mime_type("video/webm;codecs=\"vp8,opus\"")
        .timeslice(gst::ClockTime::from_mseconds(1500))
        .audio_bits_per_second(96_000u32)
        .video_bits_per_second(1_000_000u32)
        .audio_bitrate_mode(BitrateMode::Constant)
        .video_key_frame_interval_count(25u32)
        .location(Path::new("take-%d.webm"))
        .max_memory(1u64 << 20)
        .max_queue_time(gst::ClockTime::from_seconds(3))
        .blob_messages(true)
        .build();
    assert_eq!(recorder.name(), "rec");
    assert_eq!(recorder.mime_type(), "video/webm;codecs=\"vp8,opus\"");
    assert_eq!(recorder.timeslice(), gst::ClockTime::from_mseconds(1500));
    assert_eq!(recorder.property::<u32>("timeslice"), 1500);
    assert_eq!(recorder.audio_bits_per_second(), 96_000);
    assert_eq!(recorder.video_bits_per_second(), 1_000_000);
    assert_eq!(recorder.audio_bitrate_mode(), BitrateMode::Constant);
    assert_eq!(recorder.video_key_frame_interval_count(), 25);
    assert_eq!(recorder.location(), Path::new("take-%d.webm"));
    assert_eq!(recorder.max_memory(), 1 << 20);
    assert_eq!(recorder.max_queue_time(), gst::ClockTime::from_seconds(3));
    assert_eq!(recorder.stop_timeout(), gst::ClockTime::from_seconds(5));
    assert!(recorder.blob_messages() && !recorder.autostart());
    assert_eq!(recorder.temp_dir(), Path::new(""));

    recorder.set_location("");
    assert_eq!(recorder.property::<Option<String>>("location"), None);
    recorder.set_bits_per_second(1_000_000u32);
    assert_eq!(recorder.bits_per_second(), 1_000_000);
    assert_eq!(recorder.recorder_state(), RecorderState::Inactive);
    assert_eq!(recorder.stats(), Default::default());
}

#[test]
fn errors_are_typed() {
    init();
    let recorder = MediaRecorder::new();
    for refused in [
        recorder.pause(),
        recorder.resume(),
        recorder.stop(),
        recorder.request_data(),
    ] {
        assert_eq!(refused.unwrap_err().code(), ErrorCode::InvalidState);
    }
    let refused = recorder.start().unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotSupported);
    assert!(refused.to_string().contains("PAUSED"), "{refused}");
    assert!(MediaRecorder::is_type_supported(
        "video/webm;codecs=vp8,opus"
    ));
    assert!(!MediaRecorder::is_type_supported("video/pineapple"));
}

#[test]
fn tokio_takes_the_events_of_a_paused_recording() {
    init();
    let live = Live::new(
        MediaRecorder::builder()
            .timeslice(gst::ClockTime::from_mseconds(200))
            .build(),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.expect("tokio starts");
    let (all, stats) = runtime.block_on(async {
        let mut events = live.recorder.events();
        live.recorder.start().expect("it starts");
        assert_eq!(live.recorder.recorder_state(), RecorderState::Recording);
        assert!(matches!(events.next().await, Some(Event::Start)));
        let mime_type = live.recorder.mime_type();
        assert!(mime_type.starts_with("video/webm;codecs="), "{mime_type}");
        tokio::time::sleep(Duration::from_millis(600)).await;
        live.recorder.pause().expect("it pauses");
        tokio::time::sleep(Duration::from_millis(600)).await;
        live.recorder.resume().expect("it continues");
        tokio::time::sleep(Duration::from_millis(600)).await;
        live.recorder.stop().expect("it stops");
        let rest = tokio::time::timeout(DEADLINE, until_stop(&mut events)).await;
        (rest.expect("it ends in time"), live.recorder.stats())
    });
    let reported = names(&all);
    for name in ["pause", "resume"] {
        assert_eq!(
            reported
                .iter()
                .filter(|reported| **reported == name)
                .count(),
            1,
            "{reported:?}"
        );
    }
    assert_eq!(reported[reported.len() - 3..], ["data", "part", "stop"]);

    let blobs = blobs(&all);
    assert!(blobs.len() >= 4, "{blobs:?}");
    let mut bytes = Vec::new();
    let mut recorded = gst::ClockTime::ZERO;
    for blob in &blobs {
        assert_eq!(blob.offset(), bytes.len() as u64, "{blob:?}");
        assert_eq!(blob.timecode(), recorded, "{blob:?}");
        recorded += blob.duration();
        assert_eq!(blob.len(), AsRef::<[u8]>::as_ref(*blob).len());
        bytes.extend_from_slice(AsRef::<[u8]>::as_ref(*blob));
        let mut written = Vec::new();
        blob.write_to(&mut written).expect("written");
        assert_eq!(written, AsRef::<[u8]>::as_ref(*blob));
        assert!(
            blob.mime_type().starts_with("video/webm;codecs="),
            "{blob:?}"
        );
    }
    assert!(bytes.starts_with(b"\x1a\x45\xdf\xa3"), "no WebM");
    assert_eq!(stats.bytes, bytes.len() as u64);
    assert_eq!(stats.blobs, blobs.len() as u64);
    assert_eq!(stats.duration, recorded);
    let parts: Vec<_> = all
        .iter()
        .filter_map(|event| match event {
            Event::Part(part) => Some(part),
            _ => None,
        })
        .collect();
    assert_eq!(parts.len(), 1, "{parts:?}");
    assert_eq!((parts[0].number, parts[0].is_whole), (0, true));
    assert_eq!((parts[0].size, parts[0].duration), (stats.bytes, recorded));
    assert_eq!(stats.intervals.len(), 2, "{stats:?}");
    let kept: gst::ClockTime = stats
        .intervals
        .iter()
        .map(|interval| interval.duration)
        .sum();
    assert_eq!(kept, recorded);
    assert!(
        stats.paused_duration >= gst::ClockTime::from_mseconds(500),
        "{stats:?}"
    );
    let tracks: Vec<_> = stats
        .tracks
        .iter()
        .map(|track| track.pad.as_str())
        .collect();
    assert_eq!(tracks, ["audio_0", "video_0"]);
    assert!(
        stats.tracks.iter().all(|track| track.encoded > 0),
        "{stats:?}"
    );
}

#[test]
fn the_main_loop_receives_events_and_an_error() {
    init();
    let live = Live::new(MediaRecorder::new());
    let context = glib::MainContext::new();
    let recorder = live.recorder.clone();
    let all = context.block_on(async {
        let mut events = recorder.events();
        recorder.start().expect("it starts");
        assert!(matches!(events.next().await, Some(Event::Start)));
        recorder.add_audio_track().expect("a track more");
        let rest = until_stop(&mut events);
        let rest = glib::future_with_timeout(DEADLINE, rest).await;
        rest.expect("it ends in time")
    });
    assert_eq!(names(&all), ["error", "data", "part", "stop"]);
    let Some(Event::Error(error)) = all.first() else {
        panic!("{all:?}");
    };
    assert_eq!(error.code(), ErrorCode::InvalidModification);
    assert_eq!(recorder.recorder_state(), RecorderState::Inactive);
}

#[test]
fn callbacks_receive_the_recorder_and_typed_values() {
    init();
    let live = Live::new(MediaRecorder::new());
    let (tell, reported) = mpsc::channel();
    let setup = tell.clone();
    live.recorder.connect_encoder_setup(move |_, pad, encoder| {
        assert!(!pad.is_muted());
        let factory = encoder.factory().expect("made by a factory");
        setup
            .send(format!("{} {}", pad.name(), factory.name()))
            .expect("told");
    });
    live.recorder.connect_start(|recorder| {
        recorder.pause().expect("a handler may call any action");
    });
    live.recorder
        .connect_pause(|recorder| recorder.stop().expect("again"));
    live.recorder.connect_data_available(|recorder, blob| {
        assert_eq!(recorder.recorder_state(), RecorderState::Inactive);
        assert!(blob.is_empty() || blob.timecode() == gst::ClockTime::ZERO);
    });
    live.recorder
        .connect_stop(move |_| tell.send("stop".to_owned()).expect("told"));
    live.tracks[0].set_muted(false);
    live.recorder.start().expect("it starts");
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "stop") {
        seen.push(reported.recv_timeout(DEADLINE).expect("events in time"));
    }
    assert!(
        seen.iter().any(|line| line == "audio_0 opusenc"),
        "{seen:?}"
    );
    assert!(
        seen.iter().any(|line| line.starts_with("video_0 vp8")),
        "{seen:?}"
    );
}

#[test]
fn the_stream_ends_with_the_recorder_and_stops_listening_when_dropped() {
    init();
    let recorder = MediaRecorder::new();
    drop(recorder.events());
    let mut events = recorder.events();
    drop(recorder);
    assert!(glib::MainContext::new().block_on(events.next()).is_none());
}
