//! A bare MP3 file states its encoder delay, padding and title.

mod common;

use common::harness::{Recorder, media};
use common::judge::position;
use common::take::{Recipe, take};
use std::process::Command;

const SECOND: u64 = 1_000_000_000;

#[test]
fn players_find_start_and_end_of_the_audio_to_the_sample() {
    if !common::harness::make_recorder().supports("audio/mpeg") {
        println!("audio/mpeg: not installed, not tested");
        return;
    }
    for mode in ["constant", "variable"] {
        let mut recipe = Recipe::new("audio/mpeg;codecs=mp3", true, false);
        recipe.until = recipe.from + 3 * SECOND;
        recipe = recipe.with("audio-bitrate-mode", mode);
        let take = take(&recipe);
        let expected = (take.kept.total() * 48_000 + SECOND / 2) / SECOND;
        let mut ffmpeg = Command::new("ffmpeg");
        let ffmpeg = ffmpeg
            .args(["-v", "error", "-nostdin", "-i"])
            .arg(&take.path);
        let (bytes, output) = media::run(ffmpeg.args(["-f", "s32le", "-ac", "1", "pipe:1"]));
        assert_eq!(output, "");
        assert!(
            (bytes.len() as u64 / 4).abs_diff(expected) <= 1,
            "{} of {expected}",
            bytes.len() / 4
        );
        let samples = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|four| i32::from_le_bytes(*four));
        let audio = common::judge::decode::DecodedAudio {
            rate: 48_000,
            channels: 1,
            samples: samples.collect(),
            blocks: vec![(0, 0.0)],
        };
        let places = position::find(&audio, 10e9).unwrap();
        position::check(&places, &take.kept, 0.2e6).unwrap();
    }
}
