//! Why a recording ended.

/// The `reason` of `mediarecorder-stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The `stop` action.
    Stop,
    /// Every track has ended.
    EndOfStream,
    /// PAUSED was left for READY.
    StateChange,
    /// As much was recorded as `max-duration` allows.
    MaxDuration,
    /// No more is free on the disk than has to stay so.
    MinFreeSpace,
    /// It failed: `on-error` has the reason.
    Error,
}

impl EndReason {
    /// As the message has it.
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
