//! Bitstreams as produced by stacks other than GStreamer: the recorder inspects the frames themselves to find
//! keyframes and frame boundaries.

mod coded;
mod common;

use coded::{
    Coded, MILLI, ORIGIN, Playing, SECOND,
    drive::{copies, temp_location},
    is_key, play_until, units, with_lengths, with_start_codes,
};
use common::app::{App, STEREO};
use common::judge::{decode, file, sync};
use gst::prelude::*;

const X264: &str = "x264enc key-int-max=15 bframes=0 speed-preset=ultrafast";
const X265: &str = "x265enc key-int-max=15 speed-preset=ultrafast option-string=\"bframes=0\"";
const AVC: &str = "h264parse ! video/x-h264,stream-format=avc,alignment=au";
const BYTES: &str = "video/x-h264,stream-format=byte-stream,alignment=au";
const FRAMES: u32 = 100;

/// The same frames with other bytes.
fn with_bytes(coded: &Coded, change: impl Fn(&[u8]) -> Vec<u8>) -> Coded {
    let changed = |buffer: &gst::Buffer| {
        let bytes = change(&buffer.map_readable().unwrap());
        let mut changed = gst::Buffer::from_mut_slice(bytes);
        let to = changed.get_mut().unwrap();
        let what = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
        buffer.copy_into(to, what, ..).unwrap();
        changed
    };
    Coded {
        caps: coded.caps.clone(),
        buffers: coded.buffers.iter().map(changed).collect(),
    }
}

/// The same frames with other flags; `delta` returns for each, by its number and whether it is a keyframe, whether
/// it is flagged as a delta unit.
fn flagged(coded: &Coded, delta: impl Fn(usize, bool) -> bool) -> Coded {
    let buffers = coded.buffers.iter().enumerate().map(|(number, buffer)| {
        let mut buffer = buffer.clone();
        let is_delta = delta(number, is_key(&buffer));
        let fields = buffer.make_mut();
        if is_delta {
            fields.set_flags(gst::BufferFlags::DELTA_UNIT)
        } else {
            fields.unset_flags(gst::BufferFlags::DELTA_UNIT)
        }
        buffer
    });
    Coded {
        caps: coded.caps.clone(),
        buffers: buffers.collect(),
    }
}

// ---- Which frames are keyframes ----

fn key_frames_are_found(encoder: &str, name: &str) {
    for delta in [false, true] {
        let coded = coded::video(encoder, FRAMES);
        let keys = coded.buffers.iter().filter(|buffer| is_key(buffer));
        assert!((3..20).contains(&keys.count()), "{encoder}");
        // Like an appsrc that sets no flags; or one that flags all but the first.
        let given = flagged(&coded, |number, _| delta && number > 0);
        // A delta unit flag is trusted if the codec has no recovery points.
        if !delta || encoder.contains("x26") {
            let shown = copies(name, coded, Some(given), coded::whole);
            assert!(shown > 30, "{shown}");
        }
    }
}

#[test]
fn keyframes_of_vp8_are_found_without_flags() {
    key_frames_are_found(
        "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15",
        "flags.webm",
    );
}

#[test]
fn keyframes_of_vp9_are_found_without_flags() {
    key_frames_are_found(
        "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=15",
        "flags.webm",
    );
}

#[test]
fn keyframes_of_av1_are_found_without_flags() {
    let encoder = "av1enc usage-profile=realtime cpu-used=10 keyframe-max-dist=15 threads=1 lag-in-frames=0 ! \
                   av1parse ! video/x-av1,stream-format=obu-stream,alignment=tu";
    key_frames_are_found(encoder, "flags.mkv");
}

#[test]
fn keyframes_of_h264_are_found_without_flags() {
    key_frames_are_found(&format!("{X264} ! {AVC}"), "flags.mp4");
}

#[test]
fn keyframes_of_h265_are_found_without_flags() {
    let hvc = "h265parse ! video/x-h265,stream-format=hvc1,alignment=au";
    key_frames_are_found(&format!("{X265} ! {hvc}"), "flags.mp4");
}

#[test]
fn the_container_marks_keyframes_that_upstream_does_not() {
    for (encoder, name) in [
        (
            "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=15",
            "marks.mp4",
        ),
        (
            "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15",
            "marks.webm",
        ),
    ] {
        let coded = coded::video(encoder, FRAMES);
        let (_directory, path) = temp_location(name);
        let app = App::new("", &path);
        let mut playing = Playing::new(&app, "video_%u", flagged(&coded, |_, _| false));
        playing.all = coded.buffers;
        let kept = coded::drive::drive(&app, &mut playing);
        let due: Vec<_> = playing.due(&kept).iter().map(|(_, b)| is_key(b)).collect();
        let found = coded::packets(&path, "v:0");
        let found: Vec<_> = found.iter().map(|packet| packet.key).collect();
        assert_eq!(found, due, "{name}");
    }
}

/// H.264 with one keyframe, and then intra refresh column by column.
fn refreshed(frames: u32) -> Coded {
    let encoder = "x264enc key-int-max=15 bframes=0 intra-refresh=true speed-preset=ultrafast";
    coded::video(&format!("{encoder} ! {AVC}"), frames)
}

#[test]
fn intra_refresh_starts_at_a_recovery_point() {
    let coded = refreshed(FRAMES);
    // x264enc flags recovery points as keyframes, others only the first frame.
    let points = coded.buffers.iter().filter(|b| is_key(b)).count();
    assert!(points > 4, "{points}");
    let given = flagged(&coded, |number, _| number > 0);
    let (_directory, path) = temp_location("refresh.mkv");
    let app = App::new("", &path);
    let mut playing = Playing::new(&app, "video_%u", given);
    playing.all = coded.buffers;
    let kept = coded::drive::drive(&app, &mut playing);
    let due = playing.due(&kept);
    assert!(due.len() > 30, "{}", due.len());
    coded::assert_copied(&path, "v:0", &due, coded::whole);
}

#[test]
fn audio_does_not_wait_forever_for_a_keyframe() {
    let without_sei = |bytes: &[u8]| {
        let mut rest = bytes;
        let mut kept = Vec::new();
        while let Some((length, _)) = rest.split_first_chunk() {
            let (unit, after) = rest.split_at(4 + u32::from_be_bytes(*length) as usize);
            if unit[4] & 0x1f != 6 {
                kept.extend_from_slice(unit);
            }
            rest = after;
        }
        kept
    };
    const LENGTH: u64 = 15 * SECOND;
    let video = flagged(&with_bytes(&refreshed(450), without_sei), |number, _| {
        number > 0
    });
    let audio = coded::audio("opusenc", 150);
    let (_directory, path) = temp_location("never.mkv");
    let app = App::new("", &path);
    let mut video = Playing::new(&app, "video_%u", video);
    let mut audio = Playing::new(&app, "audio_%u", audio);
    app.set_state(gst::State::Playing);
    play_until(&mut [&mut video, &mut audio], 0, SECOND);
    app.act("start");
    play_until(&mut [&mut video, &mut audio], SECOND, LENGTH);
    app.act("stop");
    app.wait_for("stop", 1);
    let warnings = app.warnings();
    assert!(
        warnings.iter().any(|text| text.contains("keyframe")),
        "{warnings:?}"
    );
    let (from, to) = app.kept().intervals[0];
    assert!(
        from < ORIGIN + 12 * SECOND && to + 100 * MILLI > ORIGIN + LENGTH,
        "{from} to {to}"
    );
    let due = (to - from) as f64;
    for stream in ["v:0", "a:0"] {
        let packets = coded::packets(&path, stream);
        let (first, last) = (packets[0].pts, packets[packets.len() - 1].pts);
        assert!(
            first < 40e6 && last > due - 80e6,
            "{stream}: {first} to {last}, expected {due}"
        );
    }
}

// ---- What belongs to a frame ----

const SEI: &[u8] = &[
    6, 5, 17, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, b'x', 0x80,
];

fn is_slice(unit: &[u8]) -> bool {
    (1..=5).contains(&(unit[0] & 0x1f))
}

/// A frame with `more` in front of its first slice.
fn in_front(bytes: &[u8], more: &[u8]) -> Vec<u8> {
    let mut all = units(bytes);
    let at = all.iter().position(|unit| is_slice(unit)).unwrap();
    all.insert(at, more);
    with_start_codes(&all)
}

#[test]
fn sei_after_the_slices_stays_with_its_frame() {
    for name in ["behind.mkv", "behind.mp4"] {
        let coded = coded::video(
            &format!("{X264} sliced-threads=true threads=2 ! {BYTES}"),
            FRAMES,
        );
        let given = with_bytes(&coded, |bytes| [bytes, &[0, 0, 0, 1], SEI].concat());
        let expected = with_bytes(&coded, |bytes| in_front(bytes, SEI));
        let shown = copies(name, expected, Some(given), with_lengths);
        assert!(shown > 30, "{shown}");
    }
}

#[test]
fn parameter_sets_before_each_slice_do_not_split_a_frame() {
    let encoder =
        format!("{X264} sliced-threads=true threads=2 ! h264parse config-interval=-1 ! {BYTES}");
    let coded = coded::video(&encoder, FRAMES);
    let sets = |unit: &[u8]| matches!(unit[0] & 0x1f, 7 | 8);
    let key = coded.buffers[0].map_readable().unwrap().to_vec();
    let sets: Vec<_> = units(&key).into_iter().filter(|unit| sets(unit)).collect();
    let given = with_bytes(&coded, |bytes| {
        let all = units(bytes).into_iter().flat_map(|unit| {
            if is_slice(unit) {
                [sets.as_slice(), &[unit]].concat()
            } else {
                vec![unit]
            }
        });
        let slices = units(bytes)
            .into_iter()
            .filter(|unit| is_slice(unit))
            .count();
        assert!(slices > 1, "{slices}");
        with_start_codes(&all.collect::<Vec<_>>())
    });
    let frames = copies_frames(&coded, given);
    assert!(frames > 30, "{frames}");
}

/// Records `coded` in another form, and only verifies the frames.
fn copies_frames(coded: &Coded, given: Coded) -> usize {
    let (_directory, path) = temp_location("sets.mkv");
    let app = App::new("", &path);
    let mut playing = Playing::new(&app, "video_%u", given);
    playing.all = coded.buffers.clone();
    let kept = coded::drive::drive(&app, &mut playing);
    let due = playing.due(&kept).len();
    let shown = coded::drive::assert_pictures_in_place(&path, &kept);
    let all = sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
    assert_eq!((shown, all.len()), (due, due));
    shown
}

// ---- Reordered frames ----

fn duration(path: &std::path::Path, stream: &str) -> f64 {
    let mut ffprobe = std::process::Command::new("ffprobe");
    let ffprobe = ffprobe.args(["-v", "error", "-of", "csv=p=0", "-select_streams", stream]);
    let ffprobe = ffprobe.args(["-show_entries", "stream=duration"]).arg(path);
    let (seconds, _) = common::harness::media::run(ffprobe);
    String::from_utf8_lossy(&seconds).trim().parse().unwrap()
}

#[test]
fn b_frames_keep_their_decode_times_and_their_whole_duration() {
    let h264 =
        format!("x264enc bframes=2 b-adapt=false key-int-max=30 speed-preset=ultrafast ! {AVC}");
    let hvc = "h265parse ! video/x-h265,stream-format=hvc1,alignment=au";
    let h265 = format!(
        "x265enc key-int-max=30 speed-preset=ultrafast option-string=\"bframes=2:b-adapt=0\" ! {hvc}"
    );
    for encoder in [h264, h265] {
        for has_dts in [true, false] {
            let mut coded = coded::video(&encoder, 90);
            for buffer in coded.buffers.iter_mut().filter(|_| !has_dts) {
                buffer.make_mut().set_dts(None);
            }
            let (_directory, path) = temp_location("order.mp4");
            let (app, playing) = coded::drive::play_through(&path, "video_%u", coded, 4 * SECOND);
            let found = coded::packets(&path, "v:0");
            assert_eq!(found.len(), playing.all.len(), "{encoder}");
            let lasts = duration(&path, "v:0");
            assert!((lasts - 3.0).abs() < 0.002, "{encoder}: {lasts} s");
            let steps = found
                .windows(2)
                .map(|pair| pair[1].dts.unwrap() - pair[0].dts.unwrap());
            let even = |step: f64| (step - 1e9 / 30.0).abs() < 2e6;
            assert!(
                !has_dts || steps.clone().all(even),
                "{encoder}: {:?}",
                steps.collect::<Vec<_>>()
            );
            // Also as decoded by GStreamer.
            coded::drive::assert_pictures_in_place(&path, &app.kept());
        }
    }
}

#[test]
fn b_frames_stay_in_sync_in_fragments_and_blobs() {
    let encoder =
        format!("x264enc bframes=2 b-adapt=false key-int-max=15 speed-preset=ultrafast ! {AVC}");
    let (_directory, path) = temp_location("together.mp4");
    let app = App::new("", &path);
    gst::prelude::ObjectExt::set_property(&app.recorder, "timeslice", 500u32);
    let mut video = Playing::new(&app, "video_%u", coded::video(&encoder, FRAMES));
    let mut audio = Playing::new(&app, "audio_%u", coded::audio("opusenc", 40));
    app.set_state(gst::State::Playing);
    app.act("start");
    play_until(&mut [&mut video, &mut audio], 0, 3_200 * MILLI);
    app.act("stop");
    // Earlier frames that are decoded later.
    play_until(&mut [&mut video, &mut audio], 3_200 * MILLI, 4 * SECOND);
    app.wait_for("stop", 1);
    let kept = app.kept();
    for (playing, stream) in [(&video, "v:0"), (&audio, "a:0")] {
        coded::assert_copied(&path, stream, &playing.due(&kept), coded::whole);
    }
    let blobs = app
        .events()
        .into_iter()
        .filter(|event| event.name == "data-available");
    let ends: Vec<_> = blobs
        .map(|blob| blob.running_time - kept.intervals[0].0)
        .collect();
    let whole = ends.get(..ends.len() - 1).unwrap_or_default();
    for (number, end) in (1..).zip(whole) {
        let due = number * 500 * MILLI;
        assert!(
            end.abs_diff(due) < 45 * MILLI,
            "blob {number} ends at {end}: {ends:?}"
        );
    }
    assert!(ends.len() >= 6, "{ends:?}");
}

// ---- Incomplete caps ----

#[test]
fn vp8_from_a_network_is_copied_into_ogg() {
    let mut coded = coded::video("vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15", FRAMES);
    // Neither a frame rate nor the header that Ogg requires.
    let caps = coded.caps.make_mut().structure_mut(0).unwrap();
    caps.remove_fields(["framerate", "streamheader"]);
    let shown = copies("network.ogv", coded, None, coded::whole);
    assert!(shown > 30, "{shown}");
}

#[test]
fn opus_from_a_network_is_copied_into_ogg() {
    let (_directory, path) = temp_location("network.opus.ogg");
    let app = App::new("audio/ogg;codecs=opus", &path);
    app.recorder.set_property("autostart", true);
    // WebRTC's packets have no header.
    let source = app.source(&format!(
        "audiotestsrc num-buffers=100 samplesperbuffer=480 ! {STEREO} ! opusenc \
         ! rtpopuspay ! rtpopusdepay"
    ));
    source.link(&app.pad("audio_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    assert_eq!(app.warnings(), Vec::<String>::new());
    file::decodes_without_errors(&path).unwrap();
    let audio = decode::audio(&path, 0, Some(48_000)).unwrap();
    let seconds = audio.len() as f64 / 48_000.0;
    assert!((0.98..1.03).contains(&seconds), "{seconds} s");
}

// ---- Missing packets ----

#[test]
fn packets_after_a_gap_keep_their_time_in_ogg() {
    for (encoder, name) in [("opusenc", "hole.opus.ogg"), ("flacenc", "hole.flac.ogg")] {
        let mut coded = coded::audio(encoder, 40);
        let stamp = |buffer: &gst::Buffer| buffer.pts().map_or(0, |pts| pts.nseconds());
        coded.buffers.retain(|buffer| {
            let is_lost = (ORIGIN + 1_110 * MILLI..ORIGIN + 1_730 * MILLI).contains(&stamp(buffer));
            !is_lost || buffer.flags().contains(gst::BufferFlags::HEADER)
        });
        let (_directory, path) = temp_location(name);
        let app = App::new("", &path);
        let mut playing = Playing::new(&app, "audio_%u", coded);
        app.set_state(gst::State::Playing);
        play_until(&mut [&mut playing], 0, 200 * MILLI);
        app.act("start");
        play_until(&mut [&mut playing], 200 * MILLI, 5 * SECOND);
        app.act("stop");
        app.wait_for("stop", 1);
        let from = app.kept().intervals[0].0;
        let is_header = |b: &&gst::Buffer| b.flags().contains(gst::BufferFlags::HEADER);
        let media = playing.all.iter().filter(|b| !is_header(b));
        let due = media.filter_map(|buffer| stamp(buffer).checked_sub(from));
        let due: Vec<_> = due.map(|due| due as f64).collect();
        let found = coded::packets(&path, "a:0");
        // Silence replaces the lost packets.
        assert!(
            found.len() > due.len(),
            "{encoder}: {} of {}",
            found.len(),
            due.len()
        );
        // FFmpeg reports the gap one page late.
        let is_there = |due: &f64| found.iter().any(|packet| (packet.pts - due).abs() <= 7.6e6);
        let off: Vec<_> = due.iter().filter(|due| !is_there(due)).collect();
        assert!(off.len() <= 2, "{encoder}: {off:?}");
    }
}

// ---- Forms of AAC ----

/// The same frames in LOAS, as muxed by FFmpeg.
fn in_loas(adts: &Coded) -> Coded {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (
        directory.path().join("a.aac"),
        directory.path().join("a.latm"),
    );
    let map = |buffer: &gst::Buffer| buffer.map_readable().unwrap().to_vec();
    std::fs::write(&from, adts.buffers.iter().flat_map(map).collect::<Vec<_>>()).unwrap();
    let mut ffmpeg = std::process::Command::new("ffmpeg");
    let ffmpeg = ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(&from);
    common::harness::media::run(ffmpeg.args(["-c", "copy", "-f", "latm"]).arg(&to));
    let packed = std::fs::read(&to).unwrap();
    let mut rest = packed.as_slice();
    let mut buffers = Vec::new();
    for buffer in &adts.buffers {
        let length = usize::from(rest[1] & 0x1f) << 8 | usize::from(rest[2]);
        let (frame, behind) = rest.split_at(3 + length);
        let mut packed = gst::Buffer::from_mut_slice(frame.to_vec());
        let to = packed.get_mut().unwrap();
        let what = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
        buffer.copy_into(to, what, ..).unwrap();
        buffers.push(packed);
        rest = behind;
    }
    let caps = "audio/mpeg,mpegversion=4,stream-format=loas,framed=true,rate=48000,channels=2";
    Coded {
        caps: caps.parse().unwrap(),
        buffers,
    }
}

#[test]
fn aac_in_loas_is_copied_as_raw_aac() {
    for name in ["loas.m4a", "loas.mka"] {
        let adts = coded::audio("voaacenc ! audio/mpeg,stream-format=adts", 40);
        let given = in_loas(&adts);
        copies(name, adts, Some(given), coded::without_adts);
    }
}

/// Parsers give the last frame, which is shorter, the same duration as the others.
#[test]
fn flac_in_matroska_is_as_long_as_its_samples() {
    for encoder in ["identity", "flacenc", "flacenc ! flacparse"] {
        let (_directory, path) = temp_location("flac.mka");
        let app = App::new("audio/x-matroska;codecs=flac", &path);
        app.recorder.set_property("autostart", true);
        let source = app.source(&format!(
            "audiotestsrc num-buffers=100 samplesperbuffer=480 ! {STEREO} ! {encoder}"
        ));
        source.link(&app.pad("audio_%u")).unwrap();
        app.set_state(gst::State::Playing);
        app.wait_for("stop", 1);
        app.set_state(gst::State::Null);
        let stops = app
            .events()
            .into_iter()
            .filter(|event| event.name == "stop");
        let durations: Vec<u64> = stops
            .map(|stop| stop.fields.get("duration").unwrap())
            .collect();
        assert_eq!(durations, [SECOND], "{encoder}");
        let container = file::duration(&path).unwrap();
        assert!((container - 1e9).abs() < 1.1e6, "{encoder}: {container} ns");
    }
}

// ---- Outages ----

/// Frames after an outage refer to lost ones, up to the next keyframe, which is requested.
#[test]
fn byte_streams_resume_at_a_keyframe_after_an_outage() {
    const KEYS: usize = 45;
    let encoder =
        "x264enc key-int-max=45 bframes=0 speed-preset=ultrafast option-string=scenecut=0";
    let frames = coded::video(&format!("{encoder} ! {BYTES}"), FRAMES);
    for alignment in ["au", "nal"] {
        let (_directory, path) = temp_location("outage.mkv");
        let app = App::new("", &path);
        let mut given = frames.clone();
        let before = given.buffers.drain(..20).collect::<Vec<_>>();
        let mut after = given.buffers.split_off(60);
        if alignment == "nal" {
            after = coded::in_units(&after);
        }
        after[0].make_mut().set_flags(gst::BufferFlags::DISCONT);
        given.buffers = match alignment {
            "nal" => coded::in_units(&before),
            _ => before,
        };
        given.buffers.extend(after);
        given.caps.make_mut().set("alignment", alignment);
        let mut playing = Playing::new(&app, "video_%u", given);
        let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = asked.clone();
        let count = move |_: &gst::Pad, info: &mut gst::PadProbeInfo<'_>| {
            let is_request =
                |event: &gst::Event| gst_video::UpstreamForceKeyUnitEvent::parse(event).is_ok();
            let requests = usize::from(info.event().is_some_and(is_request));
            counter.fetch_add(requests, std::sync::atomic::Ordering::SeqCst);
            gst::PadProbeReturn::Ok
        };
        let upstream = playing.feed.pad.peer().unwrap();
        upstream.add_probe(gst::PadProbeType::EVENT_UPSTREAM, count);
        app.set_state(gst::State::Playing);
        app.act("start");
        play_until(&mut [&mut playing], 0, SECOND);
        let requests = || asked.load(std::sync::atomic::Ordering::SeqCst);
        let before = requests();
        play_until(&mut [&mut playing], SECOND, 85 * SECOND / 30);
        let is_asked = || requests() > before;
        assert!(
            common::app::holds_within(common::app::DEADLINE, is_asked),
            "{alignment}"
        );
        play_until(&mut [&mut playing], 85 * SECOND / 30, 4 * SECOND);
        playing.feed.end();
        app.wait_for("stop", 1);
        file::decodes_without_errors(&path).unwrap();
        let shown = sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
        let shown: Vec<_> = shown
            .iter()
            .map(|(_, source)| (source / 1e9 * 30.0).round())
            .collect();
        let due = (0..20).chain(2 * KEYS..FRAMES as usize).map(|n| n as f64);
        assert_eq!(shown, due.collect::<Vec<_>>(), "{alignment}");
    }
}
