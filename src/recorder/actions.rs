//! The actions, and everything else that starts or ends a recording.

use super::{
    guard::guarded,
    imp::MediaRecorder,
    properties::{self, Values},
    subscriber::Subscriber,
    upstream::Upstream,
};
use crate::{
    formats::{self, Missing, Refusal, TrackInput},
    model::{Bitrates, Command, Effect, Error, Kind, MimeType, State, VideoSize, location},
    output::free_space,
    prelude::{Beginning, Keeping},
    session::{
        Begin, HeldEvents, Origin, Session, SessionConfig, SessionDelegate, Settings, TrackSpec,
        lock,
    },
};
use gst::{prelude::*, subclass::prelude::*};
use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// Liveness and latency of each pad's upstream, by pad name.
type Upstreams = Vec<(String, Upstream)>;

impl MediaRecorder {
    /// Runs an action; `state` is up to date on return.
    pub(super) fn act(&self, command: Command) -> Result<(), Error> {
        self.act_with(command, "")
    }

    /// Adds a mark at the current instant.
    pub(super) fn mark(&self, title: &str) -> Result<(), Error> {
        self.act_with(Command::Mark, title)
    }

    fn act_with(&self, command: Command, title: &str) -> Result<(), Error> {
        let done = self.try_to_act(command, title);
        if let Err(error) = &done {
            gst::info!(
                super::imp::CAT,
                imp = self,
                "{command:?} is refused: {error}"
            );
        }
        done
    }

    /// `title` is the title of a mark.
    fn try_to_act(&self, command: Command, title: &str) -> Result<(), Error> {
        crate::fault::place("action");
        let upstreams = match command {
            Command::Start => self.upstreams(),
            _ => Vec::new(),
        };
        let named = match command {
            Command::Start => self.name_of_first()?,
            _ => None,
        };
        let acting = lock(&self.acting);
        let effect = self.state().apply(command)?;
        self.follow_base_time();
        gst::info!(super::imp::CAT, imp = self, "{command:?} {effect}");
        let before = self.readings();
        let current = lock(&self.control).current.clone();
        let events = match (effect, current) {
            (Effect::Nothing, _) => return Ok(()),
            (Effect::To(State::Recording), None) => match self.begin(Begin::Now, &upstreams, named)
            {
                Ok(events) => events,
                Err(refusal) => {
                    drop(acting);
                    self.post_missing(&refusal.missing);
                    return Err(refusal.error);
                }
            },
            (Effect::To(state), Some(session)) => {
                let events = session.hold_events().ok_or_else(|| just_ended(command))?;
                let done = match state {
                    State::Recording => session.resume(),
                    State::Paused => session.pause(),
                    State::Inactive => session.stop(),
                };
                if !done {
                    return Err(just_ended(command));
                }
                self.set_state_value(state);
                events
            }
            (Effect::Part, Some(session)) => {
                self.can_split("split-now", session.pattern())?;
                if !session.split_now() {
                    return Err(just_ended(command));
                }
                drop(acting);
                self.ask_for_key_frames();
                return Ok(());
            }
            (Effect::Blob | Effect::Mark, Some(session)) => {
                let done = match effect {
                    Effect::Mark => session.mark(title),
                    _ => session.request_data(),
                };
                return if done {
                    Ok(())
                } else {
                    Err(just_ended(command))
                };
            }
            (_, None) => return Ok(()),
        };
        drop(acting);
        self.ask_for_key_frames();
        self.tell_state(&before);
        drop(events);
        Ok(())
    }

    /// Makes the current recording request the keyframes it needs now.
    fn ask_for_key_frames(&self) {
        let current = lock(&self.control).current.clone();
        if let Some(session) = current {
            session.ask_for_key_frames();
        }
    }

    /// Sets `state`; the caller notifies, without holding a lock.
    fn set_state_value(&self, state: State) {
        let mut control = lock(&self.control);
        control.state = state;
        if state == State::Inactive {
            control.current = None;
            control.actual = None;
            drop(control);
            lock(&self.values).bitrates.end();
        }
    }

    /// Handles a recording that ended on its own: sets `state` to inactive.
    pub(super) fn session_ended(&self, id: u64) {
        let acting = lock(&self.acting);
        let current = lock(&self.control).current.as_ref().map(|s| s.id());
        if current != Some(id) {
            return;
        }
        let before = self.readings();
        self.set_state_value(State::Inactive);
        drop(acting);
        self.tell_state(&before);
    }

    /// `autostart`: starts a recording at the first buffer, in that buffer's streaming thread. First buffers of other
    /// pads block here until the recording takes them.
    pub(super) fn autostart(&self) {
        let upstreams = self.upstreams();
        let named = self.name_of_first();
        let acting = lock(&self.acting);
        if !self.armed.load(Ordering::SeqCst) {
            return;
        }
        let before = self.readings();
        let mut missing = Vec::new();
        let begun = match self.state() {
            State::Inactive => guarded(|| {
                let begun = named.map_err(Refusal::from);
                let begun =
                    begun.and_then(|named| self.begin(Begin::EarliestBuffer, &upstreams, named));
                begun.map_err(|refusal| {
                    missing = refusal.missing;
                    refusal.error
                })
            }),
            State::Recording | State::Paused => {
                self.armed.store(false, Ordering::SeqCst);
                return;
            }
        };
        self.armed.store(false, Ordering::SeqCst);
        match begun {
            Ok(events) => {
                let mut control = lock(&self.control);
                control.autostarted = control.current.as_ref().map(|s| s.id());
                drop(control);
                drop(acting);
                self.tell_state(&before);
                drop(events);
            }
            Err(error) => {
                drop(acting);
                self.post_missing(&missing);
                gst::element_imp_error!(self, gst::LibraryError::Failed, ("{}", error.message()));
            }
        }
    }

    /// Checks everything, then starts: nothing can fail after the state has changed. Events are held back until the
    /// caller has notified the state. `named`: the file name from the application, if any.
    fn begin(
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
        let number = self.files.load(Ordering::SeqCst);
        let values = lock(&self.values).clone();
        let pattern = values
            .location
            .as_ref()
            .filter(|pattern| !pattern.is_empty());
        let numbered = pattern.map(|pattern| location::numbered(pattern, number));
        let file = named.or(numbered.transpose()?);
        let may_split = self.may_split(&values)?;
        let fallback = self.fallback_for(&values, number)?;
        let (inputs, specs) = self.specs(
            &tracks,
            upstreams,
            past.as_ref().map(|past| &***past),
            &values.mime_type,
            file.as_deref(),
        );
        check(&values, file.as_deref(), &inputs)?;
        check_decoders(&tracks, &inputs)?;
        check_free_space(&values, file.as_deref())?;
        let dispatcher = self
            .dispatcher
            .get()
            .ok_or_else(|| Error::unknown("start: the element is not complete"))?;
        let has = |kind| inputs.iter().any(|input| input.kind == kind);
        let id = lock(&self.control).next_session;
        self.output.set_limits(
            values.max_memory,
            values.temp_dir.as_ref().map(std::path::PathBuf::from),
        );
        let session = Session::start(
            SessionConfig {
                id,
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
        lock(&self.values)
            .bitrates
            .start(has(Kind::Audio), has(Kind::Video));
        let mut control = lock(&self.control);
        control.next_session += 1;
        self.files.fetch_add(1, Ordering::SeqCst);
        control.state = State::Recording;
        control.latest = None;
        control.actual = None;
        control.sessions.push(session.clone());
        control.current = Some(session.clone());
        drop(control);
        // Changes from here on are forwarded to the session.
        session.expect_bitrates(&lock(&self.values).bitrates);
        for pad in &tracks {
            let chapters = pad.stream().chapters();
            session.expect_chapters(&pad.name(), chapters);
        }
        // Last, because on-start may be emitted at once.
        if let Err(error) = session.run() {
            for pad in &tracks {
                pad.stream().keep_from(id);
            }
            if let Some((past, beginning)) = beginning {
                past.forget(beginning);
            }
            self.set_state_value(State::Inactive);
            let mut control = lock(&self.control);
            self.files.fetch_sub(1, Ordering::SeqCst);
            control.sessions.retain(|session| session.id() != id);
            return Err(error.into());
        }
        if let Some((past, beginning)) = beginning {
            // Mute changes from here on are forwarded in order.
            let _muting: Vec<_> = tracks.iter().map(|pad| pad.muting()).collect();
            let names: Vec<_> = tracks.iter().map(|pad| pad.name().to_string()).collect();
            past.feed(beginning, &session, &names);
        }
        Ok(events)
    }

    /// Whether the recording can be split into parts; an error if splitting is configured but impossible.
    fn may_split(&self, values: &Values) -> Result<bool, Error> {
        let pattern = values.location.as_deref();
        let pattern = pattern.filter(|pattern| !pattern.is_empty());
        let asking = [
            ("max-size-time", values.max_size_time),
            ("max-size-bytes", values.max_size_bytes),
            ("max-total-bytes", values.max_total_bytes),
        ];
        let mut asking = asking.into_iter();
        let asked = asking.find(|(_, limit)| *limit > 0);
        match asked {
            Some((name, _)) => {
                self.can_fall_back(&format!("start: {name} is set"), values)?;
                let can_split = self.can_split(&format!("start: {name} is set"), pattern);
                can_split.map(|()| true)
            }
            // Without a file the recording is a single stream of blobs.
            None => Ok(
                (pattern.is_some() || self.names_files()) && self.can_split("", pattern).is_ok()
            ),
        }
    }

    /// The file to use if `location` cannot be opened.
    fn fallback_for(&self, values: &Values, number: u32) -> Result<Option<String>, Error> {
        let Some(fallback) = values.fallback() else {
            return Ok(None);
        };
        if self.output.is_linked() {
            return Err(Error::not_supported(
                "start: fallback-location is set, but the src pad is linked, and what leaves there is one stream; record \
                 into location alone, or do not link src",
            ));
        }
        location::numbered(&fallback, number).map(Some)
    }

    /// Checks that `fallback-location` can name more than one part.
    fn can_fall_back(&self, what: &str, values: &Values) -> Result<(), Error> {
        match values.fallback() {
            Some(fallback) if !location::is_numbered(&fallback) => {
                Err(Error::not_supported(format!(
                    "{what}, but fallback-location \"{fallback}\" names one file only; put %d or %05d into it, which goes on \
                     counting the parts"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Checks that files named by `pattern` can be split into parts.
    fn can_split(&self, what: &str, pattern: Option<&str>) -> Result<(), Error> {
        if self.output.is_linked() {
            return Err(Error::not_supported(format!(
                "{what}, but the src pad is linked, and what leaves there is one stream; record into location, or \
                 take the parts from on-data-available"
            )));
        }
        match pattern {
            Some(pattern) if !location::is_numbered(pattern) && !self.names_files() => {
                Err(Error::not_supported(format!(
                    "{what}, but location \"{pattern}\" names one file only; put %d or %05d into it, which counts the \
                     parts, or connect to format-location"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The pads that are not at EOS; an error if there is nothing to record.
    fn live_tracks(&self) -> Result<Vec<super::MediaRecorderPad>, Error> {
        let obj = self.obj();
        let state = obj.current_state();
        // During READY→PAUSED the pads are already active, and live buffers may have arrived.
        let rises = state == gst::State::Ready && obj.pending_state() >= gst::State::Paused;
        // Checked under the lock: a recording started after the downward change would never be ended.
        if state < gst::State::Paused && !rises || lock(&self.hold).down {
            return Err(Error::not_supported(format!(
                "start: the element is in {}, nothing can flow; set the pipeline to PAUSED or \
                 PLAYING first",
                state.name()
            )));
        }
        let pads = self.tracks();
        if pads.is_empty() {
            return Err(Error::not_supported(
                "start: there is no track to record; request a pad audio_%u or video_%u and link \
                 a source to it",
            ));
        }
        let live: Vec<_> = pads.into_iter().filter(|pad| !pad.stream().eos).collect();
        if live.is_empty() {
            return Err(Error::not_supported(
                "start: all tracks have ended (EOS); a track that goes on is needed",
            ));
        }
        Ok(live)
    }

    /// Queries the upstream of every pad. Calls out of the element: call without a lock.
    fn upstreams(&self) -> Upstreams {
        let pads = self.tracks();
        pads.iter()
            .map(|pad| (pad.name().to_string(), Upstream::of(pad.upcast_ref())))
            .collect()
    }

    fn specs(
        &self,
        tracks: &[super::MediaRecorderPad],
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

    /// Handles a write to one of the bit-rate properties; `before` has the previous values.
    pub(super) fn rates_changed(&self, written: &str, before: &Bitrates) {
        let (bitrates, current) = {
            let current = lock(&self.control).current.clone();
            (lock(&self.values).bitrates.clone(), current)
        };
        if let Some(session) = current {
            // A default that has followed the tracks since the encoders were created does not apply to them.
            session.set_bitrates(&bitrates, |kind| {
                written.starts_with(kind.name()) || bitrates.of(kind) != before.of(kind)
            });
        }
        self.set_past_bitrates(&bitrates);
        for name in properties::RATES {
            if name != written {
                self.obj().notify(name);
            }
        }
    }

    /// Updates the default of `video-bits-per-second` from the tracks, until the property is set.
    pub(super) fn follow_video_size(&self) {
        let sizes: Vec<VideoSize> = self
            .tracks()
            .iter()
            .filter_map(|pad| {
                let caps = pad.stream().caps.clone()?;
                let (width, height, fps) = formats::encoded_size(&caps)?;
                Some(VideoSize { width, height, fps })
            })
            .collect();
        let (changed, bitrates) = {
            let mut values = lock(&self.values);
            let before = values.bitrates.video();
            values.bitrates.follow(&sizes);
            let changed = values.bitrates.video() != before;
            (changed, values.bitrates.clone())
        };
        if changed {
            self.set_past_bitrates(&bitrates);
            let current = lock(&self.control).current.clone();
            if let Some(session) = current {
                // Running encoders keep their initial size and bit rate.
                session.expect_bitrates(&bitrates);
            }
            self.obj().notify("video-bits-per-second");
        }
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

    /// Fails the current recording because a track was added or removed.
    pub(super) fn tracks_modified(&self, what: String) {
        let current = lock(&self.control).current.clone();
        if let Some(session) = current {
            session.tracks_modified(Error::invalid_modification(what));
        }
    }

    /// PAUSED→READY: ends the current recording and waits for its completion.
    pub(super) fn go_down(&self) {
        {
            let mut hold = lock(&self.hold);
            hold.playing = false;
            hold.down = true;
        }
        self.held.notify_all();
        self.armed.store(false, Ordering::SeqCst);
        // Once locked, no action is in progress and no recording can start any more.
        let acting = lock(&self.acting);
        let (sessions, current) = {
            let control = lock(&self.control);
            (control.sessions.clone(), control.current.clone())
        };
        // A thread that has acted and is about to notify may be waiting for this.
        for session in &sessions {
            session.let_events_go();
        }
        let before = self.readings();
        let is_on = current.is_some();
        let events = current.and_then(|session| session.hold_events());
        for session in &sessions {
            session.go_down();
        }
        self.finish_past();
        if is_on {
            self.set_state_value(State::Inactive);
        }
        drop(acting);
        if is_on {
            self.tell_state(&before);
        }
        drop(events);
        if sessions.iter().any(|session| session.is_current_thread()) {
            return;
        }
        let timeout = Duration::from_nanos(lock(&self.values).stop_timeout);
        for session in &sessions {
            let drain = session.settings().stop_timeout * 2 + Duration::from_secs(1);
            if !session.wait(drain) {
                gst::warning!(super::imp::CAT, imp = self, "A recording does not end.");
            }
        }
        if let Some(dispatcher) = self.dispatcher.get()
            && !dispatcher.is_current_thread()
            && !dispatcher.wait_until_idle(timeout)
        {
            gst::warning!(super::imp::CAT, imp = self, "A handler takes its time.");
        }
    }
}

/// Subscribes a recording to new buffers and makes its first cut.
fn listen(session: &Arc<Session>, tracks: &[super::MediaRecorderPad]) {
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
    tracks: &[super::MediaRecorderPad],
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

/// The recording has ended, but `state` is not notified before its final events.
fn just_ended(command: Command) -> Error {
    Error::invalid_state(format!(
        "{command:?}: the recording has just ended, see on-error and on-stop; start begins the \
         next one"
    ))
}

/// Checks the configuration of a recording before it starts.
fn check(
    values: &properties::Values,
    location: Option<&str>,
    inputs: &[TrackInput],
) -> Result<(), Refusal> {
    if let Some(name) = values.garbled.first() {
        return Err(Error::not_supported(format!(
            "start: what was written to {name} is not UTF-8; write it as UTF-8"
        ))
        .into());
    }
    if values.key_interval_ms > 0 && values.key_interval_frames > 0 {
        return Err(Error::not_supported(
            "start: video-key-frame-interval-duration and video-key-frame-interval-count are \
             both set; set one of them to 0",
        )
        .into());
    }
    if !values.mime_type.is_empty() {
        MimeType::parse(&values.mime_type)?;
    }
    formats::choose(&values.mime_type, location, inputs).map(|_| ())
}

/// Checks `min-free-space`.
fn check_free_space(values: &Values, file: Option<&str>) -> Result<(), Error> {
    let least = values.min_free_space;
    let Some(file) = file.filter(|_| least > 0) else {
        return Ok(());
    };
    // Problems with the directory are reported when the file is opened.
    match free_space(Path::new(file)) {
        Ok(Some(free)) if free < least => Err(Error::unknown(format!(
            "start: {free} bytes are free where location \"{file}\" is, but min-free-space asks for {least}; make room, \
             lower min-free-space, or name another disk"
        ))),
        _ => Ok(()),
    }
}

/// Checks that tracks that are not copied can be decoded, if their caps are known.
fn check_decoders(pads: &[super::MediaRecorderPad], inputs: &[TrackInput]) -> Result<(), Refusal> {
    let decoded = pads.iter().zip(inputs);
    for (pad, _) in decoded.filter(|(_, input)| input.encoded.is_none()) {
        let Some(caps) = pad.stream().caps.clone() else {
            continue;
        };
        if !formats::is_raw(&caps) && !formats::can_decode(&caps) {
            return Err(Refusal {
                error: Error::not_supported(format!(
                    "start: {caps} on {} would have to be decoded, and nothing here does; install a decoder \
                     (gstreamer1.0-libav has most), or ask for a mime-type that takes it as it comes",
                    pad.name()
                )),
                missing: vec![Missing::Decoder(caps)],
            });
        }
    }
    Ok(())
}

/// The recorder as seen by its recordings.
pub(super) struct Owner(pub(super) glib::WeakRef<super::MediaRecorder>);

impl Owner {
    fn pad(&self, name: &str) -> Option<(super::MediaRecorder, super::MediaRecorderPad)> {
        let recorder = self.0.upgrade()?;
        let pad = recorder.static_pad(name)?.downcast().ok()?;
        Some((recorder, pad))
    }
}

impl SessionDelegate for Owner {
    fn name(&self) -> String {
        let recorder = self.0.upgrade();
        recorder.map_or_else(String::new, |recorder| recorder.name().to_string())
    }

    fn encoder_setup(&self, pad: &str, encoder: &gst::Element) {
        if let Some((recorder, pad)) = self.pad(pad) {
            recorder.emit_by_name::<()>("encoder-setup", &[&pad, encoder]);
        }
    }

    fn request_key_frame(&self, pad: &str, running: u64) {
        if let Some((_, pad)) = self.pad(pad) {
            let running = pad.stream().upstream_time(running);
            let event = gst_video::UpstreamForceKeyUnitEvent::builder()
                .running_time(gst::ClockTime::from_nseconds(running))
                .all_headers(true)
                .build();
            pad.push_event(event);
        }
    }

    fn file_name(&self, part: u32) -> Result<Option<String>, Error> {
        let recorder = self.0.upgrade();
        recorder.map_or(Ok(None), |recorder| recorder.imp().file_name(part))
    }

    fn tags(&self, pad: &str) -> Option<gst::TagList> {
        self.pad(pad)?.1.stream().tags.clone()
    }

    fn finished(&self, session: u64) {
        if let Some(recorder) = self.0.upgrade() {
            for pad in recorder.imp().tracks() {
                pad.stream().keep_from(session);
            }
        }
    }
}
