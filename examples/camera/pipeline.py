"""The camera's pipeline: a preview, and the recorder.

    camera ! tee ! queue ! preview
             tee ! recorder.video_0
    microphone  ! recorder.audio_0

It plays all along; recordings begin and end in it, and none of them is noticed in the preview.
"""

from gi.repository import Gst

import sources


class Pipeline:
    """Calls on_event(name, fields) and on_failure(text) in the main loop."""

    def __init__(self, test, mime_type, preview, on_event, on_failure):
        self.on_event, self.on_failure = on_event, on_failure
        self.recorder = Gst.ElementFactory.make("mediarecorder", "recorder")
        if self.recorder is None:
            raise RuntimeError("GStreamer does not find the plugin mediarecorder: set GST_PLUGIN_PATH.")
        self.recorder.set_property("mime-type", mime_type)
        tee = Gst.ElementFactory.make("tee", None)
        picture, sound, self.remarks = sources.both(test)

        self.pipeline = Gst.Pipeline.new("camera")
        for element in (self.recorder, tee, preview, picture, sound):
            self.pipeline.add(element)
        picture.link(tee)
        tee.link(preview)
        tee.link_pads(None, self.recorder, "video_0")
        sound.link_pads(None, self.recorder, "audio_0")
        # Every event of the recorder is a message too, and messages are handled in the main loop.
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::element", self.on_element)
        bus.connect("message::error", lambda _, message: self.on_failure(message.parse_error()[0].message))
        bus.connect("message::latency", lambda *_: self.pipeline.recalculate_latency())

    def play(self):
        self.pipeline.set_state(Gst.State.PLAYING)

    def close(self):
        """An active recording is finished before this returns."""
        self.pipeline.set_state(Gst.State.NULL)

    @property
    def state(self):
        """inactive, recording or paused"""
        return self.recorder.get_property("state").value_nick

    @property
    def recorded(self):
        """Seconds of the active recording, or of the last one."""
        return self.recorder.get_property("stats").get_value("duration") / Gst.SECOND

    def start(self, location):
        self.recorder.set_property("location", location)
        self.act("start")

    def act(self, action, *arguments):
        """start, pause, resume, stop, or mark with a title; raises a GLib.Error on failure."""
        error = self.recorder.emit(action, *arguments)
        if error is not None:
            raise error

    def on_element(self, _bus, message):
        fields = message.get_structure()
        if message.src == self.recorder:
            self.on_event(fields.get_name().removeprefix("mediarecorder-"), fields)
