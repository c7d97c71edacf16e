//! Encoders: the next best one if the best one fails, and keyframes at the exact frame.

mod common;

use common::harness::media::run;
use common::harness::{PushTrack, Recorder, Rig};
use common::judge::position;
use common::take::{FRAME, Recipe, take, take_with};
use gst::prelude::*;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

const SECOND: u64 = 1_000_000_000;

/// An encoder of the highest rank that fails: like one without its hardware at its first frame, or, if it is
/// fickle, after having worked when probed, at its sixth frame in the recording, before any output. A broken one
/// does not even change its state.
mod failing {
    use gst::prelude::*;
    use gst::subclass::prelude::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{LazyLock, Mutex};

    /// Whether it works when probed.
    pub static FICKLE: AtomicBool = AtomicBool::new(false);
    /// A state change that fails, if any.
    pub static BROKEN: Mutex<Option<gst::StateChange>> = Mutex::new(None);

    #[derive(Default)]
    pub struct Imp {
        lives: AtomicUsize,
        seen: AtomicUsize,
    }

    impl Imp {
        fn encode(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            let element = self.obj();
            let fickle = FICKLE.load(Ordering::SeqCst);
            if fickle && self.lives.load(Ordering::SeqCst) == 1 {
                return element.static_pad("src").unwrap().push(buffer);
            }
            if fickle && self.seen.fetch_add(1, Ordering::SeqCst) < 5 {
                return Ok(gst::FlowSuccess::Ok);
            }
            gst::element_error!(element, gst::ResourceError::Busy, ["taken by another"]);
            Err(gst::FlowError::Error)
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Imp {
        const NAME: &'static str = "TestFailingEncoder";
        type Type = Failing;
        type ParentType = gst::Element;
    }

    impl ObjectImpl for Imp {
        fn constructed(&self) {
            self.parent_constructed();
            let element = self.obj();
            let templates = Self::pad_templates();
            let sink = gst::Pad::builder_from_template(&templates[0])
                .chain_function(|_, parent, buffer| {
                    let element = parent.unwrap().downcast_ref::<Failing>().unwrap();
                    element.imp().encode(buffer)
                })
                .event_function(|pad, parent, event| {
                    let caps = gst::Caps::new_empty_simple("video/x-theora");
                    match event.view() {
                        gst::EventView::Caps(_) => {
                            let element = parent.unwrap().downcast_ref::<Failing>().unwrap();
                            let src = element.static_pad("src").unwrap();
                            src.push_event(gst::event::Caps::new(&caps))
                        }
                        _ => gst::Pad::event_default(pad, parent, event),
                    }
                })
                .query_function(|pad, parent, query| match query.view_mut() {
                    gst::QueryViewMut::Caps(query) => {
                        query.set_result(&pad.pad_template_caps());
                        true
                    }
                    gst::QueryViewMut::AcceptCaps(query) => {
                        query.set_result(true);
                        true
                    }
                    _ => gst::Pad::query_default(pad, parent, query),
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
                gst::subclass::ElementMetadata::new("Failing", klass, "Fails", "The tests")
            });
            Some(&METADATA)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                let always = gst::PadPresence::Always;
                let raw = gst::Caps::new_empty_simple("video/x-raw");
                let theora = gst::Caps::new_empty_simple("video/x-theora");
                let template = |name, direction, caps| {
                    gst::PadTemplate::new(name, direction, always, caps).unwrap()
                };
                vec![
                    template("sink", gst::PadDirection::Sink, &raw),
                    template("src", gst::PadDirection::Src, &theora),
                ]
            });
            &TEMPLATES
        }

        fn change_state(
            &self,
            transition: gst::StateChange,
        ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
            if transition == gst::StateChange::NullToReady {
                self.lives.fetch_add(1, Ordering::SeqCst);
            }
            if *BROKEN.lock().unwrap() == Some(transition) {
                return Err(gst::StateChangeError);
            }
            self.parent_change_state(transition)
        }
    }

    glib::wrapper! {
        pub struct Failing(ObjectSubclass<Imp>) @extends gst::Element, gst::Object;
    }
}

/// For tests with Theora: one of them has an encoder that fails.
static THEORA: Mutex<()> = Mutex::new(());

#[test]
fn an_encoder_that_fails_before_any_output_is_replaced_without_loss() {
    let _alone = THEORA
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    common::app::init();
    let (name, rank) = ("testfailingenc", gst::Rank::PRIMARY + 1_000);
    gst::Element::register(None, name, rank, failing::Failing::static_type()).unwrap();
    for (fickle, broken) in [
        (false, None),
        (true, None),
        (false, Some(gst::StateChange::NullToReady)),
        (false, Some(gst::StateChange::ReadyToPaused)),
        (false, Some(gst::StateChange::PausedToPlaying)),
    ] {
        failing::FICKLE.store(fickle, Ordering::SeqCst);
        *failing::BROKEN.lock().unwrap() = broken;
        // If not set, the rate would be the default of the size.
        let recipe = Recipe::new("video/ogg;codecs=theora,opus", true, true)
            .with("video-bits-per-second", 1_000_000);
        let tried = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = tried.clone();
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
        let mut tried = tried.lock().unwrap().clone();
        tried.retain(|name| name != "opusenc");
        assert_eq!(tried, [name, "theoraenc"]);
        let video = take
            .encoders
            .iter()
            .find(|(pad, _)| pad.starts_with("video"));
        assert_eq!(video.unwrap().1, "theoraenc", "{fickle}, {broken:?}");
        let frames = common::judge::decode::video(&take.path, 0).unwrap();
        let frames = common::judge::sync::frame_times(&frames).unwrap();
        common::judge::sync::check_frames(&frames, &take.kept, &take.sources, 1.1e6, 0).unwrap();
        let audio = common::judge::decode::audio(&take.path, 0, Some(48_000)).unwrap();
        let places = position::find(&audio, 5e9).unwrap();
        position::check(&places, &take.kept, 1.1e6).unwrap();
    }
    // The other tests are not affected by it.
    let registry = gst::Registry::get();
    registry.remove_feature(&registry.lookup_feature(name).unwrap());
}

/// Timestamps in nanoseconds of the keyframes found by a decoder, whatever the container says.
fn key_frames(path: &Path) -> Vec<u64> {
    let (out, _) = run(Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
        .args(["-show_entries", "frame=key_frame,pts_time"])
        .arg(path));
    let text = String::from_utf8(out).unwrap();
    let keys = text.lines().filter_map(|line| line.strip_prefix("1,"));
    keys.map(|time| {
        let seconds: f64 = time.trim_matches(',').parse().unwrap();
        (seconds * 1e9) as u64
    })
    .collect()
}

/// Timestamps in nanoseconds of the only track's frames that the container marks as keyframes.
fn marks(path: &Path) -> Vec<u64> {
    let mime = std::fs::read(path).unwrap();
    if !mime.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]) {
        let (out, _) = run(Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
            .args(["-show_entries", "packet=pts_time,flags"])
            .arg(path));
        let text = String::from_utf8(out).unwrap();
        let keys = text.lines().filter(|line| line.contains('K'));
        return keys
            .map(|line| {
                let seconds: f64 = line.split(',').next().unwrap().parse().unwrap();
                (seconds * 1e9) as u64
            })
            .collect();
    }
    // For Matroska, ffprobe relies on its own parsers.
    let (out, _) = run(Command::new("mkvinfo")
        .args(["-v", "-v", "--ui-language", "en_US"])
        .arg(path));
    let text = String::from_utf8(out).unwrap();
    let mut keys = Vec::new();
    let mut blocks = 0;
    for line in text.lines() {
        let block = line.contains("+ Block: ") || line.contains("+ Simple block: ");
        blocks += usize::from(block);
        // A BlockGroup is one unless it refers to another.
        if line.contains("+ Reference block") {
            keys.pop();
        } else if block && (line.contains("+ Block: ") || line.contains(": key, ")) {
            let (_, time) = line.split_once("timestamp ").unwrap();
            let parts = time.split([':', '.', ' ']).take(4);
            let parts: Vec<u64> = parts.map(|part| part.parse().unwrap()).collect();
            let seconds = (parts[0] * 60 + parts[1]) * 60 + parts[2];
            keys.push(seconds * SECOND + parts[3]);
        }
    }
    assert!(blocks > 20, "{text}");
    keys
}

#[test]
fn keyframes_are_at_the_exact_frame() {
    for mime_type in [
        "video/webm;codecs=vp8",
        "video/webm;codecs=vp9",
        "video/webm;codecs=av1",
        "video/mp4;codecs=avc1",
        "video/mp4;codecs=hvc1",
    ] {
        if !common::harness::make_recorder().supports(mime_type) {
            println!("{mime_type}: not installed, not tested");
            continue;
        }
        let recipe = || Recipe::new(mime_type, false, true).lasting(5 * SECOND);
        for (recipe, expected) in [
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
            let keys = key_frames(&take.path);
            let properties = &recipe.properties;
            assert_eq!(marks(&take.path), keys, "{mime_type} {properties:?}");
            assert_eq!(
                keys.len() as u64,
                (5 * SECOND).div_ceil(expected + 20),
                "{mime_type} {properties:?}: {keys:?}"
            );
            for (number, key) in (0..).zip(&keys) {
                assert!(
                    key.abs_diff(number * expected) < 2_000_000,
                    "{mime_type} {properties:?}: {keys:?}"
                );
            }
        }
    }
}

/// Frames of various durations, with timestamps in whole milliseconds.
#[test]
fn keyframes_are_at_the_exact_frame_with_a_variable_frame_rate() {
    const LENGTHS: [u64; 7] = [17, 40, 100, 33, 250, 8, 61];
    common::app::init();
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 160, 120)
        .fps(gst::Fraction::new(0, 1))
        .build()
        .unwrap();
    let mut stamps = vec![0];
    for n in 0..150 {
        stamps.push(stamps[n] + LENGTHS[n * n % 7]);
    }
    for mime_type in [
        "video/webm;codecs=vp8",
        "video/webm;codecs=vp9",
        "video/webm;codecs=av1",
        "video/x-matroska;codecs=avc1",
        "video/x-matroska;codecs=hvc1",
        "video/mp4;codecs=hvc1",
    ] {
        if !common::harness::make_recorder().supports(mime_type) {
            println!("{mime_type}: not installed, not tested");
            continue;
        }
        for (property, value) in [
            ("video-key-frame-interval-duration", 500u32),
            ("video-key-frame-interval-duration", 90),
            ("video-key-frame-interval-count", 7),
        ] {
            let rig = Rig::new();
            let path = rig.path("recording");
            rig.recorder.set_property("mime-type", mime_type);
            rig.recorder.set_property("location", &path);
            rig.recorder.set_property(property, value);
            let feed = PushTrack::of_caps(&rig.recorder, "video_%u", info.to_caps().unwrap());
            rig.play();
            rig.recorder.start().unwrap();
            for pair in stamps.windows(2) {
                let mut bytes = vec![128u8; info.size()];
                let luma = &mut bytes[..160 * 120];
                luma.iter_mut()
                    .enumerate()
                    .for_each(|(n, pixel)| *pixel = (n as u64 * 7 + pair[0] / 3) as u8);
                let mut buffer = gst::Buffer::from_mut_slice(bytes);
                let fields = buffer.get_mut().unwrap();
                fields.set_pts(gst::ClockTime::from_mseconds(pair[0]));
                fields.set_duration(gst::ClockTime::from_mseconds(pair[1] - pair[0]));
                feed.push(buffer);
            }
            feed.wait_taken();
            rig.recorder
                .stop()
                .unwrap_or_else(|error| panic!("{mime_type}: {error}"));
            rig.wait_recording(1);
            let mut expected = Vec::new();
            for (n, at) in stamps[..150].iter().enumerate() {
                let is_due = if property.ends_with("count") {
                    (n as u32).is_multiple_of(value)
                } else {
                    expected
                        .last()
                        .is_none_or(|last| at - last >= u64::from(value))
                };
                if is_due {
                    expected.push(*at);
                }
            }
            let path = Path::new(&path);
            for keys in [key_frames(path), marks(path)] {
                let keys = keys.iter().map(|key| (key + 500_000) / 1_000_000);
                let keys: Vec<u64> = keys.collect();
                assert_eq!(keys, expected, "{mime_type}, {property} {value}");
            }
        }
    }
}

/// Theora counts frames: those of a variable rate are placed on a grid of constant rate.
#[test]
fn theora_supports_a_variable_frame_rate() {
    let _alone = THEORA
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut recipe = Recipe::new("video/ogg;codecs=theora,opus", true, true)
        .with("video-key-frame-interval-duration", 500)
        .with("video-bits-per-second", 1_000_000);
    recipe.lengths = vec![17, 40, 100, 250, 8, 61];
    recipe.calls = vec![(1_013_000_000, "pause"), (1_507_000_000, "resume")];
    // The end of a frame.
    recipe.until = 8 * 476_000_000;
    let take = take(&recipe);
    let frames = common::judge::decode::video(&take.path, 0).unwrap();
    let frames = common::judge::sync::frame_times(&frames).unwrap();
    // Half a grid interval, to either side.
    let half = 1e9 / 60.0 + 0.5e6;
    common::judge::sync::check_frames(&frames, &take.kept, &take.sources, half, 0).unwrap();
    let audio = common::judge::decode::audio(&take.path, 0, Some(48_000)).unwrap();
    let places = position::find(&audio, 5e9).unwrap();
    position::check(&places, &take.kept, 1.1e6).unwrap();
    let keys = key_frames(&take.path);
    // With the first frame, the longest of which lasts a quarter of a second.
    let most = keys.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(most.unwrap() <= SECOND * 3 / 4 + SECOND / 30, "{keys:?}");
}
