#!/usr/bin/env python3
"""Records audio and video into a file with asyncio, with a pause of one second.

    record_asyncio.py FILE [MIME-TYPE]

Needs the wheel that scripts/wheel makes.
"""

from __future__ import annotations

import asyncio
import sys

from gst_mediarecorder import Error, NotSupportedError, Pause, Recorder, RecorderError, Resume, Start, Stop
from gi.repository import Gst


async def record(recorder: Recorder) -> bool:
    """Starts and ends a recording, and prints its events. Returns whether it succeeded."""

    async def act() -> None:
        for action in recorder.pause, recorder.resume, recorder.stop:
            await asyncio.sleep(1)
            action()

    recorder.start()
    acting = None
    good = True
    async for event in recorder:
        if isinstance(event, Start):
            print("Recording", event.mime_type)
            acting = asyncio.create_task(act())
        elif isinstance(event, Pause):
            print("Paused")
        elif isinstance(event, Resume):
            print("Going on")
        elif isinstance(event, Error):
            # What was recorded so far is still saved: Stop follows.
            print(f"Recording failed: {event.error}", file=sys.stderr)
            good = False
        elif isinstance(event, Stop):
            print(f"Saved {event.size} bytes, {event.duration / Gst.SECOND:.3f} s")
    if acting is not None:
        acting.cancel()
    return good


def main(location: str, mime_type: str = "") -> int:
    Gst.init(None)
    pipeline = Gst.parse_launch(
        "audiotestsrc is-live=true ! rec.audio_0 "
        "videotestsrc is-live=true ! rec.video_0 mediarecorder name=rec"
    )
    recorder = Recorder(pipeline.get_by_name("rec"), location=location, mime_type=mime_type)
    pipeline.set_state(Gst.State.PLAYING)
    pipeline.get_state(5 * Gst.SECOND)
    try:
        return 0 if asyncio.run(record(recorder)) else 1
    except NotSupportedError as error:
        print(f"Not possible here: {error}", file=sys.stderr)
    except RecorderError as error:
        print(f"Failed: {error}", file=sys.stderr)
    finally:
        pipeline.set_state(Gst.State.NULL)
    return 1


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
