//! Logs of a recorder's signals, its element messages, and all other bus messages.

use super::{DEADLINE, Recorder};
use gst::prelude::*;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// The `state` of a recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Inactive,
    Recording,
    Paused,
}

impl State {
    /// Reads the property by its nick, independently of the crate's enum.
    pub fn of(recorder: &gst::Element) -> Self {
        let value = recorder.property_value("state");
        let (_, value) = glib::EnumValue::from_value(&value).expect("`state` is an enum");
        match value.nick() {
            "inactive" => State::Inactive,
            "recording" => State::Recording,
            "paused" => State::Paused,
            other => panic!("unknown state {other}"),
        }
    }
}

/// The events of a recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Start,
    Pause,
    Resume,
    Data,
    Error,
    Stop,
}

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::Start,
        Kind::Pause,
        Kind::Resume,
        Kind::Data,
        Kind::Error,
        Kind::Stop,
    ];

    /// The name of the signal.
    pub fn signal(self) -> &'static str {
        match self {
            Kind::Start => "on-start",
            Kind::Pause => "on-pause",
            Kind::Resume => "on-resume",
            Kind::Data => "on-data-available",
            Kind::Error => "on-error",
            Kind::Stop => "on-stop",
        }
    }

    /// The name of the element message.
    pub fn message(self) -> &'static str {
        match self {
            Kind::Start => "mediarecorder-start",
            Kind::Pause => "mediarecorder-pause",
            Kind::Resume => "mediarecorder-resume",
            Kind::Data => "mediarecorder-data-available",
            Kind::Error => "mediarecorder-error",
            Kind::Stop => "mediarecorder-stop",
        }
    }
}

/// One event, with the properties as its handler saw them.
#[derive(Clone)]
pub struct Event {
    pub kind: Kind,
    /// `state` as read in the handler.
    pub state: State,
    /// `mime-type` as read in the handler.
    pub mime_type: String,
    pub thread: ThreadId,
    pub at: Instant,
    /// The sample of `on-data-available`.
    pub sample: Option<gst::Sample>,
    /// The sample's bytes as they were in the handler.
    pub bytes: Vec<u8>,
    /// The error of `on-error`.
    pub error: Option<glib::Error>,
    /// The structure of the message, for an event received on the bus.
    pub fields: Option<gst::Structure>,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?}", self.kind, self.state)?;
        if self.sample.is_some() {
            write!(f, ", {} bytes", self.bytes.len())?;
        }
        if let Some(error) = &self.error {
            write!(f, ", {error}")?;
        }
        write!(f, ")")
    }
}

impl Event {
    fn seen(kind: Kind, recorder: &gst::Element) -> Self {
        Event {
            kind,
            state: State::of(recorder),
            mime_type: recorder.mime_type(),
            thread: std::thread::current().id(),
            at: Instant::now(),
            sample: None,
            bytes: Vec::new(),
            error: None,
            fields: None,
        }
    }

    fn with_sample(mut self, sample: Option<gst::Sample>) -> Self {
        self.bytes = sample.as_ref().map(sample_bytes).unwrap_or_default();
        self.sample = sample;
        self
    }

    /// The blob's buffer.
    #[track_caller]
    pub fn buffer(&self) -> &gst::BufferRef {
        self.sample
            .as_ref()
            .and_then(|s| s.buffer())
            .expect("a blob has a buffer")
    }

    /// A guint64 field of the message.
    #[track_caller]
    pub fn time(&self, name: &str) -> u64 {
        let fields = self.fields.as_ref().expect("an event received on the bus");
        fields
            .get(name)
            .unwrap_or_else(|e| panic!("field {name} of {fields}: {e}"))
    }

    /// A string field of the message, NULL as None.
    #[track_caller]
    pub fn string(&self, name: &str) -> Option<String> {
        let fields = self.fields.as_ref().expect("an event received on the bus");
        fields
            .get(name)
            .unwrap_or_else(|e| panic!("field {name} of {fields}: {e}"))
    }
}

/// The bytes of a blob.
pub fn sample_bytes(sample: &gst::Sample) -> Vec<u8> {
    let buffer = sample.buffer().expect("a blob has a buffer");
    buffer
        .map_readable()
        .expect("a blob can be read")
        .as_slice()
        .to_vec()
}

/// A message on the pipeline's bus other than the recorder's events.
#[derive(Clone, Debug)]
pub enum BusMessage {
    Eos,
    Error { from: String, error: glib::Error },
    Warning { from: String, error: glib::Error },
}

type Shared<T> = Arc<(Mutex<Vec<T>>, Condvar)>;

/// A list that one thread appends to and another waits on.
pub struct Log<T> {
    name: &'static str,
    shared: Shared<T>,
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Log {
            name: self.name,
            shared: self.shared.clone(),
        }
    }
}

impl<T: Clone + fmt::Debug> Log<T> {
    pub fn new(name: &'static str) -> Self {
        Log {
            name,
            shared: Shared::default(),
        }
    }

    pub fn push(&self, entry: T) {
        let (list, grown) = &*self.shared;
        list.lock().unwrap().push(entry);
        grown.notify_all();
    }

    /// Everything so far, in order.
    pub fn all(&self) -> Vec<T> {
        self.shared.0.lock().unwrap().clone()
    }

    /// The number of entries so far.
    pub fn len(&self) -> usize {
        self.shared.0.lock().unwrap().len()
    }

    /// Waits until `condition` holds for the whole list, which it returns.
    #[track_caller]
    pub fn wait(&self, what: &str, condition: impl Fn(&[T]) -> bool) -> Vec<T> {
        let (list, grown) = &*self.shared;
        let (list, result) = grown
            .wait_timeout_while(list.lock().unwrap(), DEADLINE, |list| !condition(list))
            .unwrap();
        // Unlocked before anything panics: the recorder's threads append to it.
        let list = {
            let seen = list.clone();
            drop(list);
            seen
        };
        assert!(
            !result.timed_out(),
            "not within {DEADLINE:?}: {what}; {}: {list:?}",
            self.name
        );
        list
    }

    /// Asserts that nothing is appended within `quiet`.
    #[track_caller]
    pub fn nothing_within(&self, quiet: Duration) {
        let (list, grown) = &*self.shared;
        let list = list.lock().unwrap();
        let before = list.len();
        let (list, _) = grown
            .wait_timeout_while(list, quiet, |list| list.len() == before)
            .unwrap();
        let new = list[before..].to_vec();
        drop(list);
        assert!(
            new.is_empty(),
            "{} should be quiet, but: {new:?}",
            self.name
        );
    }
}

impl Log<Event> {
    pub fn kinds(&self) -> Vec<Kind> {
        kinds(&self.all())
    }
}

/// The kinds of some events, in order.
pub fn kinds(events: &[Event]) -> Vec<Kind> {
    events.iter().map(|e| e.kind).collect()
}

/// Splits events after each `Stop`; an incomplete recording at the end is omitted.
pub fn recordings(events: &[Event]) -> Vec<Vec<Event>> {
    let mut done = Vec::new();
    let mut open = Vec::new();
    for event in events {
        open.push(event.clone());
        if event.kind == Kind::Stop {
            done.push(std::mem::take(&mut open));
        }
    }
    done
}

/// The bytes of all blobs among `events`.
pub fn concatenated(events: &[Event]) -> Vec<u8> {
    events.iter().flat_map(|e| e.bytes.clone()).collect()
}

/// Asserts what holds for the events of every recording, and returns its bytes and recorded time: start first,
/// stop last, each once, the last blob right before stop, blobs without gap or overlap in bytes and in recorded
/// time.
#[track_caller]
pub fn check_recording(events: &[Event]) -> (Vec<u8>, gst::ClockTime) {
    let order = kinds(events);
    let count = |kind| order.iter().filter(|k| **k == kind).count();
    assert_eq!(order.first(), Some(&Kind::Start), "{events:?}");
    assert!(order.ends_with(&[Kind::Data, Kind::Stop]), "{events:?}");
    assert_eq!(count(Kind::Start), 1, "{events:?}");
    assert_eq!(count(Kind::Stop), 1, "{events:?}");
    assert!(count(Kind::Error) <= 1, "{events:?}");

    let mut offset = 0;
    let mut timecode = gst::ClockTime::ZERO;
    for event in events.iter().filter(|e| e.kind == Kind::Data) {
        let buffer = event.buffer();
        let size = event.bytes.len() as u64;
        assert_eq!(buffer.size() as u64, size);
        assert_eq!(buffer.offset(), offset, "blobs are contiguous in bytes");
        assert_eq!(buffer.offset_end(), offset + size);
        assert_eq!(buffer.pts(), Some(timecode), "recorded time is contiguous");
        offset += size;
        timecode += buffer.duration().expect("a blob has a duration");
    }
    (concatenated(events), timecode)
}

/// Appends every signal of `recorder` to `log`.
pub fn follow_signals(recorder: &gst::Element, log: &Log<Event>) {
    for kind in Kind::ALL {
        let log = log.clone();
        recorder.connect(kind.signal(), false, move |values| {
            let recorder = values[0].get::<gst::Element>().expect("the emitter");
            let mut event = Event::seen(kind, &recorder);
            match kind {
                Kind::Data => {
                    let sample = values[1].get::<gst::Sample>().expect("a GstSample");
                    event = event.with_sample(Some(sample));
                }
                Kind::Error => {
                    event.error = Some(values[1].get::<glib::Error>().expect("a GError"));
                }
                _ => (),
            }
            log.push(event);
            None
        });
    }
}

/// Appends every event message of `recorder` to `events`, and all other bus messages to `others`.
pub fn follow_bus(
    pipeline: &gst::Pipeline,
    recorder: &gst::Element,
    events: &Log<Event>,
    others: &Log<BusMessage>,
) {
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let recorder = recorder.downgrade();
    let (events, others) = (events.clone(), others.clone());
    bus.set_sync_handler(move |_, message| {
        let from = message
            .src()
            .map(|src| src.name().to_string())
            .unwrap_or_default();
        match message.view() {
            gst::MessageView::Eos(_) => others.push(BusMessage::Eos),
            gst::MessageView::Error(m) => others.push(BusMessage::Error {
                from,
                error: m.error(),
            }),
            gst::MessageView::Warning(m) => others.push(BusMessage::Warning {
                from,
                error: m.error(),
            }),
            gst::MessageView::Element(m) => {
                let (Some(structure), Some(recorder)) = (m.structure(), recorder.upgrade()) else {
                    return gst::BusSyncReply::Drop;
                };
                let kind = Kind::ALL
                    .into_iter()
                    .find(|kind| structure.name() == kind.message());
                if let Some(kind) = kind
                    && message.src() == Some(recorder.upcast_ref())
                {
                    let mut event = Event::seen(kind, &recorder)
                        .with_sample(structure.get::<gst::Sample>("sample").ok());
                    event.error = structure.get::<glib::Error>("error").ok();
                    event.fields = Some(structure.to_owned());
                    events.push(event);
                }
            }
            _ => (),
        }
        gst::BusSyncReply::Drop
    });
}
