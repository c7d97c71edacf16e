//! audioconvert does not assign positions to unpositioned channels, such as those of a multi-channel audio interface.

use crate::{
    formats,
    session::probe::{on_caps, probe},
};
use gst::prelude::*;
use gst_audio::{AudioInfo, AudioMeta};

/// Assigns the usual positions for the number of channels to the input of `convert`, whose initial caps are `caps`. If
/// there are more channels than positions, they are mixed in equal parts.
pub fn give(convert: &gst::Element, caps: &gst::Caps) {
    if let Some(pad) = convert.static_pad("sink") {
        on_caps(&pad, formats::with_places);
        probe(&pad, gst::PadProbeType::BUFFER, |_, info| {
            if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
                give_to_planes(buffer);
            }
            gst::PadProbeReturn::Ok
        });
    }
    if let Some(channels) = formats::lacks_places(caps) {
        let row = || gst::Array::new(vec![1.0 / channels as f32; channels]);
        convert.set_property("mix-matrix", gst::Array::new([row(), row()]));
    }
}

/// The same for the metadata of planar audio, which has to agree with the caps.
fn give_to_planes(buffer: &mut gst::Buffer) {
    let unpositioned = |meta: &gst::MetaRef<'_, AudioMeta>| {
        let flags = meta.info().flags();
        flags.contains(gst_audio::AudioFlags::UNPOSITIONED)
    };
    let Some(meta) = buffer.meta::<AudioMeta>().filter(unpositioned) else {
        return;
    };
    let caps = meta.info().to_caps().ok();
    let Some(caps) = caps.and_then(|caps| formats::with_places(&caps)) else {
        return;
    };
    let Ok(info) = AudioInfo::from_caps(&caps) else {
        return;
    };
    let (samples, offsets) = (meta.samples(), meta.offsets().to_vec());
    let fields = buffer.make_mut();
    if let Some(meta) = fields.meta_mut::<AudioMeta>() {
        let _ = meta.remove();
    }
    let _ = AudioMeta::add(fields, &info, samples, &offsets);
}
