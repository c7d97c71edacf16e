//! Chapters of a regular MP4 as a text track that the other tracks reference (QuickTime File Format, "Chapter Lists"):
//! any number of chapters, with titles of any length.

use super::{
    boxes::{boxed, find},
    edits::{Shown, rescale},
    ordinary::with_times,
    samples::{Sample, Table},
};
use crate::formats::chapters::{Chapter, MAX_CHPL, chpl, to_milliseconds};
use crate::model::timeline::Ns;

/// Milliseconds.
const TIMESCALE: u32 = 1000;
/// An `encd` atom: the text is UTF-8.
const IS_UTF8: [u8; 12] = *b"\0\0\0\x0cencd\0\0\x01\0";

/// See the module.
pub(super) struct TextTrack {
    /// Media data of the track.
    pub(super) samples: Vec<u8>,
    table: Table,
    /// Start of the first chapter and end of the last, in its timescale.
    begin: u64,
    end: u64,
}

impl TextTrack {
    /// Chapters, the last of which ends at `end`; their media will be at file offset `at`. `None` if there are none.
    pub(super) fn new(chapters: &[Chapter], end: Ns, at: u64) -> Option<Self> {
        let begin = to_milliseconds(chapters.first()?.start);
        let end = to_milliseconds(end).max(to_milliseconds(chapters.last()?.start));
        let starts = chapters
            .iter()
            .map(|chapter| to_milliseconds(chapter.start));
        let ends = starts.clone().skip(1).chain([end]);
        let (mut samples, mut table) = (Vec::new(), Table::default());
        table.begin_chunk(at, 1);
        for ((chapter, start), end) in chapters.iter().zip(starts).zip(ends) {
            let title = chapter.cut_title(usize::from(u16::MAX)).as_bytes();
            let length = u16::try_from(title.len()).ok()?;
            let sample = [&length.to_be_bytes(), title, &IS_UTF8].concat();
            table.push(Sample {
                decode_time: start - begin,
                shift: 0,
                duration: u32::try_from(end.saturating_sub(start)).unwrap_or(u32::MAX),
                size: u32::try_from(sample.len()).ok()?,
                sync: true,
            });
            samples.extend(sample);
        }
        Some(TextTrack {
            samples,
            table,
            begin,
            end,
        })
    }

    /// The `trak` with this track ID, in a movie with this timescale.
    pub(super) fn trak(&self, number: u32, movie: u32) -> Option<Vec<u8>> {
        const ONE: u32 = 1 << 16;
        const MATRIX: [u32; 9] = [ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30];
        let lasts = self.end - self.begin;
        let [empty, duration] = [self.begin, lasts].map(|time| rescale(time, TIMESCALE, movie));
        let shown = Shown {
            empty,
            duration,
            media_time: 0,
        };
        // In the movie, but not enabled, so that players do not display it as text.
        let tkhd = [&[2, 0, 0, number, 0, 0, 0, 0, 0, 0][..], &MATRIX, &[0, 0]].concat();
        let tkhd = with_times(&words(&tkhd), 8, None, shown.total())?;
        let lasts = u32::try_from(lasts).ok()?;
        // Undetermined language.
        let mdhd = full_box(b"mdhd", &[0, 0, TIMESCALE, lasts, 0x55c4_0000])?;
        let hdlr = [&[0; 8][..], b"text", &[0; 13]].concat();
        let mdia = [mdhd, boxed(b"hdlr", &hdlr)?, boxed(b"minf", &self.minf()?)?];
        let trak = [
            boxed(b"tkhd", &tkhd)?,
            shown.edts(duration)?,
            boxed(b"mdia", &mdia.concat())?,
        ];
        boxed(b"trak", &trak.concat())
    }

    fn minf(&self) -> Option<Vec<u8>> {
        // Graphics mode copy, grey opcolor, balanced audio; and the identity matrix for text.
        let gmin = [
            &[0; 4][..],
            &[0, 0x40, 0x80, 0, 0x80, 0, 0x80, 0, 0, 0, 0, 0],
        ]
        .concat();
        let text = words(&[1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30]);
        let gmhd = [boxed(b"gmin", &gmin)?, boxed(b"text", &text)?].concat();
        // The media is in this file.
        let url = boxed(b"url ", &[0, 0, 0, 1])?;
        let dref = [&words(&[0, 1])[..], &url].concat();
        // A text sample description without flags, colours, box or font.
        let entry = boxed(b"text", &[&[0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 44]].concat())?;
        let stsd = boxed(b"stsd", &[&words(&[0, 1])[..], &entry].concat())?;
        let stbl = [stsd, self.table.write(false)?].concat();
        let parts = [
            boxed(b"gmhd", &gmhd)?,
            boxed(b"dinf", &boxed(b"dref", &dref)?)?,
            boxed(b"stbl", &stbl)?,
        ];
        Some(parts.concat())
    }
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A full box, version 0 and without flags.
fn full_box(name: &[u8; 4], numbers: &[u32]) -> Option<Vec<u8>> {
    boxed(name, &[&[0; 4][..], &words(numbers)].concat())
}

/// Adds a reference to the chapter track with this ID to a `trak`.
pub(super) fn with_reference(trak: &[u8], chapters: u32) -> Option<Vec<u8>> {
    let chap = boxed(b"chap", &chapters.to_be_bytes())?;
    Some([trak, &boxed(b"tref", &chap)?].concat())
}

/// The `udta` of a `moov` with the first chapters as `chpl`, for players that do not support chapter tracks.
pub(super) fn udta(header: &[u8], chapters: &[Chapter]) -> Option<Vec<u8>> {
    let old = find(header, &[b"udta"]).unwrap_or_default();
    let first = chapters.get(..chapters.len().min(MAX_CHPL))?;
    boxed(b"udta", &[&chpl(first)?, old].concat())
}
