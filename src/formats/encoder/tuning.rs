//! Parameters for encoder configuration.

/// The configuration of an encoder, set before it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// Target for this track; 0 selects the encoder's minimum.
    pub bits_per_second: u32,
    /// Pixels; 0 for audio.
    pub width: u32,
    /// Pixels; 0 for audio.
    pub height: u32,
    /// Frames per second; 0 if not known or variable.
    pub fps: f64,
    /// Samples per second; 0 for video.
    pub rate: u32,
    /// 0 for video.
    pub channels: u32,
    /// Maximum time between keyframes in milliseconds; 0 with `key_interval_frames` 0 means 2 s.
    pub key_interval_ms: u32,
    /// Maximum number of frames between keyframes; 0 means no limit.
    pub key_interval_frames: u32,
    /// Interlaced video, to be encoded as such.
    pub interlaced: bool,
    /// Constant bit rate, from `audio-bitrate-mode`.
    pub constant: bool,
    /// Processor cores available to this encoder.
    pub cores: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            bits_per_second: 0,
            width: 0,
            height: 0,
            fps: 0.0,
            rate: 0,
            channels: 0,
            key_interval_ms: 0,
            key_interval_frames: 0,
            interlaced: false,
            constant: false,
            cores: 1,
        }
    }
}

/// Frame rate to assume if none is known.
pub const USUAL_FPS: f64 = 30.0;
/// Players can only seek to keyframes, and fragments and cuts start at them.
const DEFAULT_KEY_INTERVAL_MS: u32 = 2_000;

impl Tuning {
    fn fps(&self) -> f64 {
        if self.fps.is_finite() && self.fps > 0.0 {
            self.fps.min(1_000.0)
        } else {
            USUAL_FPS
        }
    }

    /// Maximum keyframe interval in frames, at least 1.
    pub fn key_frames(&self) -> u32 {
        let ms = match (self.key_interval_ms, self.key_interval_frames) {
            (0, 0) => DEFAULT_KEY_INTERVAL_MS,
            (0, frames) => return frames,
            (ms, _) => ms,
        };
        // The first frame at or after that time, allowing for rounding.
        let frames = f64::from(ms) * self.fps() / 1_000.0;
        let by_time = (frames - 1e-6).ceil().max(1.0) as u32;
        match self.key_interval_frames {
            0 => by_time,
            frames => by_time.min(frames),
        }
    }

    /// Input megapixels per second.
    fn megapixels(&self) -> f64 {
        f64::from(self.width) * f64::from(self.height) * self.fps() / 1e6
    }

    /// Megapixels per second for each core to encode.
    pub fn load(&self) -> f64 {
        self.megapixels() / self.cores.clamp(1, 64) as f64
    }

    /// Number of threads that may fully use one core each.
    pub fn threads(&self) -> u64 {
        self.cores.clamp(1, 16) as u64
    }

    /// Number of threads for an encoder whose threads busy-wait for each other: on cores that
    /// are busy otherwise, two are many times slower than one. One is sufficient for 720p30.
    pub fn spinning_threads(&self) -> u64 {
        let needed = (self.megapixels() / 40.0).ceil().max(1.0) as u64;
        needed.min(self.threads() / 2).max(1)
    }
}
