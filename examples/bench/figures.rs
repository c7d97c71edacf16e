//! Summary statistics.

use serde_json::{Value, json};

/// The value below which a share of the values is.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Median and p95, as a table row and as JSON.
pub fn row(name: &str, unit: &str, values: &[f64]) -> Value {
    let (median, p95) = (quantile(values, 0.5), quantile(values, 0.95));
    let most = quantile(values, 1.0);
    println!(
        "| {name} | {unit} | {median:.2} | {p95:.2} | {most:.2} | {} |",
        values.len()
    );
    json!({ "what": name, "unit": unit, "median": median, "p95": p95, "most": most, "values": values })
}

/// The header of the table that [`row`] writes.
pub fn head() {
    println!("| what | unit | median | p95 | most | of |\n|---|---|---|---|---|---|");
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_values() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(
            [0.0, 0.25, 0.5, 0.95, 1.0].map(|share| quantile(&values, share)),
            [1.0, 2.0, 3.0, 5.0, 5.0]
        );
        assert!(quantile(&[], 0.5).is_nan());
    }
}
