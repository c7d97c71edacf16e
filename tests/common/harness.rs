//! The test rig: a pipeline around one `mediarecorder`, controlled and observed through its public interface only.
#![allow(dead_code)]

pub mod feed;
pub mod log;
pub mod media;
pub mod plugin;
pub mod source;

pub use feed::PushTrack;
pub use log::{BusMessage, Event, Kind, Log, State};
pub use source::Track;

use gst::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, Once, mpsc};
use std::time::{Duration, Instant};

/// How long to wait for a condition. Generous: only a failing test waits that long.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How long to check that no event is emitted, where the web platform tests specify no time.
pub const QUIET: Duration = Duration::from_millis(500);

/// A rig that lives longer than this hangs: the test program is aborted and the test named.
const WATCHDOG: Duration = Duration::from_secs(240);

/// The domain of the element's errors.
pub const DOMAIN: &str = "gst-media-recorder-error";

/// Error codes.
pub mod code {
    pub const INVALID_STATE: i32 = 0;
    pub const NOT_SUPPORTED: i32 = 1;
    pub const INVALID_MODIFICATION: i32 = 2;
    pub const UNKNOWN: i32 = 4;
}

/// Starts GStreamer and registers the element in this process.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer starts");
        super::leaks::check_at_exit();
        gstmediarecorder::plugin_register_static().expect("the plugin registers");
    });
}

/// A recorder outside of any pipeline.
pub fn make_recorder() -> gst::Element {
    init();
    gst::ElementFactory::make("mediarecorder")
        .build()
        .expect("mediarecorder can be made")
}

/// Waits until `condition` holds; panics with `what` after [`DEADLINE`].
#[track_caller]
pub fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    assert!(
        holds_within(DEADLINE, condition),
        "not within {DEADLINE:?}: {what}"
    );
}

/// Whether `condition` becomes true within `limit`.
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The element's actions and properties, as an application without the typed Rust API sees them.
pub trait Recorder {
    /// Emits the action `name`; a returned error becomes `Err`.
    fn act(&self, name: &str) -> Result<(), glib::Error>;
    /// The property `state`.
    fn recording_state(&self) -> State;
    /// The property `mime-type`, with NULL as "".
    fn mime_type(&self) -> String;
    /// A guint property.
    fn number(&self, name: &str) -> u32;
    /// A field of the property `stats`.
    fn stat(&self, name: &str) -> u64;
    /// The action `is-type-supported`.
    fn supports(&self, mime: &str) -> bool;

    fn start(&self) -> Result<(), glib::Error> {
        self.act("start")
    }
    fn pause(&self) -> Result<(), glib::Error> {
        self.act("pause")
    }
    fn resume(&self) -> Result<(), glib::Error> {
        self.act("resume")
    }
    fn stop(&self) -> Result<(), glib::Error> {
        self.act("stop")
    }
    fn request_data(&self) -> Result<(), glib::Error> {
        self.act("request-data")
    }
}

impl Recorder for gst::Element {
    fn act(&self, name: &str) -> Result<(), glib::Error> {
        match self.emit_by_name::<Option<glib::Error>>(name, &[]) {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    fn recording_state(&self) -> State {
        State::of(self)
    }

    fn mime_type(&self) -> String {
        self.property::<Option<String>>("mime-type")
            .unwrap_or_default()
    }

    fn number(&self, name: &str) -> u32 {
        self.property(name)
    }

    fn stat(&self, name: &str) -> u64 {
        self.property::<gst::Structure>("stats")
            .get(name)
            .unwrap_or_else(|e| panic!("stats field {name}: {e}"))
    }

    fn supports(&self, mime: &str) -> bool {
        self.emit_by_name("is-type-supported", &[&mime])
    }
}

/// Asserts that `result` is the error `code` of the element's domain, and returns it.
#[track_caller]
pub fn expect_error(result: Result<(), glib::Error>, code: i32) -> glib::Error {
    let error = result.expect_err("the call is refused");
    assert_error(&error, code);
    error
}

/// Asserts domain and code of `error`, and that its message is not empty.
#[track_caller]
pub fn assert_error(error: &glib::Error, code: i32) {
    assert_eq!(error.domain().as_str(), DOMAIN, "{error}");
    assert_eq!(error.code(), code, "{error}");
    assert!(
        !error.message().trim().is_empty(),
        "the error has a message"
    );
}

/// A pipeline with one recorder, two logs of its events, and a log of all other bus messages.
///
/// Set to NULL when dropped.
pub struct Rig {
    pub pipeline: gst::Pipeline,
    pub recorder: gst::Element,
    /// The events received as signals.
    pub signals: Log<Event>,
    /// The events received as element messages.
    pub messages: Log<Event>,
    /// EOS, ERROR and WARNING messages on the pipeline's bus.
    pub bus: Log<BusMessage>,
    /// A temporary directory, removed with the rig.
    pub folder: tempfile::TempDir,
    flows: Mutex<Vec<(String, Arc<AtomicU64>)>>,
    _watchdog: mpsc::Sender<()>,
}

impl Rig {
    /// A rig without tracks, in NULL.
    pub fn new() -> Self {
        let recorder = make_recorder();
        let pipeline = gst::Pipeline::new();
        pipeline.add(&recorder).expect("the recorder is added");

        let signals = Log::new("signals");
        log::follow_signals(&recorder, &signals);
        let messages = Log::new("bus messages");
        let bus = Log::new("pipeline bus");
        log::follow_bus(&pipeline, &recorder, &messages, &bus);

        Rig {
            pipeline,
            recorder,
            signals,
            messages,
            bus,
            folder: tempfile::tempdir().expect("a temporary folder"),
            flows: Mutex::default(),
            _watchdog: watchdog(),
        }
    }

    /// A rig with running live test sources, in PLAYING.
    pub fn live(audio: usize, video: usize) -> (Self, Vec<Track>) {
        let rig = Rig::new();
        let mut tracks: Vec<Track> = (0..audio).map(|_| rig.live_audio()).collect();
        tracks.extend((0..video).map(|_| rig.live_video()));
        rig.play();
        (rig, tracks)
    }

    /// Adds live audio: 48 kHz stereo in buffers of 10 ms.
    pub fn live_audio(&self) -> Track {
        self.track(source::audio(true, None))
    }

    /// Adds live video: 160x120 at 30 frames per second.
    pub fn live_video(&self) -> Track {
        self.track(source::video(true, None))
    }

    /// Adds non-live audio: this many buffers of 10 ms.
    pub fn file_audio(&self, buffers: i32) -> Track {
        self.track(source::audio(false, Some(buffers)))
    }

    /// Adds non-live video: this many frames, 30 per second.
    pub fn file_video(&self, frames: i32) -> Track {
        self.track(source::video(false, Some(frames)))
    }

    fn track(&self, made: source::Made) -> Track {
        let track = made.attach(&self.pipeline, &self.recorder);
        self.flows
            .lock()
            .unwrap()
            .push((track.pad.name().to_string(), track.received.clone()));
        track
    }

    /// Adds audio that the test pushes buffer by buffer; its samples count up.
    pub fn feed_audio(&self) -> PushTrack {
        PushTrack::audio(&self.recorder, false)
    }

    /// Adds video that the test pushes buffer by buffer, 25 frames per second.
    pub fn feed_video(&self) -> PushTrack {
        PushTrack::video(&self.recorder, false)
    }

    /// Like [`Rig::feed_audio`], but even the caps are only sent with the first buffer.
    pub fn late_audio(&self) -> PushTrack {
        PushTrack::audio(&self.recorder, true)
    }

    /// Like [`Rig::feed_video`], but even the caps are only sent with the first buffer.
    pub fn late_video(&self) -> PushTrack {
        PushTrack::video(&self.recorder, true)
    }

    /// Goes to PLAYING and waits for the first buffer of every source.
    pub fn play(&self) {
        self.set_state(gst::State::Playing);
        for (name, received) in self.flows.lock().unwrap().iter() {
            wait_for(&format!("a first buffer on {name}"), || {
                received.load(std::sync::atomic::Ordering::SeqCst) > 0
            });
        }
    }

    /// Changes the pipeline's state and waits until the change is complete.
    #[track_caller]
    pub fn set_state(&self, state: gst::State) {
        self.pipeline
            .set_state(state)
            .unwrap_or_else(|e| panic!("{state:?}: {e}; bus: {:?}", self.bus.all()));
        let (result, current, _) = self
            .pipeline
            .state(gst::ClockTime::from_seconds(DEADLINE.as_secs()));
        result.unwrap_or_else(|e| panic!("{state:?}: {e}; bus: {:?}", self.bus.all()));
        assert_eq!(current, state);
    }

    /// Runs `handler` for every signal of `kind`, after it has been logged.
    ///
    /// A panic in the handler is printed but not propagated, since it must not unwind into C. The test then fails
    /// because of what the handler has not done.
    pub fn on(&self, kind: Kind, handler: impl Fn(&gst::Element) + Send + Sync + 'static) {
        self.recorder.connect(kind.signal(), false, move |values| {
            let recorder = values[0].get::<gst::Element>().expect("the emitter");
            let _ = catch_unwind(AssertUnwindSafe(|| handler(&recorder)));
            None
        });
    }

    /// Waits for the `n`th signal of `kind` (from 1) and returns it.
    #[track_caller]
    pub fn wait_event(&self, kind: Kind, n: usize) -> Event {
        self.signals
            .wait(&format!("{kind:?} number {n}"), |events| {
                events.iter().filter(|e| e.kind == kind).count() >= n
            })
            .into_iter()
            .filter(|e| e.kind == kind)
            .nth(n - 1)
            .unwrap()
    }

    /// Waits for the end of the `n`th recording (from 1) and returns all its events.
    #[track_caller]
    pub fn wait_recording(&self, n: usize) -> Vec<Event> {
        self.wait_event(Kind::Stop, n);
        log::recordings(&self.signals.all()).swap_remove(n - 1)
    }

    /// A path in the rig's directory.
    pub fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().expect("a readable path").to_owned()
    }

    /// Writes `bytes` to a file in the rig's directory and returns its path.
    pub fn save(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("the file is written");
        path
    }

    /// Asserts that no ERROR, WARNING or EOS was posted on the pipeline's bus.
    #[track_caller]
    pub fn assert_quiet_bus(&self) {
        let all = self.bus.all();
        assert!(all.is_empty(), "on the pipeline's bus: {all:?}");
    }

    /// Asserts that no ERROR was posted on the pipeline's bus.
    #[track_caller]
    pub fn assert_no_bus_error(&self) {
        let errors: Vec<_> = self
            .bus
            .all()
            .into_iter()
            .filter(|m| matches!(m, BusMessage::Error { .. }))
            .collect();
        assert!(errors.is_empty(), "on the pipeline's bus: {errors:?}");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Aborts the test program, naming the test, unless the returned sender is dropped within [`WATCHDOG`].
fn watchdog() -> mpsc::Sender<()> {
    let (alive, gone) = mpsc::channel::<()>();
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    std::thread::spawn(move || {
        if gone.recv_timeout(WATCHDOG) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{test} hangs: its rig is older than {WATCHDOG:?}");
            std::process::abort();
        }
    });
    alive
}
