//! Finds and creates EBML and Matroska elements (RFC 8794, RFC 9559).

use super::bits::number;

/// Element IDs that several modules use.
pub(super) const SEGMENT: u64 = 0x1853_8067;
pub(super) const CHAPTERS: u64 = 0x1043_a770;
/// Skipped by readers.
pub(super) const VOID: u64 = 0xec;

/// An element: its ID, and the positions of the element and its content.
pub(super) struct Part {
    pub(super) id: u64,
    pub(super) start: usize,
    pub(super) content: usize,
    pub(super) end: usize,
}

/// Header of the element at `start`: its ID, the position of its content, and its size, if known.
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

/// The elements in `bytes`. One that extends beyond them, or has an unknown size, ends at their end.
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

/// The children of an element in `bytes`.
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

/// A variable-size integer, as used for track numbers, and the position after it.
pub(super) fn vint(bytes: &[u8], start: usize) -> Option<(u64, usize)> {
    let length = bytes.get(start)?.leading_zeros() as usize + 1;
    if length > 8 {
        return None;
    }
    let mask = (1u64 << (7 * length)) - 1;
    Some((number(bytes, start, length)? & mask, start + length))
}

/// The encoded ID.
pub(super) fn id(id: u64) -> Vec<u8> {
    let bytes = id.to_be_bytes();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

/// A size encoded in `width` bytes; `None` if it does not fit.
pub(super) fn size(size: usize, width: usize) -> Option<Vec<u8>> {
    let size = u64::try_from(size).ok()?;
    let marker = 1u64.checked_shl(u32::try_from(7 * width).ok()?)?;
    // All ones means unknown size.
    if !(1..=8).contains(&width) || size >= marker - 1 {
        return None;
    }
    let bytes = (marker | size).to_be_bytes();
    Some(bytes.into_iter().skip(8 - width).collect())
}

/// An element with the shortest possible size field.
pub(super) fn element(element: u64, content: &[u8]) -> Vec<u8> {
    let size = (1..=8).find_map(|width| size(content.len(), width));
    [id(element).as_slice(), &size.unwrap_or_default(), content].concat()
}

/// A `Void` element of `length` bytes in total; `None` for a single byte, which is too short for one.
pub(super) fn void(length: usize) -> Option<Vec<u8>> {
    if length == 0 {
        return Some(Vec::new());
    }
    (1..=8).find_map(|width| {
        let content = length.checked_sub(1 + width)?;
        let head = [id(VOID), size(content, width)?].concat();
        Some([head, vec![0; content]].concat())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_coded_in_the_given_length() {
        assert_eq!(size(5, 1), Some(vec![0x85]));
        assert_eq!(size(127, 1), None);
        assert_eq!(size(127, 2), Some(vec![0x40, 0x7f]));
        assert_eq!(size(1, 8), Some(vec![1, 0, 0, 0, 0, 0, 0, 1]));
        assert_eq!(size(1, 9), None);
        assert_eq!(element(0x53c0, &[1]), [0x53, 0xc0, 0x81, 1]);
    }

    #[test]
    fn void_elements_have_any_length_but_one() {
        assert_eq!(void(1), None);
        for length in (0..400).filter(|length| *length != 1) {
            assert_eq!(void(length).unwrap().len(), length);
        }
    }
}
