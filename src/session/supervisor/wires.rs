//! What the pipeline says, brought to the session.

use crate::{
    model::Error,
    session::{Session, lock, pipeline::Listener},
};
use std::sync::Arc;

/// What the pipeline says, brought to the session.
pub(super) struct Wires {
    pub(super) session: Arc<Session>,
    /// The pads of its tracks, in order.
    pub(super) names: Vec<String>,
}

impl Listener for Wires {
    fn seek(&self, position: u64) {
        self.session.contain(|session| {
            crate::fault::place("seek");
            session.with_writer(|writer, _| writer.seek(position));
        });
    }

    fn caps(&self, caps: &gst::Caps) {
        self.session.contain(|session| {
            crate::fault::place("muxer caps");
            session.with_writer(|writer, _| writer.set_caps(caps));
            lock(&session.control).caps = true;
        });
        self.session.room.wake();
    }

    fn bytes(&self, buffer: gst::Buffer) {
        crate::fault::place("bytes");
        let written = self
            .session
            .with_writer(|writer, events| writer.write(buffer, events));
        if let Err(err) = written {
            let what = match self.session.location() {
                Some(location) => format!("location \"{location}\""),
                None => "The temporary file of the recording".into(),
            };
            self.session
                .fail(Error::unknown(format!("{what} cannot be written: {err}")));
        }
    }

    fn end(&self) {
        self.session.contain(|_| crate::fault::place("drained"));
        lock(&self.session.control).drained = true;
        self.session.done.notify_all();
        self.session.room.wake();
    }

    fn error(&self, error: Error) {
        self.session.fail(error);
    }

    fn encoder(&self, track: usize, encoder: &gst::Element) {
        crate::fault::place("encoder");
        if let Some(name) = self.names.get(track) {
            self.session.host.encoder_setup(name, encoder);
        }
    }

    fn hungry(&self) {
        self.session.room.free();
    }
}
