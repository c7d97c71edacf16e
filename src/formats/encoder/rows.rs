//! One row per encoder, or family of encoders.

use gst::prelude::*;

/// How the bit rate of an encoder is set.
#[derive(Clone, Copy)]
pub struct Rate {
    /// `""` if there is none.
    pub property: &'static str,
    /// Bits per second in one unit of the property.
    pub unit: u32,
    /// Minimum, in bits per second: below it the encoder refuses the value, or interprets it differently.
    pub least: u32,
    /// Maximum, in bits per second.
    pub most: u32,
}

impl Rate {
    pub const NONE: Rate = Rate::of("", 1);

    pub const fn of(property: &'static str, unit: u32) -> Self {
        Self {
            property,
            unit,
            least: 1_000,
            // Above this, some encoders have integer overflows.
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

/// A property that trades quality for speed: the first value whose load limit (see [`Tuning::load`])
/// is not exceeded, else the last.
pub struct Speed {
    pub property: &'static str,
    pub steps: &'static [(f64, &'static str)],
}

/// An encoder, or a family of them.
pub struct Row {
    /// Factory name; `*` is a wildcard.
    pub name: &'static str,
    pub rate: Rate,
    /// Properties for the keyframe interval in frames.
    pub key: &'static [&'static str],
    /// Properties for the number of threads.
    pub threads: &'static [&'static str],
    /// The same, for threads that busy-wait for each other.
    pub spinning_threads: &'static [&'static str],
    pub speed: Option<Speed>,
    /// Property to enable for interlaced video; `None` if that is not supported.
    pub interlaced: Option<&'static str>,
    /// Property and value, as in gst-launch-1.0.
    pub fixed: &'static [(&'static str, &'static str)],
    pub constant: &'static [(&'static str, &'static str)],
    pub variable: &'static [(&'static str, &'static str)],
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
            interlaced: None,
            fixed: &[],
            constant: &[],
            variable: &[],
        }
    }
}

pub const ROWS: &[Row] = &[
    Row {
        key: &["keyframe-max-dist"],
        spinning_threads: &["threads"],
        // Negative: fixed speed; otherwise libvpx adapts it to the processing time.
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
            // The fastest: with libvpx 1.12 no slower setting was any better, see docs/BENCHMARKS.md.
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
        // CBR is the best maintained mode of libaom's realtime profile. libaom aborts
        // if max-quantizer stays at the element's default, 0. Buffer sizes are in milliseconds:
        // with the default of six seconds, it adapts to changes too late.
        fixed: &[
            ("usage-profile", "realtime"),
            ("lag-in-frames", "0"),
            ("end-usage", "cbr"),
            ("row-mt", "true"),
            ("buf-sz", "1000"),
            ("buf-initial-sz", "500"),
            ("buf-optimal-sz", "600"),
            // Maximum deviation from the target rate, in percent.
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
        // It holds 58 frames by default, and 8 like this. It cannot do with less: GStreamer's element hangs if the
        // library is set to low delay.
        fixed: &[(
            "parameters-string",
            "lookahead=8:hierarchical-levels=2:enable-tf=0",
        )],
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
        interlaced: Some("interlaced"),
        fixed: &[
            ("tune", "zerolatency"),
            ("bframes", "0"),
            ("vbv-buf-capacity", "1000"),
            // Keyframes only when requested.
            ("option-string", "scenecut=0"),
        ],
        ..Row::new("x264enc", Rate::of("bitrate", 1_000))
    },
    Row {
        key: &["gop-size"],
        threads: &["multi-thread"],
        fixed: &[("rate-control", "bitrate"), ("complexity", "low")],
        // Rates above the limit of the highest level are refused.
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
        // The recorder drops frames itself, and counts them.
        fixed: &[
            ("drop-frames", "false"),
            // Most frames after a keyframe that fit into a granule position; the actual interval is keyframe-freq.
            ("keyframe-auto", "false"),
            ("keyframe-force", "32768"),
            // Otherwise the buffer would have the length of keyframe-force.
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
        // Otherwise the rate only selects a quality.
        fixed: &[("managed", "true")],
        ..Row::new("vorbisenc", Rate::of("bitrate", 1))
    },
    Row::new("flacenc", Rate::NONE),
    Row::new("voaacenc", Rate::of("bitrate", 1).within(16_000, 320_000)),
    Row::new("avenc_aac", Rate::of("bitrate", 1).within(16_000, 512_000)),
    Row {
        // In variable mode it ignores the rate.
        fixed: &[("rate-control", "cbr")],
        ..Row::new("fdkaacenc", Rate::of("bitrate", 1).within(16_000, 512_000))
    },
    Row {
        fixed: &[("target", "bitrate"), ("encoding-engine-quality", "fast")],
        constant: &[("cbr", "true")],
        variable: &[("cbr", "false")],
        ..Row::new("lamemp3enc", Rate::of("bitrate", 1_000))
    },
    // Hardware encoders: the pattern va*enc also matches vaapi*enc.
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
    // NVIDIA boards; before the mainline V4L2 encoders.
    Row {
        key: &["iframeinterval", "idrinterval"],
        ..Row::new("nvv4l2*enc", Rate::of("bitrate", 1))
    },
    Row::new("v4l2*enc", Rate::of(V4L2, 1)),
];

/// A property of V4L2 encoders: a structure that contains the bit rate.
pub const V4L2: &str = "extra-controls";

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
    }
}

/// Whether there is a row for an encoder with this name.
pub fn is_known(name: &str) -> bool {
    ROWS.iter().any(|row| matches(row.name, name))
}

pub fn row(encoder: &gst::Element) -> Option<&'static Row> {
    row_of(&encoder.factory()?.name())
}

/// The row for an encoder with this name.
pub fn row_of(name: &str) -> Option<&'static Row> {
    // The longest pattern is the most specific one: nvv4l2*enc before nv*enc.
    ROWS.iter()
        .filter(|row| matches(row.name, name))
        .max_by_key(|row| row.name.len())
}
