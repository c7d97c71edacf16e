"""start, pause, resume and stop from Python; errors come back as GLib.Error."""

from rig import Rig, refused

INVALID_STATE, NOT_SUPPORTED = 0, 1

rig = Rig()
recorder = rig.recorder

for action in ("pause", "resume", "stop", "request-data"):
    refused(recorder.emit(action), INVALID_STATE)
assert rig.state() == "inactive"

recorder.set_property("mime-type", "video/pineapple")
assert not recorder.emit("is-type-supported", "video/pineapple")
error = recorder.emit("start")
refused(error, NOT_SUPPORTED)
assert "video/pineapple" in error.message, error.message
recorder.set_property("mime-type", "")
assert recorder.emit("is-type-supported", "video/webm;codecs=vp8,opus")

assert recorder.emit("start") is None
assert rig.state() == "recording"
refused(recorder.emit("start"), INVALID_STATE)
rig.wait_buffers(10)
assert recorder.emit("pause") is None
assert rig.state() == "paused"
assert recorder.emit("pause") is None
rig.wait_buffers(5)
assert recorder.emit("resume") is None
assert rig.state() == "recording"
rig.wait_buffers(10)
assert recorder.emit("stop") is None
assert rig.state() == "inactive"
rig.wait_stop()

assert rig.names() == ["on-start", "on-pause", "on-resume", "on-data-available", "on-stop"], rig.events
assert [state for _, state, _ in rig.events[-2:]] == ["inactive", "inactive"], rig.events
rig.down()
print("done")
