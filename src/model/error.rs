//! The recorder's error type: a code after the W3C's names and a helpful message.

/// The codes of the error domain `gst-media-recorder-error`, after the DOMException names
/// that the W3C MediaStream Recording draft uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, glib::ErrorDomain)]
#[error_domain(name = "gst-media-recorder-error")]
#[repr(i32)]
pub enum ErrorCode {
    /// The action is invalid in the current state.
    InvalidState = 0,
    /// The requested recording is not supported here.
    NotSupported = 1,
    /// The set of tracks changed while recording.
    InvalidModification = 2,
    /// Reserved for input that must not be recorded; never raised.
    Security = 3,
    /// Any other failure.
    Unknown = 4,
}

/// An error for the application. The message has the request, why it failed and what would work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    code: ErrorCode,
    message: String,
}

impl Error {
    /// Creates an error with any code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }

    /// The action is invalid in the current state.
    pub fn invalid_state(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidState, message)
    }

    /// The requested recording is not supported here.
    pub fn not_supported(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotSupported, message)
    }

    /// The set of tracks changed while recording.
    pub fn invalid_modification(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidModification, message)
    }

    /// Any other failure.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unknown, message)
    }

    /// The error code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The message: the request, why it failed and what would work.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<Error> for glib::Error {
    fn from(error: Error) -> Self {
        // C strings cannot contain NUL, but a quoted string may.
        glib::Error::new(error.code, &error.message.replace('\0', "\u{fffd}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glib::error::ErrorDomain;

    #[test]
    fn domain_and_codes_are_the_published_ones() {
        assert_eq!(
            ErrorCode::domain(),
            glib::Quark::from_str("gst-media-recorder-error")
        );
        let codes = [
            ErrorCode::InvalidState,
            ErrorCode::NotSupported,
            ErrorCode::InvalidModification,
            ErrorCode::Security,
            ErrorCode::Unknown,
        ];
        for (number, code) in codes.into_iter().enumerate() {
            assert_eq!(code.code(), number as i32);
            assert_eq!(<ErrorCode as ErrorDomain>::from(number as i32), Some(code));
        }
        assert_eq!(<ErrorCode as ErrorDomain>::from(5), None);
    }

    #[test]
    fn converts_to_a_glib_error() {
        let error = glib::Error::from(Error::not_supported("no \0 banana"));
        assert_eq!(error.kind::<ErrorCode>(), Some(ErrorCode::NotSupported));
        assert_eq!(error.message(), "no \u{fffd} banana");
    }
}
