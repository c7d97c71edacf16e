"""A video sink that displays its frames in a Gtk.Picture.

gtk4paintablesink does the same on the graphics card, but comes with GStreamer 1.24 and is not packaged everywhere.
"""

import threading

from gi.repository import Gdk, GLib, Gst

# Frames that are not displayed in time are dropped, so that nothing waits for the window.
LINE = (
    "queue leaky=downstream max-size-buffers=2 ! videoconvert ! video/x-raw,format=RGBA "
    "! appsink name=frames emit-signals=true max-buffers=1 drop=true"
)


class Frames:
    """Displays the newest frame whenever the main loop is idle."""

    def __init__(self, picture, sync):
        self.picture = picture
        self.lock = threading.Lock()
        self.newest = None
        self.bin = Gst.parse_bin_from_description(LINE, True)
        sink = self.bin.get_by_name("frames")
        # A camera's frames are displayed as they arrive, a file's at their times.
        sink.set_property("sync", sync)
        sink.connect("new-sample", self.on_sample)

    def on_sample(self, sink):
        """Called from a streaming thread."""
        sample = sink.emit("pull-sample")
        with self.lock:
            idle = self.newest is None
            self.newest = sample
        if idle:
            GLib.idle_add(self.show)
        return Gst.FlowReturn.OK

    def show(self):
        with self.lock:
            sample, self.newest = self.newest, None
        size = sample.get_caps().get_structure(0)
        width, height = size.get_value("width"), size.get_value("height")
        buffer = sample.get_buffer()
        pixels = GLib.Bytes.new(buffer.extract_dup(0, buffer.get_size()))
        texture = Gdk.MemoryTexture.new(width, height, Gdk.MemoryFormat.R8G8B8A8, pixels, width * 4)
        self.picture.set_paintable(texture)
        return GLib.SOURCE_REMOVE
