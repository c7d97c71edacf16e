"""What can go wrong, as exceptions: one class for each code of the domain ``gst-media-recorder-error``."""

from __future__ import annotations

from typing import Any


class RecorderError(Exception):
    """A recorder's error. Its text says what was asked, why it cannot be, and what would work."""

    code: int = -1
    """The error's code in GStreamer's domain ``gst-media-recorder-error``."""


class InvalidStateError(RecorderError):
    """The action cannot be done in the recorder's present state."""

    code = 0


class NotSupportedError(RecorderError):
    """There is no track, or this type cannot be recorded here, or it cannot carry a track."""

    code = 1


class InvalidModificationError(RecorderError):
    """A track was added or taken away while a recording was on."""

    code = 2


class SecurityError(RecorderError):
    """Reserved."""

    code = 3


class UnknownError(RecorderError):
    """Anything else, such as a location that cannot be written, or a full disk."""

    code = 4


_BY_CODE = {
    kind.code: kind
    for kind in (InvalidStateError, NotSupportedError, InvalidModificationError, SecurityError, UnknownError)
}


def from_glib(error: Any) -> RecorderError:
    """The exception for a ``GLib.Error`` of a recorder's."""
    return _BY_CODE.get(error.code, UnknownError)(error.message)
