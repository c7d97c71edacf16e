"""The wheel's element is available if the module was imported before GStreamer was initialised."""

import gst_mediarecorder
from gi.repository import Gst

assert not Gst.is_initialized()
Gst.init(None)
factory = Gst.ElementFactory.find("mediarecorder")
assert factory is not None
directory = Gst.Registry.get().find_plugin(factory.get_plugin_name()).get_filename()
assert gst_mediarecorder.plugin_dir().resolve() in __import__("pathlib").Path(directory).resolve().parents, directory
print("done")
