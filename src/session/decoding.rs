//! Which tracks are decoded in front of their gates, and by which decoder.

use super::{
    Event, Session,
    decoder::{Decoded, Decoder, Failure},
    lock,
    track::Flow,
};
use crate::{
    formats::{self, Missing},
    gate::Input,
    model::{Error, timeline::Ns},
};
use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Minimum time between replacements of failed decoders.
const AGAIN: Ns = 1_000_000_000;
/// How long to wait for a decoder to drain when it is replaced.
const DRAIN: Duration = Duration::from_millis(500);

/// Decoding state of one track.
#[derive(Debug, Default)]
pub struct Decoding {
    state: Mutex<State>,
    /// Whether there is a decoder.
    decodes: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Whether media with the track's first caps is copied into the file.
    copied: Option<bool>,
    decoder: Option<Arc<Decoder>>,
    /// Running time from which on a failed decoder may be replaced.
    again: Ns,
    /// Something has been decoded.
    begun: bool,
    /// A decoder failure has been reported.
    warned: bool,
    /// The recording has ended.
    closed: bool,
}

impl Decoding {
    fn decoder(&self) -> Option<Arc<Decoder>> {
        if self.decodes.load(Ordering::Acquire) {
            lock(&self.state).decoder.clone()
        } else {
            None
        }
    }

    /// Replaces the decoder, and returns the old one.
    fn exchange(&self, decoder: Option<Decoder>) -> Option<Arc<Decoder>> {
        let mut state = lock(&self.state);
        let decoder = decoder.filter(|_| !state.closed).map(Arc::new);
        self.decodes.store(decoder.is_some(), Ordering::Release);
        std::mem::replace(&mut state.decoder, decoder)
    }
}

impl Session {
    pub(super) fn decoder(&self, track: usize) -> Option<Arc<Decoder>> {
        self.decoding.get(track)?.decoder()
    }

    /// Handles new caps of a track.
    pub fn set_caps(&self, track: usize, caps: &gst::Caps) {
        let Some(decoding) = self.decoding.get(track) else {
            return;
        };
        let is_copied = {
            let settings = &self.settings;
            let mut state = lock(&decoding.state);
            *state.copied.get_or_insert_with(|| {
                formats::copied_codec(caps, &settings.mime_type, self.settings.location.as_deref())
                    .is_some()
            })
        };
        if is_copied || formats::is_raw(caps) {
            if let Some(old) = decoding.decoder() {
                old.drain_within(DRAIN);
                decoding.exchange(None);
            }
            return self.set_track_caps(track, caps);
        }
        if let Some(decoder) = decoding.decoder() {
            if decoder.set_caps(caps) {
                return;
            }
            decoder.drain_within(DRAIN);
        }
        self.decode(track, caps);
    }

    /// Decodes a track's media from here on.
    fn decode(&self, index: usize, caps: &gst::Caps) {
        let (Some(decoding), Some(track)) = (self.decoding.get(index), self.tracks.get(index))
        else {
            return;
        };
        if !formats::can_decode(caps) {
            return self.cannot_decode(index, caps, Failure::NoDecoder);
        }
        let session: Weak<Session> = self.this.clone();
        let limit = track.is_live().then(|| self.settings.queue_limit());
        let made = Decoder::new(track.name(), caps, limit, move |decoded| {
            if let Some(session) = session.upgrade() {
                session.decoded(index, decoded);
            }
        });
        track.begin_decoded(!formats::is_intra_only(caps));
        match made {
            // Drop the old one in this thread, which is not one of its own.
            Ok(decoder) => drop(decoding.exchange(Some(decoder))),
            Err(err) => {
                self.cannot_decode(index, caps, Failure::Damaged(err.to_string()));
            }
        }
    }

    /// Handles a buffer of a track that is decoded.
    pub(super) fn push_encoded(&self, index: usize, decoder: &Decoder, input: Input) -> Flow {
        let Some(track) = self.tracks.get(index) else {
            return Flow::Done;
        };
        if track.is_closed() {
            return Flow::Done;
        }
        if decoder.has_failed() {
            let is_due = self.decoding.get(index).is_some_and(|decoding| {
                let mut state = lock(&decoding.state);
                let is_due = input.running >= state.again;
                if is_due {
                    state.again = input.running.saturating_add(AGAIN);
                }
                is_due
            });
            if is_due {
                self.decode(index, &decoder.caps());
                if let Some(next) = self.decoder(index) {
                    // A new decoder has room.
                    let _ = next.push(input);
                }
            }
        } else if let Err(input) = decoder.push(input) {
            track.drop_one(&input);
        }
        if track.is_closed() {
            Flow::Done
        } else {
            Flow::More
        }
    }

    /// Handles a decoder's output.
    fn decoded(&self, index: usize, decoded: Decoded) {
        let Some(track) = self.tracks.get(index) else {
            return;
        };
        match decoded {
            Decoded::Caps(caps) => self.set_track_caps(index, &caps),
            Decoded::Buffer(input) => {
                if let Some(decoding) = self.decoding.get(index) {
                    lock(&decoding.state).begun = true;
                }
                self.push_raw(index, track, input, None);
            }
            Decoded::Replayed(input) => track.replay(input),
            Decoded::Gap(end) => track.gap(end),
            Decoded::Turn(turn) => track.set_orientation(turn),
            Decoded::End => track.end(),
            Decoded::Failed(failure) => {
                if let Some(decoder) = self.decoder(index) {
                    self.cannot_decode(index, &decoder.caps(), failure);
                }
            }
        }
    }

    /// Handles a decoder failure. After media that could be decoded, there may be more of that.
    fn cannot_decode(&self, index: usize, caps: &gst::Caps, failure: Failure) {
        let (Some(track), Some(decoding)) = (self.tracks.get(index), self.decoding.get(index))
        else {
            return;
        };
        let name = track.name();
        match failure {
            Failure::NoDecoder => {
                if let Some(part) = self.part() {
                    part.events
                        .push(Event::Missing(vec![Missing::Decoder(caps.clone())]));
                }
                self.fail(Error::not_supported(format!(
                    "The track of {name} cannot be recorded: no installed decoder accepts {caps}. Install one \
                     (gstreamer1.0-libav has most), or set a mime-type that can contain it without transcoding."
                )));
            }
            Failure::Damaged(what) => {
                let mut state = lock(&decoding.state);
                let (begun, warned) = (state.begun, std::mem::replace(&mut state.warned, true));
                drop(state);
                if !begun {
                    self.fail(Error::unknown(format!(
                        "The track of {name} cannot be recorded: no installed decoder can decode it, it is damaged \
                         or does not match its caps ({caps}): {what}. Leave mime-type empty to store it without \
                         transcoding, or decode it upstream of the recorder."
                    )));
                } else if !warned {
                    self.backpressure.warn(format!(
                        "The decoder of {name} has failed: {what}. Another one decodes from here on."
                    ));
                }
            }
        }
    }

    /// Has the decoders output all frames that they hold.
    pub(super) fn drain_decoders(&self) {
        for decoder in self.decoding.iter().filter_map(Decoding::decoder) {
            decoder.drain_within(DRAIN);
        }
    }

    /// Stops all decoding. Must not be called in a decoder's thread.
    pub(super) fn close_decoders(&self) {
        for decoding in &self.decoding {
            lock(&decoding.state).closed = true;
            drop(decoding.exchange(None));
        }
    }

    fn set_track_caps(&self, index: usize, caps: &gst::Caps) {
        if let Some(track) = self.tracks.get(index)
            && let Err(err) = track.set_caps(caps)
        {
            self.fail(Error::not_supported(format!(
                "The track of {} cannot be recorded ({caps}): {err}",
                track.name()
            )));
        }
    }
}
