//! The unlinked temporary file for media beyond the memory limit: its space is reused, so it grows no larger than what
//! is kept at once.

use crate::{
    output::{self, UnlinkedFile},
    session::lock,
};
use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Arc, Mutex},
};

/// Allocation unit of the file, in bytes.
const PIECE: usize = 16 << 10;

/// See the module.
#[derive(Debug)]
pub struct SpillFile {
    file: UnlinkedFile,
    pieces: Mutex<Pieces>,
}

#[derive(Debug, Default)]
struct Pieces {
    free: BTreeSet<u64>,
    /// Total number of pieces.
    all: u64,
}

/// Bytes in the file; their space is freed on drop.
#[derive(Debug)]
pub struct Extent {
    file: Arc<SpillFile>,
    pieces: Vec<u64>,
    length: usize,
}

impl SpillFile {
    /// Creates a file in `directory`, or in the default directory for temporary files.
    ///
    /// # Errors
    /// If no file can be created there.
    pub fn create(directory: Option<&Path>) -> io::Result<Arc<Self>> {
        let file = output::unlinked_file(directory)?;
        Ok(Arc::new(SpillFile {
            file,
            pieces: Mutex::default(),
        }))
    }

    /// Writes `bytes` to free pieces of the file.
    ///
    /// # Errors
    /// If the file system rejects the write; then nothing is allocated.
    pub fn write(self: &Arc<Self>, bytes: &[u8]) -> io::Result<Extent> {
        let extent = Extent {
            file: self.clone(),
            pieces: lock(&self.pieces).take(bytes.len().div_ceil(PIECE)),
            length: bytes.len(),
        };
        for (number, run) in extent.runs() {
            let part = bytes.get(run.clone()).unwrap_or_default();
            self.file.write_all_at(part, number * PIECE as u64)?;
        }
        Ok(extent)
    }
}

impl Pieces {
    fn take(&mut self, count: usize) -> Vec<u64> {
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            taken.push(self.free.pop_first().unwrap_or_else(|| {
                self.all += 1;
                self.all - 1
            }));
        }
        taken
    }
}

impl Extent {
    /// Contiguous pieces in the file: number of the first, and the range of bytes they contain.
    fn runs(&self) -> Vec<(u64, std::ops::Range<usize>)> {
        let mut runs: Vec<(u64, std::ops::Range<usize>)> = Vec::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            let bytes = index * PIECE..((index + 1) * PIECE).min(self.length);
            match runs.last_mut() {
                Some((first, run))
                    if *first + (run.end - run.start).div_ceil(PIECE) as u64 == *piece =>
                {
                    run.end = bytes.end;
                }
                _ => runs.push((*piece, bytes)),
            }
        }
        runs
    }

    /// Reads the bytes back.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length];
        for (number, run) in self.runs() {
            let part = bytes.get_mut(run).unwrap_or_default();
            self.file.file.read_exact_at(part, number * PIECE as u64)?;
        }
        Ok(bytes)
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        let mut pieces = lock(&self.file.pieces);
        pieces.free.extend(self.pieces.drain(..));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn stored_bytes_stay_until_dropped_and_their_space_is_reused(
            sizes in prop::collection::vec((1usize..100_000, any::<bool>()), 1..40),
        ) {
            let file = SpillFile::create(None).unwrap();
            let (mut kept, mut most, mut now) = (Vec::new(), 0, 0);
            for (number, (size, drops)) in sizes.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..size).map(|at| (at * 31 + number) as u8).collect();
                kept.push((file.write(&bytes).unwrap(), bytes));
                now += size.div_ceil(PIECE);
                most = most.max(now);
                if drops {
                    let (_, bytes) = kept.remove(0);
                    now -= bytes.len().div_ceil(PIECE);
                }
                for (extent, bytes) in &kept {
                    prop_assert_eq!(&extent.read().unwrap(), bytes);
                }
            }
            prop_assert_eq!(lock(&file.pieces).all, most as u64);
        }
    }
}
