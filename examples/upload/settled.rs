//! How much of a growing file is final.
//!
//! The recorder patches earlier bytes: the header when the recording ends, and in Matroska the size of a cluster
//! when that cluster ends. So everything up to the last complete element or box is final, except for the header,
//! which is in the first piece of the upload.

use anyhow::{Result, bail};
use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

/// Follows one file.
#[derive(Debug)]
pub struct Settled {
    container: Container,
    /// Everything before it is final.
    end: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Matroska,
    Mp4,
}

/// The header of an element or a box.
#[derive(Debug, PartialEq, Eq)]
enum Header {
    /// Its size, from its start.
    Complete(u64),
    /// It is still being written, or does not exist yet.
    Open,
}

const EBML_SEGMENT: u32 = 0x1853_8067;
/// The longest header of either kind.
const LONGEST_HEADER: usize = 16;

impl Settled {
    /// Follows this file, whose extension tells its container.
    pub fn new(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let container = match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("mkv" | "mka" | "webm" | "weba") => Container::Matroska,
            Some("mp4" | "m4a" | "m4v") => Container::Mp4,
            _ => bail!(
                "{}: only Matroska (mkv, mka), WebM (webm) and MP4 (mp4, m4a) can be uploaded while they grow",
                path.display()
            ),
        };
        Ok(Settled { container, end: 0 })
    }

    /// How much of the file is final by now, except for its first piece.
    pub fn look(&mut self, file: &File) -> io::Result<u64> {
        let length = file.metadata()?.len();
        loop {
            let mut bytes = [0; LONGEST_HEADER];
            let read = file.read_at(&mut bytes, self.end)?;
            let header = match self.container {
                Container::Matroska => ebml(bytes.get(..read).unwrap_or_default()),
                Container::Mp4 => mp4(bytes.get(..read).unwrap_or_default()),
            };
            let end = match header {
                Header::Complete(size) => self.end.saturating_add(size),
                Header::Open => return Ok(self.end),
            };
            // The next element has started: this one is not modified any more.
            if end >= length {
                return Ok(self.end);
            }
            self.end = end;
        }
    }
}

/// An EBML element (RFC 8794, sections 4 to 6).
fn ebml(bytes: &[u8]) -> Header {
    let Some((id, id_length)) = vint(bytes) else {
        return Header::Open;
    };
    let Some((size, size_length)) = vint(bytes.get(id_length..).unwrap_or_default()) else {
        return Header::Open;
    };
    let header = (id_length + size_length) as u64;
    if id == u64::from(EBML_SEGMENT) {
        // Its content follows.
        return Header::Complete(header);
    }
    let marker = 1 << (7 * size_length);
    match size ^ marker {
        // All bits set: the size is not known yet.
        unknown if unknown == marker - 1 => Header::Open,
        size => Header::Complete(header + size),
    }
}

/// A variable-length integer including its marker, and its length.
fn vint(bytes: &[u8]) -> Option<(u64, usize)> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let bytes = bytes.get(..length).filter(|_| length <= 8)?;
    let value = bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some((value, length))
}

/// A box (ISO/IEC 14496-12, section 4.2).
fn mp4(bytes: &[u8]) -> Header {
    let size = |at: usize, length: usize| {
        let bytes = bytes.get(at..at + length)?;
        Some(
            bytes
                .iter()
                .fold(0, |size, byte| size << 8 | u64::from(*byte)),
        )
    };
    match size(0, 4) {
        Some(1) => match size(8, 8) {
            Some(size) if size >= 16 => Header::Complete(size),
            _ => Header::Open,
        },
        Some(size) if size >= 8 => Header::Complete(size),
        _ => Header::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn followed(extension: &str, pieces: &[(&[u8], u64)]) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(format!("a.{extension}"));
        let mut file = File::create(&path).expect("a file");
        let mut settled = Settled::new(&path).expect("a known type");
        for (bytes, expected) in pieces {
            file.write_all(bytes).expect("written");
            let read = File::open(&path).expect("opened");
            assert_eq!(settled.look(&read).expect("looked"), *expected);
        }
    }

    #[test]
    fn a_cluster_is_final_once_its_size_is_known_and_the_next_element_starts() {
        let head = [0x1a, 0x45, 0xdf, 0xa3, 0x82, 1, 2];
        let segment = [
            0x18, 0x53, 0x80, 0x67, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ];
        let cluster = [0x1f, 0x43, 0xb6, 0x75, 1, 0, 0, 0, 0, 0, 0, 3, 7, 7, 7];
        let open = [
            0x1f, 0x43, 0xb6, 0x75, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ];
        followed(
            "webm",
            &[
                (&head, 0),
                (&segment, 7),
                (&cluster, 19),
                (&cluster[..3], 34),
                (&cluster[3..], 34),
                (&open, 49),
                (&[7, 7, 7], 49),
            ],
        );
    }

    #[test]
    fn a_box_is_final_once_the_next_one_starts() {
        let small = [0, 0, 0, 10, b'm', b'o', b'o', b'f', 1, 2];
        let large = [
            0, 0, 0, 1, b'm', b'd', b'a', b't', 0, 0, 0, 0, 0, 0, 0, 18, 1, 2,
        ];
        followed(
            "mp4",
            &[
                (&small, 0),
                (&large[..5], 10),
                (&large[5..], 10),
                (&small, 28),
            ],
        );
    }

    #[test]
    fn other_types_are_refused() {
        assert!(Settled::new(Path::new("a.ogg")).is_err());
        assert!(Settled::new(Path::new("a")).is_err());
    }
}
