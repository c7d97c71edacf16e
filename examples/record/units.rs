//! Durations and sizes as users write them: `30s`, `10m`, `20G`. Pure.

use std::time::Duration;

/// `1.5`, `30s`, `10m`, `2h`: seconds without a unit; more than 0.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let (number, seconds) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) if text.ends_with('m') => (number, 60.0),
        Some(number) if text.ends_with('h') => (number, 3600.0),
        Some(number) => (number, 1.0),
        None => (text, 1.0),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text:?} is not a duration, such as 30s, 10m or 2h"))?;
    match Duration::try_from_secs_f64(number * seconds) {
        Ok(Duration::ZERO) => Err("has to be more than 0 seconds".into()),
        // GStreamer counts nanoseconds in 64 bits.
        Ok(duration) if u64::try_from(duration.as_nanos()).is_ok() => Ok(duration),
        _ => Err(format!("{text} is not a possible duration")),
    }
}

/// `500M`, `20G`, `1T`, in powers of 1000 as disks are sold; bytes without a unit; more than 0.
pub fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1e3),
        Some((at, 'M')) => (&text[..at], 1e6),
        Some((at, 'G')) => (&text[..at], 1e9),
        Some((at, 'T')) => (&text[..at], 1e12),
        _ => (text, 1.0),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text:?} is not a size, such as 500M, 20G or 1T"))?;
    let bytes = number * unit;
    if !(1.0..1e18).contains(&bytes) {
        return Err(format!("{text} is not a possible size"));
    }
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("30s", 30.0), ("10m", 600.0), ("1.5h", 5400.0), ("2", 2.0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)));
        }
        for wrong in ["", "s", "0", "0s", "-1s", "NaN", "1d", "1e300", "9999999h"] {
            assert!(duration(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, count) in [
            ("7", 7),
            ("5k", 5_000),
            ("1.5M", 1_500_000),
            ("20G", 20_000_000_000),
        ] {
            assert_eq!(bytes(text), Ok(count));
        }
        for wrong in ["", "G", "0", "-1M", "NaN", "1X", "1e300", "20GB", "5é"] {
            assert!(bytes(wrong).is_err(), "{wrong:?} was taken");
        }
    }
}
