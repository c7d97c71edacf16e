//! Bit depth and chroma subsampling of the profile in a codec string.

/// Chroma subsampling, lowest resolution first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chroma {
    /// 4:2:0
    Subsampled,
    /// 4:2:2
    Half,
    /// 4:4:4
    Full,
}

impl Chroma {
    /// The usual notation.
    pub fn name(self) -> &'static str {
        match self {
            Chroma::Subsampled => "4:2:0",
            Chroma::Half => "4:2:2",
            Chroma::Full => "4:4:4",
        }
    }
}

/// Bit depth and chroma subsampling of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Bits per component.
    pub depth: u32,
    /// Chroma subsampling.
    pub chroma: Chroma,
}

impl Profile {
    /// The profile in a valid codec string, `None` without one.
    ///
    /// `vp09` and `av01`: their ISO media file format bindings. `avc1`: RFC 6381 section 3.3 and ITU-T H.264 annex A.
    /// `hvc1`: ISO 14496-15 annex E.
    pub fn of_codec_string(text: &str) -> Option<Profile> {
        let lower = text.to_ascii_lowercase();
        let mut fields = lower.split('.');
        let entry = fields.next()?;
        let fields: Vec<&str> = fields.collect();
        match entry {
            "vp09" => vp9(&fields),
            "av01" => av1(&fields),
            "avc1" | "avc3" => avc(&fields),
            "hvc1" | "hev1" => hevc(&fields),
            _ => None,
        }
    }
}

fn profile(depth: u32, chroma: Chroma) -> Option<Profile> {
    Some(Profile { depth, chroma })
}

fn vp9(fields: &[&str]) -> Option<Profile> {
    let depth = fields.get(2).and_then(|depth| depth.parse().ok());
    // The fourth field if present; otherwise the profile allows 4:2:2 and 4:4:4.
    let chroma = match (fields.first()?, fields.get(3)) {
        (&"00" | &"02", _) => Chroma::Subsampled,
        (_, Some(&"02")) => Chroma::Half,
        _ => Chroma::Full,
    };
    let depth = match *fields.first()? {
        "00" | "01" => 8,
        _ => depth.filter(|depth| *depth > 8).unwrap_or(10),
    };
    profile(depth, chroma)
}

fn av1(fields: &[&str]) -> Option<Profile> {
    let depth = fields.get(2).and_then(|depth| depth.parse().ok());
    let chroma = match *fields.first()? {
        "0" => Chroma::Subsampled,
        "1" => Chroma::Full,
        _ => Chroma::Half,
    };
    profile(depth.unwrap_or(8), chroma)
}

/// `profile_idc` in the fields after `avc1` or `avc3`: `PPCCLL` in hexadecimal (RFC 6381 section 3.3), or the older
/// `<profile>.<level>` in decimal.
pub fn avc_profile_idc(fields: &[&str]) -> Option<u8> {
    match fields {
        [all] if all.len() == 6 => u8::from_str_radix(all.get(..2)?, 16).ok(),
        [profile, _] => profile.parse().ok(),
        _ => None,
    }
}

fn avc(fields: &[&str]) -> Option<Profile> {
    match avc_profile_idc(fields)? {
        110 => profile(10, Chroma::Subsampled),
        122 => profile(10, Chroma::Half),
        244 => profile(10, Chroma::Full),
        _ => profile(8, Chroma::Subsampled),
    }
}

fn hevc(fields: &[&str]) -> Option<Profile> {
    match fields.first()?.trim_start_matches(['a', 'b', 'c']) {
        "1" => profile(8, Chroma::Subsampled),
        "2" => profile(10, Chroma::Subsampled),
        // The range extensions define it in their constraint bytes: not parsed, the input decides.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codec_strings_contain_depth_and_chroma() {
        for (text, expected) in [
            ("vp09.00.10.08", Some((8, "4:2:0"))),
            ("vp09.01.20.08.02", Some((8, "4:2:2"))),
            ("vp09.01.20.08", Some((8, "4:4:4"))),
            ("vp09.02.10.10", Some((10, "4:2:0"))),
            ("vp09.02.10.12", Some((12, "4:2:0"))),
            ("VP09.03.10.12.03", Some((12, "4:4:4"))),
            ("av01.0.04M.10", Some((10, "4:2:0"))),
            ("av01.1.04M.08", Some((8, "4:4:4"))),
            ("avc1.42E01E", Some((8, "4:2:0"))),
            ("avc1.6e001f", Some((10, "4:2:0"))),
            ("avc3.7A001F", Some((10, "4:2:2"))),
            ("avc1.F4001F", Some((10, "4:4:4"))),
            ("hvc1.1.6.L93.B0", Some((8, "4:2:0"))),
            ("hev1.2.4.L93.B0", Some((10, "4:2:0"))),
            ("hvc1.4.10.L93", None),
            ("vp9", None),
            ("avc1", None),
        ] {
            let found = Profile::of_codec_string(text);
            let found = found.map(|profile| (profile.depth, profile.chroma.name()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
