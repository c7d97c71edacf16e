//! Whether both variants of a scenario record the same: packets and their bytes, as read by ffprobe.

use crate::{Way, place::Place, process::measure, scenarios::Scenario};
use anyhow::{Context, Result, ensure};
use std::{collections::BTreeMap, path::Path, process::Command};

/// Permitted difference in packets, and relative difference in bytes.
const PACKETS: u64 = 3;
const BYTES: f64 = 0.01;

/// By codec: packets, and their bytes.
type Content = BTreeMap<String, (u64, u64)>;

/// Runs both variants of each once and prints the contents of their files. An error if they differ.
pub fn check(scenarios: &[&Scenario], place: &mut Place) -> Result<()> {
    place.keep();
    println!("| scenario | track | packets | by hand | bytes | by hand |");
    println!("|---|---|---|---|---|---|");
    let mut differ = Vec::new();
    for scenario in scenarios.iter().filter(|scenario| scenario.records) {
        let content = |way| {
            measure(place, scenario.name, way, 0)?;
            let content = content(&place.recording())?;
            place.clear()?;
            Ok::<_, anyhow::Error>(content)
        };
        let (recorder, by_hand) = (content(Way::Recorder)?, content(Way::ByHand)?);
        let mut same = recorder.len() == by_hand.len() && !recorder.is_empty();
        for (codec, (packets, bytes)) in &recorder {
            let (packets_b, bytes_b) = by_hand.get(codec).copied().unwrap_or_default();
            println!(
                "| {} | {codec} | {packets} | {packets_b} | {bytes} | {bytes_b} |",
                scenario.name
            );
            same &= packets.abs_diff(packets_b) <= PACKETS
                && bytes.abs_diff(bytes_b) as f64 <= BYTES * *bytes as f64;
        }
        if !same {
            differ.push(scenario.name);
        }
    }
    ensure!(
        differ.is_empty(),
        "not the same work: {}",
        differ.join(", ")
    );
    Ok(())
}

fn content(file: &Path) -> Result<Content> {
    let probe = |entries: &str| -> Result<Vec<String>> {
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-of", "csv=p=0", "-show_entries", entries])
            .arg(file)
            .output()
            .context("ffprobe")?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let said = String::from_utf8(output.stdout)?;
        Ok(said
            .lines()
            .map(|line| line.trim_end_matches(',').to_owned())
            .collect())
    };
    let codecs = probe("stream=codec_name")?;
    let mut content = Content::new();
    let lines = probe("packet=stream_index,size")?;
    // Side data, of which no field was requested, prints empty lines.
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let (stream, size) = line.split_once(',').context("no size")?;
        let codec = codecs.get(stream.parse::<usize>()?).context("no codec")?;
        let so_far = content.entry(codec.clone()).or_default();
        *so_far = (so_far.0 + 1, so_far.1 + size.parse::<u64>()?);
    }
    Ok(content)
}
