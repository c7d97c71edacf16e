//! A panic injected at each entry point only causes an error of the recording.

use crate::fault;
use gst::prelude::*;
use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

const SOON: Duration = Duration::from_secs(30);

struct Stage {
    pipeline: gst::Pipeline,
    recorder: gst::Element,
    /// Events, and ERROR messages of the bus.
    seen: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Stage {
    fn new(tail: &str) -> Self {
        fault::init();
        let pipeline = gst::parse::launch(&format!(
            "audiotestsrc is-live=true samplesperbuffer=480 ! identity name=before \
             ! audio/x-raw,rate=48000 ! mediarecorder name=rec timeslice=200 \
             videotestsrc is-live=true ! video/x-raw,width=64,height=48 ! rec. {tail}"
        ))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        let recorder = pipeline.by_name("rec").unwrap();
        let seen = Arc::<(Mutex<Vec<String>>, Condvar)>::default();
        let say = |seen: &Arc<(Mutex<Vec<String>>, Condvar)>, what: String| {
            seen.0.lock().unwrap().push(what);
            seen.1.notify_all();
        };
        for name in ["on-start", "on-data-available", "on-stop"] {
            let seen = seen.clone();
            recorder.connect(name, false, move |_| {
                say(&seen, name.into());
                None
            });
        }
        recorder.connect("on-error", false, {
            let seen = seen.clone();
            move |args| {
                let error: glib::Error = args[1].get().unwrap();
                say(&seen, format!("on-error {}", error.message()));
                None
            }
        });
        pipeline.bus().unwrap().set_sync_handler({
            let seen = seen.clone();
            move |_, message| {
                match message.view() {
                    gst::MessageView::Error(error) => say(&seen, format!("ERROR {error:?}")),
                    gst::MessageView::Warning(warning) => {
                        say(&seen, format!("WARNING {}", warning.error()))
                    }
                    _ => {}
                }
                gst::BusSyncReply::Drop
            }
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        let stage = Stage {
            pipeline,
            recorder,
            seen,
        };
        // After the caps, buffers are imminent.
        for pad in stage.recorder.sink_pads() {
            stage.wait_until("caps", || pad.current_caps().is_some());
        }
        stage
    }

    fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let end = std::time::Instant::now() + SOON;
        while !condition() {
            assert!(std::time::Instant::now() < end, "{what}: {:?}", self.seen());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn act(&self, action: &str) -> Result<(), glib::Error> {
        match self
            .recorder
            .emit_by_name::<Option<glib::Error>>(action, &[])
        {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.0.lock().unwrap().clone()
    }

    fn wait(&self, what: &str, count: usize) {
        let counted = |seen: &Vec<String>| seen.iter().filter(|s| s.starts_with(what)).count();
        let (seen, _) = self
            .seen
            .1
            .wait_timeout_while(self.seen.0.lock().unwrap(), SOON, |seen| {
                counted(seen) < count
            })
            .unwrap();
        assert!(counted(&seen) >= count, "no {what}: {seen:?}");
    }

    /// Checks that a recording runs from start to stop.
    fn records(&self) {
        self.seen.0.lock().unwrap().clear();
        self.act("start").unwrap();
        self.wait("on-data-available", 2);
        self.act("stop").unwrap();
        self.wait("on-stop", 1);
        let seen = self.seen();
        assert!(!seen.iter().any(|s| s.contains("rror")), "{seen:?}");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Injects a panic at `place` during a recording, or before it; `then` triggers it.
fn panics<F: FnOnce(&Stage)>(place: &'static str, before_start: bool, then: F) {
    fault::in_own_process::<F>(|| {
        let stage = Stage::new("");
        if before_start {
            fault::arm(place);
        }
        stage.act("start").unwrap();
        if !before_start {
            stage.wait("on-data-available", 1);
            fault::arm(place);
        }
        then(&stage);
        stage.wait("on-stop", 1);
        assert!(!fault::is_armed(), "nobody comes by {place}");
        let seen = stage.seen();
        let errors: Vec<_> = seen.iter().filter(|s| s.starts_with("on-error")).collect();
        assert_eq!(errors.len(), 1, "{place}: {seen:?}");
        assert!(
            errors[0].contains(&format!("injected at {place}")) || errors[0].contains("anicked"),
            "{seen:?}"
        );
        assert_eq!(
            seen.first().map(String::as_str),
            Some("on-start"),
            "{place}: {seen:?}"
        );
        let events: Vec<_> = seen.iter().filter(|s| s.starts_with("on-")).collect();
        let [.., error, data, stop] = &events[..] else {
            panic!("{seen:?}");
        };
        assert!(error.starts_with("on-error"), "{place}: {seen:?}");
        assert_eq!(
            [data.as_str(), stop.as_str()],
            ["on-data-available", "on-stop"],
            "{place}: {seen:?}"
        );
        assert!(
            !seen.iter().any(|s| s.starts_with("ERROR")),
            "{place}: {seen:?}"
        );
        stage.records();
    });
}

#[test]
fn in_the_chain_function() {
    panics("chain", false, |_| {});
}

#[test]
fn in_an_event_of_upstream() {
    panics("sink event", false, |stage| {
        let tags = gst::TagList::new();
        let pad = stage.recorder.static_pad("audio_0").unwrap();
        pad.send_event(gst::event::Tag::new(tags));
    });
}

#[test]
fn in_a_query_of_upstream() {
    panics("sink query", false, |stage| {
        let pad = stage.recorder.static_pad("audio_0").unwrap();
        pad.query(&mut gst::query::Caps::new(None));
    });
}

#[test]
fn in_an_action() {
    panics("action", false, |stage| {
        assert!(stage.act("pause").is_err());
    });
}

#[test]
fn in_a_property() {
    panics("property", false, |stage| {
        stage.recorder.set_property("timeslice", 100u32);
    });
}

#[test]
fn in_a_property_that_is_read() {
    panics("property read", false, |stage| {
        // The default.
        assert_eq!(stage.recorder.property::<u32>("timeslice"), 0);
    });
}

#[test]
fn in_a_pad_request() {
    panics("pad request", false, |stage| {
        assert!(stage.recorder.request_pad_simple("audio_%u").is_none());
    });
}

#[test]
fn in_a_pad_release() {
    panics("pad release", false, |stage| {
        let pad = stage.recorder.static_pad("audio_0").unwrap();
        let peer = pad.peer().unwrap();
        stage.recorder.release_request_pad(&pad);
        // The pad still exists and works.
        assert_eq!(pad.peer(), Some(peer));
    });
}

#[test]
fn in_a_state_change() {
    panics("state change", false, |stage| {
        stage.pipeline.set_state(gst::State::Paused).unwrap();
        stage.pipeline.set_state(gst::State::Playing).unwrap();
    });
}

#[test]
fn in_an_event_for_the_element() {
    panics("element event", false, |stage| {
        let event = gst::event::Latency::new(gst::ClockTime::ZERO);
        assert!(!stage.recorder.send_event(event));
    });
}

#[test]
fn in_a_query_for_the_element() {
    panics("element query", false, |stage| {
        let mut query = gst::query::Position::new(gst::Format::Time);
        assert!(!stage.recorder.query(&mut query));
    });
}

#[test]
fn where_children_are_asked_for() {
    panics("child", false, |stage| {
        let proxy = stage.recorder.dynamic_cast_ref::<gst::ChildProxy>();
        assert_eq!(proxy.unwrap().children_count(), 0);
    });
}

#[test]
fn in_the_thread_of_events() {
    panics("event", false, |_| {});
}

#[test]
fn in_the_thread_of_the_recording() {
    panics("supervisor", false, |_| {});
}

#[test]
fn while_the_encoder_is_built() {
    panics("encoder", true, |_| {});
}

#[test]
fn in_the_end() {
    panics("end", false, |stage| stage.act("stop").unwrap());
}

#[test]
fn after_everything_has_been_written() {
    panics("drained", false, |stage| stage.act("stop").unwrap());
}

#[test]
fn in_the_callback_of_bytes() {
    panics("bytes", false, |_| {});
}

#[test]
fn in_the_probe_of_caps() {
    panics("muxer caps", true, |_| {});
}

#[test]
fn in_the_probe_of_segments() {
    panics("seek", true, |_| {});
}

#[test]
fn in_a_probe_of_what_goes_to_the_muxer() {
    panics("probe", false, |_| {});
}

/// The `src` pad's task is separate: the recording itself continues.
#[test]
fn in_the_thread_of_the_src_pad() {
    in_own_process(|| {
        let stage = Stage::new("rec.src ! fakesink sync=false async=false");
        stage.act("start").unwrap();
        stage.wait("on-data-available", 1);
        fault::arm("src thread");
        stage.wait("WARNING", 1);
        stage.wait("on-data-available", 3);
        stage.act("stop").unwrap();
        stage.wait("on-stop", 1);
        assert!(
            !stage.seen().iter().any(|s| s.contains("rror")),
            "{:?}",
            stage.seen()
        );
    });
}

/// Runs a test, given as a closure, in a process of its own.
fn in_own_process<F: FnOnce()>(body: F) {
    fault::in_own_process::<F>(body);
}
