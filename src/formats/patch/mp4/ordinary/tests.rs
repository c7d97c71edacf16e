//! A regular file from synthetic fragments, verified with another parser (mp4-atom).

use super::*;
use crate::formats::patch::mp4::{HeaderInfo, Layout};
use mp4_atom::{Any, Decode, Moov};
use std::time::Instant;

const VIDEO_SCALE: u32 = 30_000;
const AUDIO_SCALE: u32 = 48_000;

/// A synthetic recording, as written by a muxer.
struct Recording {
    layout: Layout,
    /// Length of the muxer's output.
    muxer: u64,
    /// Length of the file, and its bytes unless there are too many.
    file: Vec<u8>,
    length: u64,
}

impl Recording {
    /// With a video and an audio track, whose encoder delay is this many samples.
    fn new(late: u32) -> Self {
        let mut this = Recording {
            layout: Layout::default(),
            muxer: 0,
            file: Vec::new(),
            length: 0,
        };
        let ftyp = boxed(b"ftyp", b"mp42\0\0\0\0isomiso2").unwrap();
        let moov = boxed(b"moov", &header(late)).unwrap();
        this.write(&[ftyp, moov].concat());
        this
    }

    fn write(&mut self, bytes: &[u8]) {
        use crate::formats::patch::Patched;
        let patched = self
            .layout
            .patch(self.muxer, bytes, &HeaderInfo::default(), &mut None);
        self.muxer += bytes.len() as u64;
        let all = match patched {
            None | Some(Patched::Same) => bytes.to_vec(),
            Some(Patched::Changed(new)) => new,
            Some(Patched::Behind(filler)) => [&filler, bytes].concat(),
            Some(Patched::Dropped) => Vec::new(),
        };
        self.length += all.len() as u64;
        self.file.extend(all);
    }

    /// A fragment with these samples (duration, size, composition offset), filled with bytes of value `media`.
    fn fragment(&mut self, track: u8, time: u64, samples: &[(u32, u32, i32)], media: Option<u8>) {
        let mut tfdt = vec![1, 0, 0, 0];
        tfdt.extend(time.to_be_bytes());
        let mut trun = vec![1, 0, 0x0f, 1];
        trun.extend((samples.len() as u32).to_be_bytes());
        let at = 8 + 16 + 8 + 16 + 20 + 20 + 16 * samples.len() as u32;
        trun.extend((at + 8).to_be_bytes());
        let mut data = Vec::new();
        let mut size = 0;
        for (n, (duration, length, shift)) in samples.iter().enumerate() {
            let flags = if n == 0 { 0u32 } else { 1 << 16 };
            for field in [*duration, *length, flags, shift.cast_unsigned()] {
                trun.extend(field.to_be_bytes());
            }
            size += u64::from(*length);
            if let Some(media) = media {
                data.extend(vec![media; *length as usize]);
            }
        }
        let traf = [
            boxed(b"tfhd", &[0, 0, 0, 0, 0, 0, 0, track]).unwrap(),
            boxed(b"tfdt", &tfdt).unwrap(),
            boxed(b"trun", &trun).unwrap(),
        ];
        let traf = boxed(b"traf", &traf.concat()).unwrap();
        let moof = boxed(b"moof", &[fields(b"mfhd", &[0, 1]), traf].concat()).unwrap();
        assert_eq!(moof.len() as u32, at);
        self.write(&moof);
        let head = [&(size as u32 + 8).to_be_bytes()[..], b"mdat"].concat();
        self.write(&head);
        if media.is_some() {
            self.write(&data);
        } else {
            self.muxer += size;
            self.length += size;
        }
    }

    /// Start and end of the regular file.
    fn end(&mut self) -> Completion {
        self.layout
            .take_ending(Vec::new())
            .ordinary(self.length)
            .unwrap()
    }
}

/// A box with these 32-bit fields.
fn fields(name: &[u8; 4], numbers: &[u32]) -> Vec<u8> {
    let content: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
    boxed(name, &content).unwrap()
}

fn trak(number: u32, handler: &[u8; 4], timescale: u32, entry: Vec<u8>, late: u32) -> Vec<u8> {
    const ONE: u32 = 1 << 16;
    let matrix = [ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30];
    let tkhd = [&[7, 1, 1, number, 0, 0, 0, 0, 0, 0][..], &matrix, &[0, 0]].concat();
    let hdlr = [&[0; 8], &handler[..], &[0; 13]].concat();
    let media = if handler == b"vide" {
        fields(b"vmhd", &[1, 0, 0])
    } else {
        fields(b"smhd", &[0, 0])
    };
    let url = fields(b"url ", &[1]);
    let dref = [&[0, 0, 0, 0, 0, 0, 0, 1], &url[..]].concat();
    let dinf = boxed(b"dinf", &boxed(b"dref", &dref).unwrap()).unwrap();
    let stsd = [&[0, 0, 0, 0, 0, 0, 0, 1], &entry[..]].concat();
    let stbl = [
        boxed(b"stsd", &stsd).unwrap(),
        fields(b"stts", &[0, 0]),
        fields(b"stsc", &[0, 0]),
        fields(b"stsz", &[0, 0, 0]),
        fields(b"stco", &[0, 0]),
    ];
    let minf = [media, dinf, boxed(b"stbl", &stbl.concat()).unwrap()].concat();
    let mdia = [
        fields(b"mdhd", &[0, 1, 1, timescale, 0, 0x55c4_0000]),
        boxed(b"hdlr", &hdlr).unwrap(),
        boxed(b"minf", &minf).unwrap(),
    ];
    let mut parts = fields(b"tkhd", &tkhd);
    if late > 0 {
        let elst = fields(b"elst", &[0, 1, 0, late, ONE]);
        parts.extend(boxed(b"edts", &elst).unwrap());
    }
    parts.extend(boxed(b"mdia", &mdia.concat()).unwrap());
    boxed(b"trak", &parts).unwrap()
}

/// The content of a `moov` with VP9 and Opus tracks, and a name.
fn header(late: u32) -> Vec<u8> {
    let mut visual = vec![0; 78];
    visual[7] = 1;
    visual.extend(boxed(b"vpcC", &[1, 0, 0, 0, 0, 10, 0x82, 6, 6, 6, 0, 0]).unwrap());
    let mut audio = vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 16];
    audio.extend([0, 0, 0, 0, 0xbb, 0x80, 0, 0]);
    audio.extend(boxed(b"dOps", &[0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0]).unwrap());
    let mut mvhd = vec![0, 1, 1, 3_000, 0, 1 << 16, 1 << 24, 0, 0];
    mvhd.extend([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30]);
    mvhd.extend([0, 0, 0, 0, 0, 0, 3]);
    let trex = |track| fields(b"trex", &[0, track, 1, 0, 0, 0]);
    let mvex = [fields(b"mehd", &[0, 0]), trex(1), trex(2)].concat();
    [
        fields(b"mvhd", &mvhd),
        trak(1, b"vide", VIDEO_SCALE, boxed(b"vp09", &visual).unwrap(), 0),
        trak(
            2,
            b"soun",
            AUDIO_SCALE,
            boxed(b"Opus", &audio).unwrap(),
            late,
        ),
        boxed(b"mvex", &mvex).unwrap(),
        boxed(b"free", b"a name").unwrap(),
    ]
    .concat()
}

fn decoded(appended: &gst::Buffer) -> Moov {
    let bytes = appended.map_readable().unwrap();
    assert_eq!(&bytes[4..8], b"free");
    // The titles of chapters come first.
    let name = bytes.windows(4).position(|name| name == b"moov").unwrap();
    match Any::decode(&mut &bytes[name - 4..]) {
        Ok(Any::Moov(moov)) => moov,
        other => panic!("{other:?}"),
    }
}

fn applied(file: &[u8], ordinary: &Completion, patches: usize) -> Vec<u8> {
    let mut file = file.to_vec();
    file.extend_from_slice(&ordinary.appended.map_readable().unwrap());
    for (at, bytes) in &ordinary.patches[..patches] {
        let at = *at as usize;
        file[at..at + bytes.size()].copy_from_slice(&bytes.map_readable().unwrap());
    }
    file
}

fn names(mut bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    while !bytes.is_empty() {
        names.push(Any::decode(&mut bytes).unwrap().kind().to_string());
    }
    names
}

fn recording() -> Recording {
    gst::init().unwrap();
    let mut recording = Recording::new(312);
    // 3 s of video, with the second frame presented after the third; 3 s of audio plus priming.
    for second in 0..3u64 {
        let video = [(10_000, 2_000, 0), (10_000, 300, 10_000), (10_000, 100, 0)];
        let mut video = video.to_vec();
        video[2].2 = -10_000;
        recording.fragment(1, second * 30_000, &video, Some(b'v'));
        let audio = vec![(960, 80, 0); 50];
        recording.fragment(2, second * 48_000, &audio, Some(b'a'));
    }
    recording.fragment(2, 144_000, &[(312, 80, 0)], Some(b'a'));
    recording
}

#[test]
fn fragments_become_one_mdat_and_every_sample_has_an_offset() {
    let mut recording = recording();
    let fragmented = recording.file.clone();
    let ordinary = recording.end();
    for patches in [0, 1] {
        let file = applied(&fragmented, &ordinary, patches);
        let names = names(&file);
        assert_eq!(names.iter().filter(|name| *name == "moof").count(), 7);
        assert_eq!(names.last().unwrap(), "free");
    }
    let file = applied(&fragmented, &ordinary, 2);
    assert_eq!(names(&file), ["ftyp", "mdat", "moov"]);
    for (at, bytes) in &ordinary.patches {
        assert_eq!((at % 8, bytes.size()), (0, 8));
    }
    let moov = decoded(&ordinary.appended);
    assert!(moov.mvex.is_none());
    assert_eq!(
        moov.mvhd.timescale, 240_000,
        "of which both are whole parts"
    );
    assert_eq!(moov.mvhd.duration, 3 * 240_000);
    for (track, sample, of) in [(0, 9, b'v'), (1, 151, b'a')] {
        let stbl = &moov.trak[track].mdia.minf.stbl;
        let sizes: Vec<usize> = match &stbl.stsz.samples {
            mp4_atom::StszSamples::Identical { count, size } => {
                vec![*size as usize; *count as usize]
            }
            mp4_atom::StszSamples::Different { sizes } => {
                sizes.iter().map(|size| *size as usize).collect()
            }
        };
        assert_eq!(sizes.len(), sample);
        let chunks = &stbl.stco.as_ref().unwrap().entries;
        let mut sizes = sizes.into_iter();
        for (number, place) in (1..).zip(chunks) {
            let mut entries = stbl.stsc.entries.iter().rev();
            let run = entries.find(|run| run.first_chunk <= number).unwrap();
            let mut at = *place as usize;
            for _ in 0..run.samples_per_chunk {
                let next = at + sizes.next().unwrap();
                assert!(file[at..next].iter().all(|byte| *byte == of));
                at = next;
            }
        }
        assert_eq!(sizes.next(), None);
    }
}

#[test]
fn edit_lists_skip_priming_and_end_with_the_last_sample() {
    let moov = decoded(&recording().end().appended);
    let [video, audio] = &moov.trak[..] else {
        panic!("{moov:?}");
    };
    assert!(video.edts.is_none(), "all of it is shown, from 0 on");
    assert_eq!(video.mdia.mdhd.duration, 90_000);
    assert!(video.mdia.minf.stbl.ctts.is_some());
    let syncs = video.mdia.minf.stbl.stss.as_ref().unwrap();
    assert_eq!(syncs.entries, [1, 4, 7]);
    let edits = &audio.edts.as_ref().unwrap().elst.as_ref().unwrap().entries;
    assert_eq!(edits.len(), 1);
    assert_eq!(edits[0].media_time, Some(312));
    assert_eq!(edits[0].segment_duration, 3 * 240_000);
    assert_eq!(audio.mdia.mdhd.duration, 144_312);
    assert!(audio.mdia.minf.stbl.stss.is_none());
}

#[test]
fn a_track_without_samples_stays_in_the_moov() {
    gst::init().unwrap();
    let mut recording = Recording::new(0);
    recording.fragment(1, 0, &[(30_000, 10, 0)], Some(0));
    let moov = decoded(&recording.end().appended);
    assert_eq!(moov.trak.len(), 2);
    assert_eq!(moov.trak[1].tkhd.duration, 0);
    assert_eq!(moov.mvhd.duration, 240_000);
}

#[test]
fn values_beyond_32_bits_use_64() {
    gst::init().unwrap();
    let mut recording = Recording::new(312);
    let second = vec![(1_000, 10_000_000, 0); 30];
    for n in 0..20 {
        recording.fragment(1, n * 30_000, &second, None);
    }
    // A day later.
    let day = 86_400 * 48_000;
    recording.fragment(2, 0, &[(960, 80, 0)], None);
    recording.fragment(2, day, &[(960, 80, 0)], None);
    let room = recording.layout.ending.head().unwrap();
    let length = recording.length;
    assert!(length > 6_000_000_000);
    let ordinary = recording.end();
    let media = ordinary.patches[0].1.map_readable().unwrap().to_vec();
    assert_eq!(media, (length + 8 - room).to_be_bytes());
    let moov = decoded(&ordinary.appended);
    let places = |track: usize| moov.trak[track].mdia.minf.stbl.co64.as_ref().unwrap();
    assert_eq!(places(0).entries.len(), 20);
    assert!(places(1).entries[1] > 6_000_000_000);
    let lasts = (day + 960 - 312) * 5;
    assert_eq!(moov.trak[1].tkhd.duration, lasts);
    assert_eq!(moov.mvhd.duration, lasts);
    let edits = moov.trak[1].edts.as_ref().unwrap().elst.as_ref().unwrap();
    assert_eq!(edits.entries[0].segment_duration, lasts);
}

#[test]
fn an_hour_needs_little_memory_and_converts_at_once() {
    gst::init().unwrap();
    let mut recording = Recording::new(1_588);
    let mut chance = 1u32;
    let mut size = |least: u32, most: u32| {
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        least + chance % (most - least)
    };
    for second in 0..3_600u64 {
        let video: Vec<_> = (0..30).map(|_| (1_000, size(2_000, 9_000), 0)).collect();
        recording.fragment(1, second * 30_000, &video, None);
        let audio: Vec<_> = (0..47).map(|_| (1_024, size(300, 400), 0)).collect();
        recording.fragment(2, second * 48_128, &audio, None);
    }
    let length = recording.length;
    let mut ending = recording.layout.take_ending(Vec::new());
    let memory = ending.tables.memory();
    let begun = Instant::now();
    let ordinary = ending.ordinary(length).unwrap();
    let took = begun.elapsed();
    println!(
        "{memory} bytes in memory, {} in the file, made in {took:?}",
        ordinary.appended.size()
    );
    assert!(memory < 3_000_000, "{memory}");
    assert!(ordinary.appended.size() < 1_500_000);
    assert_eq!(decoded(&ordinary.appended).trak.len(), 2);
}

/// Whatever is corrupted in a fragment or a header, there is no panic, and the output stays small.
#[test]
fn malformed_fragments_do_no_harm() {
    let whole = recording().file;
    for at in 0..whole.len().min(2_500) {
        for value in [0, 1, 7, 0x80, 0xff] {
            let mut broken = whole.clone();
            broken[at] = value;
            let mut layout = Layout::default();
            for part in boxes(&broken) {
                let bytes = &broken[part.start..part.end];
                let _ = layout.patch(part.start as u64, bytes, &HeaderInfo::default(), &mut None);
            }
            let mut ending = layout.take_ending(Vec::new());
            if let Some(ordinary) = ending.ordinary(whole.len() as u64) {
                assert!(ordinary.appended.size() < 1 << 20);
            }
        }
    }
}

#[test]
fn chapters_of_a_day_use_64_bits() {
    gst::init().unwrap();
    let mut recording = recording();
    let day = 86_400 * 48_000;
    recording.fragment(2, day, &[(960, 80, 0)], None);
    let chapters = [("begin", 1), ("end", 86_000)].map(|(title, second)| Chapter {
        start: second * 1_000_000_000,
        title: title.into(),
    });
    let mut ending = recording.layout.take_ending(chapters.to_vec());
    let moov = decoded(&ending.ordinary(recording.length).unwrap().appended);
    let text = moov.trak.last().unwrap();
    assert_eq!(text.mdia.hdlr.handler, (*b"text").into());
    let edits = &text.edts.as_ref().unwrap().elst.as_ref().unwrap().entries;
    let scale = u64::from(moov.mvhd.timescale);
    let off = text.tkhd.duration.abs_diff(moov.mvhd.duration);
    assert!(off <= scale / 1000, "{off}");
    assert_eq!(edits[0].segment_duration, scale);
    assert!(edits[1].segment_duration > 86_398 * scale);
}
