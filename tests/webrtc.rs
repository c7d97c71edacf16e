//! Recordings from a WebRTC peer: the example, and a peer with real ICE, DTLS and SRTP in between.

mod common;

use common::harness::media::{assert_finalised, assert_plays, frames, probe, run};
use common::harness::plugin;
use std::path::Path;

#[test]
fn media_from_a_peer_is_recorded() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let python = ["/usr/bin/python3", "-B"];
    let (_, output) = run(plugin::command("timeout")
        .arg("60")
        .args(python)
        .arg(top.join("tests/webrtc/peer.py"))
        .args(python)
        .arg(top.join("examples/python/webrtc.py"))
        .args(["peer.webm", "3"])
        // Warnings of GStreamer's own WebRTC elements are not failures of this project.
        .env_remove("G_DEBUG")
        .current_dir(folder.path()));
    assert!(
        output.contains("Recording video/webm;codecs=vp8,opus"),
        "{output}"
    );
    let file = folder.path().join("peer.webm").display().to_string();
    // The peer only sends requested keyframes: without one, ffmpeg would complain.
    assert_plays(&file);
    assert_finalised(&file);
    let media = probe(&file);
    assert_eq!(media.codecs("video"), ["vp8"]);
    assert_eq!(media.codecs("audio"), ["opus"]);
    // Three seconds, minus the wait for the keyframe.
    let duration = media.duration.expect("a duration");
    assert!((2.0..4.0).contains(&duration), "{duration} s");
    assert!(frames(&file) >= 45, "{} frames of 30/s", frames(&file));
}
