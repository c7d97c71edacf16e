//! Where bytes go that are too many for memory: an unlinked temporary file.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where temporary files go when neither `temp-dir` nor `$TMPDIR` says so: a place for large
/// files, which on many machines /tmp (a RAM disk) is not.
const FALLBACK: &str = "/var/tmp";

/// The directory of temporary files: `configured`, else `$TMPDIR`, else /var/tmp.
pub(super) fn directory(configured: Option<&Path>) -> PathBuf {
    configured
        .map(Path::to_path_buf)
        .or_else(|| {
            std::env::var_os("TMPDIR")
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from)
        })
        .unwrap_or_else(|| PathBuf::from(FALLBACK))
}

/// A new file without a name, of its owner's alone, open for reading and writing: it is gone when the last handle and
/// mapping are, even if the process is killed.
pub(super) fn create(directory: &Path) -> io::Result<File> {
    let made = tempfile::tempfile_in(directory).and_then(|file| {
        // A file that never had a name is made as the umask says.
        file.set_permissions(Permissions::from_mode(0o600))?;
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
