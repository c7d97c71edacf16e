//! `location` and the number of a recording in it.

use crate::model::Error;

/// Fills in the recording's number: at most one `%d` or `%0Nd`, no other `%`.
pub fn numbered(location: &str, number: u32) -> Result<String, Error> {
    let Some((before, after)) = location.split_once('%') else {
        return Ok(location.to_owned());
    };
    let refused = || {
        Error::not_supported(format!(
            "start: location \"{location}\" has a % that is not understood; at most one %d or \
             %0Nd (such as %05d) stands for the number of the recording"
        ))
    };
    let (digits, rest) = after.split_once('d').ok_or_else(refused)?;
    if rest.contains('%') {
        return Err(refused());
    }
    let width = match digits {
        "" => 0,
        _ => digits
            .strip_prefix('0')
            .filter(|width| !width.is_empty() && width.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|width| width.parse::<usize>().ok())
            .filter(|width| *width <= 20)
            .ok_or_else(refused)?,
    };
    Ok(format!("{before}{number:0width$}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorCode;

    #[test]
    fn numbers_count_the_recordings() {
        assert_eq!(numbered("a.webm", 3).unwrap(), "a.webm");
        assert_eq!(numbered("a-%d.webm", 3).unwrap(), "a-3.webm");
        assert_eq!(numbered("a-%05d.webm", 12).unwrap(), "a-00012.webm");
        assert_eq!(numbered("/d.d/%02dd", 1).unwrap(), "/d.d/01d");
    }

    #[test]
    fn any_other_percent_is_refused() {
        for bad in [
            "%", "100%", "%s", "%5d", "%0d", "%d%d", "%%", "%-1d", "%099d", "%d %",
        ] {
            let error = numbered(bad, 0).unwrap_err();
            assert_eq!(error.code(), ErrorCode::NotSupported, "{bad}");
            assert!(error.message().contains(bad), "{error:?}");
        }
    }
}
