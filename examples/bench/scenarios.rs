//! The scenarios that are measured in pairs.

use crate::{Way, encoded, idle, place::Place, raw, raw::Codec::*, sample::Sample};
use anyhow::{Result, bail};

/// A workload and its two variants.
pub struct Scenario {
    pub name: &'static str,
    pub what: &'static str,
    /// The encoded sample that it needs.
    pub sample: Option<Sample>,
    /// Whether both variants should record the same content.
    pub records: bool,
    pub work: fn(Way, &Place) -> Result<()>,
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "passthrough",
        what: "encoded H.264 and Opus (2.5 ms packets) into a Matroska file, 10 minutes of media as fast as possible; \
               by hand: h264parse, opusparse ! matroskamux ! filesink",
        sample: Some(Sample::Usual),
        records: true,
        work: |way, place| encoded::into_file(way, place, Sample::Usual, 600, "opusparse !"),
    },
    Scenario {
        name: "passthrough-no-opusparse",
        what: "the same for 5 minutes, by hand without opusparse, which the recorder does without too",
        sample: Some(Sample::Usual),
        records: true,
        work: |way, place| encoded::into_file(way, place, Sample::Usual, 300, ""),
    },
    Scenario {
        name: "passthrough-blobs",
        what: "10 minutes of the same into blobs of a second that are dropped; by hand: appsink, buffers dropped",
        sample: Some(Sample::Usual),
        records: true,
        work: |way, place| encoded::into_blobs(way, place, Sample::Usual, 600, "opusparse !"),
    },
    Scenario {
        name: "passthrough-sync",
        what: "5 minutes of the same into a file with a sync-interval of 100 ms; in place of by hand: the recorder without",
        sample: Some(Sample::Usual),
        records: true,
        work: |way, place| encoded::synchronised(way, place, Sample::Usual, 300),
    },
    Scenario {
        name: "passthrough-1gb",
        what: "1 GB of H.264, half a megabyte a frame, with Opus into a Matroska file; what counts is peak RSS",
        sample: Some(Sample::Large),
        records: true,
        work: |way, place| {
            let seconds = encoded::seconds_of(place, Sample::Large, 1e9)?;
            encoded::into_file(way, place, Sample::Large, seconds, "")
        },
    },
    Scenario {
        name: "h264-360p",
        what: "raw 640x360 and sound as H.264 and Opus into a Matroska file, 20 s of media as fast as possible",
        sample: None,
        records: true,
        work: |way, place| raw::record(way, place, H264, (640, 360), 600, ""),
    },
    Scenario {
        name: "h264-720p",
        what: "the same in 1280x720, 5 s",
        sample: None,
        records: true,
        work: |way, place| raw::record(way, place, H264, (1280, 720), 150, ""),
    },
    Scenario {
        name: "vp8-360p",
        what: "raw 640x360 and sound as VP8 and Opus into a WebM file, 10 s of media as fast as possible",
        sample: None,
        records: true,
        work: |way, place| raw::record(way, place, Vp8, (640, 360), 300, ""),
    },
    Scenario {
        name: "vp8-720p",
        what: "the same in 1280x720, 5 s",
        sample: None,
        records: true,
        work: |way, place| raw::record(way, place, Vp8, (1280, 720), 150, ""),
    },
    Scenario {
        name: "vp8-360p-queues",
        what: "vp8-360p, by hand with a queue in front of each encoder",
        sample: None,
        records: true,
        work: |way, place| raw::record(way, place, Vp8, (640, 360), 300, raw::QUEUE),
    },
    Scenario {
        name: "vp8-360p-togglerecord",
        what: "vp8-360p, by hand with togglerecord, and the queues that it needs, in front of the encoders",
        sample: None,
        records: true,
        work: |way, place| raw::beside_togglerecord(way, place, Vp8, (640, 360), 300),
    },
    Scenario {
        name: "h264-360p-parts",
        what: "h264-360p in parts of a second, 20 of them; beside the same recorder with one file in place of \"by hand\"",
        sample: None,
        records: false,
        work: |way, place| raw::in_parts(way, place, H264, (640, 360), 600),
    },
    Scenario {
        name: "inactive-1080p60",
        what: "inactive behind a live raw 1080p60 source, 5 s without set-up; by hand: a fakesink in its place",
        sample: None,
        records: false,
        work: |way, _| idle::behind_live(way, false),
    },
    Scenario {
        name: "paused-1080p60",
        what: "the same, started and at once paused",
        sample: None,
        records: false,
        work: |way, _| idle::behind_live(way, true),
    },
    Scenario {
        name: "past-720p",
        what: "keeps 30 s of the past of live 1280x720 at 30 in VP8, and of raw audio, 10 s after 2 s of set-up; by \
               hand: vp8enc into a fakesink",
        sample: None,
        records: false,
        work: |way, _| idle::keeping_the_past(way),
    },
];

/// Those with these names, or all.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>> {
    let mut chosen = Vec::new();
    for name in names {
        match SCENARIOS.iter().find(|scenario| scenario.name == name) {
            Some(scenario) => chosen.push(scenario),
            None => {
                let known: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
                bail!("no such scenario: {name}; there are {}", known.join(", "));
            }
        }
    }
    Ok(if chosen.is_empty() {
        SCENARIOS.iter().collect()
    } else {
        chosen
    })
}
