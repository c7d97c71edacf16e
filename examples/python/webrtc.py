#!/usr/bin/python3
"""Records media from a WebRTC peer as received: nothing is decoded or re-encoded.

    webrtc.py FILE [SECONDS]

The offer is read from standard input, as SDP with its candidates, up to the end; the answer, and an empty line, is
written to standard output. How the two get from peer to peer is the application's business. Ctrl-C ends it.
"""

import signal
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

DEPAYLOADERS = {"VP8": "rtpvp8depay", "VP9": "rtpvp9depay", "H264": "rtph264depay", "OPUS": "rtpopusdepay"}


class App:
    def __init__(self, location, seconds=None):
        self.loop = GLib.MainLoop()
        self.seconds = seconds
        self.failure = None
        self.replies = []
        self.pipeline = Gst.parse_launch("webrtcbin name=peer bundle-policy=max-bundle mediarecorder name=rec")
        self.peer = self.pipeline.get_by_name("peer")
        self.recorder = self.pipeline.get_by_name("rec")
        self.recorder.props.location = location
        self.peer.connect("pad-added", self.on_track)
        self.peer.connect("notify::ice-gathering-state", self.on_gathering)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message", self.on_message)
        for number in (signal.SIGINT, signal.SIGTERM):
            GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, number, self.act, "stop")

    def run(self, offer):
        _, sdp = GstSdp.SDPMessage.new_from_text(offer)
        # A recording has all its tracks when it starts.
        self.awaited = sdp.medias_len()
        self.pipeline.set_state(Gst.State.PLAYING)
        remote = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.OFFER, sdp)
        self.ask("set-remote-description", remote)
        answer = self.ask("create-answer", None, "answer")
        self.ask("set-local-description", answer)
        self.loop.run()
        self.pipeline.set_state(Gst.State.NULL)
        return self.failure

    def ask(self, method, argument, wanted=None):
        promise = Gst.Promise.new()
        self.peer.emit(method, argument, promise)
        promise.wait()
        # Values of a reply are only valid as long as the reply.
        self.replies.append(promise.get_reply())
        return self.replies[-1].get_value(wanted) if wanted else None

    def on_gathering(self, peer, _property):
        if peer.props.ice_gathering_state == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            print(peer.props.local_description.sdp.as_text(), flush=True)

    def on_track(self, peer, pad):
        """Called from a thread of webrtcbin."""
        if pad.direction != Gst.PadDirection.SRC:
            return
        caps = pad.get_current_caps() or pad.query_caps(None)
        media, codec = (caps.get_structure(0).get_string(name) for name in ("media", "encoding-name"))
        depayloader = Gst.ElementFactory.make(DEPAYLOADERS[codec], None)
        self.pipeline.add(depayloader)
        depayloader.sync_state_with_parent()
        depayloader.get_static_pad("src").link(self.recorder.request_pad_simple(f"{media}_%u"))
        pad.link(depayloader.get_static_pad("sink"))
        self.awaited -= 1
        if self.awaited == 0:
            # Requests a keyframe from the peer, at which the recording starts.
            GLib.idle_add(self.act, "start")

    def act(self, action):
        error = self.recorder.emit(action)
        if error is not None:
            self.fail(error.message)
        return GLib.SOURCE_REMOVE

    def fail(self, text):
        self.failure = text
        self.loop.quit()

    def on_message(self, _bus, message):
        fields = message.get_structure()
        if message.type == Gst.MessageType.ERROR:
            self.fail(message.parse_error()[0].message)
        elif message.type == Gst.MessageType.LATENCY:
            self.pipeline.recalculate_latency()
        elif message.src != self.recorder or fields is None:
            return
        elif fields.get_name() == "mediarecorder-start":
            print("Recording", fields.get_string("mime-type"), file=sys.stderr)
            if self.seconds:
                GLib.timeout_add(int(float(self.seconds) * 1000), self.act, "stop")
        elif fields.get_name() == "mediarecorder-error":
            self.failure = fields.get_value("error").message
        elif fields.get_name() == "mediarecorder-stop":
            print(f"Saved {fields.get_value('duration') / Gst.SECOND:.1f} s", file=sys.stderr)
            self.loop.quit()


if __name__ == "__main__":
    Gst.init(None)
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(App(*sys.argv[1:]).run(sys.stdin.read()))
