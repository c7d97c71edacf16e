//! Header, index and positions of fragments, with synthetic bytes.

use super::{header::VISUAL_ENTRY, *};
use crate::formats::codec_config::CodecConfig;

fn leaf(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    boxed(name, content).unwrap()
}

/// A header with one 48 kHz audio track, and Opus fields in the wrong byte order.
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

fn info<'a>(delays: &'a [Delay], video_tracks: &'a [VideoTrack]) -> HeaderInfo<'a> {
    HeaderInfo {
        delays,
        video_tracks,
        ..HeaderInfo::default()
    }
}

/// Patches these bytes from the muxer.
fn patched(
    layout: &mut Layout,
    position: u64,
    bytes: &[u8],
    delays: &[Delay],
    video_tracks: &[VideoTrack],
) -> Vec<u8> {
    match layout.patch(position, bytes, &info(delays, video_tracks), &mut None) {
        Some(Patched::Changed(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}

/// A header with a placeholder box in front of `moov`.
fn with_room(header: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    for part in boxes(header) {
        if part.name == b"moov" {
            whole.extend(ordinary::room(part.start as u64).unwrap().0);
        }
        whole.extend_from_slice(&header[part.start..part.end]);
    }
    whole
}

/// The head of a fragment with this track and decode time.
fn moof(track: u8, time: u8) -> Vec<u8> {
    let tfdt = leaf(b"tfdt", &[0, 0, 0, 0, 0, 0, 0, time]);
    let trun = leaf(b"trun", &[0, 0, 6, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0]);
    let traf = [leaf(b"tfhd", &[0, 0, 0, 0, 0, 0, 0, track]), tfdt, trun].concat();
    leaf(b"moof", &leaf(b"traf", &traf))
}

fn edit(bytes: &[u8]) -> Option<u64> {
    number(find(bytes, &[b"moov", b"trak", b"edts", b"elst"])?, 12, 4)
}

/// Time and offset of each entry of the final index.
fn indexed(layout: &mut Layout) -> Vec<(u64, u64)> {
    let index = layout.take_ending(Vec::new()).index.unwrap();
    assert_eq!(number(&index, index.len() - 4, 4), Some(index.len() as u64));
    let count = number(&index, 28, 4).unwrap() as usize;
    let field = |n, at| number(&index, 32 + 19 * n + at, 8).unwrap();
    (0..count).map(|n| (field(n, 0), field(n, 8))).collect()
}

#[test]
fn a_late_track_gets_an_edit_list_and_later_bytes_move() {
    let old = header();
    let delays = [Delay::Samples(1_588)];
    let mut layout = Layout::default();
    let new = patched(&mut layout, 0, &old, &delays, &[]);
    assert_eq!(edit(&new), Some(1_588));
    // `ftyp` has 12 bytes, 12 more align it to 24, and the placeholder has 16.
    assert_eq!(new.len(), old.len() + 12 + 16 + 36);
    assert_eq!(layout.place(old.len() as u64), new.len() as u64);
    assert_eq!(layout.place(4), 4);
    // Rewritten at the end by a write with the header only.
    let ftyp = boxes(&old).next().unwrap().end;
    assert_eq!(layout.place(ftyp as u64), 40);
    let again = patched(&mut layout, ftyp as u64, &old[ftyp..], &delays, &[]);
    assert_eq!(again, new[40..]);
    // If it were longer, it would overwrite what follows.
    let inside = leaf(b"moov", &[&old[ftyp + 8..], &leaf(b"udta", &[])].concat());
    let longer = patched(&mut layout, ftyp as u64, &inside, &delays, &[]);
    let end = old.len() as u64;
    assert!(!layout.fits(ftyp as u64, end, longer.len() as u64));
    assert!(layout.fits(ftyp as u64, end, again.len() as u64));
    assert_eq!(longer[8..], layout.ending.header);
    // There is none after the fragments.
    assert_eq!(
        layout.patch(5_000, &old, &HeaderInfo::default(), &mut None),
        None
    );
}

#[test]
fn a_header_in_several_buffers_gets_its_reserve() {
    let old = header();
    let ftyp = boxes(&old).next().unwrap().end;
    let mut layout = Layout::default();
    let mut pieces = patched(&mut layout, 0, &old[..ftyp], &[], &[]);
    assert_eq!(layout.place(ftyp as u64), pieces.len() as u64);
    pieces.extend(patched(&mut layout, ftyp as u64, &old[ftyp..], &[], &[]));
    assert_eq!(pieces, patched(&mut Layout::default(), 0, &old, &[], &[]));
    assert_eq!(layout.ending.head(), Some(24));
}

#[test]
fn the_index_has_the_positions_of_the_fragments() {
    let old = header();
    let mut layout = Layout::default();
    let moved = patched(&mut layout, 0, &old, &[], &[]).len() - old.len();
    let first = old.len() as u64;
    assert_eq!(
        layout.patch(first, &moof(1, 7), &HeaderInfo::default(), &mut None),
        None
    );
    assert_eq!(
        layout.patch(3_000, &moof(1, 9), &HeaderInfo::default(), &mut None),
        None
    );
    assert_eq!(fragment(&moof(1, 9)), Some(Unit { track: Some(1) }));
    assert_eq!(fragment(&moof(1, 9)[..40]), None);
    // The muxer's own index is dropped.
    let index = leaf(b"mfra", &[0; 8]);
    let withheld = Some(Patched::Dropped);
    assert_eq!(
        layout.patch(5_000, &index, &HeaderInfo::default(), &mut None),
        withheld
    );
    let places = [(7, first + moved as u64), (9, 3_000 + moved as u64)];
    assert_eq!(indexed(&mut layout), places);
}

#[test]
fn the_head_of_a_fragment_is_within_one_page() {
    let old = header();
    for place in (0..3 * PAGE).step_by(4) {
        let mut layout = Layout::default();
        let begin = patched(&mut layout, 0, &old, &[], &[]).len() as u64;
        let before = layout.place(begin + place);
        let head = moof(1, 0);
        let after = match layout.patch(begin + place, &head, &HeaderInfo::default(), &mut None) {
            None => before,
            Some(Patched::Behind(filler)) => {
                assert_eq!(number(&filler, 0, 4), Some(filler.len() as u64));
                before + filler.len() as u64
            }
            other => panic!("{other:?}"),
        };
        let last = after + head.len() as u64 + 8 - 1;
        assert_eq!(after / PAGE, last / PAGE, "at {before}");
        assert_eq!(layout.place(begin + place + 1), after + 1);
        assert_eq!(layout.fragments.last().unwrap().file, after);
    }
    // Anything longer than a page cannot be in a single one.
    assert_eq!(filler(100, PAGE + 1), 0);
    for left in 1..8 {
        let found = filler(PAGE - left, 100);
        assert!(found >= 8 && (PAGE - left + found) % PAGE + 100 <= PAGE);
    }
}

#[test]
fn swapped_opus_headers_are_corrected_once() {
    let opus = [Delay::PreSkip(0)];
    let new = patched(&mut Layout::default(), 0, &header(), &opus, &[]);
    assert_eq!(edit(&new), Some(312));
    let dops = new.windows(4).position(|w| w == b"dOps").unwrap() + 4;
    assert_eq!(
        new[dops..dops + 11],
        [0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0]
    );
    let moov = &new[40..];
    let again = header::moov(find(moov, &[b"moov"]).unwrap(), &info(&opus, &[])).unwrap();
    assert_eq!(leaf(b"moov", &again), moov);
    let copied = patched(&mut Layout::default(), 0, &header(), &[Delay::None], &[]);
    assert_eq!(edit(&copied), None);
    assert_eq!(copied.len(), with_room(&header()).len());
}

/// A video track with this codec configuration.
fn track_with(config: CodecConfig) -> VideoTrack {
    VideoTrack {
        codec_config: Some(config),
        ..Default::default()
    }
}

/// A header with one video track, whose sample entry of this type has this record and another box after it.
fn video_entry(entry: &[u8; 4], name: &[u8; 4], record: &[u8]) -> Vec<u8> {
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
fn wrong_records_are_replaced_and_later_bytes_move() {
    let right = [0x81, 1, 0x0c, 0, 0x0a, 3, 1, 2, 3];
    let av1 = track_with(CodecConfig::Av1(right.to_vec()));
    let longer = [[0; 5].as_slice(), &right, &[9; 3]].concat();
    for wrong in [
        // mp4mux 1.22, without and with a record from upstream; 1.26, with uninitialised memory.
        &[0; 5],
        longer.as_slice(),
        &[0x81, 1, 0x5c, 0],
        &[0x81, 4, 0x0c, 0],
        &[0x81, 1, 0x0c, 0x1f],
        &[],
    ] {
        let old = video_entry(b"av01", b"av1C", wrong);
        let mut layout = Layout::default();
        let new = patched(&mut layout, 0, &old, &[], std::slice::from_ref(&av1));
        assert_eq!(
            new,
            with_room(&video_entry(b"av01", b"av1C", &right)),
            "sizes of all around it are right: {wrong:x?}"
        );
        assert_eq!(layout.place(old.len() as u64), new.len() as u64);
    }
    for level in [10, 31] {
        let record = |level| [1, 0, 0, 0, 0, level, 0x82, 6, 6, 6, 0, 0];
        let vp9 = track_with(CodecConfig::Vp9 { level });
        let old = video_entry(b"vp09", b"vpcC", &record(10));
        let new = patched(&mut Layout::default(), 0, &old, &[], &[vp9]);
        assert_eq!(
            new,
            with_room(&video_entry(b"vp09", b"vpcC", &record(level)))
        );
    }
}

#[test]
fn correct_records_are_unchanged() {
    let right = [0x81, 1, 0x0c, 0, 0x0a, 3, 1, 2, 3];
    let av1 = track_with(CodecConfig::Av1(right.to_vec()));
    let vp9 = track_with(CodecConfig::Vp9 { level: 31 });
    let nothing = VideoTrack::default();
    for (old, video_tracks) in [
        (video_entry(b"av01", b"av1C", &right), &av1),
        // configOBUs may be missing (1.26 writes none), or be equivalent ones.
        (video_entry(b"av01", b"av1C", &right[..4]), &av1),
        (video_entry(b"av01", b"av1C", &right[..8]), &av1),
        (video_entry(b"av01", b"av1C", &[0; 5]), &nothing),
        (
            video_entry(b"vp09", b"vpcC", &[1, 0, 0, 0, 0, 40, 0x82]),
            &vp9,
        ),
        (video_entry(b"vp09", b"vpcC", &[1, 0, 0]), &vp9),
        (video_entry(b"avc1", b"avcC", &[0; 5]), &av1),
    ] {
        let mut layout = Layout::default();
        let new = patched(
            &mut layout,
            0,
            &old,
            &[],
            std::slice::from_ref(video_tracks),
        );
        assert_eq!(new, with_room(&old));
        assert_eq!(layout.place(old.len() as u64), new.len() as u64);
    }
}

#[test]
fn malformed_boxes_are_unchanged() {
    let whole = header();
    for length in 0..whole.len() {
        let mut layout = Layout::default();
        if let Some(new) = layout.patch(
            0,
            &whole[..length],
            &info(&[Delay::PreSkip(0)], &[]),
            &mut None,
        ) {
            // Without the complete header, the placeholder is the only possible change.
            let Patched::Changed(new) = new else {
                panic!("{new:?}");
            };
            if length < 12 {
                assert_eq!(new, whole[..length]);
                continue;
            }
            assert_eq!(new.len(), length + 28);
            assert_eq!(new[..12], whole[..12]);
            assert_eq!(new[40..], whole[12..length]);
        }
    }
    for at in 0..whole.len() {
        for value in [0, 1, 7, 0xff] {
            let mut broken = whole.clone();
            broken[at] = value;
            let _ =
                Layout::default().patch(0, &broken, &info(&[Delay::PreSkip(0)], &[]), &mut None);
        }
    }
    let av1 = track_with(CodecConfig::Av1(vec![0x81, 1, 0x0c, 0]));
    let whole = video_entry(b"av01", b"av1C", &[0; 5]);
    for at in 0..whole.len() {
        for value in [0, 1, 7, 0xff] {
            let mut broken = whole.clone();
            broken[at] = value;
            let _ = Layout::default().patch(
                0,
                &broken,
                &info(&[], std::slice::from_ref(&av1)),
                &mut None,
            );
        }
    }
}
