//! The three bit-rate properties: their values after writes, starts and ends. The files named here, and those restated
//! by the tests whose names begin with `wpt`, are web platform tests.

use super::mime::Kind;

/// `audio-bits-per-second` until set.
pub const DEFAULT_AUDIO: u32 = 128_000;
/// `video-bits-per-second` until set, and the rate for 1280x720 at 30 frames per second.
pub const DEFAULT_VIDEO: u32 = 2_500_000;

/// Minimum audio rate in a split of a total, so that both rates stay above 0 (MediaRecorder-bitrate.https.html).
const MIN_AUDIO: u32 = 8_000;
/// Minimum video rate in a split of a total.
const MIN_VIDEO: u32 = 16_000;
/// Audio gets this fraction of a total, up to [`DEFAULT_AUDIO`].
const AUDIO_SHARE: u32 = 8;

/// Known format of a video track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoSize {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second; 0 or less if unknown or variable.
    pub fps: f64,
}

impl VideoSize {
    /// Suitable bit rate for this size and frame rate: 2500000 for 1280x720 at 30. Larger frames need fewer bits per
    /// pixel, hence the exponent.
    pub fn suitable_rate(self) -> u32 {
        let fps = if self.fps.is_finite() && self.fps > 0.0 {
            self.fps.clamp(1.0, 240.0)
        } else {
            30.0
        };
        let pixels = f64::from(self.width.max(1)) * f64::from(self.height.max(1)) * fps;
        let scale = (pixels / (1280.0 * 720.0 * 30.0)).powf(0.75);
        let rate = (f64::from(DEFAULT_VIDEO) * scale / 10_000.0).round() * 10_000.0;
        rate.clamp(100_000.0, 100_000_000.0) as u32
    }
}

/// A total split into the rates of both kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Split {
    audio: u32,
    video: u32,
}

impl Split {
    fn of(total: u32) -> Self {
        let audio = (total / AUDIO_SHARE).clamp(MIN_AUDIO, DEFAULT_AUDIO);
        Self::with_audio(total, audio)
    }

    /// The split of `total` with this audio rate, within the minimum rates.
    fn with_audio(total: u32, audio: u32) -> Self {
        let audio = audio.min(total.saturating_sub(MIN_VIDEO)).max(MIN_AUDIO);
        let video = total.saturating_sub(audio).max(MIN_VIDEO);
        Self { audio, video }
    }

    /// The split of `total` with this video rate, within the minimum rates.
    fn with_video(total: u32, video: u32) -> Self {
        let video = video.min(total.saturating_sub(MIN_AUDIO)).max(MIN_VIDEO);
        let audio = total.saturating_sub(video).max(MIN_AUDIO);
        Self { audio, video }
    }
}

/// The properties `audio-bits-per-second`, `video-bits-per-second` and `bits-per-second`, all in bits per second over
/// all tracks of a kind.
///
/// Once set, a total overrides the others in any order of writes (MediaRecorder-bitrate.https.html): setting the rate
/// of one kind then changes the split, and the sum stays the total.
#[derive(Debug, Clone, PartialEq)]
pub struct Bitrates {
    /// As set, or the default.
    audio: u32,
    /// As set; until then the video rate follows the tracks.
    video: Option<u32>,
    /// The suitable rate for the tracks.
    followed: u32,
    /// As set, with its split.
    total: Option<(u32, Split)>,
    /// The rate of the only kind in a recording with a total, until its end.
    single_kind_total: Option<(Kind, u32)>,
}

impl Default for Bitrates {
    fn default() -> Self {
        Self {
            audio: DEFAULT_AUDIO,
            video: None,
            followed: DEFAULT_VIDEO,
            total: None,
            single_kind_total: None,
        }
    }
}

impl Bitrates {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Value of `audio-bits-per-second`.
    pub fn audio(&self) -> u32 {
        match (self.single_kind_total, self.total) {
            (Some((Kind::Audio, rate)), _) => rate,
            (Some((Kind::Video, _)), _) => 0,
            (None, Some((_, split))) => split.audio,
            (None, None) => self.audio,
        }
    }

    /// Value of `video-bits-per-second`.
    pub fn video(&self) -> u32 {
        match (self.single_kind_total, self.total) {
            (Some((Kind::Video, rate)), _) => rate,
            (Some((Kind::Audio, _)), _) => 0,
            (None, Some((_, split))) => split.video,
            (None, None) => self.video.unwrap_or(self.followed),
        }
    }

    /// Value of `bits-per-second`: 0 if never set.
    pub fn total(&self) -> u32 {
        self.total.map_or(0, |(total, _)| total)
    }

    /// Value of the property of this kind.
    pub fn of(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Audio => self.audio(),
            Kind::Video => self.video(),
        }
    }

    /// The bit rate of each of `tracks` tracks of a kind.
    pub fn per_track(&self, kind: Kind, tracks: usize) -> u32 {
        let tracks = u32::try_from(tracks.max(1)).unwrap_or(u32::MAX);
        self.of(kind) / tracks
    }

    /// Sets `audio-bits-per-second`.
    pub fn set_audio(&mut self, rate: u32) {
        self.audio = rate;
        if let Some((Kind::Audio, single_kind_total)) = &mut self.single_kind_total {
            *single_kind_total = rate;
        }
        // With a total, 0 is ignored: MediaRecorder-bitrate.https.html writes it and still expects both above 0.
        if let Some((total, split)) = &mut self.total
            && rate != 0
        {
            *split = Split::with_audio(*total, rate);
        }
    }

    /// Sets `video-bits-per-second`.
    pub fn set_video(&mut self, rate: u32) {
        self.video = Some(rate);
        if let Some((Kind::Video, single_kind_total)) = &mut self.single_kind_total {
            *single_kind_total = rate;
        }
        if let Some((total, split)) = &mut self.total
            && rate != 0
        {
            *split = Split::with_video(*total, rate);
        }
    }

    /// Sets `bits-per-second`; 0 is a valid total.
    pub fn set_total(&mut self, rate: u32) {
        self.total = Some((rate, Split::of(rate)));
        if let Some((_, single_kind_total)) = &mut self.single_kind_total {
            *single_kind_total = rate;
        }
    }

    /// Sets the video tracks with known caps; without any the default applies.
    pub fn follow(&mut self, tracks: &[VideoSize]) {
        self.followed = if tracks.is_empty() {
            DEFAULT_VIDEO
        } else {
            tracks
                .iter()
                .fold(0u32, |sum, size| sum.saturating_add(size.suitable_rate()))
        };
    }

    /// Starts a recording with tracks of these kinds. With a total, an absent kind is 0 from here on and the other one
    /// gets the whole total.
    pub fn start(&mut self, has_audio: bool, has_video: bool) {
        self.single_kind_total = match (self.total, has_audio, has_video) {
            (Some((total, _)), true, false) => Some((Kind::Audio, total)),
            (Some((total, _)), false, true) => Some((Kind::Video, total)),
            _ => None,
        };
    }

    /// Ends the recording: restores the previous values.
    pub fn end(&mut self) {
        self.single_kind_total = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The state after these writes, in every order.
    fn orders(writes: &[(&str, u32)]) -> Vec<Bitrates> {
        fn go(done: Bitrates, left: &[(&str, u32)], out: &mut Vec<Bitrates>) {
            if left.is_empty() {
                out.push(done);
                return;
            }
            for at in 0..left.len() {
                let mut next = done.clone();
                match left[at].0 {
                    "a" => next.set_audio(left[at].1),
                    "v" => next.set_video(left[at].1),
                    _ => next.set_total(left[at].1),
                }
                let rest: Vec<_> = [&left[..at], &left[at + 1..]].concat();
                go(next, &rest, out);
            }
        }
        let mut out = Vec::new();
        go(Bitrates::new(), writes, &mut out);
        out
    }

    fn both_non_zero_and_near(rates: &Bitrates, total: u32) {
        assert!(rates.audio() != 0 && rates.video() != 0, "{rates:?}");
        assert!(
            (rates.audio() + rates.video()).abs_diff(total) <= 100_000,
            "{rates:?}"
        );
    }

    #[test]
    fn wpt_1_to_4_defaults() {
        let rates = Bitrates::new();
        assert_eq!((rates.audio(), rates.video()), (128_000, 2_500_000));
        assert_eq!(rates.total(), 0);
    }

    #[test]
    fn wpt_5_total_of_0() {
        both_non_zero_and_near(&orders(&[("t", 0)])[0], 0);
    }

    #[test]
    fn wpt_6_and_7_one_of_0() {
        let rates = &orders(&[("a", 0)])[0];
        assert_eq!((rates.audio(), rates.video()), (0, 2_500_000));
        let rates = &orders(&[("v", 0)])[0];
        assert_eq!((rates.audio(), rates.video()), (128_000, 0));
    }

    #[test]
    fn wpt_8_to_10_the_total_overrides_in_any_order() {
        for rates in orders(&[("t", 0), ("a", 100_000), ("v", 1_000_000)]) {
            both_non_zero_and_near(&rates, 0);
        }
        for rates in orders(&[("t", 2_000_000), ("a", 0), ("v", 0)]) {
            both_non_zero_and_near(&rates, 2_000_000);
        }
        both_non_zero_and_near(&orders(&[("t", 2_000_000)])[0], 2_000_000);
    }

    #[test]
    fn wpt_11_to_14_one_alone_is_exact() {
        let mut rates = orders(&[("a", 100_000)]).remove(0);
        assert_eq!((rates.audio(), rates.video()), (100_000, 2_500_000));
        rates.start(false, true);
        assert_eq!((rates.audio(), rates.video()), (100_000, 2_500_000));
        let mut rates = orders(&[("v", 1_000_000)]).remove(0);
        assert_eq!((rates.audio(), rates.video()), (128_000, 1_000_000));
        rates.start(true, false);
        assert_eq!((rates.audio(), rates.video()), (128_000, 1_000_000));
    }

    #[test]
    fn wpt_15_to_19_start_with_both_kinds_changes_nothing() {
        for writes in [
            &[][..],
            &[("a", 64_000), ("v", 900_000)],
            &[("t", 2_000_000)],
        ] {
            for mut rates in orders(writes) {
                let before = rates.clone();
                assert!(rates.audio() != 0 && rates.video() != 0);
                rates.start(true, true);
                assert_eq!(rates, before);
            }
        }
    }

    #[test]
    fn wpt_20_and_21_a_lone_kind_gets_all_until_the_end() {
        let mut rates = orders(&[("t", 500_000)]).remove(0);
        let before = (rates.audio(), rates.video());
        rates.start(true, false);
        assert_eq!((rates.audio(), rates.video()), (500_000, 0));
        assert_ne!(before.0, 500_000);
        rates.end();
        assert_eq!((rates.audio(), rates.video()), before);

        let mut rates = orders(&[("t", 2_000_000)]).remove(0);
        let before = (rates.audio(), rates.video());
        rates.start(false, true);
        assert_eq!((rates.audio(), rates.video()), (0, 2_000_000));
        assert_ne!(before.1, 2_000_000);
        rates.end();
        assert_eq!((rates.audio(), rates.video()), before);
    }

    #[test]
    fn writes_while_recording_apply_and_an_absent_kind_stays_0() {
        let mut rates = orders(&[("t", 2_000_000)]).remove(0);
        rates.start(false, true);
        rates.set_video(700_000);
        rates.set_audio(50_000);
        assert_eq!((rates.audio(), rates.video()), (0, 700_000));
        rates.end();
        both_non_zero_and_near(&rates, 2_000_000);
    }

    #[test]
    fn a_rate_under_a_total_moves_the_split() {
        let mut rates = orders(&[("t", 1_000_000)]).remove(0);
        rates.set_audio(64_000);
        assert_eq!((rates.audio(), rates.video()), (64_000, 936_000));
    }

    #[test]
    fn video_follows_its_tracks_until_written() {
        let hd = VideoSize {
            width: 1280,
            height: 720,
            fps: 30.0,
        };
        let mut rates = Bitrates::new();
        rates.follow(&[hd]);
        assert_eq!(rates.video(), 2_500_000);
        rates.follow(&[hd, hd]);
        assert_eq!(rates.video(), 5_000_000);
        assert_eq!(rates.per_track(Kind::Video, 2), 2_500_000);
        let small = VideoSize {
            width: 320,
            height: 240,
            fps: 15.0,
        };
        rates.follow(&[small]);
        assert!(
            (100_000..500_000).contains(&rates.video()),
            "{}",
            rates.video()
        );
        rates.set_video(1_234_567);
        rates.follow(&[hd]);
        assert_eq!(rates.video(), 1_234_567);
    }

    proptest! {
        #[test]
        fn no_write_overflows(total: u32, audio: u32, video: u32, width: u32, height: u32, fps: f64) {
            for rates in orders(&[("t", total), ("a", audio), ("v", video)]) {
                prop_assert!(rates.audio() > 0 && rates.video() > 0);
                let sum = u64::from(rates.audio()) + u64::from(rates.video());
                prop_assert!(sum.abs_diff(u64::from(total)) <= 100_000);
            }
            let size = VideoSize { width, height, fps };
            prop_assert!(size.suitable_rate() >= 100_000);
        }
    }
}
