"""Where picture and sound come from: the first camera and microphone that there are, or test sources."""

from gi.repository import Gst

TEST_PICTURE = (
    "videotestsrc is-live=true pattern=smpte horizontal-speed=2 "
    "! capsfilter caps=video/x-raw,width=640,height=480,framerate=30/1"
)
TEST_SOUND = "audiotestsrc is-live=true wave=ticks volume=0.3 ! capsfilter caps=audio/x-raw,rate=48000,channels=2"


def picture(test):
    """A bin with the camera's picture, and what there is to say about it."""
    return choose(test, "Video/Source", "video/x-raw", "decodebin ! videoconvert", TEST_PICTURE, "camera")


def sound(test):
    """A bin with the microphone's sound, and what there is to say about it."""
    return choose(test, "Audio/Source", "audio/x-raw", "decodebin ! audioconvert", TEST_SOUND, "microphone")


def choose(test, kind, raw, decoder, test_line, noun):
    if not test:
        for device in devices(kind):
            return opened(device, raw, decoder), None
    source = Gst.parse_bin_from_description(test_line, True)
    return source, None if test else f"No {noun} was found, so this is a test."


def devices(kind):
    """Cameras or microphones, from PipeWire, PulseAudio, Video4Linux …, the default one first."""
    monitor = Gst.DeviceMonitor.new()
    monitor.add_filter(kind, None)
    monitor.start()
    found = monitor.get_devices()
    monitor.stop()

    def rank(device):
        properties = device.get_properties()
        if properties is None:
            return 1
        # What is heard from the loudspeakers is no microphone.
        if properties.get_string("device.class") == "monitor":
            return 2
        return 0 if properties.get_value("is-default") else 1

    return sorted(found, key=rank)


def opened(device, raw, decoder):
    """A bin of the device; many cameras offer nothing but JPEG, which is decoded."""
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
