//! Space in a container's head for chapters that are added while recording.

use super::{Chapter, Syntax};
use crate::model::timeline::Ns;

/// A write within one page of the file is atomic with regard to the process being killed.
const PAGE: u64 = 4096;

/// Bytes in the head of a recording that are rewritten, at the same length, for each new chapter.
#[derive(Debug)]
pub struct Reserve {
    syntax: Syntax,
    at: u64,
    /// Current content.
    bytes: Vec<u8>,
}

/// An update of a reserve.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Overwrites at these offsets, in this order.
    pub patches: Vec<(u64, Vec<u8>)>,
    /// Number of chapters that fit, from the first on.
    pub kept: usize,
}

impl Reserve {
    /// `room` bytes at offset `at`; `None` if that is too small even without chapters.
    pub fn new(syntax: Syntax, at: u64, room: usize) -> Option<Self> {
        let bytes = syntax.encode(&[], 0, room)?;
        Some(Reserve { syntax, at, bytes })
    }

    /// Current content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Offset of its start.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Offset of its end.
    pub fn end(&self) -> u64 {
        self.at.saturating_add(self.bytes.len() as u64)
    }

    /// Moves it back by this many bytes, because of an insertion in front.
    pub fn shift(&mut self, by: u64) {
        self.at = self.at.saturating_add(by);
    }

    /// Writes as many of these chapters as fit. `end`: recorded time so far.
    pub fn rewrite(&mut self, chapters: &[Chapter], end: Ns) -> Rewrite {
        let room = self.bytes.len();
        let encode = |count: usize| {
            let chapters = chapters.get(..count)?;
            self.syntax.encode(chapters, end, room)
        };
        let (kept, new) = match encode(chapters.len()) {
            Some(bytes) => (chapters.len(), Some(bytes)),
            None => {
                let (mut fits, mut too_many) = (0, chapters.len());
                while too_many - fits > 1 {
                    let middle = fits.midpoint(too_many);
                    if encode(middle).is_some() {
                        fits = middle;
                    } else {
                        too_many = middle;
                    }
                }
                (fits, encode(fits))
            }
        };
        let Some(new) = new else {
            return Rewrite::default();
        };
        let patches = changes(self.at, &self.bytes, &new);
        self.bytes = new;
        Rewrite { patches, kept }
    }
}

/// The differences between `old` and `new`, page by page, last page first: data is in place before a size field in
/// front covers it.
fn changes(at: u64, old: &[u8], new: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut patches = Vec::new();
    let mut from = 0;
    while from < new.len() {
        let place = at + from as u64;
        let left = usize::try_from(PAGE - place % PAGE).unwrap_or(1);
        let to = new.len().min(from + left);
        let before = old.get(from..to).unwrap_or_default();
        let now = new.get(from..to).unwrap_or_default();
        let differs = |(a, b): (&u8, &u8)| a != b;
        let mut pairs = before.iter().zip(now);
        if let Some(first) = pairs.position(differs) {
            let last = before.iter().zip(now).rposition(differs).unwrap_or(first);
            let changed = now.get(first..=last).unwrap_or_default();
            patches.push((place + first as u64, changed.to_vec()));
        }
        from = to;
    }
    patches.reverse();
    patches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chapters(count: u64) -> Vec<Chapter> {
        let chapter = |n| Chapter {
            start: n * 1_000_000_000,
            title: format!("Chapter {n}"),
        };
        (0..count).map(chapter).collect()
    }

    #[test]
    fn only_changes_are_written_and_the_front_comes_last() {
        let mut reserve = Reserve::new(Syntax::Matroska, 1000, 1 << 14).unwrap();
        let mut file = vec![0; 1000];
        file.extend_from_slice(reserve.bytes());
        let mut most = 0;
        for count in 1..=200 {
            let rewrite = reserve.rewrite(&chapters(count), 0);
            assert_eq!(rewrite.kept, count as usize);
            let places: Vec<_> = rewrite.patches.iter().map(|(at, _)| *at).collect();
            assert!(places.is_sorted_by(|a, b| a > b), "{places:?}");
            most = most.max(rewrite.patches.len());
            for (at, bytes) in rewrite.patches {
                let at = at as usize;
                assert!(bytes.len() <= PAGE as usize, "{count}: {}", bytes.len());
                file[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            assert_eq!(&file[1000..], reserve.bytes());
        }
        assert!(most <= 3, "{most}");
        assert_eq!(reserve.rewrite(&chapters(200), 0).patches, []);
    }

    #[test]
    fn chapters_that_do_not_fit_are_omitted_from_the_end() {
        let mut reserve = Reserve::new(Syntax::Matroska, 0, 1000).unwrap();
        let kept = reserve.rewrite(&chapters(200), 0).kept;
        assert!((10..30).contains(&kept), "{kept}");
        let full = reserve.bytes().to_vec();
        assert_eq!(reserve.rewrite(&chapters(201), 0).kept, kept);
        assert_eq!(reserve.bytes(), full);
        assert!(Reserve::new(Syntax::Matroska, 0, 1).is_none());
    }
}
