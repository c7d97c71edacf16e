//! The element's properties and their values.

use super::{BitrateMode, Keep, RecorderState};
use crate::{
    formats,
    model::bitrate::{Bitrates, DEFAULT_AUDIO, DEFAULT_VIDEO},
    output::RingLimits,
    session,
};
use gst::{glib, prelude::*};
use once_cell::sync::Lazy;
use std::{path::PathBuf, time::Duration};

const DEFAULT_TIMESLICE: u32 = 0;
const DEFAULT_MAX_MEMORY: u64 = 8 << 20;
const DEFAULT_MAX_QUEUE_TIME: gst::ClockTime = gst::ClockTime::from_seconds(2);
const DEFAULT_MAX_DURATION: u64 = 0;
const DEFAULT_SYNC_INTERVAL: u64 = 0;
const DEFAULT_MAX_SIZE_TIME: u64 = 0;
const DEFAULT_MAX_SIZE_BYTES: u64 = 0;
const DEFAULT_PRE_RECORD_TIME: u64 = 0;
const DEFAULT_STOP_TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// Error for a value of the wrong type.
pub type WrongType = glib::value::ValueTypeMismatchError;

/// Property values set by the application.
#[derive(Debug, Clone)]
pub struct Values {
    pub mime_type: String,
    pub timeslice: u32,
    pub bitrates: Bitrates,
    pub bitrate_mode: BitrateMode,
    pub keep: Keep,
    pub key_interval_ms: u32,
    pub key_interval_frames: u32,
    pub location: Option<String>,
    pub autostart: bool,
    pub blob_messages: bool,
    pub max_memory: u64,
    pub temp_dir: Option<String>,
    pub max_queue_time: u64,
    pub stop_timeout: u64,
    pub max_duration: u64,
    pub sync_interval: u64,
    pub max_size_time: u64,
    pub max_size_bytes: u64,
    pub max_total_bytes: u64,
    pub min_free_space: u64,
    pub max_files: u32,
    pub fallback_location: Option<String>,
    pub pre_record_time: u64,
    /// Names of properties whose value was not valid UTF-8.
    pub garbled: Vec<&'static str>,
}

impl Default for Values {
    fn default() -> Self {
        Values {
            mime_type: String::new(),
            timeslice: DEFAULT_TIMESLICE,
            bitrates: Bitrates::new(),
            bitrate_mode: BitrateMode::Variable,
            keep: Keep::empty(),
            key_interval_ms: 0,
            key_interval_frames: 0,
            location: None,
            autostart: false,
            blob_messages: false,
            max_memory: DEFAULT_MAX_MEMORY,
            temp_dir: None,
            max_queue_time: DEFAULT_MAX_QUEUE_TIME.nseconds(),
            stop_timeout: DEFAULT_STOP_TIMEOUT.nseconds(),
            max_duration: DEFAULT_MAX_DURATION,
            sync_interval: DEFAULT_SYNC_INTERVAL,
            max_size_time: DEFAULT_MAX_SIZE_TIME,
            max_size_bytes: DEFAULT_MAX_SIZE_BYTES,
            max_total_bytes: 0,
            min_free_space: 0,
            max_files: 0,
            fallback_location: None,
            pre_record_time: DEFAULT_PRE_RECORD_TIME,
            garbled: Vec::new(),
        }
    }
}

impl Values {
    /// Sets a property.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), WrongType> {
        match name {
            "mime-type" => self.mime_type = self.text("mime-type", value)?.unwrap_or_default(),
            "timeslice" => self.timeslice = value.get()?,
            "audio-bits-per-second" => self.bitrates.set_audio(value.get()?),
            "video-bits-per-second" => self.bitrates.set_video(value.get()?),
            "bits-per-second" => self.bitrates.set_total(value.get()?),
            "audio-bitrate-mode" => self.bitrate_mode = value.get()?,
            "keep" => self.keep = value.get()?,
            "video-key-frame-interval-duration" => self.key_interval_ms = value.get()?,
            "video-key-frame-interval-count" => self.key_interval_frames = value.get()?,
            "location" => self.location = self.text("location", value)?,
            "autostart" => self.autostart = value.get()?,
            "blob-messages" => self.blob_messages = value.get()?,
            "max-memory" => self.max_memory = value.get()?,
            "temp-dir" => self.temp_dir = self.text("temp-dir", value)?,
            "max-queue-time" => self.max_queue_time = value.get()?,
            "stop-timeout" => self.stop_timeout = value.get()?,
            "max-duration" => self.max_duration = value.get()?,
            "sync-interval" => self.sync_interval = value.get()?,
            "max-size-time" => self.max_size_time = value.get()?,
            "max-size-bytes" => self.max_size_bytes = value.get()?,
            "max-total-bytes" => self.max_total_bytes = value.get()?,
            "min-free-space" => self.min_free_space = value.get()?,
            "max-files" => self.max_files = value.get()?,
            "fallback-location" => {
                self.fallback_location = self.text("fallback-location", value)?;
            }
            "pre-record-time" => self.pre_record_time = value.get()?,
            _ => {}
        }
        Ok(())
    }

    /// Gets a string; invalid UTF-8 is replaced and noted in `garbled`.
    fn text(
        &mut self,
        name: &'static str,
        value: &glib::Value,
    ) -> Result<Option<String>, WrongType> {
        // glib requires UTF-8 in a String.
        let bytes = value.get::<Option<PathBuf>>()?;
        self.garbled.retain(|garbled| *garbled != name);
        if bytes.as_ref().is_some_and(|bytes| bytes.to_str().is_none()) {
            self.garbled.push(name);
        }
        Ok(bytes.map(|bytes| bytes.to_string_lossy().into_owned()))
    }

    /// Gets a property.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "mime-type" => self.mime_type.to_value(),
            "timeslice" => self.timeslice.to_value(),
            "audio-bits-per-second" => self.bitrates.audio().to_value(),
            "video-bits-per-second" => self.bitrates.video().to_value(),
            "bits-per-second" => self.bitrates.total().to_value(),
            "audio-bitrate-mode" => self.bitrate_mode.to_value(),
            "keep" => self.keep.to_value(),
            "video-key-frame-interval-duration" => self.key_interval_ms.to_value(),
            "video-key-frame-interval-count" => self.key_interval_frames.to_value(),
            "location" => self.location.to_value(),
            "autostart" => self.autostart.to_value(),
            "blob-messages" => self.blob_messages.to_value(),
            "max-memory" => self.max_memory.to_value(),
            "temp-dir" => self.temp_dir.to_value(),
            "max-queue-time" => self.max_queue_time.to_value(),
            "stop-timeout" => self.stop_timeout.to_value(),
            "max-duration" => self.max_duration.to_value(),
            "sync-interval" => self.sync_interval.to_value(),
            "max-size-time" => self.max_size_time.to_value(),
            "max-size-bytes" => self.max_size_bytes.to_value(),
            "max-total-bytes" => self.max_total_bytes.to_value(),
            "min-free-space" => self.min_free_space.to_value(),
            "max-files" => self.max_files.to_value(),
            "fallback-location" => self.fallback_location.to_value(),
            "pre-record-time" => self.pre_record_time.to_value(),
            _ => return None,
        })
    }

    /// The file name pattern to use after `location` has failed.
    pub fn fallback(&self) -> Option<String> {
        let fallback = self.fallback_location.clone();
        fallback.filter(|pattern| !pattern.is_empty())
    }

    /// A snapshot of the settings for a recording.
    pub fn for_recording(
        &self,
        location: Option<String>,
        tags: Option<gst::TagList>,
    ) -> session::Settings {
        session::Settings {
            mime_type: self.mime_type.clone(),
            location,
            pattern: self.location.clone().filter(|pattern| !pattern.is_empty()),
            fallback: self.fallback(),
            timeslice: u64::from(self.timeslice) * 1_000_000,
            keep: formats::Keep {
                depth: self.keep.contains(Keep::DEPTH),
                chroma: self.keep.contains(Keep::CHROMA),
                alpha: self.keep.contains(Keep::ALPHA),
                pixel_aspect: self.keep.contains(Keep::PIXEL_ASPECT),
            },
            constant_bitrate: self.bitrate_mode == BitrateMode::Constant,
            key_interval_ms: self.key_interval_ms,
            key_interval_frames: self.key_interval_frames,
            max_memory: self.max_memory,
            temp_dir: self.temp_dir.as_ref().map(PathBuf::from),
            max_queue_time: self.max_queue_time,
            stop_timeout: Duration::from_nanos(self.stop_timeout),
            max_duration: self.max_duration,
            sync_interval: self.sync_interval,
            max_size_time: self.max_size_time,
            max_size_bytes: self.max_size_bytes,
            may_split: false,
            ring: RingLimits {
                files: self.max_files,
                bytes: self.max_total_bytes,
                free: self.min_free_space,
            },
            tags,
        }
    }
}

/// The bit-rate properties: setting one may change the others.
pub const RATES: [&str; 3] = [
    "audio-bits-per-second",
    "video-bits-per-second",
    "bits-per-second",
];

fn string(name: &str, nick: &str, blurb: &str, default: Option<&str>) -> glib::ParamSpec {
    glib::ParamSpecString::builder(name)
        .nick(nick)
        .blurb(blurb)
        .default_value(default)
        .mutable_playing()
        .build()
}

fn uint(name: &str, nick: &str, blurb: &str, default: u32) -> glib::ParamSpec {
    glib::ParamSpecUInt::builder(name)
        .nick(nick)
        .blurb(blurb)
        .default_value(default)
        .mutable_playing()
        .build()
}

fn uint64(name: &str, nick: &str, blurb: &str, default: u64) -> glib::ParamSpec {
    glib::ParamSpecUInt64::builder(name)
        .nick(nick)
        .blurb(blurb)
        .default_value(default)
        .mutable_playing()
        .build()
}

fn boolean(name: &str, nick: &str, blurb: &str) -> glib::ParamSpec {
    glib::ParamSpecBoolean::builder(name)
        .nick(nick)
        .blurb(blurb)
        .default_value(false)
        .mutable_playing()
        .build()
}

/// All properties. The recording settings are read at `start`.
pub static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
    vec![
        glib::ParamSpecEnum::builder_with_default("state", RecorderState::Inactive)
            .nick("State")
            .blurb("State of the recorder (W3C: state)")
            .read_only()
            .build(),
        string(
            "mime-type",
            "MIME type",
            "MIME type to record, such as \"video/webm;codecs=vp8,opus\"; if empty, chosen from location and tracks. \
             Returns the actual type from on-start until inactive again",
            Some(""),
        ),
        uint(
            "timeslice",
            "Timeslice",
            "Minimum recorded time per blob in milliseconds, 0 = one blob at the end; the W3C's timeslice of 0 (as \
             often as possible) is 1 here",
            DEFAULT_TIMESLICE,
        ),
        uint(
            "audio-bits-per-second",
            "Audio bit rate",
            "Bits per second over all audio tracks, 0 = the encoder's minimum; may be changed while recording",
            DEFAULT_AUDIO,
        ),
        uint(
            "video-bits-per-second",
            "Video bit rate",
            "Bits per second over all video tracks, 0 = the encoder's minimum; may be changed while recording. Until \
             it is set, it follows the tracks' size and frame rate",
            DEFAULT_VIDEO,
        ),
        uint(
            "bits-per-second",
            "Bit rate",
            "Bits per second in total; setting it also sets the audio and video rates, by its split. No total unless \
             set",
            0,
        ),
        glib::ParamSpecEnum::builder_with_default("audio-bitrate-mode", BitrateMode::Variable)
            .nick("Audio bit rate mode")
            .blurb("Whether the bitrate of audio encoders is constant or variable")
            .mutable_playing()
            .build(),
        uint(
            "video-key-frame-interval-duration",
            "Key frame interval (time)",
            "Maximum time between video keyframes in milliseconds, 0 = two seconds; cannot be combined with \
             video-key-frame-interval-count",
            0,
        ),
        uint(
            "video-key-frame-interval-count",
            "Keyframe interval (frames)",
            "Maximum number of frames between video keyframes, 0 = by time; cannot be combined with \
             video-key-frame-interval-duration",
            0,
        ),
        string(
            "location",
            "Location",
            "File to write each recording to. Replaces an existing file and keeps its mode and owner; one %d or %0Nd \
             counts the recordings, or their parts, from 0, %% is a percent sign",
            None,
        ),
        boolean(
            "autostart",
            "Autostart",
            "Start recording at the first buffer on any pad, once per READY to PAUSED",
        ),
        boolean(
            "blob-messages",
            "Blob messages",
            "Put the sample with the bytes into the mediarecorder-data-available message (do not use with gst-launch \
             -m, which prints it)",
        ),
        uint64(
            "max-memory",
            "Most memory",
            "Maximum bytes of a blob kept in memory; beyond that they are kept in an unlinked temporary file",
            DEFAULT_MAX_MEMORY,
        ),
        string(
            "temp-dir",
            "Temporary directory",
            "Directory of the temporary file; if not set, $TMPDIR, else /var/tmp",
            None,
        ),
        uint64(
            "max-queue-time",
            "Most queued time",
            "Maximum queued media per track in nanoseconds, waiting for the encoder or for another track",
            DEFAULT_MAX_QUEUE_TIME.nseconds(),
        ),
        uint64(
            "stop-timeout",
            "Stop timeout",
            "Maximum time for draining and synchronising at the end in nanoseconds; after that the recording ends \
             with an error and the data so far",
            DEFAULT_STOP_TIMEOUT.nseconds(),
        ),
        uint64(
            "max-duration",
            "Maximum duration",
            "Recorded time in nanoseconds after which the recording stops, 0 = unlimited",
            DEFAULT_MAX_DURATION,
        ),
        uint64(
            "sync-interval",
            "Synchronising interval",
            "Interval in nanoseconds at which the file at location is synchronised with the disk, which limits the \
             loss in a power failure; 0 = never",
            DEFAULT_SYNC_INTERVAL,
        ),
        uint64(
            "max-size-time",
            "Maximum time of a part",
            "Maximum recorded time of a part in nanoseconds: the recording then continues in a new file at the next \
             video frame (copied video: keyframe); 0 = no splitting by time. location needs a %d",
            DEFAULT_MAX_SIZE_TIME,
        ),
        uint64(
            "max-size-bytes",
            "Maximum size of a part",
            "Maximum size of a part in bytes, including its index: the recording then continues in a new file. \
             Forecast from the bitrate, so exceeded at most by what the encoders hold plus one GOP; 0 = no splitting \
             by size. location needs a %d",
            DEFAULT_MAX_SIZE_BYTES,
        ),
        uint(
            "max-files",
            "Maximum number of files",
            "Maximum number of files to keep, including the current one, of those written by this element since it \
             was created: the oldest is unlinked. 0 = all",
            0,
        ),
        uint64(
            "max-total-bytes",
            "Maximum size of all files",
            "Maximum total size, at any time, of the files written by this element since it was created: the oldest \
             is unlinked before more is written, and a part ends at half of it at the latest. 0 = unlimited. location \
             needs a %d",
            0,
        ),
        uint64(
            "min-free-space",
            "Minimum free space",
            "Minimum free bytes on the file system of location: the oldest file there is unlinked if max-files or \
             max-total-bytes is set, else the recording stops. 0 = none",
            0,
        ),
        string(
            "fallback-location",
            "Fallback location",
            "File in which the recording continues, as a new part, if location fails (also at start); one %d or %0Nd \
             continues the count. Opened only then",
            None,
        ),
        uint64(
            "pre-record-time",
            "Pre-record time",
            "Duration of the pre-record buffer in nanoseconds, filled while inactive in PAUSED and PLAYING: a \
             recording begins that long before the call of start, at the keyframe at or before that time; 0 = none. \
             Not with autostart",
            DEFAULT_PRE_RECORD_TIME,
        ),
        glib::ParamSpecFlags::builder::<Keep>("keep")
            .nick("Keep")
            .blurb(
                "Properties of raw video to keep if codec and container support them; otherwise it is converted to \
                 8-bit 4:2:0 with square pixels, as reported by stats. PQ and HLG always keep their depth",
            )
            .mutable_playing()
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb(
                "application/x-mediarecorder-stats: duration, paused-duration, bytes, blobs, \
                 location, mime-type, tracks, parts, intervals, pre-recorded, pre-recorded-bytes",
            )
            .read_only()
            .build(),
    ]
});
