//! A dictaphone for the terminal: record and pause, and save the recent past as clips.
//!
//! ```text
//! cargo run --release --example dictaphone            (the microphone)
//! cargo run --release --example dictaphone -- --test  (a test tone)
//! ```

mod engine;
mod state;
mod view;

use crate::engine::{Engine, News, clips_in};
use crate::state::{Do, Key, Mode, State};
use crate::view::Target;
use anyhow::{Context, Result};
use clap::Parser;
use crossterm::event::{
    self, DisableMouseCapture, EnableMouseCapture, Event, KeyCode, KeyEventKind, KeyModifiers,
    MouseButton, MouseEventKind,
};
use ratatui::layout::Rect;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Minimum redraw interval.
const FRAME: Duration = Duration::from_millis(50);

/// Records clips from the microphone.
#[derive(Parser)]
struct Args {
    /// Directory of the clips; created if it does not exist
    #[arg(long, short, default_value = "clips")]
    directory: PathBuf,
    /// Record a test tone, and play clips silently
    #[arg(long)]
    test: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    gst::init().context("GStreamer does not start")?;
    std::fs::create_dir_all(&args.directory)
        .with_context(|| format!("cannot make {}", args.directory.display()))?;
    let state = State::new(clips_in(&args.directory)?);
    let engine = Engine::new(args.test)?;
    // From here on the program owns the terminal; a panic restores it too.
    let mut terminal = ratatui::init();
    let mouse = crossterm::execute!(std::io::stdout(), EnableMouseCapture);
    let done = run(&mut terminal, state, engine, &args.directory);
    let _ = crossterm::execute!(std::io::stdout(), DisableMouseCapture);
    ratatui::restore();
    mouse?;
    done
}

fn run(
    terminal: &mut ratatui::DefaultTerminal,
    mut state: State,
    mut engine: Engine,
    directory: &Path,
) -> Result<()> {
    loop {
        for news in engine.news() {
            told(&mut state, news);
        }
        if state.mode == Mode::Idle {
            state.past = engine.past();
        } else {
            state.recorded = engine.recorded();
        }
        let screen = terminal.draw(|frame| view::draw(frame, &state))?.area;
        if !event::poll(FRAME)? {
            continue;
        }
        match asked(&mut state, event::read()?, screen) {
            Some(Do::Quit) => return Ok(()),
            Some(action) => {
                if let Err(error) = act(&mut state, &mut engine, action, directory) {
                    state.notice = format!("{error:#}");
                }
            }
            None => {}
        }
    }
}

fn told(state: &mut State, news: News) {
    match news {
        News::Level(level) => state.loudness(level),
        News::Marked { title, at } => state.marked(&title, &view::time(at)),
        News::Saved(clip) => {
            state.mode = Mode::Idle;
            state.recorded = clip.length;
            state.saved(clip);
        }
        News::Failed(why) => state.notice = why,
        News::PlayedOut => state.playing = None,
    }
}

/// Handles the user's input by key or mouse.
fn asked(state: &mut State, event: Event, screen: Rect) -> Option<Do> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            if key.modifiers.contains(KeyModifiers::CONTROL) {
                return (key.code == KeyCode::Char('c')).then_some(Do::Quit);
            }
            state.key(match key.code {
                KeyCode::Char(c) => Key::Char(c),
                KeyCode::Enter => Key::Enter,
                KeyCode::Esc => Key::Escape,
                KeyCode::Backspace => Key::Backspace,
                KeyCode::Delete => Key::Delete,
                KeyCode::Up => Key::Up,
                KeyCode::Down => Key::Down,
                _ => return None,
            })
        }
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::ScrollUp => state.key(Key::Up),
            MouseEventKind::ScrollDown => state.key(Key::Down),
            MouseEventKind::Down(MouseButton::Left) => {
                match view::target_at(screen, state, mouse.column, mouse.row)? {
                    Target::Button(button) => state.press(button),
                    Target::Clip(clip) => state.select(clip),
                }
            }
            _ => None,
        },
        _ => None,
    }
}

fn act(state: &mut State, engine: &mut Engine, action: Do, directory: &Path) -> Result<()> {
    match action {
        Do::Start => {
            engine.start(directory)?;
            state.recording();
        }
        Do::Pause => {
            engine.recorder.pause()?;
            state.mode = Mode::Paused;
        }
        Do::Resume => {
            engine.recorder.resume()?;
            state.recording();
        }
        Do::Mark(title) => engine.recorder.mark(&title)?,
        Do::KeepLast => engine.keep_last(directory)?,
        // The clip exists once its file is complete: News::Saved.
        Do::Stop => engine.recorder.stop()?,
        Do::Play(path) => {
            engine.play(&path)?;
            state.playing = Some(path);
        }
        Do::Hush => {
            engine.hush();
            state.playing = None;
        }
        Do::Rename { from, to } => {
            std::fs::rename(&from, &to).context("it cannot be renamed")?;
            state.renamed(&from, to);
        }
        Do::Delete(path) => {
            std::fs::remove_file(&path).context("it cannot be deleted")?;
            state.deleted(&path);
        }
        Do::Quit => {}
    }
    Ok(())
}
