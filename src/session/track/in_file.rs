//! What the file of a copied track's part cannot hold: there the next part begins, where one may.

use crate::{
    formats::{self, Recorded, Rung},
    model::timeline::Ns,
};
use std::collections::VecDeque;

/// What is asked for of a recording that may go on in another part.
#[derive(Debug, Clone)]
pub struct Asked {
    pub mime_type: String,
    pub location: Option<String>,
    /// There is one track, so that no other may have gone on further.
    pub is_alone: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct InFile {
    asked: Option<Asked>,
    /// The track as the file of its part has it, if it is copied.
    recorded: Option<Recorded>,
    /// From these running times on it needs another part.
    splits: VecDeque<Ns>,
    /// What comes next does.
    is_due: bool,
}

impl InFile {
    pub fn new(asked: Option<Asked>) -> Self {
        InFile {
            asked,
            ..InFile::default()
        }
    }

    /// The track begins, or goes on, with these caps.
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
            // Nothing that any file could hold as it comes.
            (Some(_), _) => self.is_due = false,
        }
    }

    /// Media comes at this running time.
    pub fn note_media(&mut self, running: Ns) {
        if std::mem::take(&mut self.is_due) {
            self.splits.push_back(running);
        }
    }

    /// Where the part has to end, and whether no other track may have gone on further.
    pub fn split(&self) -> Option<(Ns, bool)> {
        let is_alone = self.asked.as_ref().is_some_and(|asked| asked.is_alone);
        Some((*self.splits.front()?, is_alone))
    }

    /// The part ends.
    pub fn is_split(&mut self) {
        self.splits.pop_front();
    }
}
