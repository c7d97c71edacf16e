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
    /// Timeslices from the second on that have begun: where, in the file and in recorded time.
    slices: Vec<(usize, Ns)>,
}

impl Muxer {
    fn new(timeslice: Ns) -> Self {
        gst::init().unwrap();
        let mut this = Muxer {
            fragmenter: Fragmenter::default(),
            at: 0,
            file: Vec::new(),
            late: 0,
            slices: Vec::new(),
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
        for write in writes {
            let Write {
                position, buffer, ..
            } = write;
            assert_eq!(position, self.file.len() as u64, "without a gap");
            self.file.extend_from_slice(&buffer.map_readable().unwrap());
            let slice = write.slice_end.map(|begin| (self.file.len(), begin));
            self.slices.extend(slice);
        }
    }

    fn end(&mut self) {
        let writes = self.fragmenter.end_fragments();
        self.take(writes);
    }

    fn sample(&mut self, given: Given) {
        let mut buffers = sample(given);
        let media = buffers.last_mut().unwrap();
        let late = if given.0 == AUDIO { self.late } else { 0 };
        let fields = media.get_mut().unwrap();
        fields.set_pts(gst::ClockTime::from_nseconds(given.1 * MS + late));
        for buffer in buffers {
            self.write(buffer);
        }
    }

    /// Where each fragment begins in the file.
    fn places(&self) -> Vec<usize> {
        let found = self.file.windows(4).enumerate();
        let moofs = found.filter(|(_, name)| name == b"moof");
        moofs.map(|(at, _)| at - 4).collect()
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

/// A sample as written by mp4mux, filled with its time in milliseconds.
fn sample(given: Given) -> Vec<gst::Buffer> {
    let Given(track, time, duration, size, is_key) = given;
    let flags = if is_key { 0 } else { 1 << 16 };
    let tfhd = words(b"tfhd", &[0x2_0038, track, duration, size, flags]);
    let tfdt = words(b"tfdt", &[1 << 24, 0, time as u32]);
    let place = 8 + 16 + 8 + 28 + 20 + 20 + 8;
    let trun = words(b"trun", &[1, 1, place]);
    let traf = boxed(b"traf", &[tfhd, tfdt, trun].concat()).unwrap();
    let moof = boxed(b"moof", &[words(b"mfhd", &[0, 7]), traf].concat()).unwrap();
    // An empty `mdat`, as written by mp4mux 1.22.
    let mdat = if size == 0 { 0 } else { size + 8 };
    let mdat = [&mdat.to_be_bytes()[..], b"mdat"].concat();
    let media = vec![time as u8; size as usize];
    [moof, mdat, media].map(gst::Buffer::from_mut_slice).into()
}

type Read = (u32, u32, u64, Vec<(u32, u32, bool)>);

#[test]
fn samples_keep_their_flags() {
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
fn a_fragment_lasts_a_second_or_until_the_next_keyframe() {
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
fn the_head_of_a_fragment_fits_into_a_page() {
    const PAGE: usize = 4096;
    // A sample each millisecond: sizes differ, or also durations and flags.
    for (differs, least) in [(1, 900), (2, 300)] {
        let mut muxer = Muxer::new(0);
        let mut time = 0;
        for n in 0..3_000u32 {
            let duration = if differs > 1 { 1 + n % 2 } else { 1 };
            let is_key = differs == 1 || n % 3 == 0;
            muxer.sample(Given(AUDIO, time, duration, 1 + n % 7, is_key));
            time += u64::from(duration);
        }
        muxer.end();
        let read = muxer.fragments();
        let counts: Vec<_> = read.iter().map(|fragment| fragment.3.len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 3_000);
        let (_, whole) = counts.split_last().unwrap();
        assert!(whole.iter().any(|count| *count >= least), "{counts:?}");
        for at in muxer.places() {
            let size: [u8; 4] = muxer.file[at..at + 4].try_into().unwrap();
            let size = u32::from_be_bytes(size) as usize;
            assert!(size + 16 <= PAGE, "{differs}: {size} bytes");
        }
    }
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
fn timeslices_exceed_their_time_by_at_most_a_sample() {
    for (audio, video, slice) in [
        (33, None, 1_000),
        (40, None, 250),
        (17, None, 333),
        (100, None, 2_500),
        (200, None, 100),
        (21, Some(33), 100),
        (20, Some(40), 1_000),
        (23, Some(700), 300),
        (60, Some(40), 1_300),
    ] {
        let mut muxer = Muxer::new(slice * MS);
        // The encoder's priming is not recorded.
        muxer.late = 44 * MS;
        // As mp4mux: in the order of their ends.
        let of = |track, lasts: u64| {
            (0..20_000 / lasts).map(move |n| Given(track, n * lasts, lasts as u32, 1, n == 0))
        };
        let mut samples: Vec<_> = of(AUDIO, audio).collect();
        samples.extend(video.into_iter().flat_map(|video| of(VIDEO, video)));
        samples.sort_by_key(|given| given.1 + u64::from(given.2));
        for given in samples {
            muxer.sample(given);
        }
        muxer.end();
        let longest = audio.max(video.unwrap_or(0));
        let begins: Vec<Ns> = muxer.slices.iter().map(|(_, begin)| *begin).collect();
        assert!(begins.len() >= 5, "{audio} {video:?} {slice}");
        let mut before = 0;
        for begin in &begins {
            let lasts = (begin - before) / MS;
            assert!(
                (slice..=slice + longest).contains(&lasts),
                "{audio} {video:?} {slice}: {lasts}"
            );
            before = *begin;
        }
        // By the samples: each begins in its timeslice.
        let fragments = muxer.fragments();
        let places = muxer.places();
        for ((_, track, time, samples), place) in fragments.iter().zip(places) {
            let number = muxer.slices.partition_point(|(at, _)| *at <= place);
            let begin = number.checked_sub(1).map_or(0, |number| begins[number]) / MS;
            let end = begins.get(number).map_or(u64::MAX, |end| end / MS);
            let mut time = *time;
            for sample in samples {
                assert!(
                    (begin..end).contains(&time),
                    "{audio} {video:?} {slice}: {track} at {time} in {begin} to {end}"
                );
                time += u64::from(sample.0);
            }
        }
    }
}

/// It is not waited for longer than for a track whose frames take long.
#[test]
fn timeslices_continue_after_a_track_has_ended() {
    let mut muxer = Muxer::new(250 * MS);
    muxer.sample(Given(VIDEO, 0, 40, 1, true));
    muxer.fragmenter.end_track(0);
    for n in 0..100 {
        muxer.sample(Given(AUDIO, n * 20, 20, 1, true));
    }
    let begins: Vec<Ns> = muxer.slices.iter().map(|(_, begin)| begin / MS).collect();
    assert_eq!(begins, [260, 520, 780, 1040, 1300, 1560, 1820]);
    // What the muxer held back is not lost.
    muxer.sample(Given(VIDEO, 40, 40, 1, false));
    muxer.end();
    let video = muxer.spans().into_iter().filter(|span| span.0 == VIDEO);
    assert_eq!(video.collect::<Vec<_>>(), [(VIDEO, 0, 40), (VIDEO, 40, 80)]);
}

#[test]
fn requested_data_has_all_samples_so_far() {
    let mut muxer = Muxer::new(100 * MS);
    muxer.sample(Given(VIDEO, 0, 90, 1, true));
    for n in 0..7 {
        muxer.sample(Given(AUDIO, n * 20, 20, 1, true));
    }
    muxer.end();
    assert_eq!(
        muxer.spans(),
        [(VIDEO, 0, 90), (AUDIO, 0, 100), (AUDIO, 100, 140)]
    );
}

/// What is in the file if `change` is applied to the buffers of the second of three samples, and without it.
fn changed(change: impl Fn(Vec<gst::Buffer>) -> Vec<gst::Buffer>) -> (Vec<u8>, Vec<u8>) {
    let mut muxer = Muxer::new(0);
    muxer.sample(Given(AUDIO, 0, 20, 5, true));
    let buffers = change(sample(Given(AUDIO, 20, 20, 5, true)));
    let bytes = |buffers: &[gst::Buffer]| {
        let bytes = buffers
            .iter()
            .map(|buffer| buffer.map_readable().unwrap().to_vec());
        bytes.collect::<Vec<_>>().concat()
    };
    let given = bytes(&buffers);
    for buffer in buffers {
        muxer.write(buffer);
    }
    muxer.end();
    (muxer.file, given)
}

/// The muxer's bytes are never lost, even those of a fragment in which something is wrong.
#[test]
fn a_fragment_that_does_not_match_its_media_is_unchanged() {
    let too_much = |mut buffers: Vec<gst::Buffer>| {
        buffers[2] = gst::Buffer::from_slice(vec![1; 6]);
        buffers
    };
    let other_size = |mut buffers: Vec<gst::Buffer>| {
        buffers[1] = gst::Buffer::from_slice([&12u32.to_be_bytes()[..], b"mdat"].concat());
        buffers[2] = gst::Buffer::from_slice(vec![1; 4]);
        buffers
    };
    let no_media = |mut buffers: Vec<gst::Buffer>| {
        buffers[1] = gst::Buffer::from_slice(b"\0\0\0\x0dfree");
        buffers
    };
    let changes: [&dyn Fn(Vec<gst::Buffer>) -> Vec<gst::Buffer>; 3] =
        [&too_much, &other_size, &no_media];
    for (number, change) in changes.into_iter().enumerate() {
        let (file, given) = changed(change);
        assert!(file.ends_with(&given), "change {number}");
        assert!(file.len() > moov().len() + given.len(), "change {number}");
    }
}

/// Nor is a sample moved in time.
#[test]
fn a_fragment_ends_where_decode_times_jump() {
    let mut muxer = Muxer::new(0);
    for (time, lasts) in [(0, 20), (20, 20), (60, 20), (80, 20)] {
        muxer.sample(Given(AUDIO, time, lasts, 1, true));
    }
    muxer.end();
    assert_eq!(muxer.spans(), [(AUDIO, 0, 40), (AUDIO, 60, 100)]);
}

#[test]
fn unparsable_bytes_pass_through() {
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
    fn all_media_is_output_in_order(
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
    fn any_bytes_are_parsed_or_passed_through(
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
