//! Encoders: the next best where the best fails, key frames to the frame.

mod common;

use common::harness::{Feed, Recorder, Rig};
use common::judge::place;
use common::take::{FRAME, Recipe, take, take_with};
use gst::prelude::*;
use std::path::Path;
use std::process::Command;

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

/// An encoder of the highest rank that works when it is tried, and fails at its sixth picture when it counts, before
/// anything has come out of it.
mod fickle {
    use gst::prelude::*;
    use gst::subclass::prelude::*;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    pub struct Imp {
        lives: AtomicUsize,
        seen: AtomicUsize,
    }

    impl Imp {
        fn encode(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            let element = self.obj();
            if self.lives.load(Ordering::SeqCst) == 1 {
                return element.static_pad("src").unwrap().push(buffer);
            }
            if self.seen.fetch_add(1, Ordering::SeqCst) < 5 {
                return Ok(gst::FlowSuccess::Ok);
            }
            gst::element_error!(element, gst::ResourceError::Busy, ["taken by another"]);
            Err(gst::FlowError::Error)
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Imp {
        const NAME: &'static str = "TestFickleEncoder";
        type Type = Fickle;
        type ParentType = gst::Element;
    }

    impl ObjectImpl for Imp {
        fn constructed(&self) {
            self.parent_constructed();
            let element = self.obj();
            let templates = Self::pad_templates();
            let sink = gst::Pad::builder_from_template(&templates[0])
                .chain_function(|_, parent, buffer| {
                    let element = parent.unwrap().downcast_ref::<Fickle>().unwrap();
                    element.imp().encode(buffer)
                })
                .event_function(|pad, parent, event| {
                    let caps = gst::Caps::new_empty_simple("video/x-theora");
                    match event.view() {
                        gst::EventView::Caps(_) => {
                            let element = parent.unwrap().downcast_ref::<Fickle>().unwrap();
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
                gst::subclass::ElementMetadata::new("Fickle", klass, "Fails later", "The tests")
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
            self.parent_change_state(transition)
        }
    }

    glib::wrapper! {
        pub struct Fickle(ObjectSubclass<Imp>) @extends gst::Element, gst::Object;
    }
}

#[test]
fn an_encoder_that_fails_before_its_first_output_is_replaced_and_nothing_is_lost() {
    common::outer::init();
    gst::Element::register(
        None,
        "testfickleenc",
        gst::Rank::PRIMARY + 1_000,
        fickle::Fickle::static_type(),
    )
    .unwrap();
    let mut recipe = Recipe::new("video/ogg;codecs=theora,opus", true, true);
    // Until written it would be what suits the size.
    recipe = recipe.with("video-bits-per-second", 1_000_000);
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
    assert_eq!(tried, ["testfickleenc", "theoraenc"]);
    let video = take
        .encoders
        .iter()
        .find(|(pad, _)| pad.starts_with("video"));
    assert_eq!(video.unwrap().1, "theoraenc");
    let pictures = common::judge::decode::pictures(&take.path, 0).unwrap();
    let pictures = common::judge::sync::readable(&pictures).unwrap();
    common::judge::sync::shows(&pictures, &take.kept, &take.sources, 1.1e6, 0).unwrap();
    let sound = common::judge::decode::sound(&take.path, 0, Some(48_000)).unwrap();
    let places = place::places(&sound, 5e9).unwrap();
    place::follows(&places, &take.kept, 1.1e6).unwrap();
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
fn key_frames(path: &Path) -> Vec<u64> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
        .args(["-show_entries", "packet=pts_time,flags"])
        .arg(path)
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
        "video/mp4;codecs=hvc1",
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
            let keys = key_frames(&take.path);
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

/// Frames of every length, whose stamps are whole milliseconds.
#[test]
fn key_frames_come_to_the_frame_at_a_variable_frame_rate() {
    const LENGTHS: [u64; 7] = [17, 40, 100, 33, 250, 8, 61];
    common::outer::init();
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
        "video/x-matroska;codecs=avc1",
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
            let feed = Feed::of_caps(&rig.recorder, "video_%u", info.to_caps().unwrap());
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
            feed.settle();
            rig.recorder
                .stop()
                .unwrap_or_else(|error| panic!("{mime_type}: {error}"));
            rig.wait_recording(1);
            let mut due = Vec::new();
            for (n, at) in stamps[..150].iter().enumerate() {
                let is_due = match property.ends_with("count") {
                    true => (n as u32).is_multiple_of(value),
                    false => due.last().is_none_or(|last| at - last >= u64::from(value)),
                };
                if is_due {
                    due.push(*at);
                }
            }
            let keys: Vec<u64> = key_frames(Path::new(&path))
                .iter()
                .map(|key| (key + 500_000) / 1_000_000)
                .collect();
            assert_eq!(keys, due, "{mime_type}, {property} {value}");
        }
    }
}
