//! Real sources: a sound server and a PipeWire camera together, and a network that loses packets.

mod common;
mod inputs;

use common::app::{DEADLINE, holds_within, init};
use common::child_process::kill_with_test;
use common::judge::{decode, position};
use common::signal::{AudioSignal, tag};
use gst::prelude::*;
use inputs::*;
use std::process::{Child, Command, Stdio};

/// A busy machine may starve a daemon, which is visible in the captured media. Then the test is repeated, at most
/// this often.
const TRIES: usize = 3;

fn play(line: &str) -> gst::Pipeline {
    init();
    gst::parse::launch(line).unwrap().downcast().unwrap()
}

fn pad_of(pipeline: &gst::Pipeline, name: &str) -> gst::Pad {
    let element = pipeline.by_name(name).expect(name);
    element.static_pad("src").expect("a source pad")
}

/// How much later the audio is than when it was played, in ns: that of most windows, and the number of others.
fn distance(take: &Take, kept: &common::judge::kept::Kept) -> (f64, usize, usize) {
    let audio = decode::audio(&take.path, 0, Some(48_000)).unwrap();
    let places = position::find(&audio, 40e9).unwrap();
    let mut found: Vec<f64> = places
        .iter()
        .filter_map(|p| Some(kept.source_at(p.recorded) - p.source?))
        .collect();
    assert!(found.len() > 50, "only {} windows of audio", found.len());
    found.sort_by(f64::total_cmp);
    let middle = found[found.len() / 2];
    let off = found
        .iter()
        .filter(|d| (**d - middle).abs() > 1.1e6)
        .count();
    (middle, off, found.len())
}

// Over a network.

/// Records audio sent over the loopback interface; the packets in `lost` never arrive.
fn over_the_network(lost: f64) -> (Take, common::judge::kept::Kept) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    let take = Take::new(WAV);
    let source = take.app.source(&format!(
        "udpsrc address=127.0.0.1 port={port} buffer-size=1000000 \
         caps=\"application/x-rtp,media=audio,clock-rate=48000,encoding-name=L16,channels=2,payload=96\" ! \
         rtpjitterbuffer latency=200 ! rtpL16depay ! audioconvert ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved"
    ));
    source.link(&take.app.pad("audio_%u")).unwrap();
    let sender = play(&format!(
        "audiotestsrc is-live=true samplesperbuffer=480 ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved ! identity name=sound ! \
         audioconvert ! rtpL16pay max-ptime=10000000 min-ptime=10000000 mtu=4000 ! \
         identity drop-probability={lost} ! udpsink host=127.0.0.1 port={port} sync=false"
    ));
    tag::audio(&pad_of(&sender, "sound"), AudioSignal::Noise, 48_000);
    let arrived = tag_free_count(&source);
    take.app.set_state(gst::State::Playing);
    sender.set_state(gst::State::Playing).unwrap();
    assert!(holds_within(DEADLINE, || arrived
        .load(std::sync::atomic::Ordering::SeqCst)
        > 20));
    for (action, then) in [
        ("start", 1500),
        ("pause", 400),
        ("resume", 1500),
        ("stop", 0),
    ] {
        let (_, after) = take.app.act(action);
        take.app.wait_running_time(after + then * MILLI);
    }
    take.app.wait_for("stop", 1);
    sender.set_state(gst::State::Null).unwrap();
    let kept = take.app.kept();
    take.wrap();
    (take, kept)
}

fn tag_free_count(pad: &gst::Pad) -> std::sync::Arc<std::sync::atomic::AtomicU64> {
    let count = std::sync::Arc::<std::sync::atomic::AtomicU64>::default();
    let counter = count.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        gst::PadProbeReturn::Ok
    });
    count
}

#[test]
fn lost_network_packets_do_not_move_the_others() {
    for attempt in 1..=TRIES {
        let (take, kept) = over_the_network(0.05);
        let samples = decode::audio(&take.path, 0, None).unwrap();
        let expected = kept.total() * 48 / MILLI;
        assert!(
            samples.len().abs_diff(expected) <= 1,
            "{} for {expected}",
            samples.len()
        );
        let silent = samples
            .samples
            .chunks(2)
            .filter(|s| s[0] == 0 && s[1] == 0)
            .count();
        let (middle, off, windows) = distance(&take, &kept);
        println!(
            "{:.3} ms behind, {off} of {windows} elsewhere, {silent} silent",
            middle / 1e6
        );
        // Three seconds of packets of 10 ms, a twentieth of them lost.
        let lost = (480..480 * 60).contains(&silent);
        // The network's clock may be corrected once, but not at each gap.
        if (!lost || off > windows / 10) && attempt < TRIES {
            continue;
        }
        assert!(lost, "{silent} silent samples");
        assert!(off <= windows / 10, "{off} of {windows} windows elsewhere");
        return;
    }
}

// A sound server and a camera. Both run in their own session, in which this program is run again.

const INSIDE: &str = "MEDIARECORDER_TEST_INSIDE";

/// Starts PipeWire and its session manager, and runs this program's test `inside` with them.
const SESSION: &str = r#"
trap 'kill $(jobs -p) 2>/dev/null' EXIT
pipewire & 
for n in $(seq 100); do test -S "$XDG_RUNTIME_DIR/pipewire-0" && break; sleep 0.1; done
wireplumber &
"$0" --exact --ignored --nocapture inside_a_session
"#;

#[test]
fn a_sound_server_and_a_camera_together() {
    for attempt in 1..=TRIES {
        let (passed, reported) = session();
        // PipeWire has not linked the camera: not an attempt.
        let flows = !reported.contains("no data:");
        if passed || flows || attempt == TRIES {
            assert!(passed && reported.contains("1 passed"), "{reported}");
            return;
        }
    }
}

/// Whether the test in its own session has passed, and its output.
fn session() -> (bool, String) {
    let folder = tempfile::Builder::new()
        .prefix("session")
        .tempdir_in("/tmp")
        .unwrap();
    let output = Command::new("timeout")
        .args(["150", "dbus-run-session", "--", "bash", "-c", SESSION])
        .arg(std::env::current_exe().unwrap())
        .env("XDG_RUNTIME_DIR", folder.path())
        .env("HOME", folder.path())
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("dbus-run-session runs (Debian packages dbus, pipewire, wireplumber)");
    let said = String::from_utf8_lossy(&output.stdout);
    let wept = String::from_utf8_lossy(&output.stderr);
    let reported = format!("{}\n{said}\n{wept}", output.status);
    (output.status.success(), reported)
}

struct Pulse(Child);

impl Drop for Pulse {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pulse(socket: &std::path::Path) -> Pulse {
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
            socket.display()
        ))
        .arg("--load=module-null-sink sink_name=nul rate=48000 channels=2 format=s16le")
        .stdin(Stdio::null());
    let daemon = kill_with_test(&mut daemon)
        .spawn()
        .expect("pulseaudio runs");
    assert!(holds_within(DEADLINE, || socket.exists()));
    Pulse(daemon)
}

#[test]
#[ignore = "runs inside a session that the test above makes"]
fn inside_a_session() {
    assert!(std::env::var_os(INSIDE).is_some(), "only inside");
    let folder = std::path::PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").unwrap());
    let socket = folder.join("pulse-of-the-test");
    let _pulse = pulse(&socket);
    let server = format!("unix:{}", socket.display());
    let mut last = String::new();
    for _ in 0..TRIES {
        // A stage for each: with PipeWire 1.4, a camera is slow for the second client.
        let stage = stage(&server);
        let taken = take_of_both(&server);
        stage.set_state(gst::State::Null).unwrap();
        match taken {
            Ok(()) => return,
            Err(error) => last = error,
        }
        println!("trying again: {last}");
    }
    panic!("{last}");
}

/// A loudspeaker and a camera with a common source: audio and video of one instant show the same time.
fn stage(server: &str) -> gst::Pipeline {
    let stage = play(&format!(
        "audiotestsrc is-live=true samplesperbuffer=480 ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved ! identity name=sound ! \
         pulsesink server={server} device=nul buffer-time=200000 \
         videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120,framerate=25/1 ! \
         identity name=pictures ! queue ! pipewiresink mode=provide sync=true \
         stream-properties=\"p,media.class=Video/Source,node.name=testcam\""
    ));
    tag::audio(&pad_of(&stage, "sound"), AudioSignal::Noise, 48_000);
    tag::video(&pad_of(&stage, "pictures"));
    // The camera's clock may stop without a client, and then nothing would be played.
    stage.use_clock(Some(&gst::SystemClock::obtain()));
    stage.set_state(gst::State::Playing).unwrap();
    stage
}

fn take_of_both(server: &str) -> Result<(), String> {
    let take = Take::new("video/webm;codecs=\"vp8,opus\"");
    let microphone = take.app.source(&format!(
        "pulsesrc server={server} device=nul.monitor buffer-time=200000 ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2"
    ));
    let camera = take
        .app
        .source("pipewiresrc target-object=testcam ! videoconvert ! video/x-raw,format=I420");
    let (events, seen) = (tag_free_count(&microphone), tag_free_count(&camera));
    microphone.link(&take.app.pad("audio_%u")).unwrap();
    camera.link(&take.app.pad("video_%u")).unwrap();
    take.app.set_state(gst::State::Playing);
    let flows =
        |count: &std::sync::atomic::AtomicU64| count.load(std::sync::atomic::Ordering::SeqCst) > 10;
    if !holds_within(DEADLINE, || flows(&events) && flows(&seen)) {
        return Err(format!("no data: {events:?} samples, {seen:?} frames"));
    }
    for (action, then) in [
        ("start", 1500),
        ("pause", 600),
        ("resume", 1500),
        ("stop", 0),
    ] {
        let (_, after) = take.app.act(action);
        take.app.wait_running_time(after + then * MILLI);
    }
    take.app.wait_for("stop", 1);
    let kept = take.app.kept();
    take.wrap();
    take.decodes_without_errors();
    let (behind, off, windows) = distance(&take, &kept);
    if off > windows / 10 {
        return Err(format!("{off} of {windows} audio windows elsewhere"));
    }
    let pictures = decode::video(&take.path, 0).unwrap();
    let mut late: Vec<f64> = pictures
        .frames
        .iter()
        .filter_map(|p| Some(kept.source_at(p.recorded) - p.source? as f64))
        .collect();
    if late.len() < 50 {
        return Err(format!("only {} frames", late.len()));
    }
    late.sort_by(f64::total_cmp);
    let (middle, first, last) = (
        late[late.len() / 2],
        late[late.len() / 20],
        late[late.len() * 19 / 20],
    );
    println!(
        "audio {:.1} ms behind, video {:.1} ({:.1} to {:.1})",
        behind / 1e6,
        middle / 1e6,
        first / 1e6,
        last / 1e6
    );
    if last - first > 60e6 {
        return Err(format!("video delays range from {first} to {last}"));
    }
    // The latency of the two sources is theirs; more than this would be the recorder's.
    if (middle - behind).abs() > 150e6 {
        return Err(format!("audio {behind} ns behind, video {middle}"));
    }
    let length = (take.length() - kept.total() as f64 / 1e9).abs();
    if length > 0.03 {
        return Err(format!("the length is {length} s off"));
    }
    Ok(())
}
