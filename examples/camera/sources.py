"""Video and audio sources: the first camera and microphone found, or test sources."""

import ctypes

from gi.repository import Gst

TEST_PICTURE = (
    "videotestsrc is-live=true pattern=smpte horizontal-speed=2 "
    "! capsfilter caps=video/x-raw,width=640,height=480,framerate=30/1"
)
TEST_SOUND = "audiotestsrc is-live=true wave=ticks volume=0.3 ! capsfilter caps=audio/x-raw,rate=48000,channels=2"


def both(test):
    """A bin with the camera, one with the microphone, and a text about them."""
    found = [] if test else devices()
    bins, remarks = [], []
    for kind, raw, decoder, test_line, noun in (
        ("Video/Source", "video/x-raw", "decodebin ! videoconvert", TEST_PICTURE, "camera"),
        ("Audio/Source", "audio/x-raw", "decodebin ! audioconvert", TEST_SOUND, "microphone"),
    ):
        device = next((device for device in found if device.has_classes(kind)), None)
        if device is not None:
            bins.append(opened(device, raw, decoder))
            continue
        bins.append(Gst.parse_bin_from_description(test_line, True))
        if not test:
            remarks.append(f"No {noun} was found, so this is a test.")
    return *bins, " ".join(remarks)


def devices():
    """All devices of PipeWire, PulseAudio, Video4Linux …, the default ones first."""
    monitor = Gst.DeviceMonitor.new()
    for kind in ("Video/Source", "Audio/Source"):
        monitor.add_filter(kind, None)
    monitor.start()
    found = monitor.get_devices()
    # Never stopped or released: with PipeWire's provider (0.3.65) that corrupts memory.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(monitor))

    def rank(device):
        properties = device.get_properties()
        if properties is None:
            return 1
        # The monitor of an output is not a microphone.
        if properties.get_string("device.class") == "monitor":
            return 2
        return 0 if properties.get_value("is-default") else 1

    return sorted(found, key=rank)


def opened(device, raw, decoder):
    """A bin with the device; many cameras only offer JPEG, which is decoded."""
    source = device.create_element(None)
    caps = device.get_caps()
    is_raw = caps is None or caps.can_intersect(Gst.Caps.from_string(raw))
    tail = Gst.parse_bin_from_description(f"capsfilter caps={raw}" if is_raw else decoder, True)
    both = Gst.Bin.new(None)
    both.add(source)
    both.add(tail)
    source.link(tail)
    both.add_pad(Gst.GhostPad.new("src", tail.get_static_pad("src")))
    return both
