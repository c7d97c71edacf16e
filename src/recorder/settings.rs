//! Typed Rust API of the properties: getters, setters and the builder.

use super::{BitrateMode, Keep, MediaRecorder, RecordedInterval};
use gst::prelude::*;
use std::path::PathBuf;

/// Converts to milliseconds, saturating.
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

/// Builder of a [`MediaRecorder`], see [`MediaRecorder::builder`].
#[must_use = "nothing is made before build()"]
pub struct MediaRecorderBuilder {
    builder: glib::object::ObjectBuilder<'static, MediaRecorder>,
}

impl MediaRecorder {
    /// A builder that sets properties at construction, as an alternative to [`MediaRecorder::new`].
    pub fn builder() -> MediaRecorderBuilder {
        MediaRecorderBuilder {
            builder: glib::Object::builder(),
        }
    }
}

impl MediaRecorderBuilder {
    /// Name of the element.
    pub fn name(mut self, name: &str) -> Self {
        self.builder = self.builder.property("name", name);
        self
    }

    /// Builds the recorder.
    #[must_use]
    pub fn build(self) -> MediaRecorder {
        self.builder.build()
    }
}

/// One property: documentation, getter, setter, name, type, and the conversions to and from the GObject type.
macro_rules! properties {
    ($($(#[doc = $doc:literal])+ $get:ident $set:ident $name:literal
       $type:ty : $own:ty = $to:ident $from:ident;)+) => {
        /// The properties. Recording settings are read at `start`; later changes apply to the next recording, except
        /// for bit rates.
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
    /// The type to record, such as `video/webm;codecs="vp8,opus"`. If empty, it is chosen from the extension of
    /// `location` and the tracks, else WebM. Returns the actual type while recording.
    mime_type set_mime_type "mime-type" String: String = same same;
    /// Recorded time per blob, in whole milliseconds; zero: one blob at the end.
    timeslice set_timeslice "timeslice" gst::ClockTime: u32 = milliseconds time;
    /// Total bit rate of all audio tracks. Can be changed while recording.
    audio_bits_per_second set_audio_bits_per_second "audio-bits-per-second" u32: u32 = same same;
    /// Total bit rate of all video tracks; until set, derived from their size and frame rate. Can be changed while
    /// recording.
    video_bits_per_second set_video_bits_per_second "video-bits-per-second" u32: u32 = same same;
    /// Total bit rate: setting it overrides the other two by its split.
    bits_per_second set_bits_per_second "bits-per-second" u32: u32 = same same;
    /// Bit-rate mode of the audio encoder.
    audio_bitrate_mode set_audio_bitrate_mode "audio-bitrate-mode"
        BitrateMode: BitrateMode = same same;
    /// Properties of raw video to preserve where codec and container can.
    keep set_keep "keep" Keep: Keep = same same;
    /// Maximum keyframe interval in whole milliseconds; zero: two seconds. Mutually exclusive with the count.
    video_key_frame_interval_duration set_video_key_frame_interval_duration
        "video-key-frame-interval-duration" gst::ClockTime: u32 = milliseconds time;
    /// Maximum keyframe interval in frames; 0: by time.
    video_key_frame_interval_count set_video_key_frame_interval_count
        "video-key-frame-interval-count" u32: u32 = same same;
    /// The file to which each recording, or each part of it, is also written, replacing an existing one; `%d` or `%05d`
    /// is the file's number. Empty: none. (UTF-8, as everywhere in GStreamer.)
    location set_location "location" PathBuf: Option<String> = text path;
    /// Whether a recording starts automatically at the first buffer.
    autostart set_autostart "autostart" bool: bool = same same;
    /// Whether bus messages of blobs contain the blob.
    blob_messages set_blob_messages "blob-messages" bool: bool = same same;
    /// Maximum bytes of blob data in memory; more go to a temporary file.
    max_memory set_max_memory "max-memory" u64: u64 = same same;
    /// Directory of that file. Empty: `$TMPDIR`, else /var/tmp.
    temp_dir set_temp_dir "temp-dir" PathBuf: Option<String> = text path;
    /// Maximum queue time of a track's media, waiting for its encoder or for another track.
    max_queue_time set_max_queue_time "max-queue-time"
        gst::ClockTime: gst::ClockTime = same same;
    /// Maximum time to drain at the end; then the recording ends with an error.
    stop_timeout set_stop_timeout "stop-timeout" gst::ClockTime: gst::ClockTime = same same;
    /// Recorded time after which the recording stops; zero: unlimited.
    max_duration set_max_duration "max-duration" gst::ClockTime: gst::ClockTime = same same;
    /// Interval at which the file at `location` is synchronised to disk; zero: never. A power failure loses no more
    /// than the interval, the time of one synchronisation, a second (the open fragment or cluster) and a GOP.
    sync_interval set_sync_interval "sync-interval" gst::ClockTime: gst::ClockTime = same same;
    /// Maximum recorded time per part; zero: no splitting by time.
    max_size_time set_max_size_time "max-size-time" gst::ClockTime: gst::ClockTime = same same;
    /// Maximum bytes per part, including its index; 0: no splitting by size.
    max_size_bytes set_max_size_bytes "max-size-bytes" u64: u64 = same same;
    /// Maximum number of files kept of those written by this recorder, including the current one: the oldest is
    /// unlinked. 0: unlimited.
    max_files set_max_files "max-files" u32: u32 = same same;
    /// Maximum total bytes of those files at any instant: the oldest is unlinked before more is written. 0: unlimited.
    max_total_bytes set_max_total_bytes "max-total-bytes" u64: u64 = same same;
    /// Minimum bytes to leave free on the file system of `location`: the oldest file there is unlinked if one
    /// of the two above is set, else the recording stops. 0: none.
    min_free_space set_min_free_space "min-free-space" u64: u64 = same same;
    /// Where the recording continues in a new part, until its end, if `location` fails, including at `start`; `%d`
    /// continues the count. Empty: nowhere.
    fallback_location set_fallback_location "fallback-location" PathBuf: Option<String> = text path;
    /// How much recent input to keep while inactive: `start` begins that long before the call. Can be changed at any
    /// time.
    pre_record_time set_pre_record_time "pre-record-time"
        gst::ClockTime: gst::ClockTime = same same;
}

/// Statistics of the current recording, else of the latest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Recorded time.
    pub duration: gst::ClockTime,
    /// Running time cut by pauses.
    pub paused_duration: gst::ClockTime,
    /// Size of the recording in bytes.
    pub bytes: u64,
    /// Number of blobs emitted.
    pub blobs: u64,
    /// The file, if any.
    pub location: Option<PathBuf>,
    /// The actual type, once known.
    pub mime_type: Option<String>,
    /// Statistics per track.
    pub tracks: Vec<TrackStats>,
    /// Number of parts so far, including the current one.
    pub parts: u32,
    /// The recorded intervals whose start is resolved.
    pub intervals: Vec<RecordedInterval>,
    /// Amount of recent input kept, see [`MediaRecorder::pre_record_time`].
    pub pre_recorded: gst::ClockTime,
    /// Size of that in bytes, in memory or in a temporary file.
    pub pre_recorded_bytes: u64,
}

/// Statistics of one track.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TrackStats {
    /// Pad name.
    pub pad: String,
    /// Factory name of the encoder; empty if the track is copied.
    pub encoder: String,
    /// Buffers received.
    pub buffers: u64,
    /// Buffers pushed to the encoder.
    pub encoded: u64,
    /// Frames dropped because the encoder cannot keep up.
    pub dropped: u64,
    /// Recorded time filled with silence, black or repeated frames.
    pub filled: gst::ClockTime,
    /// Conversions of raw video, such as `depth 10 to 8`, `chroma 4:4:4 to 4:2:0`, `alpha`, `pixel-aspect 4:3 to 1:1`.
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
