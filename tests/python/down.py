"""NULL while recording: events and file are complete once set_state has returned."""

import sys

from rig import Rig

rig = Rig(location=sys.argv[1])
assert rig.recorder.emit("start") is None
rig.wait_buffers(20)
rig.down()
assert rig.names() == ["on-start", "on-data-available", "on-stop"], rig.names()
print("done")
