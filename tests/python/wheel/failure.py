"""A failed recording reports that, and still ends; a closed event loop has no effect."""

import asyncio

from rig import Rig, run

from gst_mediarecorder import Data, Error, InvalidModificationError, Part, Start, Stop


async def a_pad_too_late(rig):
    events = []
    rig.recorder.start()
    async for event in rig.recorder:
        events.append(event)
        if isinstance(event, Start):
            await rig.recorded_more(200_000_000)
            rig.recorder.element.request_pad_simple("audio_%u")
    assert [type(event) for event in events] == [Start, Error, Data, Part, Stop], events
    error = events[1].error
    assert type(error) is InvalidModificationError and str(error), error


async def left_behind(rig):
    rig.recorder.start()
    await rig.recorded_more(200_000_000)


with Rig() as rig:
    run(a_pad_too_late(rig))
with Rig(timeslice=50) as rig:
    run(left_behind(rig))
    # Events continue to be emitted, to a closed loop; then to a new one.
    run(rig.recorded_more(300_000_000))

    async def rest():
        async for event in rig.recorder:
            if isinstance(event, Data):
                rig.recorder.stop()
                break
        async for event in rig.recorder:
            if isinstance(event, Stop):
                return
        raise AssertionError("no stop")

    run(rest())


async def cancelled(rig):
    """Cancelling a wait loses nothing."""
    events = rig.recorder.events()
    try:
        await asyncio.wait_for(events.__anext__(), 0.05)
        raise AssertionError("there was no recording")
    except asyncio.TimeoutError:
        pass
    rig.recorder.start()
    kinds = []
    async for event in rig.recorder:
        kinds.append(type(event))
        if isinstance(event, Start):
            rig.recorder.stop()
    assert kinds == [Start, Data, Part, Stop], kinds


with Rig() as rig:
    run(cancelled(rig))
print("done")
