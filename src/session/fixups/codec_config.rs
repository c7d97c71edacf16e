//! What decoders have to know of a track and mp4mux does not write, or not truly: patched into its header.

use super::MuxerSite;
use crate::formats::CodecConfig;
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
