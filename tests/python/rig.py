"""Shared by the Python tests: a live pipeline around one mediarecorder, and its events."""

import threading

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

Gst.init(None)

DEADLINE = 30
DOMAIN = "gst-media-recorder-error"
SIGNALS = ("on-start", "on-pause", "on-resume", "on-data-available", "on-error", "on-stop")


class Rig:
    """A recorder fed by live test sources, in PLAYING."""

    def __init__(self, **properties):
        self.pipeline = Gst.parse_launch(
            "mediarecorder name=r "
            "audiotestsrc is-live=true samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=2 "
            "! r.audio_0 "
            "videotestsrc is-live=true pattern=ball "
            "! video/x-raw,width=160,height=120,framerate=30/1 ! r.video_0"
        )
        self.recorder = self.pipeline.get_by_name("r")
        for name, value in properties.items():
            self.recorder.set_property(name.replace("_", "-"), value)
        self.events = []
        self.buffers = 0
        self.changed = threading.Condition()
        for signal in SIGNALS:
            self.recorder.connect(signal, self._event, signal)
        pad = self.recorder.get_static_pad("video_0")
        pad.add_probe(Gst.PadProbeType.BUFFER, self._buffer)
        self.pipeline.set_state(Gst.State.PLAYING)
        self.wait_buffers(1)

    def _event(self, recorder, *arguments):
        signal = arguments[-1]
        state = recorder.get_property("state").value_nick
        # A sample is only valid in the handler: its bytes have to be copied here.
        arguments = [copied(a) if isinstance(a, Gst.Sample) else a for a in arguments]
        with self.changed:
            self.events.append((signal, state, arguments[:-1]))
            self.changed.notify_all()

    def _buffer(self, _pad, _info):
        with self.changed:
            self.buffers += 1
            self.changed.notify_all()
        return Gst.PadProbeReturn.OK

    def wait(self, what, condition):
        with self.changed:
            assert self.changed.wait_for(condition, DEADLINE), (what, self.names())

    def wait_buffers(self, more):
        goal = self.buffers + more
        self.wait(f"{more} more buffers", lambda: self.buffers >= goal)

    def wait_stop(self, count=1):
        self.wait("on-stop", lambda: self.names().count("on-stop") >= count)

    def names(self):
        return [name for name, _, _ in self.events]

    def state(self):
        return self.recorder.get_property("state").value_nick

    def down(self):
        self.pipeline.set_state(Gst.State.NULL)


def refused(error, code):
    """Asserts that an action returned the recorder's error `code`."""
    assert isinstance(error, GLib.Error), error
    assert error.domain == DOMAIN, error.domain
    assert error.code == code, error.code
    assert error.matches(GLib.quark_from_string(DOMAIN), code)
    assert error.message, "an error without words"


def copied(sample):
    """(the name of a blob's caps, its bytes)."""
    return sample.get_caps().get_structure(0).get_name(), contents(sample)


def contents(sample):
    """The bytes of a blob."""
    buffer = sample.get_buffer()
    return buffer.extract_dup(0, buffer.get_size())
