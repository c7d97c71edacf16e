"""The events of a recording.

The last events of each are :class:`Error`, if it failed, :class:`Data`, :class:`Part`, :class:`Stop`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, List, Optional, Union

from .errors import RecorderError, UnknownError


@dataclass(frozen=True)
class Start:
    """The recording has started."""

    mime_type: str
    """The actual type, such as ``video/webm;codecs="vp8,opus"``."""
    location: Optional[str]
    """The file that it is written to."""
    # Read when the event is received: if the recording has ended before then, they may be those of the next one.


@dataclass(frozen=True)
class Pause:
    """The recording is paused."""


@dataclass(frozen=True)
class Resume:
    """The recording is resumed."""


@dataclass(frozen=True)
class Error:
    """The recording has failed. What was recorded so far follows in :class:`Data`."""

    error: RecorderError


@dataclass(frozen=True)
class Mark:
    """A mark was set. Times are in nanoseconds."""

    title: str
    """Its title."""
    timecode: int
    """Its recorded time."""
    part: int
    """Number of the part that contains it, from 0."""
    part_timecode: int
    """Its recorded time in that part."""
    running_time: int
    """Its running time; for a mark in a pause, that of the cut."""

    @classmethod
    def of(cls, structure: Any) -> Mark:
        """From the ``Gst.Structure`` of ``on-mark``."""
        field = structure.get_value
        times = field("timecode"), field("part"), field("part-timecode"), field("running-time")
        return cls(structure.get_string("title") or "", *times)


@dataclass(frozen=True)
class Part:
    """A part of the recording has ended, and its file is complete. A recording that is not split has one, number 0."""

    number: int
    """From 0."""
    location: Optional[str]
    """Its file, if there is one."""
    mime_type: str
    """Its actual type; empty if nothing could be recorded."""
    timecode: int
    """Recorded time of its first instant, in nanoseconds."""
    duration: int
    """Recorded time in it, in nanoseconds."""
    size: int
    """Bytes in it."""
    whole: bool
    """False if a disk has failed: the file may lack data that the blobs have."""
    running_time: int
    """Running time of its first instant, in nanoseconds."""

    @classmethod
    def of(cls, structure: Any) -> Part:
        """From the ``Gst.Structure`` of ``on-part``."""
        field = structure.get_value
        return cls(
            number=field("part"),
            location=structure.get_string("location"),
            mime_type=structure.get_string("mime-type") or "",
            timecode=field("timecode"),
            duration=field("duration"),
            size=field("size"),
            whole=field("whole"),
            running_time=field("running-time"),
        )


@dataclass(frozen=True)
class Interval:
    """A recorded interval between two cuts. Not an event: see ``intervals`` of the recorder. Times are in nanoseconds."""

    running_time: int
    """Running time of its first instant."""
    recorded_time: int
    """Recorded time of its first instant."""
    duration: int
    """Its duration so far."""
    utc: int
    """Wall-clock time of its first instant, since 1970: from upstream's reference timestamps, else from the system clock."""

    @classmethod
    def all_of(cls, structure: Any) -> List[Interval]:
        """From the ``Gst.Structure`` of ``stats`` or of the message ``mediarecorder-stop``."""
        names = "running-time", "recorded-time", "duration", "utc"
        # The bindings do not convert GstValueArray, but provide this for it.
        found, array = structure.get_array("intervals")
        items = [array.get_nth(number) for number in range(array.n_values)] if found else []
        return [cls(*(item.get_value(name) for name in names)) for item in items]


@dataclass(frozen=True)
class Stop:
    """The recording has ended, and its file is complete."""

    duration: int
    """Recorded time, in nanoseconds."""
    size: int
    """Bytes of all its blobs."""


class Data:
    """A blob: a piece of the recording. All blobs of a recording, one after the other, are the recording.

    The bytes stay where the recorder has them, which for much data is a file, until ``data`` or ``chunks`` asks for
    them. They never change.
    """

    size: int
    """Number of bytes; may be 0."""
    offset: int
    """Offset of its first byte in the recording."""
    timecode: int
    """Recorded time of its first media, in nanoseconds."""
    duration: int
    """Its recorded duration, in nanoseconds."""
    mime_type: str
    """The actual type of the recording; empty if nothing could be recorded."""

    def __init__(self, buffer: Any, mime_type: str) -> None:
        """Created by the recorder, from the ``Gst.Buffer`` of an event."""
        self._buffer = buffer
        self._data: Optional[bytes] = None
        self.size = buffer.get_size()
        self.offset = buffer.offset
        self.timecode = buffer.pts
        self.duration = buffer.duration
        self.mime_type = mime_type

    @property
    def data(self) -> bytes:
        """All of its bytes, read on first access, and cached.

        Raises:
            UnknownError: they cannot be read.
        """
        if self._data is None:
            self._data = self._read(0, self.size)
        return self._data

    def chunks(self, size: int = 1 << 20) -> Iterator[bytes]:
        """Its bytes, ``size`` at a time: for a blob that need not be in memory as a whole.

        Raises:
            ValueError: ``size`` is not positive.
            UnknownError: the bytes cannot be read.
        """
        if size < 1:
            raise ValueError(f"chunks of {size} bytes")
        return (self._read(at, min(size, self.size - at)) for at in range(0, self.size, size))

    def _read(self, offset: int, size: int) -> bytes:
        data: bytes = self._buffer.extract_dup(offset, size) if size else b""
        if len(data) != size:
            raise UnknownError("the bytes of a blob cannot be read")
        return data

    def __len__(self) -> int:
        return self.size

    def __bool__(self) -> bool:
        return True

    def __bytes__(self) -> bytes:
        return self.data

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self.data)

    def __repr__(self) -> str:
        return (
            f"Data(size={self.size}, offset={self.offset}, timecode={self.timecode}, "
            f"duration={self.duration}, mime_type={self.mime_type!r})"
        )


Event = Union[Start, Pause, Resume, Data, Mark, Part, Error, Stop]
