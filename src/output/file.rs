//! Opens `location`: a new file that replaces an existing one and keeps its mode and owner, or the existing one,
//! truncated, if it cannot be replaced.

use once_cell::sync::{Lazy, OnceCell};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::platform::{self, Identity};

/// The kind of file at `location`.
#[derive(Debug)]
pub(super) enum Target {
    /// An empty regular file, open for reading and writing, at this path.
    File(OpenFile),
    /// A character device such as /dev/null: write-only.
    Device(File),
}

/// The files that recordings of this process write to, or that their blobs still have to be read from.
static OPEN_FILES: Lazy<Mutex<Vec<Identity>>> = Lazy::new(Mutex::default);

fn open_files() -> MutexGuard<'static, Vec<Identity>> {
    OPEN_FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An open file at `location`. While it is open, no recording of this process truncates it.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: File,
    identity: Identity,
}

impl OpenFile {
    /// `None` if it is open already.
    fn new(file: File) -> io::Result<Option<Self>> {
        let identity = platform::identity(&file)?;
        let mut open = open_files();
        if open.contains(&identity) {
            return Ok(None);
        }
        open.push(identity);
        Ok(Some(Self { file, identity }))
    }
}

impl Deref for OpenFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        open_files().retain(|open| *open != self.identity);
    }
}

/// Opens `path` for a recording.
///
/// An existing file is *replaced* by a new one (a new inode): readers, and a recording that is still being finalised
/// there, keep the old one. The new file is created before the old one is removed, so that any error leaves the old one
/// unchanged. Where that is impossible (a bind-mounted file, a read-only directory), or mode and owner could not be
/// kept, the existing file is truncated instead. A symbolic link is followed.
///
/// # Errors
/// If the file, or an existing one in its place, cannot be opened for writing, its directory does not exist, it is
/// neither a file nor a character device, or it would have to be truncated while a recording of this process needs it.
/// The message names the path.
///
/// `make_way` is called with the new file before it is put in place.
pub(super) fn open(path: &Path, make_way: &dyn Fn(&File)) -> io::Result<Target> {
    let context = |what: &str, err: io::Error| {
        io::Error::new(err.kind(), format!("{what} {}: {err}", path.display()))
    };
    match fs::metadata(path) {
        meta if platform::is_device(path, meta.as_ref().ok()) => OpenOptions::new()
            .write(true)
            .open(path)
            .map(Target::Device)
            .map_err(|err| context("cannot open for writing:", err)),
        Ok(meta) if meta.is_file() => {
            // Replacing needs only the directory's permission, but a read-only file must still be kept.
            let older = OpenOptions::new()
                .write(true)
                .open(path)
                .map_err(|err| context("cannot open for writing:", err))?;
            let meta = older
                .metadata()
                .map_err(|err| context("cannot look at", err))?;
            drop(older);
            let replaced = fs::canonicalize(path);
            let replaced = replaced.and_then(|path| replace(&path, Some(&meta), make_way));
            let opened = match replaced {
                Ok(new) => Ok(new),
                Err(_) => empty(path, make_way),
            };
            opened
                .map(Target::File)
                .map_err(|err| context("cannot write in place:", err))
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
            Err(io::Error::new(
                kind,
                format!(
                    "cannot record to {}: it is {what}; name a regular file",
                    path.display()
                ),
            ))
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            replace(&dangling(path), None, make_way)
                .map(Target::File)
                .map_err(|err| context("cannot open for writing:", err))
        }
        Err(err) => Err(context("cannot open", err)),
    }
}

/// Creates a new file at `path`, with mode and owner of the existing one, if any.
fn replace(
    path: &Path,
    older: Option<&Metadata>,
    make_way: &dyn Fn(&File),
) -> io::Result<OpenFile> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let new = platform::with_default_mode(tempfile::Builder::new().prefix(".mediarecorder-"))
        .tempfile_in(directory)
        .map_err(|err| {
            let text = format!(
                "cannot create a file in {}: {}",
                directory.display(),
                err.kind()
            );
            io::Error::new(err.kind(), text)
        })?;
    match older {
        Some(older) => platform::keep_owner_and_mode(new.as_file(), older)?,
        None => correct_mode(new.as_file()),
    }
    make_way(new.as_file());
    let file = platform::put_in_place(new, path)?;
    OpenFile::new(file)?.ok_or_else(|| io::ErrorKind::ResourceBusy.into())
}

/// Opens and truncates the existing file at `path`.
fn empty(path: &Path, make_way: &dyn Fn(&File)) -> io::Result<OpenFile> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let file = OpenFile::new(file)?.ok_or_else(|| {
        let text = "it cannot be replaced, and another recording of this process is still using it";
        io::Error::new(io::ErrorKind::ResourceBusy, text)
    })?;
    make_way(&file);
    file.set_len(0)?;
    Ok(file)
}

/// Corrects the mode of a new file that was created just while liborc had set its umask.
fn correct_mode(new: &File) {
    const TRANSIENT: u32 = 0o666 & !LIBORC_UMASK;
    if platform::mode(new) == Some(TRANSIENT)
        && let Some(umask) = umask()
        && 0o666 & !umask != TRANSIENT
    {
        // File systems without modes, and those of other hosts, may refuse.
        let _ = platform::set_mode(new, 0o666 & !umask);
    }
}

/// The umask that liborc (in GStreamer's converters) sets briefly while it compiles, in any thread.
const LIBORC_UMASK: u32 = 0o066;

/// This process's umask, excluding transient values. `None` if it could only be read by changing it.
fn umask() -> Option<u32> {
    // Some processes use this very value.
    static USUAL: OnceCell<Option<u32>> = OnceCell::new();
    let read = || {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(mask.trim(), 8).ok()
    };
    let usual = *USUAL.get_or_init(|| lasting(None, read));
    lasting(usual, read)
}

/// The umask, unless it is briefly liborc's instead of the `usual` one.
fn lasting(usual: Option<u32>, mut read: impl FnMut() -> Option<u32>) -> Option<u32> {
    const MOMENT: Duration = Duration::from_millis(50);
    let begun = Instant::now();
    loop {
        let mask = read();
        if mask != Some(LIBORC_UMASK) || mask == usual || begun.elapsed() >= MOMENT {
            return mask;
        }
        thread::sleep(Duration::from_micros(100));
    }
}

/// The target of a dangling symbolic link; other paths unchanged.
fn dangling(path: &Path) -> PathBuf {
    match fs::read_link(path) {
        Ok(to) => path.parent().unwrap_or(Path::new("")).join(to),
        Err(_) => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::io::{Read, Write};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown, symlink};

    fn file(target: Target) -> OpenFile {
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

        let new = file(open(&path, &|_| ()).unwrap());
        (&*new).write_all(b"new").unwrap();
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
        open(&path, &|_| ()).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().mode(),
            fs::metadata(&usual).unwrap().mode()
        );
    }

    #[test]
    fn a_temporary_umask_has_no_effect() {
        let reads = |masks: &'static [u32]| {
            let mut masks = masks.iter().copied();
            let mut last = None;
            move || {
                last = masks.next().or(last);
                last
            }
        };
        let of_a_moment = reads(&[LIBORC_UMASK, LIBORC_UMASK, 0o027]);
        assert_eq!(lasting(Some(0o022), of_a_moment), Some(0o027));
        assert_eq!(
            lasting(Some(LIBORC_UMASK), reads(&[LIBORC_UMASK, 0o022])),
            Some(LIBORC_UMASK)
        );
        // Set by the process meanwhile.
        let chosen = reads(&[LIBORC_UMASK]);
        assert_eq!(lasting(Some(0o022), chosen), Some(LIBORC_UMASK));
        assert_eq!(lasting(None, || None), None);
    }

    #[test]
    fn a_replaced_file_keeps_mode_and_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.webm");
        for mode in [0o600, 0o640, 0o666, 0o777] {
            fs::write(&path, b"older").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            // Only root may change the owner; for other users it stays the same.
            let _ = fchown(File::open(&path).unwrap(), Some(1234), Some(5678));
            let older = fs::metadata(&path).unwrap();
            open(&path, &|_| ()).unwrap();
            let new = fs::metadata(&path).unwrap();
            assert_ne!(new.ino(), older.ino(), "replaced");
            assert_eq!((new.mode() & 0o7777, new.len()), (mode, 0));
            assert_eq!((new.uid(), new.gid()), (older.uid(), older.gid()));
        }
    }

    const OF_ANOTHER: &str = "MEDIARECORDER_FILE_OF_ANOTHER";

    /// Run as a user who may write to another user's file, but not change its owner.
    #[test]
    fn replacing_a_file_as_another_user() {
        let Some(path) = std::env::var_os(OF_ANOTHER).map(PathBuf::from) else {
            return;
        };
        let older = fs::metadata(&path).unwrap();
        let new = file(open(&path, &|_| ()).unwrap());
        (&*new).write_all(b"new").unwrap();
        let meta = fs::metadata(&path).unwrap();
        let of = |meta: &Metadata| (meta.ino(), meta.mode(), meta.uid(), meta.gid());
        assert_eq!(of(&meta), of(&older), "in place");
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_file_keeps_its_owner() {
        use std::os::unix::process::CommandExt;
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let path = dir.path().join("a");
        fs::write(&path, b"older and longer").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "output::file::tests::replacing_a_file_as_another_user",
            ])
            .env(OF_ANOTHER, &path)
            .uid(65_534)
            .gid(65_534)
            .output();
        // Only root may switch users.
        let Ok(output) = child else {
            return;
        };
        assert!(output.status.success(), "{output:?}");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["a"]);
    }

    /// A mount, if this machine permits it; unmounted on drop.
    struct Mounted(PathBuf);

    impl Mounted {
        fn new(args: &[&str], at: &Path) -> Option<Self> {
            let mut mount = std::process::Command::new("mount");
            let done = mount.args(args).arg(at).output();
            let mounted = done.is_ok_and(|output| output.status.success());
            // scripts/test reports these at its end.
            if !mounted && let Some(list) = std::env::var_os("MEDIARECORDER_SKIPPED") {
                let mut list = File::options().append(true).open(list).unwrap();
                writeln!(
                    list,
                    "files that cannot be replaced: nothing can be mounted here"
                )
                .unwrap();
            }
            mounted.then(|| Mounted(at.to_path_buf()))
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let mut umount = std::process::Command::new("umount");
            let _ = umount.arg("-l").arg(&self.0).status();
        }
    }

    #[test]
    fn files_that_cannot_be_replaced_are_written_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let (behind, at) = (dir.path().join("behind"), dir.path().join("at"));
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let Some(_folder) = Mounted::new(&["-t", "tmpfs", "tmpfs"], &folder) else {
            return;
        };
        let in_folder = folder.join("a");
        for path in [&at, &in_folder] {
            fs::write(path, b"hidden").unwrap();
            fs::write(&behind, b"older and longer").unwrap();
            let Some(_file) = Mounted::new(&["--bind", behind.to_str().unwrap()], path) else {
                return;
            };
            if path == &in_folder {
                // No file can be created or renamed there.
                let mut mount = std::process::Command::new("mount");
                let ro = mount.args(["-o", "remount,ro"]).arg(&folder).status();
                assert!(ro.unwrap().success());
            }
            let opened = file(open(path, &|_| ()).unwrap());
            (&*opened).write_all(b"new").unwrap();
            assert_eq!(fs::read(&behind).unwrap(), b"new");
            // Not truncated while another recording still writes to it.
            let err = open(path, &|_| ()).unwrap_err();
            assert_eq!(err.kind(), io::ErrorKind::ResourceBusy);
            assert!(err.to_string().contains(path.to_str().unwrap()), "{err}");
            assert_eq!(fs::read(&behind).unwrap(), b"new");
            drop(opened);
            drop(open(path, &|_| ()).unwrap());
            assert_eq!(fs::read(&behind).unwrap(), b"");
        }
        assert_eq!(names(dir.path()), ["at", "behind", "folder"]);
    }

    #[test]
    fn symlinks_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (link, behind) = (dir.path().join("link"), dir.path().join("behind"));
        symlink("behind", &link).unwrap();
        for round in 0..2 {
            let new = file(open(&link, &|_| ()).unwrap());
            (&*new).write_all(&[round]).unwrap();
            assert_eq!(fs::read(&behind).unwrap(), [round]);
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        }
    }

    #[test]
    fn errors_name_paths_that_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing/a.webm");
        let err = open(&missing, &|_| ()).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::NotFound);
        assert!(err.to_string().contains("missing/a.webm"), "{err}");
        let err = open(dir.path(), &|_| ()).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::IsADirectory);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn bare_name_and_device() {
        assert!(matches!(
            open(Path::new("/dev/null"), &|_| ()).unwrap(),
            Target::Device(_)
        ));
        assert!(open(Path::new(""), &|_| ()).is_err());
    }
}
