//! Source bins for the recorder's pads: devices that really work, or test sources.

use anyhow::{Context, Result, anyhow, bail};
use gst::prelude::*;

use crate::args::Args;
use crate::devices::{self, Kind};
use crate::live_line::Screen;

/// How long a device may take to deliver its first buffer.
const OPEN_TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// `level` posts messages on the bus; audioconvert converts to a format that it supports.
pub const AUDIO_TAIL: &str = "audioconvert ! level interval=50000000";
/// The recorder accepts raw video of any format and size.
pub const VIDEO_TAIL: &str = "capsfilter caps=video/x-raw";
/// For cameras that only offer JPEG or the like.
const VIDEO_DECODING_TAIL: &str = "decodebin ! videoconvert";

/// A bin with one pad, `src`, that delivers a track.
pub struct Source {
    pub kind: Kind,
    pub label: String,
    pub bin: gst::Bin,
}

/// Opens the devices of the command line.
///
/// A named device has to work. Of the others, the first one that works is used; a kind without any is omitted, and
/// if nothing remains, test sources are recorded.
pub fn choose(args: &Args, screen: &mut Screen) -> Result<Vec<Source>> {
    let wanted = [
        (Kind::Audio, args.wants_audio(), &args.audio),
        (Kind::Video, args.wants_video(), &args.video),
    ];
    let wanted = wanted.iter().filter(|(_, wanted, _)| *wanted);

    let mut sources = Vec::new();
    if !args.test {
        for &(kind, _, ref name) in wanted.clone() {
            sources.extend(match name {
                Some(name) => Some(open_named(kind, name, screen)?),
                None => open_first(kind, devices::find(kind), screen).ok(),
            });
        }
        let missing = |kind| sources.iter().all(|source: &Source| source.kind != kind);
        for &(kind, ..) in wanted.clone().filter(|(kind, ..)| missing(*kind)) {
            let instead = if sources.is_empty() {
                "recording a test source instead"
            } else {
                "recording without one"
            };
            screen.note(&format!("no {} to record: {instead}", kind.noun()));
        }
    }
    if sources.is_empty() {
        for &(kind, ..) in wanted {
            sources.push(test_source(kind)?);
        }
    }
    for source in &sources {
        screen.note(&format!("source: {}", source.label));
    }
    Ok(sources)
}

fn open_named(kind: Kind, name: &str, screen: &mut Screen) -> Result<Source> {
    let matching = devices::matching(kind, devices::find(kind), name)?;
    open_first(kind, matching, screen)
        .with_context(|| format!("the {} {name:?} does not open", kind.noun()))
}

/// The first device that delivers data; all others are reported.
fn open_first(kind: Kind, devices: Vec<gst::Device>, screen: &mut Screen) -> Result<Source> {
    let mut last = anyhow!("there is none");
    for device in devices {
        let name = devices::name(&device);
        let opened = device_source(kind, &device).and_then(|source| {
            try_out(&source)?;
            Ok(source)
        });
        match opened {
            Ok(source) => return Ok(source),
            Err(error) => {
                screen.note(&format!(
                    "{} {name:?} does not open: {error:#}",
                    kind.noun()
                ));
                last = error;
            }
        }
    }
    Err(last)
}

/// `device ! tail`, with the tail's end as the bin's `src`.
fn device_source(kind: Kind, device: &gst::Device) -> Result<Source> {
    let element = device
        .create_element(None)
        .context("its element cannot be made")?;
    let tail = match kind {
        Kind::Audio => AUDIO_TAIL,
        Kind::Video if offers_raw_video(device) => VIDEO_TAIL,
        Kind::Video => VIDEO_DECODING_TAIL,
    };
    let tail = gst::parse::bin_from_description(tail, true)?;
    let bin = gst::Bin::new();
    bin.add_many([&element, tail.upcast_ref()])?;
    element
        .link(&tail)
        .context("it offers no format that can be read")?;
    let end = tail.static_pad("src").context("the tail has no end")?;
    bin.add_pad(
        &gst::GhostPad::builder_with_target(&end)?
            .name("src")
            .build(),
    )?;
    Ok(Source {
        kind,
        label: format!("{} {:?}", kind.noun(), devices::name(device)),
        bin,
    })
}

/// Also true if the device does not say: then raw video is worth a try.
fn offers_raw_video(device: &gst::Device) -> bool {
    let raw = gst::Caps::new_empty_simple("video/x-raw");
    device.caps().is_none_or(|caps| caps.can_intersect(&raw))
}

/// A moving ball and a tick per second, both live: with a pause, neither shows a cut by itself.
fn test_source(kind: Kind) -> Result<Source> {
    let description = match kind {
        Kind::Audio => format!(
            "audiotestsrc is-live=true wave=ticks volume=0.5 samplesperbuffer=480 \
             ! audio/x-raw,rate=48000,channels=2 ! {AUDIO_TAIL}"
        ),
        Kind::Video => {
            // A clock in the video shows what a pause has cut, if that plugin is installed.
            let clock = match gst::ElementFactory::find("timeoverlay") {
                Some(_) => " ! timeoverlay",
                None => "",
            };
            format!(
                "videotestsrc is-live=true pattern=ball \
                 ! capsfilter caps=video/x-raw,width=640,height=480,framerate=30/1{clock}"
            )
        }
    };
    let bin = gst::parse::bin_from_description(&description, true)
        .context("the test sources cannot be made")?;
    let label = match kind {
        Kind::Audio => "test sound",
        Kind::Video => "test picture",
    };
    Ok(Source {
        kind,
        label: label.into(),
        bin,
    })
}

/// Runs the source alone until its first buffer, so that a failing device has no other effect.
fn try_out(source: &Source) -> Result<()> {
    let pipeline = gst::Pipeline::new();
    let sink = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .build()?;
    pipeline.add_many([source.bin.upcast_ref(), &sink])?;
    source.bin.link(&sink)?;
    let bus = pipeline.bus().context("a pipeline without a bus")?;

    // The return value is ignored: the bus has the error, and its reason.
    let _ = pipeline.set_state(gst::State::Playing);
    let first = bus.timed_pop_filtered(
        OPEN_TIMEOUT,
        &[
            gst::MessageType::Error,
            gst::MessageType::AsyncDone,
            gst::MessageType::Eos,
        ],
    );
    pipeline.set_state(gst::State::Null)?;
    pipeline.remove(&source.bin)?;
    match first.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::AsyncDone(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => bail!("{}", error.error().message()),
        Some(_) => bail!("it ends at once"),
        None => bail!("it delivers no data for {OPEN_TIMEOUT:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_sources_work() {
        gst::init().expect("GStreamer");
        for kind in [Kind::Audio, Kind::Video] {
            let source = test_source(kind).expect("a test source");
            try_out(&source).expect("a first buffer");
            // The bin is free again for the real pipeline.
            assert!(source.bin.parent().is_none());
            assert_eq!(source.bin.current_state(), gst::State::Null);
        }
    }

    #[test]
    fn a_failing_source_reports_why() {
        gst::init().expect("GStreamer");
        let bin = gst::parse::bin_from_description("filesrc location=/nonexistent/file", true)
            .expect("a bin");
        let source = Source {
            kind: Kind::Audio,
            label: "broken".into(),
            bin,
        };
        let error = try_out(&source).expect_err("no such file");
        assert!(!error.to_string().is_empty());
        assert!(source.bin.parent().is_none());
    }
}
