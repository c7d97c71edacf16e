//! The file of a part behind another: its name, and its beginning.

use super::Supervisor;
use crate::{
    model::{Error, location},
    session::{Event, part, part::part_number},
};

impl Supervisor {
    /// Opens the file of a part behind another. Where that fails the recording ends, and its last blob has what the file
    /// does not take.
    pub(super) fn open_file(&self) {
        if self.part.number == 0 || self.part.location().is_some() {
            return;
        }
        let opened = self.name_file().and_then(|name| match name {
            Some(name) => self.open(name),
            None => Ok(()),
        });
        if let Err(error) = opened {
            self.part.progress.note_incomplete();
            self.session.fail_part(&self.part, error);
        }
    }

    /// What the application names it, else by `location` and its number; `None` where there is no file.
    fn name_file(&self) -> Result<Option<String>, Error> {
        let session = &self.session;
        let number = session.number_of_file(&self.part);
        let pattern = session.settings.pattern.as_deref();
        let numbered = pattern.filter(|pattern| location::is_numbered(pattern));
        let part = part_number(self.part.number);
        let named = session.delegate.file_name(part);
        let named = named.and_then(|name| self.check_name(name));
        match (named, numbered) {
            (Ok(Some(name)), _) => Ok(Some(name)),
            (Ok(None), Some(pattern)) => location::numbered(pattern, number).map(Some),
            (Ok(None), None) => pattern.map_or(Ok(None), |pattern| {
                Err(Error::unknown(format!(
                    "The next part cannot begin: format-location has not named its file, and location \"{pattern}\" names \
                     one only; put %d into it, or answer with a name for part {part}"
                )))
            }),
            (Err(error), Some(pattern)) => {
                let message = format!(
                    "{}; the file is named by location.",
                    error.message().trim_end_matches('.')
                );
                self.part.events.push(Event::Warning { message });
                location::numbered(pattern, number).map(Some)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// A part that is not finished keeps its file, and so does the one before.
    fn check_name(&self, name: Option<String>) -> Result<Option<String>, Error> {
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
                "format-location has answered \"{name}\" for part {}, but a part before it has just been written there",
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
