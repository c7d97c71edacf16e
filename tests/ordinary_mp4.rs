//! An MP4 is fragmented while it is recorded and an ordinary file afterwards, at each output. It plays even if the
//! conversion is interrupted.

mod common;

use common::disk::{SmallFilesystem, traced, wait_failed};
use common::harness::{DEADLINE, Kind, Recorder, Rig, init, make_recorder, media};
use common::judge::{file, ordinary};
use common::replay;
use common::settings::{long, skipped};
use common::take::{Recipe, take};
use gst::prelude::*;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicU64, Ordering},
};

/// Runs a gst-launch line to its end, in which `rec` is the recorder. Returns its warnings.
fn play(line: &str, location: &Path) -> Vec<String> {
    play_with(line, location, |_| ())
}

/// As [`play`], with a pipeline that `set_up` changes.
fn play_with(line: &str, location: &Path, set_up: impl FnOnce(&gst::Pipeline)) -> Vec<String> {
    init();
    let pipeline = gst::parse::launch(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    set_up(&pipeline);
    let recorder = pipeline.by_name("rec").unwrap();
    recorder.set_property("location", location.to_str().unwrap());
    recorder.set_property("autostart", true);
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut warnings = Vec::new();
    let (mut stopped, mut ended) = (false, false);
    while !stopped || !ended {
        // Gigabytes take longer.
        let deadline = if long() { 10 * DEADLINE } else { DEADLINE };
        let wait = gst::ClockTime::from_nseconds(deadline.as_nanos() as u64);
        let message = pipeline.bus().unwrap().timed_pop(wait);
        match message.expect("it ends").view() {
            gst::MessageView::Eos(_) => ended = true,
            gst::MessageView::Warning(warning) => warnings.push(warning.error().to_string()),
            gst::MessageView::Error(error) => panic!("{error:?}"),
            gst::MessageView::Element(message) => {
                stopped |= message.structure().unwrap().name() == "mediarecorder-stop";
            }
            _ => {}
        }
    }
    pipeline.set_state(gst::State::Null).unwrap();
    warnings
}

fn is_supported(mime_type: &str) -> bool {
    let supported = make_recorder().supports(mime_type);
    if !supported {
        println!("{mime_type}: not installed, not tested");
    }
    supported
}

/// Where to record to.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let folder_path = folder.path().canonicalize().unwrap();
    (folder, folder_path.join("recording.mp4"))
}

/// Asserts that a file is an ordinary one, and that FFmpeg and GStreamer play it as they play its fragments.
fn assert_ordinary(path: &Path) {
    let fragmented = ordinary::fragmented_beside(path).unwrap();
    for path in [path, &fragmented] {
        file::decodes_without_errors(path).unwrap();
    }
    ordinary::plays_alike(path, &fragmented).unwrap();
    ordinary::plays_alike_in_gstreamer(path, &fragmented).unwrap();
    ordinary::heads_in_pages(&std::fs::read(&fragmented).unwrap()).unwrap();
}

/// Duration of each stream in seconds, according to ffprobe.
fn lengths(path: &Path) -> Vec<f64> {
    let probe = file::ffprobe(path).unwrap();
    let streams = probe["streams"].as_array().unwrap().iter();
    let lasts = streams.map(|stream| stream["duration"].as_str().unwrap().parse().unwrap());
    lasts.collect()
}

#[test]
fn many_tracks_of_many_rates_start_and_end_together() {
    if !is_supported("video/mp4;codecs=avc1,mp4a.40.2") {
        return;
    }
    let (_folder, path) = place();
    let video = |rate, frames| {
        format!(
            "videotestsrc num-buffers={frames} ! video/x-raw,width=160,height=120,framerate={rate} ! rec. "
        )
    };
    let audio = |rate, channels, samples| {
        format!(
            "audiotestsrc wave=ticks samplesperbuffer={samples} num-buffers=20 \
             ! audio/x-raw,rate={rate},channels={channels} ! rec. "
        )
    };
    let line = [
        "mediarecorder name=rec mime-type=\"video/mp4;codecs=avc1,mp4a.40.2\" ".to_string(),
        video("30/1", 60),
        audio(48_000, 2, 4_800),
        video("25/1", 50),
        audio(44_100, 1, 4_410),
        audio(8_000, 1, 800),
    ];
    assert_eq!(play(&line.concat(), &path), Vec::<String>::new());
    assert_ordinary(&path);
    assert_eq!(file::codecs(&path).unwrap().len(), 5);
    for (stream, lasts) in lengths(&path).into_iter().enumerate() {
        // One sample at the lowest rate.
        assert!((lasts - 2.0).abs() < 1.0 / 8_000.0, "{stream}: {lasts} s");
    }
    let begins = file::starts(&path).unwrap();
    assert!(begins.iter().all(|begin| *begin == 0.0), "{begins:?}");
}

/// The duration includes that of the last frame, which parsers do not provide.
#[test]
fn variable_frame_rate_video_has_its_full_duration() {
    for codec in ["avc1", "hvc1", "vp9", "av1"] {
        let mime_type = format!("video/mp4;codecs={codec}");
        if !is_supported(&mime_type) {
            continue;
        }
        let mut recipe = Recipe::new(&mime_type, false, true);
        recipe.lengths = vec![33, 7, 120, 15, 400];
        let take = take(&recipe);
        assert_ordinary(&take.path);
        let total = take.kept.total() as f64 / 1e9;
        let lasts = lengths(&take.path)[0];
        assert!(
            (lasts - total).abs() < 0.001,
            "{codec}: {lasts} of {total} s"
        );
    }
}

/// A cut leaves less of the last frame than one tick of the track's timescale.
#[test]
fn a_last_frame_shorter_than_a_tick_is_kept() {
    let (_folder, path) = place();
    let line = "videotestsrc num-buffers=70 ! video/x-raw,width=160,height=120,framerate=30/1 \
         ! mediarecorder name=rec mime-type=video/mp4 max-duration=2000080000 \
         audiotestsrc num-buffers=30 samplesperbuffer=4800 ! audio/x-raw,rate=48000,channels=1 ! rec.";
    play(line, &path);
    assert_ordinary(&path);
    let fragmented = ordinary::fragmented_beside(&path).unwrap();
    for path in [&path, &fragmented] {
        assert_eq!(media::frames(path.to_str().unwrap()), 61);
        assert_eq!(ordinary::frames_in_gstreamer(path).unwrap(), 61);
    }
}

#[test]
fn copied_b_frames_keep_their_presentation_times() {
    let (_folder, path) = place();
    let line = "videotestsrc num-buffers=100 ! video/x-raw,width=160,height=120,framerate=30/1 \
         ! x264enc key-int-max=30 bframes=3 b-adapt=false speed-preset=ultrafast ! h264parse \
         ! mediarecorder name=rec mime-type=video/mp4";
    play(line, &path);
    assert_ordinary(&path);
    let (out, _) = media::run(
        Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
            .args(["-show_entries", "frame=pts_time", path.to_str().unwrap()]),
    );
    let out = String::from_utf8(out).unwrap();
    let times = out
        .lines()
        .filter_map(|line| line.trim_matches(',').parse::<f64>().ok());
    let times: Vec<_> = times.collect();
    assert_eq!(times.len(), 100);
    for pair in times.windows(2) {
        assert!((pair[1] - pair[0] - 1.0 / 30.0).abs() < 0.001, "{pair:?}");
    }
}

/// A second has more of them than a `moof` of one page can list.
#[test]
fn fragments_of_a_thousand_frames_a_second_have_their_heads_in_one_page() {
    let (_folder, path) = place();
    let line = "videotestsrc num-buffers=1500 ! video/x-raw,width=32,height=32,framerate=1000/1          ! x264enc key-int-max=1000 bframes=3 b-adapt=false speed-preset=ultrafast ! h264parse          ! mediarecorder name=rec mime-type=video/mp4";
    play(line, &path);
    assert_ordinary(&path);
    assert_eq!(media::frames(path.to_str().unwrap()), 1500);
}

/// Offsets beyond 4 GiB, in a real file (`--long`).
#[test]
fn a_file_beyond_4_gib_plays_to_its_end() {
    const FILLER: usize = 8 << 20;
    const FRAMES: usize = 560;
    if !long() {
        return;
    }
    init();
    let (_folder, path) = place();
    let line = format!(
        "videotestsrc num-buffers={FRAMES} ! video/x-raw,width=64,height=48,framerate=30/1 \
         ! x264enc key-int-max=30 speed-preset=ultrafast tune=zerolatency ! h264parse \
         ! video/x-h264,stream-format=avc,alignment=au ! identity name=grow \
         ! mediarecorder name=rec mime-type=video/mp4"
    );
    // Filler data (7.4.2.7) in each access unit, in a NAL unit with a 4-byte length.
    let mut filler = vec![0xff; FILLER];
    filler[..5].copy_from_slice(&[0, 0, 0, 0, 12]);
    filler[..4].copy_from_slice(&(FILLER as u32 - 4).to_be_bytes());
    filler[FILLER - 1] = 0x80;
    let filler = gst::Memory::from_slice(filler);
    let warnings = play_with(&line, &path, |pipeline| {
        let grow = pipeline.by_name("grow").unwrap();
        let pad = grow.static_pad("src").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let buffer = info.buffer_mut().unwrap();
            buffer.make_mut().append_memory(filler.clone());
            gst::PadProbeReturn::Ok
        });
    });
    assert_eq!(warnings, Vec::<String>::new());
    let probe = |args: &[&str]| {
        let (out, errors) = media::run(Command::new("ffprobe").args(args).arg(&path));
        assert_eq!(errors, "");
        String::from_utf8(out).unwrap()
    };
    let entries = ["-v", "error", "-of", "csv=p=0", "-show_entries"];
    let places = probe(&[&entries[..], &["packet=pos"]].concat());
    let places: Vec<u64> = places
        .lines()
        .map(|line| line.trim_matches(',').parse().unwrap())
        .collect();
    assert_eq!(places.len(), FRAMES);
    assert!(places[FRAMES - 1] > 1 << 32, "{places:?}");
    let last = ["frame=pts_time", "-read_intervals", "18%"];
    let times = probe(&[&entries[..], &last].concat());
    let end = times
        .lines()
        .filter_map(|line| line.trim_matches(',').parse::<f64>().ok());
    let end = end.fold(0.0, f64::max);
    assert!((end - (FRAMES - 1) as f64 / 30.0).abs() < 0.001, "{end} s");
}

#[test]
fn one_blob_is_an_ordinary_file_in_memory_and_in_a_temporary_file() {
    let mime_type = "video/mp4;codecs=avc1,mp4a.40.2";
    if !is_supported(mime_type) {
        return;
    }
    for max_memory in [u64::MAX, 10_000] {
        let recipe = Recipe::new(mime_type, true, true).with("max-memory", max_memory);
        let take = common::take::take_with(
            &recipe,
            |recorder| recorder.set_property("location", None::<&str>),
            |_, _| (),
        );
        let [blob] = &take.blobs[..] else {
            panic!("{} blobs", take.blobs.len());
        };
        let path = take.path.with_file_name("blob.mp4");
        std::fs::write(&path, &blob.bytes).unwrap();
        assert_ordinary(&path);
    }
}

/// Blobs of a timeslice stay fragments, while a seekable sink gets the same ordinary file as `location`.
#[test]
fn a_filesink_downstream_of_src_gets_the_same_file() {
    for (timeslice, mime_type) in [(0, "video/mp4"), (300, "video/mp4"), (300, "audio/mp4")] {
        let rig = Rig::new();
        let [file, sunk] = ["file.mp4", "sunk.mp4"].map(|name| rig.path(name));
        rig.recorder.set_property("mime-type", mime_type);
        rig.recorder.set_property("location", &file);
        rig.recorder.set_property("timeslice", timeslice as u32);
        rig.live_audio();
        if mime_type.starts_with("video") {
            rig.live_video();
        }
        let sink = gst::ElementFactory::make("filesink")
            .property("location", &sunk)
            .build()
            .unwrap();
        rig.pipeline.add(&sink).unwrap();
        rig.recorder.link(&sink).unwrap();
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let seen = sizes.clone();
        rig.recorder.connect("on-part", false, move |values| {
            let part = values[1].get::<gst::Structure>().unwrap();
            seen.lock().unwrap().push(part.get::<u64>("size").unwrap());
            None
        });
        rig.play();
        rig.recorder.start().unwrap();
        common::harness::wait_for("two seconds", || {
            rig.recorder.stat("duration") > 2_000_000_000
        });
        rig.recorder.stop().unwrap();
        rig.wait_recording(1);
        let events = rig.messages.wait("its messages", |events| {
            events.iter().any(|event| event.kind == Kind::Stop)
        });
        let pad = sink.static_pad("sink").unwrap();
        common::harness::wait_for("EOS at the sink", || {
            pad.pad_flags().contains(gst::PadFlags::EOS)
        });
        rig.set_state(gst::State::Null);
        let (bytes, other) = (std::fs::read(&file).unwrap(), std::fs::read(&sunk).unwrap());
        assert!(bytes == other, "{timeslice} ms: the files differ");
        assert_ordinary(Path::new(&file));
        let stop = events.iter().find(|event| event.kind == Kind::Stop);
        assert_eq!(stop.unwrap().time("size"), bytes.len() as u64);
        assert_eq!(*sizes.lock().unwrap(), [bytes.len() as u64], "on-part's");
        let blobs = common::harness::log::concatenated(&rig.signals.all());
        if timeslice == 0 {
            assert!(bytes == blobs, "the blob is not the file");
        } else {
            assert!(blobs.len() < bytes.len());
            media::assert_plays(&rig.save("blobs.mp4", &blobs));
        }
    }
}

#[test]
fn without_disk_space_for_the_moov_the_file_stays_fragmented() {
    let mime_type = "audio/mp4;codecs=mp4a.40.2";
    if !is_supported(mime_type) {
        return;
    }
    let line = "audiotestsrc num-buffers=2000 wave=saw freq=997 ! audio/x-raw,rate=48000,channels=2 \
         ! mediarecorder name=rec mime-type=\"audio/mp4;codecs=mp4a.40.2\"";
    let (_folder, path) = place();
    assert_eq!(play(line, &path), Vec::<String>::new());
    let whole = std::fs::read(&path).unwrap();
    let (_, end) = ordinary::seams(&whole).unwrap();
    let page = 4096;
    assert!(whole.len() - end > page, "its end is more than a page");
    let Some(disk) = SmallFilesystem::mount(&format!("size={}", end.next_multiple_of(page))) else {
        return;
    };
    let path = disk.path().join("recording.mp4");
    let warnings = play(line, &path);
    assert!(
        warnings.len() == 1 && warnings[0].contains("stays a fragmented MP4"),
        "{warnings:?}"
    );
    let bytes = std::fs::read(&path).unwrap();
    let names: Vec<_> = ordinary::outermost(&bytes).iter().map(|b| b.0).collect();
    assert_eq!(names[..3], [*b"ftyp", *b"free", *b"moov"]);
    assert!([*b"mdat", *b"mfra"].contains(names.last().unwrap()));
    assert_eq!(ordinary::outermost(&bytes).last().unwrap().2, bytes.len());
    let without_dates = |bytes: &[u8]| bytes[4_096..end].to_vec();
    assert_eq!(without_dates(&bytes), without_dates(&whole));
    file::decodes_without_errors(&path).unwrap();
}

#[test]
fn on_a_full_disk_the_file_ends_with_a_complete_fragment() {
    let Some(disk) = SmallFilesystem::mount("size=400k") else {
        return;
    };
    if !is_supported("video/mp4") {
        return;
    }
    let (rig, _tracks) = Rig::live(1, 1);
    let path = disk.path().join("full.mp4");
    rig.recorder.set_property("mime-type", "video/mp4");
    rig.recorder
        .set_property("video-bits-per-second", 4_000_000u32);
    rig.recorder
        .set_property("location", path.to_str().unwrap());
    rig.recorder.start().unwrap();
    let (error, _) = wait_failed(&rig, 1);
    assert!(error.contains("space"), "{error}");
    let bytes = std::fs::read(&path).unwrap();
    let boxes = ordinary::outermost(&bytes);
    let (name, _, end) = boxes[boxes.len() - 1];
    assert_eq!((name, end), (*b"mdat", bytes.len()));
    assert!(bytes.len() > 100_000);
    file::decodes_without_errors(&path).unwrap();
}

#[test]
fn with_an_encoder_that_hangs_the_file_is_an_ordinary_one_too() {
    if !is_supported("video/mp4") {
        return;
    }
    let (rig, tracks) = Rig::live(1, 1);
    let path = rig.path("hung.mp4");
    rig.recorder.set_property("mime-type", "video/mp4");
    rig.recorder.set_property("stop-timeout", 300_000_000u64);
    rig.recorder.set_property("location", &path);
    let stuck = Arc::new((Mutex::new(false), Condvar::new()));
    let free = stuck.clone();
    rig.recorder.connect("encoder-setup", false, move |values| {
        let pad = values[1].get::<gst::Pad>().unwrap();
        let encoder = values[2].get::<gst::Element>().unwrap();
        if pad.name() == "video_0" {
            let (stuck, frames) = (stuck.clone(), AtomicU64::new(0));
            let out = encoder.static_pad("src").unwrap();
            out.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                if frames.fetch_add(1, Ordering::SeqCst) == 80 {
                    let (free, freed) = &*stuck;
                    let limit = std::time::Duration::from_secs(60);
                    drop(freed.wait_timeout_while(free.lock().unwrap(), limit, |free| !*free));
                }
                gst::PadProbeReturn::Ok
            });
        }
        None
    });
    rig.recorder.start().unwrap();
    tracks[1].wait_buffers(100);
    rig.recorder.stop().unwrap();
    let (error, bytes) = wait_failed(&rig, 1);
    assert!(error.contains("stop-timeout"), "{error}");
    assert!(bytes == std::fs::read(&path).unwrap());
    *free.0.lock().unwrap() = true;
    free.1.notify_all();
    ordinary::seams(&bytes).unwrap();
    file::decodes_without_errors(Path::new(&path)).unwrap();
    assert!(media::frames(&path) > 25);
}

/// Where the process whose writes are logged records to.
const WHERE: &str = "MEDIARECORDER_LOGGED_FILE";
/// Its `sync-interval`, in nanoseconds.
const SYNC: &str = "MEDIARECORDER_LOGGED_SYNC";

#[test]
fn records_for_the_log() {
    let Some(path) = std::env::var_os(WHERE) else {
        return;
    };
    let line = "mediarecorder name=rec video-bits-per-second=300000 video-key-frame-interval-duration=500 \
         videotestsrc num-buffers=150 ! video/x-raw,width=160,height=120,framerate=30/1 ! rec. \
         audiotestsrc num-buffers=235 wave=ticks ! audio/x-raw,rate=48000,channels=2 ! rec.";
    let sync_interval = std::env::var(SYNC).unwrap();
    let settings = format!("name=rec mime-type=video/mp4 sync-interval={sync_interval}");
    play(&line.replace("name=rec", &settings), Path::new(&path));
}

/// Number of packets that ffprobe finds in each stream.
fn packets(path: &Path) -> [usize; 2] {
    let (out, _) = media::run(
        Command::new("ffprobe")
            .args(["-v", "quiet", "-of", "csv=p=0"])
            .args(["-show_entries", "packet=stream_index"])
            .arg(path),
    );
    let out = String::from_utf8_lossy(&out);
    ["0", "1"].map(|stream| {
        out.lines()
            .filter(|line| line.trim_matches(',') == stream)
            .count()
    })
}

/// Number of samples of each track in complete fragments.
fn samples_in(bytes: &[u8]) -> [usize; 2] {
    let mut counts = [0; 2];
    let boxes = ordinary::outermost(bytes);
    for pair in boxes.windows(2) {
        let (name, begin, end) = pair[0];
        if name == *b"moof" && pair[1].2 <= bytes.len() {
            let moof = &bytes[begin..end];
            let field = |name: &[u8], at: usize| {
                let place = moof.windows(4).position(|w| w == name).unwrap() + at;
                u32::from_be_bytes(moof[place..place + 4].try_into().unwrap()) as usize
            };
            counts[field(b"tfhd", 8) - 1] += field(b"trun", 8);
        }
    }
    counts
}

#[test]
fn the_file_plays_after_each_write() {
    judge_each_write(0);
}

#[test]
fn a_synchronised_file_plays_after_each_write() {
    judge_each_write(300_000_000);
}

/// Judges every state that the complete or torn writes of a recording leave in its file.
fn judge_each_write(sync_interval: u64) {
    if std::env::var_os(WHERE).is_some() || !is_supported("video/mp4") {
        return;
    }
    let (_folder, path) = place();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "records_for_the_log"])
        .env(WHERE, &path)
        .env(SYNC, sync_interval.to_string());
    let Some(log) = traced(&child, &[&path], "write,writev,pwrite64") else {
        return skipped("the writes of a recording: processes cannot be traced here");
    };
    let calls = replay::parse(&log);
    let writes: Vec<_> = calls.iter().map(|call| call.write().unwrap()).collect();
    let mut file = Vec::new();
    let mut states = Vec::new();
    let whole = std::fs::read(&path).unwrap();
    let (_, end) = ordinary::seams(&whole).unwrap();
    for write in &writes {
        let (at, bytes) = write;
        // The kernel may stop between pages. What is appended at the end, or overwrites earlier bytes, is cut anywhere.
        let mut cuts: Vec<_> = (at / 4096 + 1..(at + bytes.len()) / 4096 + 1)
            .map(|page| page * 4096 - at)
            .filter(|cut| *cut < bytes.len())
            .collect();
        if *at >= end {
            let odd = [1, 4, 7, 8, 9, 12, 15, 16, 17, 24, 100];
            cuts.extend(odd.iter().chain(&[bytes.len() / 2, bytes.len() - 1]));
        }
        let older = file.get(*at..).unwrap_or_default().iter().zip(*bytes);
        let differs = older.enumerate().filter(|(_, (old, new))| old != new);
        cuts.extend(differs.map(|(byte, _)| byte));
        for cut in cuts {
            let mut state = file.clone();
            replay::apply(&mut state, *at, &bytes[..cut]);
            states.push(state);
        }
        replay::apply(&mut file, *at, bytes);
        states.push(file.clone());
    }
    assert!(file == whole, "the log has all that was written");
    let last = [&writes[writes.len() - 1], &writes[writes.len() - 2]].map(|w| (w.0, w.1.len()));
    assert_eq!(last, [(32, 8), (40, 8)], "the end is two aligned writes");
    let all = samples_in(&ordinary::fragmented(&whole).unwrap());
    assert_eq!(all[0], 150);
    let state_path = path.with_file_name("state.mp4");
    let mut most = [0; 2];
    let mut ends = 0;
    for state in &states {
        std::fs::write(&state_path, state).unwrap();
        let found = packets(&state_path);
        if state.len() >= end {
            ends += 1;
            assert_eq!(found, all, "of {} bytes", state.len());
            file::decodes_without_errors(&state_path).unwrap();
            assert_eq!(ordinary::frames_in_gstreamer(&state_path).unwrap(), 150);
            continue;
        }
        let there = samples_in(state);
        for track in [0, 1] {
            assert!(
                found[track] >= there[track],
                "of {} bytes: {found:?} packets, {there:?} samples",
                state.len()
            );
            most[track] = most[track].max(found[track]);
        }
    }
    println!(
        "{} states, {ends} of them at the end; {most:?} packets before it",
        states.len()
    );
    assert!(ends > 12 && states.len() > 40);
    assert_ordinary(&path);
}
