//! A screen of the test's own, without a screen.

use super::harness::media::run;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Runs until dropped.
pub struct Screen {
    server: Child,
    display: String,
}

impl Screen {
    pub fn new(width: u32, height: u32) -> Self {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-nolisten", "tcp", "-screen", "0"])
            .arg(format!("{width}x{height}x24"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb runs (Debian package xvfb)");
        let mut number = String::new();
        BufReader::new(server.stdout.take().expect("its stdout"))
            .read_line(&mut number)
            .expect("the display's number");
        let display = format!(":{}", number.trim());
        Self { server, display }
    }

    /// As in `$DISPLAY`.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// What is on it, as a file.
    pub fn grab(&self, to: &Path) {
        run(Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-f", "x11grab", "-draw_mouse", "0"])
            .args(["-i", &self.display, "-frames:v", "1"])
            .arg(to));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
