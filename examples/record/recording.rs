//! One recording from its first buffer to its last event: keys, script and bus in one loop.

mod messages;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use gst::prelude::*;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::args::Args;
use crate::devices::Kind;
use crate::keys::{Command, RawTerminal};
use crate::live_line::Screen;
use crate::script::{Script, Step, Stopwatch};
use crate::sources::Source;
use messages::failure_of;

/// Polling interval of keys and script: how late a manual pause may be.
const TICK: gst::ClockTime = gst::ClockTime::from_mseconds(10);
const REDRAW: Duration = Duration::from_millis(100);
/// Timeout for the first data of all sources.
const FIRST_BUFFERS: Duration = Duration::from_secs(3);
/// More than the element's own `stop-timeout`, after which it ends the recording by itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// A second stop request within this time is a held key, not impatience.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// The result of the recording.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The file, if one was started.
    pub location: Option<PathBuf>,
    /// Of that file; with several parts, of the last one.
    pub bytes: u64,
    pub chunks: u64,
    pub parts: u32,
    pub paused: Duration,
    /// Why it ended, if unexpectedly.
    pub failure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Sources are starting; nothing is recorded.
    Waiting(Instant),
    /// Only the past is kept, until the user starts the recording.
    Armed,
    Running,
    /// The last events are pending.
    Stopping(Instant),
    Done,
}

pub struct Recording<'a> {
    pipeline: gst::Pipeline,
    bus: gst::Bus,
    recorder: &'a gst::Element,
    /// Tracks that have not delivered a buffer yet.
    silent_tracks: Arc<AtomicUsize>,
    /// External requests to start or stop, handled by the loop to finish properly.
    signals: Signals,
    keys: Option<&'a RawTerminal>,
    phase: Phase,
    script: Script,
    stopwatch: Stopwatch,
    /// Running time of the first cut; until that is known, of the call of `start`.
    started: gst::ClockTime,
    duration: Option<Duration>,
    tell_chunks: bool,
    /// With `--pre-record`: the user starts it.
    keeps_past: bool,
    has_parts: bool,
    marks: u32,
    level: Option<f64>,
    /// The tracks come from a file, and end by themselves.
    from_file: bool,
    outcome: Outcome,
}

impl<'a> Recording<'a> {
    pub fn new(
        args: &Args,
        script: Script,
        recorder: &'a gst::Element,
        sources: Vec<Source>,
        keys: Option<&'a RawTerminal>,
    ) -> Result<Self> {
        let pipeline = gst::Pipeline::new();
        pipeline.add(recorder)?;
        let silent_tracks = Arc::new(AtomicUsize::new(sources.len()));
        let level = sources.iter().any(|s| s.kind == Kind::Audio);
        for source in sources {
            let pad = recorder
                .request_pad_simple(source.kind.pad_name())
                .with_context(|| format!("no pad for the {}", source.label))?;
            let silent_tracks = silent_tracks.clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                silent_tracks.fetch_sub(1, Ordering::Relaxed);
                gst::PadProbeReturn::Remove
            });
            pipeline.add(&source.bin)?;
            source
                .bin
                .static_pad("src")
                .context("a source without a pad")?
                .link(&pad)?;
        }
        Ok(Self {
            bus: pipeline.bus().context("a pipeline without a bus")?,
            pipeline,
            recorder,
            silent_tracks,
            signals: Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1])?,
            keys,
            phase: Phase::Waiting(Instant::now()),
            script,
            stopwatch: Stopwatch::default(),
            started: gst::ClockTime::ZERO,
            duration: args.duration,
            tell_chunks: args.timeslice.is_some(),
            keeps_past: args.pre_record.is_some(),
            has_parts: args.wants_parts(),
            marks: 0,
            level: level.then_some(f64::NEG_INFINITY),
            from_file: false,
            outcome: Outcome::default(),
        })
    }

    /// Starts the sources. A file is recorded from its first frame: so the recorder itself starts at that frame.
    pub fn decode(&mut self, decoder: &gst::Element, screen: &mut Screen) -> Result<()> {
        self.pipeline.add(decoder)?;
        self.recorder.set_property("autostart", true);
        self.from_file = true;
        screen.progress();
        Ok(())
    }

    /// Records until the user, the script or a failure ends it, and its last event has been received.
    ///
    /// An error means that nothing was recorded; an incomplete recording is reported in the outcome.
    pub fn run(mut self, screen: &mut Screen) -> Result<Outcome> {
        if self.pipeline.set_state(gst::State::Playing).is_err() {
            let why = match self.bus.pop_filtered(&[gst::MessageType::Error]) {
                Some(message) => failure_of(&message).unwrap_or_default(),
                None => "no reason given".into(),
            };
            bail!("the sources do not start: {why}");
        }
        let mut drawn: Option<Instant> = None;
        while self.phase != Phase::Done {
            let mut message = self.bus.timed_pop(TICK);
            while let Some(arrived) = message {
                self.handle(&arrived, screen);
                message = self.bus.pop();
            }
            let signals: Vec<_> = self.signals.pending().collect();
            for signal in signals {
                match signal {
                    SIGUSR1 => self.begin(screen),
                    _ => self.request_stop(screen),
                }
            }
            while let Some(command) = self.keys.and_then(RawTerminal::next_command) {
                self.obey(command, screen);
            }
            self.advance(screen)?;
            if drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW) {
                drawn = Some(Instant::now());
                self.draw(screen);
            }
        }
        screen.clear();
        Ok(std::mem::take(&mut self.outcome))
    }

    /// Timed actions.
    fn advance(&mut self, screen: &mut Screen) -> Result<()> {
        match self.phase {
            // `mediarecorder-start` follows, or an error.
            Phase::Waiting(_) if self.from_file => {}
            Phase::Waiting(since) => {
                let all_there = self.silent_tracks.load(Ordering::Relaxed) == 0;
                if all_there || since.elapsed() > FIRST_BUFFERS {
                    if self.keeps_past {
                        self.phase = Phase::Armed;
                        screen.note("keeping the past; the space bar or SIGUSR1 begins");
                    } else {
                        self.start()?;
                    }
                }
            }
            Phase::Running => {
                while let Some(step) = self.script.due(self.elapsed()) {
                    match step {
                        Step::Pause => self.pause(screen),
                        Step::Resume => self.resume(screen),
                    }
                }
                let recorded = self.stopwatch.recorded(self.elapsed());
                if self.duration.is_some_and(|duration| recorded >= duration) {
                    self.request_stop(screen);
                }
            }
            Phase::Stopping(since) if since.elapsed() > STOP_TIMEOUT => {
                self.fail("the recording does not end; the file may be incomplete");
                self.phase = Phase::Done;
            }
            Phase::Armed | Phase::Stopping(_) | Phase::Done => {}
        }
        Ok(())
    }

    /// The user wants to record the past and what follows.
    fn begin(&mut self, screen: &mut Screen) {
        if self.phase != Phase::Armed {
            return;
        }
        if let Err(error) = self.start() {
            screen.note(&format!("{error:#}"));
        }
    }

    fn start(&mut self) -> Result<()> {
        self.started = self.running_time();
        if let Some(error) = self.act("start") {
            bail!("the recording does not start: {}", error.message());
        }
        self.phase = Phase::Running;
        Ok(())
    }

    fn pause(&mut self, screen: &mut Screen) {
        // The cut is between this and the end of the call, also in `resume`: so the recording is not shorter than
        // the stopwatch says.
        let now = self.elapsed();
        match self.act("pause") {
            None => self.stopwatch.pause(now),
            Some(error) => screen.note(&format!("no pause: {}", error.message())),
        }
    }

    fn resume(&mut self, screen: &mut Screen) {
        match self.act("resume") {
            None => self.stopwatch.resume(self.elapsed()),
            Some(error) => screen.note(&format!("not resumed: {}", error.message())),
        }
    }

    /// The first time it stops properly, the second time it stops waiting for that.
    fn request_stop(&mut self, screen: &mut Screen) {
        match self.phase {
            Phase::Waiting(_) => {
                self.fail("stopped before the sources had started");
                self.phase = Phase::Done;
            }
            Phase::Armed => self.phase = Phase::Done,
            Phase::Running => {
                self.outcome.paused = self
                    .elapsed()
                    .saturating_sub(self.stopwatch.recorded(self.elapsed()));
                // An error means that the recording has just ended by itself: its events follow.
                if let Some(error) = self.act("stop") {
                    screen.note(&format!("not stopped by hand: {}", error.message()));
                }
                self.phase = Phase::Stopping(Instant::now());
            }
            Phase::Stopping(since) if since.elapsed() > IMPATIENCE => {
                self.fail("stopped twice; the file may be incomplete");
                self.phase = Phase::Done;
            }
            Phase::Stopping(_) | Phase::Done => {}
        }
    }

    fn obey(&mut self, command: Command, screen: &mut Screen) {
        match command {
            Command::Stop => self.request_stop(screen),
            // A file does not wait meanwhile.
            Command::PauseOrResume if self.from_file => screen.note("a file is recorded whole"),
            Command::PauseOrResume if self.phase == Phase::Running => match self.state().as_str() {
                "paused" => self.resume(screen),
                _ => self.pause(screen),
            },
            Command::PauseOrResume => self.begin(screen),
            Command::Mark if self.phase == Phase::Running => self.mark(screen),
            Command::Chunk if self.phase == Phase::Running => {
                self.tell_chunks = true;
                if let Some(error) = self.act("request-data") {
                    screen.note(&format!("no chunk: {}", error.message()));
                }
            }
            Command::NextPart if self.phase == Phase::Running => {
                if let Some(error) = self.act("split-now") {
                    screen.note(&format!("no next part: {}", error.message()));
                }
            }
            Command::Mark | Command::Chunk | Command::NextPart => {}
        }
    }

    /// Starts a chapter here; its position is reported by a message.
    fn mark(&mut self, screen: &mut Screen) {
        let title = format!("Mark {}", self.marks + 1);
        let refused: Option<glib::Error> = self.recorder.emit_by_name("mark", &[&title]);
        match refused {
            None => self.marks += 1,
            Some(error) => screen.note(&format!("no mark: {}", error.message())),
        }
    }

    /// Calls an action; Some is the reason why it failed.
    fn act(&self, action: &str) -> Option<glib::Error> {
        self.recorder.emit_by_name(action, &[])
    }

    /// `inactive`, `recording` or `paused`.
    fn state(&self) -> String {
        let value = self.recorder.property_value("state");
        glib::EnumValue::from_value(&value)
            .map_or_else(String::new, |(_, value)| value.nick().to_owned())
    }

    fn running_time(&self) -> gst::ClockTime {
        self.recorder.current_running_time().unwrap_or_default()
    }

    /// Time since `start`, pauses included.
    fn elapsed(&self) -> Duration {
        self.running_time().saturating_sub(self.started).into()
    }

    /// Remembers the reason; the first one caused the others.
    fn fail(&mut self, why: &str) {
        self.outcome.failure.get_or_insert_with(|| why.into());
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        // Ends an active recording, so that its file is complete.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
