//! How cost grows: with the duration of a recording, with tracks, with concurrent recorders, with cuts.

use crate::{
    Way,
    figures::quantile,
    pipeline::{MUXER, launch, run},
    place::Place,
    process::{Part, ask},
    push::{Doing, OTHERS, Subject, TOGGLERECORD},
    sample::{Sample, Then, feed},
    togglerecord,
};
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Work of child processes.
pub const MINUTES: &str = "growth-minutes";
pub const TRACKS: &str = "growth-tracks";
pub const RECORDERS: &str = "growth-recorders";
pub const LIVE: &str = "growth-live";
pub const BUFFERS: &str = "growth-buffers";

/// Per track, where tracks are counted; per recorder, where those are.
const MINUTES_PER_TRACK: u64 = 2;
const MINUTES_PER_RECORDER: u64 = 1;
/// Per recorder, for live input.
const LIVE_SECONDS: u64 = 20;
/// Between a live source and its recorders: passes on what is due and no more.
const AT_ITS_TIME: &str = "is-live=true ! identity sync=true ";

/// The points of a curve: the amount, and its cost.
type Points = Vec<(u64, f64)>;

/// Cost over amount, as range of both axes.
pub struct Curve {
    pub title: &'static str,
    /// Of the amount.
    pub amount: &'static str,
    /// Of the cost.
    pub unit: &'static str,
    /// Name and points.
    pub lines: Vec<(String, Points)>,
}

/// A work of growing amount: how often it is run for each, and the divisor of its CPU time.
struct Growing {
    title: &'static str,
    amount: &'static str,
    unit: &'static str,
    work: &'static str,
    steps: &'static [(u64, usize)],
    per: fn(u64) -> f64,
}

const GROWING: [Growing; 4] = [
    Growing {
        title: "Length of a recording",
        amount: "minutes of media",
        unit: "CPU ms per recorded minute",
        work: MINUTES,
        steps: &[(1, 9), (10, 5), (100, 3)],
        per: |minutes| minutes as f64,
    },
    Growing {
        title: "Tracks of a recording",
        amount: "tracks",
        unit: "CPU ms per track and minute",
        work: TRACKS,
        steps: &[(1, 5), (2, 5), (4, 3), (8, 3), (16, 3)],
        per: |tracks| (tracks * MINUTES_PER_TRACK) as f64,
    },
    Growing {
        title: "Recorders at once, live",
        amount: "recorders",
        unit: "CPU ms per recorder and recorded minute",
        work: LIVE,
        steps: &[(1, 3), (10, 3), (100, 3)],
        per: |recorders| (recorders * LIVE_SECONDS) as f64 / 60.0,
    },
    Growing {
        title: "Recorders at once, as fast as possible",
        amount: "recorders",
        unit: "CPU ms per recorder and recorded minute",
        work: RECORDERS,
        steps: &[(1, 9), (10, 5), (100, 3)],
        per: |recorders| (recorders * MINUTES_PER_RECORDER) as f64,
    },
];

/// Prints the tables and returns their curves.
pub fn report(place: &Place) -> Result<Vec<Curve>> {
    Sample::Light.make(place)?;
    let mut curves = Vec::new();
    for growing in &GROWING {
        curves.push(grow(growing, place)?);
    }
    curves.push(cuts(place)?);
    Ok(curves)
}

impl Curve {
    pub fn json(&self) -> Value {
        let lines = self
            .lines
            .iter()
            .map(|(name, points)| json!({ "name": name, "points": points }));
        json!({
            "title": self.title, "amount": self.amount, "unit": self.unit, "lines": lines.collect::<Vec<_>>(),
        })
    }
}

fn grow(growing: &Growing, place: &Place) -> Result<Curve> {
    println!("\n{}: {}\n", growing.title, growing.unit);
    println!(
        "| {} | recorder | by hand | ratio |\n|---|---|---|---|",
        growing.amount
    );
    let (mut recorder, mut by_hand) = (Points::new(), Points::new());
    for (amount, times) in growing.steps {
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..*times {
            for (way, costs) in [Way::Recorder, Way::ByHand].into_iter().zip(&mut costs) {
                let said = ask(place, growing.work, way, *amount)?;
                let cpu = said["cpu"].as_f64().context("no CPU time")?;
                costs.push(cpu * 1e3 / (growing.per)(*amount));
            }
        }
        let [a, b] = costs.map(|costs| quantile(&costs, 0.5));
        println!("| {amount} | {a:.2} | {b:.2} | {:.3} |", a / b);
        recorder.push((*amount, a));
        by_hand.push((*amount, b));
    }
    Ok(Curve {
        title: growing.title,
        amount: growing.amount,
        unit: growing.unit,
        lines: vec![("recorder".into(), recorder), ("by hand".into(), by_hand)],
    })
}

const CUTS: [u64; 3] = [0, 100, 10_000];

fn cuts(place: &Place) -> Result<Curve> {
    let said = ask(place, BUFFERS, Way::Recorder, 0)?;
    let (unit, amount) = ("ns per raw buffer", "cuts before");
    println!("\nCuts: {unit}\n\n| what | {amount} | ns |\n|---|---|---|");
    let mut lines: Vec<(String, Points)> = Vec::new();
    for row in said["rows"].as_array().context("no rows")? {
        let name = row["what"].as_str().context("no name")?;
        let (cuts, ns) = (
            row["cuts"].as_u64().unwrap_or(0),
            row["ns"].as_f64().context("no time")?,
        );
        println!("| {name} | {cuts} | {ns:.0} |");
        match lines.iter_mut().find(|(known, _)| known == name) {
            Some((_, points)) => points.push((cuts, ns)),
            None => lines.push((name.to_owned(), vec![(cuts, ns)])),
        }
    }
    for (_, points) in &mut lines {
        if let [(_, ns)] = points[..] {
            // Independent of cuts: the same for any number.
            *points = CUTS.map(|cuts| (cuts, ns)).to_vec();
        }
    }
    let title = "Cuts of a recording";
    Ok(Curve {
        title,
        amount,
        unit,
        lines,
    })
}

/// The cost of a raw buffer, alternating between the variants.
pub fn buffers() -> Result<()> {
    const COUNT: u64 = 40_000;
    let mut subjects = Vec::new();
    let mut others = OTHERS.to_vec();
    match togglerecord::load() {
        Ok(()) => others.push(TOGGLERECORD),
        Err(missing) => eprintln!("NOT MEASURED: {missing:#}"),
    }
    for (name, element) in others {
        subjects.push((name, None, Subject::other(element)?));
    }
    subjects.push((
        "recorder, inactive",
        None,
        Subject::recorder(Doing::Nothing)?,
    ));
    for cuts in CUTS {
        subjects.push((
            "recorder, paused",
            Some(cuts),
            Subject::recorder(Doing::Paused(cuts))?,
        ));
        subjects.push((
            "recorder, recording",
            Some(cuts),
            Subject::recorder(Doing::Recording(cuts))?,
        ));
    }
    let mut times = vec![Vec::new(); subjects.len()];
    for _ in 0..9 {
        for ((_, _, subject), times) in subjects.iter_mut().zip(&mut times) {
            times.push(subject.push(COUNT).as_secs_f64() * 1e9 / COUNT as f64);
        }
    }
    let rows = subjects.iter().zip(&times).map(|((what, cuts, _), times)| {
        json!({ "what": what, "cuts": cuts, "ns": quantile(times, 0.5), "values": times })
    });
    println!("{}", json!({ "rows": rows.collect::<Vec<_>>() }));
    Ok(())
}

/// Pushes this many seconds of each pair of sources, after a second as warm-up, and prints the cost.
fn play(place: &Place, line: &str, names: &[(String, Kind)], seconds: u64) -> Result<()> {
    let (video, audio) = Sample::Light.read(place)?;
    let feed_all = |seconds| -> Result<gst::Pipeline> {
        let pipeline = launch(line)?;
        for (name, kind) in names {
            let track = match kind {
                Kind::Video => &video,
                Kind::Audio => &audio,
            };
            feed(&pipeline, name, track, seconds, Then::End)?;
        }
        Ok(pipeline)
    };
    run(&feed_all(1)?)?;
    let pipeline = feed_all(seconds)?;
    let part = Part::begin();
    run(&pipeline)?;
    part.say();
    Ok(())
}

enum Kind {
    Video,
    Audio,
}

/// This many recorders, or muxers, each with video and audio that arrive through `pace`.
fn several(way: Way, place: &Place, count: u64, seconds: u64, pace: &str) -> Result<()> {
    let mut line = String::new();
    let mut names = Vec::new();
    for number in 0..count {
        let file = place.one_of_many(number);
        let file = file.display();
        line += &match way {
            Way::Recorder => format!(
                "mediarecorder name=r{number} autostart=true mime-type=video/x-matroska location={file} \
                 appsrc name=v{number} {pace}! r{number}.video_0 appsrc name=a{number} {pace}! r{number}.audio_0 "
            ),
            Way::ByHand => format!(
                "matroskamux name=m{number} {MUXER} ! filesink async=false location={file} \
                 appsrc name=v{number} {pace}! h264parse ! video/x-h264,stream-format=avc,alignment=au ! m{number}.video_0 \
                 appsrc name=a{number} {pace}! m{number}.audio_0 "
            ),
        };
        names.push((format!("v{number}"), Kind::Video));
        names.push((format!("a{number}"), Kind::Audio));
    }
    play(place, &line, &names, seconds)
}

pub fn minutes(way: Way, place: &Place, minutes: u64) -> Result<()> {
    several(way, place, 1, minutes * 60, "")
}

pub fn live(way: Way, place: &Place, recorders: u64) -> Result<()> {
    several(way, place, recorders, LIVE_SECONDS, AT_ITS_TIME)
}

pub fn recorders(way: Way, place: &Place, recorders: u64) -> Result<()> {
    several(way, place, recorders, MINUTES_PER_RECORDER * 60, "")
}

/// This many audio tracks in one recording.
pub fn tracks(way: Way, place: &Place, tracks: u64) -> Result<()> {
    let file = place.recording();
    let file = file.display();
    let mut line = match way {
        Way::Recorder => format!(
            "mediarecorder name=r autostart=true mime-type=audio/x-matroska location={file} "
        ),
        Way::ByHand => format!("matroskamux name=r {MUXER} ! filesink location={file} "),
    };
    let mut names = Vec::new();
    for number in 0..tracks {
        line += &format!("appsrc name=a{number} ! r.audio_{number} ");
        names.push((format!("a{number}"), Kind::Audio));
    }
    play(place, &line, &names, MINUTES_PER_TRACK * 60)
}
