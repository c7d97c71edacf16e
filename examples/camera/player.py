"""Plays a recording in place of the preview."""

from gi.repository import Gst


class Player:
    """Calls on_end(error or None) in the main loop at its end."""

    def __init__(self, frames, on_end):
        self.on_end = on_end
        self.playbin = Gst.ElementFactory.make("playbin", None)
        self.playbin.set_property("video-sink", frames)
        bus = self.playbin.get_bus()
        bus.add_signal_watch()
        bus.connect("message::eos", lambda *_: self.end(None))
        bus.connect("message::error", lambda _, message: self.end(message.parse_error()[0].message))

    def play(self, path):
        self.playbin.set_property("uri", Gst.filename_to_uri(path))
        self.playbin.set_state(Gst.State.PLAYING)

    def end(self, error):
        self.close()
        self.on_end(error)

    def close(self):
        self.playbin.set_state(Gst.State.NULL)

    @property
    def position(self):
        """Seconds."""
        known, position = self.playbin.query_position(Gst.Format.TIME)
        return position / Gst.SECOND if known else 0
