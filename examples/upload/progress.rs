//! The progress line.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Interval at which the line is redrawn on a terminal, and printed elsewhere.
const REDRAW: Duration = Duration::from_millis(250);
const REPEAT: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub struct Progress {
    recorded: AtomicU64,
    sent: AtomicU64,
    retries: AtomicU64,
}

impl Progress {
    /// Size of the file.
    pub fn set_recorded(&self, bytes: u64) {
        self.recorded.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that the server has.
    pub fn set_sent(&self, bytes: u64) {
        self.sent.store(bytes, Ordering::Relaxed);
    }

    /// A request has failed and is being retried.
    pub fn add_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Prints a line that stays.
    pub fn note(&self, text: &str) {
        let clear = if std::io::stderr().is_terminal() {
            "\r\x1b[K"
        } else {
            ""
        };
        let _ = writeln!(std::io::stderr(), "{clear}{text}");
    }

    /// Shows it from a thread, until dropped.
    pub fn show(self: &Arc<Self>) -> Line {
        let over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (progress, over) = (self.clone(), over.clone());
            move || {
                let terminal = std::io::stderr().is_terminal();
                let mut printed = Instant::now();
                while !over.load(Ordering::Acquire) {
                    if terminal {
                        let _ = write!(std::io::stderr(), "\r\x1b[K{}", progress.line());
                    } else if printed.elapsed() >= REPEAT {
                        printed = Instant::now();
                        progress.note(&progress.line());
                    }
                    thread::sleep(REDRAW);
                }
            }
        });
        Line { over, thread }
    }

    fn line(&self) -> String {
        let mebibytes =
            |bytes: &AtomicU64| bytes.load(Ordering::Relaxed) as f64 / f64::from(1 << 20);
        let retries = match self.retries.load(Ordering::Relaxed) {
            0 => String::new(),
            retries => format!(", {retries} retries"),
        };
        format!(
            "{:.1} MiB recorded, {:.1} MiB uploaded{retries}",
            mebibytes(&self.recorded),
            mebibytes(&self.sent)
        )
    }
}

/// The line that is currently visible.
pub struct Line {
    over: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Line {
    /// Hides it.
    pub fn end(self) {
        self.over.store(true, Ordering::Release);
        let _ = self.thread.join();
        if std::io::stderr().is_terminal() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
