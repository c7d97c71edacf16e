//! MP4 (ISO 14496-12): an edit list for each audio track whose encoder is late and each video track whose first frame
//! is shown later than it is decoded, the Opus header of
//! mp4mux 1.22 with its bytes in the right order, what decoders of AV1 and VP9 are told, and how the
//! pictures are turned.
//!
//! This makes the header longer or shorter, so all that follows moves, and the index at the end is told;
//! its version is put right too.

use super::{Pictures, Unit, number};
use crate::{
    formats::{codec_config::CodecConfig, delay::Delay},
    model::Orientation,
};

/// Where things are in the file.
#[derive(Debug, Default)]
pub struct Layout {
    /// The header, as the muxer wrote it: begin and end.
    moov: Option<(u64, u64)>,
    /// Bytes by which it has grown, or shrunk.
    grown: i64,
    /// Track, decode time and place of each fragment.
    fragments: Vec<(u64, u64, u64)>,
}

impl Layout {
    /// Where a position of the muxer's is in the file.
    pub fn place(&self, position: u64) -> u64 {
        match self.moov {
            Some((_, end)) if position >= end => position.saturating_add_signed(self.grown),
            _ => position,
        }
    }

    /// Whether `size` bytes may stand in the file for those of the muxer's from `from` to `to`: not if they are a header
    /// that is written again and has another length, or is not whole.
    pub fn fits(&self, from: u64, to: u64, size: u64) -> bool {
        match self.moov {
            Some((begins, ends)) if from < ends && to > begins => {
                to == ends && from <= begins && self.place(to) - from == size
            }
            _ => true,
        }
    }

    /// The bytes that go into the file in place of the muxer's at `position`; `None` for the same.
    pub fn patch(
        &mut self,
        position: u64,
        bytes: &[u8],
        delays: &[Delay],
        pictures: &[Pictures],
    ) -> Option<Vec<u8>> {
        let first = boxes(bytes).next()?;
        let (begins, ends) = self.moov.unwrap_or((u64::MAX, u64::MAX));
        match first.name {
            // Written at the begin, and once more at the end.
            b"ftyp" | b"moov" if self.moov.is_none() || position <= begins => {}
            b"moof" if position >= ends => {
                let place = self.place(position);
                let content = bytes.get(first.content..first.end)?;
                let trafs = boxes(content).filter(|part| part.name == b"traf");
                let described = trafs.filter_map(|part| {
                    let traf = content.get(part.content..part.end)?;
                    let track = number(find(traf, &[b"tfhd"])?, 4, 4)?;
                    let tfdt = find(traf, &[b"tfdt"])?;
                    let wide = if *tfdt.first()? == 1 { 8 } else { 4 };
                    Some((track, number(tfdt, 4, wide)?, place))
                });
                self.fragments.extend(described);
                return None;
            }
            b"mfra" if position >= ends && first.end == bytes.len() => {
                return self.mfra(bytes);
            }
            _ => return None,
        }
        let mut patched = Vec::with_capacity(bytes.len() + 64);
        for part in boxes(bytes) {
            let old = bytes.get(part.start..part.end)?;
            if part.name != b"moov" {
                patched.extend_from_slice(old);
                continue;
            }
            let new = moov(old, delays, pictures)?;
            let grown = new.len() as i64 - old.len() as i64;
            if self.moov.is_none() {
                self.moov = Some((position + part.start as u64, position + part.end as u64));
                self.grown = grown;
            }
            patched.extend_from_slice(&new);
        }
        let rest = boxes(bytes).last().map_or(0, |last| last.end);
        patched.extend_from_slice(bytes.get(rest..)?);
        Some(patched)
    }
}

impl Layout {
    /// The index with its fragments where they are now. What mp4mux 1.22 gets wrong in it: version 1,
    /// which has wide fields, with narrow ones; and in the last entry of each track no place, for a
    /// fragment that there may not even be.
    fn mfra(&self, old: &[u8]) -> Option<Vec<u8>> {
        let content = old.get(8..)?;
        let mut new = Vec::new();
        for part in boxes(content).filter(|part| part.name == b"tfra") {
            let tfra = content.get(part.content..part.end)?;
            let fixed = self.tfra(tfra).unwrap_or_else(|| tfra.to_vec());
            new.extend_from_slice(&boxed(b"tfra", &fixed)?);
        }
        // By its size, which stands at the end, the index is found.
        let size = u32::try_from(8 + new.len() + 16).ok()?.to_be_bytes();
        new.extend_from_slice(&boxed(b"mfro", &[&[0; 4], size.as_slice()].concat())?);
        boxed(b"mfra", &new)
    }

    fn tfra(&self, tfra: &[u8]) -> Option<Vec<u8>> {
        let track = number(tfra, 4, 4)?;
        let lengths = number(tfra, 8, 4)?;
        let numbers: u64 = [4, 2, 0].iter().map(|bit| (lengths >> bit & 3) + 1).sum();
        let numbers = usize::try_from(numbers).ok()?;
        let entries = usize::try_from(number(tfra, 12, 4)?).ok()?;
        let fits = |wide: &usize| {
            let size = entries.checked_mul(2 * wide + numbers);
            size.and_then(|size| size.checked_add(16)) == Some(tfra.len())
        };
        let wide = [8, 4].into_iter().find(fits)?;
        let mut count = 0u32;
        let mut list = Vec::new();
        for entry in tfra.get(16..)?.chunks_exact(2 * wide + numbers) {
            let time = number(entry, 0, wide)?;
            let place = match number(entry, wide, wide)? {
                0 => {
                    let at = |f: &&(u64, u64, u64)| (f.0, f.1) == (track, time);
                    self.fragments.iter().find(at).map(|f| f.2)
                }
                place => place.checked_add_signed(self.grown),
            };
            let Some(place) = place else {
                continue;
            };
            count += 1;
            list.extend_from_slice(&time.to_be_bytes());
            list.extend_from_slice(&place.to_be_bytes());
            list.extend_from_slice(entry.get(2 * wide..)?);
        }
        let mut new = vec![1, 0, 0, 0];
        new.extend_from_slice(tfra.get(4..12)?);
        new.extend_from_slice(&count.to_be_bytes());
        new.extend_from_slice(&list);
        Some(new)
    }
}

/// A box inside some bytes: its name, and where it and its content are.
struct Part<'a> {
    name: &'a [u8; 4],
    start: usize,
    content: usize,
    end: usize,
}

/// The boxes that `bytes` holds whole, up to the first that it does not.
fn boxes(bytes: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let name = bytes.get(start + 4..)?.first_chunk::<4>()?;
        let (length, content) = match number(bytes, start, 4)? {
            1 => (number(bytes, start + 8, 8)?, start + 16),
            length => (length, start + 8),
        };
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        if end < content || end > bytes.len() {
            return None;
        }
        let part = Part {
            name,
            start,
            content,
            end,
        };
        start = end;
        Some(part)
    })
}

/// The content of the box at the end of a path of names.
fn find<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, name| {
        let part = boxes(bytes).find(|part| part.name == *name)?;
        bytes.get(part.content..part.end)
    })
}

/// The fragment that begins with these bytes, with its track: the first, if it has more.
pub fn fragment(bytes: &[u8]) -> Option<Unit> {
    boxes(bytes).next().filter(|first| first.name == b"moof")?;
    let track = find(bytes, &[b"moof", b"traf", b"tfhd"]).and_then(|tfhd| number(tfhd, 4, 4));
    Some(Unit {
        track: track.and_then(|track| usize::try_from(track).ok()),
    })
}

/// A box of this content.
fn boxed(name: &[u8; 4], content: &[u8]) -> Option<Vec<u8>> {
    let mut whole = u32::try_from(content.len() + 8)
        .ok()?
        .to_be_bytes()
        .to_vec();
    whole.extend_from_slice(name);
    whole.extend_from_slice(content);
    Some(whole)
}

/// A video track's `trak` that says how its pictures are turned, which mp4mux 1.22 leaves out; `None` if
/// they are not, or if it is said already.
fn turned(trak: &[u8], turn: Orientation) -> Option<Vec<u8>> {
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
    // 16.16 like the matrix.
    let size = |at| i32::try_from(number(trak, at, 4)?).ok();
    let (width, height) = (size(to)?, size(to + 4)?);
    let [(a, b), (c, d)] = turn.steps();
    // So that what goes to the left or up ends at 0.
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

/// A video track's `trak` with a configuration record that is true of the stream; `None` if it is that already.
fn told(trak: &[u8], config: &CodecConfig) -> Option<Vec<u8>> {
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
            // mp4mux 1.22 writes that of a draft, all zeros; 1.24 and 1.26 always the same level, and bits of
            // memory that nobody has set. The OBUs after the first four bytes may be left out.
            (old.get(..4) != right.get(..4)).then(|| right.clone())
        }
        CodecConfig::Vp9 { level } => {
            // Level 1 for all, up to 1.26 at least. Before it: version, flags, profile.
            const AT: usize = 5;
            let mut new = old.to_vec();
            let stands = new.get_mut(AT).filter(|stands| **stands == 10)?;
            *stands = *level;
            (new != old).then_some(new)
        }
    })
}

/// Boxes with the content of one of them changed, which is found by a path of names, each with how many bytes
/// there are in that box before its own boxes. `None` if it is not there, or not changed.
fn changed(
    bytes: &[u8],
    path: &[(&[u8; 4], usize)],
    change: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let Some(((name, before), path)) = path.split_first() else {
        return change(bytes);
    };
    let part = boxes(bytes).find(|part| part.name == *name)?;
    let (head, inside) = bytes
        .get(part.content..part.end)?
        .split_at_checked(*before)?;
    let content = [head, &changed(inside, path, change)?].concat();
    let (front, back) = (bytes.get(..part.start)?, bytes.get(part.end..)?);
    Some([front, &boxed(name, &content)?, back].concat())
}

fn moov(old: &[u8], delays: &[Delay], pictures: &[Pictures]) -> Option<Vec<u8>> {
    let old = old.get(8..)?;
    let mut new = Vec::new();
    let mut delays = delays.iter();
    let mut pictures = pictures.iter();
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
                let of_track = pictures.next();
                let turn = of_track.map_or_else(Orientation::default, |of_track| of_track.turn);
                let turned = turned(content, turn);
                let content = turned.as_deref().unwrap_or(content);
                let decoder = of_track.and_then(|of_track| of_track.codec_config.as_ref());
                let told = decoder.and_then(|decoder| told(content, decoder));
                let content = told.as_deref().unwrap_or(content);
                let delay = of_track.map_or(0, |of_track| of_track.decode_delay);
                let edited = decode_edit(content, delay);
                new.extend_from_slice(&boxed(b"trak", edited.as_deref().unwrap_or(content))?);
            }
            _ => new.extend_from_slice(old.get(part.start..part.end)?),
        }
    }
    boxed(b"moov", &new)
}

/// Places of Opus' header in an audio track, from the begin of its sample description on.
const STSD: &[&[u8; 4]] = &[b"mdia", b"minf", b"stbl", b"stsd"];
/// Bytes of `stsd` before its first entry, and of that entry (of sound: with its head) before its own boxes.
const ENTRIES: usize = 8;
const ENTRY: usize = 8 + 28;
const VISUAL_ENTRY: usize = 78;

fn trak(old: &[u8], delay: Delay) -> Option<Vec<u8>> {
    let mut track = old.to_vec();
    let pre_skip = fix_opus(&mut track);
    let scale = timescale(old);
    let late = match delay {
        Delay::None => None,
        Delay::Samples(samples) => Some(u64::from(samples)),
        // It counts at 48 kHz whatever the track's own rate is.
        Delay::PreSkip(_) => pre_skip
            .zip(scale)
            .map(|(skip, scale)| skip * scale / 48_000),
    };
    if let Some(edited) = late.and_then(|late| edited(&track, late)) {
        track = edited;
    }
    Some(track)
}

/// Units of a track's times in a second.
fn timescale(trak: &[u8]) -> Option<u64> {
    let mdhd = find(trak, &[b"mdia", b"mdhd"])?;
    match mdhd.first()? {
        1 => number(mdhd, 20, 4),
        _ => number(mdhd, 12, 4),
    }
}

/// A video track's `trak` whose first frame is shown at 0 though its stamps are later by so many nanoseconds; `None` if
/// they are not, or if it has an edit list.
fn decode_edit(trak: &[u8], nanoseconds: u64) -> Option<Vec<u8>> {
    let scale = timescale(trak)?;
    let late = u128::from(nanoseconds) * u128::from(scale);
    let late = u64::try_from((late + 500_000_000) / 1_000_000_000).ok()?;
    edited(trak, late).filter(|_| late > 0)
}

/// A `trak` that is presented from `late` on, in units of its own times; `None` if it has an edit list.
fn edited(trak: &[u8], late: u64) -> Option<Vec<u8>> {
    if find(trak, &[b"edts"]).is_some() {
        return None;
    }
    let late = i32::try_from(late).ok()?;
    let mut trak = trak.to_vec();
    // One edit (8.6.6): to the end, however long that is, from the first sample that was recorded.
    let mut elst = vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    elst.extend_from_slice(&late.to_be_bytes());
    elst.extend_from_slice(&[0, 1, 0, 0]);
    let edts = boxed(b"edts", &boxed(b"elst", &elst)?)?;
    let after = boxes(&trak).find(|part| part.name == b"tkhd")?.end;
    trak.splice(after..after, edts);
    Some(trak)
}

/// mp4mux 1.22 writes numbers of the Opus header with their bytes the wrong way round. Puts them
/// right, and gives the pre-skip in samples at 48 kHz.
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
    // Nobody samples faster; the other way round, every usual rate is beyond it.
    const FASTEST: u64 = 768_000;
    let header = track.get_mut(at..at + 10)?;
    if number(header, 4, 4)? > FASTEST {
        for (from, to) in [(2, 4), (4, 8), (8, 10)] {
            header.get_mut(from..to)?.reverse();
        }
    }
    number(header, 2, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        boxed(name, content).unwrap()
    }

    /// A header with one audio track of 48 kHz, in which Opus' numbers are swapped.
    fn header() -> Vec<u8> {
        let mut mdhd = vec![0; 24];
        mdhd[12..16].copy_from_slice(&48_000u32.to_be_bytes());
        let mut hdlr = vec![0; 8];
        hdlr.extend_from_slice(b"soun");
        let dops = [0, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0];
        let mut opus = vec![0; 28];
        opus.extend(leaf(b"dOps", &dops));
        let mut stsd = vec![0, 0, 0, 0, 0, 0, 0, 1];
        stsd.extend(leaf(b"Opus", &opus));
        let stbl = leaf(b"stbl", &leaf(b"stsd", &stsd));
        let minf = leaf(b"minf", &stbl);
        let mdia = [leaf(b"mdhd", &mdhd), leaf(b"hdlr", &hdlr), minf].concat();
        let trak = [leaf(b"tkhd", &[0; 84]), leaf(b"mdia", &mdia)].concat();
        let moov = [leaf(b"mvhd", &[0; 100]), leaf(b"trak", &trak)].concat();
        [leaf(b"ftyp", b"iso5"), leaf(b"moov", &moov)].concat()
    }

    fn edit(bytes: &[u8]) -> Option<u64> {
        number(find(bytes, &[b"moov", b"trak", b"edts", b"elst"])?, 12, 4)
    }

    #[test]
    fn late_tracks_get_an_edit_and_all_that_follows_moves() {
        let old = header();
        let mut layout = Layout::default();
        let new = layout
            .patch(0, &old, &[Delay::Samples(1_588)], &[])
            .unwrap();
        assert_eq!(edit(&new), Some(1_588));
        assert_eq!(new.len(), old.len() + 36);
        assert_eq!(layout.place(old.len() as u64), new.len() as u64);
        assert_eq!(layout.place(4), 4);
        // Again at the end, where only the header is written.
        let ftyp = boxes(&old).next().unwrap().end;
        let again = layout
            .patch(ftyp as u64, &old[ftyp..], &[Delay::Samples(1_588)], &[])
            .unwrap();
        assert_eq!(again, new[ftyp..]);
        // Version 1, lengths 1, one entry: time, offset, three numbers.
        let mut tfra = vec![1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        tfra.extend_from_slice(&7u64.to_be_bytes());
        tfra.extend_from_slice(&1_000u64.to_be_bytes());
        tfra.extend_from_slice(&[1, 1, 1]);
        let index = leaf(b"mfra", &leaf(b"tfra", &tfra));
        let moved = layout.patch(5_000, &index, &[], &[]).unwrap();
        assert_eq!(number(&moved, 16 + 24, 8), Some(1_036));
        assert_eq!(number(&moved, 16 + 16, 8), Some(7));
        // As mp4mux 1.22 has it: narrow, and without a place for the last fragment.
        let mut tfra = vec![1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3];
        for (time, place) in [(7u32, 1_000u32), (9, 0), (10, 0)] {
            tfra.extend_from_slice(&time.to_be_bytes());
            tfra.extend_from_slice(&place.to_be_bytes());
            tfra.extend_from_slice(&[1, 1, 1]);
        }
        let tfdt = leaf(b"tfdt", &[0, 0, 0, 0, 0, 0, 0, 9]);
        let traf = [leaf(b"tfhd", &[0, 0, 0, 0, 0, 0, 0, 1]), tfdt].concat();
        let moof = leaf(b"moof", &leaf(b"traf", &traf));
        assert_eq!(layout.patch(3_000, &moof, &[], &[]), None);
        assert_eq!(fragment(&moof), Some(Unit { track: Some(1) }));
        assert_eq!(fragment(&moof[..40]), None);
        let index = leaf(b"mfra", &leaf(b"tfra", &tfra));
        let moved = layout.patch(5_000, &index, &[], &[]).unwrap();
        assert_eq!(number(&moved, 28, 4), Some(2), "entries");
        let entry = |n: usize| {
            [
                number(&moved, 32 + 19 * n, 8),
                number(&moved, 40 + 19 * n, 8),
            ]
        };
        assert_eq!(entry(0), [Some(7), Some(1_036)]);
        assert_eq!(entry(1), [Some(9), Some(3_036)]);
        assert_eq!(number(&moved, moved.len() - 4, 4), Some(moved.len() as u64));
        // Media that looks like a header is none.
        assert_eq!(layout.patch(5_000, &old, &[], &[]), None);
    }

    #[test]
    fn swapped_opus_headers_are_put_right_once() {
        let mut layout = Layout::default();
        let new = layout
            .patch(0, &header(), &[Delay::PreSkip(0)], &[])
            .unwrap();
        assert_eq!(edit(&new), Some(312));
        let dops = new.windows(4).position(|w| w == b"dOps").unwrap() + 4;
        assert_eq!(
            new[dops..dops + 11],
            [0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0]
        );
        let again = Layout::default()
            .patch(0, &new, &[Delay::PreSkip(0)], &[])
            .unwrap();
        assert_eq!(again, new);
        let copied = Layout::default()
            .patch(0, &header(), &[Delay::None], &[])
            .unwrap();
        assert_eq!(edit(&copied), None);
        assert_eq!(copied.len(), header().len());
    }

    /// A video track whose decoder has to know this.
    fn told_of(config: CodecConfig) -> Pictures {
        Pictures {
            codec_config: Some(config),
            ..Default::default()
        }
    }

    /// A header with one video track, whose sample entry of this name has this record and a box after it.
    fn pictures(entry: &[u8; 4], name: &[u8; 4], record: &[u8]) -> Vec<u8> {
        let mut hdlr = vec![0; 8];
        hdlr.extend_from_slice(b"vide");
        let mut visual = vec![0; VISUAL_ENTRY];
        visual.extend(leaf(name, record));
        visual.extend(leaf(b"btrt", &[7; 12]));
        let mut stsd = vec![0, 0, 0, 0, 0, 0, 0, 1];
        stsd.extend(leaf(entry, &visual));
        let stbl = [leaf(b"stsd", &stsd), leaf(b"stts", &[0; 8])].concat();
        let minf = [leaf(b"vmhd", &[0; 12]), leaf(b"stbl", &stbl)].concat();
        let mdia = [leaf(b"hdlr", &hdlr), leaf(b"minf", &minf)].concat();
        let trak = [leaf(b"tkhd", &[0; 84]), leaf(b"mdia", &mdia)].concat();
        let moov = [leaf(b"mvhd", &[0; 100]), leaf(b"trak", &trak)].concat();
        [leaf(b"ftyp", b"iso5"), leaf(b"moov", &moov)].concat()
    }

    #[test]
    fn records_that_are_not_true_of_the_stream_are_replaced_and_all_that_follows_moves() {
        let right = [0x81, 1, 0x0c, 0, 0x0a, 3, 1, 2, 3];
        let av1 = told_of(CodecConfig::Av1(right.to_vec()));
        let longer = [[0; 5].as_slice(), &right, &[9; 3]].concat();
        for wrong in [
            // mp4mux 1.22, without what upstream may say and with it; 1.26, in memory that had another use.
            &[0; 5],
            longer.as_slice(),
            &[0x81, 1, 0x5c, 0],
            &[0x81, 4, 0x0c, 0],
            &[0x81, 1, 0x0c, 0x1f],
            &[],
        ] {
            let old = pictures(b"av01", b"av1C", wrong);
            let mut layout = Layout::default();
            let new = layout.patch(0, &old, &[], std::slice::from_ref(&av1));
            assert_eq!(
                new,
                Some(pictures(b"av01", b"av1C", &right)),
                "sizes of all around it are right: {wrong:x?}"
            );
            let new = new.unwrap();
            assert_eq!(layout.place(old.len() as u64), new.len() as u64);
            let mut tfra = vec![1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
            tfra.extend_from_slice(&7u64.to_be_bytes());
            tfra.extend_from_slice(&(old.len() as u64).to_be_bytes());
            tfra.extend_from_slice(&[1, 1, 1]);
            let index = leaf(b"mfra", &leaf(b"tfra", &tfra));
            let moved = layout.patch(5_000, &index, &[], &[]).unwrap();
            assert_eq!(number(&moved, 16 + 24, 8), Some(new.len() as u64));
        }
        for level in [10, 31] {
            let record = |level| [1, 0, 0, 0, 0, level, 0x82, 6, 6, 6, 0, 0];
            let vp9 = told_of(CodecConfig::Vp9 { level });
            let old = pictures(b"vp09", b"vpcC", &record(10));
            let new = Layout::default().patch(0, &old, &[], &[vp9]);
            assert_eq!(new, Some(pictures(b"vp09", b"vpcC", &record(level))));
        }
    }

    #[test]
    fn records_that_are_right_stay() {
        let right = [0x81, 1, 0x0c, 0, 0x0a, 3, 1, 2, 3];
        let av1 = told_of(CodecConfig::Av1(right.to_vec()));
        let vp9 = told_of(CodecConfig::Vp9 { level: 31 });
        let nothing = Pictures::default();
        for (old, pictures) in [
            (pictures(b"av01", b"av1C", &right), &av1),
            // The OBUs may be missing (1.26 writes none), or be others that say the same.
            (pictures(b"av01", b"av1C", &right[..4]), &av1),
            (pictures(b"av01", b"av1C", &right[..8]), &av1),
            (pictures(b"av01", b"av1C", &[0; 5]), &nothing),
            (pictures(b"vp09", b"vpcC", &[1, 0, 0, 0, 0, 40, 0x82]), &vp9),
            (pictures(b"vp09", b"vpcC", &[1, 0, 0]), &vp9),
            (pictures(b"avc1", b"avcC", &[0; 5]), &av1),
        ] {
            let mut layout = Layout::default();
            let new = layout.patch(0, &old, &[], std::slice::from_ref(pictures));
            assert_eq!(new.as_ref(), Some(&old));
            assert_eq!(layout.place(old.len() as u64), old.len() as u64);
        }
    }

    #[test]
    fn broken_boxes_are_left_alone() {
        let whole = header();
        for length in 0..whole.len() {
            let mut layout = Layout::default();
            if let Some(new) = layout.patch(0, &whole[..length], &[Delay::PreSkip(0)], &[]) {
                assert_eq!(new, whole[..length]);
            }
        }
        for at in 0..whole.len() {
            for value in [0, 1, 7, 0xff] {
                let mut broken = whole.clone();
                broken[at] = value;
                let _ = Layout::default().patch(0, &broken, &[Delay::PreSkip(0)], &[]);
            }
        }
        let av1 = told_of(CodecConfig::Av1(vec![0x81, 1, 0x0c, 0]));
        let whole = pictures(b"av01", b"av1C", &[0; 5]);
        for at in 0..whole.len() {
            for value in [0, 1, 7, 0xff] {
                let mut broken = whole.clone();
                broken[at] = value;
                let _ = Layout::default().patch(0, &broken, &[], std::slice::from_ref(&av1));
            }
        }
    }
}
