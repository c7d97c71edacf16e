//! Opens `location`: a new file in place of an older one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::platform;

/// What a `location` turned out to be.
#[derive(Debug)]
pub(super) enum Target {
    /// A new, empty regular file, open for reading and writing, at this path.
    File(File),
    /// A character device such as /dev/null: takes bytes, but gives none back.
    Device(File),
}

/// Opens `path` for a recording.
///
/// An older file is *replaced* by a new one (a new inode), never truncated: the last blob of the
/// recording before may be a mapping of it. The new file exists before the older one goes, so
/// that any error leaves the older one as it was. A symbolic link is followed.
///
/// # Errors
/// When the file, or an older one in its place, cannot be opened for writing, its directory does
/// not exist, or it is neither a file nor a character device. The message names the path.
pub(super) fn open(path: &Path) -> io::Result<Target> {
    let context = |what: &str, err: io::Error| {
        io::Error::new(err.kind(), format!("{what} {}: {err}", path.display()))
    };
    let target = match fs::metadata(path) {
        meta if platform::is_device(path, meta.as_ref().ok()) => {
            return OpenOptions::new()
                .write(true)
                .open(path)
                .map(Target::Device)
                .map_err(|err| context("cannot open for writing:", err));
        }
        Ok(meta) if meta.is_file() => {
            // Replacing needs only the directory's permission; a file that may not be written
            // has to stay all the same.
            OpenOptions::new()
                .write(true)
                .open(path)
                .map_err(|err| context("cannot open for writing:", err))?;
            fs::canonicalize(path).map_err(|err| context("cannot resolve", err))?
        }
        Ok(meta) => {
            let (kind, what) = if meta.is_dir() {
                (io::ErrorKind::IsADirectory, "a directory")
            } else {
                (
                    io::ErrorKind::InvalidInput,
                    "a pipe, socket or block device",
                )
            };
            return Err(io::Error::new(
                kind,
                format!(
                    "cannot record to {}: it is {what}; name a regular file",
                    path.display()
                ),
            ));
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => dangling(path),
        Err(err) => return Err(context("cannot open", err)),
    };
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let new = platform::with_default_mode(tempfile::Builder::new().prefix(".mediarecorder-"))
        .tempfile_in(directory)
        .map_err(|err| {
            io::Error::new(
                err.kind(),
                format!(
                    "cannot open {} for writing: no file can be made in {}: {}",
                    path.display(),
                    directory.display(),
                    err.kind()
                ),
            )
        })?;
    platform::put_in_place(new, &target)
        .map(Target::File)
        .map_err(|err| context("cannot put a new file at", err))
}

/// What a symbolic link without a file behind it points to; other paths as they are.
fn dangling(path: &Path) -> PathBuf {
    match fs::read_link(path) {
        Ok(to) => path.parent().unwrap_or(Path::new("")).join(to),
        Err(_) => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::fs::{MetadataExt, symlink};

    fn file(target: Target) -> File {
        match target {
            Target::File(file) => file,
            Target::Device(_) => panic!("a device"),
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn older_file_is_replaced_not_truncated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.webm");
        fs::write(&path, b"older").unwrap();
        let mut older = File::open(&path).unwrap();
        let inode = older.metadata().unwrap().ino();

        let mut new = file(open(&path).unwrap());
        new.write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_ne!(fs::metadata(&path).unwrap().ino(), inode);
        let mut text = String::new();
        older.read_to_string(&mut text).unwrap();
        assert_eq!(text, "older");
        assert_eq!(names(dir.path()), ["a.webm"]);
    }

    #[test]
    fn new_file_has_the_usual_permissions() {
        let dir = tempfile::tempdir().unwrap();
        let usual = dir.path().join("usual");
        File::create(&usual).unwrap();
        let path = dir.path().join("a.webm");
        open(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().mode(),
            fs::metadata(&usual).unwrap().mode()
        );
    }

    #[test]
    fn links_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (link, behind) = (dir.path().join("link"), dir.path().join("behind"));
        symlink("behind", &link).unwrap();
        for round in 0..2 {
            file(open(&link).unwrap()).write_all(&[round]).unwrap();
            assert_eq!(fs::read(&behind).unwrap(), [round]);
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        }
    }

    #[test]
    fn impossible_places_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing/a.webm");
        let err = open(&missing).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::NotFound);
        assert!(err.to_string().contains("missing/a.webm"), "{err}");
        let err = open(dir.path()).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::IsADirectory);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn bare_name_and_device() {
        assert!(matches!(
            open(Path::new("/dev/null")).unwrap(),
            Target::Device(_)
        ));
        assert!(open(Path::new("")).is_err());
    }
}
