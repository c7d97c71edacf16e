"""Blobs by signal and by bus message; the concatenation of either is written to the file named."""

import sys

from gi.repository import Gst  # the version is chosen in rig
from rig import DEADLINE, Rig, contents

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
        assert structure.get_uint64("size") == (True, structure.get_value("sample").get_buffer().get_size())
        posted.append(structure.get_value("sample"))
    if structure.get_name() == "mediarecorder-stop":
        break

assert len(signalled) >= 4
assert len(posted) == len(signalled), (len(posted), len(signalled))
assert [contents(s) for s in posted] == [contents(s) for s in signalled]
caps = signalled[0].get_caps().get_structure(0).get_name()
assert caps == "video/webm", caps
rig.down()
with open(sys.argv[1], "wb") as file:
    for sample in signalled:
        file.write(contents(sample))
print("done")
