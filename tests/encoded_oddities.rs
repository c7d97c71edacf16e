//! Encoded streams as encoders, networks and files really give them: judged packet by packet against
//! what went in, and by what ffmpeg decodes.

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

// ---- Pictures that are decoded and not shown ----

#[test]
fn alternate_references_of_vp8_are_kept_and_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let notes = directory.path().join("notes");
    // Only an encoder that has seen it all before makes them.
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
    // A hidden one stands at the time of the next, so not `assert_copied`: it wants each later.
    let sums = |b: &gst::Buffer| coded::md5(&b.map_readable().unwrap());
    let wanted: Vec<_> = due.iter().map(|(_, b)| sums(b)).collect();
    let found: Vec<_> = coded::packets(&path, "v:0")
        .into_iter()
        .map(|p| p.md5)
        .collect();
    assert_eq!(found, wanted);
    file::decodes_without_errors(&path).unwrap();
    let shown = due.iter().filter(|(_, b)| !hidden(b)).count();
    assert!(shown < due.len(), "none hidden among those that are kept");
    let found = decode::video(&path, 0).unwrap();
    assert_eq!(found.frames.len(), shown);
}

// ---- Open groups of pictures ----

/// A key frame that pictures in front of it refer across.
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
    assert!(
        leading > 3,
        "{leading} leading pictures: the groups are closed"
    );
}

/// Only from its beginning: H.264 counts its pictures from the last closed group on, so that what is cut
/// out of open ones is missed.
#[test]
fn h264_of_open_groups_begins_at_what_can_be_decoded() {
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
fn h265_of_open_groups_begins_at_what_can_be_decoded() {
    let coded = coded::video(
        "x265enc key-int-max=15 speed-preset=ultrafast option-string=\"open-gop=1:bframes=3\" ! \
         h265parse ! video/x-h265,stream-format=hvc1,alignment=au",
        100,
    );
    assert_open(&coded);
    copies("open.mp4", coded, None, whole);
}

// ---- In pieces ----

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

/// As a network gives them: each with the stamp of its frame.
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

/// As a parser gives them, which stamps some.
#[test]
fn nal_units_of_h265_out_of_a_parser() {
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

// ---- Stamps that are missing ----

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
fn no_stamps_on_some() {
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

/// As a jitter buffer gives them that has lost its way for a moment: some at one time, and from one on all a second
/// earlier than those before.
#[test]
fn stamps_of_a_network_that_repeat_and_leap_back() {
    const LEAP: gst::ClockTime = gst::ClockTime::from_mseconds(970);
    // H.264 and H.265 without B-frames: their parameter sets say so.
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
        // Start codes become length fields.
        if !encoder.contains("byte-stream") {
            let wanted = playing.all.iter();
            let wanted = wanted.map(|b| coded::md5(&b.map_readable().unwrap()));
            let found: Vec<_> = packets.iter().map(|packet| packet.md5.clone()).collect();
            assert_eq!(
                found,
                wanted.collect::<Vec<_>>(),
                "{encoder}: all are there, in order"
            );
        }
        let times: Vec<_> = packets.iter().map(|packet| packet.pts).collect();
        assert!(times.is_sorted_by(|a, b| a < b), "{encoder}: {times:?}");
        // Once the stamps have caught up with what is recorded, each is at its time again. (Of Opus' first
        // packet a part is heard.)
        let lies = stamp(playing.all.last().unwrap()) - stamp(&playing.all[1]);
        let off = times.last().unwrap() - times[1] - lies.nseconds() as f64;
        assert!(off.abs() < 2e6, "{encoder}: the last is {off} ns off");
    }
}

// ---- Joined in the middle ----

#[test]
fn a_stream_joined_before_its_parameter_sets_begins_at_the_next_key_frame() {
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

// ---- Copies into files of one track ----

#[test]
fn mp3_into_mpeg() {
    copies("copy.mp3", coded::audio("lamemp3enc", 40), None, whole);
}

/// Its frames are numbered: in a file of their own from the beginning on, and nothing else changes.
#[test]
fn flac_into_flac() {
    let coded = coded::audio("flacenc", 40);
    let (_directory, path) = temp_location("copy.flac");
    let app = App::new("", &path);
    let mut playing = Playing::new(&app, "audio_%u", coded);
    let kept = drive(&app, &mut playing);
    let due = playing.due(&kept);
    file::decodes_without_errors(&path).unwrap();
    let sound = decode::audio(&path, 0, None).unwrap();
    let samples = 4608 * due.len() as u64;
    assert_eq!(sound.len(), samples);
    assert!(sound.holes(1.0).is_empty(), "{:?}", sound.holes(1.0));
    assert_eq!(sound.time_of(0), 0.0);
    let length = file::duration(&path).unwrap();
    assert!((length - samples as f64 / 48e-6).abs() < 2e3, "{length}");
    // The samples themselves are those of the source, from cut to cut.
    let spans: Vec<_> = position::find(&sound, ORIGIN as f64 + 5e9).unwrap();
    assert!(spans.len() > 50);
    let mut heard = 0;
    for found in spans {
        let Some(source) = found.source else { continue };
        // Frames are whole: one that spans a cut is in or out.
        let due = kept.source_at(found.recorded) - ORIGIN as f64;
        assert!((source - due).abs() < 97e6, "{found:?} is not of {due}");
        heard += 1;
    }
    assert!(heard > 100, "{heard}");
}

#[test]
fn vp9_into_matroska() {
    let vp9 = "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=15";
    copies("vp9.mkv", coded::video(vp9, 100), None, whole);
}

/// A box of MP4.
fn boxed(name: &[u8], content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len() + 8).unwrap();
    [&size.to_be_bytes(), name, content].concat()
}

/// What a remote peer may send as a packet: by its bytes it is a part of a container.
fn lookalikes() -> Vec<Vec<u8>> {
    // Version 1 with narrow fields, one place left out, and more behind: an index as mp4mux gets it wrong.
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
    // One audio track of a name and a rate, in which a delay could be put.
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

/// Sums of all frames: ffprobe leaves out packets of Opus that no decoder would take.
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
fn packets_that_look_like_a_containers_own_parts_are_copied_as_they_are() {
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

// ---- Decoded, since another codec is asked for ----

/// What the camera sends grows and changes its shape.
#[test]
fn a_new_size_that_is_decoded_is_shown_in_the_first() {
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
        let source = source.unwrap_or_else(|| panic!("picture {n} cannot be read"));
        assert!(
            source.abs_diff(due) <= 1000,
            "picture {n} is of {source}, not {due}"
        );
        assert!(
            (found.recorded - due as f64).abs() < 1.1e6,
            "{n}: {found:?}"
        );
    }
}

// ---- What comes late, goes back, or is too much ----

/// Caps that come while raw sound is being recorded: everything begins at the first key frame behind.
#[test]
fn caps_that_come_after_the_start() {
    let (_directory, path) = temp_location("late.mkv");
    let app = App::new("video/x-matroska;codecs=\"avc1,pcm\"", &path);
    let coded = coded::video(&format!("{X264} tune=zerolatency ! {AVC}"), 100);
    let mut sound = Playing::new(&app, "audio_%u", coded::audio("identity", 40));
    let sink = app.pad("video_%u");
    app.set_state(gst::State::Playing);
    play_until(&mut [&mut sound], 0, 200 * MILLI);
    app.act("start");
    play_until(&mut [&mut sound], 200 * MILLI, 700 * MILLI);
    let late = inputs::Source::new(&sink, &coded.caps, None);
    for n in 7..30 {
        play_until(&mut [&mut sound], n * 100 * MILLI, (n + 1) * 100 * MILLI);
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
    // Of those from 0.7 s on, the first key frame.
    assert_eq!(kept.intervals[0].0, ORIGIN + SECOND);
    assert!(assert_pictures_in_place(&path, &kept) >= 59);
    let heard = decode::audio(&path, 0, None).unwrap();
    assert!(
        heard.len().abs_diff(kept.total() * 48 / MILLI) <= 1,
        "{}",
        heard.len()
    );
    let places = position::find(&heard, 5e9).unwrap();
    for found in places.iter().filter_map(|p| Some((p.recorded, p.source?))) {
        let due = kept.source_at(found.0) - ORIGIN as f64;
        assert!((found.1 - due).abs() < 0.1e6, "{found:?}, not {due}");
    }
}

/// A seek in a file whose streams are not decoded.
#[test]
fn a_flush_goes_on_at_the_next_key_frame() {
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
    // Into the middle of a group: what comes before its next key frame cannot be decoded.
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
            "picture {n} stands at {recorded}, not {due}"
        );
    }
}

/// Buffers of the only track: taken, given on, left out.
fn counts(app: &App) -> (u64, u64, u64) {
    let stats: gst::Structure = app.recorder.property("stats");
    let tracks: gst::Array = stats.get("tracks").unwrap();
    let track: gst::Structure = tracks[0].get().unwrap();
    let field = |name: &str| track.get::<u64>(name).unwrap();
    (field("buffers"), field("encoded"), field("dropped"))
}

/// The encoder hangs for a while: what it cannot take is left out, and counted.
#[test]
fn what_is_too_much_of_decoded_input_is_left_out_and_counted() {
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
            // Whoever is not stuck is not held up by a machine that is busy.
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
    // All that came is in the file, or is said to be left out.
    assert_eq!((buffers, encoded), (200, shown.len() as u64), "{shown:?}");
    assert_eq!(dropped, 200 - encoded, "{shown:?}");
    assert!(dropped > 15, "it was fast enough: {shown:?}");
    assert_eq!(shown.last(), Some(&199), "it has caught up: {shown:?}");
    for ((recorded, _), n) in found.iter().zip(shown) {
        let due = n as f64 / 30.0 * 1e9;
        assert!(
            (recorded - due).abs() < 1.1e6,
            "picture {n} stands at {recorded}"
        );
    }
}

// ---- Turned ----

/// Records a telephone's pictures, which say how they are to be shown.
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

/// A player shows such pictures as they say.
fn turned(name: &str, mime: &str, tag: &str, undo: &str, size: (usize, usize)) {
    let (_directory, path) = temp_location(name);
    record_turned(&path, mime, tag);
    // ffmpeg shows it as a player would.
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
fn the_orientation_of_copied_pictures_is_in_mp4() {
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

/// mkvinfo finds it, and newer releases of FFmpeg show it: 5.1 does not look there.
#[test]
fn the_orientation_of_copied_pictures_is_in_matroska() {
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
        let told = |what| {
            text.lines().find_map(|line| {
                let (name, value) = line.rsplit_once(": ")?;
                name.contains(what).then_some(value)
            })
        };
        // Newer releases print what is 0 by default, too.
        let turns = |what| told(what).filter(|degrees| *degrees != "0");
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
fn pictures_that_are_decoded_are_turned_upright() {
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
