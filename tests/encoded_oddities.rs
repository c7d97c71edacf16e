//! Encoded streams as produced by real encoders, networks and files: compared packet by packet with the input, and
//! with what ffmpeg decodes.

mod coded;
mod common;
mod inputs;

use coded::{
    Coded, MILLI, ORIGIN, Playing, SECOND,
    drive::{assert_pictures_in_place, copies, drive, play_through, temp_location, through},
    is_key, md5, plain, play_until, whole,
};
use common::app::App;
use common::judge::{decode, file, position, sync};
use common::signal::frame;
use gst::prelude::*;
use std::path::Path;

const X264: &str = "x264enc key-int-max=15 bframes=0 speed-preset=ultrafast";
const AVC: &str = "h264parse ! video/x-h264,stream-format=avc,alignment=au";
const BYTES: &str = "video/x-h264,stream-format=byte-stream,alignment=au";
const AV1: &str = "av1enc usage-profile=realtime cpu-used=10 keyframe-max-dist=15 threads=1 \
                   lag-in-frames=0 ! av1parse ! video/x-av1,stream-format=obu-stream,alignment=tu";

// ---- Frames that are decoded but not displayed ----

#[test]
fn alternate_references_of_vp8_are_kept_but_not_displayed() {
    let directory = tempfile::tempdir().unwrap();
    let notes = directory.path().join("notes");
    // Only an encoder with lookahead produces them.
    let pass = |pass: &str| {
        let line = format!(
            "vp8enc deadline=1000000 cpu-used=4 keyframe-max-dist=30 lag-in-frames=16 auto-alt-ref=true \
             arnr-maxframes=5 target-bitrate=400000 multipass-mode={pass} multipass-cache-file={}",
            notes.display()
        );
        plain("videotestsrc pattern=ball num-buffers=100", &line)
    };
    pass("first-pass");
    let coded = pass("last-pass");
    let hidden = |b: &gst::Buffer| b.flags().contains(gst::BufferFlags::DECODE_ONLY);
    let count = coded.buffers.iter().filter(|b| hidden(b)).count();
    assert!(count > 2, "{count} are hidden");
    let (_directory, path) = temp_location("alt.webm");
    let app = App::new("", &path);
    let mut playing = Playing::new(&app, "video_%u", coded);
    let kept = drive(&app, &mut playing);
    let due = playing.due(&kept);
    // A hidden frame has the timestamp of the next one, so not `assert_copied`, which expects increasing ones.
    let sums = |b: &gst::Buffer| coded::md5(&b.map_readable().unwrap());
    let wanted: Vec<_> = due.iter().map(|(_, b)| sums(b)).collect();
    let found: Vec<_> = coded::packets(&path, "v:0")
        .into_iter()
        .map(|p| p.md5)
        .collect();
    assert_eq!(found, wanted);
    file::decodes_without_errors(&path).unwrap();
    let shown = due.iter().filter(|(_, b)| !hidden(b)).count();
    assert!(shown < due.len(), "no hidden frame is kept");
    let found = decode::video(&path, 0).unwrap();
    assert_eq!(found.frames.len(), shown);
}

// ---- Open GOPs ----

/// A keyframe with leading frames that refer to frames before it.
fn assert_open(coded: &Coded) {
    let mut leading = 0;
    let mut key = None;
    for buffer in &coded.buffers {
        if is_key(buffer) {
            key = buffer.pts();
        } else if buffer.pts() < key {
            leading += 1;
        }
    }
    assert!(leading > 3, "{leading} leading frames: the GOPs are closed");
}

/// Only from its start: H.264 counts its frames from the last closed GOP on, so that frames cut out of open ones
/// are missing.
#[test]
fn h264_with_open_gops_starts_at_a_decodable_frame() {
    for name in ["open.mkv", "open.mp4"] {
        let coded = coded::video(
            &format!(
                "x264enc key-int-max=15 bframes=3 b-adapt=false speed-preset=ultrafast \
                 option-string=\"open-gop=1\" ! {AVC}"
            ),
            100,
        );
        assert_open(&coded);
        let (_directory, path) = temp_location(name);
        let app = App::new("", &path);
        let mut playing = Playing::new(&app, "video_%u", coded);
        app.set_state(gst::State::Playing);
        play_until(&mut [&mut playing], 0, 310 * MILLI);
        app.act("start");
        play_until(&mut [&mut playing], 310 * MILLI, 4 * SECOND);
        playing.feed.end();
        app.wait_for("stop", 1);
        let kept = app.kept();
        coded::assert_copied(&path, "v:0", &playing.due(&kept), whole);
        assert!(assert_pictures_in_place(&path, &kept) > 70);
    }
}

#[test]
fn h265_with_open_gops_starts_at_a_decodable_frame() {
    let coded = coded::video(
        "x265enc key-int-max=15 speed-preset=ultrafast option-string=\"open-gop=1:bframes=3\" ! \
         h265parse ! video/x-h265,stream-format=hvc1,alignment=au",
        100,
    );
    assert_open(&coded);
    copies("open.mp4", coded, None, whole);
}

// ---- Split frames ----

fn h265_in_units(pieces: fn(&Coded) -> Coded) {
    let coded = coded::video(
        "x265enc key-int-max=15 speed-preset=ultrafast option-string=\"bframes=0\" ! \
         h265parse config-interval=-1 ! video/x-h265,stream-format=byte-stream,alignment=au",
        100,
    );
    let pieces = pieces(&coded);
    assert!(pieces.buffers.len() > coded.buffers.len() + 20);
    let frames = through(
        &coded,
        "h265parse ! video/x-h265,stream-format=hvc1,alignment=au",
    );
    copies("nal.mkv", frames, Some(pieces), whole);
}

/// As received from a network: each with the timestamp of its frame.
#[test]
fn nal_units_of_h265() {
    h265_in_units(|coded| {
        let mut caps = coded.caps.clone();
        caps.make_mut().set("alignment", "nal");
        Coded {
            caps,
            buffers: coded::in_units(&coded.buffers),
        }
    });
}

/// As output by a parser, which gives some of them a timestamp.
#[test]
fn nal_units_of_h265_from_a_parser() {
    h265_in_units(|coded| {
        through(
            coded,
            "h265parse ! video/x-h265,stream-format=byte-stream,alignment=nal",
        )
    });
}

fn av1_in_pieces(alignment: &str) {
    let coded = coded::video(AV1, 100);
    let pieces = through(
        &coded,
        &format!("av1parse ! video/x-av1,alignment={alignment}"),
    );
    assert!(pieces.buffers.len() >= coded.buffers.len());
    copies("pieces.webm", coded, Some(pieces), whole);
}

#[test]
fn obus_of_av1() {
    av1_in_pieces("obu");
}

#[test]
fn frames_of_av1() {
    av1_in_pieces("frame");
}

// ---- Missing timestamps ----

#[test]
fn decode_times_only() {
    for name in ["dts.mkv", "dts.mp4"] {
        let coded = coded::video(&format!("{X264} tune=zerolatency ! {AVC}"), 100);
        let mut given = Coded {
            caps: coded.caps.clone(),
            buffers: coded.buffers.clone(),
        };
        for buffer in &mut given.buffers {
            let fields = buffer.make_mut();
            fields.set_dts(fields.pts());
            fields.set_pts(None);
        }
        copies(name, coded, Some(given), whole);
    }
}

#[test]
fn some_without_timestamps() {
    for name in ["some.mkv", "some.mp4"] {
        let coded = coded::video(&format!("{X264} tune=zerolatency ! {AVC}"), 100);
        let mut given = Coded {
            caps: coded.caps.clone(),
            buffers: coded.buffers.clone(),
        };
        for (n, buffer) in given.buffers.iter_mut().enumerate() {
            let fields = buffer.make_mut();
            fields.set_duration(gst::ClockTime::from_nseconds(SECOND / 30));
            if n % 3 == 1 {
                fields.set_pts(None);
                fields.set_dts(None);
            }
        }
        copies(name, coded, Some(given), whole);
    }
    let coded = coded::audio("lamemp3enc", 40);
    let mut given = Coded {
        caps: coded.caps.clone(),
        buffers: coded.buffers.clone(),
    };
    for (n, buffer) in given.buffers.iter_mut().enumerate() {
        if n % 3 == 1 {
            buffer.make_mut().set_pts(None);
            buffer.make_mut().set_dts(None);
        }
    }
    copies("some.mka", coded, Some(given), whole);
}

/// As output by a jitter buffer that was briefly confused: some at the same time, and from one on all a second
/// earlier than those before.
#[test]
fn network_timestamps_that_repeat_and_jump_back() {
    const LEAP: gst::ClockTime = gst::ClockTime::from_mseconds(970);
    // H.264 and H.265 without B-frames, as their parameter sets say.
    let encoders = [
        ("vp8enc deadline=1 keyframe-max-dist=1000", "network.webm"),
        (
            "vp9enc deadline=1 cpu-used=9 keyframe-max-dist=1000",
            "network.webm",
        ),
        (
            "x264enc speed-preset=ultrafast tune=zerolatency key-int-max=1000 ! video/x-h264,profile=main",
            "network.mkv",
        ),
        (
            "x264enc speed-preset=ultrafast tune=zerolatency key-int-max=1000 ! video/x-h264,stream-format=byte-stream",
            "network.mp4",
        ),
        (
            "openh264enc ! h264parse ! video/x-h264,stream-format=avc",
            "network.mp4",
        ),
        (
            "x265enc speed-preset=ultrafast tune=zerolatency key-int-max=1000 ! video/x-h265,stream-format=byte-stream",
            "network.mkv",
        ),
        ("opusenc", "network.webm"),
    ];
    for (encoder, file_name) in encoders {
        let (mut coded, template, stream) = match encoder {
            "opusenc" => (coded::audio(encoder, 40), "audio_%u", "a:0"),
            _ => (coded::video(encoder, 130), "video_%u", "v:0"),
        };
        let stamp = |buffer: &gst::Buffer| buffer.pts().unwrap();
        let begin = stamp(&coded.buffers[0]);
        let at = |seconds| begin + gst::ClockTime::SECOND * seconds;
        let (back, repeated) = (at(2), stamp(&coded.buffers[5]));
        for (n, buffer) in coded.buffers.iter_mut().enumerate() {
            let pts = match stamp(buffer) {
                _ if (6..9).contains(&n) => repeated,
                pts if pts >= back => pts - LEAP,
                pts => pts,
            };
            buffer.make_mut().set_pts(pts);
            buffer.make_mut().set_dts(None);
        }
        let (_directory, path) = temp_location(file_name);
        let (_, playing) = play_through(&path, template, coded, 5 * SECOND);
        file::decodes_without_errors(&path).unwrap();
        let packets = coded::packets(&path, stream);
        assert_eq!(packets.len(), playing.all.len(), "{encoder}");
        // Start codes become length prefixes.
        if !encoder.contains("byte-stream") {
            let wanted = playing.all.iter();
            let wanted = wanted.map(|b| coded::md5(&b.map_readable().unwrap()));
            let found: Vec<_> = packets.iter().map(|packet| packet.md5.clone()).collect();
            assert_eq!(
                found,
                wanted.collect::<Vec<_>>(),
                "{encoder}: all frames, in order"
            );
        }
        let times: Vec<_> = packets.iter().map(|packet| packet.pts).collect();
        assert!(times.is_sorted_by(|a, b| a < b), "{encoder}: {times:?}");
        // Once the timestamps have caught up with the recording, each packet is at its time again. (Of the first
        // Opus packet, a part is heard.)
        let lies = stamp(playing.all.last().unwrap()) - stamp(&playing.all[1]);
        let off = times.last().unwrap() - times[1] - lies.nseconds() as f64;
        assert!(off.abs() < 2e6, "{encoder}: the last is {off} ns off");
    }
}

// ---- Joined in the middle ----

#[test]
fn a_stream_joined_before_its_parameter_sets_starts_at_the_next_keyframe() {
    for (encoder, name) in [
        (format!("{X264} ! {BYTES}"), "join.mkv"),
        (
            "x265enc key-int-max=15 speed-preset=ultrafast option-string=\"bframes=0\" ! \
             h265parse config-interval=-1 ! video/x-h265,stream-format=byte-stream,alignment=au"
                .to_owned(),
            "join.mp4",
        ),
    ] {
        let mut coded = coded::video(&encoder, 100);
        coded.buffers.drain(..4);
        coded
            .caps
            .make_mut()
            .structure_mut(0)
            .unwrap()
            .remove_field("codec_data");
        let first_key = coded.buffers.iter().find(|b| is_key(b)).unwrap().pts();
        let (_directory, path) = temp_location(name);
        let (app, _) = play_through(&path, "video_%u", coded, 3 * SECOND);
        let kept = app.kept();
        assert_eq!(Some(kept.intervals[0].0), first_key.map(|t| t.nseconds()));
        let shown = assert_pictures_in_place(&path, &kept);
        assert!(shown > 70, "{shown}");
    }
}

// ---- Copies into single-track files ----

#[test]
fn mp3_into_mpeg() {
    copies("copy.mp3", coded::audio("lamemp3enc", 40), None, whole);
}

/// Its frames are numbered: renumbered from the start of the file, and nothing else changes.
#[test]
fn flac_into_flac() {
    let coded = coded::audio("flacenc", 40);
    let (_directory, path) = temp_location("copy.flac");
    let app = App::new("", &path);
    let mut playing = Playing::new(&app, "audio_%u", coded);
    let kept = drive(&app, &mut playing);
    let due = playing.due(&kept);
    file::decodes_without_errors(&path).unwrap();
    let audio = decode::audio(&path, 0, None).unwrap();
    let samples = 4608 * due.len() as u64;
    assert_eq!(audio.len(), samples);
    assert!(audio.holes(1.0).is_empty(), "{:?}", audio.holes(1.0));
    assert_eq!(audio.time_of(0), 0.0);
    let length = file::duration(&path).unwrap();
    assert!((length - samples as f64 / 48e-6).abs() < 2e3, "{length}");
    // The samples themselves are those of the source, from cut to cut.
    let spans: Vec<_> = position::find(&audio, ORIGIN as f64 + 5e9).unwrap();
    assert!(spans.len() > 50);
    let mut events = 0;
    for found in spans {
        let Some(source) = found.source else { continue };
        // Frames are indivisible: one that spans a cut is kept or dropped.
        let due = kept.source_at(found.recorded) - ORIGIN as f64;
        assert!((source - due).abs() < 97e6, "{found:?}, expected {due}");
        events += 1;
    }
    assert!(events > 100, "{events}");
}

#[test]
fn vp9_into_matroska() {
    let vp9 = "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=15";
    copies("vp9.mkv", coded::video(vp9, 100), None, whole);
}

/// An MP4 box.
fn boxed(name: &[u8], content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len() + 8).unwrap();
    [&size.to_be_bytes(), name, content].concat()
}

/// What a remote peer may send as a packet: its bytes look like part of a container.
fn lookalikes() -> Vec<Vec<u8>> {
    // Version 1 with narrow fields, one offset omitted, and more after it: an index as mp4mux gets it wrong.
    let mut tfra = vec![1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
    for (time, place) in [(7u32, 1_000u32), (9, 0)] {
        tfra.extend_from_slice(&time.to_be_bytes());
        tfra.extend_from_slice(&place.to_be_bytes());
        tfra.extend_from_slice(&[1, 1, 1]);
    }
    let traf = [
        boxed(b"tfhd", &[0, 0, 0, 0, 0, 0, 0, 1]),
        boxed(b"tfdt", &[0; 8]),
    ];
    let mut hdlr = vec![0; 8];
    hdlr.extend_from_slice(b"soun");
    let mdia = boxed(b"mdia", &boxed(b"hdlr", &hdlr));
    let trak = boxed(b"trak", &[boxed(b"tkhd", &[0; 84]), mdia].concat());
    // One audio track with a name and a rate, to which a CodecDelay could be added.
    let mut tracks = vec![0x16, 0x54, 0xae, 0x6b, 0x98, 0xae, 0x96, 0x83, 0x81, 2];
    tracks.extend_from_slice(b"\x53\x6e\x85Audio\xe1\x89\xb5\x88");
    tracks.extend_from_slice(&48_000f64.to_be_bytes());
    vec![
        boxed(b"mfra", &boxed(b"tfra", &tfra)),
        boxed(b"moof", &boxed(b"traf", &traf.concat())),
        boxed(b"moov", &trak),
        [boxed(b"ftyp", b"iso5"), boxed(b"moov", &trak)].concat(),
        boxed(b"mdat", &[0; 12]),
        tracks,
        b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff\xe7\x81\x05".to_vec(),
        b"\x1a\x45\xdf\xa3\x84\x42\x86\x81\x01".to_vec(),
    ]
}

/// Checksums of all frames: ffprobe omits Opus packets that no decoder would accept.
fn frames_of_matroska(path: &Path) -> Vec<String> {
    let file = std::fs::File::open(path).unwrap();
    let mut file = matroska_demuxer::MatroskaFile::open(file).unwrap();
    let mut frame = matroska_demuxer::Frame::default();
    let mut sums = Vec::new();
    while file.next_frame(&mut frame).unwrap() {
        sums.push(md5(&frame.data));
    }
    sums
}

#[test]
fn packets_that_look_like_container_structures_are_copied_unchanged() {
    let opus = coded::audio("opusenc", 40);
    let aac = coded::audio("voaacenc", 40);
    for (name, coded) in [
        ("opus.mp4", &opus),
        ("aac.mp4", &aac),
        ("opus.webm", &opus),
        ("aac.mkv", &aac),
    ] {
        for timeslice in [0u32, 300] {
            let mut buffers = coded.buffers.clone();
            for (number, buffer) in buffers.iter_mut().enumerate().skip(3) {
                let lookalikes = lookalikes();
                let bytes = lookalikes[number % lookalikes.len()].clone();
                let mut odd = gst::Buffer::from_slice(bytes);
                let what = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
                buffer.copy_into(odd.make_mut(), what, ..).unwrap();
                *buffer = odd;
            }
            let coded = Coded {
                caps: coded.caps.clone(),
                buffers,
            };
            let (_directory, path) = temp_location(name);
            let app = App::new("", &path);
            app.recorder.set_property("timeslice", timeslice);
            let mut playing = Playing::new(&app, "audio_%u", coded);
            let kept = drive(&app, &mut playing);
            let due = playing.due(&kept);
            assert!(due.len() > 50, "{} are due", due.len());
            let sums = due
                .iter()
                .map(|(_, buffer)| md5(&buffer.map_readable().unwrap()));
            let found: Vec<_> = if name.ends_with("mp4") {
                let packets = coded::packets(&path, "a:0").into_iter();
                packets.map(|packet| packet.md5).collect()
            } else {
                frames_of_matroska(&path)
            };
            assert_eq!(found, sums.collect::<Vec<_>>(), "{name} {timeslice}");
            if !name.ends_with("mp4") {
                assert!(
                    file::has_seek_index(&path).unwrap() > 0,
                    "{name} {timeslice}"
                );
            }
        }
    }
}

// ---- Decoded, since another codec is requested ----

/// The camera's video grows and changes its aspect ratio.
#[test]
fn a_new_decoded_size_is_fitted_into_the_first() {
    let (_directory, path) = temp_location("size.webm");
    let app = App::new("video/webm;codecs=vp8", &path);
    app.recorder.set_property("autostart", true);
    let small = coded::video(&format!("{X264} tune=zerolatency ! {BYTES}"), 30);
    let large = coded::video(
        &format!(
            "videoscale ! video/x-raw,width=640,height=480 ! {X264} tune=zerolatency ! {BYTES}"
        ),
        60,
    );
    let wide = coded::video(
        &format!(
            "videoscale add-borders=false ! video/x-raw,width=640,height=240,pixel-aspect-ratio=1/1 ! {X264} tune=zerolatency ! {BYTES}"
        ),
        90,
    );
    let playing = Playing::new(&app, "video_%u", small);
    app.set_state(gst::State::Playing);
    for buffer in &playing.all {
        playing.feed.push(buffer.clone());
    }
    for (coded, from) in [(large, 30), (wide, 60)] {
        playing.feed.event(gst::event::Caps::new(&coded.caps));
        for buffer in &coded.buffers[from..] {
            playing.feed.push(buffer.clone());
        }
    }
    playing.feed.end();
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    file::decodes_without_errors(&path).unwrap();
    let found = decode::video(&path, 0).unwrap();
    assert_eq!((found.width, found.height), (320, 240));
    assert_eq!(found.frames.len(), 90);
    let within = inputs::luma(&path, "crop=320:120:0:60", (320, 120));
    let above = inputs::luma(&path, "crop=320:50:0:0", (320, 50));
    for (n, found) in found.frames.iter().enumerate() {
        let due = (n as u64 * SECOND / 30 + 500) / 1000 * 1000;
        let source = if n < 60 {
            found.source
        } else {
            assert!(above[n].iter().all(|p| *p < 40), "border of {n}");
            frame::read(&within[n], 320, 120)
        };
        let source = source.unwrap_or_else(|| panic!("frame {n} cannot be read"));
        assert!(
            source.abs_diff(due) <= 1000,
            "frame {n} is of {source}, expected {due}"
        );
        assert!(
            (found.recorded - due as f64).abs() < 1.1e6,
            "{n}: {found:?}"
        );
    }
}

// ---- Late, backwards, or too much ----

/// Caps that arrive while raw audio is being recorded: everything starts at the first keyframe after them.
#[test]
fn caps_that_arrive_after_the_start() {
    let (_directory, path) = temp_location("late.mkv");
    let app = App::new("video/x-matroska;codecs=\"avc1,pcm\"", &path);
    let coded = coded::video(&format!("{X264} tune=zerolatency ! {AVC}"), 100);
    let mut audio = Playing::new(&app, "audio_%u", coded::audio("identity", 40));
    let sink = app.pad("video_%u");
    app.set_state(gst::State::Playing);
    play_until(&mut [&mut audio], 0, 200 * MILLI);
    app.act("start");
    play_until(&mut [&mut audio], 200 * MILLI, 700 * MILLI);
    let late = inputs::Source::new(&sink, &coded.caps, None);
    for n in 7..30 {
        play_until(&mut [&mut audio], n * 100 * MILLI, (n + 1) * 100 * MILLI);
        let from = ORIGIN + n * 100 * MILLI;
        for buffer in &coded.buffers {
            let pts = buffer.pts().unwrap().nseconds();
            if (from..from + 100 * MILLI).contains(&pts) {
                late.push(buffer.clone());
            }
        }
    }
    app.act("stop");
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let kept = app.kept();
    // The first keyframe from 0.7 s on.
    assert_eq!(kept.intervals[0].0, ORIGIN + SECOND);
    assert!(assert_pictures_in_place(&path, &kept) >= 59);
    let events = decode::audio(&path, 0, None).unwrap();
    assert!(
        events.len().abs_diff(kept.total() * 48 / MILLI) <= 1,
        "{}",
        events.len()
    );
    let places = position::find(&events, 5e9).unwrap();
    for found in places.iter().filter_map(|p| Some((p.recorded, p.source?))) {
        let due = kept.source_at(found.0) - ORIGIN as f64;
        assert!((found.1 - due).abs() < 0.1e6, "{found:?}, expected {due}");
    }
}

/// A seek in a file whose streams are not decoded.
#[test]
fn recording_continues_after_a_flush_at_the_next_keyframe() {
    let coded = coded::video(&format!("{X264} tune=zerolatency ! {AVC}"), 100);
    let (_directory, path) = temp_location("flush.mkv");
    let app = App::new("", &path);
    let source = inputs::Source::new(&app.pad("video_%u"), &coded.caps, None);
    app.set_state(gst::State::Playing);
    source.introduce();
    let at = |n: usize| gst::ClockTime::from_nseconds(ORIGIN + n as u64 * SECOND / 30);
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(at(0));
    source.segment(&segment);
    app.act("start");
    coded.buffers[..40]
        .iter()
        .for_each(|b| source.push(b.clone()));
    source.event(gst::event::FlushStart::new());
    source.event(gst::event::FlushStop::new(true));
    // Into the middle of a GOP: frames before its next keyframe cannot be decoded.
    segment.set_start(at(67));
    source.segment(&segment);
    coded.buffers[67..]
        .iter()
        .for_each(|b| source.push(b.clone()));
    source.end();
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    file::decodes_without_errors(&path).unwrap();
    let found = sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
    let shown: Vec<_> = found
        .iter()
        .map(|(_, source)| (source * 30e-9).round() as usize)
        .collect();
    let due: Vec<usize> = (0..40).chain(75..100).collect();
    assert_eq!(shown, due);
    for ((recorded, _), n) in found.iter().zip(due) {
        let due = if n < 40 { n } else { 40 + n - 67 } as f64 / 30.0 * 1e9;
        assert!(
            (recorded - due).abs() < 35e6,
            "frame {n} is at {recorded}, expected {due}"
        );
    }
}

/// Buffers of the only track: received, encoded, dropped.
fn counts(app: &App) -> (u64, u64, u64) {
    let stats: gst::Structure = app.recorder.property("stats");
    let tracks: gst::Array = stats.get("tracks").unwrap();
    let track: gst::Structure = tracks[0].get().unwrap();
    let field = |name: &str| track.get::<u64>(name).unwrap();
    (field("buffers"), field("encoded"), field("dropped"))
}

/// The encoder hangs for a while: what it cannot take is dropped, and counted.
#[test]
fn excess_decoded_input_is_dropped_and_counted() {
    let coded = coded::video(&format!("{X264} tune=zerolatency ! {AVC}"), 200);
    let (_directory, path) = temp_location("much.webm");
    let app = App::new("video/webm;codecs=vp8", &path);
    app.recorder.set_property("max-queue-time", 125 * MILLI);
    let clock = gst_check::TestClock::new();
    app.pipeline.use_clock(Some(&clock));
    let (let_go, stuck) = std::sync::mpsc::channel::<()>();
    let stuck = std::sync::Mutex::new(stuck);
    let stuck = std::sync::Arc::new(stuck);
    app.recorder.connect("encoder-setup", false, move |args| {
        let encoder: gst::Element = args[2].get().unwrap();
        let stuck = stuck.clone();
        encoder
            .static_pad("src")
            .unwrap()
            .add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                let _ = stuck.lock().unwrap().recv();
                gst::PadProbeReturn::Remove
            });
        None
    });
    let source = inputs::Source::new(&app.pad("video_%u"), &coded.caps, Some(0));
    app.set_state(gst::State::Playing);
    source.introduce();
    clock.set_time(gst::ClockTime::from_nseconds(ORIGIN));
    app.act("start");
    let push = |from: usize, to: usize| {
        for (n, buffer) in coded.buffers.iter().enumerate().take(to).skip(from) {
            let end = ORIGIN + (n as u64 + 1) * SECOND / 30;
            clock.set_time(gst::ClockTime::from_nseconds(end));
            source.push(buffer.clone());
            // A test that does not hang must not be delayed by a busy machine.
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    };
    push(0, 100);
    let_go.send(()).unwrap();
    assert!(common::app::holds_within(common::app::DEADLINE, || {
        app.recorder
            .property::<gst::Structure>("stats")
            .get::<u64>("bytes")
            .unwrap()
            > 0
    }));
    push(100, 200);
    app.act("stop");
    source.end();
    app.wait_for("stop", 1);
    let (buffers, encoded, dropped) = counts(&app);
    let warnings = app.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("too slow"), "{warnings:?}");
    file::decodes_without_errors(&path).unwrap();
    let found = sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
    let number = |source: f64| (source * 30e-9).round() as u64;
    let shown: Vec<u64> = found.iter().map(|(_, source)| number(*source)).collect();
    // Everything that arrived is in the file, or is counted as dropped.
    assert_eq!((buffers, encoded), (200, shown.len() as u64), "{shown:?}");
    assert_eq!(dropped, 200 - encoded, "{shown:?}");
    assert!(dropped > 15, "it was fast enough: {shown:?}");
    assert_eq!(shown.last(), Some(&199), "it has caught up: {shown:?}");
    for ((recorded, _), n) in found.iter().zip(shown) {
        let due = n as f64 / 30.0 * 1e9;
        assert!((recorded - due).abs() < 1.1e6, "frame {n} is at {recorded}");
    }
}

// ---- Rotated ----

/// Records a phone's video with an orientation tag.
fn record_turned(path: &Path, mime: &str, tag: &str) {
    let coded = coded::video(&format!("{X264} tune=zerolatency ! {AVC}"), 30);
    let app = App::new(mime, path);
    app.recorder.set_property("autostart", true);
    let source = inputs::Source::new(&app.pad("video_%u"), &coded.caps, None);
    app.set_state(gst::State::Playing);
    source.introduce();
    let mut tags = gst::TagList::new();
    let value = tags.make_mut();
    value.add::<gst::tags::ImageOrientation>(&tag, gst::TagMergeMode::Replace);
    source.event(gst::event::Tag::new(tags));
    coded.buffers.iter().for_each(|b| source.push(b.clone()));
    source.end();
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
}

/// A player rotates such video.
fn turned(name: &str, mime: &str, tag: &str, undo: &str, size: (usize, usize)) {
    let (_directory, path) = temp_location(name);
    record_turned(&path, mime, tag);
    // ffmpeg displays it as a player would.
    let found = decode::video(&path, 0).unwrap();
    assert_eq!((found.width, found.height), size, "{tag} in {name}");
    let undone = inputs::luma(&path, undo, (320, 240));
    assert_eq!(undone.len(), 30);
    for (n, picture) in undone.iter().enumerate() {
        let source = frame::read(picture, 320, 240);
        let due = n as u64 * SECOND / 30;
        assert!(
            source.is_some_and(|s| s.abs_diff(due) <= 1000),
            "{n}: {source:?}, {tag} in {name}"
        );
    }
}

#[test]
fn the_orientation_of_copied_video_is_in_mp4() {
    for (tag, undo, size) in [
        ("rotate-90", "transpose=cclock", (240, 320)),
        ("rotate-180", "hflip,vflip", (320, 240)),
        ("rotate-270", "transpose=clock", (240, 320)),
        ("flip-rotate-0", "hflip", (320, 240)),
        ("flip-rotate-90", "transpose=cclock,hflip", (240, 320)),
    ] {
        turned("turned.mp4", "", tag, undo, size);
    }
}

/// mkvinfo finds it, and newer releases of FFmpeg apply it: 5.1 ignores it.
#[test]
fn the_orientation_of_copied_video_is_in_matroska() {
    for (tag, yaw, roll, undo) in [
        ("rotate-0", None, None, "null"),
        ("rotate-90", None, Some("-90"), "transpose=cclock"),
        ("rotate-180", None, Some("180"), "hflip,vflip"),
        ("rotate-270", None, Some("90"), "transpose=clock"),
        ("flip-rotate-0", Some("180"), None, "hflip"),
        (
            "flip-rotate-90",
            Some("180"),
            Some("-90"),
            "transpose=cclock,hflip",
        ),
        ("flip-rotate-180", Some("180"), Some("180"), "vflip"),
        (
            "flip-rotate-270",
            Some("180"),
            Some("90"),
            "transpose=clock,hflip",
        ),
    ] {
        let (_directory, path) = temp_location("turned.mkv");
        record_turned(&path, "", tag);
        file::decodes_without_errors(&path).unwrap();
        let output = std::process::Command::new("mkvinfo").arg(&path).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let reported = |what| {
            text.lines().find_map(|line| {
                let (name, value) = line.rsplit_once(": ")?;
                name.contains(what).then_some(value)
            })
        };
        // Newer releases also print default values of 0.
        let turns = |what| reported(what).filter(|degrees| *degrees != "0");
        let found = (turns("yaw rotation"), turns("roll rotation"));
        assert_eq!(found, (yaw, roll), "{tag}: {text}");
        if file::ffmpeg_version() >= 7 {
            let is_sideways = tag.ends_with("90") || tag.ends_with("270");
            let size = if is_sideways { (240, 320) } else { (320, 240) };
            turned("turned.mkv", "", tag, undo, size);
        }
    }
}

#[test]
fn decoded_video_is_rotated_upright() {
    turned(
        "turned.webm",
        "video/webm;codecs=vp8",
        "rotate-90",
        "transpose=cclock",
        (240, 320),
    );
    turned(
        "turned.mp4",
        "video/mp4;codecs=vp09",
        "rotate-90",
        "transpose=cclock",
        (240, 320),
    );
}
