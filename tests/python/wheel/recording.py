"""Three recordings with asyncio; the blobs of the first one, concatenated, are written to the first given file.

    recording.py BLOBS LOCATION PATTERN
"""

import asyncio
import sys
import time

from rig import Rig, run

from gst_mediarecorder import Data, Mark, Part, Pause, Resume, Start, State, Stop

blobs, location, pattern = sys.argv[1:]


def without_blobs(events):
    return [type(event) for event in events if not isinstance(event, Data)]


async def first(rig):
    recorder, events = rig.recorder, []
    recorder.start()
    # Events before the iteration are queued.
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
    assert without_blobs(events) == [Start, Pause, Resume, Part, Stop], events
    start, data, part, stop = events[0], [event for event in events if isinstance(event, Data)], *events[-2:]
    assert (part.number, part.location, part.mime_type, part.whole) == (0, location, start.mime_type, True), part
    assert (part.timecode, part.duration, part.size) == (0, stop.duration, stop.size), (part, stop)
    assert start.mime_type.startswith("video/webm;codecs=") and start.location == location, start
    assert isinstance(events[-3], Data), events
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
    assert [type(event) for event in events] == [Start, Data, Part, Stop], events
    assert events[-2].location is None, events
    assert rig.recorder.state is State.INACTIVE


async def third(rig):
    """A recording with a past, in two parts, with a mark in the second; a pause makes two intervals."""
    recorder, events = rig.recorder, []
    recorder.location = pattern
    recorder.pre_record_time = 300_000_000
    while recorder.stats.get_uint64("pre-recorded")[1] < 300_000_000:
        await asyncio.sleep(0.01)
    recorder.start()
    while rig.recorded() < 600_000_000:
        await asyncio.sleep(0.01)
    recorder.pause()
    recorder.resume()
    recorder.split_now()
    async for event in recorder:
        events.append(event)
        if isinstance(event, Part) and event.number == 0:
            await rig.recorded_more(200_000_000)
            recorder.mark("here")
        elif isinstance(event, Mark):
            recorder.stop()
    recorder.pre_record_time = 0
    first, second = [event for event in events if isinstance(event, Part)]
    # Two recordings precede it.
    assert (first.location, second.location) == (pattern % 2, pattern % 3), events
    assert first.timecode == 0 and first.duration >= 550_000_000, first
    assert (second.number, second.timecode) == (1, first.duration), (first, second)
    [mark] = [event for event in events if isinstance(event, Mark)]
    assert (mark.title, mark.part, mark.timecode - mark.part_timecode) == ("here", 1, second.timecode), mark
    stop = events[-1]
    assert (stop.duration, stop.size) == (first.duration + second.duration, first.size + second.size), events
    one, two = recorder.intervals
    assert one.running_time == first.running_time and one.recorded_time == 0, one
    assert two.recorded_time == one.duration and one.duration + two.duration == stop.duration, (one, two)
    assert abs(time.time_ns() - one.utc) < 600e9, one
    # Both from the same clock.
    apart = (two.utc - one.utc) - (two.running_time - one.running_time)
    assert abs(apart) < 50_000_000, apart


async def all_of_them(rig):
    data = await first(rig)
    before = [piece.data for piece in data]
    await second(rig)
    # Blobs are unchanged.
    for piece, contents in zip(data, before):
        assert b"".join(piece.chunks()) == contents
    await third(rig)


with Rig(timeslice=200, location=location) as rig:
    run(all_of_them(rig))
print("done")
