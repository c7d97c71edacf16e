//! The file of a later part: naming and opening it.

use super::Supervisor;
use crate::{
    model::{Error, location},
    session::{Event, lock, part, part::part_number},
};
use std::{path::Path, sync::atomic::Ordering};

impl Supervisor {
    /// Opens the file of a later part. If that fails, the recording ends, and its last blob contains what could not
    /// go into the file.
    pub(super) fn open_file(&self) {
        if self.part.number == 0 || self.part.location().is_some() {
            return;
        }
        let mut opened = self.name_and_open();
        if let Err(error) = &opened
            && self.session.falls_back()
        {
            self.part.warn_of_fallback(error);
            opened = self.name_and_open();
        }
        if let Err(error) = opened {
            self.part.progress.note_incomplete();
            self.session.fail_part(&self.part, error);
        }
    }

    fn name_and_open(&self) -> Result<(), Error> {
        self.name_file()?.map_or(Ok(()), |name| self.open(name))
    }

    /// After a disk failure, continues elsewhere as soon as possible.
    pub(super) fn fall_back(&self) {
        let Some(error) = lock(&self.part.control).falls_back.take() else {
            return;
        };
        let (session, part) = (&self.session, &self.part);
        if self.begin_next_part() {
            part.warn_of_fallback(&error)
        } else {
            session.fail_part(part, error)
        }
    }

    /// Ends the part as soon as possible. FALSE if no other can begin.
    pub(super) fn begin_next_part(&self) -> bool {
        self.session.end_part();
        self.session
            .timeline
            .read(|t| t.part() > self.part.number || t.pending_split().is_some())
    }

    /// The application's name for the file, else `location` with its number; `None` if there is no file.
    fn name_file(&self) -> Result<Option<String>, Error> {
        let session = &self.session;
        let number = session.number_of_file(&self.part);
        if session.has_fallen_back() {
            return self.fallback_name(number).map(Some);
        }
        let pattern = session.pattern();
        let numbered = pattern.filter(|pattern| location::is_numbered(pattern));
        let part = part_number(self.part.number);
        let named = session.delegate.file_name(part);
        let named = named.and_then(|name| self.check_name(name, "format-location"));
        match (named, numbered) {
            (Ok(Some(name)), _) => Ok(Some(name)),
            (Ok(None), Some(pattern)) => location::numbered(pattern, number).map(Some),
            (Ok(None), None) => pattern.map_or(Ok(None), |pattern| {
                Err(Error::unknown(format!(
                    "The next part cannot begin: format-location returned no file name, and location \"{pattern}\" \
                     names only one file; add %d to it, or return a name for part {part}"
                )))
            }),
            (Err(error), Some(pattern)) => {
                let message = format!(
                    "{}; location names the file.",
                    error.message().trim_end_matches('.')
                );
                self.part.events.push(Event::Warning { message });
                location::numbered(pattern, number).map(Some)
            }
            (Err(error), None) => Err(error),
        }
    }

    fn fallback_name(&self, number: u32) -> Result<String, Error> {
        let pattern = self.session.pattern().unwrap_or_default();
        let name = location::numbered(pattern, number)?;
        let is_first = !self.session.fallback_named.swap(true, Ordering::SeqCst);
        if is_first || location::is_numbered(pattern) {
            let named = self.check_name(Some(name), "fallback-location")?;
            return Ok(named.unwrap_or_default());
        }
        // Nobody has chosen this name, so it replaces no file.
        let beside = (number..).map(|number| location::beside(pattern, number));
        let is_free = |name: &Result<String, Error>| {
            let path = name.as_ref().map(Path::new);
            path.map_or(true, |path| path.symlink_metadata().is_err())
        };
        beside.into_iter().find(is_free).unwrap_or(Ok(name))
    }

    /// Refuses the file of an unfinished part, and that of the previous one.
    fn check_name(&self, name: Option<String>, source: &str) -> Result<Option<String>, Error> {
        let Some(name) = name else {
            return Ok(None);
        };
        let session = &self.session;
        let parts = session.parts();
        let mut taken = parts.iter().map(|part| part.location());
        if taken.any(|location| location == Some(&name))
            || session.location().as_ref() == Some(&name)
        {
            return Err(Error::unknown(format!(
                "{source} names \"{name}\" for part {}, which is the file of the previous part; use a different name \
                 for each part",
                self.part.number
            )));
        }
        Ok(Some(name))
    }

    fn open(&self, location: String) -> Result<(), Error> {
        let session = &self.session;
        let place = session.settings.place_in(&session.ring);
        let opened = part::open(&location, &session.settings, place.clone());
        let (store, synchroniser) = opened.map_err(|err| {
            Error::unknown(format!(
                "The next part cannot begin: location \"{location}\" cannot be opened for writing: {err}"
            ))
        })?;
        let of_file = (synchroniser, place);
        self.part.put_in(Some(location), Some(store), of_file);
        session.spawn_synchroniser(&self.part)
    }
}
