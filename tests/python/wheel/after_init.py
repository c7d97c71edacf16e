"""The wheel's element is available if GStreamer was initialised before the module was imported."""

import gi_of_here
from gi.repository import Gst

Gst.init(None)
assert Gst.ElementFactory.find("mediarecorder") is None, "not the wheel's"
import gst_mediarecorder  # noqa: E402

assert Gst.ElementFactory.find("mediarecorder") is not None
assert gst_mediarecorder.Recorder().state is gst_mediarecorder.State.INACTIVE
print("done")
