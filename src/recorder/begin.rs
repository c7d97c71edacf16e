//! How a recording begins: its tracks, its configuration, its first cut.

use super::{
    MediaRecorderPad,
    actions::just_ended,
    delegate::Owner,
    imp::MediaRecorder,
    requirements::{check, check_decoders, check_free_space},
    subscriber::Subscriber,
    upstream::Upstream,
};
use crate::{
    formats::{self, Refusal, TrackInput},
    model::{Command, Error, Kind, State, location},
    prelude::{Beginning, Keeping},
    session::{Begin, HeldEvents, Origin, Session, SessionConfig, Settings, TrackSpec, lock},
};
use gst::{prelude::*, subclass::prelude::*};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Liveness and latency of each pad's upstream, by pad name.
pub(super) type Upstreams = Vec<(String, Upstream)>;

/// The number of a recording's first file. A recording that does not begin gives it back, unless another file, of a
/// recording that still ends, has the next number already.
struct FileNumber<'a> {
    files: &'a AtomicU32,
    number: u32,
    is_kept: bool,
}

impl<'a> FileNumber<'a> {
    fn take(files: &'a AtomicU32) -> Self {
        FileNumber {
            files,
            number: files.fetch_add(1, Ordering::SeqCst),
            is_kept: false,
        }
    }

    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for FileNumber<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            let (next, order) = (self.number.wrapping_add(1), Ordering::SeqCst);
            let _ = self.files.compare_exchange(next, self.number, order, order);
        }
    }
}

impl MediaRecorder {
    /// Checks everything, then starts: nothing can fail after the state has changed. Events are held back until the
    /// caller has notified the state. `named`: the file name from the application, if any.
    pub(super) fn begin(
        &self,
        begin: Begin,
        upstreams: &Upstreams,
        named: Option<String>,
    ) -> Result<HeldEvents, Refusal> {
        let tracks = self.live_tracks()?;
        let past = match begin {
            Begin::Now => self.past_for(&tracks),
            Begin::EarliestBuffer => None,
        };
        let keeping: Option<&Keeping> = past.as_ref().map(|past| &***past);
        let file = FileNumber::take(&self.files);
        let (session, kinds) =
            self.new_session(begin, &tracks, upstreams, keeping, (file.number, named))?;
        let events = session
            .hold_events()
            .ok_or_else(|| just_ended(Command::Start))?;
        let beginning = match &past {
            Some(past) => Some((past, listen_to_past(&session, &tracks, past))),
            None => {
                listen(&session, &tracks);
                None
            }
        };
        self.enter(&session, kinds, &tracks);
        // Last, because on-start may be emitted at once.
        if let Err(error) = session.run() {
            self.leave(&session, &tracks);
            if let Some((past, beginning)) = beginning {
                past.forget(beginning);
            }
            return Err(error.into());
        }
        if let Some((past, beginning)) = beginning {
            // Mute changes from here on are forwarded in order.
            let _muting: Vec<_> = tracks.iter().map(|pad| pad.muting()).collect();
            let names: Vec<_> = tracks.iter().map(|pad| pad.name().to_string()).collect();
            past.feed(beginning, &session, &names);
        }
        file.keep();
        Ok(events)
    }

    /// Checks the configuration and opens the file, which has this number, or this name from the application. Also
    /// returns whether there are audio and video tracks.
    fn new_session(
        &self,
        begin: Begin,
        tracks: &[MediaRecorderPad],
        upstreams: &Upstreams,
        past: Option<&Keeping>,
        (number, named): (u32, Option<String>),
    ) -> Result<(Arc<Session>, [bool; 2]), Refusal> {
        let values = lock(&self.values).clone();
        let pattern = values
            .location
            .as_ref()
            .filter(|pattern| !pattern.is_empty());
        let numbered = pattern.map(|pattern| location::numbered(pattern, number));
        let file = named.or(numbered.transpose()?);
        let may_split = self.may_split(&values)?;
        let fallback = self.fallback_for(&values, number)?;
        let (inputs, specs) =
            self.specs(tracks, upstreams, past, &values.mime_type, file.as_deref());
        check(&values, file.as_deref(), &inputs)?;
        check_decoders(tracks, &inputs)?;
        check_free_space(&values, file.as_deref())?;
        let dispatcher = self
            .dispatcher
            .get()
            .ok_or_else(|| Error::unknown("start: the element is not complete"))?;
        self.output.set_limits(
            values.max_memory,
            values.temp_dir.as_ref().map(std::path::PathBuf::from),
        );
        let session = Session::start(
            SessionConfig {
                id: lock(&self.control).next_session,
                fallback,
                settings: Settings {
                    may_split,
                    ..values.for_recording(file, self.tags())
                },
                tracks: specs,
                clock: self.clock.clone(),
                events: dispatcher.open(),
                src: self.output.clone(),
                delegate: Arc::new(Owner(self.obj().downgrade())),
                numbers: self.files.clone(),
                ring: self.ring.clone(),
            },
            begin,
        )?;
        let has = |kind| inputs.iter().any(|input| input.kind == kind);
        Ok((session, [has(Kind::Audio), has(Kind::Video)]))
    }

    /// Makes `session` the current recording: changes from here on are forwarded to it.
    fn enter(
        &self,
        session: &Arc<Session>,
        [has_audio, has_video]: [bool; 2],
        tracks: &[MediaRecorderPad],
    ) {
        lock(&self.values).bitrates.start(has_audio, has_video);
        let mut control = lock(&self.control);
        control.next_session += 1;
        control.state = State::Recording;
        control.latest = None;
        control.actual = None;
        control.sessions.push(session.clone());
        control.current = Some(session.clone());
        drop(control);
        session.expect_bitrates(&lock(&self.values).bitrates);
        for pad in tracks {
            let chapters = pad.stream().chapters();
            session.expect_chapters(&pad.name(), chapters);
        }
    }

    /// Undoes [`Self::enter`] for a session that could not run.
    fn leave(&self, session: &Arc<Session>, tracks: &[MediaRecorderPad]) {
        for pad in tracks {
            pad.stream().keep_from(session.id());
        }
        self.set_state_value(State::Inactive);
        let mut control = lock(&self.control);
        control.sessions.retain(|other| other.id() != session.id());
    }

    /// The pads that are not at EOS; an error if there is nothing to record.
    fn live_tracks(&self) -> Result<Vec<MediaRecorderPad>, Error> {
        let obj = self.obj();
        let state = obj.current_state();
        // During READY→PAUSED the pads are already active, and live buffers may have arrived.
        let rises = state == gst::State::Ready && obj.pending_state() >= gst::State::Paused;
        // Checked under the lock: a recording started after the downward change would never be ended.
        if state < gst::State::Paused && !rises || lock(&self.hold).down {
            return Err(Error::not_supported(format!(
                "start: the element is in {}, where no data flows; set the pipeline to PAUSED or PLAYING first",
                state.name()
            )));
        }
        let pads = self.tracks();
        if pads.is_empty() {
            return Err(Error::not_supported(
                "start: there is no track to record; request an audio_%u or video_%u pad and link a source to it",
            ));
        }
        let live: Vec<_> = pads.into_iter().filter(|pad| !pad.stream().eos).collect();
        if live.is_empty() {
            return Err(Error::not_supported(
                "start: all tracks have ended (EOS); at least one has to be live",
            ));
        }
        Ok(live)
    }

    /// Queries the upstream of every pad. Calls out of the element: call without a lock.
    pub(super) fn upstreams(&self) -> Upstreams {
        let pads = self.tracks();
        pads.iter()
            .map(|pad| (pad.name().to_string(), Upstream::of(pad.upcast_ref())))
            .collect()
    }

    fn specs(
        &self,
        tracks: &[MediaRecorderPad],
        upstreams: &Upstreams,
        past: Option<&Keeping>,
        mime_type: &str,
        location: Option<&str>,
    ) -> (Vec<TrackInput>, Vec<TrackSpec>) {
        let mut inputs = Vec::new();
        let mut specs = Vec::new();
        for pad in tracks {
            let caps = pad.stream().caps.clone();
            let name = pad.name();
            let mut asked = upstreams.iter();
            let upstream = asked.find(|(asked, _)| *asked == *name);
            let upstream = upstream.map_or(Upstream::UNKNOWN, |(_, upstream)| *upstream);
            let kind = pad.kind();
            inputs.push(TrackInput {
                kind,
                encoded: caps
                    .as_ref()
                    .and_then(|caps| formats::copied_codec(caps, mime_type, location)),
            });
            specs.push(TrackSpec {
                name: name.to_string(),
                kind,
                live: upstream.live,
                latency: upstream.latency,
                origin: past
                    .and_then(|past| past.track(&name))
                    .map_or(Origin::Pad, |track| track.origin()),
            });
        }
        (inputs, specs)
    }

    fn tags(&self) -> Option<gst::TagList> {
        let obj = self.obj();
        obj.upcast_ref::<gst::Element>()
            .dynamic_cast_ref::<gst::TagSetter>()
            .and_then(|setter| setter.tag_list())
    }

    /// The expected caps of the next recording, for the `src` pad before it starts.
    pub(super) fn probable_caps(&self) -> Option<gst::Caps> {
        let values = lock(&self.values).clone();
        let kinds: Vec<TrackInput> = self
            .tracks()
            .iter()
            .map(|pad| TrackInput {
                kind: pad.kind(),
                encoded: None,
            })
            .collect();
        formats::choose(&values.mime_type, values.location.as_deref(), &kinds)
            .ok()
            .map(|plan| plan.caps())
    }
}

/// Subscribes a recording to new buffers and makes its first cut.
fn listen(session: &Arc<Session>, tracks: &[MediaRecorderPad]) {
    for (index, pad) in tracks.iter().enumerate() {
        // Mute changes from here on are forwarded in order.
        let _muting = pad.muting();
        let subscriber = Subscriber::Recording(session.clone(), index);
        pad.stream().subscribe(subscriber);
        if pad.is_muted() {
            session.start_muted(index);
        }
    }
    session.listen();
}

/// Like [`listen`], with the first cut in the past.
fn listen_to_past(
    session: &Arc<Session>,
    tracks: &[MediaRecorderPad],
    past: &Keeping,
) -> Beginning {
    for (index, pad) in tracks.iter().enumerate() {
        if pad.stream().cannot_be_turned() {
            session.refuse_backwards(index);
        }
    }
    let beginning = past.beginning(session.now());
    session.listen_to_past(&beginning.intervals, past.timeline());
    beginning
}
