#!/usr/bin/python3
"""A camera recorder: a window with a preview, and buttons to record, pause, stop, play and save.

    camera.py [--test] [--directory DIRECTORY] [--type MIME-TYPE]

Needs GTK 4 for Python (Debian: gir1.2-gtk-4.0), and GStreamer to find the plugin (GST_PLUGIN_PATH).
"""

import argparse
import signal
import sys

import gi

gi.require_version("Gdk", "4.0")
gi.require_version("Gst", "1.0")
gi.require_version("Gtk", "4.0")
from gi.repository import Gio, GLib, Gst, Gtk  # noqa: E402

from window import Window  # noqa: E402


def arguments():
    videos = GLib.get_user_special_dir(GLib.UserDirectory.DIRECTORY_VIDEOS) or "."
    parser = argparse.ArgumentParser(description="Records a camera and a microphone.")
    parser.add_argument("--test", action="store_true", help="a test picture and a test sound instead")
    parser.add_argument("--directory", default=videos, help="where recordings go [%(default)s]")
    parser.add_argument("--type", default="video/webm", help="type of the recordings [%(default)s]")
    return parser.parse_args()


class Application(Gtk.Application):
    KEYS = {"record": "<Control>r", "pause": "<Control>p", "mark": "<Control>m", "play": "<Control>l", "save": "<Control>s"}

    def __init__(self, args):
        # Each process is an independent application.
        super().__init__(application_id="org.mediarecorder.Camera", flags=Gio.ApplicationFlags.NON_UNIQUE)
        self.args = args

    def do_activate(self):
        for action, key in self.KEYS.items():
            self.set_accels_for_action(f"win.{action}", [key])
        window = Window(self, self.args)
        # Like closing the window: an active recording is finished first.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, number, window.close)
        window.present()


if __name__ == "__main__":
    args = arguments()
    Gst.init(None)
    sys.exit(Application(args).run(None))
