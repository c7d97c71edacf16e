//! Keys while recording: their commands, and a terminal that delivers them one by one.

use std::io::{ErrorKind, IsTerminal, Read};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use crossterm::terminal;

/// Polling interval of a terminal that another program has made non-blocking.
const LOOK: Duration = Duration::from_millis(20);
const ESCAPE: u8 = 0x1b;
const CONTROL_C: u8 = 0x03;
const CONTROL_D: u8 = 0x04;

/// A command of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// With `--pre-record`: starts, before all others.
    PauseOrResume,
    Mark,
    Chunk,
    NextPart,
    Stop,
}

/// Raw mode for the lifetime of this; restored on every exit, including a panic.
pub struct RawTerminal {
    keys: Receiver<Command>,
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
        let (sender, keys) = mpsc::channel();
        // Blocks in a read until the program ends. crossterm's own reader would busy-loop once the terminal is
        // closed.
        thread::spawn(move || read_keys(&mut std::io::stdin().lock(), &sender));
        Some(Self { keys })
    }

    /// The next command typed, without waiting.
    pub fn next_command(&self) -> Option<Command> {
        self.keys.try_recv().ok()
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = terminal::disable_raw_mode();
    }
}

/// Until the terminal is closed: that ends the recording, since no key can.
fn read_keys(terminal: &mut impl Read, sender: &Sender<Command>) {
    let mut bytes = [0; 64];
    loop {
        let typed = match terminal.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => bytes.get(..count).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(LOOK);
                continue;
            }
            Err(_) => break,
        };
        // Arrows and the like are an escape and letters in one read: not commands.
        let keys = typed.iter().take_while(|&&byte| byte != ESCAPE);
        for command in keys.filter_map(|&byte| command(byte)) {
            if sender.send(command).is_err() {
                return;
            }
        }
    }
    let _ = sender.send(Command::Stop);
}

fn command(key: u8) -> Option<Command> {
    match key {
        b' ' => Some(Command::PauseOrResume),
        b'm' | b'M' => Some(Command::Mark),
        b'c' | b'C' => Some(Command::Chunk),
        b'n' | b'N' => Some(Command::NextPart),
        // Raw mode delivers Ctrl-C as a key; Ctrl-D ends input, so it ends the recording.
        b'q' | b'Q' | b'\r' | b'\n' | CONTROL_C | CONTROL_D => Some(Command::Stop),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands when these are read one after the other, and then the terminal closes.
    fn commands(reads: &[&[u8]]) -> Vec<Command> {
        struct Terminal<'a>(std::slice::Iter<'a, &'a [u8]>);
        impl Read for Terminal<'_> {
            fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
                let Some(typed) = self.0.next() else {
                    return Err(std::io::Error::other("closed"));
                };
                bytes[..typed.len()].copy_from_slice(typed);
                Ok(typed.len())
            }
        }
        let (sender, keys) = mpsc::channel();
        read_keys(&mut Terminal(reads.iter()), &sender);
        drop(sender);
        keys.iter().collect()
    }

    #[test]
    fn keys_match_the_help() {
        use Command::{Chunk, Mark, NextPart, PauseOrResume, Stop};
        assert_eq!(
            commands(&[b" ", b"x", b"c ", b"mN", b"q"]),
            [
                PauseOrResume,
                Chunk,
                PauseOrResume,
                Mark,
                NextPart,
                Stop,
                Stop
            ]
        );
        for stop in [b"\r", b"Q", b"\x03", b"\x04"] {
            assert_eq!(commands(&[stop]), [Stop, Stop], "{stop:?}");
        }
    }

    #[test]
    fn other_keys_do_nothing() {
        // Escape, right arrow, F3, Delete, Alt+q
        let keys: [&[u8]; 5] = [b"\x1b", b"\x1b[C", b"\x1bOR", b"\x1b[3~", b"\x1bq"];
        assert_eq!(commands(&keys), [Command::Stop]);
    }

    #[test]
    fn a_closed_terminal_stops() {
        assert_eq!(commands(&[]), [Command::Stop]);
    }
}
