//! Output while recording: a status line that is redrawn, and notes above it.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::progress::Progress;

/// The lowest level of the meter, in dB below full scale.
const FLOOR_DB: f64 = -60.0;
const METER_CELLS: usize = 16;

/// Standard error, with a status line if it is a terminal.
pub struct Screen {
    live: bool,
    /// Instead of the status line, if the duration is known.
    progress: Option<Progress>,
}

impl Screen {
    pub fn new() -> Self {
        Self {
            live: std::io::stderr().is_terminal(),
            progress: None,
        }
    }

    pub const fn is_live(&self) -> bool {
        self.live
    }

    pub fn progress(&mut self) -> &Progress {
        self.progress.get_or_insert_with(Progress::new)
    }

    /// Prints a line that stays.
    pub fn note(&mut self, text: &str) {
        match &self.progress {
            Some(progress) => progress.aside(|| self.write(text)),
            None => self.write(text),
        }
    }

    /// Starts and ends correctly in raw mode too, where a newline does not return.
    fn write(&self, text: &str) {
        let mut err = std::io::stderr().lock();
        // A closed terminal must not end the recording.
        let _ = if self.live {
            write!(err, "\r\x1b[K{text}\r\n")
        } else {
            writeln!(err, "{text}")
        };
        let _ = err.flush();
    }

    /// Draws the status line over the previous one.
    pub fn draw(&mut self, line: &str) {
        if !self.live {
            return;
        }
        let columns = match crossterm::terminal::size() {
            Ok((columns @ 1.., _)) => usize::from(columns),
            _ => 80, // unknown; some terminals say 0
        };
        // One column is left free: a full line would wrap, and could not be redrawn.
        let line: String = line.chars().take(columns - 1).collect();
        let mut err = std::io::stderr().lock();
        let _ = write!(err, "\r\x1b[K{line}");
        let _ = err.flush();
    }

    pub fn clear(&mut self) {
        if let Some(progress) = self.progress.take() {
            progress.clear();
        }
        self.draw("");
    }
}

/// The contents of the status line.
#[derive(Debug)]
pub struct Status<'a> {
    /// The recorder's `state`; `armed` while only the past is kept.
    pub state: &'a str,
    pub recorded: Duration,
    pub bytes: u64,
    /// In dB; None without audio.
    pub level: Option<f64>,
    pub keys: bool,
}

impl Status<'_> {
    pub fn line(&self) -> String {
        let state = match self.state {
            "recording" => "● REC   ",
            "paused" => "‖ PAUSED",
            "armed" => "○ KEPT  ",
            _ => "■ SAVING",
        };
        let mut line = format!("{state}  {}  {:>9}", time(self.recorded), size(self.bytes));
        if let Some(level) = self.level {
            line.push_str("  ");
            line.push_str(&meter(level));
        }
        if self.keys && self.state != "inactive" {
            line.push_str(match self.state {
                "armed" => "  [space] record  [q] quit",
                "paused" => "  [space] resume  [m] mark  [c] chunk  [q] stop",
                _ => "  [space] pause  [m] mark  [c] chunk  [q] stop",
            });
        }
        line
    }
}

/// `[########--------]  -30 dB`; empty below the lowest level, including the minus infinity of silence.
fn meter(db: f64) -> String {
    let share = (1.0 - db / FLOOR_DB).clamp(0.0, 1.0); // a NaN stays one, and casts to 0
    let full = (share * METER_CELLS as f64).round() as usize;
    let bar: String = (0..METER_CELLS)
        .map(|cell| if cell < full { '#' } else { '-' })
        .collect();
    if db > FLOOR_DB {
        format!("[{bar}] {db:>4.0} dB")
    } else {
        format!("[{bar}]   -- dB")
    }
}

/// The loudest channel of a message of the `level` element, in dB.
pub fn level_of(structure: &gst::StructureRef) -> Option<f64> {
    if structure.name() != "level" {
        return None;
    }
    let peaks = structure.get::<glib::ValueArray>("decay").ok()?;
    peaks
        .iter()
        .filter_map(|peak| peak.get::<f64>().ok())
        .reduce(f64::max)
}

/// `1:02:03.4`
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}:{:02}:{:02}.{}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        time.subsec_millis() / 100
    )
}

/// `1.5 MB`
pub fn size(bytes: u64) -> String {
    glib::format_size(bytes).replace('\u{a0}', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst::prelude::*;

    #[test]
    fn the_meter_spans_its_range() {
        assert!(meter(0.0).starts_with("[################]"));
        assert!(meter(6.0).starts_with("[################]"));
        assert!(meter(-30.0).starts_with("[########--------]  -30 dB"));
        for silent in [-60.0, -700.0, f64::NEG_INFINITY, f64::NAN] {
            assert!(meter(silent).starts_with("[----------------]"), "{silent}");
        }
        assert_eq!(meter(0.0).len(), meter(f64::NEG_INFINITY).len());
    }

    #[test]
    fn time_and_size_are_readable() {
        assert_eq!(time(Duration::from_millis(3_723_456)), "1:02:03.4");
        assert_eq!(time(Duration::ZERO), "0:00:00.0");
        assert_eq!(size(1_500_000), "1.5 MB");
    }

    #[test]
    fn the_line_has_state_time_size_and_keys() {
        let mut status = Status {
            state: "recording",
            recorded: Duration::from_secs(61),
            bytes: 2_000,
            level: Some(-15.0),
            keys: true,
        };
        let line = status.line();
        for part in ["REC", "0:01:01.0", "2.0 kB", "############----", "pause"] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        status.state = "paused";
        assert!(status.line().contains("resume"));
        status.state = "armed";
        assert!(status.line().contains("[space] record"));
        status.keys = false;
        status.level = None;
        assert!(!status.line().contains('['));
    }

    /// With the real element: a full-scale wave is 0 dB.
    #[test]
    fn messages_of_the_level_element_are_parsed() {
        gst::init().expect("GStreamer");
        let pipeline = gst::parse::launch(
            "audiotestsrc wave=square volume=1 num-buffers=50 ! audioconvert \
             ! level interval=50000000 ! fakesink",
        )
        .expect("a pipeline");
        let bus = pipeline.bus().expect("a bus");
        pipeline.set_state(gst::State::Playing).expect("PLAYING");
        let message = bus
            .timed_pop_filtered(
                gst::ClockTime::from_seconds(10),
                &[gst::MessageType::Element],
            )
            .expect("a message of the level element");
        pipeline.set_state(gst::State::Null).expect("NULL");
        let level = level_of(message.structure().expect("a structure")).expect("a level");
        assert!(level.abs() < 0.1, "{level} dB");
    }
}
