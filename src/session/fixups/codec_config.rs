//! Codec configuration that muxers do not write, or write wrongly: patched into the header.

use super::MuxerSite;
use crate::formats::{CodecConfig, HdrMetadata};
use crate::session::{probe::on_caps, timing::lock};
use std::sync::Arc;

/// Passes the codec configuration in the caps to the header patch.
pub fn tell(site: &MuxerSite<'_>) {
    let (patch, codec) = (Arc::downgrade(&site.end.patch), site.spec.codec);
    let number = site.index_in_kind;
    on_caps(site.mux_pad, move |caps| {
        let config = CodecConfig::of(codec, caps)?;
        lock(&*patch.upgrade()?).set_codec_config(number, config);
        None
    });
}

/// Passes HDR metadata to the header patch. The metadata stays in the caps, so that matroskamux writes elements to
/// patch, unless the video is not HDR any more.
pub fn tell_hdr(site: &MuxerSite<'_>) {
    let patch = Arc::downgrade(&site.end.patch);
    let number = site.index_in_kind;
    on_caps(site.mux_pad, move |caps| {
        let hdr = HdrMetadata::of_caps(caps);
        lock(&*patch.upgrade()?).set_hdr(number, hdr);
        HdrMetadata::without_stray(caps)
    });
}
