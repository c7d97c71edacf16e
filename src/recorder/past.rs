//! `pre-record-time`: keeps recent input while inactive, and restarts that when settings or tracks change.

use super::{
    BitrateMode, Keep, MediaRecorderPad, delegate::Owner, imp::MediaRecorder, properties::Values,
    subscriber::Subscriber,
};
use crate::{
    model::{Bitrates, Container},
    prelude::{Keeping, KeepingConfig, Reserved},
    session::{Settings, lock},
};
use gst::{prelude::*, subclass::prelude::*};
use std::sync::{Arc, Weak, atomic::Ordering};

/// Maximum keyframe interval of raw video, in milliseconds: a recording begins at a keyframe.
const KEY_INTERVAL_MS: u32 = 500;

/// Properties that affect what is kept, or whether.
pub const SHAPING: [&str; 6] = [
    "pre-record-time",
    "mime-type",
    "location",
    "audio-bitrate-mode",
    "keep",
    "autostart",
];

/// Encoding settings: when they change, keeping restarts.
#[derive(PartialEq)]
struct Made {
    mime_type: String,
    /// The container from the extension of `location`, if `mime-type` is empty.
    container: Option<Container>,
    bitrate_mode: BitrateMode,
    keep: Keep,
}

impl Made {
    fn by(values: &Values) -> Self {
        let location = values.location.as_deref();
        let location = location.filter(|_| values.mime_type.is_empty());
        Made {
            mime_type: values.mime_type.clone(),
            container: location.and_then(Container::of_location),
            bitrate_mode: values.bitrate_mode,
            keep: values.keep,
        }
    }
}

/// The current keeping, and retired ones that recordings still read.
#[derive(Default)]
pub(super) struct Past {
    current: Option<(Arc<Keeping>, Made)>,
    retired: Vec<Weak<Keeping>>,
}

impl Past {
    fn all(&self) -> impl Iterator<Item = Arc<Keeping>> + '_ {
        let current = self.current.iter().map(|(keeping, _)| keeping.clone());
        current.chain(self.retired.iter().filter_map(Weak::upgrade))
    }

    fn retire(&mut self) {
        if let Some((keeping, _)) = self.current.take() {
            keeping.retire();
            self.retired.push(Arc::downgrade(&keeping));
        }
        self.retired.retain(|keeping| keeping.strong_count() > 0);
    }
}

/// Settings of the recordings that will begin in the past.
fn settings(values: &Values) -> Settings {
    let settings = values.for_recording(values.location.clone(), None);
    let key_interval_ms = match settings.key_interval_ms {
        0 => KEY_INTERVAL_MS,
        asked => asked.min(KEY_INTERVAL_MS),
    };
    Settings {
        key_interval_ms,
        ..settings
    }
}

impl MediaRecorder {
    /// Starts or stops keeping the past according to the properties and the state.
    pub(super) fn follow_past(&self) {
        let values = lock(&self.values).clone();
        let is_wanted =
            values.pre_record_time > 0 && !values.autostart && self.awake.load(Ordering::SeqCst);
        let mut past = lock(&self.past);
        if !is_wanted {
            return past.retire();
        }
        let made = Made::by(&values);
        if let Some((keeping, by)) = &past.current
            && *by == made
            && !keeping.is_stale()
        {
            return keeping.set_time(values.pre_record_time);
        }
        past.retire();
        let weak = self.obj().downgrade();
        let begun = Keeping::begin(KeepingConfig {
            settings: settings(&values),
            bitrates: values.bitrates.clone(),
            time: values.pre_record_time,
            clock: self.clock.clone(),
            delegate: Arc::new(Owner(weak.clone())),
            warn: Box::new(move |message| {
                if let Some(recorder) = weak.upgrade() {
                    gst::element_warning!(recorder, gst::StreamError::Failed, ("{}", message));
                }
            }),
        });
        let keeping = match begun {
            Ok(keeping) => keeping,
            Err(err) => {
                drop(past);
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Failed,
                    ("Pre-recording is not possible: cannot create a thread: {err}")
                );
                return;
            }
        };
        for pad in self.tracks() {
            keep_pad(&keeping, &pad);
        }
        past.current = Some((keeping, made));
    }

    /// Restarts keeping if a track's media type has changed.
    pub(super) fn renew_past(&self) {
        let past = lock(&self.past);
        let is_stale = past
            .current
            .as_ref()
            .is_some_and(|(keeping, _)| keeping.is_stale());
        drop(past);
        if is_stale {
            self.follow_past();
        }
    }

    /// Keeps the input of a new pad, too.
    pub(super) fn keep_past_of(&self, pad: &MediaRecorderPad) {
        let past = lock(&self.past);
        if let Some((keeping, _)) = &past.current {
            keep_pad(keeping, pad);
        }
    }

    /// Removes a pad.
    pub(super) fn forget_past_of(&self, pad: &MediaRecorderPad) {
        let past = lock(&self.past);
        for keeping in past.all() {
            keeping.remove_track(&pad.name());
        }
    }

    /// The keeping that a recording of these pads can begin with.
    pub(super) fn past_for(&self, pads: &[MediaRecorderPad]) -> Option<Reserved> {
        let past = lock(&self.past);
        let (keeping, _) = past.current.as_ref()?;
        let is_kept = |pad: &MediaRecorderPad| keeping.track(&pad.name()).is_some();
        let is_usable = keeping.is_usable() && pads.iter().all(is_kept);
        is_usable.then(|| keeping.reserve()).flatten()
    }

    /// PAUSED→READY: no more input.
    pub(super) fn finish_past(&self) {
        let keepings: Vec<_> = lock(&self.past).all().collect();
        for keeping in keepings {
            keeping.finish();
        }
    }

    /// Sets new bit rates on the encoders of the past.
    pub(super) fn set_past_bitrates(&self, bitrates: &Bitrates) {
        let keepings: Vec<_> = lock(&self.past).all().collect();
        for keeping in keepings {
            keeping.set_bitrates(bitrates);
        }
    }

    /// Amount kept: time in nanoseconds, and bytes.
    pub(super) fn past_figures(&self) -> (u64, u64) {
        let past = lock(&self.past);
        let current = past.current.as_ref();
        current.map_or((0, 0), |(keeping, _)| keeping.figures())
    }
}

/// Keeps the input of a pad. Called with `past` locked.
fn keep_pad(keeping: &Arc<Keeping>, pad: &MediaRecorderPad) {
    // While a pad is added or removed, a handler or another thread may have begun to keep all pads.
    if keeping.track(&pad.name()).is_some() || pad.stream().released {
        return;
    }
    let track = keeping.add_track(&pad.name(), pad.kind());
    // Mute changes from here on are forwarded in order.
    let _muting = pad.muting();
    if pad.is_muted() {
        track.start_muted();
    }
    pad.stream().subscribe(Subscriber::Past(track));
}
