//! The effect of each action in each state, after the W3C draft and MDN.

use super::error::Error;
use std::fmt;

/// The state of a recorder (W3C `RecordingState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// Nothing is being recorded.
    #[default]
    Inactive,
    /// Input is being recorded.
    Recording,
    /// Recording is suspended: input is dropped.
    Paused,
}

/// An action of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Begin a recording.
    Start,
    /// Drop input from now on.
    Pause,
    /// Record input again.
    Resume,
    /// End the recording.
    Stop,
    /// Emit the data recorded so far.
    RequestData,
    /// Continue in the next part.
    SplitNow,
    /// Add a chapter at this instant.
    Mark,
}

/// The effect of an allowed command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// No effect, and no event.
    Nothing,
    /// The state changes.
    To(State),
    /// The state stays; a blob is emitted.
    Blob,
    /// The state stays; the next part begins.
    Part,
    /// The state stays; a chapter is added.
    Mark,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Nothing => f.write_str("changes nothing"),
            Effect::To(state) => write!(f, "makes it {state:?}"),
            Effect::Blob => f.write_str("asks for a blob"),
            Effect::Part => f.write_str("asks for the next part"),
            Effect::Mark => f.write_str("makes a chapter"),
        }
    }
}

impl State {
    /// The effect of `command` in this state.
    ///
    /// `stop` while inactive is an error according to MDN; according to the current draft it has no effect.
    pub fn apply(self, command: Command) -> Result<Effect, Error> {
        use Command::*;
        use State::*;
        match (self, command) {
            (Inactive, Start) => Ok(Effect::To(Recording)),
            (Recording, Pause) => Ok(Effect::To(Paused)),
            (Paused, Resume) => Ok(Effect::To(Recording)),
            (Paused, Pause) | (Recording, Resume) => Ok(Effect::Nothing),
            (Recording | Paused, Stop) => Ok(Effect::To(Inactive)),
            (Recording | Paused, RequestData) => Ok(Effect::Blob),
            (Recording | Paused, SplitNow) => Ok(Effect::Part),
            (Recording | Paused, Mark) => Ok(Effect::Mark),
            (Recording, Start) => Err(Error::invalid_state(
                "start: a recording is already in progress; stop it before starting the next one",
            )),
            (Paused, Start) => Err(Error::invalid_state(
                "start: a recording is already in progress, and paused; resume it, or stop it before starting the \
                 next one",
            )),
            (Inactive, Pause) => Err(Error::invalid_state(
                "pause: nothing is being recorded; start a recording first",
            )),
            (Inactive, Resume) => Err(Error::invalid_state(
                "resume: nothing is being recorded, so nothing is paused; start a recording first",
            )),
            (Inactive, Stop) => Err(Error::invalid_state(
                "stop: nothing is being recorded; the recording has already ended or was never started",
            )),
            (Inactive, RequestData) => Err(Error::invalid_state(
                "request-data: nothing is being recorded; start a recording first",
            )),
            (Inactive, SplitNow) => Err(Error::invalid_state(
                "split-now: nothing is being recorded; start a recording first",
            )),
            (Inactive, Mark) => Err(Error::invalid_state(
                "mark: nothing is being recorded; start a recording first",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorCode;
    use proptest::prelude::*;

    /// The table of docs/REFERENCE.md as text: rows are actions, columns inactive, recording, paused.
    const TABLE: [(Command, [&str; 3]); 7] = [
        (Command::Start, ["recording", "error", "error"]),
        (Command::Pause, ["error", "paused", "nothing"]),
        (Command::Resume, ["error", "nothing", "recording"]),
        (Command::Stop, ["error", "inactive", "inactive"]),
        (Command::RequestData, ["error", "blob", "blob"]),
        (Command::SplitNow, ["error", "part", "part"]),
        (Command::Mark, ["error", "mark", "mark"]),
    ];

    fn name(state: State) -> &'static str {
        match state {
            State::Inactive => "inactive",
            State::Recording => "recording",
            State::Paused => "paused",
        }
    }

    proptest! {
        #[test]
        fn actions_follow_the_table(commands in proptest::collection::vec(0usize..7, 0..40)) {
            let mut state = State::default();
            let mut expected = "inactive";
            for index in commands {
                let (command, row) = TABLE[index];
                let column = ["inactive", "recording", "paused"]
                    .iter()
                    .position(|name| *name == expected)
                    .unwrap();
                let result = state.apply(command);
                match row[column] {
                    "error" => {
                        let error = result.unwrap_err();
                        prop_assert_eq!(error.code(), ErrorCode::InvalidState);
                        prop_assert!(error.message().contains(';'), "no advice: {}", error);
                    }
                    "nothing" => prop_assert_eq!(result.unwrap(), Effect::Nothing),
                    "blob" => prop_assert_eq!(result.unwrap(), Effect::Blob),
                    "part" => prop_assert_eq!(result.unwrap(), Effect::Part),
                    "mark" => prop_assert_eq!(result.unwrap(), Effect::Mark),
                    next => {
                        expected = next;
                        let Effect::To(next) = result.unwrap() else {
                            panic!("{command:?} in {state:?} does not change the state");
                        };
                        state = next;
                    }
                }
                prop_assert_eq!(name(state), expected);
            }
        }
    }
}
