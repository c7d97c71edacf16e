//! What `start` and `split-now` require; an error says what is missing and what would work.

use super::{MediaRecorderPad, imp::MediaRecorder, properties::Values};
use crate::{
    formats::{self, Missing, Refusal, TrackInput},
    model::{Error, MimeType, location},
    output::free_space,
};
use gst::prelude::*;
use std::path::Path;

impl MediaRecorder {
    /// Whether the recording can be split into parts; an error if splitting is configured but impossible.
    pub(super) fn may_split(&self, values: &Values) -> Result<bool, Error> {
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
                Self::can_fall_back(&format!("start: {name} is set"), values)?;
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
    pub(super) fn fallback_for(
        &self,
        values: &Values,
        number: u32,
    ) -> Result<Option<String>, Error> {
        let Some(fallback) = values.fallback() else {
            return Ok(None);
        };
        if self.output.is_linked() {
            return Err(Error::not_supported(
                "start: fallback-location is set, but the src pad is linked, which outputs a single stream; record \
                 into location alone, or do not link src",
            ));
        }
        location::numbered(&fallback, number).map(Some)
    }

    /// Checks that `fallback-location` can name more than one part.
    fn can_fall_back(what: &str, values: &Values) -> Result<(), Error> {
        match values.fallback() {
            Some(fallback) if !location::is_numbered(&fallback) => {
                Err(Error::not_supported(format!(
                    "{what}, but fallback-location \"{fallback}\" names only one file; add %d or %05d, which \
                     continues the count of the parts"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Checks that files named by `pattern` can be split into parts.
    pub(super) fn can_split(&self, what: &str, pattern: Option<&str>) -> Result<(), Error> {
        if self.output.is_linked() {
            return Err(Error::not_supported(format!(
                "{what}, but the src pad is linked, which outputs a single stream; record into location, or take the \
                 parts from on-data-available"
            )));
        }
        match pattern {
            Some(pattern) if !location::is_numbered(pattern) && !self.names_files() => {
                Err(Error::not_supported(format!(
                    "{what}, but location \"{pattern}\" names only one file; add %d or %05d, which counts the parts, \
                     or connect to format-location"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// Checks the configuration of a recording before it starts.
pub(super) fn check(
    values: &Values,
    location: Option<&str>,
    inputs: &[TrackInput],
) -> Result<(), Refusal> {
    if let Some(name) = values.garbled.first() {
        return Err(
            Error::not_supported(format!("start: the value of {name} is not valid UTF-8")).into(),
        );
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
pub(super) fn check_free_space(values: &Values, file: Option<&str>) -> Result<(), Error> {
    let least = values.min_free_space;
    let Some(file) = file.filter(|_| least > 0) else {
        return Ok(());
    };
    // Problems with the directory are reported when the file is opened.
    match free_space(Path::new(file)) {
        Ok(Some(free)) if free < least => Err(Error::unknown(format!(
            "start: {free} bytes are free on the file system of location \"{file}\", but min-free-space is {least}; \
             free some space, lower min-free-space, or use another disk"
        ))),
        _ => Ok(()),
    }
}

/// Checks that tracks that are not copied can be decoded, if their caps are known.
pub(super) fn check_decoders(
    pads: &[MediaRecorderPad],
    inputs: &[TrackInput],
) -> Result<(), Refusal> {
    let decoded = pads.iter().zip(inputs);
    for (pad, _) in decoded.filter(|(_, input)| input.encoded.is_none()) {
        let Some(caps) = pad.stream().caps.clone() else {
            continue;
        };
        if !formats::is_raw(&caps) && !formats::can_decode(&caps) {
            return Err(Refusal {
                error: Error::not_supported(format!(
                    "start: {caps} on {} has to be decoded, but no decoder for it is installed; install one \
                     (gstreamer1.0-libav has most), or set a mime-type that can contain it without transcoding",
                    pad.name()
                )),
                missing: vec![Missing::Decoder(caps)],
            });
        }
    }
    Ok(())
}
