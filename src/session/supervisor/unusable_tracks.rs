//! Tracks whose new caps cannot be recorded.

use super::Supervisor;
use crate::{
    formats,
    log::CAT,
    model::Error,
    session::{Event, lock},
};

impl Supervisor {
    /// Ends tracks whose new caps cannot be recorded. Returns an error if no other track remains.
    pub(super) fn end_unusable_tracks(&mut self) -> Option<Error> {
        let session = self.session.clone();
        let ended = std::mem::take(&mut lock(&self.part.control).ended_by_caps);
        let mut error = None;
        for (name, caps, at) in ended {
            let Some(track) = session.track_named(&name) else {
                continue;
            };
            track.leave_out();
            let media = caps.structure(0).map_or("nothing", |s| s.name().as_str());
            let why = if formats::can_decode(&caps) || formats::is_raw(&caps) {
                "the headers of its track cannot be replaced"
            } else {
                "nothing here decodes it"
            };
            let what = format!("{name} has changed to other {media}, and {why}");
            gst::warning!(CAT, id = &session.label, "{what}: {caps}");
            let mut others = session.tracks.iter().filter(|other| *other.name() != name);
            if others.all(|other| other.is_closed() && other.fed(self.part.number) <= at) {
                error = Some(Error::not_supported(format!(
                    "{what}: the recording ends here. Record Opus, AAC, VP8 or H.264, which can continue."
                )));
            } else {
                let message = format!("{what}: its track ends here, the others continue.");
                self.part.events.push(Event::Warning { message });
            }
        }
        error
    }
}
