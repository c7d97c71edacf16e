//! File numbering in `location`.

use super::Error;
use std::path::Path;

/// Inserts the file's number: at most one `%d` or `%0Nd`; `%%` is a percent sign, no other `%` is valid.
pub fn numbered(location: &str, number: u32) -> Result<String, Error> {
    let refused = || {
        Error::not_supported(format!(
            "start: location \"{location}\" has an invalid %; use at most one %d or %0Nd (such as %05d) for the \
             number of the file, and %% for a percent sign"
        ))
    };
    let mut name = String::with_capacity(location.len());
    let mut rest = location;
    let mut is_numbered = false;
    while let Some((before, after)) = rest.split_once('%') {
        name.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            name.push('%');
            rest = after;
            continue;
        }
        let (digits, after) = after.split_once('d').ok_or_else(refused)?;
        if std::mem::replace(&mut is_numbered, true) {
            return Err(refused());
        }
        let width = width(digits).ok_or_else(refused)?;
        name.push_str(&format!("{number:0width$}"));
        rest = after;
    }
    name.push_str(rest);
    Ok(name)
}

/// Whether the pattern contains the number.
pub fn is_numbered(location: &str) -> bool {
    matches!((numbered(location, 0), numbered(location, 1)), (Ok(one), Ok(other)) if one != other)
}

/// The name of a further file for a pattern without a number: the number is inserted in front of its extension.
pub fn beside(location: &str, number: u32) -> Result<String, Error> {
    let name = numbered(location, number)?;
    let path = Path::new(&name);
    let (Some(stem), extension) = (path.file_stem(), path.extension()) else {
        return Ok(name);
    };
    let extension = extension.map_or(String::new(), |text| format!(".{}", text.to_string_lossy()));
    let beside = format!("{}-{number}{extension}", stem.to_string_lossy());
    Ok(path.with_file_name(beside).to_string_lossy().into_owned())
}

/// Minimum number of digits, from the text between `%` and `d`.
fn width(digits: &str) -> Option<usize> {
    if digits.is_empty() {
        return Some(0);
    }
    digits
        .strip_prefix('0')
        .filter(|width| !width.is_empty() && width.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|width| width.parse().ok())
        .filter(|width| *width <= 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorCode;

    #[test]
    fn numbers_count_the_recordings() {
        assert_eq!(numbered("a.webm", 3).unwrap(), "a.webm");
        assert!(is_numbered("a-%03d.webm") && !is_numbered("a%%d.webm") && !is_numbered("a%"));
        assert_eq!(numbered("a-%d.webm", 3).unwrap(), "a-3.webm");
        assert_eq!(numbered("a-%05d.webm", 12).unwrap(), "a-00012.webm");
        assert_eq!(numbered("/d.d/%02dd", 1).unwrap(), "/d.d/01d");
    }

    #[test]
    fn two_percent_signs_make_one() {
        assert_eq!(numbered("100%%.webm", 3).unwrap(), "100%.webm");
        assert_eq!(numbered("%%d%d%%", 3).unwrap(), "%d3%");
        assert_eq!(numbered("%%%02d%%%%", 3).unwrap(), "%03%%");
    }

    #[test]
    fn a_further_file_has_the_same_extension() {
        for (location, name) in [
            ("/a.b/c.mkv", "/a.b/c-3.mkv"),
            ("c", "c-3"),
            ("/a/100%%.tar.mkv", "/a/100%.tar-3.mkv"),
        ] {
            assert_eq!(beside(location, 3).unwrap(), name);
        }
    }

    #[test]
    fn any_other_percent_is_refused() {
        for bad in [
            "%", "100%", "%s", "%5d", "%0d", "%d%d", "%%%", "%-1d", "%099d", "%d %", "%05%%d",
        ] {
            let error = numbered(bad, 0).unwrap_err();
            assert_eq!(error.code(), ErrorCode::NotSupported, "{bad}");
            assert!(error.message().contains(bad), "{error:?}");
        }
    }
}
