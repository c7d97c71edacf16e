//! Finds, creates and modifies MP4 boxes (ISO 14496-12, 4.2).

use super::bits::number;

/// A box within a byte slice: its type, and the positions of the box and its content.
pub(super) struct Part<'a> {
    pub(super) name: &'a [u8; 4],
    pub(super) start: usize,
    pub(super) content: usize,
    pub(super) end: usize,
}

/// The complete boxes in `bytes`, up to the first incomplete one.
pub(super) fn boxes(bytes: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let name = bytes.get(start + 4..)?.first_chunk::<4>()?;
        let (length, content) = match number(bytes, start, 4)? {
            1 => (number(bytes, start + 8, 8)?, start + 16),
            length => (length, start + 8),
        };
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        if end < content || end > bytes.len() {
            return None;
        }
        let part = Part {
            name,
            start,
            content,
            end,
        };
        start = end;
        Some(part)
    })
}

/// Type and length of the box at the start of `bytes`, which may lack its content.
pub(super) fn header(bytes: &[u8]) -> Option<(&[u8; 4], u64)> {
    let name = bytes.get(4..)?.first_chunk::<4>()?;
    let length = match number(bytes, 0, 4)? {
        1 => number(bytes, 8, 8)?,
        length => length,
    };
    Some((name, length))
}

/// The content of the box at this path of types.
pub(super) fn find<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, name| {
        let part = boxes(bytes).find(|part| part.name == *name)?;
        bytes.get(part.content..part.end)
    })
}

/// Bytes of a box's size and type.
pub(super) const BOX_HEADER: usize = 8;

/// Creates a box with this content.
pub(super) fn boxed(name: &[u8; 4], content: &[u8]) -> Option<Vec<u8>> {
    let size = u32::try_from(content.len() + BOX_HEADER).ok()?;
    Some([&size.to_be_bytes(), &name[..], content].concat())
}

/// Replaces the content of the box at a path of types, each with the number of bytes before its child boxes. `None` if
/// the box does not exist, or is unchanged.
pub(super) fn changed(
    bytes: &[u8],
    path: &[(&[u8; 4], usize)],
    change: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let Some(((name, before), path)) = path.split_first() else {
        return change(bytes);
    };
    let part = boxes(bytes).find(|part| part.name == *name)?;
    let (head, inside) = bytes
        .get(part.content..part.end)?
        .split_at_checked(*before)?;
    let content = [head, &changed(inside, path, change)?].concat();
    let (front, back) = (bytes.get(..part.start)?, bytes.get(part.end..)?);
    Some([front, &boxed(name, &content)?, back].concat())
}
