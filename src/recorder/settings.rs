//! The properties as typed Rust: getters and setters, and the builder that sets them at once.

use super::{BitrateMode, Keep, MediaRecorder, RecordedInterval};
use gst::prelude::*;
use std::path::PathBuf;

/// Milliseconds of a property, as far as it can hold them.
fn milliseconds(time: gst::ClockTime) -> u32 {
    u32::try_from(time.mseconds()).unwrap_or(u32::MAX)
}

fn time(milliseconds: u32) -> gst::ClockTime {
    gst::ClockTime::from_mseconds(milliseconds.into())
}

fn text(path: PathBuf) -> Option<String> {
    Some(path.to_string_lossy().into_owned()).filter(|path| !path.is_empty())
}

fn path(text: Option<String>) -> PathBuf {
    text.map(PathBuf::from).unwrap_or_default()
}

fn same<T>(value: T) -> T {
    value
}

/// A [`MediaRecorder`] in the making, see [`MediaRecorder::builder`].
#[must_use = "nothing is made before build()"]
pub struct MediaRecorderBuilder {
    builder: glib::object::ObjectBuilder<'static, MediaRecorder>,
}

impl MediaRecorder {
    /// Sets properties and makes a recorder, as [`MediaRecorder::new`] does.
    pub fn builder() -> MediaRecorderBuilder {
        MediaRecorderBuilder {
            builder: glib::Object::builder(),
        }
    }
}

impl MediaRecorderBuilder {
    /// The element's name in its pipeline.
    pub fn name(mut self, name: &str) -> Self {
        self.builder = self.builder.property("name", name);
        self
    }

    /// Makes the recorder.
    #[must_use]
    pub fn build(self) -> MediaRecorder {
        self.builder.build()
    }
}

/// One property: its documentation, getter, setter, name, type, and how that becomes the
/// property's own type and back.
macro_rules! properties {
    ($($(#[doc = $doc:literal])+ $get:ident $set:ident $name:literal
       $type:ty : $own:ty = $to:ident $from:ident;)+) => {
        /// The properties. Those that shape a recording are read at `start`; a change
        /// later is for the next one, bit rates excepted.
        impl MediaRecorder {
            $(
                $(#[doc = $doc])+
                pub fn $get(&self) -> $type {
                    $from(self.property::<$own>($name))
                }

                #[doc = concat!("Sets it: see [`MediaRecorder::", stringify!($get), "`].")]
                pub fn $set(&self, value: impl Into<$type>) {
                    let value: $own = $to(value.into());
                    self.set_property($name, value);
                }
            )+
        }

        impl MediaRecorderBuilder {
            $(
                #[doc = concat!("See [`MediaRecorder::", stringify!($get), "`].")]
                pub fn $get(mut self, value: impl Into<$type>) -> Self {
                    let value: $own = $to(value.into());
                    self.builder = self.builder.property($name, value);
                    self
                }
            )+
        }
    };
}

properties! {
    /// The type to record, such as `video/webm;codecs="vp8,opus"`; empty: by the extension of
    /// `location` and the tracks, else WebM. While recording it reads the actual type.
    mime_type set_mime_type "mime-type" String: String = same same;
    /// Recorded time per blob, in whole milliseconds; zero: one blob, at the end.
    timeslice set_timeslice "timeslice" gst::ClockTime: u32 = milliseconds time;
    /// Bits per second over all audio tracks. May change while recording.
    audio_bits_per_second set_audio_bits_per_second "audio-bits-per-second" u32: u32 = same same;
    /// Bits per second over all video tracks; until set, it follows their size and frame
    /// rate. May change while recording.
    video_bits_per_second set_video_bits_per_second "video-bits-per-second" u32: u32 = same same;
    /// Bits per second in total: setting it sets both others by its split.
    bits_per_second set_bits_per_second "bits-per-second" u32: u32 = same same;
    /// Whether an audio encoder keeps its rate.
    audio_bitrate_mode set_audio_bitrate_mode "audio-bitrate-mode"
        BitrateMode: BitrateMode = same same;
    /// What of raw video is kept where codec and container can.
    keep set_keep "keep" Keep: Keep = same same;
    /// Most time from key frame to key frame, in whole milliseconds; zero: two seconds.
    /// Not together with the count.
    video_key_frame_interval_duration set_video_key_frame_interval_duration
        "video-key-frame-interval-duration" gst::ClockTime: u32 = milliseconds time;
    /// Most frames from key frame to key frame; 0: by time.
    video_key_frame_interval_count set_video_key_frame_interval_count
        "video-key-frame-interval-count" u32: u32 = same same;
    /// The file that each recording, or each part of it, is also written to, in place of an older one; `%d` or
    /// `%05d` is the file's number. Empty: none. (In UTF-8, as all of GStreamer's.)
    location set_location "location" PathBuf: Option<String> = text path;
    /// Whether the recording begins by itself at the first buffer.
    autostart set_autostart "autostart" bool: bool = same same;
    /// Whether the bus messages of blobs have the blob in them.
    blob_messages set_blob_messages "blob-messages" bool: bool = same same;
    /// Bytes gathered for a blob that may be in memory: more of them are in a temporary file.
    max_memory set_max_memory "max-memory" u64: u64 = same same;
    /// Where that file is. Empty: `$TMPDIR`, else /var/tmp.
    temp_dir set_temp_dir "temp-dir" PathBuf: Option<String> = text path;
    /// Media of a track that may wait for its encoder, or for another track.
    max_queue_time set_max_queue_time "max-queue-time"
        gst::ClockTime: gst::ClockTime = same same;
    /// How long draining may take at the end; then the recording ends with an error.
    stop_timeout set_stop_timeout "stop-timeout" gst::ClockTime: gst::ClockTime = same same;
    /// Recorded time after which the recording ends as by `stop`; zero: unlimited.
    max_duration set_max_duration "max-duration" gst::ClockTime: gst::ClockTime = same same;
    /// Time from one synchronising of the file at `location` with its disk to the next; zero: nothing is
    /// synchronised. A power cut costs no more than it, the time of one synchronising, a second (the fragment or cluster
    /// that is open) and a group of pictures.
    sync_interval set_sync_interval "sync-interval" gst::ClockTime: gst::ClockTime = same same;
    /// Recorded time after which the recording goes on in the next part; zero: no splitting by time.
    max_size_time set_max_size_time "max-size-time" gst::ClockTime: gst::ClockTime = same same;
    /// Bytes of a part, its index included, after which the recording goes on in the next; 0: no splitting by size.
    max_size_bytes set_max_size_bytes "max-size-bytes" u64: u64 = same same;
    /// Files that stay, the growing one included, of those that this recorder has written: the oldest is unlinked. 0: all.
    max_files set_max_files "max-files" u32: u32 = same same;
    /// Bytes in those files, at any instant: the oldest is unlinked before more is written. 0: unlimited.
    max_total_bytes set_max_total_bytes "max-total-bytes" u64: u64 = same same;
    /// Bytes that stay free on the file system of `location`: the oldest file is unlinked where one of the two above is
    /// set, else the recording ends as by `stop`. 0: none.
    min_free_space set_min_free_space "min-free-space" u64: u64 = same same;
    /// Where the recording goes on, as a new part, until its end, when `location` fails, at `start` too; `%d` continues the
    /// count. Empty: nowhere.
    fallback_location set_fallback_location "fallback-location" PathBuf: Option<String> = text path;
    /// How much of the past is kept while inactive: `start` begins that long before the call. May change at any time.
    pre_record_time set_pre_record_time "pre-record-time"
        gst::ClockTime: gst::ClockTime = same same;
}

/// Figures of the recording that is on, else of the latest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Recorded time.
    pub duration: gst::ClockTime,
    /// Running time that pauses have left out.
    pub paused_duration: gst::ClockTime,
    /// Length of the recording in bytes.
    pub bytes: u64,
    /// Blobs handed out.
    pub blobs: u64,
    /// The file, if there is one.
    pub location: Option<PathBuf>,
    /// The actual type, once it is known.
    pub mime_type: Option<String>,
    /// One for each track.
    pub tracks: Vec<TrackStats>,
    /// Parts so far, the one that grows included.
    pub parts: u32,
    /// What was recorded between the cuts, as far as it is known where it begins.
    pub intervals: Vec<RecordedInterval>,
    /// How much of the past is kept, see [`MediaRecorder::pre_record_time`].
    pub pre_recorded: gst::ClockTime,
    /// Bytes that this takes, in memory or in a temporary file.
    pub pre_recorded_bytes: u64,
}

/// Figures of one track.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TrackStats {
    /// Name of its pad.
    pub pad: String,
    /// Name of the encoder's factory; empty where the track is copied.
    pub encoder: String,
    /// Buffers that came.
    pub buffers: u64,
    /// Buffers given to the encoder.
    pub encoded: u64,
    /// Pictures left out because the encoder is too slow.
    pub dropped: u64,
    /// Recorded time that silence, black or a repeated picture stands in for.
    pub filled: gst::ClockTime,
    /// What of raw video has been converted, such as `depth 10 to 8`, `chroma 4:4:4 to 4:2:0`, `alpha`,
    /// `pixel-aspect 4:3 to 1:1`.
    pub converted: Vec<String>,
}

impl MediaRecorder {
    /// The property `stats`.
    pub fn stats(&self) -> Stats {
        let stats = self.property::<gst::Structure>("stats");
        let number = |name| stats.get::<u64>(name).unwrap_or_default();
        let word = |name| stats.get::<Option<String>>(name).ok().flatten();
        let tracks = stats.get::<gst::Array>("tracks");
        Stats {
            duration: gst::ClockTime::from_nseconds(number("duration")),
            paused_duration: gst::ClockTime::from_nseconds(number("paused-duration")),
            bytes: number("bytes"),
            blobs: number("blobs"),
            location: word("location").map(PathBuf::from),
            mime_type: word("mime-type"),
            tracks: tracks.map_or_else(
                |_| Vec::new(),
                |tracks| {
                    let tracks = tracks.iter();
                    tracks
                        .filter_map(|track| track.get().ok().map(track_stats))
                        .collect()
                },
            ),
            parts: stats.get("parts").unwrap_or_default(),
            intervals: RecordedInterval::all_of(&stats),
            pre_recorded: gst::ClockTime::from_nseconds(number("pre-recorded")),
            pre_recorded_bytes: number("pre-recorded-bytes"),
        }
    }
}

fn track_stats(track: gst::Structure) -> TrackStats {
    let number = |name| track.get::<u64>(name).unwrap_or_default();
    let word = |name| track.get::<Option<String>>(name).ok().flatten();
    TrackStats {
        pad: word("pad").unwrap_or_default(),
        encoder: word("encoder").unwrap_or_default(),
        buffers: number("buffers"),
        encoded: number("encoded"),
        dropped: number("dropped"),
        filled: gst::ClockTime::from_nseconds(number("filled")),
        converted: track.get::<gst::Array>("converted").map_or_else(
            |_| Vec::new(),
            |all| all.iter().filter_map(|text| text.get().ok()).collect(),
        ),
    }
}
