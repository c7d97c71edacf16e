//! Where bytes go that are too many for memory: an unlinked temporary file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::platform;

/// The directory of temporary files: `configured`, else `$TMPDIR`, else /var/tmp (Windows: `%TMP%`).
pub(super) fn directory(configured: Option<&Path>) -> PathBuf {
    configured
        .map(Path::to_path_buf)
        .or_else(|| {
            std::env::var_os("TMPDIR")
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from)
        })
        .unwrap_or_else(platform::default_temp_dir)
}

/// A new file without a name, of its owner's alone, open for reading and writing: it is gone when the last handle and
/// mapping are, even if the process is killed.
pub(super) fn create(directory: &Path) -> io::Result<File> {
    let made = tempfile::tempfile_in(directory).and_then(|file| {
        platform::make_private(&file)?;
        Ok(file)
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
    }

    #[test]
    fn missing_directory_is_named() {
        let err = create(Path::new("/nonexistent/spill")).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::NotFound);
        assert!(err.to_string().contains("/nonexistent/spill"), "{err}");
    }
}
