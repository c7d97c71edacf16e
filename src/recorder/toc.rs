//! Chapters from upstream's TOC, in running time.

use super::{MediaRecorderPad, imp::MediaRecorder};
use crate::{model::timeline::Ns, session::lock};
use gst::prelude::*;

/// The chapters in stream time, sorted. Nested ones are dropped: no supported container nests them.
pub fn chapters(toc: &gst::TocRef) -> Vec<(gst::ClockTime, String)> {
    let mut chapters: Vec<_> = toc.entries().iter().flat_map(chapters_of).collect();
    chapters.sort_by_key(|(start, _)| *start);
    chapters
}

fn chapters_of(entry: &gst::TocEntry) -> Vec<(gst::ClockTime, String)> {
    match entry.entry_type() {
        gst::TocEntryType::Chapter | gst::TocEntryType::Track => {
            let start = entry.start_stop_times().map(|(start, _)| start);
            let start = start.and_then(|start| u64::try_from(start).ok());
            let tags = entry.tags();
            let title = tags
                .as_ref()
                .and_then(|tags| tags.get::<gst::tags::Title>());
            let title = title.map_or_else(String::new, |title| title.get().to_owned());
            let start = start.map(|start| (gst::ClockTime::from_nseconds(start), title));
            start.into_iter().collect()
        }
        // An edition, or any other entry with chapters.
        _ => entry.sub_entries().iter().flat_map(chapters_of).collect(),
    }
}

impl MediaRecorder {
    /// Passes on upstream's chapters in the current segment.
    pub(super) fn give_chapters(&self, pad: &MediaRecorderPad, chapters: Vec<(Ns, String)>) {
        let current = lock(&self.control).current.clone();
        if let Some(session) = current {
            session.expect_chapters(&pad.name(), chapters);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: gst::TocEntryType, uid: &str, start: i64, title: &str) -> gst::TocEntry {
        let mut entry = gst::TocEntry::new(kind, uid);
        let mut tags = gst::TagList::new();
        let fields = tags.make_mut();
        fields.add::<gst::tags::Title>(&title, gst::TagMergeMode::Append);
        let fields = entry.make_mut();
        fields.set_start_stop_times(start, -1);
        fields.set_tags(tags);
        entry
    }

    #[test]
    fn chapters_are_found_within_editions() {
        gst::init().unwrap();
        let mut edition = gst::TocEntry::new(gst::TocEntryType::Edition, "edition");
        let mut first = entry(gst::TocEntryType::Chapter, "a", 0, "One");
        let within = entry(gst::TocEntryType::Chapter, "b", 5, "One and a half");
        first.make_mut().append_sub_entry(within);
        edition.make_mut().append_sub_entry(first);
        let second = entry(gst::TocEntryType::Chapter, "c", 9, "Two");
        edition.make_mut().append_sub_entry(second);
        let mut toc = gst::Toc::new(gst::TocScope::Global);
        toc.make_mut().append_entry(edition);
        let track = entry(gst::TocEntryType::Track, "d", 20, "Three");
        toc.make_mut().append_entry(track);
        // Chapters before 0 are dropped.
        let before = entry(gst::TocEntryType::Chapter, "e", -1, "None");
        toc.make_mut().append_entry(before);
        let found = chapters(&toc);
        let found = found
            .iter()
            .map(|(at, title)| (at.nseconds(), title.as_str()));
        let found: Vec<_> = found.collect();
        assert_eq!(found, [(0, "One"), (9, "Two"), (20, "Three")]);
    }
}
