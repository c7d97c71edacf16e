//! The dictaphone's state and its reaction to keys: no terminal, no GStreamer, no file.

use std::path::PathBuf;
use std::time::Duration;

/// Bars kept of a recording: more than any terminal is wide.
const MAX_BARS: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Idle,
    Recording,
    Paused,
}

/// A finished recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    pub path: PathBuf,
    pub length: Duration,
    pub size: u64,
}

impl Clip {
    /// Its name in the list.
    pub fn name(&self) -> String {
        let stem = self.path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }
}

/// A column of the waveform.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// Loudness from 0 to 1.
    Level(f64),
    /// A pause was cut out here.
    Cut,
    /// A chapter starts here.
    Mark,
}

/// A question that the next keys answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The new name as typed so far.
    Rename(String),
    Delete,
}

/// The buttons, for keys and mouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Button {
    Record,
    Pause,
    Mark,
    Stop,
    KeepLast,
    Play,
    Rename,
    Delete,
    Quit,
}

/// A key, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Delete,
    Up,
    Down,
}

/// An action to perform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Do {
    Start,
    Pause,
    Resume,
    /// Starts a chapter with this title.
    Mark(String),
    Stop,
    /// Saves a clip of the recent past.
    KeepLast,
    Play(PathBuf),
    Hush,
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Delete(PathBuf),
    Quit,
}

#[derive(Debug, Default)]
pub struct State {
    pub mode: Mode,
    /// The newest first.
    pub clips: Vec<Clip>,
    pub selected: usize,
    pub bars: Vec<Bar>,
    /// Position in the source, 0 to 1.
    pub level: f64,
    pub recorded: Duration,
    /// How much of the past can be saved as a clip.
    pub past: Duration,
    /// Marks of the clip that is being recorded.
    marks: u32,
    pub playing: Option<PathBuf>,
    pub question: Option<Question>,
    /// The last error, or result.
    pub notice: String,
}

impl State {
    pub fn new(clips: Vec<Clip>) -> Self {
        State {
            clips,
            ..State::default()
        }
    }

    pub fn chosen(&self) -> Option<&Clip> {
        self.clips.get(self.selected)
    }

    /// Whether this button has an effect.
    pub fn is_enabled(&self, button: Button) -> bool {
        match button {
            Button::Record => self.mode == Mode::Idle,
            Button::KeepLast => self.mode == Mode::Idle && !self.past.is_zero(),
            Button::Pause | Button::Mark | Button::Stop => self.mode != Mode::Idle,
            Button::Play | Button::Rename | Button::Delete => self.chosen().is_some(),
            Button::Quit => true,
        }
    }

    pub fn key(&mut self, key: Key) -> Option<Do> {
        match self.question.take() {
            Some(Question::Rename(text)) => return self.rename_key(text, key),
            Some(Question::Delete) => {
                return match (key, self.chosen()) {
                    (Key::Char('y' | 'Y'), Some(clip)) => Some(Do::Delete(clip.path.clone())),
                    _ => None,
                };
            }
            None => {}
        }
        match key {
            Key::Char('r' | 'R') => self.press(Button::Record),
            Key::Char(' ' | 'p' | 'P') => self.press(Button::Pause),
            Key::Char('m' | 'M') => self.press(Button::Mark),
            Key::Char('s' | 'S') => self.press(Button::Stop),
            Key::Char('k' | 'K') => self.press(Button::KeepLast),
            Key::Enter => self.press(Button::Play),
            Key::Char('n' | 'N') => self.press(Button::Rename),
            Key::Char('d' | 'D') | Key::Delete => self.press(Button::Delete),
            Key::Char('q' | 'Q') => self.press(Button::Quit),
            Key::Up => self.select(self.selected.saturating_sub(1)),
            Key::Down => self.select(self.selected + 1),
            Key::Char(_) | Key::Escape | Key::Backspace => None,
        }
    }

    pub fn press(&mut self, button: Button) -> Option<Do> {
        self.question = None;
        if !self.is_enabled(button) {
            return None;
        }
        self.notice.clear();
        let clip = self.chosen();
        match button {
            Button::Record => Some(Do::Start),
            Button::Pause if self.mode == Mode::Paused => Some(Do::Resume),
            Button::Pause => Some(Do::Pause),
            Button::Mark => Some(Do::Mark(format!("Mark {}", self.marks + 1))),
            Button::Stop => Some(Do::Stop),
            Button::KeepLast => Some(Do::KeepLast),
            Button::Play => match (clip, &self.playing) {
                (Some(clip), Some(playing)) if clip.path == *playing => Some(Do::Hush),
                (Some(clip), _) => Some(Do::Play(clip.path.clone())),
                (None, _) => None,
            },
            Button::Rename => {
                self.question = clip.map(|clip| Question::Rename(clip.name()));
                None
            }
            Button::Delete => {
                self.question = Some(Question::Delete);
                None
            }
            Button::Quit => Some(Do::Quit),
        }
    }

    /// Selects an existing clip.
    pub fn select(&mut self, index: usize) -> Option<Do> {
        self.selected = index.min(self.clips.len().saturating_sub(1));
        self.question = None;
        None
    }

    fn rename_key(&mut self, mut text: String, key: Key) -> Option<Do> {
        match key {
            Key::Char(c) if !c.is_control() && c != '/' => text.push(c),
            Key::Backspace => drop(text.pop()),
            Key::Escape => return None,
            Key::Enter => {
                let name = text.trim();
                let from = self.chosen()?.path.clone();
                let mut file = std::ffi::OsString::from(name);
                if let Some(extension) = from.extension() {
                    file.push(".");
                    file.push(extension);
                }
                let to = from.with_file_name(file);
                if name.is_empty() || name.starts_with('.') {
                    self.notice = "A name begins with something else than a dot.".into();
                } else if self.clips.iter().any(|clip| clip.path == to) && to != from {
                    self.notice = format!("There is a clip {name} already.");
                } else if to != from {
                    return Some(Do::Rename { from, to });
                }
                return None;
            }
            _ => {}
        }
        self.question = Some(Question::Rename(text));
        None
    }

    /// Recording has started or resumed.
    pub fn recording(&mut self) {
        match self.mode {
            Mode::Idle => {
                self.bars.clear();
                self.marks = 0;
                self.recorded = Duration::ZERO;
            }
            Mode::Paused => self.bar(Bar::Cut),
            Mode::Recording => {}
        }
        self.mode = Mode::Recording;
    }

    /// The source's loudness for a moment, 0 to 1.
    pub fn loudness(&mut self, level: f64) {
        self.level = level.clamp(0.0, 1.0);
        if self.mode == Mode::Recording {
            self.bar(Bar::Level(self.level));
        }
    }

    /// A mark was set.
    pub fn marked(&mut self, title: &str, at: &str) {
        self.marks += 1;
        self.notice = format!("{title} at {at}");
        self.bar(Bar::Mark);
    }

    fn bar(&mut self, bar: Bar) {
        if self.bars.len() >= MAX_BARS {
            self.bars.remove(0);
        }
        self.bars.push(bar);
    }

    /// A recording is complete: it is the first in the list, and selected.
    pub fn saved(&mut self, clip: Clip) {
        // Does not replace the reason of an automatic end.
        if self.notice.is_empty() {
            self.notice = format!("Saved {}", clip.name());
        }
        self.clips.retain(|old| old.path != clip.path);
        self.clips.insert(0, clip);
        self.selected = 0;
    }

    pub fn renamed(&mut self, from: &PathBuf, to: PathBuf) {
        if let Some(clip) = self.clips.iter_mut().find(|clip| clip.path == *from) {
            clip.path = to;
        }
    }

    pub fn deleted(&mut self, path: &PathBuf) {
        self.clips.retain(|clip| clip.path != *path);
        self.select(self.selected);
    }
}

/// Loudness in dB below full scale, as a fraction of the range of voices.
pub fn loudness_of(decibels: f64) -> f64 {
    const SOFTEST: f64 = -50.0;
    ((decibels - SOFTEST) / -SOFTEST).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(name: &str) -> Clip {
        Clip {
            path: PathBuf::from(format!("clips/{name}.webm")),
            length: Duration::from_secs(3),
            size: 1000,
        }
    }

    fn two_clips() -> State {
        State::new(vec![clip("two"), clip("one")])
    }

    fn typed(state: &mut State, text: &str) {
        for c in text.chars() {
            assert_eq!(state.key(Key::Char(c)), None);
        }
    }

    #[test]
    fn keys_only_do_what_the_mode_allows() {
        let mut state = State::default();
        assert_eq!(state.key(Key::Char(' ')), None);
        assert_eq!(state.key(Key::Char('s')), None);
        assert_eq!(state.key(Key::Enter), None);
        assert_eq!(state.key(Key::Char('d')), None);
        assert_eq!(state.key(Key::Char('r')), Some(Do::Start));
        state.recording();
        assert_eq!(state.key(Key::Char('r')), None);
        assert_eq!(state.key(Key::Char(' ')), Some(Do::Pause));
        state.mode = Mode::Paused;
        assert_eq!(state.key(Key::Char(' ')), Some(Do::Resume));
        assert_eq!(state.key(Key::Char('s')), Some(Do::Stop));
        assert_eq!(state.key(Key::Char('q')), Some(Do::Quit));
    }

    #[test]
    fn a_pause_leaves_a_mark_and_no_bars() {
        let mut state = State::default();
        state.loudness(0.9);
        assert!(state.bars.is_empty(), "nothing is recorded yet");
        state.recording();
        state.loudness(0.5);
        state.mode = Mode::Paused;
        state.loudness(0.7);
        assert_eq!(state.level, 0.7, "the meter continues");
        state.recording();
        state.loudness(2.0);
        assert_eq!(state.bars, [Bar::Level(0.5), Bar::Cut, Bar::Level(1.0)]);
        state.mode = Mode::Idle;
        state.recording();
        assert!(state.bars.is_empty(), "a new recording");
        for _ in 0..2 * MAX_BARS {
            state.loudness(0.1);
        }
        assert_eq!(state.bars.len(), MAX_BARS);
    }

    #[test]
    fn marks_are_counted_separately_in_each_clip() {
        let mut state = State::default();
        assert_eq!(state.key(Key::Char('m')), None, "nothing is recorded");
        state.recording();
        let first = Some(Do::Mark("Mark 1".into()));
        assert_eq!(state.key(Key::Char('m')), first);
        state.marked("Mark 1", "0:01.0");
        assert_eq!(state.notice, "Mark 1 at 0:01.0");
        assert_eq!(state.bars, [Bar::Mark]);
        state.mode = Mode::Paused;
        assert_eq!(state.press(Button::Mark), Some(Do::Mark("Mark 2".into())));
        state.mode = Mode::Idle;
        state.recording();
        assert_eq!(state.key(Key::Char('m')), first);
    }

    #[test]
    fn the_past_is_saved_if_available() {
        let mut state = State::default();
        assert_eq!(state.key(Key::Char('k')), None);
        state.past = Duration::from_secs(1);
        assert_eq!(state.key(Key::Char('k')), Some(Do::KeepLast));
        state.recording();
        assert_eq!(state.key(Key::Char('k')), None);
    }

    #[test]
    fn a_clip_is_renamed_as_typed_and_keeps_its_extension() {
        let mut state = two_clips();
        state.key(Key::Down);
        state.key(Key::Char('n'));
        assert_eq!(state.question, Some(Question::Rename("one".into())));
        // Letters that are keys elsewhere are only letters here.
        typed(&mut state, " s/q");
        state.key(Key::Backspace);
        let done = Do::Rename {
            from: "clips/one.webm".into(),
            to: "clips/one s.webm".into(),
        };
        assert_eq!(state.key(Key::Enter), Some(done));
        state.renamed(&"clips/one.webm".into(), "clips/one s.webm".into());
        assert_eq!(state.clips[1].name(), "one s");
        assert_eq!(state.question, None);
    }

    #[test]
    fn an_existing_or_empty_name_is_refused() {
        let mut state = two_clips();
        state.key(Key::Char('n'));
        for _ in 0..3 {
            state.key(Key::Backspace);
        }
        assert_eq!(state.key(Key::Enter), None);
        assert!(!state.notice.is_empty());
        state.question = Some(Question::Rename(String::new()));
        typed(&mut state, "one");
        assert_eq!(state.key(Key::Enter), None);
        assert!(state.notice.contains("already"), "{}", state.notice);
        state.key(Key::Char('n'));
        assert_eq!(state.key(Key::Escape), None);
        assert_eq!(state.question, None);
    }

    #[test]
    fn nothing_is_deleted_without_confirmation() {
        let mut state = two_clips();
        state.key(Key::Char('d'));
        assert_eq!(state.key(Key::Enter), None);
        state.key(Key::Char('d'));
        assert_eq!(
            state.key(Key::Char('y')),
            Some(Do::Delete("clips/two.webm".into()))
        );
        state.select(1);
        state.deleted(&"clips/one.webm".into());
        assert_eq!(state.chosen(), Some(&clip("two")));
        state.deleted(&"clips/two.webm".into());
        assert_eq!(state.chosen(), None);
        assert_eq!(state.key(Key::Enter), None);
    }

    #[test]
    fn playback_starts_and_ends_with_the_same_key() {
        let mut state = two_clips();
        let path = PathBuf::from("clips/two.webm");
        assert_eq!(state.key(Key::Enter), Some(Do::Play(path.clone())));
        state.playing = Some(path);
        assert_eq!(state.key(Key::Enter), Some(Do::Hush));
        state.key(Key::Down);
        assert_eq!(
            state.key(Key::Enter),
            Some(Do::Play("clips/one.webm".into()))
        );
    }

    #[test]
    fn the_newest_recording_is_first_and_selected() {
        let mut state = two_clips();
        state.select(1);
        state.saved(clip("three"));
        assert_eq!(state.notice, "Saved three");
        state.notice = "no space left".into();
        assert_eq!(state.chosen(), Some(&clip("three")));
        assert_eq!(state.clips.len(), 3);
        state.saved(clip("three"));
        assert_eq!(state.clips.len(), 3, "in place of the older one");
        state.select(99);
        assert_eq!(state.chosen(), Some(&clip("one")));
    }

    #[test]
    fn loudness_fills_the_range_of_voices() {
        assert_eq!(loudness_of(0.0), 1.0);
        assert_eq!(loudness_of(-25.0), 0.5);
        assert_eq!(loudness_of(f64::NEG_INFINITY), 0.0);
    }
}
