//! The user interface: layout, appearance, and hit testing.

use crate::state::{Bar, Button, Mode, Question, State};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Position, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, LineGauge, Paragraph},
};
use std::time::Duration;

/// Row by row.
const BUTTONS: [&[Button]; 2] = [
    &[
        Button::Record,
        Button::Pause,
        Button::Mark,
        Button::Stop,
        Button::KeepLast,
    ],
    &[Button::Play, Button::Rename, Button::Delete, Button::Quit],
];
/// Eighths of a cell.
const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// What is under the mouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Button(Button),
    /// A line of the list, counted from the first clip.
    Clip(usize),
}

/// The layout.
struct Areas {
    title: Rect,
    wave: Rect,
    level: Rect,
    buttons: Rect,
    list: Rect,
    notice: Rect,
}

fn areas(whole: Rect) -> Areas {
    let [title, wave, level, buttons, list, notice] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(7),
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(whole);
    Areas {
        title,
        wave,
        level,
        buttons,
        list,
        notice,
    }
}

fn label(button: Button, state: &State) -> &'static str {
    match button {
        Button::Record => "● Record r",
        Button::Pause if state.mode == Mode::Paused => "● Go on ␣",
        Button::Pause => "‖ Pause ␣",
        Button::Mark => "Mark m",
        Button::Stop => "■ Stop s",
        Button::KeepLast => "Keep last minute k",
        Button::Play if is_playing(state) => "■ Hush ⏎",
        Button::Play => "▶ Play ⏎",
        Button::Rename => "Rename n",
        Button::Delete => "Delete d",
        Button::Quit => "Quit q",
    }
}

fn is_playing(state: &State) -> bool {
    let chosen = state.chosen().map(|clip| &clip.path);
    chosen.is_some() && chosen == state.playing.as_ref()
}

/// The buttons with their positions.
fn buttons(area: Rect, state: &State) -> Vec<(Button, Rect)> {
    let mut placed = Vec::new();
    for (row, y) in BUTTONS.iter().zip(area.y..) {
        let mut x = area.x;
        for &button in *row {
            let wide = label(button, state).chars().count() as u16 + 2;
            let place = Rect::new(x, y, wide, 1).intersection(area);
            x = x.saturating_add(wide + 1);
            placed.push((button, place));
        }
    }
    placed
}

/// The first visible clip, so that the selected one is visible.
fn first_shown(state: &State, lines: usize) -> usize {
    (state.selected + 1).saturating_sub(lines)
}

/// The meaning of a click at this position.
pub fn target_at(whole: Rect, state: &State, column: u16, row: u16) -> Option<Target> {
    let at = Position::new(column, row);
    let areas = areas(whole);
    let hit = buttons(areas.buttons, state)
        .into_iter()
        .find(|(_, place)| place.contains(at));
    if let Some((button, _)) = hit {
        return Some(Target::Button(button));
    }
    let lines = Block::bordered().inner(areas.list);
    if !lines.contains(at) {
        return None;
    }
    let first = first_shown(state, usize::from(lines.height));
    let clip = first + usize::from(row - lines.y);
    (clip < state.clips.len()).then_some(Target::Clip(clip))
}

pub fn draw(frame: &mut Frame<'_>, state: &State) {
    let areas = areas(frame.area());
    draw_title(frame, areas.title, state);
    draw_wave(frame, areas.wave, state);
    let gauge = LineGauge::default()
        .ratio(state.level.clamp(0.0, 1.0))
        .label("level")
        .filled_symbol("━")
        .unfilled_symbol("─")
        .filled_style(Style::new().fg(if state.level > 0.95 {
            Color::Red
        } else {
            Color::Green
        }))
        .unfilled_style(Style::new().fg(Color::DarkGray));
    frame.render_widget(gauge, areas.level);
    for (button, place) in buttons(areas.buttons, state) {
        let style = match (state.is_enabled(button), button) {
            (false, _) => Style::new().fg(Color::DarkGray),
            (true, Button::Record) => Style::new().fg(Color::White).bg(Color::Red),
            (true, _) => Style::new().fg(Color::Black).bg(Color::Gray),
        };
        let text = format!(" {} ", label(button, state));
        frame.render_widget(Paragraph::new(text).style(style), place);
    }
    draw_list(frame, areas.list, state);
    let notice = match (&state.question, state.chosen()) {
        (Some(Question::Rename(text)), _) => format!("New name: {text}▏  (Enter, or Escape)"),
        (Some(Question::Delete), Some(clip)) => {
            format!("Delete {}? (y, or any other key)", clip.name())
        }
        _ => state.notice.clone(),
    };
    frame.render_widget(
        Paragraph::new(notice).style(Style::new().fg(Color::Yellow)),
        areas.notice,
    );
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let (word, color) = match state.mode {
        Mode::Idle => ("Ready", Color::Gray),
        Mode::Recording => ("● Recording", Color::Red),
        Mode::Paused => ("‖ Paused", Color::Yellow),
    };
    let style = Style::new().fg(color).add_modifier(Modifier::BOLD);
    let line = Line::from(vec![
        Span::styled(word, style),
        Span::raw(format!("  {}", time(state.recorded))),
    ]);
    frame.render_widget(Paragraph::new(line), area);
}

/// The newest bar at the right; a cut, or a mark, is a line from top to bottom.
fn draw_wave(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let block = Block::bordered().title(" Dictaphone ");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let wide = usize::from(inner.width);
    let shown = state.bars.len().saturating_sub(wide);
    let recording = match state.mode {
        Mode::Recording => Color::Red,
        Mode::Paused | Mode::Idle => Color::Gray,
    };
    for (x, bar) in (inner.x..).zip(state.bars.iter().skip(shown)) {
        for row in 0..inner.height {
            let (symbol, color) = match bar {
                Bar::Cut => ("┊", Color::Yellow),
                Bar::Mark => ("│", Color::Cyan),
                Bar::Level(level) => {
                    let height = (level * f64::from(inner.height) * 8.0).round().max(1.0) as usize;
                    let below = usize::from(inner.height - 1 - row) * 8;
                    let eighths = height.saturating_sub(below).min(8);
                    (EIGHTHS[eighths], recording)
                }
            };
            if let Some(cell) = frame.buffer_mut().cell_mut((x, inner.y + row)) {
                cell.set_symbol(symbol).set_fg(color);
            }
        }
    }
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let block = Block::bordered().title(format!(" Clips: {} ", state.clips.len()));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let first = first_shown(state, usize::from(inner.height));
    let clips = state.clips.iter().enumerate().skip(first);
    for ((index, clip), y) in clips.zip(inner.y..inner.bottom()) {
        let mark = match &state.playing {
            Some(playing) if *playing == clip.path => '▶',
            _ => ' ',
        };
        let figures = format!("{}  {:>9} ", time(clip.length), size(clip.size));
        let wide = usize::from(inner.width).saturating_sub(figures.chars().count() + 2);
        let name: String = clip.name().chars().take(wide).collect();
        let style = if index == state.selected {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new()
        };
        let line = format!("{mark} {name:<wide$}{figures}");
        frame.render_widget(
            Paragraph::new(line).style(style),
            Rect::new(inner.x, y, inner.width, 1),
        );
    }
}

/// Minutes, seconds and tenths.
pub fn time(time: Duration) -> String {
    let tenths = time.as_millis() / 100;
    format!("{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Clip;
    use ratatui::{Terminal, backend::TestBackend};

    fn shown(state: &State) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(80, 20)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(80);
        rows.map(|row| row.iter().map(|cell| cell.symbol()).collect())
            .collect()
    }

    fn clips(count: usize) -> Vec<Clip> {
        let clip = |n| Clip {
            path: format!("clip {n}.webm").into(),
            length: Duration::from_millis(61_250),
            size: 2_500,
        };
        (0..count).map(clip).collect()
    }

    #[test]
    fn shows_clips_with_length_and_size() {
        let screen = shown(&State::new(clips(2))).join("\n");
        assert!(screen.contains("Clips: 2"), "{screen}");
        let line = screen.lines().find(|line| line.contains("clip 1")).unwrap();
        assert!(line.contains("1:01.2") && line.contains("2.5 kB"), "{line}");
    }

    #[test]
    fn a_cut_is_a_line_and_a_level_a_bar() {
        let mut state = State::default();
        state.recording();
        state.loudness(1.0);
        state.loudness(0.0);
        state.mode = Mode::Paused;
        state.recording();
        let rows = shown(&state);
        for row in &rows[2..7] {
            let columns: Vec<char> = row.chars().collect();
            assert_eq!((columns[1], columns[3]), ('█', '┊'), "{row}");
        }
        assert_eq!(rows[6].chars().nth(2), Some('▁'), "silence is a line");
        assert_eq!(rows[2].chars().nth(2), Some(' '));
        assert!(rows[0].contains("Recording"));
    }

    #[test]
    fn clicks_hit_what_is_drawn() {
        let mut state = State::new(clips(30));
        let whole = Rect::new(0, 0, 80, 20);
        let rows = shown(&state);
        for (text, button) in [
            ("Record", Button::Record),
            ("Stop", Button::Stop),
            ("Keep", Button::KeepLast),
            ("Quit", Button::Quit),
        ] {
            let row = rows.iter().position(|row| row.contains(text)).unwrap();
            let before = rows[row].split(text).next().unwrap().chars().count() as u16;
            let hit = target_at(whole, &state, before, row as u16);
            assert_eq!(hit, Some(Target::Button(button)), "{}", rows[row]);
        }
        state.select(20);
        let rows = shown(&state);
        let row = rows.iter().position(|row| row.contains("clip 20")).unwrap();
        assert_eq!(
            target_at(whole, &state, 5, row as u16),
            Some(Target::Clip(20))
        );
        assert_eq!(target_at(whole, &state, 5, 2), None);
    }

    #[test]
    fn fits_into_any_terminal() {
        for (width, height) in [(1, 1), (10, 3), (20, 8), (300, 100)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            let mut state = State::new(clips(3));
            state.recording();
            state.loudness(0.5);
            terminal.draw(|frame| draw(frame, &state)).unwrap();
            target_at(Rect::new(0, 0, width, height), &state, 0, 0);
        }
    }
}
