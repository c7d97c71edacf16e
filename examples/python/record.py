#!/usr/bin/python3
"""Records audio and video into a file, with a pause of one second.

    record.py FILE [MIME-TYPE]
"""

import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

NOT_SUPPORTED = 1  # of InvalidState, NotSupported, InvalidModification, Security, Unknown


class App:
    def __init__(self, location, mime_type=""):
        self.loop = GLib.MainLoop()
        self.failed = False
        self.pipeline = Gst.parse_launch(
            "audiotestsrc is-live=true ! rec.audio_0 "
            "videotestsrc is-live=true ! rec.video_0 mediarecorder name=rec"
        )
        self.recorder = self.pipeline.get_by_name("rec")
        self.recorder.props.location = location
        self.recorder.props.mime_type = mime_type
        # Every event of the recorder is a message, so all of this happens in the main thread.
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.on_pipeline_error)
        bus.connect("message::element", self.on_message)

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        self.pipeline.get_state(5 * Gst.SECOND)
        self.act("start")
        if not self.failed:
            self.loop.run()
        self.pipeline.set_state(Gst.State.NULL)
        return 1 if self.failed else 0

    def act(self, action):
        """An action returns None, or a GLib.Error: the application decides how to handle it."""
        error = self.recorder.emit(action)
        if error is not None:
            domain = GLib.quark_from_string("gst-media-recorder-error")
            impossible = error.matches(domain, NOT_SUPPORTED)
            self.fail("Not possible here" if impossible else "Failed", error)
            self.loop.quit()
        return GLib.SOURCE_REMOVE

    def fail(self, what, error):
        print(f"{what}: {error.message}", file=sys.stderr)
        self.failed = True

    def on_pipeline_error(self, _bus, message):
        self.fail("The pipeline failed", message.parse_error()[0])
        self.loop.quit()

    def on_message(self, _bus, message):
        event = message.get_structure()
        if event.get_name() == "mediarecorder-start":
            print("Recording", event.get_string("mime-type"))
            for milliseconds, action in (1000, "pause"), (2000, "resume"), (3000, "stop"):
                GLib.timeout_add(milliseconds, self.act, action)
        elif event.get_name() == "mediarecorder-pause":
            print("Paused")
        elif event.get_name() == "mediarecorder-resume":
            print("Going on")
        elif event.get_name() == "mediarecorder-error":
            # What was recorded so far is still saved: mediarecorder-stop follows.
            self.fail("Recording failed", event.get_value("error"))
        elif event.get_name() == "mediarecorder-stop":
            seconds = event.get_value("duration") / Gst.SECOND
            print(f"Saved {event.get_value('size')} bytes, {seconds:.3f} s")
            self.loop.quit()


if __name__ == "__main__":
    Gst.init(None)
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(App(*sys.argv[1:]).run())
