//! Space in a container's head for chapters that come while it is recorded.

use super::{Chapter, Syntax};
use crate::model::timeline::Ns;

/// What is written in one page of a file is there as a whole or not at all, wherever a process is killed.
const PAGE: u64 = 4096;

/// Bytes in the head of a recording that are rewritten, at the same length, with each chapter that comes.
#[derive(Debug)]
pub struct Reserve {
    syntax: Syntax,
    at: u64,
    /// As they are written.
    bytes: Vec<u8>,
}

/// How a reserve is brought up to date.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Go over what is there, each at its offset, in this order.
    pub patches: Vec<(u64, Vec<u8>)>,
    /// So many chapters are in it then: the first.
    pub kept: usize,
}

impl Reserve {
    /// `room` bytes from offset `at` on; `None` where that is too little for no chapters at all.
    pub fn new(syntax: Syntax, at: u64, room: usize) -> Option<Self> {
        let bytes = syntax.encode(&[], 0, room)?;
        Some(Reserve { syntax, at, bytes })
    }

    /// What is written there.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where it begins.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Where it ends.
    pub fn end(&self) -> u64 {
        self.at.saturating_add(self.bytes.len() as u64)
    }

    /// It begins so many bytes later, since something has come in front of it.
    pub fn shift(&mut self, by: u64) {
        self.at = self.at.saturating_add(by);
    }

    /// As many of these chapters as there is room for. `end`: how far has been recorded.
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

/// What changes from `old` to `new`, page by page, the last first: what a size in front has to reach over is then there
/// before it.
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
    fn only_what_changes_is_written_and_the_front_comes_last() {
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
    fn what_does_not_fit_is_left_out_from_the_end() {
        let mut reserve = Reserve::new(Syntax::Matroska, 0, 1000).unwrap();
        let kept = reserve.rewrite(&chapters(200), 0).kept;
        assert!((10..30).contains(&kept), "{kept}");
        let full = reserve.bytes().to_vec();
        assert_eq!(reserve.rewrite(&chapters(201), 0).kept, kept);
        assert_eq!(reserve.bytes(), full);
        assert!(Reserve::new(Syntax::Matroska, 0, 1).is_none());
    }
}
