//! What is on a disk after a power cut, reconstructed from strace's log of the writes to a file.
//!
//! Each 4 KiB page has, independently, the content of the last completed sync or of any later write. So has the
//! file size; pages that were never written are zero.

use super::settings::Rng;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Written atomically.
pub const PAGE: usize = 4096;

/// The effect of a system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// These bytes at this offset.
    Write(usize, Vec<u8>),
    /// Everything written before this call (an index) began is on the disk.
    Sync(usize),
}

/// A system call that has returned.
#[derive(Debug, Clone)]
pub struct Syscall {
    /// The file or directory.
    pub path: PathBuf,
    /// When it began, in seconds since 1970.
    pub at: f64,
    /// Its maximum duration in seconds, if another thread made a call meanwhile; 0 otherwise.
    pub lasts: f64,
    pub operation: Operation,
}

impl Syscall {
    pub fn write(&self) -> Option<(usize, &Vec<u8>)> {
        match &self.operation {
            Operation::Write(at, bytes) => Some((*at, bytes)),
            Operation::Sync(_) => None,
        }
    }
}

/// Decodes a text in which all bytes are in hexadecimal.
fn unhex(text: &str) -> Vec<u8> {
    let all = text.split("\\x").skip(1);
    all.map(|hex| u8::from_str_radix(&hex[..2], 16).unwrap())
        .collect()
}

/// The calls in a log of [`super::disk::traced`], in the order in which they returned.
pub fn parse(log: &str) -> Vec<Syscall> {
    let mut calls = Vec::new();
    let mut ends = BTreeMap::new();
    // Calls that have not returned, by thread: when they began, and after how many others.
    let mut unfinished = BTreeMap::new();
    for line in log.lines() {
        let (thread, rest) = line.split_once(char::is_whitespace).unwrap();
        let (at, call) = rest.trim_start().split_once(' ').unwrap();
        let now = at.parse::<f64>().unwrap();
        let mut begun = (now, calls.len());
        let mut text = call.to_owned();
        if let Some(head) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread.to_owned(), (begun, head.to_owned()));
            continue;
        }
        if call.starts_with("<... ") {
            let (began, head) = unfinished.remove(thread).expect("it has begun");
            begun = began;
            text = head + call.split_once("resumed>").unwrap().1;
        }
        let (name, rest) = text.split_once('(').expect("a system call");
        let path = rest.split_once('<').unwrap().1.split_once('>').unwrap().0;
        let path = PathBuf::from(std::ffi::OsString::from_vec(unhex(path)));
        let bytes = || {
            let quoted = rest.split('"').skip(1).step_by(2);
            quoted.flat_map(unhex).collect::<Vec<_>>()
        };
        let end: &mut usize = ends.entry(path.clone()).or_default();
        let operation = match name {
            "write" | "writev" => Operation::Write(*end, bytes()),
            "pwrite64" => {
                let places = rest.rsplit_once('"').unwrap().1;
                let place = places.split([',', ')']).nth(2).unwrap().trim();
                Operation::Write(place.parse().unwrap(), bytes())
            }
            "fsync" | "fdatasync" => Operation::Sync(begun.1),
            other => panic!("{other}"),
        };
        if let Operation::Write(at, bytes) = &operation {
            *end = (*end).max(at + bytes.len());
        }
        calls.push(Syscall {
            path,
            at: begun.0,
            lasts: now - begun.0,
            operation,
        });
    }
    calls
}

/// The calls on one file.
pub fn calls_on(calls: &[Syscall], path: &Path) -> Vec<Syscall> {
    let of_file = |call: &&Syscall| call.path == path;
    let mut found: Vec<_> = calls.iter().filter(of_file).cloned().collect();
    for call in &mut found {
        if let Operation::Sync(begun) = &mut call.operation {
            *begun = calls[..*begun].iter().filter(of_file).count();
        }
    }
    found
}

/// Applies a write to a file in memory.
pub fn apply(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    file.resize(file.len().max(at + bytes.len()), 0);
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The content of the disk if power is cut after the first `count` calls, which are all on one file; random within
/// what is possible.
pub fn after_power_cut(calls: &[Syscall], count: usize, chance: &mut Rng) -> Vec<u8> {
    let synchronised = calls[..count]
        .iter()
        .filter_map(|call| match call.operation {
            Operation::Sync(begun) => Some(begun),
            Operation::Write(..) => None,
        })
        .max();
    let (mut disk, mut memory) = (Vec::new(), Vec::new());
    // The contents of each page since, and the sizes of the file.
    let mut pages: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
    let mut lengths = Vec::new();
    for (number, call) in calls[..count].iter().enumerate() {
        let Some((at, bytes)) = call.write() else {
            continue;
        };
        apply(&mut memory, at, bytes);
        if synchronised.is_some_and(|synchronised| number < synchronised) {
            disk.clone_from(&memory);
            continue;
        }
        for page in at / PAGE..(at + bytes.len()).div_ceil(PAGE) {
            let end = ((page + 1) * PAGE).min(memory.len());
            let versions = pages.entry(page).or_default();
            versions.push(memory[page * PAGE..end].to_vec());
        }
        lengths.push(memory.len());
    }
    lengths.push(disk.len());
    let length = chance.pick(&lengths);
    disk.resize(memory.len().max(disk.len()), 0);
    // Often nearly all pages have been written, or nearly none.
    let come = chance.pick(&[2, 10, 18]);
    for (page, versions) in pages {
        if chance.below(20) < come {
            let version = &versions[chance.below(versions.len() as u64) as usize];
            disk[page * PAGE..page * PAGE + version.len()].copy_from_slice(version);
        }
    }
    disk.truncate(length);
    disk
}
