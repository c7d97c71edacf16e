//! Where a recording's bytes go: the store that blobs are cut from, and the `src` pad.

mod disk;
mod file;
mod memory;
mod spill;
mod src_output;
mod src_queue;
mod src_sender;
mod store;

pub use src_output::SrcOutput;
pub use store::Store;
