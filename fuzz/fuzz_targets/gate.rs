//! Any buffers through the gate of a track: what leaves is in order, inside the recording, and no
//! more than was recorded.
#![no_main]

use arbitrary::Arbitrary;
use gstmediarecorder::{
    gate::{Gate, GateOutput, Input, IntervalCursor, Piece},
    model::timeline::Timeline,
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Step {
    /// Milliseconds after the last one, length in bytes, flags.
    Push(i16, u16, Option<u16>, u8),
    Pause,
    Resume(bool),
    Resolve(u16),
    Mute(bool),
    Fill(u16),
    Caps(u8),
    Stop,
}

fn caps(which: u8) -> gst::Caps {
    let audio = |format: &str, rate: i32, channels: i32| {
        gst::Caps::builder("audio/x-raw")
            .field("format", format)
            .field("layout", "interleaved")
            .field("rate", rate)
            .field("channels", channels)
            .build()
    };
    match which % 5 {
        0 => audio("S16LE", 8000, 1),
        1 => audio("F32LE", 44_100, 2),
        2 => gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", 16i32)
            .field("height", 16i32)
            .field("framerate", gst::Fraction::new(30, 1))
            .build(),
        3 => gst::Caps::builder("video/x-vp8").build(),
        _ => gst::Caps::builder("audio/x-opus").build(),
    }
}

const MS: u64 = 1_000_000;

fuzz_target!(|input: (u8, bool, Vec<Step>)| {
    let (kind, resolved, steps) = input;
    let _ = gst::init();
    let Ok(mut gate) = Gate::new(&caps(kind)) else {
        return;
    };
    let mut timeline = Timeline::new(100 * MS, resolved);
    let mut cursor = IntervalCursor::default();
    let mut now = 0u64;
    let mut left = GateOutput::new();
    for step in steps.into_iter().take(200) {
        cursor.refresh(&timeline);
        match step {
            Step::Push(later, size, duration, flags) => {
                let at = now.saturating_add_signed(i64::from(later) * MS as i64);
                now = now.max(at);
                let mut buffer = gst::Buffer::with_size(usize::from(size)).unwrap();
                let stamped = buffer.get_mut().unwrap();
                stamped.set_flags(gst::BufferFlags::from_bits_truncate(u32::from(flags) << 6));
                stamped.set_pts(gst::ClockTime::from_nseconds(at));
                let input = Input {
                    buffer,
                    running: at,
                    duration: duration.map(|ms| u64::from(ms) * MS),
                };
                gate.push(input, &mut cursor, now, &mut left);
            }
            Step::Pause => drop(timeline.pause(now)),
            Step::Resume(resolved) => drop(timeline.resume(now, resolved)),
            Step::Resolve(later) => drop(timeline.resolve(now + u64::from(later) * MS, true)),
            Step::Mute(muted) => drop(gate.mute(now, muted)),
            Step::Fill(later) => {
                now += u64::from(later) * MS;
                gate.fill(&mut cursor, now, &mut left);
            }
            Step::Caps(which) => {
                // A track does not turn from sound into pictures, or from raw into encoded.
                let which = if kind % 5 < 2 { which % 2 } else { kind };
                let _ = gate.set_caps(&caps(which));
            }
            Step::Stop => drop(timeline.stop(now)),
        }
    }
    while timeline.resolve(now, true).is_some() {}
    timeline.stop(now);
    cursor.refresh(&timeline);
    gate.fill(&mut cursor, now, &mut left);
    gate.finish(timeline.duration(), &mut left);
    let mut last = 0;
    for piece in left {
        if let Piece::Buffer(buffer) = piece
            && let Some(pts) = buffer.pts()
            && kind % 5 < 3
        {
            assert!(pts.nseconds() >= last, "{pts} after {last}");
            last = pts.nseconds();
        }
    }
});
