//! Serialises buffers to bytes, so that only the packet is kept, not the rest of its memory.

use crate::{gate::Input, model::timeline::Ns};
use glib::translate::IntoGlibPtr;
use gst_audio::AudioInfo;
use gst_video::video_meta::VideoCodecAlphaMeta;

/// Size of a record's header.
const HEADER: usize = 37;
/// An unknown time.
const NONE: u64 = u64::MAX;

/// Flags for the timestamps that are set.
const PTS: u8 = 1;
const DTS: u8 = 2;
/// Flag for planar raw audio.
const PLANES: u8 = 4;
/// Flag for a packet with an alpha packet behind it.
const ALPHA: u8 = 8;

/// Appends `input` to `bytes`; no effect if its memory cannot be mapped.
pub fn write(input: &Input, bytes: &mut Vec<u8>) -> Option<()> {
    let buffer = &input.buffer;
    let map = buffer.map_readable().ok()?;
    let length = u32::try_from(map.len()).ok()?;
    let (pts, dts) = (buffer.pts(), buffer.dts());
    let mut has = 0;
    if pts.is_some() {
        has |= PTS;
    }
    if dts.is_some() {
        has |= DTS;
    }
    let meta = buffer.meta::<gst_audio::AudioMeta>();
    let planes = meta.filter(|meta| meta.info().layout() == gst_audio::AudioLayout::NonInterleaved);
    if planes.is_some() {
        has |= PLANES;
    }
    let alpha = buffer.meta::<VideoCodecAlphaMeta>();
    let alpha = alpha.map(|meta| meta.alpha_buffer_owned());
    let alpha = alpha.as_ref().and_then(|alpha| alpha.map_readable().ok());
    if alpha.is_some() {
        has |= ALPHA;
    }
    let lead = match (pts, dts) {
        (Some(pts), Some(dts)) => {
            i128::from(pts.nseconds()).saturating_sub(i128::from(dts.nseconds()))
        }
        _ => 0,
    };
    let lead = i64::try_from(lead).unwrap_or(0);
    bytes.reserve(HEADER.saturating_add(map.len()));
    let start = bytes.len();
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.push(has);
    bytes.extend_from_slice(&buffer.flags().bits().to_le_bytes());
    bytes.extend_from_slice(&input.running.to_le_bytes());
    bytes.extend_from_slice(&input.duration.unwrap_or(NONE).to_le_bytes());
    bytes.extend_from_slice(&lead.to_le_bytes());
    // Samples per plane, or the length of the packet without alpha.
    bytes.extend_from_slice(&[0; 4]);
    debug_assert_eq!(bytes.len() - start, HEADER);
    let count = match planes {
        None => {
            bytes.extend_from_slice(&map);
            bytes.extend_from_slice(alpha.as_deref().unwrap_or_default());
            length
        }
        Some(meta) => {
            let media = write_planes(&meta, &map, bytes);
            if media.is_none() {
                bytes.truncate(start);
                return None;
            }
            u32::try_from(meta.samples()).ok()?
        }
    };
    let whole = u32::try_from(bytes.len() - start - HEADER).ok()?;
    bytes
        .get_mut(start..start + 4)?
        .copy_from_slice(&whole.to_le_bytes());
    bytes
        .get_mut(start + HEADER - 4..start + HEADER)?
        .copy_from_slice(&count.to_le_bytes());
    Some(())
}

/// Writes the planes one after the other, without gaps.
fn write_planes(meta: &gst_audio::AudioMeta, media: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
    let width = usize::try_from(meta.info().bpf() / meta.info().channels().max(1)).ok()?;
    let length = meta.samples().checked_mul(width)?;
    for offset in meta.offsets() {
        bytes.extend_from_slice(media.get(*offset..offset.checked_add(length)?)?);
    }
    Some(())
}

/// Parses the record at the start of `bytes` into a new buffer; also returns its length. `info` describes raw audio.
pub fn read(bytes: &[u8], info: Option<&AudioInfo>) -> Option<(Input, usize)> {
    let mut rest = bytes;
    let length = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
    let [has] = take(&mut rest)?;
    let flags = u32::from_le_bytes(take(&mut rest)?);
    let running = u64::from_le_bytes(take(&mut rest)?);
    let duration = u64::from_le_bytes(take(&mut rest)?);
    let lead = i64::from_le_bytes(take(&mut rest)?);
    let count = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
    let media = rest.get(..length)?;
    let (media, alpha) = match has & ALPHA {
        0 => (media, None),
        _ => media
            .split_at_checked(count)
            .map(|(media, alpha)| (media, Some(alpha)))?,
    };
    let mut buffer = gst::Buffer::from_mut_slice(media.to_vec());
    let fields = buffer.get_mut()?;
    fields.set_flags(gst::BufferFlags::from_bits_truncate(flags));
    // Only the difference of the timestamps matters; running time may be less than that.
    let base = running.saturating_add(lead.unsigned_abs());
    let time = |at: Ns| gst::ClockTime::from_nseconds(at);
    fields.set_pts((has & PTS != 0).then(|| time(base)));
    fields
        .set_dts((has & DTS != 0).then(|| time(base.saturating_add_signed(lead.saturating_neg()))));
    fields.set_duration((duration != NONE).then(|| time(duration)));
    if has & PLANES != 0 {
        gst_audio::AudioMeta::add(fields, info?, count, &[]).ok()?;
    }
    if let Some(alpha) = alpha {
        add_alpha(fields, gst::Buffer::from_mut_slice(alpha.to_vec()));
    }
    let input = Input {
        buffer,
        running,
        duration: (duration != NONE).then_some(duration),
    };
    Some((input, HEADER + length))
}

/// Attaches an alpha packet. `VideoCodecAlphaMeta::add` drops its reference, which the meta owns from then on.
fn add_alpha(packet: &mut gst::BufferRef, alpha: gst::Buffer) {
    // SAFETY: `packet` is writable as it is borrowed mutably, and the meta takes over the only reference to `alpha`.
    unsafe {
        gst_video::ffi::gst_buffer_add_video_codec_alpha_meta(
            packet.as_mut_ptr(),
            alpha.into_glib_ptr(),
        );
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn written_metadata_parses_back(
            media in prop::collection::vec(any::<u8>(), 0..300),
            running in 0u64..u64::MAX / 8,
            duration in prop::option::of(0u64..u64::MAX / 8),
            pts in prop::option::of(0u64..u64::MAX / 8),
            lead in prop::option::of(-1_000_000_000i64..1_000_000_000),
            alpha in prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
            delta in any::<bool>(),
        ) {
            gst::init().unwrap();
            let mut buffer = gst::Buffer::from_mut_slice(media.clone());
            let fields = buffer.get_mut().unwrap();
            fields.set_pts(pts.map(gst::ClockTime::from_nseconds));
            let dts = pts.zip(lead).map(|(pts, lead)| pts.saturating_add_signed(-lead));
            fields.set_dts(dts.map(gst::ClockTime::from_nseconds));
            if delta {
                fields.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
            if let Some(alpha) = &alpha {
                add_alpha(fields, gst::Buffer::from_mut_slice(alpha.clone()));
            }
            let input = Input { buffer, running, duration };
            let mut bytes = vec![7; 11];
            write(&input, &mut bytes).unwrap();
            let (again, length) = read(&bytes[11..], None).unwrap();
            prop_assert_eq!(length, bytes.len() - 11);
            prop_assert_eq!(again.running, running);
            prop_assert_eq!(again.duration, duration);
            prop_assert_eq!(&*again.buffer.map_readable().unwrap(), &media[..]);
            let meta = again.buffer.meta::<VideoCodecAlphaMeta>();
            let kept = meta.map(|meta| meta.alpha_buffer().map_readable().unwrap().to_vec());
            prop_assert_eq!(kept, alpha);
            prop_assert_eq!(again.buffer.flags(), input.buffer.flags());
            prop_assert_eq!(again.buffer.pts().is_some(), pts.is_some());
            prop_assert_eq!(again.buffer.dts().is_some(), dts.is_some());
            let apart = |buffer: &gst::BufferRef| Some(
                i128::from(buffer.pts()?.nseconds()) - i128::from(buffer.dts()?.nseconds())
            );
            prop_assert_eq!(apart(&again.buffer), apart(&input.buffer));
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            gst::init().unwrap();
            if let Some((input, length)) = read(&bytes, None) {
                prop_assert!(length <= bytes.len());
                prop_assert!(input.buffer.size() < bytes.len());
            }
        }
    }
}
