//! An unlinked temporary file for bytes beyond the memory limit.

use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::platform;

/// The directory of temporary files: `configured`, else `$TMPDIR`, else /var/tmp (Windows: `%TMP%`).
pub(super) fn directory(configured: Option<&Path>) -> PathBuf {
    configured
        .filter(|directory| !directory.as_os_str().is_empty())
        .map(Path::to_path_buf)
        .or_else(|| {
            std::env::var_os("TMPDIR")
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from)
        })
        .unwrap_or_else(platform::default_temp_dir)
}

/// An unnamed, private file, open for reading and writing: no one else can open it, and it is freed with the last
/// handle and mapping, even if the process is killed.
#[derive(Debug)]
pub struct UnlinkedFile(File);

impl std::ops::Deref for UnlinkedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl UnlinkedFile {
    /// Writes all of `bytes` at this offset.
    ///
    /// # Errors
    /// If the file system rejects the write.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        platform::write_all_at(&self.0, bytes, offset)
    }

    /// Fills `bytes` from this offset.
    ///
    /// # Errors
    /// If the file is shorter, or cannot be read.
    pub fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        platform::read_exact_at(&self.0, bytes, offset)
    }

    /// Maps bytes `from..to`; the mapping keeps the file, which is read on access. The caller must not write any more.
    ///
    /// # Errors
    /// If the file is shorter, or its file system does not support mappings.
    pub(super) fn map(&self, from: u64, to: u64) -> io::Result<gst::Buffer> {
        if from >= to {
            return Ok(gst::Buffer::new());
        }
        if to > self.0.metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = usize::try_from(to - from).map_err(io::Error::other)?;
        // SAFETY: a mapping is sound as long as no one modifies or truncates the file. This one has no name, so no one
        // else can; the caller does not write to it any more, and no code here ever truncates it.
        let map = unsafe { MmapOptions::new().offset(from).len(len).map(&self.0)? };
        Ok(gst::Buffer::from_slice(MappedFile(map)))
    }
}

/// A mapping as the memory of a buffer.
struct MappedFile(Mmap);

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Creates a file in `configured`, or in the default directory for temporary files.
///
/// # Errors
/// If none can be created there.
pub fn unlinked_file(configured: Option<&Path>) -> io::Result<UnlinkedFile> {
    create(&directory(configured))
}

/// Creates an unlinked file in `directory`.
pub(super) fn create(directory: &Path) -> io::Result<UnlinkedFile> {
    let made = tempfile::tempfile_in(directory).map(|file| {
        // A file system without modes may refuse. The file has no name anyway.
        let _ = platform::make_private(&file);
        UnlinkedFile(file)
    });
    made.map_err(|err| {
        io::Error::new(
            err.kind(),
            format!(
                "cannot create a temporary file in {}: {err}",
                directory.display()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_directory_wins() {
        assert_eq!(directory(Some(Path::new("/here"))), PathBuf::from("/here"));
        assert_eq!(directory(Some(Path::new(""))), directory(None));
    }

    #[test]
    fn missing_directory_is_named() {
        let err = create(Path::new("/nonexistent/spill")).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::NotFound);
        assert!(err.to_string().contains("/nonexistent/spill"), "{err}");
    }
}
