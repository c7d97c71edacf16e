//! From a track's raw media to its encoder: choosing a working encoder, configuring it, and converting its input.

use super::{
    Settings,
    alpha_encoder::AlphaEncoder,
    aside, corrections,
    encoder_monitor::Report,
    encoder_probe,
    fixups::{self, ChainSpec},
    key_units::{self, KeyAt},
    overlap,
    pipeline::{Listener, TrackMedia, factory_name, failed, make},
    probe::on_caps,
    timing::lock,
};
use crate::{
    formats::{self, Tuning},
    model::{Codec, Error, Kind},
};
use gst::prelude::*;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// Suffix of encoder names, after the name of the pad.
const ENCODER: &str = "-encoder";

/// Fields of the raw caps that a replacement encoder gets unchanged.
const KEPT: [&str; 7] = [
    "width",
    "height",
    "pixel-aspect-ratio",
    "colorimetry",
    "rate",
    "channels",
    "channel-mask",
];

/// What an encoder is made for and configured with.
pub struct MadeFor<'a> {
    pub track: &'a TrackMedia<'a>,
    pub spec: &'a ChainSpec,
    pub settings: &'a Settings,
    pub failed: &'a FailedEncoders,
    /// Which frames have to be keyframes, in addition to what the settings require.
    pub key_at: Option<KeyAt>,
}

/// Factories of encoders that have failed in this recording.
#[derive(Debug, Clone, Default)]
pub struct FailedEncoders(Arc<Mutex<Vec<glib::GString>>>);

impl FailedEncoders {
    /// Excludes this factory.
    pub fn add(&self, factory: glib::GString) {
        lock(&self.0).push(factory);
    }

    /// Allows this factory again.
    pub fn forgive(&self, factory: &str) {
        lock(&self.0).retain(|failed| failed != factory);
    }

    fn has(&self, factory: &str) -> bool {
        lock(&self.0).iter().any(|failed| failed == factory)
    }
}

/// The possible encoders, best first. To continue the output of another encoder, only those that keep frames in
/// order.
pub fn candidates(spec: &ChainSpec, failed: &FailedEncoders) -> Vec<gst::ElementFactory> {
    let channels =
        formats::audio_info(&spec.caps).and_then(|info| i32::try_from(info.channels()).ok());
    let (channels, _) = formats::encoded_channels(spec.codec, channels.unwrap_or(2));
    let mut factories = formats::encoders_for(spec.codec, channels);
    if let Some(video_input) = &spec.video_input
        && factories.iter().any(|factory| video_input.suits(factory))
    {
        factories.retain(|factory| video_input.suits(factory));
    }
    factories.retain(|factory| {
        let name = factory.name();
        !failed.has(&name) && (!spec.resumes || formats::keeps_order(spec.codec, &name))
    });
    factories
}

/// Forwards encoder failures to the listener.
pub fn report(listener: &Arc<impl Listener>) -> Report {
    let listener = Arc::downgrade(listener);
    Arc::new(move |encoder, error| {
        if let Some(listener) = listener.upgrade() {
            listener.encoder_failed(encoder, error);
        }
    })
}

/// The best encoder that works, configured. An encoder is tested if there is an alternative to it, unless it needs no
/// hardware.
fn encoder_that_works(
    made_for: &MadeFor<'_>,
    made: impl Fn(&gst::Element),
) -> Result<gst::Element, Error> {
    let MadeFor {
        track,
        spec,
        settings,
        failed: failed_before,
        ..
    } = *made_for;
    let codec = spec.codec;
    let tuning = tuning(track, spec, settings);
    let factories = candidates(spec, failed_before);
    let mut factories = factories.into_iter().peekable();
    let mut reason = Error::not_supported(format!("No encoder for {} is installed.", codec.name()));
    while let Some(factory) = factories.next() {
        let built = factory
            .create()
            .name(format!("{}{ENCODER}", track.name))
            .build();
        let encoder = match built {
            Ok(encoder) => encoder,
            Err(err) => {
                reason = failed(track.name, err);
                continue;
            }
        };
        formats::tune(&encoder, &tuning);
        made(&encoder);
        let is_last = factories.peek().is_none();
        let safe = is_last || formats::needs_no_hardware(&factory.name());
        let raw = formats::is_raw(&track.caps).then_some(track.caps.as_ref());
        if safe || encoder_probe::works(&encoder, front(spec, track)?, raw) {
            return Ok(encoder);
        }
    }
    Err(reason)
}

/// The best encoder that works, as from [`encoder_that_works`], with everything that recordings need added. `made` is
/// called with each encoder that is tried, in NULL.
pub fn set_up_encoder(
    made_for: &MadeFor<'_>,
    made: impl Fn(&gst::Element),
) -> Result<gst::Element, Error> {
    let mut works = encoder_that_works(made_for, &made)?;
    if made_for
        .spec
        .video_input
        .as_ref()
        .is_some_and(|p| p.splits_alpha)
    {
        works = with_alpha(works, made_for, &made)?;
    }
    if made_for.spec.codec.kind() == Kind::Video {
        let (interval, frames) = made_for.settings.key_interval();
        key_units::pace(&works, interval, frames, made_for.key_at.clone());
    }
    let spec = ChainSpec {
        encoder: factory_name(&works),
        ..made_for.spec.clone()
    };
    fixups::on_encoder(&works, &spec);
    overlap::trim(&works, &spec);
    Ok(works)
}

/// Combines this encoder, which works, with another of its kind into an encoder for video with alpha.
fn with_alpha(
    colour: gst::Element,
    made_for: &MadeFor<'_>,
    made: impl Fn(&gst::Element),
) -> Result<gst::Element, Error> {
    let MadeFor {
        track,
        spec,
        settings,
        ..
    } = *made_for;
    let name = track.name;
    let error = |err: glib::BoolError| failed(name, err);
    let factory = colour.factory().ok_or_else(|| failed(name, "no factory"))?;
    let alpha = factory.create().name(format!("{name}-alpha"));
    let alpha = alpha.build().map_err(error)?;
    formats::tune(&alpha, &tuning(track, spec, settings));
    made(&alpha);
    let whole = format!("{name}{ENCODER}");
    colour.set_property("name", format!("{name}-colour"));
    let pair = AlphaEncoder::new(&whole, &colour, &alpha).map_err(error)?;
    formats::set_bits_per_second(pair.upcast_ref(), track.bits_per_second);
    Ok(pair.upcast())
}

/// Syncs an encoder's state with the pipeline; until then its state is locked. Does not wait longer than `patience`
/// for an encoder that hangs.
pub fn start(encoder: &gst::Element, patience: Duration) -> Result<(), Error> {
    let starts = encoder.clone();
    let started = aside::within(patience, move || {
        starts.set_locked_state(false);
        starts.sync_state_with_parent()
    });
    match started {
        Some(started) => started.map_err(|err| failed(&encoder.name(), err)),
        None => Err(failed(&encoder.name(), "it does not start")),
    }
}

/// The encoder that this object is, or is part of.
pub fn encoder_around(object: &gst::Object) -> Option<gst::Element> {
    let mut around = Some(object.clone());
    while let Some(object) = around {
        if object.name().ends_with(ENCODER) {
            return object.downcast().ok();
        }
        around = object.parent();
    }
    None
}

/// The elements between a track's raw media and its encoder.
pub fn front(spec: &ChainSpec, track: &TrackMedia<'_>) -> Result<Vec<gst::Element>, Error> {
    let steps = match spec.codec.kind() {
        Kind::Audio => ["audioconvert", "audioresample"],
        Kind::Video => ["videoconvert", "videoscale"],
    };
    let name = track.name;
    let mut chain = Vec::new();
    for step in steps {
        chain.push(make(step, &format!("{name}-{step}"))?);
    }
    let filter = make("capsfilter", &format!("{name}-raw"))?;
    filter.set_property("caps", encoder_input(spec, track));
    if let Some(form) = &spec.form {
        // The encoder chooses the format itself.
        fix_form(&filter, form, |field| KEPT.contains(&field));
    }
    keep_first_caps(&filter);
    chain.push(filter);
    fixups::on_converters(&mut chain, spec, track)?;
    Ok(chain)
}

/// The same, but frames are deinterlaced and rotated upright if needed.
pub fn upright_front(spec: &ChainSpec, track: &TrackMedia<'_>) -> Result<Vec<gst::Element>, Error> {
    let chain = front(spec, track)?;
    let is_scaler = |element: &gst::Element| element.name().ends_with("-videoscale");
    let pairs = chain.iter().zip(chain.iter().skip(1));
    let site = pairs
        .filter(|(_, next)| is_scaler(next))
        .find_map(|(converter, scaler)| converter.static_pad("src").zip(scaler.static_pad("sink")));
    if let Some((converted, scaler)) = site {
        let keeps_fields = spec.video_input.as_ref().is_some_and(|p| p.keeps_fields);
        corrections::follow(track.name, (&converted, &scaler), keeps_fields);
    }
    Ok(chain)
}

/// The caps of the encoder's input, whatever the later input is.
fn encoder_input(spec: &ChainSpec, track: &TrackMedia<'_>) -> gst::Caps {
    let (codec, caps) = (spec.codec, &track.caps);
    let mut wanted = formats::raw_caps(codec);
    let structure = wanted.make_mut();
    if let Some(info) = formats::video_info(caps) {
        let keeps_par = spec
            .video_input
            .as_ref()
            .is_some_and(|p| p.keeps_pixel_aspect);
        let par = if keeps_par {
            gst::Fraction::new(1, 1)
        } else {
            info.par()
        };
        let wide = u64::from(info.width()) * u64::try_from(par.numer()).unwrap_or(1);
        let wide = wide / u64::try_from(par.denom()).unwrap_or(1).max(1);
        let even = formats::has_even_sizes(codec);
        let fit = |size: u64| {
            let size = size.clamp(16, 16_382);
            let size = if even { size & !1 } else { size };
            i32::try_from(size).unwrap_or(16)
        };
        let high = u64::from(info.height());
        let is_sideways = track.turn().is_sideways();
        let (wide, high) = if is_sideways {
            (high, wide)
        } else {
            (wide, high)
        };
        let pixel = match (keeps_par, is_sideways) {
            (true, false) => info.par(),
            (true, true) => gst::Fraction::new(info.par().denom(), info.par().numer()),
            (false, _) => gst::Fraction::new(1, 1),
        };
        if let Some(video_input) = &spec.video_input {
            let formats = video_input.formats.iter().map(|format| format.to_str());
            structure.set("format", gst::List::new(formats));
        }
        structure.set("width", fit(wide));
        structure.set("height", fit(high));
        structure.set("pixel-aspect-ratio", pixel);
    } else if let Some(info) = formats::audio_info(caps) {
        if codec == Codec::Pcm {
            structure.set("rate", i32::try_from(info.rate()).unwrap_or(48_000));
        }
        let channels = i32::try_from(info.channels()).unwrap_or(2);
        let (channels, which) = match formats::lacks_places(caps) {
            Some(_) if codec != Codec::Pcm => (2, None),
            _ => formats::encoded_channels(codec, channels),
        };
        structure.set("channels", channels);
        if let Some(which) = which {
            structure.set("channel-mask", which);
        }
    }
    wanted
}

/// Converts later input to the first caps, as containers do not handle caps changes well. Fields that no converter
/// changes (frame rate, interlacing, HDR metadata) keep their first values.
fn keep_first_caps(filter: &gst::Element) {
    const CONVERTED: [&str; 6] = [
        "format",
        "width",
        "height",
        "pixel-aspect-ratio",
        "colorimetry",
        "chroma-site",
    ];
    let Some(pad) = filter.static_pad("src") else {
        return;
    };
    let first = Mutex::new(None::<gst::Caps>);
    let filter = filter.downgrade();
    on_caps(&pad, move |caps| {
        let mut first = lock(&first);
        if let Some(first) = &*first {
            // A dropped event would be sent again with every buffer.
            return Some(first.clone());
        }
        *first = Some(caps.to_owned());
        drop(first);
        let mut kept = caps.to_owned();
        let video = kept.structure(0).is_some_and(|s| s.name() == "video/x-raw");
        if video && let Some(structure) = kept.make_mut().structure_mut(0) {
            let fields = structure.fields().map(|field| field.to_string());
            let others: Vec<_> = fields
                .filter(|f| !CONVERTED.contains(&f.as_str()))
                .collect();
            structure.remove_fields(others);
        }
        if let Some(filter) = filter.upgrade() {
            filter.set_property("caps", kept);
        }
        None
    });
}

/// Fixes those fields of the encoder's input that `fixed` selects to the values of the track's first encoder.
pub fn fix_form(filter: &gst::Element, form: &gst::CapsRef, fixed: impl Fn(&str) -> bool) {
    let mut wanted = filter.property::<gst::Caps>("caps");
    if let (Some(form), Some(wanted)) = (form.structure(0), wanted.make_mut().structure_mut(0)) {
        for (field, value) in form.iter().filter(|(field, _)| fixed(field)) {
            wanted.set_value(field, value.clone());
        }
    }
    filter.set_property("caps", wanted);
}

fn tuning(track: &TrackMedia<'_>, spec: &ChainSpec, settings: &Settings) -> Tuning {
    // Encoded media that is yet to be decoded has the same fields in its caps.
    let structure = track.caps.structure(0);
    let number = |field: &str| {
        let number = structure.and_then(|s| s.get::<i32>(field).ok());
        number.and_then(|number| u32::try_from(number).ok())
    };
    let fps = structure.and_then(|s| s.get::<gst::Fraction>("framerate").ok());
    Tuning {
        bits_per_second: track.bits_per_second,
        width: number("width").unwrap_or(0),
        height: number("height").unwrap_or(0),
        fps: fps.map_or(0.0, |fps| {
            f64::from(fps.numer()) / f64::from(fps.denom().max(1))
        }),
        rate: number("rate").unwrap_or(0),
        channels: number("channels").unwrap_or(0),
        key_interval_ms: settings.key_interval_ms,
        key_interval_frames: settings.key_interval_frames,
        interlaced: spec.video_input.as_ref().is_some_and(|p| p.keeps_fields),
        constant: settings.constant_bitrate && spec.codec.kind() == Kind::Audio,
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
    }
}
