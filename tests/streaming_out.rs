//! Bytes from `src` to non-seekable consumers while recording: a pipe, a socket, an HTTP server; and a consumer
//! that blocks.

mod common;

use common::harness::log::check_recording;
use common::harness::media::{assert_plays, probe, run};
use common::harness::{DEADLINE, Kind, Recorder, Rig, holds_within, wait_for};
use common::judge::ordinary;
use gst::prelude::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// Types that are suitable for a pipe.
const TYPES: [&str; 3] = ["video/webm;codecs=vp8,opus", "video/mp4", "audio/ogg"];

/// Links `sink` to the recorder's `src`.
fn attach(rig: &Rig, sink: &gst::Element) {
    rig.pipeline.add(sink).unwrap();
    rig.recorder.link(sink).unwrap();
}

/// A pipe: its read end and its write end.
fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: `ends` has space for the two descriptors, which have no other owner.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    }
}

/// Writes the recorder's bytes to a pipe.
fn into(rig: &Rig, writing: &OwnedFd) -> gst::Element {
    let sink = gst::ElementFactory::make("fdsink")
        .property("fd", writing.as_raw_fd())
        .property("sync", false)
        .build()
        .unwrap();
    attach(rig, &sink);
    sink
}

/// A player that reads from a pipe: the newest timestamp it has decoded, in seconds.
struct Player {
    child: Child,
    newest: Arc<Mutex<f64>>,
}

impl Player {
    fn of(input: impl Into<Stdio>) -> Self {
        let mut child = Command::new("ffprobe")
            .args(["-v", "error", "-fflags", "nobuffer", "-probesize", "5000"])
            .args(["-analyzeduration", "0", "-show_entries", "frame=pts_time"])
            .args(["-of", "csv=p=0", "-i", "pipe:0"])
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ffprobe runs");
        let newest = Arc::<Mutex<f64>>::default();
        let (seen, out) = (newest.clone(), child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Ok(time) = line.trim_matches(',').parse::<f64>() {
                    let mut newest = seen.lock().unwrap();
                    *newest = newest.max(time);
                }
            }
        });
        Player { child, newest }
    }

    fn newest(&self) -> f64 {
        *self.newest.lock().unwrap()
    }

    /// Waits for its end, and returns its complaints.
    fn finish(mut self) -> String {
        let mut complaints = String::new();
        let mut out = self.child.stderr.take().unwrap();
        out.read_to_string(&mut complaints).unwrap();
        assert!(self.child.wait().unwrap().success(), "{complaints}");
        complaints
    }
}

/// Records from live sources until the consumer has decoded this much, and returns the recording's bytes.
fn record_until_seen(rig: &Rig, player: &Player, mime_type: &str) -> Vec<u8> {
    rig.recorder.start().unwrap();
    let seen = holds_within(DEADLINE, || player.newest() > 1.5);
    assert!(
        seen,
        "{mime_type}: decoded up to {} s only",
        player.newest()
    );
    let at = rig.recorder.stat("duration") as f64 / 1e9;
    let behind = at - player.newest();
    println!("{mime_type}: a player is {behind:.2} s behind the recording");
    // At most one second of media is batched, and the player has its own delay.
    assert!(behind < 3.0, "{mime_type}: {behind} s behind");
    rig.recorder.stop().unwrap();
    let (bytes, _) = check_recording(&rig.wait_recording(1));
    bytes
}

fn live(mime_type: &str) -> Rig {
    let rig = Rig::new();
    rig.recorder.set_property("mime-type", mime_type);
    rig.live_audio();
    if mime_type.starts_with("video") {
        rig.live_video();
    }
    rig
}

/// Whether `streamed` is all of a recording, whose blob or file is `whole`: a streamed MP4 stays fragmented, with
/// an index of the fragments at its end.
fn is_all(streamed: &[u8], whole: &[u8], mime_type: &str) -> bool {
    if !mime_type.contains("mp4") {
        return streamed.len() == whole.len();
    }
    let fragments = ordinary::fragmented(whole).unwrap().len();
    let index = streamed.get(fragments..).unwrap_or_default();
    let boxes = ordinary::outermost(index);
    matches!(boxes[..], [(name, 0, end)] if name == *b"mfra" && end == index.len())
}

/// Waits until the whole recording has been pushed downstream.
fn wait_eos(sink: &gst::Element) {
    let pad = sink.static_pad("sink").unwrap();
    wait_for("EOS at the sink", || {
        pad.pad_flags().contains(gst::PadFlags::EOS)
    });
}

#[test]
fn a_player_on_a_pipe_plays_while_recording() {
    for mime_type in TYPES {
        let rig = live(mime_type);
        let (reading, writing) = pipe();
        let sink = into(&rig, &writing);
        let player = Player::of(reading);
        rig.play();
        record_until_seen(&rig, &player, mime_type);
        wait_eos(&sink);
        rig.set_state(gst::State::Null);
        drop(writing);
        assert_eq!(player.finish(), "", "{mime_type}");
    }
}

/// A non-seekable sink gets every byte once, in order: complete units, without the patches at the end.
#[test]
fn a_pipe_receives_the_recording_without_patches() {
    for mime_type in TYPES {
        let rig = live(mime_type);
        let (reading, writing) = pipe();
        let sink = into(&rig, &writing);
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            std::fs::File::from(reading)
                .read_to_end(&mut bytes)
                .unwrap();
            bytes
        });
        rig.play();
        rig.recorder.start().unwrap();
        wait_for("two seconds", || {
            rig.recorder.stat("duration") > 2_000_000_000
        });
        rig.recorder.stop().unwrap();
        let (whole, duration) = check_recording(&rig.wait_recording(1));
        wait_eos(&sink);
        rig.set_state(gst::State::Null);
        drop(writing);
        let piped = reader.join().unwrap();
        assert!(is_all(&piped, &whole, mime_type), "{mime_type}");
        let path = rig.save("piped", &piped);
        assert_plays(&path);
        let streams = if mime_type.starts_with("video") { 2 } else { 1 };
        assert_eq!(probe(&path).streams.len(), streams, "{mime_type}");
        // It is complete: the last packet ends where the recording does.
        let (out, _) = run(Command::new("ffprobe")
            .args([
                "-v",
                "error",
                "-show_entries",
                "packet=pts_time,duration_time",
            ])
            .args(["-of", "csv=p=0", &path]));
        let out = String::from_utf8(out).unwrap();
        let ends = out.lines().filter_map(|line| {
            let mut fields = line.split(',').map(|field| field.parse::<f64>().ok());
            Some(fields.next()?? + fields.next().flatten().unwrap_or(0.0))
        });
        let end = ends.fold(0.0, f64::max);
        let duration = duration.nseconds() as f64 / 1e9;
        assert!(
            (end - duration).abs() < 0.1,
            "{mime_type}: {end} of {duration} s"
        );
    }
}

#[test]
fn a_client_of_a_tcp_server_plays_while_recording() {
    for mime_type in TYPES {
        let rig = live(mime_type);
        let sink = gst::ElementFactory::make("tcpserversink")
            .property("host", "127.0.0.1")
            .property("port", 0i32)
            .property("sync", false)
            .build()
            .unwrap();
        attach(&rig, &sink);
        rig.play();
        let port: i32 = sink.property("current-port");
        let socket = TcpStream::connect(("127.0.0.1", port.try_into().unwrap())).unwrap();
        wait_for("the client", || sink.property::<u32>("num-handles") == 1);
        let player = Player::of(OwnedFd::from(socket));
        record_until_seen(&rig, &player, mime_type);
        wait_eos(&sink);
        rig.set_state(gst::State::Null);
        assert_eq!(player.finish(), "", "{mime_type}");
        rig.assert_no_bus_error();
    }
}

#[test]
fn a_server_receives_all_of_it_from_a_tcp_client() {
    let mime_type = "video/mp4";
    let rig = live(mime_type);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let sink = gst::ElementFactory::make("tcpclientsink")
        .property("host", "127.0.0.1")
        .property("port", i32::from(listener.local_addr().unwrap().port()))
        .property("sync", false)
        .build()
        .unwrap();
    attach(&rig, &sink);
    let server = std::thread::spawn(move || listener.accept().unwrap().0);
    rig.play();
    let player = Player::of(OwnedFd::from(server.join().unwrap()));
    record_until_seen(&rig, &player, mime_type);
    wait_eos(&sink);
    rig.set_state(gst::State::Null);
    assert_eq!(player.finish(), "");
}

/// An HTTP server that accepts uploads, and what it has received.
struct Server {
    child: Child,
    port: u16,
    body: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    /// Runs one that passes uploads on to a player.
    fn with_player() -> (Self, Player) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/server.py");
        let mut child = Command::new("python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut port = String::new();
        let mut output = BufReader::new(child.stderr.take().unwrap());
        output.read_line(&mut port).unwrap();
        let port = port.trim().parse().unwrap_or_else(|_| {
            let mut rest = String::new();
            let _ = output.read_to_string(&mut rest);
            panic!("the server does not run: {port}{rest}")
        });
        let body = Arc::<Mutex<Vec<u8>>>::default();
        let (reading, writing) = pipe();
        let (kept, mut uploads) = (body.clone(), child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut player = std::fs::File::from(writing);
            let mut piece = [0; 65_536];
            while let Ok(size @ 1..) = uploads.read(&mut piece) {
                kept.lock().unwrap().extend_from_slice(&piece[..size]);
                // A failed one reports that itself.
                let _ = player.write_all(&piece[..size]);
            }
        });
        let server = Server { child, port, body };
        (server, Player::of(reading))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It exits when its input ends.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// In one request as long as the recording, or in one for each piece.
#[test]
fn an_http_server_receives_it_while_recording() {
    for (sink, mime_type) in [
        ("curlhttpsink", "video/webm;codecs=vp8,opus"),
        ("curlhttpsink", "video/mp4"),
        ("souphttpclientsink", "video/webm;codecs=vp8,opus"),
        ("souphttpclientsink", "video/mp4"),
        ("souphttpclientsink", "audio/ogg"),
    ] {
        let what = format!("{sink}, {mime_type}");
        let (server, player) = Server::with_player();
        let rig = live(mime_type);
        let location = format!("http://127.0.0.1:{}/recording", server.port);
        let sink = gst::ElementFactory::make(sink)
            .property("location", location)
            .build()
            .unwrap();
        sink.set_property("sync", false);
        if sink.has_property("use-content-length") {
            sink.set_property("use-content-length", false);
        }
        attach(&rig, &sink);
        rig.play();
        let bytes = record_until_seen(&rig, &player, &what);
        wait_eos(&sink);
        wait_for("the whole recording", || {
            is_all(&server.body.lock().unwrap(), &bytes, mime_type)
        });
        rig.set_state(gst::State::Null);
        rig.assert_no_bus_error();
        let path = rig.save("uploaded", &server.body.lock().unwrap());
        drop(server);
        assert_eq!(player.finish(), "", "{what}");
        assert_plays(&path);
    }
}

/// Nothing reads the pipe: it fills up, and the sink blocks forever.
#[test]
fn a_blocked_consumer_does_not_affect_the_recording() {
    let rig = Rig::new();
    let path = rig.path("unharmed.webm");
    rig.recorder.set_property("location", &path);
    rig.recorder.set_property("timeslice", 200u32);
    let tracks = [rig.live_audio(), rig.live_video()];
    let (reading, writing) = pipe();
    // SAFETY: an open pipe, and no pointer.
    let room = unsafe { libc::fcntl(writing.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    assert_eq!(room, 4096);
    let sink = into(&rig, &writing);
    rig.play();
    rig.recorder.start().unwrap();
    wait_for("three seconds", || {
        rig.recorder.stat("duration") > 3_000_000_000
    });
    // As sent by encoders, and one that changes its format.
    let upstream = tracks[1].pad.peer().unwrap();
    let (done, through) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        upstream.push_event(gst_video::DownstreamForceKeyUnitEvent::builder().build());
        upstream.peer_query(&mut gst::query::Drain::new());
        let _ = done.send(());
    });
    through
        .recv_timeout(DEADLINE)
        .expect("upstream is not held up");
    let stats: gst::Structure = rig.recorder.property("stats");
    for track in stats.get::<gst::Array>("tracks").unwrap().iter() {
        let track = track.get::<gst::Structure>().unwrap();
        assert_eq!(track.get::<u64>("dropped"), Ok(0), "{track}");
    }
    rig.recorder.stop().unwrap();
    let events = rig.wait_recording(1);
    assert!(
        events.iter().all(|event| event.kind != Kind::Error),
        "{events:?}"
    );
    let (bytes, duration) = check_recording(&events);
    assert!(events.iter().filter(|e| e.kind == Kind::Data).count() > 12);
    let file = std::fs::read(&path).unwrap();
    assert_eq!(file.len(), bytes.len());
    assert_plays(&path);
    let lasts = probe(&path).duration.unwrap();
    assert!(
        (lasts - duration.nseconds() as f64 / 1e9).abs() < 0.04,
        "{lasts} of {duration}"
    );
    // Upstream was not affected.
    for track in &tracks {
        track.wait_buffers(10);
    }
    rig.assert_no_bus_error();
    // The sink can shut down once the pipe is read.
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        std::fs::File::from(reading).read_to_end(&mut rest).unwrap();
        rest
    });
    wait_eos(&sink);
    rig.set_state(gst::State::Null);
    drop(writing);
    assert_eq!(reader.join().unwrap().len(), bytes.len(), "nothing is lost");
}

/// Sinks on `src`, and readers of blobs, send the header in the caps to new clients: it has to be that of the
/// recording, whatever the muxer wrote first.
#[test]
fn the_header_in_the_caps_is_that_of_the_recording() {
    for mime_type in ["video/webm;codecs=vp8,opus", "video/mp4", "audio/ogg"] {
        let rig = live(mime_type);
        rig.recorder.set_property("timeslice", 500u32);
        let sink = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .build()
            .unwrap();
        attach(&rig, &sink);
        let pad = sink.static_pad("sink").unwrap();
        let reported = Arc::<Mutex<Option<gst::Caps>>>::default();
        let seen = reported.clone();
        // EOS makes the pad drop them.
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let Some(event) = info.event()
                && let gst::EventView::Caps(caps) = event.view()
            {
                *seen.lock().unwrap() = Some(caps.caps_owned());
            }
            gst::PadProbeReturn::Ok
        });
        rig.play();
        rig.recorder.start().unwrap();
        rig.wait_event(Kind::Data, 2);
        rig.recorder.stop().unwrap();
        let events = rig.wait_recording(1);
        let (bytes, _) = check_recording(&events);
        let header = |caps: &gst::CapsRef| {
            let list = caps.structure(0)?.get::<gst::Array>("streamheader").ok()?;
            let buffers = list.iter().map(|value| value.get::<gst::Buffer>().unwrap());
            let bytes = buffers.map(|buffer| buffer.map_readable().unwrap().to_vec());
            Some(bytes.collect::<Vec<_>>().concat())
        };
        for event in events.iter().filter(|event| event.kind == Kind::Data) {
            let caps = event.sample.as_ref().unwrap().caps().unwrap().to_owned();
            if let Some(header) = header(&caps) {
                assert!(bytes.starts_with(&header), "{mime_type}: a blob's caps");
            }
        }
        let caps = reported.lock().unwrap().clone().unwrap();
        let header = header(&caps);
        // mp4mux does not flag its header buffers.
        assert_eq!(header.is_none(), mime_type == "video/mp4", "{mime_type}");
        let header = header.unwrap_or_default();
        assert!(bytes.starts_with(&header), "{mime_type}: {caps}");
    }
}
