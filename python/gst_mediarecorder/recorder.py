"""A recorder as a Python object: actions that raise, properties, and events by asyncio."""

from __future__ import annotations

import asyncio
import enum
from typing import Any, AsyncIterator, Generic, List, Optional, Type, TypeVar, Union, overload

from gi.repository import Gst

from .errors import from_glib
from .events import Data, Error, Event, Interval, Mark, Part, Pause, Resume, Start, Stop

_T = TypeVar("_T")


class State(enum.Enum):
    """Whether a recording is active."""

    INACTIVE = "inactive"
    RECORDING = "recording"
    PAUSED = "paused"


class BitrateMode(enum.Enum):
    """Whether an audio encoder uses a constant or a variable bit rate."""

    CONSTANT = "constant"
    VARIABLE = "variable"


class Keep(enum.Flag):
    """Properties of raw video to keep if codec and container support them; others are converted to what plays everywhere."""

    NONE = 0
    DEPTH = 1
    """Bits per component."""
    CHROMA = 2
    """Chroma subsampling."""
    ALPHA = 4
    """Transparency."""
    PIXEL_ASPECT = 8
    """The pixel aspect ratio."""


class _Property(Generic[_T]):
    """A property of the element, exposed on the object."""

    def __init__(self, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, recorder: None, owner: Type["Recorder"]) -> "_Property[_T]": ...

    @overload
    def __get__(self, recorder: "Recorder", owner: Type["Recorder"]) -> _T: ...

    def __get__(
        self, recorder: Optional["Recorder"], owner: Type["Recorder"]
    ) -> Union["_Property[_T]", _T]:
        if recorder is None:
            return self
        value: _T = recorder.element.get_property(self._name)
        return value

    def __set__(self, recorder: "Recorder", value: _T) -> None:
        recorder.element.set_property(self._name, value)


class Recorder:
    """A ``mediarecorder`` element: add ``element`` to a pipeline.

    Actions may be called from any thread. They return when they are done, and raise a
    :class:`~gst_mediarecorder.RecorderError` when they cannot be; what they bring about comes as an event. An
    ``async for`` over the recorder gives the events of one recording and ends after its :class:`Stop`; a second one
    is for the recording after that.

    Events are kept from the first ``start`` or ``async for`` on that happens while an asyncio loop is running in the
    calling thread; without one, connect to the signals of ``element``. Each event is given out once. What nobody takes
    stays in memory: of blobs that is little more than a reference each.
    """

    mime_type = _Property[str]("mime-type")
    """The requested type, such as ``video/webm;codecs=vp8,opus``; while recording, the actual one. Empty: by the
    extension of ``location``, else WebM."""
    location = _Property[Optional[str]]("location")
    """The file, which replaces an older one; with ``%d`` or ``%05d``, a new number for each recording, or part of one."""
    autostart = _Property[bool]("autostart")
    """Start at the first buffer."""
    timeslice = _Property[int]("timeslice")
    """Recorded milliseconds in a blob; 0: one blob at the end."""
    audio_bits_per_second = _Property[int]("audio-bits-per-second")
    """For all audio tracks."""
    video_bits_per_second = _Property[int]("video-bits-per-second")
    """For all video tracks."""
    bits_per_second = _Property[int]("bits-per-second")
    """For everything."""
    video_key_frame_interval_duration = _Property[int]("video-key-frame-interval-duration")
    """Maximum keyframe interval in milliseconds; 0: two seconds."""
    video_key_frame_interval_count = _Property[int]("video-key-frame-interval-count")
    """The same in frames; 0: by time."""
    max_memory = _Property[int]("max-memory")
    """Bytes of blobs that are kept in memory; the rest is in a temporary file."""
    temp_dir = _Property[Optional[str]]("temp-dir")
    """Directory of that file."""
    max_queue_time = _Property[int]("max-queue-time")
    """Nanoseconds of media that may wait for an encoder, or for another track."""
    stop_timeout = _Property[int]("stop-timeout")
    """Nanoseconds after which a stopped recording ends with what has been drained."""
    sync_interval = _Property[int]("sync-interval")
    """Interval of synchronising the file to disk, in nanoseconds; 0: never."""
    pre_record_time = _Property[int]("pre-record-time")
    """Nanoseconds of the past to keep: recordings start that long before the call of ``start``."""
    max_duration = _Property[int]("max-duration")
    """Recorded nanoseconds after which the recording ends as by ``stop``; 0: unlimited."""
    max_size_time = _Property[int]("max-size-time")
    """Recorded nanoseconds of a part; 0: no splitting by time. ``location`` needs a ``%d``."""
    max_size_bytes = _Property[int]("max-size-bytes")
    """Bytes of a part; 0: no splitting by size."""
    max_files = _Property[int]("max-files")
    """Parts to keep: the oldest is deleted; 0: all of them."""
    max_total_bytes = _Property[int]("max-total-bytes")
    """Bytes of all parts together: the oldest is deleted before more is written; 0: unlimited."""
    min_free_space = _Property[int]("min-free-space")
    """Bytes to keep free on the file system of ``location``."""
    fallback_location = _Property[Optional[str]]("fallback-location")
    """Location to continue the recording if ``location`` fails."""

    element: Any
    """The ``Gst.Element``."""

    def __init__(self, element: Any = None, **properties: Any) -> None:
        """Creates an element, or uses an existing one, and sets properties, by their names above.

        Args:
            element: a ``Gst.Element`` of the kind ``mediarecorder``.
            properties: such as ``location="talk.webm", timeslice=1000``.

        Raises:
            RuntimeError: GStreamer does not load the plugin.
            TypeError: ``element`` is another kind of element, or there is no such property.
        """
        Gst.init(None)
        if element is None:
            element = Gst.ElementFactory.make("mediarecorder", None)
            if element is None:
                raise RuntimeError("GStreamer does not load the plugin: GST_DEBUG=GST_PLUGIN_LOADING:4 tells why")
        kind = element.get_factory()
        if kind is None or kind.get_name() != "mediarecorder":
            raise TypeError(f"{element} is no mediarecorder")
        self.element = element
        self._inbox: Optional[_Inbox] = None
        # Recorded time and bytes of the blobs so far.
        self._recorded = 0, 0
        for name, value in properties.items():
            if name.startswith("_") or name == "state" or not hasattr(type(self), name):
                raise TypeError(f"a recorder has no property {name}")
            setattr(self, name, value)
        element.connect("on-start", self._on_start)
        element.connect("on-pause", lambda _: self._deliver(Pause()))
        element.connect("on-resume", lambda _: self._deliver(Resume()))
        element.connect("on-data-available", self._on_data)
        element.connect("on-mark", lambda _, structure: self._deliver(Mark.of(structure)))
        element.connect("on-part", lambda _, structure: self._deliver(Part.of(structure)))
        element.connect("on-error", lambda _, error: self._deliver(Error(from_glib(error))))
        element.connect("on-stop", self._on_stop)

    @property
    def state(self) -> State:
        """Whether a recording is active."""
        return State(self.element.get_property("state").value_nick)

    @property
    def audio_bitrate_mode(self) -> BitrateMode:
        """Whether the audio encoder keeps its bit rate."""
        return BitrateMode(self.element.get_property("audio-bitrate-mode").value_nick)

    @audio_bitrate_mode.setter
    def audio_bitrate_mode(self, mode: BitrateMode) -> None:
        Gst.util_set_object_arg(self.element, "audio-bitrate-mode", mode.value)

    @property
    def keep(self) -> Keep:
        """Properties of raw video to keep."""
        return Keep(int(self.element.get_property("keep")))

    @keep.setter
    def keep(self, keep: Keep) -> None:
        Gst.util_set_object_arg(self.element, "keep", str(keep.value))

    @property
    def intervals(self) -> List[Interval]:
        """The recorded intervals of the active recording, else of the latest one."""
        return Interval.all_of(self.stats)

    @property
    def stats(self) -> Any:
        """Statistics of the recording, as ``Gst.Structure``."""
        return self.element.get_property("stats")

    def is_type_supported(self, mime_type: str) -> bool:
        """Whether this type can be recorded with the installed plugins."""
        supported: bool = self.element.emit("is-type-supported", mime_type)
        return supported

    def start(self) -> None:
        """Starts a recording.

        Raises:
            InvalidStateError: one is on.
            NotSupportedError: there is no track, or the type cannot be recorded here, or cannot carry a track.
            UnknownError: ``location`` cannot be written.
        """
        self._listen()
        self._act("start")

    def pause(self) -> None:
        """Pauses the recording; nothing from now to the resume is recorded. Has no effect while paused.

        Raises:
            InvalidStateError: no recording is on.
        """
        self._act("pause")

    def resume(self) -> None:
        """Resumes the recording. Has no effect unless paused.

        Raises:
            InvalidStateError: no recording is on.
        """
        self._act("resume")

    def stop(self) -> None:
        """Ends the recording; :class:`Data` and :class:`Stop` follow when it is complete.

        Raises:
            InvalidStateError: no recording is on.
        """
        self._act("stop")

    def request_data(self) -> None:
        """Emits :class:`Data` now, with everything recorded since the last blob.

        Raises:
            InvalidStateError: no recording is on.
        """
        self._act("request-data")

    def split_now(self) -> None:
        """Continues in the next part, in a new file; in a pause, the next part starts at the resume.

        Raises:
            InvalidStateError: no recording is on.
            NotSupportedError: no part may begin: ``location`` has no ``%d``, or ``src`` is linked.
        """
        self._act("split-now")

    def mark(self, title: str = "") -> None:
        """Marks this instant: a chapter with this title starts here. In a pause, it is at the cut.

        Raises:
            InvalidStateError: no recording is on.
        """
        self._act("mark", title)

    def events(self) -> AsyncIterator[Event]:
        """The events of one recording, from this call on, to its :class:`Stop`."""
        self._listen()
        return self._events()

    def __aiter__(self) -> AsyncIterator[Event]:
        """The same as ``events``."""
        return self.events()

    async def _events(self) -> AsyncIterator[Event]:
        while True:
            inbox = self._listen()
            assert inbox is not None, "a coroutine runs in a loop"
            event = await inbox.queue.get()
            yield event
            if isinstance(event, Stop):
                return

    def _act(self, action: str, *arguments: str) -> None:
        error = self.element.emit(action, *arguments)
        if error is not None:
            raise from_glib(error)

    def _listen(self) -> Optional[_Inbox]:
        """Queues events from now on for the event loop of this thread, if it has one."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self._inbox
        if self._inbox is None or self._inbox.loop is not loop:
            self._inbox = _Inbox(loop)
        return self._inbox

    # The following runs in a thread of the recorder.

    def _deliver(self, event: Event) -> None:
        inbox = self._inbox
        if inbox is not None:
            inbox.put(event)

    def _on_start(self, element: Any) -> None:
        location = element.get_property("stats").get_string("location")
        self._deliver(Start(element.get_property("mime-type"), location))

    def _on_data(self, _element: Any, sample: Any) -> None:
        # The sample is only valid in a handler; the buffer remains valid.
        data = Data(sample.get_buffer(), sample.get_info().get_string("mime-type") or "")
        self._recorded = data.timecode + data.duration, self._recorded[1] + data.size
        self._deliver(data)

    def _on_stop(self, _element: Any) -> None:
        duration, size = self._recorded
        self._recorded = 0, 0
        self._deliver(Stop(duration, size))


class _Inbox:
    """Events queued from the recorder's thread to an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.queue: asyncio.Queue[Event] = asyncio.Queue()

    def put(self, event: Event) -> None:
        """May be called from any thread."""
        try:
            self.loop.call_soon_threadsafe(self.queue.put_nowait, event)
        except RuntimeError:
            pass  # The loop is closed: nobody waits any more.
