//! Any bytes as frames of any encoded format, through a whole recorder: the recording ends, well or with an
//! error, in time, and its events come in order.
//!
//! Of the input, the first byte says the format, and each frame is a byte of flags, two of length, and its bytes.
#![no_main]

use gst::prelude::*;
use gstmediarecorder::MediaRecorder;
use libfuzzer_sys::fuzz_target;
use std::{sync::mpsc, time::Duration};

const FORMATS: [&str; 16] = [
    "video/x-vp8",
    "video/x-vp9",
    "video/x-av1,stream-format=obu-stream,alignment=tu",
    "video/x-av1,stream-format=obu-stream,alignment=frame",
    "video/x-h264,stream-format=byte-stream,alignment=au",
    "video/x-h264,stream-format=byte-stream,alignment=nal",
    "video/x-h264,stream-format=avc,alignment=au,codec_data=(buffer)0142c01effe1000967",
    "video/x-h265,stream-format=byte-stream,alignment=au",
    "video/x-h265,stream-format=hvc1,alignment=au,codec_data=(buffer)01",
    "audio/x-opus",
    "audio/x-opus,channel-mapping-family=0,rate=48000,channels=2",
    "audio/x-vorbis",
    "audio/mpeg,mpegversion=4,stream-format=raw,codec_data=(buffer)1190",
    "audio/mpeg,mpegversion=4,stream-format=adts",
    "audio/mpeg,mpegversion=1,layer=3",
    "audio/x-flac",
];

const LONGEST: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq)]
enum Seen {
    Start,
    Data,
    Error,
    Stop,
}

/// The frames of the input: the flags of each and its bytes.
fn frames(mut data: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let [flags, low, high, rest @ ..] = data {
        let length = rest
            .len()
            .min(usize::from(u16::from_le_bytes([*low, *high])));
        let (bytes, next) = rest.split_at(length);
        frames.push((*flags, bytes));
        data = next;
    }
    frames
}

/// A recorder with one track that takes `caps`, what feeds it, and what it fires.
fn recorder(caps: &gst::Caps) -> (gst::Pipeline, MediaRecorder, gst::Pad, mpsc::Receiver<Seen>) {
    let recorder = MediaRecorder::new();
    recorder.set_property("stop-timeout", 1_000_000_000u64);
    let (tell, seen) = mpsc::channel();
    let told = |what: fn() -> Seen| {
        let tell = tell.clone();
        move || tell.send(what()).unwrap_or_default()
    };
    let (start, data, error, stop) = (
        told(|| Seen::Start),
        told(|| Seen::Data),
        told(|| Seen::Error),
        told(|| Seen::Stop),
    );
    recorder.connect_start(move |_| start());
    recorder.connect_data_available(move |_, _| data());
    recorder.connect_error(move |_, _| error());
    recorder.connect_stop(move |_| stop());
    let pipeline = gst::Pipeline::new();
    pipeline.add(&recorder).unwrap();
    let video = caps.structure(0).unwrap().name().starts_with("video");
    let sink = if video {
        recorder.add_video_track()
    } else {
        recorder.add_audio_track()
    };
    let source = gst::Pad::builder(gst::PadDirection::Src).build();
    source.set_active(true).unwrap();
    source.link(&sink.unwrap()).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    (pipeline, recorder, source, seen)
}

fuzz_target!(init: gst::init().unwrap(), |data: &[u8]| {
    let Some((format, data)) = data.split_first() else {
        return;
    };
    let caps: gst::Caps = FORMATS[usize::from(*format) % FORMATS.len()].parse().unwrap();
    let (pipeline, recorder, source, seen) = recorder(&caps);
    source.push_event(gst::event::StreamStart::new("fuzz"));
    source.push_event(gst::event::Caps::new(&caps));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    source.push_event(gst::event::Segment::new(&segment));
    let started = recorder.start().is_ok();
    for (n, (flags, bytes)) in (0u64..).zip(frames(data)) {
        let mut buffer = gst::Buffer::from_slice(bytes.to_vec());
        let stamped = buffer.get_mut().unwrap();
        if flags & 1 == 0 {
            stamped.set_pts(gst::ClockTime::from_mseconds(20 * n));
        }
        if flags & 2 != 0 {
            stamped.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        if flags & 4 != 0 {
            stamped.set_flags(gst::BufferFlags::HEADER);
        }
        let _ = source.push(buffer);
        match flags >> 4 {
            1 => drop(recorder.pause()),
            2 => drop(recorder.resume()),
            3 => drop(recorder.request_data()),
            _ => {}
        }
    }
    // It may have ended by itself.
    let _ = recorder.stop();
    let mut events = Vec::new();
    while started && events.last() != Some(&Seen::Stop) {
        let event = seen.recv_timeout(LONGEST);
        events.push(event.unwrap_or_else(|_| panic!("no end after {events:?}")));
    }
    if started {
        assert_eq!(events[0], Seen::Start);
        assert_eq!(events[events.len() - 2], Seen::Data, "the last blob: {events:?}");
        let errors = events.iter().filter(|seen| **seen == Seen::Error).count();
        assert!(errors <= 1, "{events:?}");
    }
    pipeline.set_state(gst::State::Null).unwrap();
});
