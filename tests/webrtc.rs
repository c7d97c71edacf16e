//! What a WebRTC peer sends, recorded as it comes: the example, and a peer with real ICE, DTLS and
//! SRTP between the two.

mod common;

use common::harness::media::{assert_finalised, assert_plays, frames, probe, run};
use common::harness::plugin;
use std::path::Path;

#[test]
fn what_a_peer_sends_is_recorded() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let python = ["/usr/bin/python3", "-B"];
    let (_, said) = run(plugin::command("timeout")
        .arg("60")
        .args(python)
        .arg(top.join("tests/webrtc/peer.py"))
        .args(python)
        .arg(top.join("examples/python/webrtc.py"))
        .args(["peer.webm", "3"])
        // Warnings of GStreamer's own WebRTC are no failure of ours.
        .env_remove("G_DEBUG")
        .current_dir(folder.path()));
    assert!(
        said.contains("Recording video/webm;codecs=vp8,opus"),
        "{said}"
    );
    let file = folder.path().join("peer.webm").display().to_string();
    // The peer's only key frames are those that were asked for: without one, ffmpeg would complain.
    assert_plays(&file);
    assert_finalised(&file);
    let media = probe(&file);
    assert_eq!(media.codecs("video"), ["vp8"]);
    assert_eq!(media.codecs("audio"), ["opus"]);
    // Three seconds, less what it took the key frame to come.
    let duration = media.duration.expect("a duration");
    assert!((2.0..4.0).contains(&duration), "{duration} s");
    assert!(frames(&file) >= 45, "{} frames of 30/s", frames(&file));
}
