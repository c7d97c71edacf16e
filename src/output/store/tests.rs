//! The store against a plain `Vec<u8>`, in memory, spilled and in a file.

use super::*;
use proptest::prelude::*;
use std::io::Write;

/// Actions of a muxer and an application.
#[derive(Clone, Debug)]
enum Op {
    /// Appends bytes, in a buffer of this shape.
    Append(usize, Shape),
    /// Overwrites bytes at an existing offset (in 1/65536 of the length); may reach beyond the end.
    Patch(u16, usize, Shape),
    /// Writes bytes after a gap.
    Gap(usize, usize),
    /// Takes a blob; FALSE: its bytes are read only at the end.
    Take(bool),
    Flush,
    /// Synchronises; FALSE: patches are deferred.
    Round(bool),
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Plain,
    /// Two memories.
    Two,
    /// A small part of a large allocation.
    Loose,
}

fn buffer(bytes: &[u8], shape: Shape) -> gst::Buffer {
    match shape {
        Shape::Plain => gst::Buffer::from_slice(bytes.to_vec()),
        Shape::Two => {
            let (front, back) = bytes.split_at(bytes.len() / 2);
            let mut buffer = gst::Buffer::from_slice(front.to_vec());
            buffer
                .make_mut()
                .append_memory(gst::Memory::from_slice(back.to_vec()));
            buffer
        }
        Shape::Loose => {
            let mut buffer = gst::Buffer::with_size(bytes.len() * 20 + 100).unwrap();
            let inner = buffer.make_mut();
            inner.copy_from_slice(0, bytes).unwrap();
            inner.set_size(bytes.len());
            buffer
        }
    }
}

/// The bytes of a blob, without error.
fn whole(blob: BlobBytes) -> gst::Buffer {
    let (buffer, error) = blob.into_buffer();
    assert!(error.is_none(), "{error:?}");
    buffer
}

/// Takes bytes from a store.
pub(super) fn taken(store: &mut Store, last: bool) -> gst::Buffer {
    whole(store.take(last).unwrap())
}

fn bytes(blob: &gst::Buffer) -> Vec<u8> {
    blob.map_readable().unwrap().to_vec()
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![Just(Shape::Plain), Just(Shape::Two), Just(Shape::Loose)]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0usize..40, 2 => 40usize..5000, 1 => 5000usize..90_000]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (size(), shape()).prop_map(|(size, shape)| Op::Append(size, shape)),
        5 => (any::<u16>(), size(), shape()).prop_map(|(at, size, shape)| Op::Patch(at, size, shape)),
        1 => (0usize..70_000, size()).prop_map(|(hole, size)| Op::Gap(hole, size)),
        2 => any::<bool>().prop_map(Op::Take),
        1 => Just(Op::Flush),
        1 => any::<bool>().prop_map(Op::Round),
    ]
}

/// Bytes that depend on the write and the offset.
fn noise(seed: usize, size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| (seed.wrapping_mul(37) ^ at.wrapping_mul(11) ^ (at >> 8)) as u8)
        .collect()
}

/// Runs `ops` and returns the whole recording as written, including patches.
fn run(store: &mut Store, ops: &[Op]) -> Result<Vec<u8>, TestCaseError> {
    let mut model: Vec<u8> = Vec::new();
    let mut taken = 0;
    let mut blobs: Vec<(gst::Buffer, Vec<u8>)> = Vec::new();
    let mut unread: Vec<(BlobBytes, Vec<u8>)> = Vec::new();
    for (index, op) in ops.iter().enumerate() {
        let (pos, new, shape) = match *op {
            Op::Append(size, shape) => (model.len(), noise(index, size), shape),
            Op::Patch(at, size, shape) => (
                model.len() * usize::from(at) / 65536,
                noise(index, size),
                shape,
            ),
            Op::Gap(hole, size) => (model.len() + hole, noise(index, size), Shape::Plain),
            Op::Take(at_once) => {
                let blob = store.take(false).unwrap();
                let expected = model[taken..].to_vec();
                prop_assert_eq!(blob.offset(), taken as u64);
                prop_assert_eq!(blob.size(), expected.len() as u64);
                taken = model.len();
                prop_assert_eq!(store.taken(), taken as u64);
                if at_once {
                    let blob = whole(blob);
                    prop_assert_eq!(blob.offset_end(), taken as u64);
                    prop_assert_eq!(&bytes(&blob), &expected);
                    blobs.push((blob, expected));
                } else {
                    unread.push((blob, expected));
                }
                continue;
            }
            Op::Flush => {
                store.flush().unwrap();
                continue;
            }
            Op::Round(at_once) => {
                let patches = store.begin_round().unwrap();
                store
                    .write_patches(patches.filter(|_| at_once).unwrap_or(0))
                    .unwrap();
                continue;
            }
        };
        store.write(pos as u64, buffer(&new, shape)).unwrap();
        if !new.is_empty() {
            model.resize(model.len().max(pos + new.len()), 0);
            model[pos..pos + new.len()].copy_from_slice(&new);
        }
        prop_assert_eq!(store.len(), model.len() as u64);
    }
    store.write_patches(usize::MAX).unwrap();
    unread.push((store.take(true).unwrap(), model[taken..].to_vec()));
    blobs.extend(
        unread
            .into_iter()
            .map(|(blob, expected)| (whole(blob), expected)),
    );
    for (blob, expected) in &blobs {
        prop_assert_eq!(blob.size(), expected.len());
        prop_assert!(blob.n_memory() <= 1, "one piece for whoever maps it");
        prop_assert_eq!(&bytes(blob), expected);
    }
    prop_assert!(store.write(0, buffer(b"late", Shape::Plain)).is_err());
    Ok(model)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    #[test]
    fn memory_is_the_model(ops in prop::collection::vec(op(), 0..40)) {
        gst::init().unwrap();
        run(&mut Store::in_memory(u64::MAX, None), &ops)?;
    }

    #[test]
    fn spilled_is_the_model(ops in prop::collection::vec(op(), 0..40), max in 0u64..30_000) {
        gst::init().unwrap();
        let dir = tempfile::tempdir().unwrap();
        run(&mut Store::in_memory(max, Some(dir.path().into())), &ops)?;
        prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn file_is_the_model(
        ops in prop::collection::vec(op(), 0..40),
        max in 0u64..30_000,
        synchronised in any::<bool>(),
    ) {
        gst::init().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut store = Store::in_file(&path, max, Some(dir.path().into())).unwrap();
        if synchronised {
            store.sync_file().unwrap();
        }
        let model = run(&mut store, &ops)?;
        prop_assert_eq!(std::fs::read(&path).unwrap(), model);
        prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn device_is_the_model(ops in prop::collection::vec(op(), 0..20)) {
        gst::init().unwrap();
        run(&mut Store::in_file("/dev/null", 1000, None).unwrap(), &ops)?;
    }
}

#[test]
fn a_single_buffer_is_handed_out_without_a_copy() {
    gst::init().unwrap();
    let piece = buffer(&noise(1, 10_000), Shape::Plain);
    let address = piece.map_readable().unwrap().as_ptr();
    let mut store = Store::in_memory(1 << 20, None);
    store.write(0, piece).unwrap();
    let blob = taken(&mut store, false);
    assert_eq!(blob.map_readable().unwrap().as_ptr(), address);
}

#[test]
fn a_patch_does_not_modify_the_muxers_buffer() {
    gst::init().unwrap();
    let piece = buffer(&noise(1, 10_000), Shape::Plain);
    let mut store = Store::in_memory(1 << 20, None);
    store.write(0, piece.clone()).unwrap();
    store.write(5000, buffer(b"patch", Shape::Plain)).unwrap();
    assert_eq!(bytes(&piece), noise(1, 10_000));
    assert_eq!(&bytes(&taken(&mut store, true))[5000..5005], b"patch");
}

/// Bytes whose release can be observed.
struct Watched(
    Vec<u8>,
    #[allow(dead_code, reason = "counted")] std::sync::Arc<()>,
);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[test]
fn small_packets_do_not_hold_their_large_allocations() {
    gst::init().unwrap();
    let watch = std::sync::Arc::new(());
    let packet = gst::Buffer::from_slice(Watched(noise(1, 200), watch.clone()));
    let mut store = Store::in_memory(1 << 20, None);
    store.write(0, packet).unwrap();
    assert_eq!(
        std::sync::Arc::strong_count(&watch),
        1,
        "the packet is free"
    );
    assert_eq!(bytes(&taken(&mut store, true)), noise(1, 200));
}

/// Resident anonymous memory of this process, in bytes.
fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|kib| kib.parse().ok())
        .unwrap();
    kib * 1024
}

#[test]
fn large_recordings_are_spilled() {
    gst::init().unwrap();
    const SIZE: u64 = 256 << 20;
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let piece = noise(1, 1 << 18);
    let in_file = Store::in_file(dir.path().join("a"), 8 << 20, Some(dir.path().into())).unwrap();
    let spilled = Store::in_memory(8 << 20, Some(dir.path().into()));
    for mut store in [in_file, spilled] {
        let before = anonymous();
        while store.len() < SIZE {
            let at = store.len();
            store.write(at, buffer(&piece, Shape::Plain)).unwrap();
        }
        store.write(77, buffer(b"patched", Shape::Plain)).unwrap();
        let blob = taken(&mut store, true);
        assert_eq!(blob.size() as u64, SIZE);
        {
            let map = blob.map_readable().unwrap();
            assert_eq!(&map[77..84], b"patched");
            assert_eq!(map[map.len() - 1], piece[piece.len() - 1]);
        }
        // The margin is for other tests that run concurrently.
        let grown = anonymous().saturating_sub(before);
        assert!(grown < SIZE / 2, "{grown} bytes of memory more");
    }
}

#[test]
fn a_full_disk_is_reported_once_and_memory_is_used_instead() {
    gst::init().unwrap();
    let mut store = Store::in_file("/dev/full", 10, None).unwrap();
    let err = store.write(0, buffer(b"first", Shape::Plain)).unwrap_err();
    assert_eq!(err.kind(), io::ErrorKind::StorageFull);
    assert!(err.to_string().contains("/dev/full"), "{err}");
    store.write(5, buffer(b"more", Shape::Plain)).unwrap();
    store.write(0, buffer(b"F", Shape::Plain)).unwrap();
    // Up to `max_memory` more is kept, and nothing after a gap.
    store.write(9, buffer(b"too much", Shape::Plain)).unwrap();
    store.write(9, buffer(b"late", Shape::Plain)).unwrap();
    assert_eq!(store.len(), 9);
    assert_eq!(bytes(&taken(&mut store, true)), b"Firstmore");
}

/// A separate small file system, if this machine permits mounts.
pub(super) struct Tiny(pub(super) tempfile::TempDir);

impl Tiny {
    /// One of a megabyte.
    pub(super) fn new() -> Option<Self> {
        Self::mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
    }

    /// One whose files can share extents.
    fn sharing(image: &Path) -> Option<Self> {
        File::create(image).unwrap().set_len(120 << 20).unwrap();
        let mut mkfs = std::process::Command::new("mkfs.btrfs");
        let made = mkfs.arg("-q").arg(image).output();
        if !made.is_ok_and(|out| out.status.success()) {
            skipped("blobs that share blocks with a file: no mkfs.btrfs");
            return None;
        }
        Self::mount(&["-o", "loop", image.to_str().unwrap()])
    }

    fn mount(args: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(args)
            .arg(dir.path())
            .output();
        let mounted = mounted.is_ok_and(|out| out.status.success());
        if !mounted {
            skipped("a store on a file system of its own: nothing can be mounted here");
        }
        mounted.then_some(Self(dir))
    }
}

/// scripts/test reports these at its end.
fn skipped(what: &str) {
    if let Some(list) = std::env::var_os("MEDIARECORDER_SKIPPED") {
        let mut list = File::options().append(true).open(list).unwrap();
        writeln!(list, "{what}").unwrap();
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status();
    }
}

/// Writes until the first error, and beyond; returns the error and all bytes written.
fn fill(store: &mut Store) -> (io::Error, Vec<u8>) {
    let mut model = Vec::new();
    let mut error = None;
    for piece in 0..300 {
        let new = noise(piece, 10_000);
        let done = store.write(model.len() as u64, buffer(&new, Shape::Plain));
        model.extend(new);
        if let Err(err) = done {
            assert!(error.is_none(), "a second error: {err}");
            error = Some(err);
        }
    }
    (error.expect("no error"), model)
}

#[test]
fn a_full_disk_loses_nothing_that_was_in_memory() {
    gst::init().unwrap();
    let Some(tiny) = Tiny::new() else {
        return;
    };
    let path = tiny.0.path().join("a");
    let mut store = Store::in_file(&path, 1 << 20, None).unwrap();
    let (err, mut model) = fill(&mut store);
    assert_eq!(err.kind(), io::ErrorKind::StorageFull);
    assert!(
        err.to_string().contains(&path.display().to_string()),
        "{err}"
    );
    let in_file = std::fs::metadata(&path).unwrap().len() as usize;
    assert!(in_file > 900_000, "{in_file}");
    for at in [4, in_file - 3, in_file + 50_000] {
        store
            .write(at as u64, buffer(b"patched", Shape::Plain))
            .unwrap();
        model[at..at + 7].copy_from_slice(b"patched");
    }
    let blob = bytes(&taken(&mut store, true));
    // Pending bytes, and then up to `max_memory` more.
    assert!(blob.len() > in_file + (1 << 20) - 10_000, "{}", blob.len());
    assert!(blob.len() < in_file + (1 << 20) + 100_000, "{}", blob.len());
    let wrong = (0..blob.len()).find(|at| blob[*at] != model[*at]);
    assert_eq!(wrong, None, "of {} in the file {in_file}", blob.len());
    assert!(std::fs::read(&path).unwrap() == model[..in_file]);
    assert_eq!(store.taken(), blob.len() as u64);
}

#[test]
fn spilling_to_a_full_disk_loses_nothing_that_was_in_memory() {
    gst::init().unwrap();
    for max_memory in [100_000, 2 << 20] {
        let Some(tiny) = Tiny::new() else {
            return;
        };
        let mut store = Store::in_memory(max_memory, Some(tiny.0.path().into()));
        let (err, mut model) = fill(&mut store);
        assert_eq!(err.kind(), io::ErrorKind::StorageFull);
        for at in [7, model.len() - 2_000_000] {
            store
                .write(at as u64, buffer(b"patched", Shape::Plain))
                .unwrap();
            model[at..at + 7].copy_from_slice(b"patched");
        }
        let blob = bytes(&taken(&mut store, true));
        let least = max_memory as usize + 900_000.max(max_memory as usize) - 10_000;
        assert!(blob.len() > least.min(model.len() - 1), "{}", blob.len());
        assert!(blob == model[..blob.len()], "all of it, in order");
    }
}

#[test]
fn a_file_that_refuses_all_writes_posts_one_error_and_loses_nothing() {
    gst::init().unwrap();
    let Some(tiny) = Tiny::new() else {
        return;
    };
    let path = tiny.0.path().join("a");
    let mut store = Store::in_file(&path, 100, None).unwrap();
    std::fs::write(tiny.0.path().join("filler"), vec![0; 2 << 20]).unwrap_err();
    store.write(0, buffer(b"gathered", Shape::Plain)).unwrap();
    let err = store.flush().unwrap_err();
    assert_eq!(err.kind(), io::ErrorKind::StorageFull);
    store.flush().unwrap();
    store.write(8, buffer(b"more", Shape::Plain)).unwrap();
    let first = taken(&mut store, false);
    assert_eq!(bytes(&first), b"gatheredmore");
    store.write(12, buffer(b"last", Shape::Plain)).unwrap();
    store.write(10, buffer(b"RE", Shape::Plain)).unwrap();
    let last = taken(&mut store, true);
    assert_eq!((last.offset(), bytes(&last)), (12, b"last".to_vec()));
    assert_eq!(bytes(&first), b"gatheredmore");
}

#[test]
fn a_patch_that_fails_first_is_not_lost() {
    gst::init().unwrap();
    let Some(tiny) = Tiny::new() else {
        return;
    };
    let path = tiny.0.path().join("a");
    let mut store = Store::in_file(&path, 100, None).unwrap();
    store
        .write(0, buffer(b"in the file", Shape::Plain))
        .unwrap();
    store.flush().unwrap();
    std::fs::write(tiny.0.path().join("filler"), vec![0; 2 << 20]).unwrap_err();
    let rest = noise(1, 50_000);
    store.write(11, buffer(&rest, Shape::Plain)).unwrap();
    let both = [b"FILE".as_slice(), &rest[..3]].concat();
    store.write(7, buffer(&both, Shape::Plain)).unwrap_err();
    let blob = bytes(&taken(&mut store, true));
    assert!(blob == [b"in the FILE".as_slice(), &rest].concat());
}

#[test]
fn data_that_cannot_be_spilled_stays_in_memory() {
    gst::init().unwrap();
    let mut store = Store::in_memory(10, Some("/nonexistent".into()));
    store.write(0, buffer(b"0123456789", Shape::Plain)).unwrap();
    let err = store.write(10, buffer(b"ab", Shape::Plain)).unwrap_err();
    assert!(err.to_string().contains("/nonexistent"), "{err}");
    store
        .write(12, buffer(b"cdefghijkl", Shape::Plain))
        .unwrap();
    store.write(22, buffer(b"dropped", Shape::Plain)).unwrap();
    assert_eq!(bytes(&taken(&mut store, true)), b"0123456789abcdefghijkl");
}

#[test]
fn absurd_positions_are_errors() {
    gst::init().unwrap();
    for pos in [u64::MAX, u64::MAX - 1, 1 << 60] {
        let mut store = Store::in_memory(1 << 20, None);
        store.write(0, buffer(b"abc", Shape::Plain)).unwrap();
        assert!(store.write(pos, buffer(b"xyz", Shape::Plain)).is_err());
        assert_eq!(bytes(&taken(&mut store, true)), b"abc");
    }
}

#[test]
fn flushed_bytes_are_in_the_file() {
    gst::init().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let mut store = Store::in_file(&path, 1 << 20, None).unwrap();
    store.write(0, buffer(b"abc", Shape::Plain)).unwrap();
    store.flush().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"abc");
}

/// Changes to a file whose blobs are still held, or not even read.
#[test]
fn blobs_do_not_change_whatever_happens_to_the_file() {
    gst::init().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let content = noise(3, 300_000);
    let spoil: [fn(&Path); 4] = [
        |path| {
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(10)
                .unwrap()
        },
        |path| std::fs::write(path, vec![0; 300_000]).unwrap(),
        |path| std::fs::remove_file(path).unwrap(),
        |path| drop(Store::in_file(path, 0, None).unwrap()),
    ];
    for (index, spoil) in spoil.iter().enumerate() {
        for max_memory in [0, 1 << 20] {
            let mut store = Store::in_file(&path, max_memory, Some(dir.path().into())).unwrap();
            store.write(0, buffer(&content, Shape::Plain)).unwrap();
            let blob = taken(&mut store, index % 2 == 0);
            spoil(&path);
            assert!(bytes(&blob) == content, "{index}, {max_memory}");
        }
    }
    // Not yet read: the blob has the original bytes, or none, but never anything else.
    for (index, spoil) in spoil.iter().enumerate() {
        let mut store = Store::in_file(&path, 0, Some(dir.path().into())).unwrap();
        store.write(0, buffer(&content, Shape::Plain)).unwrap();
        let blob = store.take(true).unwrap();
        drop(store);
        spoil(&path);
        let (blob, error) = blob.into_buffer();
        assert_eq!((blob.offset(), blob.offset_end()), (0, 300_000));
        match index {
            0 => assert!(error.is_some() && blob.size() == 0),
            1 => assert!(error.is_none() && blob.size() == 300_000),
            _ => assert!(error.is_none() && bytes(&blob) == content),
        }
    }
    assert!(
        std::fs::read_dir(dir.path()).unwrap().count() <= 1,
        "no copy has a name"
    );
}

#[test]
fn a_blob_without_disk_space_has_no_bytes_and_uses_none() {
    gst::init().unwrap();
    let Some(tiny) = Tiny::new() else {
        return;
    };
    let Some(larger) = Tiny::mount(&["-t", "tmpfs", "-o", "size=9m", "tmpfs"]) else {
        return;
    };
    let path = larger.0.path().join("a");
    let temp_dir = tiny.0.path();
    let mut store = Store::in_file(&path, 1000, Some(temp_dir.into())).unwrap();
    let content = noise(3, 2 << 20);
    store.write(0, buffer(&content, Shape::Plain)).unwrap();
    let (blob, error) = store.take(false).unwrap().into_buffer();
    let error = error.expect("no room").to_string();
    assert!(error.contains(&temp_dir.display().to_string()), "{error}");
    assert_eq!((blob.size(), blob.offset_end()), (0, 2 << 20));
    // The recording continues, and smaller blobs succeed.
    store.write(2 << 20, buffer(b"more", Shape::Plain)).unwrap();
    let blob = taken(&mut store, true);
    assert_eq!((blob.offset(), bytes(&blob)), (2 << 20, b"more".to_vec()));
    assert!(std::fs::read(&path).unwrap() == [content.as_slice(), b"more"].concat());
}

#[test]
fn a_large_blob_shares_the_blocks_of_its_file_if_possible() {
    gst::init().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let Some(sharing) = Tiny::sharing(&dir.path().join("image")) else {
        return;
    };
    let path = sharing.0.path().join("a");
    // No space for a copy elsewhere.
    let mut store = Store::in_file(&path, 1000, Some("/nonexistent".into())).unwrap();
    let content = noise(3, 10 << 20);
    let at = 12_345;
    store
        .write(0, buffer(&content[..at], Shape::Plain))
        .unwrap();
    let small = store.take(false).unwrap();
    store
        .write(at as u64, buffer(&content[at..], Shape::Plain))
        .unwrap();
    let large = store.take(false).unwrap();
    // Later writes affect neither of them.
    store
        .write(at as u64 - 2, buffer(b"patch", Shape::Plain))
        .unwrap();
    store
        .write(10 << 20, buffer(b"more", Shape::Plain))
        .unwrap();
    store.flush().unwrap();
    let (small, large) = (whole(small), whole(large));
    std::fs::write(&path, b"spoiled").unwrap();
    assert!(bytes(&small) == content[..at]);
    assert!(bytes(&large) == content[at..]);
    assert_eq!(std::fs::read_dir(sharing.0.path()).unwrap().count(), 1);
}
