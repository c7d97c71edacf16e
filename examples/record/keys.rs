//! Keys while recording: what they mean, and a terminal that hands them over one by one.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal;

/// How long the thread that reads keys may take to see that it is no longer wanted.
const POLL: Duration = Duration::from_millis(50);

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    PauseOrResume,
    Chunk,
    Stop,
}

/// Raw mode for as long as this lives; restored on every way out, a panic's too.
pub struct RawTerminal {
    keys: Receiver<Command>,
    done: Arc<AtomicBool>,
}

impl RawTerminal {
    /// None without a terminal: then there are no keys, and signals or `--duration` stop.
    pub fn enter() -> Option<Self> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        terminal::enable_raw_mode().ok()?;
        // A panic inside a C callback aborts without unwinding, so `drop` alone is not enough.
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let _ = terminal::disable_raw_mode();
            previous(info);
        }));
        let done = Arc::new(AtomicBool::new(false));
        let (sender, keys) = mpsc::channel();
        let read_until = done.clone();
        // A thread of its own: where the terminal is closed, crossterm's `poll` does not return,
        // and the recording has to be ended all the same.
        thread::spawn(move || read_keys(&sender, &read_until));
        Some(Self { keys, done })
    }

    /// The next command typed, without waiting.
    pub fn next_command(&self) -> Option<Command> {
        self.keys.try_recv().ok()
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        let _ = terminal::disable_raw_mode();
    }
}

fn read_keys(sender: &Sender<Command>, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        match event::poll(POLL) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) => return,
        }
        let Ok(event) = event::read() else { return };
        if let Event::Key(key) = event
            && let Some(command) = command(key)
            && sender.send(command).is_err()
        {
            return;
        }
    }
}

fn command(key: KeyEvent) -> Option<Command> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        // Raw mode hands Ctrl-C over as a key; Ctrl-D ends input, so it ends the recording.
        KeyCode::Char('c' | 'C' | 'd') if control => Some(Command::Stop),
        _ if control => None,
        KeyCode::Char(' ') => Some(Command::PauseOrResume),
        KeyCode::Char('c' | 'C') => Some(Command::Chunk),
        KeyCode::Char('q' | 'Q') | KeyCode::Enter => Some(Command::Stop),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(code: KeyCode) -> Option<Command> {
        command(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_mean_what_the_help_says() {
        assert_eq!(plain(KeyCode::Char(' ')), Some(Command::PauseOrResume));
        assert_eq!(plain(KeyCode::Char('c')), Some(Command::Chunk));
        assert_eq!(plain(KeyCode::Char('q')), Some(Command::Stop));
        assert_eq!(plain(KeyCode::Enter), Some(Command::Stop));
        assert_eq!(plain(KeyCode::Char('x')), None);
        assert_eq!(plain(KeyCode::Esc), None);
    }

    #[test]
    fn control_c_stops_and_is_no_chunk() {
        let control = |c| command(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL));
        assert_eq!(control('c'), Some(Command::Stop));
        assert_eq!(control('q'), None);
    }

    #[test]
    fn letting_go_of_a_key_does_nothing() {
        let mut key = KeyEvent::new(KeyCode::Char(' '), KeyModifiers::NONE);
        key.kind = KeyEventKind::Release;
        assert_eq!(command(key), None);
    }
}
