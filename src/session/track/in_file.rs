//! What the file of a copied track's part cannot hold: other media, or a gap. The next part begins after that, if one
//! may.

use crate::{
    formats::{self, Recorded, Rung},
    model::timeline::Ns,
};
use std::collections::VecDeque;

/// The requested format of a recording that may be split into parts.
#[derive(Debug, Clone)]
pub struct Asked {
    pub mime_type: String,
    pub location: Option<String>,
    /// There is only one track, so no other can be ahead of it.
    pub is_alone: bool,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct InFile {
    asked: Option<Asked>,
    /// The track as it is in the file of its part, if it is copied.
    recorded: Option<Recorded>,
    /// Running times at which it needs a new part.
    splits: VecDeque<Ns>,
    /// The next media needs a new part, since its caps have changed.
    is_due: bool,
    /// The track has ended in the file of its part, since it is absent. It resumes in a new part.
    has_left: bool,
}

impl InFile {
    pub fn new(asked: Option<Asked>) -> Self {
        InFile {
            asked,
            ..InFile::default()
        }
    }

    /// The track begins, or continues, with these caps.
    pub fn set_caps(&mut self, caps: &gst::Caps) {
        let Some(asked) = &self.asked else {
            return;
        };
        let codec = formats::copied_codec(caps, &asked.mime_type, asked.location.as_deref());
        let next = codec.map(|codec| Recorded {
            codec,
            copied: true,
            first: caps.clone(),
        });
        match (&self.recorded, next) {
            (None, next) => self.recorded = next,
            (Some(recorded), Some(next)) if formats::rung(recorded, caps) != Rung::AsIs => {
                self.recorded = Some(next);
                self.is_due = true;
            }
            // No file could hold these caps without conversion.
            (Some(_), _) => self.is_due = false,
        }
    }

    /// Ends the track in the file of its part, until it returns. Parts that begin meanwhile lack it.
    pub fn leave_part(&mut self) {
        self.has_left = true;
    }

    /// Whether it has left its part, and has not returned.
    pub fn has_left_part(&self) -> bool {
        self.has_left
    }

    /// Media arrives at this running time.
    pub fn note_media(&mut self, running: Ns) {
        let is_due = std::mem::take(&mut self.is_due);
        if std::mem::take(&mut self.has_left) || is_due {
            self.splits.push_back(running);
        }
    }

    /// Where the part has to end, and whether this is the only track.
    pub fn split(&self) -> Option<(Ns, bool)> {
        let is_alone = self.asked.as_ref().is_some_and(|asked| asked.is_alone);
        Some((*self.splits.front()?, is_alone))
    }

    /// The part has been split there.
    pub fn is_split(&mut self) {
        self.splits.pop_front();
    }
}
