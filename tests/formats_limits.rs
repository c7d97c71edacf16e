//! The maximum size of a container: at that size, the recording ends with an error, and the file is valid.

mod common;

use common::harness::{Recorder, assert_error, code, init, media};
use gst::prelude::*;
use std::io::Read;
use std::time::{Duration, Instant};

const CHANNELS: u64 = 8;
const RATE: u64 = 192_000;

/// Writes four gigabytes: only in long runs. (The unit tests use a lower limit.)
#[test]
fn a_wav_file_of_four_gibibytes_is_complete() {
    if std::env::var_os("MEDIARECORDER_LONG").is_none() {
        println!("only with MEDIARECORDER_LONG");
        return;
    }
    init();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full.wav");
    let path = path.to_str().unwrap();
    let pipeline = gst::parse::launch(&format!(
        "audiotestsrc wave=silence samplesperbuffer=19200 \
         ! audio/x-raw,format=S16LE,rate={RATE},channels={CHANNELS},channel-mask=(bitmask)0xc3f \
         ! mediarecorder name=rec mime-type=audio/wav location={path}"
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let recorder = pipeline.by_name("rec").unwrap();
    pipeline.set_state(gst::State::Paused).unwrap();
    recorder.start().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let (started, bus) = (Instant::now(), pipeline.bus().unwrap());
    let mut events: Vec<gst::Structure> = Vec::new();
    while events
        .last()
        .is_none_or(|event| event.name() != "mediarecorder-stop")
    {
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "no end: {events:?}"
        );
        let wanted = [gst::MessageType::Element, gst::MessageType::Error];
        let Some(message) = bus.timed_pop_filtered(gst::ClockTime::SECOND, &wanted) else {
            continue;
        };
        assert!(message.type_() != gst::MessageType::Error, "{message:?}");
        let event = message.structure().unwrap().to_owned();
        if event.name().starts_with("mediarecorder-") {
            events.push(event);
        }
    }
    println!("full after {:?}", started.elapsed());
    pipeline.set_state(gst::State::Null).unwrap();
    let names: Vec<_> = events.iter().map(|event| event.name().as_str()).collect();
    assert_eq!(
        names,
        ["start", "error", "data-available", "stop"].map(|name| format!("mediarecorder-{name}"))
    );
    let error = events[1].get::<glib::Error>("error").unwrap();
    assert_error(&error, code::UNKNOWN);
    for part in ["WAV", "x-matroska", "flac"] {
        assert!(error.message().contains(part), "{error}");
    }

    // As long as the header says, and as large as possible.
    let size = std::fs::metadata(path).unwrap().len();
    let most = u64::from(u32::MAX);
    assert!((most - (4 << 20)..=most).contains(&size), "{size}");
    assert_eq!(events[2].get::<u64>("size"), Ok(size));
    let mut file = std::fs::File::open(path).unwrap();
    let mut head = vec![0; 4096];
    file.read_exact(&mut head).unwrap();
    let number = |at: usize| u64::from(u32::from_le_bytes(head[at..at + 4].try_into().unwrap()));
    assert_eq!((&head[..4], number(4)), (&b"RIFF"[..], size - 8));
    let data = head.windows(4).position(|four| four == b"data").unwrap();
    // Tags follow it.
    let rest = size - data as u64 - 8 - number(data + 4);
    assert!(rest < 1024, "{rest} bytes after the samples");
    let samples = number(data + 4) / (2 * CHANNELS);
    let duration = events[2].get::<u64>("duration").unwrap();
    let lasts = samples * 1_000_000_000 / RATE;
    assert!(
        duration.abs_diff(lasts) < 100_000,
        "{duration} ns of {lasts}"
    );
    // ffprobe agrees, and decodes the last second too.
    let seconds = lasts as f64 / 1e9;
    media::assert_lasts(path, seconds, 0.001);
    let (out, _) = media::decoded_from(path, seconds - 1.0, "s16le");
    let wanted = RATE * CHANNELS * 2;
    assert!(
        (out.len() as u64).abs_diff(wanted) < wanted / 100,
        "{}",
        out.len()
    );
}
