//! WAV's cue points and their labels (Multimedia Programming Interface and Data Specifications 1.0, 1991).

use super::Chapter;
use crate::model::timeline::Ns;

/// Bytes of a chunk's name and size.
const CHUNK_HEAD: usize = 8;

/// A chunk, padded to an even size.
fn chunk(name: &[u8; 4], content: &[u8]) -> Option<Vec<u8>> {
    let size = u32::try_from(content.len()).ok()?;
    let mut bytes = [&name[..], &size.to_le_bytes(), content].concat();
    if content.len() % 2 == 1 {
        bytes.push(0);
    }
    Some(bytes)
}

fn samples(time: Ns, rate: u32) -> Option<u32> {
    let scaled = (u128::from(time) * u128::from(rate) + 500_000_000) / 1_000_000_000;
    u32::try_from(scaled).ok()
}

/// Chunks with these chapters: `cue ` first, since readers need a cue point before its label.
pub fn chunks(chapters: &[Chapter], rate: u32) -> Option<Vec<u8>> {
    let count = u32::try_from(chapters.len()).ok()?;
    let mut points = count.to_le_bytes().to_vec();
    let mut labels = b"adtl".to_vec();
    for (id, chapter) in (1u32..).zip(chapters) {
        let sample = samples(chapter.start, rate)?;
        points.extend_from_slice(&id.to_le_bytes());
        points.extend_from_slice(&sample.to_le_bytes());
        points.extend_from_slice(b"data");
        points.extend_from_slice(&[0; 8]);
        points.extend_from_slice(&sample.to_le_bytes());
        let title = chapter.cut_title(usize::MAX);
        let label = [&id.to_le_bytes()[..], title.as_bytes(), &[0]].concat();
        labels.extend(chunk(b"labl", &label)?);
    }
    Some([chunk(b"cue ", &points)?, chunk(b"LIST", &labels)?].concat())
}

/// A chunk with the start time of the recording.
fn dated(date: &str) -> Option<Vec<u8>> {
    let date = chunk(b"ICRD", &[date.as_bytes(), &[0]].concat())?;
    chunk(b"LIST", &[&b"INFO"[..], &date].concat())
}

/// Encodes the date and these chapters in `room` bytes, which is an even number.
pub(super) fn encode(
    chapters: &[Chapter],
    rate: u32,
    date: Option<&str>,
    room: usize,
) -> Option<Vec<u8>> {
    let mut bytes = date.and_then(dated).unwrap_or_default();
    if !chapters.is_empty() {
        bytes.extend(chunks(chapters, rate)?);
    }
    match room.checked_sub(bytes.len())? {
        0 => {}
        rest => {
            let filler = rest.checked_sub(CHUNK_HEAD)?;
            bytes.extend(chunk(b"JUNK", &vec![0; filler])?);
        }
    }
    Some(bytes)
}
