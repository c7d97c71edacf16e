//! Elements of Matroska as bytes (RFC 8794).

/// An identifier's bytes.
pub fn id(id: u64) -> Vec<u8> {
    let bytes = id.to_be_bytes();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

/// A size in so many bytes; `None` if it needs more.
pub fn size(size: usize, width: usize) -> Option<Vec<u8>> {
    let size = u64::try_from(size).ok()?;
    let marker = 1u64.checked_shl(u32::try_from(7 * width).ok()?)?;
    // All ones stand for an unknown size.
    if !(1..=8).contains(&width) || size >= marker - 1 {
        return None;
    }
    let bytes = (marker | size).to_be_bytes();
    Some(bytes.into_iter().skip(8 - width).collect())
}

/// An element with this content, and a size that is as short as can be.
pub fn with_id(element: u64, content: &[u8]) -> Vec<u8> {
    let size = (1..=8).find_map(|width| size(content.len(), width));
    [id(element).as_slice(), &size.unwrap_or_default(), content].concat()
}

/// An element of so many bytes in all that readers pass over, whose identifier is `id`; `None` if there is none of that length.
pub fn void(id: u8, length: usize) -> Option<Vec<u8>> {
    if length == 0 {
        return Some(Vec::new());
    }
    (1..=8).find_map(|width| {
        let content = length.checked_sub(1 + width)?;
        let head = [&[id], size(content, width)?.as_slice()].concat();
        Some([head, vec![0; content]].concat())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_long_as_they_are_to_be() {
        assert_eq!(size(5, 1), Some(vec![0x85]));
        assert_eq!(size(127, 1), None);
        assert_eq!(size(127, 2), Some(vec![0x40, 0x7f]));
        assert_eq!(size(1, 8), Some(vec![1, 0, 0, 0, 0, 0, 0, 1]));
        assert_eq!(size(1, 9), None);
        assert_eq!(with_id(0x53c0, &[1]), [0x53, 0xc0, 0x81, 1]);
    }

    #[test]
    fn voids_have_any_length_but_one() {
        assert_eq!(void(0xec, 1), None);
        for length in (0..400).filter(|length| *length != 1) {
            assert_eq!(void(0xec, length).unwrap().len(), length);
        }
    }
}
