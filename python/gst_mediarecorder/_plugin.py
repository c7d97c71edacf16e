"""Brings the plugin in this package, and GStreamer's bindings, to the process."""

import importlib
import os
from pathlib import Path


def plugin_dir() -> Path:
    """The directory in which the plugin lies: what GST_PLUGIN_PATH needs for a program that does not import this."""
    return Path(__file__).resolve().parent / "gstreamer-1.0"


def make_available() -> None:
    """Has GStreamer find the plugin: at its initialisation if that is still to come, else now.

    Raises:
        ImportError: there are no Python bindings of GStreamer.
    """
    _find_bindings()
    _search_at_init(str(plugin_dir()))
    import gi

    gi.require_version("Gst", "1.0")
    from gi.repository import Gst

    if Gst.is_initialized():
        Gst.Registry.get().scan_path(str(plugin_dir()))


def _find_bindings() -> None:
    """GStreamer's own wheels keep their bindings, libraries and plugins aside until they are asked for them."""
    try:
        importlib.import_module("gi")
        return
    except ImportError as error:
        missing = error
    try:
        bundle = importlib.import_module("gstreamer_libs")
    except ImportError:
        raise ImportError(
            "gst_mediarecorder needs GStreamer's Python bindings: install the packages python3-gi and "
            "gir1.2-gstreamer-1.0 of Debian or Ubuntu, or on Windows and macOS: pip install gstreamer-bundle"
        ) from missing
    bundle.setup_python_environment()


def _search_at_init(directory: str) -> None:
    # The variable with the version in its name goes before the other, which GStreamer then does not look at.
    name = "GST_PLUGIN_PATH_1_0"
    searched = os.environ.get(name) or os.environ.get("GST_PLUGIN_PATH")
    directories = searched.split(os.pathsep) if searched else []
    if directory not in directories:
        os.environ[name] = os.pathsep.join([*directories, directory])
