"""Shared by the scripts: a live pipeline around one recorder, and a deadline for everything that is awaited."""

import asyncio
import faulthandler

from gi_of_here import gi  # noqa: F401
from gi.repository import Gst

from gst_mediarecorder import Recorder

DEADLINE = 60
# Prints where a script hangs, and ends it.
faulthandler.dump_traceback_later(DEADLINE + 30, exit=True)


class Rig:
    """A recorder fed by live test sources; in PLAYING inside `with`."""

    def __init__(self, **properties):
        Gst.init(None)
        self.pipeline = Gst.parse_launch(
            "mediarecorder name=r "
            "audiotestsrc is-live=true samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=2 "
            "! tee name=audio ! r.audio_0 "
            "videotestsrc is-live=true pattern=ball "
            "! video/x-raw,width=160,height=120,framerate=30/1 ! r.video_0"
        )
        self.recorder = Recorder(self.pipeline.get_by_name("r"), **properties)

    def __enter__(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        self.pipeline.get_state(DEADLINE * Gst.SECOND)
        return self

    def __exit__(self, *_):
        self.pipeline.set_state(Gst.State.NULL)

    def recorded(self):
        """Nanoseconds recorded so far: to the end of the received media, which a cut may shorten by a frame."""
        return self.recorder.stats.get_uint64("duration")[1]

    async def recorded_more(self, nanoseconds):
        goal = self.recorded() + nanoseconds
        while self.recorded() < goal:
            await asyncio.sleep(0.01)


def run(coroutine):
    """Runs a coroutine to its end, with a deadline."""
    return asyncio.run(asyncio.wait_for(coroutine, DEADLINE))


def raised(kind, action, *arguments):
    """The error of exactly this class raised by an action."""
    try:
        action(*arguments)
    except kind as error:
        assert type(error) is kind, type(error)
        return error
    raise AssertionError(f"{action} did not raise {kind}")
