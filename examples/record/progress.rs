//! A progress bar for the recording of a file.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// `{msg}` is the text of the status line: time and size.
const TEMPLATE: &str = "{bar:32} {percent:>3} %  {msg}  {eta} left  [q] stop";
/// If the duration of the file is unknown.
const TEMPLATE_ENDLESS: &str = "{spinner} {msg}  [q] stop";

/// Drawn on standard error, if that is a terminal.
pub struct Progress(ProgressBar);

impl Progress {
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style(TEMPLATE_ENDLESS));
        Self(bar)
    }

    pub fn show(&self, done: Duration, all: Option<Duration>, message: String) {
        if let (Some(all), None) = (all, self.0.length()) {
            self.0.set_length(milliseconds(all));
            self.0.set_style(style(TEMPLATE));
        }
        self.0.set_message(message);
        self.0.set_position(milliseconds(done));
    }

    /// Hides it while other output is written.
    pub fn aside(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }

    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The two templates above, which a test parses.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for template in [TEMPLATE, TEMPLATE_ENDLESS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
