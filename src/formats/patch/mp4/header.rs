//! Patches the MP4 header: an edit list for audio tracks with an encoder delay and for video tracks whose first frame
//! is presented later than decoded; the byte order of `dOps` in mp4mux 1.22; codec configuration of AV1 and VP9; HDR
//! metadata; and the orientation of video.

use super::{
    HeaderInfo,
    boxes::{boxed, boxes, changed, find},
};
use crate::{
    formats::{
        chapters::Reserve, codec_config::CodecConfig, delay::Delay, hdr::HdrMetadata, patch::number,
    },
    model::Orientation,
};

/// Patches the content of the muxer's `moov`; `info` is in the order of its audio and video tracks.
pub(super) fn moov(old: &[u8], info: &HeaderInfo<'_>) -> Option<Vec<u8>> {
    let mut new = Vec::new();
    let mut delays = info.delays.iter();
    let mut video_tracks = info.video_tracks.iter();
    for part in boxes(old) {
        let content = old.get(part.content..part.end)?;
        let kind = match part.name {
            b"trak" => find(content, &[b"mdia", b"hdlr"]).and_then(|hdlr| hdlr.get(8..12)),
            _ => None,
        };
        match kind {
            Some(b"soun") => {
                let delay = delays.next().copied().unwrap_or_default();
                new.extend_from_slice(&boxed(b"trak", &trak(content, delay)?)?);
            }
            Some(b"vide") => {
                let of_track = video_tracks.next();
                let turn = of_track.map_or_else(Orientation::default, |of_track| of_track.turn);
                let turned = patch_tkhd_matrix(content, turn);
                let content = turned.as_deref().unwrap_or(content);
                let decoder = of_track.and_then(|of_track| of_track.codec_config.as_ref());
                let configured = decoder.and_then(|decoder| patch_codec_config(content, decoder));
                let content = configured.as_deref().unwrap_or(content);
                let graded = of_track.and_then(|of_track| add_hdr(content, &of_track.hdr));
                let content = graded.as_deref().unwrap_or(content);
                let delay = of_track.map_or(0, |of_track| of_track.decode_delay);
                let edited = decode_edit(content, delay);
                new.extend_from_slice(&boxed(b"trak", edited.as_deref().unwrap_or(content))?);
            }
            _ => new.extend_from_slice(old.get(part.start..part.end)?),
        }
    }
    if let Some(date) = info.date {
        set_date(&mut new, date);
    }
    Some(new)
}

/// Sets a date (nanoseconds since 1970) in all boxes of a `moov` that have one (8.2.2, 8.3.2, 8.4.2).
fn set_date(boxes_of: &mut [u8], date: i64) {
    /// Seconds from 1904, the epoch of MP4, to 1970.
    const EPOCH: i64 = 2_082_844_800;
    let seconds = date.div_euclid(1_000_000_000).saturating_add(EPOCH);
    let Ok(seconds) = u64::try_from(seconds) else {
        return;
    };
    let parts: Vec<_> = boxes(boxes_of)
        .map(|part| (*part.name, part.content..part.end))
        .collect();
    for (name, place) in parts {
        let Some(content) = boxes_of.get_mut(place) else {
            continue;
        };
        match &name {
            b"trak" | b"mdia" => set_date(content, date),
            b"mvhd" | b"tkhd" | b"mdhd" => {
                // Creation and modification time.
                let wide = content.first() == Some(&1);
                let (seconds, length) = match (wide, u32::try_from(seconds)) {
                    (true, _) => (seconds.to_be_bytes().to_vec(), 8),
                    (false, Ok(seconds)) => (seconds.to_be_bytes().to_vec(), 4),
                    (false, Err(_)) => continue,
                };
                for date in [4, 4 + length] {
                    if let Some(place) = content.get_mut(date..date + length) {
                        place.copy_from_slice(&seconds);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The content of `moov` with space for chapters as the first child of `udta`, and the offset of that space.
pub(super) fn with_reserve(header: &[u8], reserve: Option<&Reserve>) -> Option<(Vec<u8>, usize)> {
    let Some(reserve) = reserve else {
        return Some((header.to_vec(), header.len()));
    };
    let (mut new, mut udta) = (Vec::new(), Vec::new());
    for part in boxes(header) {
        if part.name == b"udta" {
            udta.extend_from_slice(header.get(part.content..part.end)?);
        } else {
            new.extend_from_slice(header.get(part.start..part.end)?);
        }
    }
    let at = new.len() + 8;
    new.extend(boxed(b"udta", &[reserve.bytes(), &udta].concat())?);
    Some((new, at))
}

/// Sets the orientation in the matrix of a video track's `tkhd`, which mp4mux 1.22 does not write; `None` if there is
/// none to set, or if the matrix is already set.
fn patch_tkhd_matrix(trak: &[u8], turn: Orientation) -> Option<Vec<u8>> {
    const ONE: i32 = 1 << 16;
    const PLAIN: [i32; 9] = [ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30];
    let bytes = |matrix: [i32; 9]| matrix.map(i32::to_be_bytes).concat();
    let tkhd = boxes(trak).find(|part| part.name == b"tkhd")?;
    let from = match trak.get(tkhd.content)? {
        1 => tkhd.content + 52,
        _ => tkhd.content + 40,
    };
    let to = from + 36;
    if turn == Orientation::default() || to + 8 > tkhd.end || trak.get(from..to)? != bytes(PLAIN) {
        return None;
    }
    // 16.16 fixed point, like the matrix.
    let size = |at| i32::try_from(number(trak, at, 4)?).ok();
    let (width, height) = (size(to)?, size(to + 4)?);
    let [(a, b), (c, d)] = turn.steps();
    // Translates the rotated video so that its top left corner is at 0.
    let back = |over: i32, down: i32| {
        let over = if over < 0 { width } else { 0 };
        over.checked_add(if down < 0 { height } else { 0 })
    };
    let (x, y) = (back(a, c)?, back(b, d)?);
    let matrix = [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, x, y, 1 << 30];
    let mut turned = trak.to_vec();
    turned.get_mut(from..to)?.copy_from_slice(&bytes(matrix));
    Some(turned)
}

/// Corrects the configuration record of a video track; `None` if it is correct already.
fn patch_codec_config(trak: &[u8], config: &CodecConfig) -> Option<Vec<u8>> {
    let (entry, record): (&[u8; 4], &[u8; 4]) = match config {
        CodecConfig::Av1(_) => (b"av01", b"av1C"),
        CodecConfig::Vp9 { .. } => (b"vp09", b"vpcC"),
    };
    let path = [
        (b"mdia", 0),
        (b"minf", 0),
        (b"stbl", 0),
        (b"stsd", ENTRIES),
        (entry, VISUAL_ENTRY),
        (record, 0),
    ];
    changed(trak, &path, &|old| match config {
        CodecConfig::Av1(right) => {
            // mp4mux 1.22 writes that of a draft, all zeros; 1.24 and 1.26 always write the same level, and bits of
            // uninitialised memory. configOBUs, after the first four bytes, are optional.
            (old.get(..4) != right.get(..4)).then(|| right.clone())
        }
        CodecConfig::Vp9 { level } => {
            // mp4mux always writes level 1, up to 1.26 at least. The level follows version, flags and profile.
            const AT: usize = 5;
            let mut new = old.to_vec();
            let stands = new.get_mut(AT).filter(|stands| **stands == 10)?;
            *stands = *level;
            (new != old).then_some(new)
        }
    })
}

/// Adds HDR metadata to the sample entry of a video track; `None` if there is none.
fn add_hdr(trak: &[u8], hdr: &HdrMetadata) -> Option<Vec<u8>> {
    const ENTRY_NAMES: [&[u8; 4]; 6] = [b"hvc1", b"hev1", b"avc1", b"avc3", b"av01", b"vp09"];
    let mastering = hdr.mastering().map(|display| (b"mdcv", display.mdcv()));
    let light = hdr.light().map(|light| (b"clli", light.clli()));
    let added: Vec<_> = mastering.into_iter().chain(light).collect();
    if added.is_empty() {
        return None;
    }
    ENTRY_NAMES.iter().find_map(|entry| {
        let path = [
            (b"mdia", 0),
            (b"minf", 0),
            (b"stbl", 0),
            (b"stsd", ENTRIES),
            (*entry, VISUAL_ENTRY),
        ];
        changed(trak, &path, &|old| {
            let is_there = |name: &[u8; 4]| boxes(old).any(|part| part.name == name);
            let missing = added.iter().filter(|(name, _)| !is_there(name));
            let missing = missing.map(|(name, content)| boxed(name, content));
            Some([old, &missing.collect::<Option<Vec<_>>>()?.concat()].concat())
        })
    })
}

/// Path from `trak` to the sample description.
const STSD: &[&[u8; 4]] = &[b"mdia", b"minf", b"stbl", b"stsd"];
/// Bytes of `stsd` before its first entry, and of an audio entry (including its box header) before its child boxes.
const ENTRIES: usize = 8;
const ENTRY: usize = 8 + 28;
pub(super) const VISUAL_ENTRY: usize = 78;

fn trak(old: &[u8], delay: Delay) -> Option<Vec<u8>> {
    let mut track = old.to_vec();
    let pre_skip = fix_opus(&mut track);
    let scale = timescale(old);
    let late = match delay {
        Delay::None => None,
        Delay::Samples(samples) => Some(u64::from(samples)),
        // The pre-skip is in units of 48 kHz, whatever the track's timescale.
        Delay::PreSkip(_) => pre_skip
            .zip(scale)
            .map(|(skip, scale)| skip * scale / 48_000),
    };
    if let Some(edited) = late.and_then(|late| edited(&track, late)) {
        track = edited;
    }
    Some(track)
}

/// Timescale of a track.
fn timescale(trak: &[u8]) -> Option<u64> {
    let mdhd = find(trak, &[b"mdia", b"mdhd"])?;
    match mdhd.first()? {
        1 => number(mdhd, 20, 4),
        _ => number(mdhd, 12, 4),
    }
}

/// Adds an edit list that compensates for a timestamp offset in a video track, in nanoseconds; `None` if the offset is
/// 0, or if there is an edit list already.
fn decode_edit(trak: &[u8], nanoseconds: u64) -> Option<Vec<u8>> {
    let scale = timescale(trak)?;
    let late = u128::from(nanoseconds) * u128::from(scale);
    let late = u64::try_from((late + 500_000_000) / 1_000_000_000).ok()?;
    edited(trak, late).filter(|_| late > 0)
}

/// Adds an edit list that skips the first `late` ticks of a track; `None` if there is an edit list already.
fn edited(trak: &[u8], late: u64) -> Option<Vec<u8>> {
    if find(trak, &[b"edts"]).is_some() {
        return None;
    }
    let late = i32::try_from(late).ok()?;
    let mut trak = trak.to_vec();
    // One edit (8.6.6) that starts at the first recorded sample; duration 0 means until the end of all fragments.
    let mut elst = vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    elst.extend_from_slice(&late.to_be_bytes());
    elst.extend_from_slice(&[0, 1, 0, 0]);
    let edts = boxed(b"edts", &boxed(b"elst", &elst)?)?;
    let after = boxes(&trak).find(|part| part.name == b"tkhd")?.end;
    trak.splice(after..after, edts);
    Some(trak)
}

/// Corrects the byte order of the multi-byte fields of `dOps` from mp4mux 1.22. Returns the pre-skip at 48 kHz.
fn fix_opus(track: &mut [u8]) -> Option<u64> {
    let description = find(track, STSD)?;
    let opus = boxes(description.get(ENTRIES..)?).next()?;
    if opus.name != b"Opus" {
        return None;
    }
    let header = find(
        description.get(ENTRIES + ENTRY..ENTRIES + opus.end)?,
        &[b"dOps"],
    )?;
    let at = header.as_ptr() as usize - track.as_ptr() as usize;
    // No sample rate is higher; with swapped bytes, all usual rates are.
    const FASTEST: u64 = 768_000;
    let header = track.get_mut(at..at + 10)?;
    if number(header, 4, 4)? > FASTEST {
        for (from, to) in [(2, 4), (4, 8), (8, 10)] {
            header.get_mut(from..to)?.reverse();
        }
    }
    number(header, 2, 2)
}
