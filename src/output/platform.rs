//! File operations that differ between Unix and Windows; the rest of this crate is portable.

pub(super) use imp::{
    Identity, default_temp_dir, free_space, identity, is_device, keep_owner_and_mode, make_private,
    mode, open_directory_of, put_in_place, read_exact_at, set_mode, sync_directory,
    with_default_mode, write_all_at, write_vectored_at,
};

#[cfg(unix)]
mod imp {
    use std::fs::{File, Metadata, Permissions};
    use std::io::{self, IoSlice, Write};
    use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, fchown};
    use std::path::{Path, PathBuf};

    use tempfile::NamedTempFile;

    /// A directory for large temporary files; /tmp is often a RAM disk.
    pub fn default_temp_dir() -> PathBuf {
        PathBuf::from("/var/tmp")
    }

    /// Fills `bytes` from `pos`. The file's cursor does not move.
    pub fn read_exact_at(file: &File, bytes: &mut [u8], pos: u64) -> io::Result<()> {
        file.read_exact_at(bytes, pos)
    }

    /// Writes `bytes` at `pos`. The file's cursor does not move.
    pub fn write_all_at(file: &File, bytes: &[u8], pos: u64) -> io::Result<()> {
        file.write_all_at(bytes, pos)
    }

    /// Writes some of `slices` at `pos`, where the file's cursor is; returns the number of bytes.
    pub fn write_vectored_at(
        mut file: &File,
        slices: &[IoSlice<'_>],
        _pos: u64,
    ) -> io::Result<usize> {
        file.write_vectored(slices)
    }

    /// Whether `path` with this metadata is a device such as /dev/null.
    pub fn is_device(_path: &Path, meta: Option<&Metadata>) -> bool {
        meta.is_some_and(|meta| meta.file_type().is_char_device())
    }

    /// Makes `builder` create files with the default mode according to the umask.
    pub fn with_default_mode<'a, 'b>(
        builder: &'b mut tempfile::Builder<'a, 'a>,
    ) -> &'b mut tempfile::Builder<'a, 'a> {
        builder.permissions(Permissions::from_mode(0o666))
    }

    /// Restricts a temporary file to its owner: an unnamed file is created with the umask.
    pub fn make_private(file: &File) -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(0o600))
    }

    /// Sets the owner and mode of `older` on `new`.
    pub fn keep_owner_and_mode(new: &File, older: &Metadata) -> io::Result<()> {
        let meta = new.metadata()?;
        if (meta.uid(), meta.gid()) != (older.uid(), older.gid()) {
            fchown(new, Some(older.uid()), Some(older.gid()))?;
        }
        set_mode(new, older.mode() & 0o7777)
    }

    /// Its permissions, if they can be read.
    pub fn mode(file: &File) -> Option<u32> {
        Some(file.metadata().ok()?.mode() & 0o7777)
    }

    pub fn set_mode(file: &File, mode: u32) -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(mode))
    }

    /// Device and inode.
    pub type Identity = (u64, u64);

    /// Identifies the file independently of its name.
    pub fn identity(file: &File) -> io::Result<Identity> {
        let meta = file.metadata()?;
        Ok((meta.dev(), meta.ino()))
    }

    /// Bytes available to this process on the file system of a directory.
    pub fn free_space(directory: &Path) -> io::Result<Option<u64>> {
        let system = rustix::fs::statvfs(directory)?;
        Ok(Some(system.f_bavail.saturating_mul(system.f_frsize)))
    }

    /// Renames `new` to `target`, replacing an existing file, which remains available to those who have it open.
    pub fn put_in_place(new: NamedTempFile, target: &Path) -> io::Result<File> {
        new.persist(target).map_err(|err| err.error)
    }

    /// The directory with the entry of the file at `path`, with symbolic links resolved; `None` if it cannot be read:
    /// then its entries can only be synchronised with the file.
    pub fn open_directory_of(path: &Path) -> io::Result<Option<File>> {
        let path = path.canonicalize()?;
        match File::open(path.parent().unwrap_or(&path)) {
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Returns when the directory's entries are on disk, or at once if its file system does not support it.
    pub fn sync_directory(directory: &File) -> io::Result<()> {
        match directory.sync_all() {
            Err(err) if err.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synchronised => synchronised,
        }
    }
}

#[cfg(windows)]
mod imp {
    use std::fs::{self, File, Metadata};
    use std::io::{self, IoSlice};
    use std::os::windows::ffi::OsStrExt;
    use std::os::windows::fs::FileExt;
    use std::os::windows::io::AsRawHandle;
    use std::path::{Path, PathBuf};
    use std::ptr::null_mut;

    use tempfile::NamedTempFile;
    use windows_sys::Win32::Storage::FileSystem::{
        BY_HANDLE_FILE_INFORMATION, GetDiskFreeSpaceExW, GetFileInformationByHandle,
    };

    /// The user's temporary directory: `%TMP%`.
    pub fn default_temp_dir() -> PathBuf {
        std::env::temp_dir()
    }

    /// Fills `bytes` from `pos`.
    pub fn read_exact_at(file: &File, mut bytes: &mut [u8], mut pos: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match file.seek_read(bytes, pos) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    bytes = bytes.get_mut(count..).unwrap_or_default();
                    pos += count as u64;
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    /// Writes `bytes` at `pos`.
    pub fn write_all_at(file: &File, mut bytes: &[u8], mut pos: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match file.seek_write(bytes, pos) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    pos += count as u64;
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    /// Writes some of `slices` at `pos`; returns the number of bytes. Other threads may read or write elsewhere in the
    /// file: that moves its cursor here, but nothing relies on it.
    pub fn write_vectored_at(file: &File, slices: &[IoSlice<'_>], pos: u64) -> io::Result<usize> {
        match slices.iter().find(|slice| !slice.is_empty()) {
            Some(slice) => file.seek_write(slice, pos),
            None => Ok(0),
        }
    }

    /// Whether `path` is the null device, which has no metadata.
    pub fn is_device(path: &Path, _meta: Option<&Metadata>) -> bool {
        path.as_os_str().eq_ignore_ascii_case("nul")
            || path.as_os_str().eq_ignore_ascii_case(r"\\.\nul")
    }

    /// A new file inherits its directory's permissions.
    pub fn with_default_mode<'a, 'b>(
        builder: &'b mut tempfile::Builder<'a, 'a>,
    ) -> &'b mut tempfile::Builder<'a, 'a> {
        builder
    }

    /// A temporary file is opened exclusively by this process.
    pub fn make_private(_file: &File) -> io::Result<()> {
        Ok(())
    }

    /// A new file inherits its directory's owner and permissions, as is usual on Windows.
    pub fn keep_owner_and_mode(_new: &File, _older: &Metadata) -> io::Result<()> {
        Ok(())
    }

    pub fn mode(_file: &File) -> Option<u32> {
        None
    }

    pub fn set_mode(_file: &File, _mode: u32) -> io::Result<()> {
        Ok(())
    }

    /// Volume serial number and file index.
    pub type Identity = (u64, u64);

    /// Identifies the file independently of its name.
    pub fn identity(file: &File) -> io::Result<Identity> {
        let mut found = BY_HANDLE_FILE_INFORMATION::default();
        // SAFETY: the handle stays open while `file` is borrowed, and `found` is an output parameter.
        let done = unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut found) };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        let number = u64::from(found.nFileIndexHigh) << 32 | u64::from(found.nFileIndexLow);
        Ok((found.dwVolumeSerialNumber.into(), number))
    }

    /// Bytes available to this process on the volume of a directory.
    pub fn free_space(directory: &Path) -> io::Result<Option<u64>> {
        let mut wide: Vec<u16> = directory.as_os_str().encode_wide().collect();
        // Required for a path to a share.
        wide.extend([u16::from(b'\\'), 0]);
        let mut free = 0;
        // SAFETY: `wide` is NUL-terminated and `free` is an output parameter; both outlive the call, and the other two
        // may be null.
        let done =
            unsafe { GetDiskFreeSpaceExW(wide.as_ptr(), &raw mut free, null_mut(), null_mut()) };
        match done {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(Some(free)),
        }
    }

    /// Does nothing: a directory cannot be opened for synchronisation on Windows, and FlushFileBuffers includes the
    /// file's directory entry.
    pub fn open_directory_of(_path: &Path) -> io::Result<Option<File>> {
        Ok(None)
    }

    /// See [`open_directory_of`].
    pub fn sync_directory(_directory: &File) -> io::Result<()> {
        Ok(())
    }

    /// Renames `new` to `target`, replacing an existing file.
    ///
    /// An open file cannot be replaced, but it can be renamed if opened with FILE_SHARE_DELETE. It is renamed and then
    /// deleted, so that it continues to exist without a name. A mapped file cannot even be deleted: it stays beside the
    /// new one under its other name.
    pub fn put_in_place(new: NamedTempFile, target: &Path) -> io::Result<File> {
        let new = match new.persist(target) {
            Ok(file) => return Ok(file),
            Err(err) => err.file,
        };
        let directory = target
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let aside = tempfile::Builder::new()
            .prefix(".mediarecorder-old-")
            .tempfile_in(directory.unwrap_or(Path::new(".")))?
            .into_temp_path();
        fs::rename(target, &aside)?;
        match new.persist(target) {
            // `aside` is deleted on drop.
            Ok(file) => Ok(file),
            Err(err) => {
                fs::rename(&aside, target)?;
                Err(err.error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSlice;

    #[test]
    fn bytes_are_written_at_their_offsets() {
        let file = tempfile::tempfile().unwrap();
        let written =
            write_vectored_at(&file, &[IoSlice::new(b""), IoSlice::new(b"0123456789")], 0);
        assert_eq!(written.unwrap(), 10);
        write_all_at(&file, b"ab", 2).unwrap();
        let mut four = [0; 4];
        read_exact_at(&file, &mut four, 1).unwrap();
        assert_eq!(&four, b"1ab4");
        assert_eq!(
            write_vectored_at(&file, &[IoSlice::new(b"!")], 10).unwrap(),
            1
        );
        read_exact_at(&file, &mut four, 7).unwrap();
        assert_eq!(&four, b"789!");
        assert!(read_exact_at(&file, &mut four, 9).is_err());
    }
}
