//! Validates the fields after a codec's name, such as profile and level, as defined by the codec's registration.

use crate::model::profile::avc_profile_idc;

fn digits(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn hex(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `vp09.<profile>.<level>.<depth>[.…five more]` (VP codec ISO media file format binding).
pub(super) fn vp_fields(fields: &[&str]) -> bool {
    match fields {
        [] => true,
        [profile, _, _, ..] if fields.len() <= 8 => {
            matches!(*profile, "00" | "01" | "02" | "03") && fields.iter().all(|f| digits(f, 2..=2))
        }
        _ => false,
    }
}

/// `av01.<profile>.<level and tier>.<depth>[.…six more]` (AV1 ISO media file format binding).
pub(super) fn av1_fields(fields: &[&str]) -> bool {
    match fields {
        [] => true,
        [profile, level, more @ ..] if (1..=7).contains(&more.len()) => {
            matches!(*profile, "0" | "1" | "2")
                && level
                    .strip_suffix(['m', 'h'])
                    .is_some_and(|level| digits(level, 2..=2))
                && more.iter().all(|f| digits(f, 1..=3))
        }
        _ => false,
    }
}

/// `avc1.PPCCLL` (RFC 6381 section 3.3), or the older `avc1.<profile>.<level>` in decimal.
pub(super) fn avc_fields(fields: &[&str]) -> bool {
    let is_well_formed = match fields {
        [] => return true,
        [all] => hex(all, 6..=6),
        [_, level] => digits(level, 1..=2),
        _ => false,
    };
    // Baseline, main, high, high 10, high 4:2:2, high 4:4:4: those that encoders produce.
    is_well_formed
        && matches!(
            avc_profile_idc(fields),
            Some(66 | 77 | 100 | 110 | 122 | 244)
        )
}

/// `hvc1.<profile>.<compatibility>.<tier and level>[.<constraint byte>…]` (ISO 14496-15 annex E).
pub(super) fn hevc_fields(fields: &[&str]) -> bool {
    match fields {
        [] => true,
        [profile, compatibility, level, constraints @ ..] if constraints.len() <= 6 => {
            digits(profile.trim_start_matches(['a', 'b', 'c']), 1..=2)
                && hex(compatibility, 1..=8)
                && level
                    .strip_prefix(['l', 'h'])
                    .is_some_and(|level| digits(level, 1..=3))
                && constraints.iter().all(|byte| hex(byte, 1..=2))
        }
        _ => false,
    }
}
