//! EOS on the pads, on `src` and on the bus; recording through filesink; gst-launch and Ctrl-C.

mod common;

use common::harness::feed::advance_all;
use common::harness::log::{check_recording, kinds};
use common::harness::media::{assert_finalised, assert_lasts, assert_plays, frames, probe};
use common::harness::{
    BusMessage, DEADLINE, Kind, QUIET, Recorder, Rig, State, holds_within, plugin, wait_for,
};
use gst::prelude::*;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The size of a file with about a second of media; the first 64 KiB are reserved for chapters.
const SOME_MEDIA: u64 = (64 << 10) + 15_000;

const SECOND: gst::ClockTime = gst::ClockTime::SECOND;

fn eos_count(rig: &Rig) -> usize {
    let all = rig.bus.all();
    all.iter().filter(|m| matches!(m, BusMessage::Eos)).count()
}

#[track_caller]
fn wait_eos(rig: &Rig, n: usize) {
    rig.bus.wait(&format!("EOS number {n}"), |all| {
        all.iter().filter(|m| matches!(m, BusMessage::Eos)).count() >= n
    });
}

/// A filesink on the recorder's `src`, and what was seen on its pad.
struct FileSink {
    element: gst::Element,
    path: String,
    /// EOS events.
    eos: Arc<AtomicUsize>,
    flushes: Arc<AtomicUsize>,
    buffers: Arc<AtomicUsize>,
}

impl FileSink {
    fn on(rig: &Rig, name: &str) -> Self {
        let path = rig.path(name);
        let element = gst::ElementFactory::make("filesink")
            .property("location", &path)
            .build()
            .expect("filesink");
        rig.pipeline.add(&element).expect("added");
        rig.recorder
            .link_pads(Some("src"), &element, Some("sink"))
            .expect("src links to filesink");
        element.sync_state_with_parent().expect("follows");

        let (eos, flushes, buffers) =
            <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let (e, f, b) = (eos.clone(), flushes.clone(), buffers.clone());
        let mask = gst::PadProbeType::EVENT_DOWNSTREAM
            | gst::PadProbeType::EVENT_FLUSH
            | gst::PadProbeType::BUFFER;
        let pad = element.static_pad("sink").expect("a sink pad");
        pad.add_probe(mask, move |_, info| {
            match info.event().map(|e| e.type_()) {
                Some(gst::EventType::Eos) => e.fetch_add(1, Ordering::SeqCst),
                Some(gst::EventType::FlushStart) => f.fetch_add(1, Ordering::SeqCst),
                Some(_) => 0,
                None => b.fetch_add(1, Ordering::SeqCst),
            };
            gst::PadProbeReturn::Ok
        });
        FileSink {
            element,
            path,
            eos,
            flushes,
            buffers,
        }
    }

    #[track_caller]
    fn wait_eos(&self, n: usize) {
        wait_for(&format!("EOS number {n} on src"), || {
            self.eos.load(Ordering::SeqCst) >= n
        });
    }

    /// Closes the file, like an application that continues with another one.
    fn close(&self) -> Vec<u8> {
        self.element.set_state(gst::State::Null).expect("NULL");
        std::fs::read(&self.path).unwrap_or_else(|e| panic!("{}: {e}", self.path))
    }
}

#[test]
fn eos_on_all_pads_ends_the_recording_then_posts_eos() {
    let (rig, tracks) = Rig::live(1, 1);
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    tracks[0].end();
    tracks[0].wait_ended();
    tracks[1].wait_buffers(5);
    assert_eq!(eos_count(&rig), 0, "one track still runs");
    tracks[1].end();
    wait_eos(&rig, 1);
    assert_eq!(
        rig.messages.kinds(),
        [Kind::Start, Kind::Data, Kind::Stop],
        "the recording had ended before"
    );
    check_recording(&rig.wait_recording(1));
}

#[test]
fn eos_on_all_pads_without_a_recording_posts_eos() {
    let (rig, tracks) = Rig::live(1, 1);
    for track in &tracks {
        track.end();
    }
    wait_eos(&rig, 1);
    assert_eq!(rig.signals.len(), 0);
    rig.set_state(gst::State::Paused);
    assert_eq!(eos_count(&rig), 1, "EOS belongs to PLAYING");
    rig.set_state(gst::State::Playing);
    wait_eos(&rig, 2);
}

#[test]
fn releasing_the_last_pad_without_eos_posts_eos() {
    let (rig, tracks) = Rig::live(1, 1);
    tracks[0].end();
    tracks[0].wait_ended();
    assert_eq!(eos_count(&rig), 0);
    tracks[1].remove(&rig.recorder);
    wait_eos(&rig, 1);
}

/// A pipeline with a fakesink as its other sink, and the source of that.
fn beside_a_fakesink(rig: &Rig) -> gst::Element {
    let source = gst::ElementFactory::make("audiotestsrc")
        .property("num-buffers", 5)
        .build()
        .unwrap();
    let sink = gst::ElementFactory::make("fakesink").build().unwrap();
    rig.pipeline.add_many([&source, &sink]).unwrap();
    source.link(&sink).unwrap();
    sink
}

#[track_caller]
fn wait_eos_of(sink: &gst::Element) {
    let pad = sink.static_pad("sink").unwrap();
    wait_for("EOS of the other sink", || {
        pad.pad_flags().contains(gst::PadFlags::EOS)
    });
}

#[test]
fn a_recorder_without_pads_does_not_delay_eos() {
    let rig = Rig::new();
    let is_sink = || {
        rig.recorder
            .element_flags()
            .contains(gst::ElementFlags::SINK)
    };
    assert!(is_sink(), "from construction");
    beside_a_fakesink(&rig);
    rig.set_state(gst::State::Playing);
    wait_eos(&rig, 1);
    assert!(!is_sink());
    rig.set_state(gst::State::Ready);
    assert!(is_sink(), "again below PAUSED");
    let feed = rig.feed_audio();
    rig.set_state(gst::State::Playing);
    assert!(is_sink(), "with a pad");
    drop(feed);
}

#[test]
fn releasing_the_last_pad_does_not_delay_eos() {
    let rig = Rig::new();
    let other = beside_a_fakesink(&rig);
    let pad = rig.recorder.request_pad_simple("audio_%u").unwrap();
    rig.set_state(gst::State::Playing);
    wait_eos_of(&other);
    assert_eq!(eos_count(&rig), 0, "the recorder has a track");
    rig.recorder.release_request_pad(&pad);
    wait_eos(&rig, 1);
    assert!(
        !rig.recorder
            .element_flags()
            .contains(gst::ElementFlags::SINK)
    );
    let _pad = rig.recorder.request_pad_simple("audio_%u").unwrap();
    assert!(
        rig.recorder
            .element_flags()
            .contains(gst::ElementFlags::SINK)
    );
}

#[test]
fn releasing_the_last_pad_while_recording_ends_the_recording_first() {
    let rig = Rig::new();
    let other = beside_a_fakesink(&rig);
    let feed = rig.feed_audio();
    rig.set_state(gst::State::Playing);
    rig.recorder.start().expect("start");
    feed.advance(SECOND);
    wait_eos_of(&other);
    rig.recorder.release_request_pad(&feed.pad);
    wait_eos(&rig, 1);
    let kinds = rig.messages.kinds();
    assert_eq!(kinds.last(), Some(&Kind::Stop), "{kinds:?}");
    assert!(kinds.contains(&Kind::Error), "{kinds:?}");
}

#[test]
fn releasing_the_last_pad_in_paused_clears_the_sink_flag() {
    let rig = Rig::new();
    let pad = rig.recorder.request_pad_simple("audio_%u").unwrap();
    rig.set_state(gst::State::Paused);
    rig.recorder.release_request_pad(&pad);
    assert!(
        !rig.recorder
            .element_flags()
            .contains(gst::ElementFlags::SINK)
    );
    beside_a_fakesink(&rig);
    rig.set_state(gst::State::Playing);
    wait_eos(&rig, 1);
}

#[test]
fn eos_is_posted_again_after_a_flushing_seek() {
    let rig = Rig::new();
    let feeds = [rig.feed_audio(), rig.feed_video()];
    rig.set_state(gst::State::Playing);
    for feed in &feeds {
        feed.end();
    }
    wait_eos(&rig, 1);
    for feed in &feeds {
        feed.event(gst::event::FlushStart::new());
        feed.event(gst::event::FlushStop::new(true));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        feed.event(gst::event::Segment::new(&segment));
    }
    assert_eq!(eos_count(&rig), 1);
    for feed in &feeds {
        feed.end();
    }
    wait_eos(&rig, 2);
    // Also if a new stream follows without a flush.
    for feed in &feeds {
        feed.event(gst::event::StreamStart::new("again"));
        feed.end();
    }
    wait_eos(&rig, 3);
}

#[test]
fn eos_sent_to_the_element_ends_all_tracks() {
    let (rig, tracks) = Rig::live(1, 1);
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    tracks[1].wait_buffers(5);
    assert!(rig.recorder.send_event(gst::event::Eos::new()), "accepted");
    let events = rig.wait_recording(1);
    assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
    wait_eos(&rig, 1);
}

#[test]
fn eos_sent_to_the_pipeline_ends_the_recording() {
    let (rig, tracks) = Rig::live(1, 1);
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    tracks[1].wait_buffers(5);
    rig.pipeline.send_event(gst::event::Eos::new());
    let events = rig.wait_recording(1);
    assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
    wait_eos(&rig, 1);
}

#[test]
fn a_filesink_on_src_prerolls_before_recording() {
    let rig = Rig::new();
    let _tracks = [rig.file_audio(10), rig.file_video(3)];
    let sink = FileSink::on(&rig, "preroll.webm");
    // Waits for the state change, which the filesink only completes once it has prerolled.
    rig.set_state(gst::State::Paused);
    assert_eq!(sink.element.current_state(), gst::State::Paused);
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    assert_eq!(sink.buffers.load(Ordering::SeqCst), 0, "no bytes");
    rig.set_state(gst::State::Playing);
    wait_eos(&rig, 1);
    assert!(sink.close().is_empty(), "nothing was recorded");
}

#[test]
fn filesinks_file_is_the_complete_recording() {
    let rig = Rig::new();
    let sink = FileSink::on(&rig, "sink.webm");
    rig.set_state(gst::State::Paused);
    rig.play();
    let (audio, video) = (rig.feed_audio(), rig.feed_video());
    rig.recorder.start().expect("start");
    advance_all(&[&audio, &video], SECOND * 2);
    rig.recorder.stop().expect("stop");
    let (bytes, _) = check_recording(&rig.wait_recording(1));
    sink.wait_eos(1);
    assert!(sink.close() == bytes, "the file equals the blob");
    assert_plays(&sink.path);
    assert_finalised(&sink.path);
    assert_lasts(&sink.path, 2.0, 0.05);
    assert_eq!(frames(&sink.path), 50);
    assert_eq!(sink.flushes.load(Ordering::SeqCst), 0, "never a flush");
}

#[test]
fn filesinks_file_equals_sliced_blobs_except_for_patched_bytes() {
    let rig = Rig::new();
    rig.recorder.set_property("timeslice", 300u32);
    let sink = FileSink::on(&rig, "sink.webm");
    rig.play();
    let (audio, video) = (rig.feed_audio(), rig.feed_video());
    rig.recorder.start().expect("start");
    advance_all(&[&audio, &video], SECOND * 2);
    rig.recorder.stop().expect("stop");
    let (bytes, _) = check_recording(&rig.wait_recording(1));
    sink.wait_eos(1);
    let file = sink.close();
    assert_eq!(file.len(), bytes.len());
    let patched = file.iter().zip(&bytes).filter(|(a, b)| a != b).count();
    assert!(
        patched * 10 < file.len(),
        "{patched} of {} bytes differ",
        file.len()
    );
    assert_plays(&sink.path);
    assert_finalised(&sink.path);
    assert_lasts(&sink.path, 2.0, 0.05);
}

#[test]
fn stop_ends_src_while_the_pipeline_continues() {
    let (rig, tracks) = Rig::live(1, 1);
    let sink = FileSink::on(&rig, "first.webm");
    for n in 1..=2 {
        rig.recorder.start().expect("start");
        rig.wait_event(Kind::Start, n);
        tracks[1].wait_buffers(15);
        rig.recorder.stop().expect("stop");
        check_recording(&rig.wait_recording(n));
        sink.wait_eos(1);
        if n == 1 {
            assert!(rig.bus.all().is_empty(), "{:?}", rig.bus.all());
        }
    }
    // The filesink still has EOS: the second recording could not be written there, which is only a warning.
    assert_eq!(sink.eos.load(Ordering::SeqCst), 1);
    rig.bus.wait("a warning about src", |all| {
        all.iter().any(|m| matches!(m, BusMessage::Warning { .. }))
    });
    rig.assert_no_bus_error();
    assert_eq!(eos_count(&rig), 0);
    tracks[1].wait_buffers(5);

    let first = sink.close();
    assert_plays(&sink.path);
    let second = rig.path("third.webm");
    sink.element.set_property("location", &second);
    sink.element.sync_state_with_parent().expect("re-armed");
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 3);
    tracks[1].wait_buffers(15);
    rig.recorder.stop().expect("stop");
    let (bytes, _) = check_recording(&rig.wait_recording(3));
    sink.wait_eos(2);
    sink.element.set_state(gst::State::Null).expect("NULL");
    let third = std::fs::read(&second).expect("the third file");
    assert!(third == bytes, "the third recording is in its file");
    assert!(third != first);
    assert_plays(&second);
    assert_finalised(&second);
}

/// The first recording's encoder blocks after 46 frames, until the returned flag is true.
fn hold_first(rig: &Rig) -> Arc<AtomicBool> {
    let released = Arc::<AtomicBool>::default();
    let (let_go, setups) = (released.clone(), AtomicUsize::new(0));
    rig.recorder.connect("encoder-setup", false, move |values| {
        let pad = values[1].get::<gst::Pad>().expect("a pad");
        let encoder = values[2].get::<gst::Element>().expect("an encoder");
        if pad.name().starts_with("video") && setups.fetch_add(1, Ordering::SeqCst) == 0 {
            let (let_go, passed) = (let_go.clone(), AtomicUsize::new(0));
            let sink = encoder.static_pad("sink").expect("a sink pad");
            sink.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                if passed.fetch_add(1, Ordering::SeqCst) >= 46 {
                    holds_within(DEADLINE, || let_go.load(Ordering::SeqCst));
                }
                gst::PadProbeReturn::Ok
            });
        }
        None
    });
    released
}

/// A recording that starts while the previous one is still being finalised does not touch its file.
#[test]
fn recordings_that_overlap_do_not_mix_on_src() {
    for ends_at_once in [false, true] {
        let rig = Rig::new();
        rig.recorder
            .set_property("stop-timeout", 2 * DEADLINE.as_nanos() as u64);
        let released = hold_first(&rig);
        let sink = FileSink::on(&rig, "first.webm");
        rig.play();
        let (audio, video) = (rig.feed_audio(), rig.feed_video());
        rig.recorder.start().expect("start");
        advance_all(&[&audio, &video], SECOND * 2);
        wait_for("bytes of the first", || rig.recorder.stat("bytes") > 0);
        rig.recorder.stop().expect("stop");
        rig.recorder.start().expect("start while the first drains");
        if ends_at_once {
            rig.recorder.stop().expect("stop before any data");
        } else {
            advance_all(&[&audio, &video], SECOND);
        }
        rig.bus.wait("a warning about src", |all| {
            all.iter().any(|m| matches!(m, BusMessage::Warning { .. }))
        });
        let ended = holds_within(QUIET, || sink.eos.load(Ordering::SeqCst) > 0);
        assert!(!ended, "the second one ended the first");
        released.store(true, Ordering::SeqCst);
        let (bytes, _) = check_recording(&rig.wait_recording(1));
        sink.wait_eos(1);
        if !ends_at_once {
            advance_all(&[&audio, &video], SECOND);
            rig.recorder.stop().expect("stop");
        }
        let events = rig.wait_recording(2);
        assert!(sink.close() == bytes, "the file is the first recording");
        assert_plays(&sink.path);
        assert_finalised(&sink.path);
        assert_lasts(&sink.path, 2.0, 0.05);
        assert_eq!(frames(&sink.path), 50);
        assert_eq!(sink.eos.load(Ordering::SeqCst), 1);
        assert_eq!(rig.bus.all().len(), 1, "one warning");
        if !ends_at_once {
            let second = rig.save("second.webm", &check_recording(&events).0);
            assert_plays(&second);
            assert_lasts(&second, 2.0, 0.05);
        }
    }
}

#[test]
fn eos_of_all_pads_reaches_src_and_then_the_bus() {
    let (rig, tracks) = Rig::live(1, 1);
    let sink = FileSink::on(&rig, "sink.webm");
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    tracks[1].wait_buffers(10);
    for track in &tracks {
        track.end();
    }
    wait_eos(&rig, 1);
    assert_eq!(sink.eos.load(Ordering::SeqCst), 1, "one EOS on src");
    sink.close();
    assert_plays(&sink.path);
    assert_finalised(&sink.path);
}

#[test]
fn a_downstream_error_affects_neither_recording_nor_signals() {
    let (rig, tracks) = Rig::live(1, 1);
    // Refuses every buffer.
    let pad = gst::Pad::builder(gst::PadDirection::Sink)
        .chain_function(|_, _, _| Err(gst::FlowError::Error))
        .event_function(|_, _, _| true)
        .build();
    pad.set_active(true).expect("active");
    let src = rig.recorder.static_pad("src").expect("an always pad");
    src.link(&pad).expect("linked");
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    tracks[1].wait_buffers(20);
    rig.recorder.stop().expect("stop");
    let events = rig.wait_recording(1);
    assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
    assert_plays(&rig.save("blob.webm", &check_recording(&events).0));
    rig.signals.nothing_within(QUIET);
}

/// gst-launch-1.0 with a line of blank-separated words.
fn launch(options: &[&str], line: &str) -> plugin::Running {
    plugin::Running::spawn(
        plugin::command("gst-launch-1.0")
            .args(options)
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null()),
    )
}

const LIVE: &str = "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! r.audio_0 \
     videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120,framerate=30/1 ! r.video_0";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Asserts that `path` is a finalised WebM with audio and video.
#[track_caller]
fn assert_file(path: &str) {
    assert_plays(path);
    assert_finalised(path);
    let media = probe(path);
    assert!(media.duration.is_some_and(|d| d > 0.2), "{media:?}");
    assert_eq!(media.codecs("video"), ["vp8"]);
    assert_eq!(media.codecs("audio"), ["opus"]);
}

#[test]
fn gst_launch_records_input_that_ends() {
    let folder = folder();
    let path = folder.path().join("end.webm").display().to_string();
    let mut child = launch(
        &["-e"],
        &format!(
            "mediarecorder name=r autostart=true location={path} \
             audiotestsrc num-buffers=100 samplesperbuffer=480 ! audio/x-raw,rate=48000 ! r.audio_0 \
             videotestsrc num-buffers=30 ! video/x-raw,width=160,height=120,framerate=30/1 ! r.video_0"
        ),
    );
    assert!(child.wait_exit().success());
    assert_file(&path);
    assert_lasts(&path, 1.0, 0.05);
    assert_eq!(frames(&path), 30);
}

#[test]
fn gst_launch_with_e_finishes_the_file_on_ctrl_c() {
    let folder = folder();
    let path = folder.path().join("ctrl-c.webm").display().to_string();
    let mut child = launch(
        &["-e"],
        &format!("mediarecorder name=r autostart=true location={path} {LIVE}"),
    );
    plugin::wait_size(&path, SOME_MEDIA);
    child.interrupt();
    child.wait_exit();
    assert_file(&path);
}

#[test]
fn gst_launch_without_e_finishes_the_file_on_ctrl_c() {
    let folder = folder();
    let path = folder.path().join("ctrl-c.webm").display().to_string();
    let mut child = launch(
        &[],
        &format!("mediarecorder name=r autostart=true location={path} {LIVE}"),
    );
    plugin::wait_size(&path, SOME_MEDIA);
    child.interrupt();
    child.wait_exit();
    assert_file(&path);
}

#[test]
fn gst_launch_with_e_and_filesink_finishes_the_file_on_ctrl_c() {
    let folder = folder();
    let path = folder.path().join("sink.webm").display().to_string();
    let mut child = launch(
        &["-e"],
        &format!(
            "mediarecorder name=r autostart=true ! filesink buffer-mode=unbuffered location={path} {LIVE}"
        ),
    );
    plugin::wait_size(&path, SOME_MEDIA);
    child.interrupt();
    child.wait_exit();
    assert_file(&path);
}

#[test]
fn eos_sent_to_the_element_keeps_the_last_frame_of_nal_units() {
    let rig = Rig::new();
    let path = rig.path("units.mkv");
    rig.recorder.set_property("location", &path);
    rig.recorder.set_property("autostart", true);
    let source = gst::parse::bin_from_description(
        "videotestsrc num-buffers=30 ! video/x-raw,width=160,height=120,framerate=30/1 ! \
         x264enc speed-preset=ultrafast tune=zerolatency ! h264parse ! capsfilter \
         caps=video/x-h264,stream-format=byte-stream,alignment=nal",
        true,
    )
    .expect("a description");
    rig.pipeline.add(&source).expect("a new bin");
    let pad = rig.recorder.request_pad_simple("video_%u").expect("a pad");
    let src = source.static_pad("src").expect("one is left over");
    src.link(&pad).expect("the pads link");
    // Data after the last buffer never arrives: the source has stalled.
    let (reported, silent) = std::sync::mpsc::channel();
    src.add_probe(
        gst::PadProbeType::EVENT_DOWNSTREAM,
        move |_, info| match info.event().map(|event| event.type_()) {
            Some(gst::EventType::Eos) => {
                let _ = reported.send(());
                // In 1.22, dropping it from the probe would unref NULL.
                drop(info.data.take());
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        },
    );
    rig.set_state(gst::State::Playing);
    silent.recv().expect("the end of the source");
    assert!(rig.recorder.send_event(gst::event::Eos::new()));
    rig.wait_recording(1);
    assert_plays(&path);
    assert_eq!(frames(&path), 30);
}

#[test]
fn tracks_that_end_right_after_an_empty_recording_also_post_eos() {
    let types = ["video/webm", "video/x-matroska", "video/ogg", "video/mp4"];
    for (round, mime_type) in types.iter().cycle().enumerate().take(60) {
        let rig = Rig::new();
        rig.recorder.set_property("mime-type", mime_type);
        rig.play();
        let (audio, video) = (rig.feed_audio(), rig.feed_video());
        advance_all(&[&audio, &video], SECOND / 5);
        rig.recorder.start().expect("start");
        rig.recorder.stop().expect("stop");
        audio.end();
        video.end();
        let events = rig.wait_recording(1);
        assert_eq!(
            kinds(&events),
            [Kind::Start, Kind::Data, Kind::Stop],
            "round {round}, {mime_type}"
        );
        rig.assert_no_bus_error();
    }
}

#[test]
fn gst_launch_mutes_a_pad_by_name() {
    let folder = folder();
    let path = folder.path().join("mute.wav").display().to_string();
    let mut child = launch(
        &["-e"],
        &format!(
            "mediarecorder name=r autostart=true location={path} audio_0::mute=true \
             audiotestsrc num-buffers=100 samplesperbuffer=480 ! audio/x-raw,rate=48000 ! r.audio_0"
        ),
    );
    assert!(child.wait_exit().success());
    let sound = common::harness::media::sound(&path, 0);
    assert_eq!(sound.len(), 48_000);
    assert!(sound.iter().all(|s| *s == 0), "silence");
}
