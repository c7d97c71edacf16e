"""Loads the plugin of this package, and GStreamer's bindings."""

import importlib
import os
from pathlib import Path


def plugin_dir() -> Path:
    """The plugin's directory: the value of GST_PLUGIN_PATH for programs that do not import this module."""
    return Path(__file__).resolve().parent / "gstreamer-1.0"


def make_available() -> None:
    """Registers the plugin with GStreamer: at its initialisation, or now if it is already initialised.

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
    """GStreamer's own wheels only add their bindings, libraries and plugins on request."""
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
    # GStreamer prefers the variable with the version in its name, and then ignores the other one.
    name = "GST_PLUGIN_PATH_1_0"
    searched = os.environ.get(name) or os.environ.get("GST_PLUGIN_PATH")
    directories = searched.split(os.pathsep) if searched else []
    if directory not in directories:
        os.environ[name] = os.pathsep.join([*directories, directory])
