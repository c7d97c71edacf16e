"""Exceptions: one class for each code of the domain ``gst-media-recorder-error``."""

from __future__ import annotations

from typing import Any


class RecorderError(Exception):
    """A recorder's error. Its message says what failed, why, and what would work."""

    code: int = -1
    """The error's code in GStreamer's domain ``gst-media-recorder-error``."""


class InvalidStateError(RecorderError):
    """The action is not valid in the recorder's current state."""

    code = 0


class NotSupportedError(RecorderError):
    """There is no track, or this type cannot be recorded here, or does not support a track."""

    code = 1


class InvalidModificationError(RecorderError):
    """A track was added or removed while recording."""

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
    """The exception for a recorder's ``GLib.Error``."""
    return _BY_CODE.get(error.code, UnknownError)(error.message)
