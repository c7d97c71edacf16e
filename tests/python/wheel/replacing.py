"""A recording replaces an older one whose blob is still referenced, and whose file is open.

    replacing.py LOCATION OLDER     (OLDER gets what the older one's blob holds in the end)
"""

import shutil
import sys

from rig import Rig, run

from gst_mediarecorder import Data, Start

location, older = sys.argv[1:]


async def record(rig, nanoseconds):
    """The last blob of a recording."""
    rig.recorder.start()
    last = None
    async for event in rig.recorder:
        if isinstance(event, Start):
            await rig.recorded_more(nanoseconds + 100_000_000)
            rig.recorder.stop()
        if isinstance(event, Data):
            last = event
    return last


async def both(rig):
    kept = await record(rig, 1_000_000_000)
    assert kept.size > 0
    shutil.copyfile(location, older)
    again = await record(rig, 2_000_000_000)
    assert again.size > kept.size
    with open(location, "rb") as file:
        assert file.read() == again.data
    with open(older, "rb") as file:
        assert file.read() == kept.data


with Rig(location=location) as rig:
    run(both(rig))
print("done")
