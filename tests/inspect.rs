//! The public interface as printed by gst-inspect-1.0 and as seen by GObject introspection in this process.

mod common;

use common::harness::media::run;
use common::harness::{Kind, Recorder, Rig, make_recorder, plugin};
use gst::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

/// A property as documented.
struct Property {
    name: &'static str,
    /// The start of its type line in gst-inspect-1.0.
    shown: &'static str,
    /// The end of that line.
    default: &'static str,
    writable: bool,
}

const fn property(
    name: &'static str,
    shown: &'static str,
    default: &'static str,
    writable: bool,
) -> Property {
    Property {
        name,
        shown,
        default,
        writable,
    }
}

const PROPERTIES: [Property; 28] = [
    property("state", "Enum \"", "\"inactive\"", false),
    property("mime-type", "String.", "Default: \"\"", true),
    property("timeslice", "Unsigned Integer.", "Default: 0", true),
    property(
        "audio-bits-per-second",
        "Unsigned Integer.",
        "Default: 128000",
        true,
    ),
    property(
        "video-bits-per-second",
        "Unsigned Integer.",
        "Default: 2500000",
        true,
    ),
    property("bits-per-second", "Unsigned Integer.", "Default: 0", true),
    property("keep", "Flags \"", "\"(none)\"", true),
    property("audio-bitrate-mode", "Enum \"", "\"variable\"", true),
    property(
        "video-key-frame-interval-duration",
        "Unsigned Integer.",
        "Default: 0",
        true,
    ),
    property(
        "video-key-frame-interval-count",
        "Unsigned Integer.",
        "Default: 0",
        true,
    ),
    property("location", "String.", "Default: null", true),
    property("autostart", "Boolean.", "Default: false", true),
    property("blob-messages", "Boolean.", "Default: false", true),
    property(
        "max-memory",
        "Unsigned Integer64.",
        "Default: 8388608",
        true,
    ),
    property("temp-dir", "String.", "Default: null", true),
    property(
        "max-queue-time",
        "Unsigned Integer64.",
        "Default: 2000000000",
        true,
    ),
    property(
        "stop-timeout",
        "Unsigned Integer64.",
        "Default: 5000000000",
        true,
    ),
    property("max-duration", "Unsigned Integer64.", "Default: 0", true),
    property("sync-interval", "Unsigned Integer64.", "Default: 0", true),
    property("max-size-bytes", "Unsigned Integer64.", "Default: 0", true),
    property("max-size-time", "Unsigned Integer64.", "Default: 0", true),
    property("max-files", "Unsigned Integer.", "Default: 0", true),
    property("max-total-bytes", "Unsigned Integer64.", "Default: 0", true),
    property("min-free-space", "Unsigned Integer64.", "Default: 0", true),
    property("fallback-location", "String.", "", true),
    property("pre-record-time", "Unsigned Integer64.", "Default: 0", true),
    property("stats", "Boxed pointer of type \"GstStructure\"", "", false),
    // GstObject's own, to show that the parser finds the table.
    property("name", "String.", "", true),
];

const ACTIONS: [&str; 6] = [
    "start",
    "pause",
    "resume",
    "stop",
    "request-data",
    "split-now",
];

/// The whole of `gst-inspect-1.0 mediarecorder`.
fn inspected() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let (out, errors) = run(plugin::command("gst-inspect-1.0")
            .arg("--no-colors")
            .arg("mediarecorder"));
        assert!(!errors.contains("CRITICAL"), "{errors}");
        assert!(!errors.contains("WARNING"), "{errors}");
        String::from_utf8(out).expect("text")
    })
}

/// The lines from a heading to the next one.
#[track_caller]
fn section(heading: &str) -> Vec<&'static str> {
    let mut lines = inspected().lines();
    assert!(lines.any(|line| line == heading), "{heading} is missing");
    lines
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .collect()
}

/// Properties by name, each with its description.
fn shown_properties() -> BTreeMap<String, Vec<&'static str>> {
    let mut all = BTreeMap::<String, Vec<&str>>::new();
    let mut current = String::new();
    for line in section("Element Properties:") {
        let is_new = line.len() > 2 && line.starts_with("  ") && !line[2..].starts_with(' ');
        if is_new && let Some((name, blurb)) = line.trim().split_once(':') {
            current = name.trim().to_owned();
            all.insert(current.clone(), vec![blurb.trim()]);
        } else if let Some(output) = all.get_mut(&current) {
            output.push(line.trim());
        }
    }
    all
}

#[test]
fn gst_inspect_shows_factory_and_plugin() {
    let factory = section("Factory Details:").join("\n");
    assert!(factory.contains("none (0)"), "{factory}");
    assert!(factory.contains("Sink/Muxer/Audio/Video"), "{factory}");
    let details = section("Plugin Details:").join("\n");
    assert!(details.contains("libgstmediarecorder.so"), "{details}");
    assert!(inspected().contains("+----GstMediaRecorder\n"));
    let interfaces = section("Implemented Interfaces:").join("\n");
    for interface in ["GstChildProxy", "GstTagSetter"] {
        assert!(interfaces.contains(interface), "{interfaces}");
    }
}

#[test]
fn gst_inspect_shows_every_pad_template() {
    let templates = section("Pad Templates:").join("\n");
    for (name, direction, availability, caps) in [
        ("audio_%u", "SINK", "On request", "audio/x-raw"),
        ("video_%u", "SINK", "On request", "video/x-raw"),
        ("src", "SRC", "Always", "video/webm"),
    ] {
        let (_, rest) = templates
            .split_once(&format!("{direction} template: '{name}'"))
            .unwrap_or_else(|| panic!("{name} is missing:\n{templates}"));
        let own = rest.split(" template: '").next().unwrap_or("");
        assert!(own.contains(&format!("Availability: {availability}")));
        assert!(
            own.contains(caps) || own.contains("ANY"),
            "{name} accepts {caps}: {own}"
        );
    }
    assert!(
        inspected().contains("GstMediaRecorderPad"),
        "the pads' type"
    );
}

#[test]
fn gst_inspect_shows_every_property() {
    let shown = shown_properties();
    for property in &PROPERTIES {
        let output = shown
            .get(property.name)
            .unwrap_or_else(|| panic!("{} is missing: {shown:?}", property.name));
        let flags = output
            .iter()
            .find_map(|line| line.strip_prefix("flags: "))
            .expect("flags");
        assert!(flags.contains("readable"), "{}", property.name);
        assert_eq!(
            flags.contains("writable"),
            property.writable,
            "{}: {flags}",
            property.name
        );
        let kind = output
            .iter()
            .find(|line| line.starts_with(property.shown))
            .unwrap_or_else(|| panic!("{} is {}: {output:?}", property.name, property.shown));
        assert!(
            kind.trim_end().ends_with(property.default) || property.default.is_empty(),
            "{}: {kind}",
            property.name
        );
        assert!(!output[0].is_empty(), "{} has a blurb", property.name);
    }
    let inherited = ["name", "parent"];
    for name in shown.keys() {
        assert!(
            inherited.contains(&name.as_str()) || PROPERTIES.iter().any(|p| p.name == name),
            "{name} is in no documentation"
        );
    }
}

#[test]
fn gst_inspect_shows_every_signal_and_action() {
    let signals = section("Element Signals:").join("\n");
    for name in Kind::ALL.map(Kind::signal).into_iter().chain([
        "encoder-setup",
        "format-location",
        "on-mark",
        "on-part",
    ]) {
        assert!(signals.contains(&format!("\"{name}\"")), "{name}");
    }
    let actions = section("Element Actions:").join("\n");
    for name in ACTIONS.into_iter().chain(["mark", "is-type-supported"]) {
        assert!(actions.contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
fn factory_flags_and_interfaces() {
    let recorder = make_recorder();
    let factory = recorder.factory().expect("a factory");
    assert_eq!(factory.rank(), gst::Rank::NONE);
    assert_eq!(factory.metadata("klass"), Some("Sink/Muxer/Audio/Video"));
    for key in ["long-name", "description", "author"] {
        assert!(factory.metadata(key).is_some_and(|text| !text.is_empty()));
    }
    assert_eq!(recorder.type_().name(), "GstMediaRecorder");
    assert!(recorder.element_flags().contains(gst::ElementFlags::SINK));
    assert!(recorder.is::<gst::ChildProxy>());
    assert!(recorder.is::<gst::TagSetter>());
    assert!(recorder.static_pad("src").is_some());
    assert!(recorder.sink_pads().is_empty());
}

#[test]
fn param_specs_are_as_documented() {
    let recorder = make_recorder();
    for property in &PROPERTIES {
        let spec = recorder
            .find_property(property.name)
            .unwrap_or_else(|| panic!("{} is missing", property.name));
        let flags = spec.flags();
        assert!(flags.contains(glib::ParamFlags::READABLE));
        assert_eq!(
            flags.contains(glib::ParamFlags::WRITABLE),
            property.writable,
            "{}",
            property.name
        );
        if property.name == "name" {
            continue;
        }
        assert!(!spec.nick().is_empty(), "{}", property.name);
        assert!(
            spec.blurb().is_some_and(|blurb| blurb.len() > 10),
            "{} has a blurb",
            property.name
        );
        if property.writable {
            let mutable = gst::PARAM_FLAG_MUTABLE_READY
                | gst::PARAM_FLAG_MUTABLE_PAUSED
                | gst::PARAM_FLAG_MUTABLE_PLAYING;
            assert!(
                flags.intersects(mutable),
                "{} has mutability flags",
                property.name
            );
            // Read at `start`, in PLAYING; only autostart is fixed before.
            assert!(
                flags.contains(gst::PARAM_FLAG_MUTABLE_PLAYING) || property.name == "autostart",
                "{} may change in PLAYING",
                property.name
            );
        }
    }
}

#[test]
fn enums_have_the_documented_nicks() {
    let recorder = make_recorder();
    for (name, nicks) in [
        ("state", ["inactive", "recording", "paused"].as_slice()),
        ("audio-bitrate-mode", &["constant", "variable"]),
    ] {
        let spec = recorder.find_property(name).expect(name);
        let class = glib::EnumClass::with_type(spec.value_type()).expect("an enum");
        let actual: Vec<_> = class.values().iter().map(|v| v.nick()).collect();
        assert_eq!(actual, nicks, "{name}");
    }
}

#[test]
fn signals_have_the_documented_arguments() {
    let type_ = make_recorder().type_();
    let query = |name: &str| {
        glib::subclass::SignalId::lookup(name, type_)
            .unwrap_or_else(|| panic!("{name} is missing"))
            .query()
    };
    let arguments = |name: &str| -> Vec<glib::Type> {
        let query = query(name);
        query.param_types().iter().map(|t| t.type_()).collect()
    };
    for action in ACTIONS {
        let query = query(action);
        assert!(query.flags().contains(glib::SignalFlags::ACTION));
        assert_eq!(query.n_params(), 0, "{action}");
        assert_eq!(
            query.return_type().type_(),
            glib::Error::static_type(),
            "{action}"
        );
    }
    let mark = query("mark");
    assert!(mark.flags().contains(glib::SignalFlags::ACTION));
    assert_eq!(mark.return_type().type_(), glib::Error::static_type());
    assert_eq!(arguments("mark"), [String::static_type()]);
    assert_eq!(arguments("on-mark"), [gst::Structure::static_type()]);
    let supported = query("is-type-supported");
    assert!(supported.flags().contains(glib::SignalFlags::ACTION));
    assert_eq!(supported.return_type().type_(), bool::static_type());
    assert_eq!(arguments("is-type-supported"), [String::static_type()]);

    for kind in Kind::ALL {
        let query = query(kind.signal());
        assert!(!query.flags().contains(glib::SignalFlags::ACTION));
        assert_eq!(query.return_type().type_(), glib::Type::UNIT);
        let expected = match kind {
            Kind::Data => vec![gst::Sample::static_type()],
            Kind::Error => vec![glib::Error::static_type()],
            _ => vec![],
        };
        assert_eq!(arguments(kind.signal()), expected, "{kind:?}");
    }
    assert_eq!(
        arguments("encoder-setup"),
        [gst::Pad::static_type(), gst::Element::static_type()]
    );
}

#[test]
fn pads_are_children_with_a_controllable_mute() {
    let recorder = make_recorder();
    for template in ["audio_%u", "video_%u"] {
        let pad = recorder.request_pad_simple(template).expect("a pad");
        assert_eq!(pad.type_().name(), "GstMediaRecorderPad");
        let mute = pad.find_property("mute").expect("mute");
        let flags = mute.flags();
        assert!(flags.contains(glib::ParamFlags::READWRITE));
        assert!(flags.contains(gst::PARAM_FLAG_CONTROLLABLE));
        assert!(mute.blurb().is_some_and(|blurb| !blurb.is_empty()));
        assert!(!pad.property::<bool>("mute"));
    }
    let proxy = recorder
        .dynamic_cast_ref::<gst::ChildProxy>()
        .expect("a child proxy");
    proxy.set_child_property("audio_0::mute", true);
    let pad = recorder.static_pad("audio_0").expect("the pad");
    assert!(pad.property::<bool>("mute"));
    let names: Vec<_> = (0..proxy.children_count())
        .filter_map(|n| proxy.child_by_index(n))
        .filter_map(|child| child.downcast::<gst::Object>().ok())
        .map(|child| child.name().to_string())
        .collect();
    for name in ["audio_0", "video_0"] {
        assert!(names.iter().any(|n| n == name), "{names:?}");
    }
}

#[test]
fn request_pads_can_be_added_and_released_in_any_number() {
    let recorder = make_recorder();
    let pads: Vec<_> = (0..5)
        .map(|_| recorder.request_pad_simple("audio_%u").expect("a pad"))
        .collect();
    let named = recorder.request_pad_simple("video_7").expect("by name");
    assert_eq!(named.name(), "video_7");
    assert_eq!(recorder.sink_pads().len(), 6);
    for pad in pads.iter().chain([&named]) {
        recorder.release_request_pad(pad);
    }
    assert!(recorder.sink_pads().is_empty());
}

#[test]
fn properties_read_back_what_was_written_and_notify() {
    let recorder = make_recorder();
    let notified = Arc::<Mutex<Vec<String>>>::default();
    let note = notified.clone();
    recorder.connect_notify(None, move |_, spec| {
        note.lock().unwrap().push(spec.name().to_owned());
    });
    for name in [
        "timeslice",
        "audio-bits-per-second",
        "video-bits-per-second",
        "video-key-frame-interval-duration",
        "video-key-frame-interval-count",
    ] {
        recorder.set_property(name, 1234u32);
        assert_eq!(recorder.number(name), 1234, "{name}");
        assert!(notified.lock().unwrap().iter().any(|n| n == name), "{name}");
    }
    for name in ["max-memory", "max-queue-time", "stop-timeout"] {
        recorder.set_property(name, 5_000_000_000_000u64);
        assert_eq!(recorder.property::<u64>(name), 5_000_000_000_000, "{name}");
        assert!(notified.lock().unwrap().iter().any(|n| n == name), "{name}");
    }
    for name in ["mime-type", "location", "temp-dir"] {
        recorder.set_property(name, "some text");
        assert_eq!(
            recorder.property::<Option<String>>(name).as_deref(),
            Some("some text")
        );
        assert!(notified.lock().unwrap().iter().any(|n| n == name), "{name}");
    }
    for name in ["autostart", "blob-messages"] {
        recorder.set_property(name, true);
        assert!(recorder.property::<bool>(name), "{name}");
        assert!(notified.lock().unwrap().iter().any(|n| n == name), "{name}");
    }
    recorder.set_property_from_str("audio-bitrate-mode", "constant");
    let mode = recorder.property_value("audio-bitrate-mode");
    let (_, mode) = glib::EnumValue::from_value(&mode).expect("an enum");
    assert_eq!(mode.nick(), "constant");

    notified.lock().unwrap().clear();
    recorder.set_property("bits-per-second", 1_000_000u32);
    for name in [
        "bits-per-second",
        "audio-bits-per-second",
        "video-bits-per-second",
    ] {
        assert!(notified.lock().unwrap().iter().any(|n| n == name), "{name}");
    }
}

#[test]
fn tags_set_on_the_element_are_in_the_file() {
    let (rig, tracks) = Rig::live(1, 0);
    let path = rig.path("tagged.webm");
    rig.recorder.set_property("location", &path);
    rig.recorder
        .dynamic_cast_ref::<gst::TagSetter>()
        .expect("a tag setter")
        .add_tag::<gst::tags::Title>(&"Titled", gst::TagMergeMode::Replace);
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    tracks[0].wait_buffers(10);
    rig.recorder.stop().expect("stop");
    rig.wait_recording(1);
    let (out, _) = run(std::process::Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "format_tags=title", "-of"])
        .args(["default=nk=1:nw=1", &path]));
    assert_eq!(String::from_utf8_lossy(&out).trim(), "Titled");
}
