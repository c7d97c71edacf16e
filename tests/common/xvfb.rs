//! A virtual screen for a test.

use super::child_process::kill_with_test;
use super::harness::media::run;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs until dropped.
pub struct Screen {
    server: Child,
    display: String,
}

impl Screen {
    pub fn new(width: u32, height: u32) -> Self {
        // If left to choose, two servers may pick the same number.
        static SCREENS: AtomicU32 = AtomicU32::new(0);
        let screen = SCREENS.fetch_add(1, Ordering::Relaxed) % 8;
        let display = format!(":{}", 100 + std::process::id() % 8000 * 8 + screen);
        let mut server = Command::new("Xvfb");
        server
            .arg(&display)
            // Without -noreset no client can connect for a moment after the last one has disconnected.
            .args(["-displayfd", "1", "-noreset", "-nolisten", "tcp"])
            .arg("-screen")
            .arg("0")
            .arg(format!("{width}x{height}x24"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut server = kill_with_test(&mut server)
            .spawn()
            .expect("Xvfb runs (Debian package xvfb)");
        let mut number = String::new();
        BufReader::new(server.stdout.take().expect("its stdout"))
            .read_line(&mut number)
            .expect("the display's number");
        assert_eq!(
            number.trim(),
            display.trim_start_matches(':'),
            "Xvfb does not start"
        );
        Self { server, display }
    }

    /// As in `$DISPLAY`.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// Saves a screenshot.
    pub fn grab(&self, to: &Path) {
        run(Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-f", "x11grab", "-draw_mouse", "0"])
            .args(["-i", &self.display, "-frames:v", "1"])
            .arg(to));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // SIGTERM instead of SIGKILL, so that it removes its socket and its lock.
        let _ = Command::new("kill")
            .arg(self.server.id().to_string())
            .status();
        let _ = self.server.wait();
    }
}
