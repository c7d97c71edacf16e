#!/usr/bin/python3
"""Records the screen, or a window, that the user chooses; Ctrl-C ends the recording.

    screen.py FILE [SECONDS]

The desktop portal asks the user, and hands out a PipeWire stream: so it works on Wayland and in a sandbox.
"""

import signal
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gio, GLib, Gst  # noqa: E402

PORTAL = "org.freedesktop.portal.Desktop"
PORTAL_PATH = "/org/freedesktop/portal/desktop"
SCREENS, WINDOWS = 1, 2
POINTER_IN_THE_PICTURE = 2


class Portal:
    """The calls of org.freedesktop.portal.ScreenCast, one after the other."""

    def __init__(self):
        self.bus = Gio.bus_get_sync(Gio.BusType.SESSION)
        self.sender = self.bus.get_unique_name()[1:].replace(".", "_")
        self.count = 0

    def call(self, method, arguments):
        return self.bus.call_with_unix_fd_list_sync(
            PORTAL, PORTAL_PATH, "org.freedesktop.portal.ScreenCast", method,
            arguments, None, Gio.DBusCallFlags.NONE, -1, None, None,
        )  # fmt: skip

    def ask(self, method, kind, *arguments, **options):
        """A call whose response is a later signal: the user may have to decide."""
        self.count += 1
        token = f"mediarecorder{self.count}"
        loop, answer = GLib.MainLoop(), []

        def on_response(_bus, _sender, _path, _interface, _signal, parameters):
            answer.extend(parameters.unpack())
            loop.quit()

        # Connected before the call, so that no response is missed.
        listener = self.bus.signal_subscribe(
            PORTAL, "org.freedesktop.portal.Request", "Response",
            f"{PORTAL_PATH}/request/{self.sender}/{token}", None, Gio.DBusSignalFlags.NONE, on_response,
        )  # fmt: skip
        options["handle_token"] = GLib.Variant("s", token)
        self.call(method, GLib.Variant(kind, (*arguments, options)))
        loop.run()
        self.bus.signal_unsubscribe(listener)
        code, results = answer
        if code != 0:
            sys.exit("The user said no." if code == 1 else f"The portal does not do {method}.")
        return results

    def screen(self):
        """A file descriptor of PipeWire, and the node of the screen."""
        token = GLib.Variant("s", "mediarecorder")
        session = self.ask("CreateSession", "(a{sv})", session_handle_token=token)["session_handle"]
        self.ask(
            "SelectSources", "(oa{sv})", session,
            types=GLib.Variant("u", SCREENS | WINDOWS),
            cursor_mode=GLib.Variant("u", POINTER_IN_THE_PICTURE),
        )  # fmt: skip
        streams = self.ask("Start", "(osa{sv})", session, "")["streams"]
        index, files = self.call("OpenPipeWireRemote", GLib.Variant("(oa{sv})", (session, {})))
        return files.get(index.unpack()[0]), streams[0][0]


def main(location, seconds=None):
    try:
        fd, node = Portal().screen()
    except GLib.Error as error:
        sys.exit(f"There is no portal to ask: {error.message}")
    pipeline = Gst.parse_launch(
        # An unchanged screen sends no frames: the recorder continues with the last one.
        f"pipewiresrc fd={fd} path={node} do-timestamp=true ! videoconvert ! rec.video_0 "
        "mediarecorder name=rec"
    )
    recorder = pipeline.get_by_name("rec")
    recorder.props.location = location
    loop = GLib.MainLoop()
    failures = []

    def on_message(_bus, message):
        fields = message.get_structure()
        if message.type == Gst.MessageType.ERROR:
            failures.append(message.parse_error()[0].message)
            loop.quit()
        elif message.type == Gst.MessageType.STATE_CHANGED and message.src == pipeline:
            if message.parse_state_changed().newstate == Gst.State.PLAYING:
                act("start")
        elif message.src == recorder and fields.get_name() == "mediarecorder-start":
            print("Recording", fields.get_string("mime-type"), flush=True)
            if seconds:
                GLib.timeout_add(int(float(seconds) * 1000), act, "stop")
        elif message.src == recorder and fields.get_name() == "mediarecorder-error":
            failures.append(fields.get_value("error").message)
        elif message.src == recorder and fields.get_name() == "mediarecorder-stop":
            print(f"Saved {fields.get_value('duration') / Gst.SECOND:.1f} s")
            loop.quit()

    def act(action):
        error = recorder.emit(action)
        if error is not None:
            failures.append(error.message)
            loop.quit()
        return GLib.SOURCE_REMOVE

    bus = pipeline.get_bus()
    bus.add_signal_watch()
    bus.connect("message", on_message)
    for number in (signal.SIGINT, signal.SIGTERM):
        GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, number, act, "stop")
    pipeline.set_state(Gst.State.PLAYING)
    loop.run()
    pipeline.set_state(Gst.State.NULL)
    return "\n".join(failures)


if __name__ == "__main__":
    Gst.init(None)
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]) or 0)
