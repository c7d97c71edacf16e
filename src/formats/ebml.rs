//! Elements of Matroska (RFC 8794, RFC 9559): finds and makes them.

use super::bits::number;

/// Identifiers of which more than one file here has use.
pub(super) const SEGMENT: u64 = 0x1853_8067;
pub(super) const CHAPTERS: u64 = 0x1043_a770;
/// Readers skip it.
pub(super) const VOID: u8 = 0xec;

/// An element: its identifier, where it begins, and where its content is.
pub(super) struct Part {
    pub(super) id: u64,
    pub(super) start: usize,
    pub(super) content: usize,
    pub(super) end: usize,
}

/// The header of the element at `start`: its identifier, where its content begins, and the size of that if it is known.
pub(super) fn header(bytes: &[u8], start: usize) -> Option<(u64, usize, Option<u64>)> {
    let length = |at: usize| Some(bytes.get(at)?.leading_zeros() as usize + 1);
    let id_length = length(start).filter(|length| *length <= 4)?;
    let id = number(bytes, start, id_length)?;
    let size_length = length(start + id_length).filter(|length| *length <= 8)?;
    let mask = (1u64 << (7 * size_length)) - 1;
    let size = number(bytes, start + id_length, size_length)? & mask;
    let content = start + id_length + size_length;
    Some((id, content, Some(size).filter(|size| *size != mask)))
}

/// The elements in `bytes`. One that extends beyond them, or whose size is unknown, ends with them.
pub(super) fn elements(bytes: &[u8]) -> impl Iterator<Item = Part> + use<'_> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let (id, content, size) = header(bytes, start)?;
        let end = match size.and_then(|size| usize::try_from(size).ok()) {
            Some(size) => content.saturating_add(size).min(bytes.len()),
            None => bytes.len(),
        };
        let part = Part {
            id,
            start,
            content,
            end,
        };
        start = end;
        Some(part)
    })
}

/// The children of one of the elements of `bytes`.
pub(super) fn children<'a>(
    bytes: &'a [u8],
    element: &Part,
) -> impl Iterator<Item = Part> + use<'a> {
    let base = element.content;
    let content = bytes.get(base..element.end).unwrap_or_default();
    elements(content).map(move |part| Part {
        id: part.id,
        start: part.start + base,
        content: part.content + base,
        end: part.end + base,
    })
}

/// An element with a size field of four bytes.
pub(super) fn element(id: &[u8], content: &[u8]) -> Option<Vec<u8>> {
    let size = u32::try_from(content.len())
        .ok()
        .filter(|size| *size < (1 << 28) - 1)?;
    Some([id, &(size | 1 << 28).to_be_bytes(), content].concat())
}

/// An element with a size field of one byte, whose content has less than 127 bytes.
pub(super) fn short_element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let size = u8::try_from(content.len()).unwrap_or(u8::MAX);
    [id, &[0x80 | size], content].concat()
}

/// A `Void` element of `length` bytes in all; `None` for a single byte, which cannot be one.
pub(super) fn void(length: usize) -> Option<Vec<u8>> {
    let mut bytes = match length {
        0 => return Some(Vec::new()),
        1 => return None,
        2..=127 => vec![VOID, 0x80 | u8::try_from(length - 2).ok()?],
        _ => {
            let size = u32::try_from(length - 5).ok()?;
            [&[VOID][..], &(size | 1 << 28).to_be_bytes()].concat()
        }
    };
    bytes.resize(length, 0);
    Some(bytes)
}
