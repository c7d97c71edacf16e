//! Encoded media to be copied: some seconds, encoded once by the parent into a file, read into memory by child
//! processes, and repeated with new timestamps.

use crate::{
    pipeline::{NO_CLOCK, element, launch, run},
    place::Place,
};
use anyhow::{Context, Result, ensure};
use gst::prelude::*;
use std::sync::{Arc, mpsc};

const SECOND: u64 = 1_000_000_000;

/// Which sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// 640x360 at 30 frames per second and 1.5 Mbit/s with a keyframe each second; Opus in packets of 2.5 ms.
    Usual,
    /// 320x180 at 30 frames per second and 300 kbit/s; Opus in packets of 20 ms.
    Light,
    /// 1280x720 at 30 frames per second, keyframes only, half a megabyte each; Opus in packets of 20 ms.
    Large,
}

/// A track in memory.
pub struct Track {
    caps: gst::Caps,
    packets: Vec<Packet>,
    /// Duration of all its packets, in nanoseconds.
    length: u64,
}

struct Packet {
    bytes: &'static [u8],
    flags: gst::BufferFlags,
    at: u64,
    duration: u64,
}

/// What to do when everything has been pushed and taken.
pub enum Then {
    End,
    /// Instead of EOS, a notification.
    Tell(mpsc::Sender<()>),
}

impl Sample {
    fn name(self) -> &'static str {
        match self {
            Sample::Usual => "usual",
            Sample::Light => "light",
            Sample::Large => "large",
        }
    }

    /// Encodes it, if that has not been done.
    pub fn make(self, place: &Place) -> Result<()> {
        let path = place.sample(self.name());
        if path.exists() {
            return Ok(());
        }
        let (pictures, size, encoder, packet) = match self {
            Sample::Usual => (300, "640,height=360", "bitrate=1500 key-int-max=30", "2.5"),
            Sample::Light => (300, "320,height=180", "bitrate=300 key-int-max=30", "20"),
            Sample::Large => (
                30,
                "1280,height=720",
                "pass=quant quantizer=24 key-int-max=1",
                "20",
            ),
        };
        let pattern = match self {
            Sample::Large => "pattern=snow",
            _ => "pattern=smpte horizontal-speed=3",
        };
        let sound = pictures * 10 / 3;
        run(&launch(&format!(
            "matroskamux name=m ! filesink location={} \
             videotestsrc {pattern} num-buffers={pictures} ! video/x-raw,format=I420,width={size},framerate=30/1 ! \
             x264enc tune=zerolatency bframes=0 speed-preset=superfast option-string=scenecut=0 {encoder} ! \
             h264parse ! video/x-h264,stream-format=avc,alignment=au ! queue max-size-bytes=0 ! m. \
             audiotestsrc wave=pink-noise samplesperbuffer=480 num-buffers={sound} ! \
             audio/x-raw,format=S16LE,rate=48000,channels=2 ! opusenc frame-size={packet} bitrate=128000 ! \
             queue max-size-bytes=0 max-size-buffers=0 ! m.",
            path.display()
        ))?)
        .with_context(|| format!("encoding the sample {}", self.name()))
    }

    /// Its video and its audio.
    pub fn read(self, place: &Place) -> Result<(Arc<Track>, Arc<Track>)> {
        let pipeline = launch(&format!(
            "filesrc location={} ! matroskademux name=d \
             d.video_0 ! appsink name=v {NO_CLOCK} d.audio_0 ! appsink name=a {NO_CLOCK}",
            place.sample(self.name()).display()
        ))?;
        pipeline.set_state(gst::State::Playing)?;
        let opus = match self {
            Sample::Usual => SECOND / 400,
            _ => SECOND / 50,
        };
        let video = take(&pipeline, "v", |number| number * SECOND / 30)?;
        let audio = take(&pipeline, "a", |number| number * opus)?;
        pipeline.set_state(gst::State::Null)?;
        Ok((Arc::new(video), Arc::new(audio)))
    }
}

/// Everything from a sink, with timestamps computed from its index: the container's are whole milliseconds.
fn take(pipeline: &gst::Pipeline, sink: &str, at: impl Fn(u64) -> u64) -> Result<Track> {
    let sink: gst_app::AppSink = element(pipeline, sink)?
        .downcast()
        .ok()
        .context("no appsink")?;
    let mut packets = Vec::new();
    let mut caps = None;
    while let Ok(sample) = sink.pull_sample() {
        caps = caps.or_else(|| sample.caps_owned());
        let buffer = sample.buffer().context("no buffer")?;
        let number = packets.len() as u64;
        packets.push(Packet {
            // For the lifetime of the process.
            bytes: buffer.map_readable()?.to_vec().leak(),
            flags: buffer.flags() & gst::BufferFlags::DELTA_UNIT,
            at: at(number),
            duration: at(number + 1) - at(number),
        });
    }
    ensure!(!packets.is_empty(), "the sample is empty");
    Ok(Track {
        caps: caps.context("no caps")?,
        length: at(packets.len() as u64),
        packets,
    })
}

impl Track {
    /// Bytes per second.
    pub fn bytes_per_second(&self) -> f64 {
        let bytes: usize = self.packets.iter().map(|packet| packet.bytes.len()).sum();
        bytes as f64 / (self.length as f64 / SECOND as f64)
    }

    pub fn caps(&self) -> &gst::Caps {
        &self.caps
    }

    /// Its first `seconds`, repeated as often as that takes.
    pub fn buffers(
        self: &Arc<Self>,
        seconds: u64,
    ) -> impl Iterator<Item = gst::Buffer> + Send + use<> {
        let track = self.clone();
        let (mut round, mut next) = (0, 0);
        std::iter::from_fn(move || {
            if next == track.packets.len() {
                (round, next) = (round + 1, 0);
            }
            let packet = track.packets.get(next)?;
            next += 1;
            let is_inside = round * track.length + packet.at < seconds * SECOND;
            is_inside.then(|| track.buffer(packet, round))
        })
    }

    /// Each packet as a buffer with its own memory, with the timestamps of the sample's repetition `round`.
    fn buffer(&self, packet: &Packet, round: u64) -> gst::Buffer {
        let mut buffer = gst::Buffer::from_slice(packet.bytes);
        let at = gst::ClockTime::from_nseconds(round * self.length + packet.at);
        let stamped = buffer.make_mut();
        stamped.set_pts(at);
        stamped.set_dts(at);
        stamped.set_duration(gst::ClockTime::from_nseconds(packet.duration));
        stamped.set_flags(packet.flags);
        buffer
    }
}

/// Makes an appsrc push `seconds` of a track, each packet when the last one has been taken, from its own thread.
pub fn feed(
    pipeline: &gst::Pipeline,
    name: &str,
    track: &Arc<Track>,
    seconds: u64,
    then: Then,
) -> Result<()> {
    let appsrc: gst_app::AppSrc = element(pipeline, name)?
        .downcast()
        .ok()
        .context("no appsrc")?;
    appsrc.set_format(gst::Format::Time);
    appsrc.set_caps(Some(&track.caps));
    let mut buffers = track.buffers(seconds);
    appsrc.set_callbacks(
        gst_app::AppSrcCallbacks::builder()
            .need_data(move |appsrc, _| {
                if let Some(buffer) = buffers.next() {
                    // Only refused during shutdown.
                    let _ = appsrc.push_buffer(buffer);
                    return;
                }
                match &then {
                    Then::End => {
                        let _ = appsrc.end_of_stream();
                    }
                    Then::Tell(whom) => {
                        let _ = whom.send(());
                    }
                }
            })
            .build(),
    );
    Ok(())
}
