//! Verifies the boxes of an MP4, fragmented or not, with mp4-atom, a parser outside of this project.

use super::Verdict;
use mp4_atom::{Any, Codec, Decode, Moof, Moov, Tfra, Trak, Trex};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;

/// What was recorded.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The MIME type of `on-start`; the file must have exactly its codecs.
    pub actual: &'a str,
    /// Recorded time in nanoseconds, and how far the file may deviate from it.
    pub total: f64,
    pub tolerance: f64,
    /// Width and height of the video.
    pub size: (u16, u16),
    /// Sample rate and channels of the audio.
    pub rate: u16,
    pub channels: u16,
}

/// The sample flag for a sample that is not a sync sample (ISO 14496-12, 8.8.3.1).
const NOT_SYNC: u32 = 0x1_0000;

fn check(holds: bool, what: impl FnOnce() -> String) -> Verdict<()> {
    if holds { Ok(()) } else { Err(what()) }
}

/// A sample, as described by the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub place: Range<u64>,
    /// Decode time, in the track's timescale.
    pub time: u64,
    /// Composition time offset.
    pub shift: i64,
    pub sync: bool,
}

/// What the header and the fragments so far state about a track.
struct Track {
    scale: f64,
    defaults: Trex,
    /// The media time at which the track's presentation starts, in its timescale (ISO 14496-12, 8.6.6).
    edit: i64,
    /// The decode time at which the next fragment has to start, in the track's timescale.
    next: u64,
    /// Samples by offset of the fragment, and number of `traf` and `trun`, both from 1.
    runs: HashMap<(u64, u32, u32), Vec<Sample>>,
    samples: Vec<Sample>,
}

/// Samples by track ID.
pub type Samples = BTreeMap<u32, Vec<Sample>>;

/// Verifies a fragmented file, with or without an index of the fragments; returns its samples.
pub fn fragmented(bytes: &[u8], recorded: &Recorded) -> Verdict<Samples> {
    let all = boxes(bytes)?;
    let mut boxes = all.iter().filter(|b| !matches!(b.1, Any::Free(_)));
    let (Some((_, Any::Ftyp(ftyp))), Some((_, Any::Moov(moov)))) = (boxes.next(), boxes.next())
    else {
        let names: Vec<_> = all.iter().map(|b| b.1.kind()).collect();
        return Err(format!("mp4-atom: boxes {names:?}"));
    };
    check(!ftyp.compatible_brands.is_empty(), || {
        "mp4-atom: compatible with nothing".to_string()
    })?;
    let mut tracks = header(moov, recorded)?;
    let fragments: Vec<_> = boxes.collect();
    let (fragments, index) = match fragments.split_last() {
        Some(((at, Any::Mfra(index)), fragments)) => (fragments, Some((*at, index))),
        _ => (&fragments[..], None),
    };
    let (pairs, rest) = fragments.as_chunks::<2>();
    check(rest.is_empty() && pairs.len() > 1, || {
        format!("mp4-atom: {} boxes of fragments", fragments.len())
    })?;
    let mut before = 0;
    for pair in pairs {
        let [(at, Any::Moof(moof)), (data_at, Any::Mdat(data))] = pair.map(|b| (&b.0, &b.1)) else {
            return Err(format!(
                "mp4-atom: {} where fragments are",
                pair[0].1.kind()
            ));
        };
        let sequence = moof.mfhd.sequence_number;
        check(sequence > before, || {
            format!("mp4-atom: fragment {sequence} after {before}")
        })?;
        before = sequence;
        // The size of a box header is the box's size minus its content's.
        let mut starts = all.iter().map(|b| b.0);
        let end = starts.find(|start| start > data_at);
        let end = end.unwrap_or(bytes.len() as u64);
        let content = end - data.data.len() as u64..end;
        fragment(*at, moof, content, &mut tracks)
            .map_err(|e| format!("mp4-atom: fragment {sequence}: {e}"))?;
    }
    for (id, track) in &tracks {
        let lasts = track.next as f64 / track.scale * 1e9;
        check((lasts - recorded.total).abs() <= recorded.tolerance, || {
            format!(
                "mp4-atom: samples of track {id} last {lasts} ns of {}",
                recorded.total
            )
        })?;
    }
    if let Some((at, index)) = index {
        let size = bytes.len() as u64 - at;
        check(u64::from(index.mfro.parent_size) == size, || {
            format!(
                "mp4-atom: mfro has {}, mfra has {size} bytes",
                index.mfro.parent_size
            )
        })?;
        check(index.tfra.len() == tracks.len(), || {
            format!("mp4-atom: the index is of {} tracks", index.tfra.len())
        })?;
        for entries in &index.tfra {
            let track = tracks
                .get(&entries.track_id)
                .ok_or("mp4-atom: an index of no track")?;
            indexed(entries, track)
                .map_err(|e| format!("mp4-atom: index of track {}: {e}", entries.track_id))?;
        }
    }
    let samples = tracks.into_iter().map(|(id, track)| (id, track.samples));
    Ok(samples.collect())
}

/// Verifies that AV1 and VP9 are described as in `other`, which another program muxed from the same stream.
pub fn described_alike(path: &Path, other: &Path) -> Verdict<()> {
    let entry = |path: &Path| {
        let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
        let entry = boxes(&bytes)?.into_iter().find_map(|(_, found)| {
            let Any::Moov(moov) = found else { return None };
            let mut entries = moov
                .trak
                .into_iter()
                .flat_map(|t| t.mdia.minf.stbl.stsd.codecs);
            entries.find(|entry| entry.visual().is_some())
        });
        entry.ok_or_else(|| "mp4-atom: no video".to_string())
    };
    match (entry(path)?, entry(other)?) {
        (Codec::Av01(ours), Codec::Av01(mut theirs)) => {
            if ours.av1c.config_obus.is_empty() {
                // These may be omitted.
                theirs.av1c.config_obus.clear();
            }
            check(ours.av1c == theirs.av1c, || {
                format!("{:?}, should be {:?}", ours.av1c, theirs.av1c)
            })
        }
        (Codec::Vp09(ours), Codec::Vp09(theirs)) => {
            let fields = |entry: &mp4_atom::Vp09| {
                (entry.vpcc.profile, entry.vpcc.level, entry.vpcc.bit_depth)
            };
            check(fields(&ours) == fields(&theirs), || {
                format!("{:?}, should be {:?}", ours.vpcc, theirs.vpcc)
            })
        }
        entries => Err(format!("sample entries {entries:?}")),
    }
}

/// All boxes of the file, completely decoded, each with its offset.
pub fn boxes(bytes: &[u8]) -> Verdict<Vec<(u64, Any)>> {
    let mut rest = bytes;
    let mut boxes = Vec::new();
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let found = Any::decode(&mut rest).map_err(|e| format!("mp4-atom: box at {at}: {e}"))?;
        boxes.push((at as u64, found));
    }
    Ok(boxes)
}

/// The tracks by ID, each of the codec that was recorded.
fn header(moov: &Moov, recorded: &Recorded) -> Verdict<HashMap<u32, Track>> {
    let extends = moov.mvex.as_ref().ok_or("mp4-atom: no mvex")?;
    let lasts = extends
        .mehd
        .as_ref()
        .ok_or("mp4-atom: no mehd")?
        .fragment_duration;
    let lasts = lasts as f64 / f64::from(moov.mvhd.timescale) * 1e9;
    check((lasts - recorded.total).abs() <= recorded.tolerance, || {
        format!("mp4-atom: mehd has {lasts} ns, expected {}", recorded.total)
    })?;
    described(moov, recorded)?;
    let mut tracks = HashMap::new();
    for trak in &moov.trak {
        let id = trak.tkhd.track_id;
        let defaults = extends.trex.iter().find(|trex| trex.track_id == id);
        let defaults = defaults.ok_or_else(|| format!("mp4-atom: no trex of track {id}"))?;
        let track = Track {
            scale: f64::from(trak.mdia.mdhd.timescale),
            defaults: defaults.clone(),
            edit: edit(trak),
            next: 0,
            runs: HashMap::new(),
            samples: Vec::new(),
        };
        tracks.insert(id, track);
    }
    Ok(tracks)
}

/// Verifies that the tracks are those that were recorded, and their descriptions.
pub fn described(moov: &Moov, recorded: &Recorded) -> Verdict<()> {
    let mut named = Vec::new();
    let mut numbers = BTreeSet::new();
    for trak in &moov.trak {
        let id = trak.tkhd.track_id;
        named.push(codec(trak, recorded).map_err(|e| format!("mp4-atom: track {id}: {e}"))?);
        if !trak.tkhd.enabled || !numbers.insert(id) {
            return Err(format!("mp4-atom: track {id} is disabled, or not alone"));
        }
    }
    named.sort();
    let mut expected: Vec<_> = recorded
        .actual
        .split("codecs=")
        .nth(1)
        .unwrap_or_default()
        .split(',')
        .collect();
    expected.sort_unstable();
    check(named == expected, || {
        format!(
            "mp4-atom: tracks are {named:?}, on-start named {}",
            recorded.actual
        )
    })
}

/// The media time at which the presentation starts.
fn edit(trak: &Trak) -> i64 {
    let list = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref());
    let mut entries = list.into_iter().flat_map(|list| &list.entries);
    let first = entries.find_map(|entry| entry.media_time);
    first.map_or(0, |time| time as i64)
}

/// Verifies a track's sample entry; returns its codec string, from the codec's configuration record.
fn codec(trak: &Trak, recorded: &Recorded) -> Verdict<String> {
    let media = &trak.mdia;
    let [entry] = media.minf.stbl.stsd.codecs.as_slice() else {
        return Err("not one sample entry".to_string());
    };
    let handler: [u8; 4] = media.hdlr.handler.into();
    let scale = media.mdhd.timescale;
    if let Some(visual) = entry.visual() {
        check(&handler == b"vide" && media.minf.vmhd.is_some(), || {
            format!("video with handler {:?}", media.hdlr.handler)
        })?;
        check((visual.width, visual.height) == recorded.size, || {
            format!("video of {}x{}", visual.width, visual.height)
        })?;
        // So that 1/30 s is an integer.
        check(scale.is_multiple_of(30), || {
            format!("video with a timescale of {scale}")
        })?;
    } else {
        let audio = match entry {
            Codec::Mp4a(entry) => &entry.audio,
            Codec::Opus(entry) => &entry.audio,
            other => return Err(format!("sample entry {other:?}")),
        };
        check(&handler == b"soun" && media.minf.smhd.is_some(), || {
            format!("audio with handler {:?}", media.hdlr.handler)
        })?;
        let found = (audio.sample_rate.integer(), audio.channel_count);
        check(found == (recorded.rate, recorded.channels), || {
            format!("audio with rate and channels {found:?}")
        })?;
        check(scale == u32::from(recorded.rate), || {
            format!("audio with a timescale of {scale}")
        })?;
    }
    let avc = |entry: &str, record: &mp4_atom::Avcc| {
        format!(
            "{entry}.{:02X}{:02X}{:02X}",
            record.avc_profile_indication,
            record.profile_compatibility,
            record.avc_level_indication
        )
    };
    Ok(match entry {
        Codec::Avc1(entry) => {
            check(
                !entry.avcc.sequence_parameter_sets.is_empty()
                    && !entry.avcc.picture_parameter_sets.is_empty(),
                || "avc1 without parameter sets".to_string(),
            )?;
            avc("avc1", &entry.avcc)
        }
        Codec::Avc3(entry) => avc("avc3", &entry.avcc),
        Codec::Hvc1(entry) => {
            // VPS, SPS and PPS (ISO 23008-2, table 7-1).
            let has = |kind| {
                let mut arrays = entry.hvcc.arrays.iter();
                arrays.any(|a| a.nal_unit_type == kind && !a.nalus.is_empty())
            };
            check([32, 33, 34].into_iter().all(has), || {
                "hvc1 without parameter sets".to_string()
            })?;
            hevc("hvc1", &entry.hvcc)
        }
        Codec::Hev1(entry) => hevc("hev1", &entry.hvcc),
        Codec::Vp09(entry) => {
            let record = &entry.vpcc;
            format!(
                "vp09.{:02}.{:02}.{:02}",
                record.profile, record.level, record.bit_depth
            )
        }
        Codec::Av01(entry) => {
            let record = &entry.av1c;
            format!(
                "av01.{}.{:02}{}.{}",
                record.seq_profile,
                record.seq_level_idx_0,
                if record.seq_tier_0 { 'H' } else { 'M' },
                match (record.high_bitdepth, record.twelve_bit) {
                    (false, _) => "08",
                    (true, false) => "10",
                    (true, true) => "12",
                }
            )
        }
        Codec::Mp4a(entry) => {
            let config = &entry.esds.es_desc.dec_config;
            match (config.object_type_indication, &config.dec_specific) {
                (0x40, Some(aac)) => {
                    // 3 stands for 48 kHz (ISO 14496-3, table 1.18).
                    let found = (aac.freq_index, u16::from(aac.chan_conf));
                    check(found == (3, recorded.channels), || {
                        format!("AAC of frequency index and channels {found:?}")
                    })?;
                    format!("mp4a.40.{}", aac.profile)
                }
                // MPEG-2 and MPEG-1 audio (ISO 14496-1, table 5).
                (0x69 | 0x6b, _) => "mp3".to_string(),
                (other, specific) => return Err(format!("mp4a of type {other:#x}, {specific:?}")),
            }
        }
        Codec::Opus(entry) => {
            let found = (
                u16::from(entry.dops.output_channel_count),
                entry.dops.input_sample_rate,
            );
            check(
                found == (recorded.channels, u32::from(recorded.rate)) && entry.dops.pre_skip > 0,
                || format!("{:?}", entry.dops),
            )?;
            "opus".to_string()
        }
        other => return Err(format!("sample entry {other:?}")),
    })
}

/// `hvc1.…` from the record (ISO 14496-15 annex E).
fn hevc(entry: &str, record: &mp4_atom::Hvcc) -> String {
    let space = ["", "A", "B", "C"][usize::from(record.general_profile_space)];
    let flags = u32::from_be_bytes(record.general_profile_compatibility_flags).reverse_bits();
    let tier = if record.general_tier_flag { 'H' } else { 'L' };
    let mut constraints = record.general_constraint_indicator_flags.to_vec();
    while constraints.last() == Some(&0) {
        constraints.pop();
    }
    let constraints: String = constraints
        .iter()
        .map(|byte| format!(".{byte:X}"))
        .collect();
    format!(
        "{entry}.{space}{}.{flags:X}.{tier}{}{constraints}",
        record.general_profile_idc, record.general_level_idc
    )
}

/// Verifies a fragment at `at`: each track continues where it was, and the samples cover all of `content` exactly
/// once.
fn fragment(
    at: u64,
    moof: &Moof,
    content: Range<u64>,
    tracks: &mut HashMap<u32, Track>,
) -> Verdict<()> {
    let mut places: Vec<Range<u64>> = Vec::new();
    // By default, the first track's data offset is relative to the fragment, and the others' to the end of the
    // previous one (ISO 14496-12, 8.8.7).
    let mut implied = at;
    for (traf, number) in moof.traf.iter().zip(1..) {
        let head = &traf.tfhd;
        let track = tracks
            .get_mut(&head.track_id)
            .ok_or_else(|| format!("track {} is not in the header", head.track_id))?;
        let begins = traf.tfdt.as_ref().ok_or("no tfdt")?.base_media_decode_time;
        check(begins == track.next, || {
            format!(
                "track {} continues at {begins}, expected {}",
                head.track_id, track.next
            )
        })?;
        let base = match (head.base_data_offset, head.default_base_is_moof) {
            (Some(base), _) => base,
            (None, true) => at,
            (None, false) => implied,
        };
        for (run, in_traf) in traf.trun.iter().zip(1..) {
            let offset = run.data_offset.ok_or("a run without its place")?;
            let mut place = base
                .checked_add_signed(i64::from(offset))
                .ok_or("a run before the file")?;
            let mut samples = Vec::new();
            for entry in &run.samples {
                let defaults = &track.defaults;
                let duration = entry
                    .duration
                    .or(head.default_sample_duration)
                    .unwrap_or(defaults.default_sample_duration);
                let size = entry
                    .size
                    .or(head.default_sample_size)
                    .unwrap_or(defaults.default_sample_size);
                let flags = entry
                    .flags
                    .or(head.default_sample_flags)
                    .unwrap_or(defaults.default_sample_flags);
                check(size > 0, || "an empty sample".to_string())?;
                samples.push(Sample {
                    place: place..place + u64::from(size),
                    time: track.next,
                    shift: entry.cts.unwrap_or(0),
                    sync: flags & NOT_SYNC == 0,
                });
                places.push(place..place + u64::from(size));
                place += u64::from(size);
                track.next += u64::from(duration);
            }
            implied = place;
            track.samples.extend_from_slice(&samples);
            track.runs.insert((at, number, in_traf), samples);
        }
    }
    places.sort_by_key(|place| place.start);
    let mut reached = content.start;
    for place in places {
        check(place.start == reached, || {
            format!("a sample at {place:?} where {reached} is next, of {content:?}")
        })?;
        reached = place.end;
    }
    check(reached == content.end, || {
        format!("samples end at {reached}, content is {content:?}")
    })
}

/// Verifies that each entry of a track's index refers to an existing sync sample, at its time.
fn indexed(index: &Tfra, track: &Track) -> Verdict<()> {
    check(!index.entries.is_empty(), || "empty".to_string())?;
    for entry in &index.entries {
        let run = (entry.moof_offset, entry.traf_number, entry.trun_number);
        let samples = track
            .runs
            .get(&run)
            .ok_or_else(|| format!("{entry:?} is no run of this track"))?;
        let sample = (entry.sample_delta as usize)
            .checked_sub(1)
            .and_then(|n| samples.get(n))
            .ok_or_else(|| format!("{entry:?}: the run has {} samples", samples.len()))?;
        // Writers use presentation time with or without the edit list.
        let shown = sample.time as i64 + sample.shift;
        let times = [shown, shown - track.edit];
        check(sample.sync && times.contains(&(entry.time as i64)), || {
            format!(
                "{entry:?}: the sample is presented at {times:?}, keyframe: {}",
                sample.sync
            )
        })?;
    }
    Ok(())
}
