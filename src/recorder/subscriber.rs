//! Subscribers of a pad's stream: a recording, or the past.

use super::imp::CAT;
use crate::{
    gate::Input,
    model::timeline::Ns,
    prelude::KeptTrack,
    session::{Flow, Session},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

/// See the module.
#[derive(Clone)]
pub enum Subscriber {
    /// A recording, and the index of this pad's track in it.
    Recording(Arc<Session>, usize),
    Past(Arc<KeptTrack>),
}

impl Subscriber {
    /// Whether this is the recording with this id.
    pub fn is_of(&self, session: u64) -> bool {
        match self {
            Subscriber::Recording(subscriber, _) => subscriber.id() == session,
            Subscriber::Past(_) => false,
        }
    }

    /// Whether it no longer needs input.
    pub fn is_over(&self) -> bool {
        match self {
            Subscriber::Recording(..) => false,
            Subscriber::Past(track) => track.is_over(),
        }
    }

    /// See [`Session::push`].
    pub fn push(&self, input: Input, now: Option<Ns>) -> Flow {
        match self {
            Subscriber::Recording(session, track) => session.push(*track, input, now),
            Subscriber::Past(track) => track.push(input, now),
        }
    }

    /// See [`Session::replay`].
    pub fn replay(&self, input: Input) {
        match self {
            Subscriber::Recording(session, track) => session.replay(*track, input),
            Subscriber::Past(track) => track.replay(input),
        }
    }

    pub fn set_caps(&self, caps: &gst::Caps) {
        match self {
            Subscriber::Recording(session, track) => session.set_caps(*track, caps),
            Subscriber::Past(track) => track.set_caps(caps),
        }
    }

    pub fn set_tags(&self, tags: &gst::TagList) {
        match self {
            Subscriber::Recording(session, track) => session.set_tags(*track, tags),
            Subscriber::Past(track) => track.set_tags(tags),
        }
    }

    pub fn forget_tags(&self) {
        match self {
            Subscriber::Recording(session, track) => session.forget_tags(*track),
            Subscriber::Past(track) => track.forget_tags(),
        }
    }

    pub fn set_upstream(&self, live: bool, latency: Duration) {
        match self {
            Subscriber::Recording(session, track) => session.set_upstream(*track, live, latency),
            Subscriber::Past(track) => track.set_upstream(live, latency),
        }
    }

    pub fn lose(&self) {
        match self {
            Subscriber::Recording(session, track) => session.lose(*track),
            Subscriber::Past(track) => track.lose(),
        }
    }

    pub fn gap(&self, end: Ns) {
        match self {
            Subscriber::Recording(session, track) => session.gap(*track, end),
            Subscriber::Past(track) => track.gap(end),
        }
    }

    pub fn begin_anew(&self) {
        match self {
            Subscriber::Recording(session, track) => session.begin_anew(*track),
            Subscriber::Past(track) => track.begin_anew(),
        }
    }

    pub fn set_flushing(&self, flushing: bool) {
        match self {
            Subscriber::Recording(session, track) => session.set_flushing(*track, flushing),
            Subscriber::Past(track) => track.set_flushing(flushing),
        }
    }

    pub fn end_track(&self) {
        match self {
            Subscriber::Recording(session, track) => session.end_track(*track),
            Subscriber::Past(track) => track.end(),
        }
    }

    pub fn refuse_backwards(&self) {
        match self {
            Subscriber::Recording(session, track) => session.refuse_backwards(*track),
            Subscriber::Past(track) => track.refuse_backwards(),
        }
    }

    /// See [`Session::mute`]; contains panics.
    pub fn mute(&self, muted: bool, from: Option<Ns>) {
        match self {
            Subscriber::Recording(session, track) => session.contain(|session| {
                session.mute(*track, muted, from);
            }),
            Subscriber::Past(track) => {
                let mute = AssertUnwindSafe(|| track.mute(muted, from));
                if catch_unwind(mute).is_err() {
                    gst::error!(
                        CAT,
                        "The pre-record buffer of {} cannot be muted",
                        track.name()
                    );
                }
            }
        }
    }
}
