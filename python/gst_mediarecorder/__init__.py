"""Record GStreamer pipelines as the browsers' MediaRecorder does.

Importing this module makes the element ``mediarecorder`` known to GStreamer, whether ``Gst.init`` has been called
already or not; nothing has to be installed or exported beside it. :class:`Recorder` drives such an element from
Python: actions raise, and events are iterated over with plain asyncio, without a GLib main loop.

    recorder = Recorder(location="talk.webm")
    ...
    recorder.start()
    async for event in recorder:
        print(event)
"""

from ._plugin import make_available, plugin_dir

make_available()

from .errors import (  # noqa: E402
    InvalidModificationError,
    InvalidStateError,
    NotSupportedError,
    RecorderError,
    SecurityError,
    UnknownError,
)
from .events import Data, Error, Event, Interval, Mark, Part, Pause, Resume, Start, Stop  # noqa: E402
from .recorder import BitrateMode, Keep, Recorder, State  # noqa: E402

__all__ = [
    "BitrateMode",
    "Data",
    "Error",
    "Event",
    "Interval",
    "InvalidModificationError",
    "InvalidStateError",
    "Keep",
    "Mark",
    "NotSupportedError",
    "Part",
    "Pause",
    "Recorder",
    "RecorderError",
    "Resume",
    "SecurityError",
    "Start",
    "State",
    "Stop",
    "UnknownError",
    "plugin_dir",
]
