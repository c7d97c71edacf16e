//! Video in memory other than system memory: every frame is recorded at its time, and what cannot be mapped is
//! refused with a reason.
//!
//! GL is real (Mesa's software renderer on a virtual display). For DMABuf, a file's descriptor replaces a
//! device's: GStreamer's allocator maps both in the same way. VA, CUDA and Direct3D require hardware: for them,
//! only caps negotiation is tested.

mod coded;
mod common;

use coded::{Coded, MILLI, ORIGIN, Playing, SMALL, play_until};
use common::app::{App, DEADLINE, holds_within, temp_location};
use common::child_process::kill_with_test;
use common::judge::{decode, file, kept::Kept};
use gst::prelude::*;
use gst_allocators::{DmaBufAllocator, prelude::*};
use gst_video::{VideoFormat, VideoFrameFlags, VideoInfo, VideoMeta};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const MKV: &str = "video/x-matroska;codecs=vp8";
const FRAME: u64 = 1_000_000_000 / 30;

/// Verifies that the frame visible at each time is the one of that time, except during `muted` (recorded time),
/// where it is black.
fn assert_in_place(path: &Path, kept: &Kept, muted: std::ops::Range<u64>, least: usize) {
    file::decodes_without_errors(path).unwrap();
    let found = decode::video(path, 0).unwrap();
    assert_eq!((found.width, found.height), (320, 240));
    assert!(
        found.frames.len() >= least,
        "{} pictures",
        found.frames.len()
    );
    for frame in &found.frames {
        let recorded = frame.recorded + 0.6e6;
        if muted.contains(&(recorded as u64)) {
            assert_eq!(frame.source, None, "{frame:?} should be black");
            continue;
        }
        let Some(shown) = frame.source.map(|source| source + ORIGIN) else {
            panic!(
                "{frame:?} cannot be read, muted: {muted:?}: {:?}",
                found.frames
            );
        };
        let late = kept.source_at(recorded) - shown as f64;
        assert!(
            (-0.1e6..FRAME as f64 + 1.2e6).contains(&late),
            "{frame:?} is {late} ns late in {kept:?}"
        );
    }
}

/// Records with two pauses and some black frames, and verifies the video.
fn recorded_with_cuts(coded: Coded) {
    let (_directory, path) = temp_location("cuts.mkv");
    let app = App::new(MKV, &path);
    let mut playing = Playing::new(&app, "video_%u", coded);
    let pad = playing.feed.pad.clone();
    app.set_state(gst::State::Playing);
    let mut now = 0;
    for (action, at) in [
        ("start", 315),
        ("pause", 780),
        ("resume", 1_110),
        ("mute", 1_390),
        ("unmute", 1_590),
        ("stop", 1_900),
    ] {
        play_until(&mut [&mut playing], now, at * MILLI);
        now = at * MILLI;
        match action {
            "mute" => pad.set_property("mute", true),
            "unmute" => pad.set_property("mute", false),
            action => {
                app.act(action);
            }
        }
    }
    play_until(&mut [&mut playing], now, 2_000 * MILLI);
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let kept = app.kept();
    // Where it was set: at the end of the last frame that had arrived.
    let muted = |at: u64| {
        let came = (at * MILLI).div_ceil(FRAME) * FRAME + ORIGIN;
        kept.interval_start(1) + came - kept.intervals[1].0
    };
    assert_in_place(&path, &kept, muted(1_390)..muted(1_590), 25);
}

/// Records everything from the first buffer to EOS.
fn recorded_whole(coded: Coded) {
    let (_directory, path) = temp_location("whole.mkv");
    let app = App::new(MKV, &path);
    app.recorder.set_property("autostart", true);
    let frames = coded.buffers.len();
    app.set_state(gst::State::Playing);
    let playing = Playing::new(&app, "video_%u", coded);
    for buffer in &playing.all {
        playing.feed.push(buffer.clone());
    }
    playing.feed.end();
    app.wait_for("stop", 1);
    assert_in_place(&path, &app.kept(), 0..0, frames);
}

// ---- DMABuf ----

/// A descriptor of a file with this content.
fn descriptor(bytes: &[u8]) -> OwnedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.into()
}

fn dmabuf(descriptor: OwnedFd, size: usize) -> gst::Memory {
    let allocator = DmaBufAllocator::new();
    // The memory closes it.
    unsafe { allocator.alloc_dmabuf(descriptor, size) }.unwrap()
}

/// Like a capture device's: one memory for all planes, with padding after lines and planes.
fn padded_dmabufs(coded: Coded) -> Coded {
    let info = VideoInfo::from_caps(&coded.caps).unwrap();
    assert_eq!(info.format(), VideoFormat::I420);
    let (width, height) = (info.width() as usize, info.height() as usize);
    let stride = [width + 64, width / 2 + 32, width / 2 + 32];
    let lines = [height + 16, height / 2 + 8, height / 2 + 8];
    let offset = [
        0,
        stride[0] * lines[0],
        stride[0] * lines[0] + stride[1] * lines[1],
    ];
    let size = offset[2] + stride[2] * lines[2];
    let buffers = coded.buffers.iter().map(|buffer| {
        let map = buffer.map_readable().unwrap();
        let mut bytes = vec![0xee; size];
        for plane in 0..3 {
            let from = info.stride()[plane] as usize;
            let (wide, high) = match plane {
                0 => (width, height),
                _ => (width / 2, height / 2),
            };
            for line in 0..high {
                bytes[offset[plane] + line * stride[plane]..][..wide]
                    .copy_from_slice(&map[info.offset()[plane] + line * from..][..wide]);
            }
        }
        let mut padded = gst::Buffer::new();
        let fields = padded.get_mut().unwrap();
        fields.append_memory(dmabuf(descriptor(&bytes), size));
        let stride = stride.map(|stride| stride as i32);
        let (width, height) = (info.width(), info.height());
        let flags = VideoFrameFlags::empty();
        VideoMeta::add_full(
            fields,
            flags,
            VideoFormat::I420,
            width,
            height,
            &offset,
            &stride,
        )
        .unwrap();
        fields.set_pts(buffer.pts());
        fields.set_duration(buffer.duration());
        padded
    });
    Coded {
        buffers: buffers.collect(),
        caps: with_feature(&coded.caps, "memory:DMABuf"),
    }
}

fn with_feature(caps: &gst::CapsRef, feature: &str) -> gst::Caps {
    let mut caps = caps.to_owned();
    caps.make_mut()
        .set_features(0, Some(gst::CapsFeatures::new([feature])));
    caps
}

#[test]
fn dmabufs_with_padded_lines_and_planes() {
    recorded_with_cuts(padded_dmabufs(coded::video("identity", 70)));
}

/// Memory that cannot be mapped is not recorded, and the error says why.
#[test]
fn a_dmabuf_that_cannot_be_mapped_is_not_supported() {
    let (_directory, path) = temp_location("none.mkv");
    let app = App::new(MKV, &path);
    let raw = coded::video("identity", 10);
    let caps = with_feature(&raw.caps, "memory:DMABuf");
    let playing = Playing::new(
        &app,
        "video_%u",
        Coded {
            caps,
            buffers: raw.buffers,
        },
    );
    app.set_state(gst::State::Playing);
    app.act("start");
    for buffer in &playing.all {
        // The write end of a pipe.
        let (_read, write) = std::io::pipe().unwrap();
        let mut hidden = gst::Buffer::new();
        let fields = hidden.get_mut().unwrap();
        fields.append_memory(dmabuf(write.into(), buffer.size()));
        fields.set_pts(buffer.pts());
        fields.set_duration(buffer.duration());
        playing.feed.push(hidden);
    }
    app.wait_for("stop", 1);
    let heard = app.events();
    let error = heard.iter().find(|event| event.name == "error");
    let error: glib::Error = error.expect("an error").fields.get("error").unwrap();
    common::harness::assert_error(&error, common::harness::code::NOT_SUPPORTED);
    assert!(error.message().contains("dmabuf"), "{error}");
    assert!(error.message().contains("video_0"), "{error}");
    playing.feed.wait_taken();
    assert_eq!(
        playing.feed.flow(),
        Some(Ok(gst::FlowSuccess::Ok)),
        "upstream continues"
    );
}

// ---- Negotiation ----

#[test]
fn mappable_memory_is_accepted_and_system_memory_is_preferred() {
    let recorder = common::harness::make_recorder();
    let pad = recorder.request_pad_simple("video_%u").unwrap();
    let fixed = "width=320,height=240,framerate=30/1";
    for (caps, taken) in [
        ("(memory:DMABuf),format=NV12", true),
        (
            "(memory:DMABuf),format=DMA_DRM,drm-format=NV12:0x0100000000000001",
            false,
        ),
        ("(memory:VAMemory),format=NV12", true),
        ("(memory:VASurface),format=NV12", true),
        ("(memory:CUDAMemory),format=NV12", true),
        ("(memory:D3D11Memory),format=NV12", true),
        ("(memory:NVMM),format=NV12", false),
        ("(memory:GLMemory),format=RGBA,texture-target=2D", true),
        (
            "(memory:GLMemory),format=RGBA,texture-target=external-oes",
            false,
        ),
    ] {
        let caps: gst::Caps = format!("video/x-raw{caps},{fixed}").parse().unwrap();
        assert_eq!(pad.query_accept_caps(&caps), taken, "{caps}");
    }
    let both: gst::Caps = "video/x-raw(memory:VAMemory),format=NV12;video/x-raw,format=NV12"
        .parse()
        .unwrap();
    let answer = pad.query_caps(Some(&both));
    assert_eq!(answer.size(), 2, "{answer}");
    let first = answer.features(0).unwrap();
    assert!(first.contains("memory:SystemMemory"), "{answer}");
}

// ---- GL ----

const INSIDE: &str = "MEDIARECORDER_TEST_DISPLAY";

/// A display for the lifetime of this.
struct Display {
    server: Child,
    name: String,
}

impl Display {
    fn new() -> Self {
        let mut server = Command::new("Xvfb");
        server
            .args([
                "-displayfd",
                "1",
                "-screen",
                "0",
                "640x480x24",
                "-nolisten",
                "tcp",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut server = kill_with_test(&mut server)
            .spawn()
            .expect("Xvfb runs (Debian package xvfb)");
        let mut number = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut number)
            .expect("Xvfb prints its number");
        assert!(!number.trim().is_empty(), "Xvfb does not start");
        Display {
            server,
            name: format!(":{}", number.trim()),
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn gl_textures() {
    let display = Display::new();
    let output = Command::new("timeout")
        .arg("200")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "on_a_display"])
        .env("DISPLAY", &display.name)
        .env("GST_GL_WINDOW", "x11")
        .env("LIBGL_ALWAYS_SOFTWARE", "1")
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("this program runs again");
    let said = String::from_utf8_lossy(&output.stdout);
    let wept = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{wept}", output.status);
    assert!(said.contains("1 passed"), "{said}\n{wept}");
}

/// Tagged frames uploaded to textures; in `drawn` they are rendered by GL.
fn textures(format: &str, drawn: bool, frames: u32) -> Coded {
    let (before, after) = if drawn {
        ("I420", "glcolorconvert !")
    } else {
        (format, "")
    };
    coded::video(
        &format!(
            "videoconvert ! video/x-raw,format={before} ! glupload ! {after} \
             video/x-raw(memory:GLMemory),format={format},texture-target=2D"
        ),
        frames,
    )
}

#[test]
#[ignore = "runs on a display that the test above makes"]
fn on_a_display() {
    assert!(std::env::var_os(INSIDE).is_some(), "only inside");
    common::app::init();
    assert!(
        gst::ElementFactory::find("glupload").is_some(),
        "no GL in GStreamer (Debian package gstreamer1.0-gl)"
    );
    recorded_with_cuts(textures("RGBA", true, 70));
    for format in ["NV12", "I420", "BGRx"] {
        recorded_whole(textures(format, false, 10));
    }
    from_texture_to_memory_and_back();
    a_live_line();
}

/// The memory type changes while recording.
fn from_texture_to_memory_and_back() {
    let (_directory, path) = temp_location("change.mkv");
    let app = App::new(MKV, &path);
    app.recorder.set_property("autostart", true);
    let kinds = [
        coded::video("identity", 40),
        textures("RGBA", true, 40),
        padded_dmabufs(coded::video("identity", 40)),
        textures("I420", false, 40),
    ];
    app.set_state(gst::State::Playing);
    let playing = Playing::new(&app, "video_%u", coded::video("identity", 1));
    for n in 0..40 {
        let kind = &kinds[n / 5 % kinds.len()];
        if n % 5 == 0 {
            playing.feed.event(gst::event::Caps::new(&kind.caps));
        }
        playing.feed.push(kind.buffers[n].clone());
    }
    playing.feed.end();
    app.wait_for("stop", 1);
    assert_in_place(&path, &app.kept(), 0..0, 40);
}

/// Directly from GL elements, with their context active, stopped in the middle.
fn a_live_line() {
    let (_directory, path) = temp_location("live.mkv");
    let app = App::new(MKV, &path);
    let source = app.source(&format!(
        "videotestsrc is-live=true pattern=white ! {SMALL} ! glupload ! glcolorconvert ! \
         video/x-raw(memory:GLMemory),format=RGBA"
    ));
    let pad = app.pad("video_%u");
    source.link(&pad).unwrap();
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || pad.current_caps().is_some()));
    app.act("start");
    app.wait_running_time(app.running_time() + 700 * MILLI);
    app.act("stop");
    app.wait_for("stop", 1);
    file::decodes_without_errors(&path).unwrap();
    let duration = file::duration(&path).unwrap();
    assert!(
        (duration - app.kept().total() as f64).abs() < 2e6,
        "{duration}"
    );
    let found = decode::video(&path, 0).unwrap();
    assert!(found.frames.len() >= 15, "{} pictures", found.frames.len());
}
