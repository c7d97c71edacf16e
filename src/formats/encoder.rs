//! Encoders: one row each, saying how it is told its bit rate and made fast enough for live input.

use crate::model::Codec;
use gst::prelude::*;

/// What an encoder is told before it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// Of this track; 0 asks for the encoder's lowest.
    pub bits_per_second: u32,
    /// Pixels; 0 for audio.
    pub width: u32,
    /// Pixels; 0 for audio.
    pub height: u32,
    /// Frames per second; 0 if not known or variable.
    pub fps: f64,
    /// Samples per second; 0 for video.
    pub rate: u32,
    /// 0 for video.
    pub channels: u32,
    /// Longest time between key frames in milliseconds; 0 with `key_interval_frames` 0 means 2 s.
    pub key_interval_ms: u32,
    /// Most frames between key frames; 0 is no such limit.
    pub key_interval_frames: u32,
    /// Constant bit rate, as `audio-bitrate-mode` asks for.
    pub constant: bool,
    /// Processor cores that this encoder may use.
    pub cores: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            bits_per_second: 0,
            width: 0,
            height: 0,
            fps: 0.0,
            rate: 0,
            channels: 0,
            key_interval_ms: 0,
            key_interval_frames: 0,
            constant: false,
            cores: 1,
        }
    }
}

/// The frame rate that is assumed where none is known.
const USUAL_FPS: f64 = 30.0;
/// Players seek, fragments and cuts begin, at key frames.
const DEFAULT_KEY_INTERVAL_MS: u32 = 2_000;

impl Tuning {
    fn fps(&self) -> f64 {
        if self.fps.is_finite() && self.fps > 0.0 {
            self.fps.min(1_000.0)
        } else {
            USUAL_FPS
        }
    }

    /// Most frames from one key frame to the next, at least 1.
    pub(super) fn key_frames(&self) -> u32 {
        let ms = match (self.key_interval_ms, self.key_interval_frames) {
            (0, 0) => DEFAULT_KEY_INTERVAL_MS,
            (0, frames) => return frames,
            (ms, _) => ms,
        };
        // The first frame that begins so late, whatever the rounding.
        let frames = f64::from(ms) * self.fps() / 1_000.0;
        let by_time = (frames - 1e-6).ceil().max(1.0) as u32;
        match self.key_interval_frames {
            0 => by_time,
            frames => by_time.min(frames),
        }
    }

    /// Millions of pixels that come in a second.
    fn megapixels(&self) -> f64 {
        f64::from(self.width) * f64::from(self.height) * self.fps() / 1e6
    }

    /// Millions of pixels that each core has to encode in a second.
    fn load(&self) -> f64 {
        self.megapixels() / self.cores.clamp(1, 64) as f64
    }

    /// Threads that may keep a core busy each.
    fn threads(&self) -> u64 {
        self.cores.clamp(1, 16) as u64
    }

    /// Threads for an encoder whose threads spin while they wait for each other: on cores that
    /// have other work, two of them are many times slower than one. One does 720p at 30 with ease.
    fn spinning_threads(&self) -> u64 {
        let needed = (self.megapixels() / 40.0).ceil().max(1.0) as u64;
        needed.min(self.threads() / 2).max(1)
    }
}

/// How an encoder is told its bit rate.
#[derive(Clone, Copy)]
struct Rate {
    /// `""` if it has none.
    property: &'static str,
    /// Bits per second in one unit of the property.
    unit: u32,
    /// Bits per second below which it refuses, or takes the number for something else.
    least: u32,
    /// Bits per second above which it refuses.
    most: u32,
}

impl Rate {
    const NONE: Rate = Rate::of("", 1);

    const fn of(property: &'static str, unit: u32) -> Self {
        Self {
            property,
            unit,
            least: 1_000,
            // Beyond this some encoders compute with a wrapped number.
            most: 1_000_000_000,
        }
    }

    const fn within(self, least: u32, most: u32) -> Self {
        Self {
            least,
            most,
            ..self
        }
    }
}

/// A property that trades quality for speed: the first value whose load (see [`Tuning::load`])
/// is not exceeded, else the last.
struct Speed {
    property: &'static str,
    steps: &'static [(f64, &'static str)],
}

/// An encoder, or a family of them.
struct Row {
    /// The factory's name; `*` stands for anything.
    name: &'static str,
    rate: Rate,
    /// Properties that take the number of frames between key frames.
    key: &'static [&'static str],
    /// Properties that take the number of threads.
    threads: &'static [&'static str],
    /// The same, where they wait for each other without sleeping.
    spinning_threads: &'static [&'static str],
    speed: Option<Speed>,
    /// Property and value, as in a gst-launch line.
    fixed: &'static [(&'static str, &'static str)],
    constant: &'static [(&'static str, &'static str)],
    variable: &'static [(&'static str, &'static str)],
}

impl Row {
    const fn new(name: &'static str, rate: Rate) -> Self {
        Self {
            name,
            rate,
            key: &[],
            threads: &[],
            spinning_threads: &[],
            speed: None,
            fixed: &[],
            constant: &[],
            variable: &[],
        }
    }
}

const ROWS: &[Row] = &[
    Row {
        key: &["keyframe-max-dist"],
        spinning_threads: &["threads"],
        // Negative: this speed and no other; else libvpx chooses it by the clock.
        speed: Some(Speed {
            property: "cpu-used",
            steps: &[(32.0, "-8"), (0.0, "-12")],
        }),
        fixed: &[
            ("deadline", "1"),
            ("lag-in-frames", "0"),
            ("end-usage", "cbr"),
            ("buffer-size", "1000"),
            ("buffer-initial-size", "500"),
            ("buffer-optimal-size", "600"),
            ("token-partitions", "4"),
            ("auto-alt-ref", "false"),
        ],
        ..Row::new("vp8enc", Rate::of("target-bitrate", 1))
    },
    Row {
        key: &["keyframe-max-dist"],
        threads: &["threads"],
        fixed: &[
            ("deadline", "1"),
            // The fastest: on libvpx 1.12 no slower one was any better, see docs/BENCHMARKS.md.
            ("cpu-used", "9"),
            ("lag-in-frames", "0"),
            ("end-usage", "cbr"),
            ("buffer-size", "1000"),
            ("buffer-initial-size", "500"),
            ("buffer-optimal-size", "600"),
            ("row-mt", "true"),
            ("frame-parallel-decoding", "false"),
            ("auto-alt-ref", "false"),
        ],
        ..Row::new("vp9enc", Rate::of("target-bitrate", 1))
    },
    Row {
        key: &["keyframe-max-dist"],
        threads: &["threads"],
        speed: Some(Speed {
            property: "cpu-used",
            steps: &[(14.0, "9"), (0.0, "10")],
        }),
        // In its realtime profile libaom's constant mode is the one that is looked after. It
        // aborts the process if max-quantizer stays at the element's default, 0. Buffers are in
        // milliseconds: with its own of six seconds it follows a change late.
        fixed: &[
            ("usage-profile", "realtime"),
            ("lag-in-frames", "0"),
            ("end-usage", "cbr"),
            ("row-mt", "true"),
            ("buf-sz", "1000"),
            ("buf-initial-sz", "500"),
            ("buf-optimal-sz", "600"),
            // By how much it may correct itself, in percent.
            ("undershoot-pct", "50"),
            ("overshoot-pct", "50"),
            ("tile-columns", "1"),
            ("min-quantizer", "10"),
            ("max-quantizer", "63"),
        ],
        ..Row::new("av1enc", Rate::of("target-bitrate", 1_000))
    },
    Row {
        key: &["intra-period-length"],
        threads: &["logical-processors"],
        speed: Some(Speed {
            property: "preset",
            steps: &[(8.0, "10"), (20.0, "11"), (0.0, "12")],
        }),
        ..Row::new("svtav1enc", Rate::of("target-bitrate", 1_000))
    },
    Row {
        key: &["max-key-frame-interval"],
        threads: &["threads"],
        fixed: &[
            ("low-latency", "true"),
            ("speed-preset", "10"),
            ("min-key-frame-interval", "0"),
        ],
        ..Row::new("rav1enc", Rate::of("bitrate", 1))
    },
    Row {
        key: &["key-int-max"],
        threads: &["threads"],
        speed: Some(Speed {
            property: "speed-preset",
            steps: &[(80.0, "superfast"), (0.0, "ultrafast")],
        }),
        fixed: &[
            ("tune", "zerolatency"),
            ("bframes", "0"),
            ("vbv-buf-capacity", "1000"),
            // Key frames come when they are asked for.
            ("option-string", "scenecut=0"),
        ],
        ..Row::new("x264enc", Rate::of("bitrate", 1_000))
    },
    Row {
        key: &["gop-size"],
        threads: &["multi-thread"],
        fixed: &[("rate-control", "bitrate"), ("complexity", "low")],
        // More than the highest level allows is refused.
        ..Row::new(
            "openh264enc",
            Rate::of("bitrate", 1).within(1_000, 240_000_000),
        )
    },
    Row {
        key: &["key-int-max"],
        speed: Some(Speed {
            property: "speed-preset",
            steps: &[(6.0, "superfast"), (0.0, "ultrafast")],
        }),
        fixed: &[("tune", "zerolatency"), ("option-string", "scenecut=0")],
        ..Row::new("x265enc", Rate::of("bitrate", 1_000))
    },
    Row {
        key: &["keyframe-freq"],
        speed: Some(Speed {
            property: "speed-level",
            steps: &[(10.0, "1"), (30.0, "2"), (0.0, "3")],
        }),
        // To drop frames is the recorder's business, which counts them.
        fixed: &[
            ("drop-frames", "false"),
            // So many frames after a key frame the stream's stamps have room for; the encoder itself counts by
            // keyframe-freq.
            ("keyframe-auto", "false"),
            ("keyframe-force", "32768"),
            // Else it would take as many for the length of its buffer.
            ("rate-buffer", "90"),
        ],
        ..Row::new("theoraenc", Rate::of("bitrate", 1_000))
    },
    Row {
        constant: &[("bitrate-type", "cbr")],
        variable: &[("bitrate-type", "constrained-vbr")],
        ..Row::new("opusenc", Rate::of("bitrate", 1))
    },
    Row {
        // Else the rate only chooses a quality.
        fixed: &[("managed", "true")],
        ..Row::new("vorbisenc", Rate::of("bitrate", 1))
    },
    Row::new("flacenc", Rate::NONE),
    Row::new("voaacenc", Rate::of("bitrate", 1).within(16_000, 320_000)),
    Row::new("avenc_aac", Rate::of("bitrate", 1).within(16_000, 512_000)),
    Row {
        constant: &[("rate-control", "cbr")],
        variable: &[("rate-control", "vbr")],
        ..Row::new("fdkaacenc", Rate::of("bitrate", 1).within(16_000, 512_000))
    },
    Row {
        fixed: &[("target", "bitrate"), ("encoding-engine-quality", "fast")],
        constant: &[("cbr", "true")],
        variable: &[("cbr", "false")],
        ..Row::new("lamemp3enc", Rate::of("bitrate", 1_000))
    },
    // Hardware: va before vaapi, of which it is a beginning.
    Row {
        key: &["keyframe-period"],
        fixed: &[("rate-control", "vbr"), ("max-bframes", "0")],
        ..Row::new("vaapi*enc", Rate::of("bitrate", 1_000))
    },
    Row {
        key: &["key-int-max"],
        fixed: &[("rate-control", "vbr"), ("b-frames", "0")],
        ..Row::new("va*enc", Rate::of("bitrate", 1_000))
    },
    Row {
        key: &["gop-size"],
        fixed: &[
            ("zerolatency", "true"),
            ("rc-mode", "vbr"),
            ("bframes", "0"),
            ("b-frames", "0"),
        ],
        ..Row::new("nv*enc", Rate::of("bitrate", 1_000))
    },
    Row {
        key: &["gop-size"],
        fixed: &[
            ("low-latency", "true"),
            ("rate-control", "vbr"),
            ("b-frames", "0"),
        ],
        ..Row::new("qsv*enc", Rate::of("bitrate", 1_000))
    },
    Row {
        key: &["gop-size"],
        fixed: &[("rate-control", "vbr"), ("b-frames", "0")],
        ..Row::new("msdk*enc", Rate::of("bitrate", 1_000))
    },
    Row {
        key: &["gop-size"],
        fixed: &[("usage", "low-latency")],
        ..Row::new("amf*enc", Rate::of("bitrate", 1_000))
    },
    Row {
        key: &["gop-size"],
        fixed: &[("low-latency", "true"), ("bframes", "0")],
        ..Row::new("mf*enc", Rate::of("bitrate", 1_000))
    },
    Row {
        key: &["max-keyframe-interval"],
        fixed: &[("realtime", "true"), ("allow-frame-reordering", "false")],
        ..Row::new("vtenc_*", Rate::of("bitrate", 1_000))
    },
    Row {
        key: &["interval-intraframes", "periodicity-idr"],
        fixed: &[("control-rate", "variable")],
        ..Row::new("omx*enc", Rate::of("target-bitrate", 1))
    },
    // NVIDIA's boards; before the mainline ones.
    Row {
        key: &["iframeinterval", "idrinterval"],
        ..Row::new("nvv4l2*enc", Rate::of("bitrate", 1))
    },
    Row::new("v4l2*enc", Rate::of(V4L2, 1)),
];

/// A property of v4l2 encoders that holds a structure, with the bit rate in it.
const V4L2: &str = "extra-controls";

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
    }
}

fn row(encoder: &gst::Element) -> Option<&'static Row> {
    let name = encoder.factory()?.name();
    // The longest pattern is the most particular one: nvv4l2*enc is no nv*enc.
    ROWS.iter()
        .filter(|row| matches(row.name, &name))
        .max_by_key(|row| row.name.len())
}

/// Whether an encoder of this name is known here, and one that runs wherever it is installed.
pub fn needs_no_hardware(name: &str) -> bool {
    ROWS.iter().any(|row| row.name == name)
}

/// Whether frames come out of an encoder of this name in the order in which they are shown: in all rows they do, of others
/// that make H.264 or H.265 it is not known.
pub fn keeps_order(codec: Codec, name: &str) -> bool {
    !matches!(codec, Codec::H264 | Codec::H265) || ROWS.iter().any(|row| matches(row.name, name))
}

/// What frame rate an encoder of this name has to be told where it must not hear the true one.
///
/// av1enc up to GStreamer 1.22 rounds stamps down to whole frames: two get the same, and libaom makes twice the
/// bit rate of what it takes for twice the frame rate. Told of a variable rate, it counts in ticks of 90 kHz.
/// x265enc does not start with a variable rate.
pub fn shown_rate(name: &str) -> Option<fn(gst::Fraction) -> gst::Fraction> {
    match name {
        "av1enc" => Some(|_| gst::Fraction::new(0, 1)),
        "x265enc" => Some(|rate| match rate.numer() {
            0 => gst::Fraction::new(USUAL_FPS as i32, 1),
            _ => rate,
        }),
        _ => None,
    }
}

/// How an encoder that knows no key-unit requests is told to make a key frame: settings that make one of every
/// frame, in force for one frame.
#[derive(Debug)]
pub struct KeyRequest {
    /// Frames from one key frame to the next that it makes by itself, until it is told of the first.
    pub every: u32,
    force: Vec<(&'static str, String)>,
    release: Vec<(&'static str, String)>,
}

impl KeyRequest {
    /// Before the frame that is to be one.
    pub fn force(&self, encoder: &gst::Element) {
        self.force.iter().for_each(|(n, v)| set(encoder, n, v));
    }

    /// Before any other: those come when they are asked for only.
    pub fn release(&self, encoder: &gst::Element) {
        self.release.iter().for_each(|(n, v)| set(encoder, n, v));
    }
}

/// What this encoder, which has been tuned, needs in place of key-unit requests; `None` for those that know them.
///
/// av1enc knows them from GStreamer 1.26 on. libaom takes new settings with any frame, and makes each a key frame
/// while least and greatest distance are the same; the element's least is 0, and while it starts the
/// greatest may not be.
pub fn key_request(encoder: &gst::Element) -> Option<KeyRequest> {
    if encoder.factory()?.name() != "av1enc" || gst::version() >= (1, 25, 0, 0) {
        return None;
    }
    let distance = encoder.property_value("keyframe-max-dist").get::<i32>();
    let every = distance.ok().and_then(|n| u32::try_from(n).ok())?.max(1);
    Some(KeyRequest {
        every,
        force: vec![
            ("keyframe-max-dist", "0".to_owned()),
            ("keyframe-mode", "auto".to_owned()),
        ],
        release: vec![
            ("keyframe-mode", "disabled".to_owned()),
            ("keyframe-max-dist", every.to_string()),
        ],
    })
}

/// Tunes an encoder that has not started yet for `tuning`, as far as it has the properties.
/// One that is not known keeps its defaults but for bit rate and key frames.
pub fn tune(encoder: &gst::Element, tuning: &Tuning) {
    if let Some(row) = row(encoder) {
        for (property, value) in row.fixed {
            set(encoder, property, value);
        }
        let mode = match tuning.constant {
            true => row.constant,
            false => row.variable,
        };
        for (property, value) in mode {
            set(encoder, property, value);
        }
        for property in row.spinning_threads {
            set_number(encoder, property, tuning.spinning_threads());
        }
        for property in row.threads {
            set_number(encoder, property, tuning.threads());
        }
        if let Some(speed) = &row.speed {
            let load = tuning.load();
            let step = speed.steps.iter().find(|(most, _)| load <= *most);
            if let Some((_, value)) = step.or(speed.steps.last()) {
                set(encoder, speed.property, value);
            }
        }
    }
    let key: &[&str] = match row(encoder) {
        Some(row) => row.key,
        None => &[
            "key-int-max",
            "gop-size",
            "keyframe-max-dist",
            "keyframe-period",
            "max-keyframe-interval",
        ],
    };
    for property in key {
        set_number(encoder, property, tuning.key_frames().into());
    }
    if row(encoder).is_some_and(|row| row.rate.property == V4L2) {
        set_control(encoder, "video_gop_size", tuning.key_frames());
    }
    set_rate(encoder, tuning.bits_per_second, Some(tuning));
}

/// Gives an encoder a bit rate, before it starts or, where it can follow, while it runs. What is
/// out of its range becomes the nearest that is in it.
pub fn set_bits_per_second(encoder: &gst::Element, bits_per_second: u32) {
    set_rate(encoder, bits_per_second, None);
}

fn set_rate(encoder: &gst::Element, bits_per_second: u32, tuning: Option<&Tuning>) {
    let Some(rate) = row(encoder).map(|row| row.rate).or_else(|| guess(encoder)) else {
        return;
    };
    let mut bits_per_second = bits_per_second.clamp(rate.least, rate.most);
    match rate.property {
        "" => return,
        V4L2 => return set_control(encoder, "video_bitrate", bits_per_second),
        _ => (),
    }
    if let Some(factory) = encoder.factory() {
        bits_per_second = match factory.name().as_str() {
            "vorbisenc" => match vorbis_rate(bits_per_second, tuning) {
                Some(bits_per_second) => bits_per_second,
                None => return,
            },
            "lamemp3enc" => mp3_rate(bits_per_second, tuning),
            _ => bits_per_second,
        };
    }
    let units = bits_per_second.saturating_add(rate.unit / 2) / rate.unit;
    set_number(encoder, rate.property, units.max(1).into());
}

/// libvorbis does not start with a bit rate that it has no mode for: the nearest for which it has
/// one, `None` if for this sound it knows qualities only. It reads the rate when it starts.
fn vorbis_rate(bits_per_second: u32, tuning: Option<&Tuning>) -> Option<u32> {
    /// The most that vorbisenc's property takes.
    const MAX_BITRATE: u32 = 250_000;
    let tuning = tuning?;
    // Per channel: alone, in a pair, in a larger group.
    let ([mono, pair, group], most) = match tuning.rate {
        0..9_000 => ([8_000, 6_000, 8_000], 40_000),
        9_000..15_000 => ([12_000, 8_000, 12_000], 48_000),
        15_000..19_000 => ([16_000, 12_000, 16_000], 96_000),
        19_000..26_000 => ([16_000, 16_000, 16_000], 80_000),
        26_000..40_000 => ([32_000, 20_000, 32_000], 160_000),
        40_000..=50_000 if tuning.channels == 6 => ([32_000, 24_000, 16_000], 240_000),
        40_000..=50_000 => ([32_000, 24_000, 32_000], 240_000),
        _ => return None,
    };
    let channels = tuning.channels.clamp(1, 255);
    let least = match channels {
        1 => mono,
        2 => pair,
        _ => group,
    };
    let (least, most) = (least * channels, MAX_BITRATE.min(most * channels));
    (least <= most).then(|| bits_per_second.clamp(least, most))
}

/// The bit rates of layer III; a constant one has to be one of these.
fn mp3_rate(bits_per_second: u32, tuning: Option<&Tuning>) -> u32 {
    const MPEG1: [u32; 14] = [
        32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ];
    const MPEG2: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let low = tuning.is_some_and(|tuning| (1..32_000).contains(&tuning.rate));
    let rates = if low { MPEG2 } else { MPEG1 };
    let nearest = rates
        .iter()
        .map(|kilobits| kilobits * 1_000)
        .min_by_key(|rate| rate.abs_diff(bits_per_second));
    nearest.unwrap_or(bits_per_second)
}

/// The bit-rate property of an encoder that has no row, with the unit that its description names.
fn guess(encoder: &gst::Element) -> Option<Rate> {
    let names = ["bitrate", "target-bitrate"];
    names.into_iter().find_map(|property| {
        let blurb = encoder.find_property(property)?;
        let blurb = blurb.blurb().unwrap_or_default().to_ascii_lowercase();
        let kilo = ["kbit", "kbps", "kb/s", "kilobit"];
        let unit = match kilo.iter().any(|kilo| blurb.contains(kilo)) {
            true => 1_000,
            false => 1,
        };
        Some(Rate::of(property, unit))
    })
}

fn set_control(encoder: &gst::Element, control: &str, value: u32) {
    let Some(pspec) = encoder.find_property(V4L2) else {
        return;
    };
    if pspec.value_type() != gst::Structure::static_type() {
        return;
    }
    let mut controls = encoder
        .property::<Option<gst::Structure>>(V4L2)
        .unwrap_or_else(|| gst::Structure::new_empty("controls"));
    controls.set(control, i32::try_from(value).unwrap_or(i32::MAX));
    encoder.set_property(V4L2, controls);
}

fn writable(element: &gst::Element, property: &str) -> Option<glib::ParamSpec> {
    let pspec = element.find_property(property)?;
    let flags = pspec.flags();
    let construct_only = flags.contains(glib::ParamFlags::CONSTRUCT_ONLY);
    (flags.contains(glib::ParamFlags::WRITABLE) && !construct_only).then_some(pspec)
}

/// Sets a property from its text, as in a gst-launch line, if the element has it and knows the
/// value.
pub(super) fn set(element: &gst::Element, property: &str, text: &str) {
    if let Some(pspec) = writable(element, property)
        && let Ok(value) = glib::Value::deserialize_with_pspec(text, &pspec)
    {
        element.set_property_from_value(property, &value);
    }
}

/// Sets a property of any numeric type, if the element has it, to what of its range is nearest.
fn set_number(element: &gst::Element, property: &str, number: u64) {
    let Some(pspec) = writable(element, property) else {
        return;
    };
    let wanted = i128::from(number);
    let value = if let Some(range) = pspec.downcast_ref::<glib::ParamSpecInt>() {
        let value = wanted.clamp(range.minimum().into(), range.maximum().into());
        i32::try_from(value).ok().map(|value| value.to_value())
    } else if let Some(range) = pspec.downcast_ref::<glib::ParamSpecUInt>() {
        let value = wanted.clamp(range.minimum().into(), range.maximum().into());
        u32::try_from(value).ok().map(|value| value.to_value())
    } else if let Some(range) = pspec.downcast_ref::<glib::ParamSpecInt64>() {
        let value = wanted.clamp(range.minimum().into(), range.maximum().into());
        i64::try_from(value).ok().map(|value| value.to_value())
    } else if let Some(range) = pspec.downcast_ref::<glib::ParamSpecUInt64>() {
        let value = wanted.clamp(range.minimum().into(), range.maximum().into());
        u64::try_from(value).ok().map(|value| value.to_value())
    } else {
        None
    };
    if let Some(value) = value {
        element.set_property_from_value(property, &value);
    }
}
