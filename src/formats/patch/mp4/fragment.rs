//! Parses a fragment (`moof`, ISO 14496-12, 8.8.4) and its samples.

use super::{
    boxes::{boxes, find},
    samples::{Sample, Tables},
};
use crate::formats::patch::number;

/// sample_is_non_sync_sample (8.8.3.1).
const NOT_SYNC: u64 = 1 << 16;
/// Default sample description index.
const FIRST_DESCRIPTION: u32 = 1;

/// Maximum number of samples in a run without per-sample fields.
const MAX_ALIKE: u64 = 1 << 20;

/// Sample defaults (from `trex`, overridden by `tfhd`).
#[derive(Debug, Clone, Copy)]
struct Defaults {
    description: u32,
    duration: u32,
    size: u32,
    flags: u32,
}

/// Reads optional fields, whose presence depends on a box's flags.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    flags: u64,
}

impl<'a> Fields<'a> {
    /// For a full box (4.2.2), after its first `fixed` bytes.
    fn new(bytes: &'a [u8], fixed: usize) -> Option<Self> {
        let flags = number(bytes, 1, 3)?;
        Some(Fields {
            bytes,
            at: fixed,
            flags,
        })
    }

    fn next(&mut self, length: usize) -> Option<u64> {
        let value = number(self.bytes, self.at, length)?;
        self.at += length;
        Some(value)
    }

    /// The next 32-bit field if this flag is set, else `other`.
    fn given(&mut self, flag: u64, other: u32) -> Option<u32> {
        if self.flags & flag == 0 {
            return Some(other);
        }
        u32::try_from(self.next(4)?).ok()
    }
}

/// Adds the samples of a `moof` with this content at file offset `at` to the tables of their tracks.
/// `header` is the content of `moov`. `None` if the fragment is broken; samples parsed so far remain in the tables.
pub(super) fn read(moof: &[u8], at: u64, header: &[u8], tables: &mut Tables) -> Option<()> {
    // Default base: the `moof` for the first track, and the end of the previous track's data for the others (8.8.7).
    let mut implied = at;
    for part in boxes(moof).filter(|part| part.name == b"traf") {
        let traf = moof.get(part.content..part.end)?;
        let TrackHead {
            track,
            base,
            defaults,
            mut time,
        } = TrackHead::read(traf, header)?;
        let base = match base {
            Base::At(place) => place,
            Base::Fragment => at,
            Base::Implied => implied,
        };
        let table = tables.of(track);
        implied = base;
        for part in boxes(traf).filter(|part| part.name == b"trun") {
            let trun = traf.get(part.content..part.end)?;
            let place = trun_place(trun);
            let begins = place.and_then(|place| base.checked_add_signed(place.into()));
            let begins = begins.unwrap_or(implied);
            table.begin_chunk(begins, defaults.description);
            implied = begins.checked_add(samples(trun, defaults, &mut time, |sample, _| {
                table.push(sample);
            })?)?;
        }
    }
    Some(())
}

/// Base of a track's data offsets in a fragment (8.8.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    At(u64),
    Fragment,
    Implied,
}

/// The `tfhd` and `tfdt` of a track's fragment.
struct TrackHead {
    track: u32,
    base: Base,
    defaults: Defaults,
    /// Decode time of the first sample.
    time: u64,
}

impl TrackHead {
    fn read(traf: &[u8], header: &[u8]) -> Option<Self> {
        let mut tfhd = Fields::new(find(traf, &[b"tfhd"])?, 4)?;
        let track = u32::try_from(tfhd.next(4)?).ok()?;
        let base = match tfhd.flags {
            flags if flags & 0x1 != 0 => Base::At(tfhd.next(8)?),
            flags if flags & 0x2_0000 != 0 => Base::Fragment,
            _ => Base::Implied,
        };
        let of_track = trex(header, track);
        let defaults = Defaults {
            description: tfhd.given(0x2, of_track.description)?,
            duration: tfhd.given(0x8, of_track.duration)?,
            size: tfhd.given(0x10, of_track.size)?,
            flags: tfhd.given(0x20, of_track.flags)?,
        };
        let tfdt = find(traf, &[b"tfdt"])?;
        let wide = if *tfdt.first()? == 1 { 8 } else { 4 };
        Some(TrackHead {
            track,
            base,
            defaults,
            time: number(tfdt, 4, wide)?,
        })
    }
}

/// A run of samples of a track (`trun`), each with its flags.
#[derive(Debug)]
pub(super) struct Run {
    /// Data offset, if present.
    pub(super) place: Option<i32>,
    pub(super) samples: Vec<(Sample, u32)>,
}

impl Run {
    /// The content of a `trun` with all per-sample fields (8.8.8), and the data offset changed by `moved`.
    pub(super) fn content(&self, moved: i64) -> Option<Vec<u8>> {
        let samples = self.samples.iter();
        let shifted = samples.clone().any(|(sample, _)| sample.shift != 0);
        let flags = 0x700 | if shifted { 0x800 } else { 0 } | u32::from(self.place.is_some());
        // Version 1: composition offsets are signed.
        let mut content = (1 << 24 | flags).to_be_bytes().to_vec();
        content.extend(u32::try_from(self.samples.len()).ok()?.to_be_bytes());
        if let Some(place) = self.place {
            content.extend(i32::try_from(i64::from(place) + moved).ok()?.to_be_bytes());
        }
        for (sample, flags) in samples {
            for field in [sample.duration, sample.size, *flags] {
                content.extend(field.to_be_bytes());
            }
            if shifted {
                content.extend(i32::try_from(sample.shift).ok()?.to_be_bytes());
            }
        }
        Some(content)
    }
}

/// Track ID and runs of a `traf` with this content.
pub(super) fn runs(traf: &[u8], header: &[u8]) -> Option<(u32, Vec<Run>)> {
    let TrackHead {
        track,
        defaults,
        mut time,
        ..
    } = TrackHead::read(traf, header)?;
    let mut runs = Vec::new();
    for part in boxes(traf).filter(|part| part.name == b"trun") {
        let trun = traf.get(part.content..part.end)?;
        let mut run = Run {
            place: trun_place(trun),
            samples: Vec::new(),
        };
        samples(trun, defaults, &mut time, |sample, flags| {
            run.samples.push((sample, flags));
        })?;
        runs.push(run);
    }
    Some((track, runs))
}

/// The `trex` defaults for a track.
fn trex(header: &[u8], track: u32) -> Defaults {
    let mvex = find(header, &[b"mvex"]).unwrap_or_default();
    let all = boxes(mvex).filter(|part| part.name == b"trex");
    let mut all = all.filter_map(|part| mvex.get(part.content..part.end));
    let trex = all.find(|trex| number(trex, 4, 4) == Some(track.into()));
    let field = |at| {
        let value = trex.and_then(|trex| number(trex, at, 4));
        value.and_then(|value| u32::try_from(value).ok())
    };
    Defaults {
        description: field(8).unwrap_or(FIRST_DESCRIPTION),
        duration: field(12).unwrap_or_default(),
        size: field(16).unwrap_or_default(),
        flags: field(20).unwrap_or_default(),
    }
}

/// Data offset of a `trun`, if present.
fn trun_place(trun: &[u8]) -> Option<i32> {
    let says = number(trun, 1, 3)? & 0x1 != 0;
    let place = number(trun, 8, 4).filter(|_| says)?;
    Some(u32::try_from(place).ok()?.cast_signed())
}

/// Calls `each` with every sample of a run that starts at decode time `time`, and returns their total size in bytes.
fn samples(
    trun: &[u8],
    defaults: Defaults,
    time: &mut u64,
    mut each: impl FnMut(Sample, u32),
) -> Option<u64> {
    let signed = *trun.first()? > 0;
    let mut fields = Fields::new(trun, 4)?;
    let count = fields.next(4)?;
    // Without per-sample fields, the sample count is not limited by the size of the box.
    if fields.flags & 0xf00 == 0 && count > MAX_ALIKE {
        return None;
    }
    fields.given(0x1, 0)?;
    let first_flags = fields.given(0x4, defaults.flags)?;
    let mut total = 0u64;
    for index in 0..count {
        let duration = fields.given(0x100, defaults.duration)?;
        let size = fields.given(0x200, defaults.size)?;
        let others = if index == 0 {
            first_flags
        } else {
            defaults.flags
        };
        let flags = fields.given(0x400, others)?;
        let shift = fields.given(0x800, 0)?;
        let sample = Sample {
            decode_time: *time,
            shift: if signed {
                i64::from(shift.cast_signed())
            } else {
                i64::from(shift)
            },
            duration,
            size,
            sync: u64::from(flags) & NOT_SYNC == 0,
        };
        each(sample, flags);
        *time = time.checked_add(duration.into())?;
        total = total.checked_add(size.into())?;
    }
    Some(total)
}
