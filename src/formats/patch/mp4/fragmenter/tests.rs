//! Joins synthetic single-sample fragments, and verifies the result with another parser (mp4-atom).

use super::*;
use crate::formats::boxes::boxed;
use mp4_atom::{Any, Decode, Moof};
use proptest::prelude::*;

const MS: u64 = 1_000_000;
const VIDEO: u32 = 1;
const AUDIO: u32 = 2;
/// Both tracks have a timescale of milliseconds.
const TIMESCALE: u32 = 1_000;

fn words(name: &[u8; 4], words: &[u32]) -> Vec<u8> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    boxed(name, &bytes).unwrap()
}

fn moov() -> Vec<u8> {
    let trak = |number: u32, handler: &[u8; 4]| {
        let hdlr = boxed(b"hdlr", &[&[0; 8], &handler[..], &[0; 13]].concat()).unwrap();
        let mdhd = words(b"mdhd", &[0, 0, 0, TIMESCALE, 0, 0]);
        let mdia = boxed(b"mdia", &[mdhd, hdlr].concat()).unwrap();
        let tkhd = words(b"tkhd", &[0, 0, 0, number, 0, 0]);
        boxed(b"trak", &[tkhd, mdia].concat()).unwrap()
    };
    boxed(
        b"moov",
        &[trak(VIDEO, b"vide"), trak(AUDIO, b"soun")].concat(),
    )
    .unwrap()
}

/// A sample: track, decode time and duration in milliseconds, size, keyframe flag.
#[derive(Debug, Clone, Copy)]
struct Given(u32, u64, u32, u32, bool);

/// A muxer, and the output made from its bytes.
struct Muxer {
    fragmenter: Fragmenter,
    at: u64,
    file: Vec<u8>,
    late: Ns,
}

impl Muxer {
    fn new(timeslice: Ns) -> Self {
        gst::init().unwrap();
        let mut this = Muxer {
            fragmenter: Fragmenter::default(),
            at: 0,
            file: Vec::new(),
            late: 0,
        };
        this.fragmenter.set_timeslice(timeslice);
        this.write(gst::Buffer::from_mut_slice(moov()));
        this
    }

    fn write(&mut self, buffer: gst::Buffer) {
        let (at, late) = (self.at, self.late);
        self.at += buffer.size() as u64;
        let audio = |index| if index == 1 { late } else { 0 };
        let writes = self.fragmenter.push(at, buffer, &audio);
        self.take(writes);
    }

    fn take(&mut self, writes: Vec<Write>) {
        for (position, buffer) in writes {
            assert_eq!(position, self.file.len() as u64, "without a gap");
            self.file.extend_from_slice(&buffer.map_readable().unwrap());
        }
    }

    fn end(&mut self) {
        let writes = self.fragmenter.end_fragments();
        self.take(writes);
    }

    /// A sample as written by mp4mux, filled with its time in milliseconds.
    fn sample(&mut self, given: Given) {
        let Given(track, time, duration, size, is_key) = given;
        let flags = if is_key { 0 } else { 1 << 16 };
        let tfhd = words(b"tfhd", &[0x2_0038, track, duration, size, flags]);
        let tfdt = words(b"tfdt", &[1 << 24, 0, time as u32]);
        let place = 8 + 16 + 8 + 28 + 20 + 20 + 8;
        let trun = words(b"trun", &[1, 1, place]);
        let traf = boxed(b"traf", &[tfhd, tfdt, trun].concat()).unwrap();
        let moof = boxed(b"moof", &[words(b"mfhd", &[0, 7]), traf].concat()).unwrap();
        self.write(gst::Buffer::from_mut_slice(moof));
        // An empty `mdat`, as written by mp4mux 1.22.
        let mdat = if size == 0 { 0 } else { size + 8 };
        let mdat = [&mdat.to_be_bytes()[..], b"mdat"].concat();
        self.write(gst::Buffer::from_mut_slice(mdat));
        let mut media = gst::Buffer::from_mut_slice(vec![time as u8; size as usize]);
        let fields = media.get_mut().unwrap();
        let late = if track == AUDIO { self.late } else { 0 };
        fields.set_pts(gst::ClockTime::from_nseconds(time * MS + late));
        self.write(media);
    }

    /// Sequence number, track, start in milliseconds and samples (duration, size, keyframe) of each fragment.
    fn fragments(&self) -> Vec<Read> {
        let mut found: Vec<Read> = Vec::new();
        let mut moof: Option<(usize, Moof)> = None;
        let mut rest = &self.file[moov().len()..];
        while !rest.is_empty() {
            let at = self.file.len() - rest.len();
            match Any::decode(&mut rest).unwrap() {
                Any::Moof(head) => moof = Some((at, head)),
                Any::Mdat(mdat) => {
                    let (begin, head) = moof.take().expect("a head");
                    assert_eq!(head.traf.len(), 1);
                    let traf = &head.traf[0];
                    let (tfhd, run) = (&traf.tfhd, &traf.trun[0]);
                    let place = usize::try_from(run.data_offset.unwrap()).unwrap();
                    assert_eq!(begin + place, at + 8);
                    let mut time = traf.tfdt.as_ref().unwrap().base_media_decode_time;
                    let mut media = mdat.data.as_slice();
                    let first = time;
                    let mut samples = Vec::new();
                    for entry in &run.samples {
                        let duration = entry.duration.or(tfhd.default_sample_duration);
                        let size = entry.size.or(tfhd.default_sample_size).unwrap();
                        let flags = entry.flags.or(tfhd.default_sample_flags).unwrap();
                        let (own, left) = media.split_at(size as usize);
                        assert!(own.iter().all(|byte| *byte == time as u8), "at {time}");
                        media = left;
                        samples.push((duration.unwrap(), size, flags & 1 << 16 == 0));
                        time += u64::from(duration.unwrap());
                    }
                    assert!(media.is_empty());
                    let number = head.mfhd.sequence_number;
                    found.push((number, tfhd.track_id, first, samples));
                }
                other => panic!("{other:?}"),
            }
        }
        found
    }

    /// Track, start and end of each fragment.
    fn spans(&self) -> Vec<(u32, u64, u64)> {
        let fragments = self.fragments().into_iter();
        let spans = fragments.map(|(_, track, begin, samples)| {
            let lasts: u64 = samples.iter().map(|sample| u64::from(sample.0)).sum();
            (track, begin, begin + lasts)
        });
        spans.collect()
    }
}

type Read = (u32, u32, u64, Vec<(u32, u32, bool)>);

#[test]
fn samples_of_a_fragment_keep_what_they_are() {
    let mut muxer = Muxer::new(0);
    muxer.sample(Given(VIDEO, 0, 40, 9, true));
    muxer.sample(Given(AUDIO, 0, 20, 5, true));
    muxer.sample(Given(AUDIO, 20, 20, 5, true));
    muxer.sample(Given(VIDEO, 40, 30, 4, false));
    muxer.sample(Given(AUDIO, 40, 20, 0, true));
    muxer.sample(Given(VIDEO, 70, 40, 3, false));
    assert_eq!(muxer.fragments(), []);
    muxer.end();
    let video = vec![(40, 9, true), (30, 4, false), (40, 3, false)];
    let audio = vec![(20, 5, true), (20, 5, true), (20, 0, true)];
    assert_eq!(
        muxer.fragments(),
        [(1, VIDEO, 0, video), (2, AUDIO, 0, audio)]
    );
    // Nothing is repeated, and recording continues from there.
    muxer.end();
    muxer.sample(Given(AUDIO, 60, 20, 5, true));
    muxer.end();
    let last = muxer.fragments().pop().unwrap();
    assert_eq!(last, (3, AUDIO, 60, vec![(20, 5, true)]));
    assert_eq!(muxer.fragmenter.place(muxer.at), muxer.file.len() as u64);
    assert_eq!(muxer.fragmenter.place(4), 4);
}

#[test]
fn a_fragment_lasts_a_second_or_to_the_next_key_frame() {
    let mut muxer = Muxer::new(0);
    for n in 0..60 {
        let is_key = [0, 10, 50].contains(&n);
        muxer.sample(Given(VIDEO, n * 40, 40, 1, is_key));
    }
    muxer.end();
    let spans = [(0, 400), (400, 1400), (1400, 2000), (2000, 2400)];
    assert_eq!(muxer.spans(), spans.map(|(begin, end)| (VIDEO, begin, end)));
}

#[test]
fn the_last_fragment_of_a_track_that_has_ended_is_written() {
    let mut muxer = Muxer::new(0);
    muxer.sample(Given(VIDEO, 0, 40, 1, true));
    for n in 0..101 {
        muxer.sample(Given(AUDIO, n * 20, 20, 1, true));
    }
    assert_eq!(
        muxer.spans(),
        [(AUDIO, 0, 1000), (VIDEO, 0, 40), (AUDIO, 1000, 2000)]
    );
}

#[test]
fn fragments_end_with_timeslices() {
    for (frame, slice) in [
        (33, 1_000),
        (40, 250),
        (21, 500),
        (17, 333),
        (100, 2_500),
        (200, 100),
    ] {
        let mut muxer = Muxer::new(slice * MS);
        // The encoder's priming is not recorded.
        muxer.late = 44 * MS;
        for n in 0..400 {
            muxer.sample(Given(AUDIO, n * frame, frame as u32, 1, true));
        }
        muxer.end();
        let spans = muxer.spans();
        assert!(spans.len() > 5, "{frame} {slice}");
        let part = slice / slice.div_ceil(1_000);
        let (_, whole) = spans.split_last().unwrap();
        for (_, _, end) in whole {
            let left = (end + part / 2) % part;
            let off = left.abs_diff(part / 2);
            assert!(off <= frame.min(part), "{frame} {slice}: ends at {end}");
        }
    }
}

#[test]
fn a_limit_is_behind_its_begin_whatever_is_asked_for() {
    for from in [0, 1, MS, u64::MAX / 2] {
        for sample in [0, MS, u64::MAX] {
            for slice in [0, 1, 10 * MS, u64::MAX] {
                assert!(limit(from, sample, slice) > from, "{from} {sample} {slice}");
            }
        }
    }
}

#[test]
fn what_cannot_be_followed_passes_behind_what_is_there() {
    let mut muxer = Muxer::new(0);
    muxer.sample(Given(AUDIO, 0, 20, 5, true));
    let before = muxer.file.len();
    let strange = words(b"moof", &[8, u32::from_be_bytes(*b"traf")]);
    muxer.write(gst::Buffer::from_slice(strange.clone()));
    muxer.write(gst::Buffer::from_slice(b"anything"));
    assert!(muxer.file.len() > before + strange.len() + 8);
    assert!(muxer.file.ends_with(&[&strange[..], b"anything"].concat()));
}

proptest! {
    #[test]
    fn all_media_comes_out_in_order(
        steps in proptest::collection::vec((any::<bool>(), 1u32..300, 0u32..20, any::<bool>(), 0u8..20), 0..80),
        slice in 0u64..2_000,
    ) {
        let mut muxer = Muxer::new(slice * MS);
        let mut next = [0u64; 2];
        let mut given = [Vec::new(), Vec::new()];
        for (video, duration, size, key, end) in steps {
            let (track, index) = if video { (VIDEO, 0) } else { (AUDIO, 1) };
            let key = key || !video;
            muxer.sample(Given(track, next[index], duration, size, key));
            given[index].push((duration, size, key));
            next[index] += u64::from(duration);
            if end == 0 {
                muxer.end();
            }
        }
        muxer.end();
        let mut found = [Vec::new(), Vec::new()];
        for (number, (sequence, track, _, samples)) in (1..).zip(muxer.fragments()) {
            prop_assert_eq!(number, sequence);
            found[track as usize - 1].extend(samples);
        }
        prop_assert_eq!(found, given);
    }

    #[test]
    fn any_bytes_are_followed_or_passed_on(
        buffers in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)
    ) {
        let mut muxer = Muxer::new(0);
        muxer.sample(Given(AUDIO, 0, 20, 5, true));
        for buffer in buffers {
            muxer.write(gst::Buffer::from_slice(buffer));
        }
        muxer.end();
    }
}
