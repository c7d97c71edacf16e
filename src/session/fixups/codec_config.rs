//! What decoders and players have to know of a track and muxers do not write, or not truly: patched into their headers.

use super::MuxerSite;
use crate::formats::{CodecConfig, HdrMetadata};
use crate::session::{probe::on_caps, timing::lock};
use std::sync::Arc;

/// Tells the patch of the header what the first caps say.
pub fn tell(site: &MuxerSite<'_>) {
    let (patch, codec) = (Arc::downgrade(&site.end.patch), site.spec.codec);
    let number = site.index_in_kind;
    on_caps(site.mux_pad, move |caps| {
        let config = CodecConfig::of(codec, caps)?;
        lock(&*patch.upgrade()?).set_codec_config(number, config);
        None
    });
}

/// The same for what players of HDR are told. matroskamux makes room for it by what it writes itself: so caps keep it, unless
/// pictures are no HDR any more.
pub fn tell_hdr(site: &MuxerSite<'_>) {
    let patch = Arc::downgrade(&site.end.patch);
    let number = site.index_in_kind;
    on_caps(site.mux_pad, move |caps| {
        let hdr = HdrMetadata::of_caps(caps);
        lock(&*patch.upgrade()?).set_hdr(number, hdr);
        HdrMetadata::without_stray(caps)
    });
}
