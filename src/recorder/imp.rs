//! The GObject subclass; the virtual methods are implemented in separate files.
//!
//! Lock order: `acting`, `control`, `hold`, a pad's stream; `values` is a leaf. None is held across a signal, a
//! message, a query, a push or a state change; `acting` only serializes the actions.

/**
 * SECTION:element-mediarecorder
 * @title: mediarecorder
 * @short_description: records audio and video as a browser's MediaRecorder does
 *
 * Each pad requested (`audio_%u`, `video_%u`) is a track of the recording. The action signals
 * #GstMediaRecorder::start, #GstMediaRecorder::pause, #GstMediaRecorder::resume and
 * #GstMediaRecorder::stop may be emitted at any time in PAUSED and PLAYING, from any thread; each
 * is a cut at one instant for all tracks, in capture time. They return %NULL, or a #GError of the
 * domain `gst-media-recorder-error`. The recording goes to #GstMediaRecorder:location, to
 * #GstMediaRecorder::on-data-available as blobs, and out of the `src` pad.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 -e videotestsrc is-live=true num-buffers=60 ! rec.video_0 audiotestsrc is-live=true num-buffers=100 ! rec.audio_0 mediarecorder name=rec autostart=true location=section.webm
 * ]| Records video and audio to a WebM file.
 * |[
 * gst-launch-1.0 audiotestsrc num-buffers=100 ! mediarecorder autostart=true location=section.wav
 * ]| Records lossless audio faster than real time; the file extension determines the type.
 * |[
 * gst-launch-1.0 -e -m audiotestsrc is-live=true num-buffers=100 ! mediarecorder autostart=true mime-type=audio/ogg timeslice=1000 ! filesink location=section.ogg
 * ]| Outputs the recording on the `src` pad, and posts a bus message for each second.
 *
 * Since: 0.1
 */
// (read by hotdoc; the lines are run by the tests)
use super::{MediaRecorderPad, RecorderState, child_proxy, properties, signals};
use crate::{
    formats,
    model::{Kind, State},
    output::{Dispatcher, Ring, SrcOutput},
    session::{Event, RunningTime, Session, lock},
};
use glib::subclass::Signal;
use gst::{prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;
use std::sync::{
    Arc, Condvar, Mutex, OnceLock,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

pub(super) use crate::log::CAT;

/// The recordings and their state.
#[derive(Default)]
pub(super) struct Control {
    pub state: State,
    /// The recording that `state` refers to.
    pub current: Option<Arc<Session>>,
    /// Every recording whose last event has not been emitted.
    pub sessions: Vec<Arc<Session>>,
    /// The actual type, from `on-start` until inactive.
    pub actual: Option<String>,
    pub next_session: u64,
    pub next_pad: [u32; 2],
    /// The recording started by `autostart`.
    pub autostarted: Option<u64>,
    /// The latest recording, for `stats`.
    pub latest: Option<super::stats::Latest>,
    /// The EOS message has been posted since PLAYING.
    pub eos_posted: bool,
    pub eos_seqnum: Option<gst::Seqnum>,
}

/// In PAUSED, non-live input blocks.
#[derive(Default)]
pub(super) struct Hold {
    pub playing: bool,
    pub down: bool,
}

pub struct MediaRecorder {
    pub(super) values: Mutex<properties::Values>,
    pub(super) control: Mutex<Control>,
    pub(super) acting: Mutex<()>,
    pub(super) clock: Arc<RunningTime>,
    pub(super) epoch: Mutex<u64>,
    pub(super) hold: Mutex<Hold>,
    pub(super) held: Condvar,
    pub(super) armed: AtomicBool,
    /// In PAUSED or above, where `pre-record-time` applies.
    pub(super) awake: AtomicBool,
    pub(super) past: Mutex<super::past::Past>,
    pub(super) dispatcher: OnceLock<Dispatcher<Event>>,
    pub(super) output: Arc<SrcOutput>,
    /// Number of files so far, for `location`: one per part of each recording.
    pub(super) files: Arc<AtomicU32>,
    /// The files that still exist.
    pub(super) ring: Arc<Ring>,
    src: gst::Pad,
}

#[glib::object_subclass]
impl ObjectSubclass for MediaRecorder {
    const NAME: &'static str = "GstMediaRecorder";
    type Type = super::MediaRecorder;
    type ParentType = gst::Element;
    type Interfaces = (gst::ChildProxy, gst::TagSetter);

    fn with_class(class: &Self::Class) -> Self {
        let template = class.pad_template("src");
        let src = match template {
            Some(template) => gst::Pad::builder_from_template(&template),
            None => gst::Pad::builder(gst::PadDirection::Src).name("src"),
        }
        .activatemode_function(|_, parent, mode, active| {
            MediaRecorder::catch_panic_pad_function(
                parent,
                || Err(gst::loggable_error!(CAT, "activation failed")),
                |recorder| recorder.activate_src(mode, active),
            )
        })
        .event_function(|pad, parent, event| {
            MediaRecorder::catch_panic_pad_function(
                parent,
                || false,
                |recorder| recorder.src_event(pad, event),
            )
        })
        .query_function(|pad, parent, query| {
            MediaRecorder::catch_panic_pad_function(
                parent,
                || false,
                |recorder| recorder.src_query(pad, query),
            )
        })
        .build();
        let warnings = src.downgrade();
        let output = SrcOutput::new(
            &src,
            Box::new(move |message| {
                let recorder = warnings.upgrade().and_then(|pad| pad.parent_element());
                if let Some(recorder) = recorder {
                    gst::element_warning!(recorder, gst::ResourceError::Write, ["{}", message]);
                }
            }),
        );
        MediaRecorder {
            values: Mutex::default(),
            control: Mutex::default(),
            acting: Mutex::default(),
            clock: Arc::default(),
            epoch: Mutex::default(),
            hold: Mutex::default(),
            held: Condvar::new(),
            armed: AtomicBool::new(false),
            awake: AtomicBool::new(false),
            past: Mutex::default(),
            dispatcher: OnceLock::new(),
            output: Arc::new(output),
            files: Arc::default(),
            ring: Arc::default(),
            src,
        }
    }
}

impl ObjectImpl for MediaRecorder {
    fn properties() -> &'static [glib::ParamSpec] {
        &properties::PROPERTIES
    }

    fn signals() -> &'static [Signal] {
        &signals::SIGNALS
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let name = pspec.name();
        self.contain((), || {
            crate::fault::place("property");
            let (before, set) = {
                let mut values = lock(&self.values);
                let before = values.bitrates.clone();
                (before, values.set(name, value))
            };
            if let Err(err) = set {
                gst::error!(CAT, imp = self, "Cannot set {name}: {err}");
            }
            if properties::RATES.contains(&name) {
                self.rates_changed(name, &before);
            }
            if super::past::SHAPING.contains(&name) {
                self.follow_past();
            }
        });
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        self.contain(pspec.default_value().clone(), || {
            crate::fault::place("property read");
            match pspec.name() {
                "state" => RecorderState::from(self.state()).to_value(),
                "stats" => self.stats().to_value(),
                "mime-type" => self.mime_type().to_value(),
                name => match lock(&self.values).get(name) {
                    Some(value) => value,
                    None => pspec.default_value().clone(),
                },
            }
        })
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.set_element_flags(gst::ElementFlags::SINK);
        if let Err(err) = obj.add_pad(&self.src) {
            gst::error!(CAT, imp = self, "Cannot add the src pad: {err}");
        }
        let weak = obj.downgrade();
        let dispatcher = Dispatcher::new(move |event| {
            if let Some(obj) = weak.upgrade() {
                let recorder = obj.imp();
                recorder.contain((), || recorder.emit(event));
            }
        });
        // Fails only if set already; `constructed` runs once.
        let _ = self.dispatcher.set(dispatcher);
    }
}

impl GstObjectImpl for MediaRecorder {}
impl TagSetterImpl for MediaRecorder {}

impl ChildProxyImpl for MediaRecorder {
    fn children_count(&self) -> u32 {
        self.contain(0, || {
            crate::fault::place("child");
            u32::from(self.obj().num_pads())
        })
    }

    fn child_by_name(&self, name: &str) -> Option<glib::Object> {
        self.contain(None, || child_proxy::by_name(&self.obj(), name))
    }

    fn child_by_index(&self, index: u32) -> Option<glib::Object> {
        self.contain(None, || child_proxy::by_index(&self.obj(), index))
    }
}

fn template(
    name: &str,
    direction: gst::PadDirection,
    presence: gst::PadPresence,
    caps: &gst::Caps,
) -> Result<gst::PadTemplate, glib::BoolError> {
    match direction {
        gst::PadDirection::Sink => gst::PadTemplate::with_gtype(
            name,
            direction,
            presence,
            caps,
            MediaRecorderPad::static_type(),
        ),
        _ => gst::PadTemplate::new(name, direction, presence, caps),
    }
}

impl ElementImpl for MediaRecorder {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "MediaRecorder",
                "Sink/Muxer/Audio/Video",
                "Records audio and video into a file (location), blobs (on-data-available) or its \
                 src pad, as a browser's MediaRecorder. The actions start, pause, resume, stop and \
                 request-data return NULL or a GError; autostart=true starts at the first buffer. \
                 Pauses are cut to the sample; every event is a signal and a bus message",
                "The mediarecorder developers",
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            use gst::{PadDirection::*, PadPresence::*};
            let made = [
                template("audio_%u", Sink, Request, &formats::sink_caps(Kind::Audio)),
                template("video_%u", Sink, Request, &formats::sink_caps(Kind::Video)),
                template("src", Src, Always, &gst::Caps::new_any()),
            ];
            made.into_iter().flatten().collect()
        });
        &TEMPLATES
    }

    fn request_new_pad(
        &self,
        templ: &gst::PadTemplate,
        name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        self.contain(None, || {
            crate::fault::place("pad request");
            self.request_pad(templ, name)
        })
    }

    fn release_pad(&self, pad: &gst::Pad) {
        self.contain((), || {
            crate::fault::place("pad release");
            self.release_sink_pad(pad);
        });
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        self.contain((), || {
            crate::fault::place("state change");
            match transition {
                gst::StateChange::ReadyToPaused => self.wake_up(),
                gst::StateChange::PlayingToPaused => self.leave_playing(),
                gst::StateChange::PausedToReady => self.go_down(),
                _ => {}
            }
        });
        let done = self.parent_change_state(transition)?;
        self.contain((), || match transition {
            gst::StateChange::PausedToPlaying => self.play(),
            gst::StateChange::PlayingToPlaying => self.play_on(),
            gst::StateChange::PausedToReady => self.forget_streams(),
            _ => {}
        });
        Ok(done)
    }

    fn send_event(&self, event: gst::Event) -> bool {
        self.contain(false, || {
            crate::fault::place("element event");
            self.element_event(event)
        })
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        self.contain(false, || {
            crate::fault::place("element query");
            self.element_query(query)
        })
    }
}

impl MediaRecorder {
    pub(super) fn state(&self) -> State {
        lock(&self.control).state
    }

    /// The request pads.
    pub(super) fn tracks(&self) -> Vec<MediaRecorderPad> {
        let pads = self.obj().sink_pads();
        pads.into_iter()
            .filter_map(|pad| pad.downcast().ok())
            .collect()
    }

    fn activate_src(&self, mode: gst::PadMode, active: bool) -> Result<(), gst::LoggableError> {
        if mode != gst::PadMode::Push {
            return Err(gst::loggable_error!(CAT, "only push mode"));
        }
        if active {
            self.output
                .activate(self.probable_caps().as_ref())
                .map_err(|err| {
                    gst::loggable_error!(CAT, "cannot create a thread for the src pad: {err}")
                })
        } else {
            self.output.deactivate();
            Ok(())
        }
    }

    /// READY→PAUSED.
    fn wake_up(&self) {
        *lock(&self.hold) = Hold::default();
        self.be_sink_of_pads();
        self.clock.hold(true);
        self.armed
            .store(lock(&self.values).autostart, Ordering::SeqCst);
        self.awake.store(true, Ordering::SeqCst);
        self.follow_past();
    }

    /// PAUSED→PLAYING: the clock runs, blocked buffers flow.
    fn play(&self) {
        let obj = self.obj();
        if let (Some(clock), Some(base)) = (obj.clock(), obj.base_time()) {
            self.clock.play(clock, base);
        }
        lock(&self.control).eos_posted = false;
        lock(&self.hold).playing = true;
        self.clock.hold(false);
        self.held.notify_all();
        self.check_end_of_stream();
    }

    /// A bin that reaches PLAYING in two steps drops the EOS that was posted after the first.
    fn play_on(&self) {
        lock(&self.control).eos_posted = false;
        self.check_end_of_stream();
    }

    fn leave_playing(&self) {
        self.clock.leave_playing();
        self.clock.hold(true);
        lock(&self.hold).playing = false;
    }

    fn forget_streams(&self) {
        self.awake.store(false, Ordering::SeqCst);
        self.follow_past();
        // Pipelines under construction must see a sink.
        self.obj().set_element_flags(gst::ElementFlags::SINK);
        for pad in self.tracks() {
            pad.reset();
        }
        self.clock.reset();
        *lock(&self.epoch) = 0;
        let mut control = lock(&self.control);
        control.eos_posted = false;
        control.eos_seqnum = None;
    }
}
