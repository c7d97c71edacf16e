//! Where a recording's bytes go: the store that blobs are cut from, and the `src` pad.

mod disk;
mod file;
mod memory;
mod spill;
mod store;

pub use store::Store;
