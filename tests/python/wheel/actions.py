"""Actions raise exceptions by error code; properties and their types."""

from rig import Rig, raised

import gst_mediarecorder
from gst_mediarecorder import BitrateMode, Keep, Recorder, State

idle = Recorder(location="nowhere.webm", timeslice=500, audio_bitrate_mode=BitrateMode.CONSTANT)
assert (idle.location, idle.timeslice, idle.mime_type) == ("nowhere.webm", 500, "")
assert idle.audio_bitrate_mode is BitrateMode.CONSTANT
assert idle.keep is Keep.NONE
idle.keep = Keep.DEPTH | Keep.PIXEL_ASPECT
assert idle.keep is Keep.DEPTH | Keep.PIXEL_ASPECT
assert idle.intervals == []
idle.location = None
assert idle.location is None
# In NULL.
error = raised(gst_mediarecorder.NotSupportedError, idle.start)
assert error.code == 1 and "PLAYING" in str(error), error
assert isinstance(error, gst_mediarecorder.RecorderError)
raised(TypeError, lambda: Recorder(pineapple=1))
raised(TypeError, lambda: Recorder(state=State.PAUSED))
raised(TypeError, lambda: Recorder(_act=1))
from gi.repository import Gst  # noqa: E402

raised(TypeError, lambda: Recorder(Gst.ElementFactory.make("identity", None)))

with Rig() as rig:
    recorder = rig.recorder
    assert recorder.is_type_supported("video/webm;codecs=vp8,opus")
    assert not recorder.is_type_supported("video/pineapple")
    for action in recorder.pause, recorder.resume, recorder.stop, recorder.request_data, recorder.split_now, recorder.mark:
        raised(gst_mediarecorder.InvalidStateError, action)
    recorder.mime_type = "video/pineapple"
    assert "video/pineapple" in str(raised(gst_mediarecorder.NotSupportedError, recorder.start))
    recorder.mime_type = ""
    recorder.location = "no/such/directory/a.webm"
    raised(gst_mediarecorder.UnknownError, recorder.start)
    recorder.location = None
    # Without a running loop, and without a number in the name.
    recorder.location = "whole.webm"
    recorder.start()
    assert recorder.state is State.RECORDING
    raised(gst_mediarecorder.InvalidStateError, recorder.start)
    recorder.pause()
    recorder.pause()
    assert recorder.state is State.PAUSED
    recorder.resume()
    assert recorder.state is State.RECORDING
    recorder.request_data()
    raised(gst_mediarecorder.NotSupportedError, recorder.split_now)
    recorder.stop()
    assert recorder.state is State.INACTIVE
print("done")
