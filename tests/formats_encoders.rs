//! Encoders: the next best where the best fails, key frames to the frame, bit rates as asked for.

mod common;

use common::harness::Recorder;
use common::judge::{file, place};
use common::take::{FRAME, Recipe, Take, take, take_with};
use gst::prelude::*;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

const SECOND: u64 = 1_000_000_000;

/// An encoder of the highest rank that fails at its first buffer, as one without its hardware does.
mod broken {
    use gst::prelude::*;
    use gst::subclass::prelude::*;
    use std::sync::LazyLock;

    #[derive(Default)]
    pub struct Imp;

    #[glib::object_subclass]
    impl ObjectSubclass for Imp {
        const NAME: &'static str = "TestBrokenEncoder";
        type Type = Broken;
        type ParentType = gst::Element;
    }

    impl ObjectImpl for Imp {
        fn constructed(&self) {
            self.parent_constructed();
            let element = self.obj();
            let templates = Self::pad_templates();
            let sink = gst::Pad::builder_from_template(&templates[0])
                .chain_function(|_, parent, _| {
                    let element = parent.unwrap().downcast_ref::<gst::Element>().unwrap();
                    gst::element_error!(element, gst::ResourceError::Busy, ["all taken"]);
                    Err(gst::FlowError::Error)
                })
                .build();
            element.add_pad(&sink).unwrap();
            let src = gst::Pad::from_template(&templates[1]);
            element.add_pad(&src).unwrap();
        }
    }

    impl GstObjectImpl for Imp {}

    impl ElementImpl for Imp {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
                let klass = "Codec/Encoder/Video/Hardware";
                gst::subclass::ElementMetadata::new("Broken", klass, "Fails", "The tests")
            });
            Some(&METADATA)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                let always = gst::PadPresence::Always;
                let raw = gst::Caps::new_empty_simple("video/x-raw");
                let vp8 = gst::Caps::new_empty_simple("video/x-vp8");
                let template = |name, direction, caps| {
                    gst::PadTemplate::new(name, direction, always, caps).unwrap()
                };
                vec![
                    template("sink", gst::PadDirection::Sink, &raw),
                    template("src", gst::PadDirection::Src, &vp8),
                ]
            });
            &TEMPLATES
        }
    }

    glib::wrapper! {
        pub struct Broken(ObjectSubclass<Imp>) @extends gst::Element, gst::Object;
    }
}

#[test]
fn an_encoder_that_fails_is_passed_over_and_nothing_is_lost() {
    common::outer::init();
    gst::Element::register(
        None,
        "testbrokenvp8enc",
        gst::Rank::PRIMARY + 1_000,
        broken::Broken::static_type(),
    )
    .unwrap();
    let tried = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = tried.clone();
    let recipe = Recipe::new("video/x-matroska;codecs=vp8,pcm", true, true);
    let take = take_with(
        &recipe,
        |recorder| {
            recorder.connect("encoder-setup", false, move |values| {
                let encoder = values[2].get::<gst::Element>().unwrap();
                let name = encoder.factory().unwrap().name().to_string();
                seen.lock().unwrap().push(name);
                None
            });
        },
        |_, _| (),
    );
    assert_eq!(*tried.lock().unwrap(), ["testbrokenvp8enc", "vp8enc"]);
    let pads = &take.encoders;
    let video = pads
        .iter()
        .find(|(pad, _)| pad.starts_with("video"))
        .unwrap();
    assert_eq!(video.1, "vp8enc");
    let pictures = common::judge::decode::pictures(&take.path, 0).unwrap();
    let pictures = common::judge::sync::readable(&pictures).unwrap();
    common::judge::sync::shows(&pictures, &take.kept, &take.sources, 1.1e6, 0).unwrap();
    let sound = common::judge::decode::sound(&take.path, 0, Some(48_000)).unwrap();
    let places = place::places(&sound, 5e9).unwrap();
    place::follows(&places, &take.kept, 1.1e6).unwrap();
}

/// Stamps of the key frames in nanoseconds.
fn key_frames(take: &Take) -> Vec<u64> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
        .args(["-show_entries", "packet=pts_time,flags"])
        .arg(&take.path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let keys = text.lines().filter(|line| line.contains('K'));
    keys.map(|line| {
        let seconds: f64 = line.split(',').next().unwrap().parse().unwrap();
        (seconds * 1e9) as u64
    })
    .collect()
}

#[test]
fn key_frames_come_to_the_frame() {
    for mime_type in [
        "video/webm;codecs=vp8",
        "video/webm;codecs=vp9",
        "video/mp4;codecs=avc1",
    ] {
        if !common::harness::make_recorder().supports(mime_type) {
            println!("{mime_type}: not installed, not tested");
            continue;
        }
        let recipe = || Recipe::new(mime_type, false, true).lasting(5 * SECOND);
        for (recipe, due) in [
            (recipe(), 2 * SECOND),
            (
                recipe().with("video-key-frame-interval-duration", 500),
                SECOND / 2,
            ),
            (
                recipe().with("video-key-frame-interval-count", 20),
                20 * FRAME,
            ),
        ] {
            let take = take(&recipe);
            let keys = key_frames(&take);
            let properties = &recipe.properties;
            assert_eq!(
                keys.len() as u64,
                (5 * SECOND).div_ceil(due + 20),
                "{mime_type} {properties:?}: {keys:?}"
            );
            for (number, key) in (0..).zip(&keys) {
                assert!(
                    key.abs_diff(number * due) < 2_000_000,
                    "{mime_type} {properties:?}: {keys:?}"
                );
            }
        }
    }
}

/// Pictures are noise over a moving pattern, which no encoder can make small.
fn rate_of(mime_type: &str, audio: bool, video: bool, bits: u32) -> (f64, Vec<(String, String)>) {
    static SEED: AtomicUsize = AtomicUsize::new(1);
    let kind = if video {
        "video-bits-per-second"
    } else {
        "audio-bits-per-second"
    };
    let mut recipe = Recipe::new(mime_type, audio, video)
        .with(kind, bits)
        // What a variable one makes of it is the sound's affair.
        .with("audio-bitrate-mode", "constant");
    recipe = recipe.lasting(match std::env::var_os("MEDIARECORDER_LONG") {
        Some(_) => 20 * SECOND,
        None => 6 * SECOND,
    });
    recipe.size = (640, 360);
    recipe.textured = SEED.fetch_add(1, Ordering::Relaxed) as u32;
    let take = take(&recipe);
    file::decodes_quietly(&take.path).unwrap();
    // Without what the container adds.
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-show_entries",
            "packet=size",
            "-of",
            "csv=p=0",
        ])
        .arg(&take.path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let sizes = text
        .lines()
        .filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok());
    let size: f64 = sizes.sum();
    let rate = size * 8.0 * 1e9 / take.kept.total() as f64;
    (rate, take.encoders.clone())
}

#[test]
fn bit_rates_are_as_asked_for() {
    let mut wrong = Vec::new();
    for (mime_type, bits) in [
        ("video/webm;codecs=vp8", 2_000_000),
        ("video/webm;codecs=vp9", 2_000_000),
        ("video/x-matroska;codecs=avc1", 2_000_000),
        ("audio/webm;codecs=opus", 64_000),
        ("audio/x-matroska;codecs=mp4a.40.2", 96_000),
        ("audio/mpeg;codecs=mp3", 96_000),
    ] {
        if !common::harness::make_recorder().supports(mime_type) {
            println!("{mime_type}: not installed, not tested");
            continue;
        }
        let video = mime_type.starts_with("video");
        let (rate, encoders) = rate_of(mime_type, !video, video, bits);
        let off = rate / f64::from(bits) - 1.0;
        println!(
            "{mime_type} by {}: {:+.1} % of {bits}",
            encoders[0].1,
            off * 100.0
        );
        if off.abs() > 0.15 {
            wrong.push(format!("{mime_type}: {rate:.0} bit/s for {bits}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_bit_rate_may_change_while_recording() {
    let mut recipe = Recipe::new("video/webm;codecs=vp8", false, true)
        .with("video-bits-per-second", 3_000_000)
        .with("timeslice", 1000)
        .lasting(8 * SECOND);
    recipe.size = (640, 360);
    recipe.textured = 7;
    let changes = recipe.from + 4 * SECOND;
    let take = take_with(
        &recipe,
        |_| (),
        |recorder, at| {
            if at >= changes && recorder.number("video-bits-per-second") != 500_000 {
                recorder.set_property("video-bits-per-second", 500_000u32);
            }
        },
    );
    let bits = |range: std::ops::Range<usize>| {
        take.blobs[range]
            .iter()
            .map(|b| b.bytes.len())
            .sum::<usize>() as f64
    };
    let (before, after) = (bits(1..3), bits(6..8));
    assert!(after < before / 2.5, "{before} bytes before, {after} after");
}
