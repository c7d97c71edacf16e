"""Two recordings by asyncio; the blobs of the first, put one after the other, go to the file named first.

    recording.py BLOBS LOCATION
"""

import sys

from rig import Rig, run

from gst_mediarecorder import Data, Pause, Resume, Start, State, Stop

blobs, location = sys.argv[1:]


def without_blobs(events):
    return [type(event) for event in events if not isinstance(event, Data)]


async def first(rig):
    recorder, events = rig.recorder, []
    recorder.start()
    # Whatever comes before the iteration is kept.
    await rig.recorded_more(600_000_000)
    recorder.pause()
    paused = rig.recorded()
    recorder.resume()
    await rig.recorded_more(600_000_000)
    assert rig.recorded() >= paused
    async for event in recorder:
        events.append(event)
        if len(events) == 5:
            recorder.stop()
    assert without_blobs(events) == [Start, Pause, Resume, Stop], events
    start, data, stop = events[0], [event for event in events if isinstance(event, Data)], events[-1]
    assert start.mime_type.startswith("video/webm;codecs=") and start.location == location, start
    assert isinstance(events[-2], Data), events
    assert len(data) >= 4, events
    size = time = 0
    with open(blobs, "wb") as file:
        for piece in data:
            assert piece.mime_type == start.mime_type, piece
            assert (piece.offset, piece.timecode) == (size, time), piece
            assert piece.size == len(piece) == len(piece.data)
            assert bytes(piece) == piece.data == b"".join(piece.chunks(1000))
            if sys.version_info >= (3, 12):
                assert memoryview(piece) == piece.data
            file.write(piece.data)
            size, time = size + piece.size, time + piece.duration
    assert (stop.size, stop.duration) == (size, time), stop
    assert time >= 1_000_000_000, stop
    return data


async def second(rig):
    rig.recorder.location = None
    rig.recorder.timeslice = 0
    events = []
    stopped = False
    rig.recorder.start()
    async for event in rig.recorder:
        events.append(event)
        if isinstance(event, Start) and not stopped:
            assert event.location is None, event
            await rig.recorded_more(200_000_000)
            rig.recorder.stop()
    assert [type(event) for event in events] == [Start, Data, Stop], events
    assert rig.recorder.state is State.INACTIVE


async def both(rig):
    data = await first(rig)
    before = [piece.data for piece in data]
    await second(rig)
    # Blobs are still what they were.
    for piece, contents in zip(data, before):
        assert b"".join(piece.chunks()) == contents


with Rig(timeslice=200, location=location) as rig:
    run(both(rig))
print("done")
