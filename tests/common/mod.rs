//! Shared by the integration tests: signals that carry their own time, judges that verify them in a recording, and
//! pipelines around the recorder.
#![allow(dead_code, reason = "each test binary uses a part of this")]

pub mod app;
pub mod child_process;
pub mod disk;
pub mod failing_encoder;
pub mod harness;
pub mod judge;
pub mod keeping;
pub mod killed;
pub mod leaks;
pub mod network;
pub mod order;
pub mod past;
pub mod replay;
pub mod settings;
pub mod signal;
pub mod take;
pub mod thread_time;
pub mod types;
pub mod xvfb;
