//! The bit rate of an encoder, depending on when it is created.

mod common;

use common::harness::feed::advance_all;
use common::harness::{Kind, PushTrack, Recorder, Rig};
use gst::prelude::*;
use std::sync::{Arc, Mutex};

const MOMENT: gst::ClockTime = gst::ClockTime::from_mseconds(200);
const RATE: &str = "video-bits-per-second";

/// The rate of vp8enc as seen in `encoder-setup`, and the encoder.
type Seen = Arc<Mutex<Option<(i32, gst::Element)>>>;

fn follow_vp8enc(recorder: &gst::Element) -> Seen {
    let seen = Seen::default();
    let note = seen.clone();
    recorder.connect("encoder-setup", false, move |args| {
        let encoder: gst::Element = args[2].get().unwrap();
        if encoder.factory().is_some_and(|f| f.name() == "vp8enc") {
            let rate = encoder.property("target-bitrate");
            *note.lock().unwrap() = Some((rate, encoder));
        }
        None
    });
    seen
}

/// An active recording with audio, and with video that has not started yet.
fn recording() -> (Rig, PushTrack, PushTrack, Seen) {
    let rig = Rig::new();
    rig.recorder
        .set_property("mime-type", "video/webm;codecs=vp8,opus");
    let (audio, video) = (rig.feed_audio(), rig.late_video());
    let seen = follow_vp8enc(&rig.recorder);
    rig.play();
    rig.recorder.start().expect("start");
    audio.queue_media(MOMENT);
    (rig, audio, video, seen)
}

fn record_on(rig: &Rig, audio: &PushTrack, video: &PushTrack) {
    advance_all(&[audio, video], MOMENT);
    rig.wait_event(Kind::Start, 1);
}

#[test]
fn late_video_gets_the_default_rate_of_its_size() {
    let (rig, audio, video, seen) = recording();
    assert_eq!(rig.recorder.number(RATE), 2_500_000);
    record_on(&rig, &audio, &video);
    let suits = rig.recorder.number(RATE);
    assert!(suits < 2_500_000, "{suits}");
    let (given, _) = seen.lock().unwrap().clone().expect("vp8enc");
    assert_eq!(u32::try_from(given), Ok(suits));
}

#[test]
fn a_rate_set_before_the_encoder_exists_is_used() {
    let (rig, audio, video, seen) = recording();
    rig.recorder.set_property(RATE, 777_000u32);
    record_on(&rig, &audio, &video);
    let (given, encoder) = seen.lock().unwrap().clone().expect("vp8enc");
    assert_eq!(given, 777_000);
    rig.recorder.set_property(RATE, 555_000u32);
    assert_eq!(encoder.property::<i32>("target-bitrate"), 555_000);
}

#[test]
fn a_rate_set_during_encoder_setup_is_used() {
    let (rig, audio, video, seen) = recording();
    rig.recorder.connect("encoder-setup", false, |args| {
        let recorder: gst::Element = args[0].get().unwrap();
        recorder.set_property(RATE, 444_000u32);
        None
    });
    record_on(&rig, &audio, &video);
    let (_, encoder) = seen.lock().unwrap().clone().expect("vp8enc");
    assert_eq!(encoder.property::<i32>("target-bitrate"), 444_000);
}

#[test]
fn a_larger_size_does_not_change_the_encoders_rate() {
    let (rig, audio, video, seen) = recording();
    record_on(&rig, &audio, &video);
    let (given, encoder) = seen.lock().unwrap().clone().expect("vp8enc");
    let caps = "video/x-raw,format=I420,width=1920,height=1080,framerate=25/1";
    video.event(gst::event::Caps::new(&caps.parse().expect("caps")));
    video.wait_taken();
    assert!(rig.recorder.number(RATE) > 2_500_000);
    rig.recorder
        .set_property("audio-bits-per-second", 64_000u32);
    assert_eq!(encoder.property::<i32>("target-bitrate"), given);
    rig.recorder.set_property(RATE, 3_000_000u32);
    assert_eq!(encoder.property::<i32>("target-bitrate"), 3_000_000);
}
