"""Makes `gi` available to scripts that use it before gst_mediarecorder: GStreamer's own wheels only add it on request."""

import importlib.util

if importlib.util.find_spec("gi") is None:
    import gstreamer_libs

    gstreamer_libs.setup_python_environment()

import gi  # noqa: E402

gi.require_version("Gst", "1.0")
