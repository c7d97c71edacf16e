//! Why a recording ended.

/// The `reason` of `mediarecorder-stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The `stop` action was called.
    Stop,
    /// Every track is at EOS.
    EndOfStream,
    /// PAUSED→READY.
    StateChange,
    /// `max-duration` was reached.
    MaxDuration,
    /// Free disk space fell below `min-free-space`.
    MinFreeSpace,
    /// It failed: see `on-error` for the reason.
    Error,
}

impl EndReason {
    /// The value in the message.
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Stop => "stop",
            EndReason::EndOfStream => "end-of-stream",
            EndReason::StateChange => "state-change",
            EndReason::MaxDuration => "max-duration",
            EndReason::MinFreeSpace => "min-free-space",
            EndReason::Error => "error",
        }
    }
}
