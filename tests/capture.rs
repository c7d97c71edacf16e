//! Real capture: a private PulseAudio daemon, a signal played into its null sink, and the sink's monitor recorded.

mod common;

use common::app::{App, DEADLINE, STEREO, holds_within, init};
use common::child_process::kill_with_test;
use common::judge::kept::Kept;
use common::judge::{decode, file, position, samples};
use common::signal::{AudioSignal, tag};
use gst::prelude::*;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const MILLI: u64 = 1_000_000;
/// A busy machine may starve the player or the daemon, which the test sees in the captured samples, before the
/// recorder. Then it is repeated, at most this often.
const TRIES: usize = 4;

/// A PulseAudio daemon in its own directory, with the null sink `nul`; stopped when dropped.
struct Pulse {
    daemon: Child,
    directory: tempfile::TempDir,
}

impl Pulse {
    fn new() -> Self {
        init();
        let directory = tempfile::Builder::new().prefix("pulse").tempdir().unwrap();
        let mut daemon = Command::new("pulseaudio");
        daemon
            .args([
                "-n",
                "--daemonize=no",
                "--exit-idle-time=-1",
                "--use-pid-file=no",
            ])
            .args(["--disable-shm", "--log-target=stderr", "--log-level=error"])
            .arg(format!(
                "--load=module-native-protocol-unix auth-anonymous=1 socket={}",
                directory.path().join("native").display()
            ))
            .arg("--load=module-null-sink sink_name=nul rate=48000 channels=2 format=s16le")
            .env("XDG_RUNTIME_DIR", directory.path())
            .env("HOME", directory.path())
            .env_remove("PULSE_SERVER")
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .stdin(Stdio::null());
        let daemon = kill_with_test(&mut daemon)
            .spawn()
            .expect("pulseaudio is installed");
        let mut pulse = Self { daemon, directory };
        let socket = pulse.directory.path().join("native");
        let up = holds_within(DEADLINE, || {
            let gone = pulse.daemon.try_wait().unwrap();
            assert_eq!(gone, None, "pulseaudio has exited");
            socket.exists()
        });
        assert!(up, "pulseaudio did not start");
        pulse
    }

    fn server(&self) -> String {
        format!("unix:{}", self.directory.path().join("native").display())
    }

    fn capture(&self) -> String {
        let server = self.server();
        format!("pulsesrc server={server} device=nul.monitor buffer-time=500000 ! {STEREO}")
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Plays `sound` into the null sink until dropped.
struct Player(gst::Pipeline);

impl Player {
    fn new(pulse: &Pulse, audio: AudioSignal) -> Self {
        let server = pulse.server();
        let pipeline = gst::parse::launch(&format!(
            "audiotestsrc samplesperbuffer=480 ! {STEREO} ! identity name=sound ! \
             pulsesink server={server} device=nul buffer-time=500000"
        ))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        let pad = pipeline
            .by_name("sound")
            .unwrap()
            .static_pad("src")
            .unwrap();
        tag::audio(&pad, audio, 48000);
        pipeline.set_state(gst::State::Playing).unwrap();
        let (result, state, _) = pipeline.state(gst::ClockTime::from_seconds(20));
        result.expect("the player plays");
        assert_eq!(state, gst::State::Playing);
        Self(pipeline)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

/// The daemon passes every sample unchanged: without that, the tests below prove nothing.
#[test]
fn the_played_signal_is_captured_unchanged() {
    let whole = (0..TRIES).any(|_| {
        let pulse = Pulse::new();
        let _player = Player::new(&pulse, AudioSignal::Counted);
        let pipeline = gst::parse::launch(&format!(
            "{} ! identity name=sound ! fakesink sync=false",
            pulse.capture()
        ))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        let pad = pipeline
            .by_name("sound")
            .unwrap()
            .static_pad("src")
            .unwrap();
        let clock = tag::watch(&pad, 48000);
        pipeline.set_state(gst::State::Playing).unwrap();
        let events = holds_within(DEADLINE, || clock.contiguous() > 48000);
        pipeline.set_state(gst::State::Null).unwrap();
        assert!(events, "a second of it arrives");
        println!("stumbles: {}", clock.discontinuities());
        clock.discontinuities() == 0
    });
    assert!(
        whole,
        "no second was captured unchanged in {TRIES} attempts"
    );
}

/// Records the captured signal, with one pause; returns what was kept and how the capture went. The clock is that
/// of the captured samples if they are numbered.
fn record(mime: &str, path: &Path, audio: AudioSignal) -> (Kept, tag::SampleClock) {
    let pulse = Pulse::new();
    let _player = Player::new(&pulse, audio);
    let app = App::new(mime, path);
    let source = app.source(&pulse.capture());
    let clock = tag::watch(&source, 48000);
    source.link(&app.pad("audio_%u")).unwrap();
    app.set_state(gst::State::Playing);
    assert!(
        holds_within(DEADLINE, || clock.passed() > 48000 / 2),
        "audio is captured"
    );
    for (action, then) in [("start", 700), ("pause", 500), ("resume", 700), ("stop", 0)] {
        let (before, after) = app.act(action);
        let cut = {
            app.wait_for(action, 1);
            app.cuts().last().unwrap().1
        };
        assert!(
            cut + MILLI >= before && cut <= after + MILLI,
            "{action} at {cut}, called between {before} and {after}"
        );
        app.wait_running_time(after + then * MILLI);
    }
    assert!(!app.has_eos());
    app.set_state(gst::State::Null);
    file::decodes_without_errors(path).unwrap();
    (app.kept(), clock)
}

#[test]
fn captured_wav_is_complete_and_cut_to_the_sample() {
    for attempt in 1..=TRIES {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("capture.wav");
        let (kept, clock) = record("audio/wav", &path, AudioSignal::Counted);
        if clock.discontinuities() > 0 && attempt < TRIES {
            println!("the capture itself was not continuous, trying again");
            continue;
        }
        let audio = decode::audio(&path, 0, None).unwrap();
        let exactness = samples::check_continuous(&audio, &kept, &clock).unwrap();
        println!("{exactness:?}");
        return;
    }
}

#[test]
fn captured_webm_is_complete_and_cut() {
    let mut last = None;
    for _ in 0..TRIES {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("capture.webm");
        let (kept, _) = record("audio/webm;codecs=opus", &path, AudioSignal::Noise);
        let audio = decode::audio(&path, 0, Some(48000)).unwrap();
        assert_eq!(audio.holes(1.5e6), []);
        let mut places = position::find(&audio, 30e9).unwrap();
        // What was played at 0 was captured at another time, by a constant offset.
        let mut distances: Vec<_> = places
            .iter()
            .filter_map(|p| Some(p.source? - kept.source_at(p.recorded)))
            .collect();
        distances.sort_by(f64::total_cmp);
        let middle = distances[distances.len() / 2];
        for place in &mut places {
            place.source = place.source.map(|s| s - middle);
        }
        let verdict = position::check(&places, &kept, 1.1e6);
        println!("{verdict:?}");
        assert!((file::duration(&path).unwrap() - kept.total() as f64).abs() < 21e6);
        assert_eq!(file::codecs(&path).unwrap(), ["opus"]);
        assert!(file::has_seek_index(&path).unwrap() > 0);
        match verdict {
            Ok(_) => return,
            // Otherwise the capture itself was not continuous: a fault of the recorder occurs each time.
            Err(error) => last = Some(error),
        }
    }
    panic!("{last:?}");
}
