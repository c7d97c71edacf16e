//! Runs both variants of each scenario in turns, and compares them.

use crate::{
    Way,
    figures::quantile,
    place::Place,
    process::{Cost, measure},
    scenarios::Scenario,
};
use anyhow::Result;
use serde_json::{Value, json};

/// A figure: its name in the table and in JSON, and how to get it.
type Figure = (&'static str, &'static str, fn(&Cost) -> f64);

const FIGURES: [Figure; 4] = [
    ("CPU s", "cpu_seconds", |cost| cost.cpu),
    ("wall s", "wall_seconds", |cost| cost.wall),
    ("peak RSS MiB", "peak_rss_mib", |cost| cost.rss),
    ("threads", "threads", |cost| cost.threads),
];

/// Prints the table row by row, and returns its figures.
pub fn compare(scenarios: &[&Scenario], pairs: usize, place: &Place) -> Result<Vec<Value>> {
    for scenario in scenarios {
        println!("{}: {}", scenario.name, scenario.what);
    }
    println!("\n| scenario | figure | recorder | by hand | ratio | quartiles of the ratio |");
    println!("|---|---|---|---|---|---|");
    scenarios
        .iter()
        .map(|scenario| compare_one(scenario, pairs, place))
        .collect()
}

fn compare_one(scenario: &Scenario, pairs: usize, place: &Place) -> Result<Value> {
    let run = |way| Ok::<_, anyhow::Error>(measure(place, scenario.name, way, 0)?.0);
    // One run of each to warm caches, not counted.
    run(Way::Recorder)?;
    run(Way::ByHand)?;
    let mut runs = Vec::new();
    for _ in 0..pairs {
        runs.push((run(Way::Recorder)?, run(Way::ByHand)?));
    }
    let mut said = json!({ "scenario": scenario.name, "what": scenario.what, "pairs": pairs });
    for (name, key, pick) in FIGURES {
        let recorder: Vec<f64> = runs.iter().map(|pair| pick(&pair.0)).collect();
        let by_hand: Vec<f64> = runs.iter().map(|pair| pick(&pair.1)).collect();
        let ratios: Vec<f64> = recorder.iter().zip(&by_hand).map(|(a, b)| a / b).collect();
        let [low, middle, high] = [0.25, 0.5, 0.75].map(|share| quantile(&ratios, share));
        let (a, b) = (quantile(&recorder, 0.5), quantile(&by_hand, 0.5));
        println!(
            "| {} | {name} | {a:.3} | {b:.3} | {middle:.3} | {low:.3} to {high:.3} |",
            scenario.name
        );
        said[key] = json!({
            "recorder": a, "by_hand": b, "ratio": middle, "quartiles": [low, high],
            "runs": { "recorder": recorder, "by_hand": by_hand },
        });
    }
    Ok(said)
}
