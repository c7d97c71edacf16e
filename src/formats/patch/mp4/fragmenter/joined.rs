//! A fragment in its output form: one track, one run of samples (ISO 14496-12, 8.8).

use super::{
    super::{MDAT_HEAD, PAGE, fragment::Run, samples::Sample},
    runs,
};
use crate::formats::boxes::{BOX_HEADER, boxes, find};
use crate::model::timeline::Ns;

/// sample-description-index-present
const HAS_DESCRIPTION: u32 = 0x2;
/// default-base-is-moof
const BASE_IS_MOOF: u32 = 0x2_0000;

/// Maximum size of the media.
const MAX_BYTES: u64 = 1 << 30;
/// Maximum number of samples. With these two, no size or count is too large for its field.
const MAX_SAMPLES: usize = 1 << 20;
/// Maximum length of the `moof`: together with the `mdat` header it has to fit into a page, since some readers refuse a
/// file that ends inside of it.
const MAX_HEAD: usize = (PAGE - MDAT_HEAD) as usize;
/// Its maximum length without the fields of each sample: `moof`, `mfhd`, `traf`, `tfhd`, `tfdt`, `trun`.
const FIXED_HEAD: usize = 8 + 16 + 8 + 32 + 20 + 24;
/// Maximum length of the fields of a sample.
const MAX_FIELDS: usize = 16;

/// Consecutive samples of one track, at least one.
#[derive(Debug, Default)]
pub struct Fragment {
    pub track: u32,
    /// Those `tfhd` flags that are kept.
    flags: u32,
    description: u32,
    /// Samples with their flags.
    samples: Vec<(Sample, u32)>,
    pub media: Vec<gst::Buffer>,
    /// Size of the media in bytes.
    pub size: u64,
    /// Latest end, in recorded time.
    pub limit: Ns,
}

impl Fragment {
    /// Parses a `moof` with one track and one run. `None` if it could not be written in the output form.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let moof = find(bytes, &[b"moof"])?;
        let mut parts = boxes(moof).filter(|part| part.name == b"traf");
        let (part, None) = (parts.next()?, parts.next()) else {
            return None;
        };
        let traf = moof.get(part.content..part.end)?;
        let tfhd = find(traf, &[b"tfhd"])?;
        let flags = u32::from_be_bytes(*tfhd.first_chunk()?) & 0xff_ffff;
        let description = match flags & HAS_DESCRIPTION {
            0 => 0,
            _ => u32::from_be_bytes(*tfhd.get(8..)?.first_chunk()?),
        };
        // Defaults from `trex` are not needed: mp4mux writes all of them into `tfhd`.
        let (track, mut runs) = runs(traf, &[])?;
        let Run { samples, .. } = runs.pop().filter(|_| runs.is_empty())?;
        let says_place = flags & 0x1 != 0;
        let sizes = samples.iter().map(|(sample, _)| u64::from(sample.size));
        let size = sizes.sum();
        let fits = |(sample, _): &(Sample, u32)| i32::try_from(sample.shift).is_ok();
        let is_writable = !says_place
            && !samples.is_empty()
            && samples.len() <= MAX_SAMPLES
            && size <= MAX_BYTES
            && samples.iter().all(fits);
        is_writable.then_some(Fragment {
            track,
            flags: flags & (HAS_DESCRIPTION | BASE_IS_MOOF),
            description,
            samples,
            media: Vec::new(),
            size,
            limit: 0,
        })
    }

    pub fn begins_with_key_frame(&self) -> bool {
        self.samples.first().is_some_and(|(first, _)| first.sync)
    }

    /// Decode time of its first sample, and end of its last.
    pub fn times(&self) -> (u64, u64) {
        let begin = self
            .samples
            .first()
            .map_or(0, |(first, _)| first.decode_time);
        let end = |(last, _): &(Sample, u32)| last.decode_time.saturating_add(last.duration.into());
        (begin, self.samples.last().map_or(begin, end))
    }

    /// Whether the samples of the next fragment can be appended.
    pub fn can_take(&self, next: &Fragment) -> bool {
        let (_, end) = self.times();
        let (begin, _) = next.times();
        end == begin
            && (self.flags, self.description) == (next.flags, next.description)
            && self.head_fits(next)
            && self.size.saturating_add(next.size) <= MAX_BYTES
    }

    /// Whether the `moof` is short enough with the samples of the next fragment.
    fn head_fits(&self, next: &Fragment) -> bool {
        let space = MAX_HEAD - FIXED_HEAD;
        let count = self.samples.len() + next.samples.len();
        if count <= space / MAX_FIELDS {
            return true;
        }
        let all = self.samples.iter().chain(&next.samples);
        count <= MAX_SAMPLES && count * SampleFields::needed(all).size() <= space
    }

    /// Appends the samples of the next fragment, which [`Self::can_take`] has accepted.
    pub fn append(&mut self, next: Fragment) {
        self.samples.extend(next.samples);
        self.media.extend(next.media);
        self.size = self.size.saturating_add(next.size);
    }

    /// The `moof` with this sequence number, and the `mdat` header.
    pub fn head(&self, number: u32) -> [Vec<u8>; 2] {
        let (begin, _) = self.times();
        let time = [&[1, 0, 0, 0], &begin.to_be_bytes()[..]].concat();
        let tfhd = boxed(b"tfhd", &self.defaults());
        let tfdt = boxed(b"tfdt", &time);
        let mfhd = boxed(b"mfhd", &[[0; 4], number.to_be_bytes()].concat());
        // The data offset is relative to the start of the `moof`.
        let whole = |place: u32| {
            let trun = boxed(b"trun", &self.run(place));
            let traf = boxed(b"traf", &[&tfhd[..], &tfdt, &trun].concat());
            boxed(b"moof", &[&mfhd[..], &traf].concat())
        };
        let length = whole(0).len() + BOX_HEADER;
        let mdat = [&field(self.size + BOX_HEADER as u64)[..], b"mdat"].concat();
        [whole(u32::from_be_bytes(field(length as u64))), mdat]
    }

    /// The first sample with its flags.
    fn first(&self) -> (Sample, u32) {
        self.samples.first().copied().unwrap_or_default()
    }

    /// The content of `tfhd`, with the sample defaults.
    fn defaults(&self) -> Vec<u8> {
        let (first, _) = self.first();
        let default_flags = default_flags(self.samples.iter());
        let flags = self.flags | 0x38;
        let description = (flags & HAS_DESCRIPTION != 0).then_some(self.description);
        let fields = [flags, self.track].into_iter().chain(description);
        let fields = fields.chain([first.duration, first.size, default_flags]);
        fields.flat_map(u32::to_be_bytes).collect()
    }

    /// The content of `trun`, with the fields that differ from the defaults.
    fn run(&self, place: u32) -> Vec<u8> {
        let (_, first_flags) = self.first();
        let needed = SampleFields::needed(self.samples.iter());
        let of_first = !needed.flags && first_flags != default_flags(self.samples.iter());
        let flag = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
        let flags = 0x1
            | flag(of_first, 0x4)
            | flag(needed.durations, 0x100)
            | flag(needed.sizes, 0x200)
            | flag(needed.flags, 0x400)
            | flag(needed.shifts, 0x800);
        // Version 1: composition offsets are signed.
        let head = [
            (1 << 24 | flags).to_be_bytes(),
            field(self.samples.len() as u64),
        ];
        let mut fields: Vec<[u8; 4]> = head.into_iter().chain([place.to_be_bytes()]).collect();
        fields.extend(of_first.then_some(first_flags.to_be_bytes()));
        for (sample, flags) in &self.samples {
            fields.extend(needed.durations.then_some(sample.duration.to_be_bytes()));
            fields.extend(needed.sizes.then_some(sample.size.to_be_bytes()));
            fields.extend(needed.flags.then_some(flags.to_be_bytes()));
            // `parse` accepts those of 32 bits.
            fields.extend(needed.shifts.then_some((sample.shift as i32).to_be_bytes()));
        }
        fields.concat()
    }
}

/// Default sample flags: those of the second sample.
fn default_flags<'a>(mut samples: impl Iterator<Item = &'a (Sample, u32)>) -> u32 {
    let first = samples.next();
    samples.next().or(first).map_or(0, |(_, flags)| *flags)
}

/// The optional fields of each sample in a `trun`: those that differ from the defaults in any sample.
#[derive(Debug, Clone, Copy)]
struct SampleFields {
    durations: bool,
    sizes: bool,
    flags: bool,
    shifts: bool,
}

impl SampleFields {
    fn needed<'a>(samples: impl Iterator<Item = &'a (Sample, u32)> + Clone) -> Self {
        let (first, _) = samples.clone().next().copied().unwrap_or_default();
        let default = default_flags(samples.clone());
        let any = |differs: &dyn Fn(&Sample) -> bool| samples.clone().any(|(s, _)| differs(s));
        SampleFields {
            durations: any(&|sample| sample.duration != first.duration),
            sizes: any(&|sample| sample.size != first.size),
            flags: samples.clone().skip(1).any(|(_, flags)| *flags != default),
            shifts: any(&|sample| sample.shift != 0),
        }
    }

    /// Their length in bytes.
    fn size(self) -> usize {
        let present = [self.durations, self.sizes, self.flags, self.shifts];
        present.into_iter().filter(|is_present| *is_present).count() * 4
    }
}

/// A size or count as a field: see [`MAX_SAMPLES`].
fn field(value: u64) -> [u8; 4] {
    debug_assert!(u32::try_from(value).is_ok());
    u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes()
}

fn boxed(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let size = field((content.len() + BOX_HEADER) as u64);
    [&size, &name[..], content].concat()
}
