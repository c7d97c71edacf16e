//! Tests: real files in temporary folders.

use super::*;
use std::fs;

fn place(ring: &Arc<Ring>, files: u32, bytes: u64) -> RingPlace {
    let limits = RingLimits {
        files,
        bytes,
        free: 0,
    };
    RingPlace::new(ring.clone(), limits)
}

fn make_way(place: &RingPlace, path: &Path) {
    let new = tempfile::tempfile_in(path.parent().unwrap()).unwrap();
    place.make_way(path, &new);
}

fn begin(place: RingPlace, path: &Path) -> RingFile {
    make_way(&place, path);
    let file = File::create(path).unwrap();
    place.take(path, &file).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_ring_keeps_max_files_and_only_removes_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("another"), "").unwrap();
    let ring = Arc::<Ring>::default();
    for number in 0..4 {
        begin(place(&ring, 2, 0), &folder.join(number.to_string()));
    }
    assert_eq!(names(folder), ["2", "3", "another"]);
    // A replaced or moved file belongs to someone else.
    fs::remove_file(folder.join("2")).unwrap();
    fs::write(folder.join("2"), "another's").unwrap();
    fs::rename(folder.join("3"), folder.join("kept")).unwrap();
    for number in 4..7 {
        begin(place(&ring, 2, 0), &folder.join(number.to_string()));
    }
    assert_eq!(names(folder), ["2", "5", "6", "another", "kept"]);
    // A rewritten file counts once.
    begin(place(&ring, 2, 0), &folder.join("6"));
    assert_eq!(names(folder), ["2", "5", "6", "another", "kept"]);
}

#[test]
fn one_file_is_the_one_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ring = Arc::<Ring>::default();
    for number in 0..3 {
        make_way(&place(&ring, 1, 0), &folder.join(number.to_string()));
        assert_eq!(names(folder), [""; 0]);
        begin(place(&ring, 1, 0), &folder.join(number.to_string()));
    }
    assert_eq!(names(folder), ["2"]);
}

#[test]
fn the_oldest_is_removed_before_the_limit_is_exceeded() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ring = Arc::<Ring>::default();
    let mut older = begin(place(&ring, 0, 100), &folder.join("0"));
    older.grow(50).unwrap();
    let mut newer = begin(place(&ring, 0, 100), &folder.join("1"));
    newer.grow(45).unwrap();
    assert_eq!(names(folder), ["0", "1"]);
    // The end of the older file, written late.
    older.grow(5).unwrap();
    assert_eq!(names(folder), ["0", "1"]);
    newer.grow(1).unwrap();
    assert_eq!(names(folder), ["1"]);
    older.grow(1_000).unwrap();
    newer.grow(54).unwrap();
    let full = newer.grow(1).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(names(folder), ["1"]);
}

#[test]
fn free_space_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let free = free_space(&folder.path().join("file")).unwrap();
    assert!(free.is_some_and(|free| free > 0));
    assert!(free_space(&folder.path().join("none/file")).is_err());
}
