"""Records two seconds to each given file, in the container of its extension, as fast as possible."""

import sys

from rig import DEADLINE
from gi.repository import Gst

from gst_mediarecorder import Recorder

Gst.init(None)
for path in sys.argv[1:]:
    feeds = "audiotestsrc num-buffers=100 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2 ! r.audio_0 "
    if not path.endswith(".wav"):
        feeds += "videotestsrc num-buffers=60 ! video/x-raw,width=320,height=240,framerate=30/1 ! r.video_0"
    pipeline = Gst.parse_launch("mediarecorder name=r " + feeds)
    Recorder(pipeline.get_by_name("r"), location=path, autostart=True)
    pipeline.set_state(Gst.State.PLAYING)
    message = pipeline.get_bus().timed_pop_filtered(
        DEADLINE * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR
    )
    assert message is not None and message.type == Gst.MessageType.EOS, (path, message and message.parse_error())
    pipeline.set_state(Gst.State.NULL)
print("done")
