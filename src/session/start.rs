//! How a session is created, and its first cut.

use super::{
    Begin, Session, SessionConfig, Settings, SharedTimeline, Track, TrackContext,
    backpressure::Backpressure,
    decoding::Decoding,
    lock,
    part::{self, Part, PartConfig},
    supervisor::{self, Coordinator},
    synchroniser::Synchroniser,
    track::Asked,
};
use crate::{
    log::{CAT, time},
    model::{
        Error,
        timeline::{Ns, Timeline},
    },
    output::{RingPlace, Store},
};
use std::sync::{Arc, Condvar, Mutex, atomic::AtomicBool};

/// The first file.
struct FirstFile {
    store: Store,
    synchroniser: Option<Arc<Synchroniser>>,
    place: RingPlace,
    /// Why it is the fallback location's.
    failed: Option<Error>,
}

impl FirstFile {
    /// Opens `location`, else `fallback`, which `settings` then name.
    fn open(
        settings: &mut Settings,
        place: RingPlace,
        fallback: Option<String>,
    ) -> Result<Self, Error> {
        let mut failed = None;
        let (store, synchroniser) = match settings.location.clone() {
            Some(location) => match part::open_first(&location, settings, &place) {
                Err(error) if let Some(fallback) = fallback => {
                    let opened = part::open_first(&fallback, settings, &place)?;
                    settings.location = Some(fallback);
                    failed = Some(error);
                    opened
                }
                opened => opened?,
            },
            None => (
                Store::in_memory(settings.max_memory, settings.temp_dir.clone()),
                None,
            ),
        };
        Ok(FirstFile {
            store,
            synchroniser,
            place,
            failed,
        })
    }
}

/// A timeline with the limits of `settings`. Its first cut is pending until all tracks receive buffers; what arrives
/// before is queued.
fn timeline(settings: &Settings) -> Timeline {
    let limit = |limit| if limit == 0 { Ns::MAX } else { limit };
    let timeline = Timeline::new(0, false)
        .with_max_duration(limit(settings.max_duration))
        .with_max_size_time(limit(settings.max_size_time));
    if settings.limits_bytes() {
        timeline.with_horizon(supervisor::SIZE_STEP)
    } else {
        timeline
    }
}

impl Session {
    /// Starts a recording. Opens `location`; anything slow is left to the supervisor.
    pub fn start(parts: SessionConfig, begin: Begin) -> Result<Arc<Self>, Error> {
        let SessionConfig {
            id,
            mut settings,
            tracks,
            clock,
            events,
            src,
            delegate,
            numbers,
            ring,
            fallback,
        } = parts;
        let place = settings.place_in(&ring);
        let FirstFile {
            store,
            synchroniser,
            place,
            failed,
        } = FirstFile::open(&mut settings, place, fallback)?;
        let any_live = Arc::new(AtomicBool::new(tracks.iter().any(|track| track.live)));
        let timeline = Arc::new(SharedTimeline::new(timeline(&settings)));
        let backpressure = Arc::new(Backpressure::default());
        let shared = TrackContext {
            clock: clock.clone(),
            timeline: timeline.clone(),
            backpressure: backpressure.clone(),
            queue_limit: settings.queue_limit(),
            patience: settings.patience_ns(),
            any_live: any_live.clone(),
            may_split: settings.may_split.then(|| Asked {
                mime_type: settings.mime_type.clone(),
                location: settings.location.clone(),
                is_alone: tracks.len() == 1,
            }),
        };
        let label = glib::gformat!("{}/recording{id}", delegate.name());
        let decoding = tracks.iter().map(|_| Decoding::default()).collect();
        let tracks: Vec<_> = tracks
            .iter()
            .map(|spec| Track::new(spec, &shared))
            .collect();
        let part = Part::new(PartConfig {
            number: 0,
            label: label.clone(),
            settings: &settings,
            events,
            store,
            src: Some((src.clone(), id)),
            fed: tracks.iter().map(|track| track.progress_of(0)).collect(),
        });
        part.put_in(settings.location.clone(), None, (synchroniser, place));
        if let Some(error) = &failed {
            part.warn_of_fallback(error);
        }
        let session = Arc::new_cyclic(|this| Session {
            id,
            label,
            coordinator: Mutex::new(Coordinator::new(tracks.len(), begin, &settings)),
            part_list: Mutex::default(),
            reported: Arc::default(),
            numbers,
            ring,
            fell_back: AtomicBool::new(failed.is_some()),
            fallback_named: AtomicBool::new(failed.is_some()),
            src,
            bitrates: Mutex::default(),
            settings,
            clock,
            timeline,
            begin,
            tracks,
            decoding,
            this: this.clone(),
            any_live,
            backpressure,
            delegate,
            control: Mutex::default(),
            done: Condvar::new(),
            mime_type: Mutex::new(None),
            encoder_names: Mutex::default(),
            conversions: Mutex::default(),
            utc_offsets: Mutex::default(),
        });
        session.add_first(part);
        Ok(session)
    }

    /// From now on, all pads push their buffers into the tracks: makes the first cut.
    pub fn listen(&self) {
        if let Some(part) = self.part() {
            lock(&part.control).start = Some(part.events.reserve());
        }
        if self.begin == Begin::Now {
            let resolved = self.may_cut_anywhere();
            let clock = self.timeline.write(|timeline| {
                timeline.begin(self.now(), resolved);
                self.clock.now()
            });
            lock(&self.control).clock_at_start = clock.filter(|_| !self.any_live());
        }
        self.note_wall_clock();
        self.log_beginning();
    }

    /// The same, if the recording begins in the past: `past` are the intervals recorded from the pre-record buffer,
    /// the last of which is open. `front` is the timeline in front of that buffer, and follows this recording's cuts.
    pub fn listen_to_past(&self, past: &[(Ns, Option<Ns>)], front: &Arc<SharedTimeline>) {
        if past.is_empty() {
            self.listen();
            return self.timeline.lead(front.clone(), 0);
        }
        if let Some(part) = self.part() {
            lock(&part.control).start = Some(part.events.reserve());
        }
        self.timeline
            .write(|timeline| timeline.begin_with(past.iter().copied()));
        self.timeline.lead(front.clone(), past.len() - 1);
        past.iter().for_each(|_| self.note_wall_clock());
        self.log_beginning();
    }

    fn log_beginning(&self) {
        let at = match self.begin {
            Begin::Now => self
                .timeline
                .read(|t| t.intervals().first().map(|i| i.start)),
            Begin::EarliestBuffer => None,
        };
        match at {
            Some(at) => gst::info!(CAT, id = &self.label, "Begins at running time {}", time(at)),
            None => gst::info!(CAT, id = &self.label, "Begins at the earliest buffer"),
        }
        for track in &self.tracks {
            gst::info!(
                CAT,
                id = &self.label,
                "Track {}: {}, latency {:?}, {}",
                track.name(),
                if track.is_live() { "live" } else { "not live" },
                track.latency(),
                track
                    .caps()
                    .map_or_else(|| "caps not known yet".to_owned(), |caps| caps.to_string())
            );
        }
    }
}
