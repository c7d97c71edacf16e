//! The recorder's output: the store that blobs are cut from, the `src` pad, and events.

mod blob;
mod disk;
mod dispatcher;
mod file;
mod file_blob;
mod memory;
mod platform;
mod ring;
mod spill;
mod src_output;
mod src_queue;
mod src_sender;
mod store;
mod sync;

pub use blob::BlobBytes;
pub use dispatcher::{Dispatcher, Events, Slot};
pub use ring::{Ring, RingLimits, RingPlace, free_space};
pub use spill::{UnlinkedFile, unlinked_file};
pub use src_output::SrcOutput;
pub use src_queue::Audience;
pub use store::Store;
pub use sync::SyncFile;
