//! For each row of the table, a recording that shows the bug, and the program that detects it.

use super::judges::*;
use gst::prelude::*;
use std::path::Path;

/// How to prove that a row is needed.
pub enum Proof {
    /// By making a recording and checking it.
    Records {
        /// A gst-launch-1.0 line; `RECORDER` is replaced by the recorder, which is named `rec`.
        line: &'static str,
        /// File name of the recording; its extension selects the type.
        file: &'static str,
        /// Prepares the pipeline before it plays.
        prepare: fn(&gst::Pipeline, &Path),
        /// Checks the recording, and fails with what is wrong.
        judge: fn(&Path) -> Result<(), String>,
    },
    /// Not proved by a recording, for this reason.
    None(&'static str),
}

const fn records(
    line: &'static str,
    file: &'static str,
    judge: fn(&Path) -> Result<(), String>,
) -> Proof {
    records_prepared(line, file, |_, _| {}, judge)
}

const fn records_prepared(
    line: &'static str,
    file: &'static str,
    prepare: fn(&gst::Pipeline, &Path),
    judge: fn(&Path) -> Result<(), String>,
) -> Proof {
    Proof::Records {
        line,
        file,
        prepare,
        judge,
    }
}

/// Copied H.264 for `concat name=c`: three frames of each of these sizes in turn; with `of 5`, five times over.
macro_rules! segments {
    ($($size:literal)+) => {
        concat!($(
            "videotestsrc num-buffers=3 ! video/x-raw,framerate=30/1,", $size,
            " ! x264enc tune=zerolatency ! capsfilter caps=video/x-h264,stream-format=avc ! c. ",
        )+)
    };
    ($($size:literal)+, of 5) => {
        concat!(
            segments!($($size)+), segments!($($size)+), segments!($($size)+),
            segments!($($size)+), segments!($($size)+),
        )
    };
}

/// The proofs, in the order of the table.
pub const PROOFS: &[(&str, Proof)] = &[
    (
        "mpeg2-aac",
        records_prepared(
            "audiotestsrc num-buffers=50 ! voaacenc ! aacparse ! audio/mpeg,stream-format=adts \
             ! capssetter name=mpeg2 join=true caps=audio/mpeg,mpegversion=2 ! RECORDER",
            "x.mp4",
            |pipeline, _| {
                on_buffers(pipeline, "mpeg2", |_, buffer| {
                    // In the ADTS header.
                    buffer.map_writable().unwrap()[1] |= 8;
                    true
                });
            },
            |path| lasts(path, 1.16, 0.1),
        ),
    ),
    (
        "clipping-in-time",
        records_prepared(
            "audiotestsrc num-buffers=50 ! audio/x-raw,rate=48000 ! opusenc ! identity name=clipped ! RECORDER",
            "x.mkv",
            |pipeline, _| {
                on_buffers(pipeline, "clipped", |_, buffer| {
                    while let Some(meta) = buffer.meta_mut::<gst_audio::AudioClippingMeta>() {
                        let _ = meta.remove();
                    }
                    let time = gst::ClockTime::from_mseconds(1);
                    gst_audio::AudioClippingMeta::add(buffer, time, gst::ClockTime::ZERO);
                    true
                });
            },
            |path| lasts(path, 1.0, 0.1),
        ),
    ),
    (
        "headroom",
        Proof::None("the gate adds headroom to timestamps, and only this removes it"),
    ),
    (
        "full-range",
        records(
            "videotestsrc num-buffers=5 pattern=white \
             ! video/x-raw,format=I420,width=160,height=120,framerate=30/1,colorimetry=1:4:0:0 \
             ! RECORDER",
            "x.webm",
            |path| near("235 of full range", mean_luma(path)?, 217.8, 3.0),
        ),
    ),
    (
        "channel-positions",
        records(
            "audiotestsrc num-buffers=50 \
             ! audio/x-raw,rate=48000,channels=4,channel-mask=(bitmask)0x0 ! RECORDER",
            "x.webm",
            |path| lasts(path, 1.07, 0.1),
        ),
    ),
    (
        "unknown-colours",
        records(
            "videotestsrc num-buffers=5 \
             ! video/x-raw,format=I420,width=160,height=120,framerate=30/1,colorimetry=1:4:0:0 \
             ! RECORDER mime-type=video/webm;codecs=vp9",
            "x.webm",
            |path| match ffprobe(path, "stream=color_primaries")?.concat().as_str() {
                "" | "unknown" => Err("the primaries are unknown".to_owned()),
                _ => Ok(()),
            },
        ),
    ),
    (
        "constant-frame-rate",
        records(
            "videotestsrc num-buffers=30 ! video/x-raw,width=160,height=120,framerate=30/1 \
             ! capssetter join=true caps=video/x-raw,framerate=0/1,max-framerate=30/1 \
             ! RECORDER mime-type=video/ogg;codecs=theora",
            "x.ogv",
            |path| lasts(path, 1.0, 0.05),
        ),
    ),
    (
        "vp8-in-ogg-frames",
        records(
            "videotestsrc num-buffers=15 ! video/x-raw,width=160,height=120,framerate=15/1 \
             ! capssetter join=true caps=video/x-raw,framerate=30/1 \
             ! RECORDER mime-type=video/ogg;codecs=vp8",
            "x.ogv",
            |path| lasts(path, 1.0, 0.05),
        ),
    ),
    (
        "shown-frame-rate",
        records(
            "videotestsrc num-buffers=30 ! video/x-raw,width=160,height=120,framerate=30/1 \
             ! capssetter join=true caps=video/x-raw,framerate=0/1 \
             ! RECORDER mime-type=video/mp4;codecs=hvc1",
            "x.mp4",
            |path| lasts(path, 1.0, 0.05),
        ),
    ),
    (
        "channel-order",
        records(
            "audiotestsrc num-buffers=50 ! audio/x-raw,format=S16LE,rate=48000,channels=1 \
             ! audioconvert mix-matrix=<<(float)0>,<(float)0>,<(float)1>,<(float)0>,<(float)0>> \
             ! audio/x-raw,channels=5,channel-mask=(bitmask)0x37 ! RECORDER",
            "x.mkv",
            |path| only_channel(path, (5, 2)),
        ),
    ),
    (
        "theora-frames",
        records(
            "videotestsrc num-buffers=15 ! video/x-raw,width=160,height=120,framerate=15/1 \
             ! capssetter join=true caps=video/x-raw,framerate=30/1 \
             ! RECORDER mime-type=video/ogg;codecs=theora",
            "x.ogv",
            |path| lasts(path, 1.0, 0.05),
        ),
    ),
    (
        "encoder-drain",
        records(
            "audiotestsrc num-buffers=50 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 \
             ! RECORDER",
            "x.mp4",
            |path| sounds_to_the_end(path, 48_000),
        ),
    ),
    (
        "flac-caps",
        records(
            "audiotestsrc num-buffers=1 samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=1 \
             ! RECORDER",
            "x.flac",
            |path| near("samples", samples(path, 1)?.len() as f64, 480.0, 0.0),
        ),
    ),
    (
        "decoder-start",
        Proof::None("only tests/caps_ladder.rs distinguishes its silence from other silence"),
    ),
    (
        "flac-frame-numbers",
        records_prepared(
            "audiotestsrc num-buffers=100 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 \
             ! flacenc ! flacparse ! identity name=late ! RECORDER",
            "x.flac",
            |pipeline, _| {
                on_buffers(pipeline, "late", |number, buffer| {
                    number == 0 || buffer.pts() > Some(gst::ClockTime::SECOND)
                });
            },
            |path| near("the first frame's time", first_time(path)?, 0.0, 0.01),
        ),
    ),
    (
        "keep-payload",
        Proof::None("tests/encoded.rs compares payloads; no short recording shows it"),
    ),
    (
        "av1-record",
        records(
            "videotestsrc num-buffers=5 ! video/x-raw,width=160,height=120,framerate=30/1 \
             ! RECORDER mime-type=video/x-matroska;codecs=av1",
            "x.mkv",
            |path| {
                if mkvinfo(path)?.contains("Codec's private data") {
                    Ok(())
                } else {
                    Err("there is no CodecPrivate".to_owned())
                }
            },
        ),
    ),
    (
        "muxer-caps",
        records(
            "audiotestsrc num-buffers=50 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 ! opusenc \
             ! capssetter replace=true \
               caps=audio/x-opus,channels=1,rate=48000,channel-mapping-family=0 ! RECORDER",
            "x.ogg",
            |path| lasts(path, 1.0, 0.05),
        ),
    ),
    (
        "key-marks",
        records(
            "videotestsrc num-buffers=15 ! video/x-raw,width=160,height=120,framerate=15/1 \
             ! capssetter join=true caps=video/x-raw,framerate=30/1 ! RECORDER",
            "x.webm",
            |path| near("key frames", demuxed_key_frames(path)?, 1.0, 0.0),
        ),
    ),
    (
        "full-range-colr",
        records(
            "videotestsrc num-buffers=5 \
             ! video/x-raw,format=I420,width=160,height=120,framerate=30/1,colorimetry=1:4:7:1 \
             ! RECORDER mime-type=video/mp4;codecs=avc1",
            "x.mp4",
            |path| {
                if demuxed_colorimetry(path)?.starts_with("1:") {
                    Ok(())
                } else {
                    Err("the range is limited".to_owned())
                }
            },
        ),
    ),
    (
        "vp8-in-ogg-header",
        records(
            "videotestsrc num-buffers=30 ! video/x-raw,width=160,height=120,framerate=30/1 ! vp8enc \
             ! capssetter replace=true caps=video/x-vp8,width=160,height=120,framerate=0/1 ! RECORDER",
            "x.ogv",
            |path| lasts(path, 1.0, 0.05),
        ),
    ),
    (
        "caps-once",
        // Many changes: from 1.26 on, it depends on the threads whether one is refused.
        records(
            concat!(
                "RECORDER concat name=c ! rec.video_0 ",
                segments!("width=160,height=120" "width=320,height=240" "width=160,height=120" "width=320,height=240", of 5)
            ),
            "x.mkv",
            |path| {
                let frames = ffprobe(path, "frame=pts")?.len();
                near("frames that can be decoded", frames as f64, 60.0, 0.0)
            },
        ),
    ),
    (
        "durations",
        records(
            "videotestsrc num-buffers=15 ! video/x-raw,width=160,height=120,framerate=15/1 \
             ! capssetter join=true caps=video/x-raw,framerate=30/1 \
             ! RECORDER mime-type=video/mp4;codecs=avc1",
            "x.mp4",
            |path| lasts(path, 1.0, 0.01),
        ),
    ),
    (
        "empty-tracks",
        records_prepared(
            "RECORDER videotestsrc num-buffers=30 ! video/x-raw,width=160,height=120,framerate=30/1 \
             ! rec.video_0 \
             audiotestsrc num-buffers=30 ! audio/x-raw,rate=48000,channels=1 ! flacenc ! flacparse \
             ! identity name=headers ! rec.audio_0",
            "x.ogv",
            |pipeline, _| {
                on_buffers(pipeline, "headers", |_, buffer| {
                    // With a timestamp, they count as the beginning of the track.
                    buffer.set_pts(gst::ClockTime::ZERO);
                    buffer.flags().contains(gst::BufferFlags::HEADER)
                });
            },
            |path| lasts(path, 1.0, 0.05),
        ),
    ),
    (
        "gaps",
        Proof::None("only visible while a track is silent, see tests/silent_tracks.rs"),
    ),
    (
        "ogg-pages",
        records_prepared(
            "audiotestsrc num-buffers=150 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 \
             ! opusenc ! identity name=hole ! RECORDER",
            "x.ogg",
            |pipeline, _| {
                on_buffers(pipeline, "hole", |_, buffer| {
                    let at = buffer.pts().map_or(0, gst::ClockTime::mseconds);
                    // A longer hole would be filled.
                    !(1_010..1_085).contains(&at)
                });
            },
            |path| {
                let times = demuxed_times(path, "oggdemux ! opusparse")?;
                let hole = times.windows(2).find(|pair| pair[1] - pair[0] > 0.07);
                near(
                    "the hole's start",
                    hole.map_or(0.0, |pair| pair[0]),
                    1.0,
                    0.05,
                )
            },
        ),
    ),
    (
        "ogg-ends",
        // The pages are ended by time, so that it does not matter what the encoders output.
        records(
            "videotestsrc pattern=ball num-buffers=60 ! video/x-raw,width=32,height=32,framerate=30/1 \
             ! RECORDER mime-type=video/ogg;codecs=\"theora,opus\" video-bits-per-second=50000 \
             audio-bits-per-second=16000 audiotestsrc num-buffers=200 samplesperbuffer=480 \
             ! audio/x-raw,rate=48000,channels=2 ! rec.",
            "x.ogv",
            |path| {
                let times = demuxed_times(path, "oggdemux ! video/x-theora")?;
                near("frames", times.len() as f64, 60.0, 0.0)
            },
        ),
    ),
    (
        "ogg-flags",
        records_prepared(
            "audiotestsrc num-buffers=150 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 \
             ! RECORDER rec.src ! fakesink name=out sync=false async=false",
            "x.ogg",
            |pipeline, location| {
                let flags = location.with_extension("flags");
                let pad = pipeline
                    .by_name("out")
                    .and_then(|out| out.static_pad("sink"));
                pad.unwrap()
                    .add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                        if let Some(buffer) = info.buffer()
                            && buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
                        {
                            std::fs::write(&flags, "delta").unwrap();
                        }
                        gst::PadProbeReturn::Ok
                    });
            },
            |path| {
                if path.with_extension("flags").exists() {
                    Err("pages are delta units".to_owned())
                } else {
                    Ok(())
                }
            },
        ),
    ),
    (
        "mp3-file",
        records(
            "audiotestsrc num-buffers=50 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 \
             ! RECORDER",
            "x.mp3",
            |path| near("samples", samples(path, 1)?.len() as f64, 48_000.0, 0.0),
        ),
    ),
    (
        "opus-stamps",
        records(
            "audiotestsrc num-buffers=50 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1 \
             ! RECORDER mime-type=audio/mp4;codecs=opus",
            "x.mp4",
            |path| {
                near(
                    "the duration in seconds",
                    number(path, "stream=duration")?,
                    1.0,
                    0.001,
                )
            },
        ),
    ),
    (
        "decode-times",
        records(
            "videotestsrc num-buffers=30 ! video/x-raw,width=160,height=120,framerate=30/1 \
             ! x264enc bframes=2 b-adapt=false ! RECORDER",
            "x.mp4",
            |path| {
                near("the first frame's time", first_time(path)?, 0.0, 0.001)?;
                lasts(path, 1.0, 0.01)
            },
        ),
    ),
    (
        "codec-configuration",
        records(
            "videotestsrc num-buffers=5 ! video/x-raw,width=320,height=240,framerate=30/1 \
             ! RECORDER mime-type=video/mp4;codecs=vp9",
            "x.mp4",
            |path| {
                let bytes = std::fs::read(path).map_err(|err| err.to_string())?;
                let at = bytes.windows(4).position(|name| name == b"vpcC");
                let at = at.ok_or("there is no vpcC")?;
                // After name, version, flags and profile. This pixel rate corresponds to level 2.
                near("the level in vpcC", bytes[at + 9].into(), 20.0, 0.0)
            },
        ),
    ),
    (
        "hdr-metadata",
        records(
            "videotestsrc num-buffers=5 ! video/x-raw,format=I420_10LE,width=160,height=120,framerate=30/1,colorimetry=bt2100-pq \
             ! capssetter join=true caps=video/x-raw,mastering-display-info=(string)35400:14600:8500:39850:6550:2300:15635:16450:10000000:50 \
             ! RECORDER mime-type=video/mp4;codecs=vp9",
            "x.mp4",
            |path| {
                let told = ffprobe(path, "stream_side_data=max_luminance")?;
                if told.iter().any(|line| line.contains("10000000/10000")) {
                    Ok(())
                } else {
                    Err(format!("the mastering display has {told:?}"))
                }
            },
        ),
    ),
];

/// Calls `keep` with the number and the contents of each buffer that leaves the element, which it may modify. Buffers
/// for which it returns false are dropped.
fn on_buffers(
    pipeline: &gst::Pipeline,
    element: &str,
    keep: impl Fn(usize, &mut gst::BufferRef) -> bool + Send + Sync + 'static,
) {
    let element = pipeline.by_name(element).unwrap();
    let pad = element.static_pad("src").unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    crate::session::probe::probe(&pad, gst::PadProbeType::BUFFER, move |_, info| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match info
            .buffer_mut()
            .map(|buffer| keep(number, buffer.make_mut()))
        {
            Some(false) => crate::session::probe::leave_out(info),
            _ => gst::PadProbeReturn::Ok,
        }
    });
}
