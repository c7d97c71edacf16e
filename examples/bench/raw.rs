//! Raw video and audio, encoded and recorded.

use crate::{
    Way,
    pipeline::{MUXER, element, launch, run, tune_audio, tune_video},
    place::Place,
    togglerecord,
};
use anyhow::Result;
use std::path::Path;

/// As much as the recorder queues.
pub const QUEUE: &str = "queue max-size-time=2000000000 max-size-bytes=0 max-size-buffers=0 !";

/// Of the video.
#[derive(Clone, Copy)]
pub enum Codec {
    Vp8,
    H264,
}

impl Codec {
    fn mime_type(self) -> &'static str {
        match self {
            Codec::Vp8 => "video/webm;codecs=vp8,opus",
            Codec::H264 => "video/x-matroska;codecs=avc1,opus",
        }
    }

    fn muxer(self) -> &'static str {
        match self {
            Codec::Vp8 => "webmmux",
            Codec::H264 => "matroskamux",
        }
    }

    fn encode(self) -> &'static str {
        match self {
            Codec::Vp8 => "vp8enc name=v",
            Codec::H264 => {
                "x264enc name=v ! h264parse ! video/x-h264,stream-format=avc,alignment=au"
            }
        }
    }
}

/// The sources, up to and including the last `!`.
fn sources((width, height): (u32, u32), frames: u32) -> (String, String) {
    let video = format!(
        "videotestsrc pattern=smpte horizontal-speed=3 num-buffers={frames} ! \
         video/x-raw,format=I420,width={width},height={height},framerate=30/1 !"
    );
    let buffers = frames * 10 / 3;
    let audio = format!(
        "audiotestsrc wave=pink-noise samplesperbuffer=480 num-buffers={buffers} ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2 !"
    );
    (video, audio)
}

/// Encodes this many frames, 30 per second. The hand-made pipeline has `between` before each encoder.
pub fn record(
    way: Way,
    place: &Place,
    codec: Codec,
    size: (u32, u32),
    frames: u32,
    between: &str,
) -> Result<()> {
    let (video, audio) = sources(size, frames);
    match way {
        Way::Recorder => recorded(codec, &place.recording(), "", (&video, &audio)),
        Way::ByHand => by_hand(
            place,
            codec,
            size,
            &format!("{video} {between}"),
            &format!("{audio} {between}"),
        ),
    }
}

/// In parts of a second, compared with one file.
pub fn in_parts(
    way: Way,
    place: &Place,
    codec: Codec,
    size: (u32, u32),
    frames: u32,
) -> Result<()> {
    let (video, audio) = sources(size, frames);
    let (file, parts) = match way {
        Way::Recorder => ("recording-%d", "max-size-time=1000000000"),
        Way::ByHand => ("recording", ""),
    };
    let file = place.recording().with_file_name(file);
    recorded(codec, &file, parts, (&video, &audio))
}

/// With the recorder, with these properties.
fn recorded(
    codec: Codec,
    file: &Path,
    properties: &str,
    (video, audio): (&str, &str),
) -> Result<()> {
    run(&launch(&format!(
        "mediarecorder name=r autostart=true mime-type={} location={} {properties} {video} r.video_0 {audio} r.audio_0",
        codec.mime_type(),
        file.display()
    ))?)
}

/// The same with togglerecord before the encoders, for both tracks. Its streams wait for each other as the muxer
/// waits for both, so it needs queues.
pub fn beside_togglerecord(
    way: Way,
    place: &Place,
    codec: Codec,
    size: (u32, u32),
    frames: u32,
) -> Result<()> {
    if way == Way::Recorder {
        return record(way, place, codec, size, frames, "");
    }
    togglerecord::load()?;
    let (video, audio) = sources(size, frames);
    by_hand(
        place,
        codec,
        size,
        &format!("togglerecord name=t record=true {video} t.sink t.src ! {QUEUE}"),
        &format!("{audio} t.sink_0 t.src_0 ! {QUEUE}"),
    )
}

fn by_hand(
    place: &Place,
    codec: Codec,
    (width, height): (u32, u32),
    video: &str,
    audio: &str,
) -> Result<()> {
    let pipeline = launch(&format!(
        "{} name=m {MUXER} ! filesink location={} \
         {video} videoconvert ! videoscale ! {} ! m. {audio} audioconvert ! audioresample ! opusenc name=a ! m.",
        codec.muxer(),
        place.recording().display(),
        codec.encode()
    ))?;
    tune_video(&element(&pipeline, "v")?, width, height);
    tune_audio(&element(&pipeline, "a")?);
    run(&pipeline)
}
