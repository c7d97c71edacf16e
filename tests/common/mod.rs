//! What the integration tests share: signals that tell their own time, judges that read them
//! back, and the pipeline around the recorder.
#![allow(dead_code, reason = "each test binary uses a part of this")]

pub mod app;
pub mod asleep;
pub mod beside;
pub mod broken;
pub mod chance;
pub mod disk;
pub mod harness;
pub mod judge;
pub mod keeping;
pub mod killed;
pub mod leaks;
pub mod network;
pub mod order;
pub mod past;
pub mod replay;
pub mod signal;
pub mod take;
pub mod types;
pub mod xvfb;
