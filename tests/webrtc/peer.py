#!/usr/bin/python3
"""A WebRTC peer that sends a picture and a sound to the program named, until that ends.

    peer.py PROGRAM [ARGUMENT ...]

It writes its offer to the program's standard input, and reads the answer from its standard output.
"""

import subprocess
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

Gst.init(None)
# Key frames come only when they are asked for.
pipeline = Gst.parse_launch(
    "webrtcbin name=peer bundle-policy=max-bundle "
    "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 "
    "! vp8enc deadline=1 keyframe-max-dist=100000 ! rtpvp8pay pt=96 "
    "! application/x-rtp,media=video,encoding-name=VP8,payload=96 ! peer. "
    "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! opusenc ! rtpopuspay pt=97 "
    "! application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! peer."
)
peer = pipeline.get_by_name("peer")
program = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
loop = GLib.MainLoop()
replies = []


def ask(method, argument, wanted=None):
    promise = Gst.Promise.new()
    peer.emit(method, argument, promise)
    promise.wait()
    replies.append(promise.get_reply())  # what is taken out of it is gone when that is
    return replies[-1].get_value(wanted) if wanted else None


def talk():
    offer = ask("create-offer", None, "offer")
    ask("set-local-description", offer)
    while peer.props.ice_gathering_state != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
        gathered.wait(0.1)
    program.stdin.write(peer.props.local_description.sdp.as_text())
    program.stdin.close()
    answer = "".join(iter(program.stdout.readline, "\n"))
    _, sdp = GstSdp.SDPMessage.new_from_text(answer)
    remote = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
    ask("set-remote-description", remote)
    program.wait()
    loop.quit()


gathered = threading.Event()
peer.connect("on-negotiation-needed", lambda _: threading.Thread(target=talk, daemon=True).start())
pipeline.set_state(Gst.State.PLAYING)
loop.run()
pipeline.set_state(Gst.State.NULL)
sys.exit(program.returncode)
