//! Curves as an SVG: one panel each, equidistant amounts, cost from zero.

use crate::growth::Curve;
use std::fmt::Write;

const PANEL: (f64, f64) = (460.0, 320.0);
/// Margins of a panel: left, top, right, bottom (with the names of the lines).
const MARGIN: (f64, f64, f64, f64) = (64.0, 44.0, 16.0, 108.0);
/// Distinguishable with colour blindness.
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000",
];

/// All of them in two columns.
pub fn svg(curves: &[Curve]) -> String {
    let rows = curves.len().div_ceil(2).max(1);
    let (width, height) = (2.0 * PANEL.0, rows as f64 * PANEL.1);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (number, curve) in curves.iter().enumerate() {
        let (column, row) = ((number % 2) as f64, (number / 2) as f64);
        let _ = writeln!(
            svg,
            "<g transform=\"translate({} {})\">",
            column * PANEL.0,
            row * PANEL.1
        );
        panel(&mut svg, curve);
        svg += "</g>\n";
    }
    svg + "</svg>\n"
}

fn panel(svg: &mut String, curve: &Curve) {
    let (left, top) = (MARGIN.0, MARGIN.1);
    let (right, bottom) = (PANEL.0 - MARGIN.2, PANEL.1 - MARGIN.3);
    let points = || curve.lines.iter().flat_map(|(_, points)| points);
    let mut amounts: Vec<u64> = points().map(|(amount, _)| *amount).collect();
    amounts.sort_unstable();
    amounts.dedup();
    let step = step(points().map(|(_, cost)| *cost).fold(0.0, f64::max));
    let most = points()
        .map(|(_, cost)| (cost / step).ceil())
        .fold(1.0, f64::max)
        * step;
    let x = |amount: u64| {
        let at = amounts
            .iter()
            .position(|known| *known == amount)
            .unwrap_or(0) as f64;
        let apart = (right - left) / amounts.len().max(1) as f64;
        left + apart * (at + 0.5)
    };
    let y = |cost: f64| bottom - (bottom - top) * cost / most;
    let mut text = |x: f64, y: f64, anchor: &str, more: &str, text: &str| {
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{more}>{text}</text>"
        );
    };
    text(left, 18.0, "start", " font-size=\"14\"", curve.title);
    text(left, 34.0, "start", "", curve.unit);
    for amount in &amounts {
        text(x(*amount), bottom + 15.0, "middle", "", &amount.to_string());
    }
    text(
        (left + right) / 2.0,
        bottom + 30.0,
        "middle",
        "",
        curve.amount,
    );
    let mut cost = 0.0;
    let mut levels = Vec::new();
    while cost <= most * 1.001 {
        text(
            left - 6.0,
            y(cost) + 4.0,
            "end",
            "",
            &format!("{}", (cost * 1e3).round() / 1e3),
        );
        levels.push(y(cost));
        cost += step;
    }
    for (number, (name, _)) in curve.lines.iter().enumerate() {
        let (column, row) = ((number % 2) as f64, (number / 2) as f64);
        text(
            left + column * 200.0,
            bottom + 46.0 + row * 14.0,
            "start",
            &format!(" fill=\"{}\"", colour(number)),
            &format!("● {name}"),
        );
    }
    for level in levels {
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {level:.1}H{right}\" stroke=\"#ddd\"/>"
        );
    }
    for (number, (_, points)) in curve.lines.iter().enumerate() {
        let colour = colour(number);
        let at = points
            .iter()
            .map(|(amount, cost)| format!("{:.1},{:.1}", x(*amount), y(*cost)));
        let at: Vec<_> = at.collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            at.join(" ")
        );
        for (amount, cost) in points {
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x(*amount),
                y(*cost)
            );
        }
    }
}

fn colour(number: usize) -> &'static str {
    COLOURS[number % COLOURS.len()]
}

/// A round number that fits three to seven times into `most`.
fn step(most: f64) -> f64 {
    if !most.is_finite() || most <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf((most / 3.0).log10().floor());
    match most / 3.0 / power {
        times if times < 2.0 => power,
        times if times < 5.0 => 2.0 * power,
        _ => 5.0 * power,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_a_few_round_steps() {
        for most in [0.0013, 0.5, 1.0, 3.0, 7.0, 99.0, 12_345.0] {
            let steps = most / step(most);
            assert!((3.0..=7.5).contains(&steps), "{most}: {steps}");
        }
        assert_eq!((step(0.0), step(f64::NAN)), (1.0, 1.0));
    }

    #[test]
    fn a_plot_shows_every_point_and_name() {
        let curve = Curve {
            title: "Length",
            amount: "minutes",
            unit: "ms",
            lines: vec![
                ("a".into(), vec![(1, 2.0), (10, 3.0)]),
                ("b".into(), vec![(1, 4.0)]),
            ],
        };
        let svg = svg(&[curve]);
        assert_eq!(svg.matches("<circle").count(), 3);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("● a") && svg.contains(">10<") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN"));
    }
}
