"""Blobs by signal and by bus message; the concatenation of either is written to the given file."""

import sys

from rig import DEADLINE, Gst, Rig, contents

rig = Rig(timeslice=200, blob_messages=True)
assert rig.recorder.emit("start") is None
rig.wait("three blobs", lambda: rig.names().count("on-data-available") >= 3)
assert rig.recorder.emit("stop") is None
rig.wait_stop()
signalled = [arguments[0] for name, _, arguments in rig.events if name == "on-data-available"]

posted = []
bus = rig.pipeline.get_bus()
while True:
    message = bus.timed_pop_filtered(DEADLINE * Gst.SECOND, Gst.MessageType.ELEMENT)
    assert message is not None, "mediarecorder-stop was never posted"
    structure = message.get_structure()
    if structure.get_name() == "mediarecorder-data-available":
        # The sample belongs to the message: its bytes are only valid as long.
        posted.append(contents(structure.get_value("sample")))
        assert structure.get_uint64("size") == (True, len(posted[-1]))
    if structure.get_name() == "mediarecorder-stop":
        break

assert len(signalled) >= 4
assert len(posted) == len(signalled), (len(posted), len(signalled))
assert posted == [blob for _, blob in signalled]
assert {caps for caps, _ in signalled} == {"video/webm"}, signalled
rig.down()
with open(sys.argv[1], "wb") as file:
    for _, blob in signalled:
        file.write(blob)
print("done")
