"""Recordings with known colours, or alpha channel, as drawn by Chromium on a canvas."""

import subprocess

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

FRAMES = 10
PATCH = 80
COLUMNS = 4
WIDTH, HEIGHT = COLUMNS * PATCH, 2 * PATCH
# R', G' and B' of the patches.
PATCHES = [
    (250, 250, 250),
    (128, 128, 128),
    (8, 8, 8),
    (200, 30, 40),
    (30, 180, 60),
    (40, 50, 210),
    (220, 200, 50),
    (210, 160, 130),
]
# Maximum colour difference, of 255.
TOLERANCE = 6

BT601, BT709, BT2020 = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)
# GStreamer's colorimetry, weights of red and blue in luma (none for RGB), whether it is full range.
INPUTS = [
    ("bt601", BT601, False),
    ("bt709", BT709, False),
    ("bt2020", BT2020, False),
    ("1:4:0:0", BT601, True),
    ("1:3:5:1", BT709, True),
    ("2:3:0:0", BT709, False),
    ("sRGB", None, True),
]
# Type, and whether every build of Chromium has a decoder for it.
TYPES = [
    ("video/webm;codecs=vp8", True),
    ("video/webm;codecs=vp9", True),
    ("video/webm;codecs=av1", True),
    ("video/mp4;codecs=vp9", True),
    ("video/mp4;codecs=av1", True),
    ("video/mp4;codecs=avc1", False),
    ("video/mp4;codecs=hvc1", False),
    ("video/x-matroska;codecs=avc1", False),
    ("video/x-matroska;codecs=vp9", False),
]


def pairs(every):
    """Each input with some of the types, so that each type is tested with some inputs; all combinations if `every`."""
    for row, source in enumerate(INPUTS):
        for column, (mime_type, certain) in enumerate(TYPES):
            if every or (row + column) % 3 == 0:
                yield source, mime_type, certain


def components(rgb, weights, full_range):
    """Y, Cb and Cr of a colour (ITU-R BT.601, BT.709, BT.2020)."""
    red, blue = weights
    r, g, b = (value / 255 for value in rgb)
    luma = red * r + (1 - red - blue) * g + blue * b
    cb, cr = (b - luma) / (2 * (1 - blue)), (r - luma) / (2 * (1 - red))
    offset, height, chroma = (0, 255, 255) if full_range else (16, 219, 224)
    values = (offset + height * luma, 128 + chroma * cb, 128 + chroma * cr)
    return [min(255, max(0, round(value))) for value in values]


def frame(weights, full_range):
    def patch(x, y):
        return PATCHES[y // PATCH * COLUMNS + x // PATCH]

    def plane(step, value):
        rows = []
        for top in (0, PATCH):
            row = b"".join(bytes([value(patch(x, top))]) for x in range(0, WIDTH, step))
            rows.append(row * (PATCH // step))
        return b"".join(rows)

    if weights is None:
        rows = (b"".join(bytes([*patch(x, top)[::-1], 255]) for x in range(WIDTH)) for top in (0, PATCH))
        return b"".join(row * PATCH for row in rows)
    steps = enumerate((1, 2, 2))
    return b"".join(plane(step, lambda rgb: components(rgb, weights, full_range)[at]) for at, step in steps)


def record(caps, frames, mime_type, path, keep=""):
    """Records frames, 25 per second."""
    pipeline = Gst.parse_launch(
        f"appsrc name=source format=time ! mediarecorder.video_0 mediarecorder name=mediarecorder autostart=true"
        f' mime-type="{mime_type}" video-bits-per-second=4000000'
    )
    source, recorder = (pipeline.get_by_name(name) for name in ("source", "mediarecorder"))
    source.set_property("caps", Gst.Caps.from_string(f"video/x-raw,framerate=25/1,{caps}"))
    recorder.set_property("location", str(path))
    if keep:
        Gst.util_set_object_arg(recorder, "keep", keep)
    pipeline.set_state(Gst.State.PLAYING)
    length = Gst.SECOND // 25
    for number, bytes_of in enumerate(frames):
        buffer = Gst.Buffer.new_wrapped(bytes_of)
        buffer.pts, buffer.duration = number * length, length
        source.emit("push-buffer", buffer)
    source.emit("end-of-stream")
    end = Gst.MessageType.EOS | Gst.MessageType.ERROR
    message = pipeline.get_bus().timed_pop_filtered(60 * Gst.SECOND, end)
    pipeline.set_state(Gst.State.NULL)
    if message is None or message.type == Gst.MessageType.ERROR:
        raise RuntimeError(f"the recording failed: {message and message.parse_error()[0].message}")


def shown(browser, server, path, mime_type, background):
    """The colour in the middle of each patch, once the video is drawn on a canvas with this background."""
    url = f"/file/{len(server.files)}"
    server.files[url] = (path, mime_type.split(";")[0])
    points = [
        (number % COLUMNS * PATCH + PATCH // 2, number // COLUMNS * PATCH + PATCH // 2)
        for number in range(len(PATCHES))
    ]
    return browser.run("pixels", url, points, background)


# The same for FFmpeg, for inputs that Chromium displays differently: its factor of Cb in blue is at most 2 (BT.709 requires 2.11), and it converts the primaries of BT.2020 to those of the screen.
FFMPEG_COLOURS = {
    "bt709": ("bt709", "bt709", "bt709"),
    "2:3:0:0": ("bt709", "bt709", "bt709"),
    "bt2020": ("bt2020nc", "bt2020-10", "bt2020"),
}


def by_ffmpeg(source, path):
    """The same frames in a file made by FFmpeg."""
    colorimetry, weights, full_range = source
    matrix, transfer, primaries = FFMPEG_COLOURS[colorimetry]
    colours = ["-colorspace", matrix, "-color_trc", transfer, "-color_primaries", primaries, "-color_range", "tv"]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "rawvideo", "-video_size", f"{WIDTH}x{HEIGHT}", "-pix_fmt", "yuv420p"]
        + ["-framerate", "25", *colours, "-i", "-", "-c:v", "libvpx-vp9", "-b:v", "4M", *colours, "-f", "webm", str(path)],
        input=frame(weights, full_range) * FRAMES,
        check=True,
    )


def furthest(found, due):
    return max(abs(is_ - should) for is_, should in zip(sum(found, []), sum(due, [])))


def judge_colours(browser, server, folder, source, mime_type, certain):
    """Checks the colours of a recording; returns a summary."""
    colorimetry, weights, full_range = source
    if not browser.run("says", mime_type) and not certain:
        return f"{mime_type}: this Chromium says that it has no decoder for it"
    path = folder / f"colours-{len(server.files)}"
    picture = "BGRx" if weights is None else "I420"
    caps = f"format={picture},width={WIDTH},height={HEIGHT},colorimetry=(string){colorimetry}"
    record(caps, [frame(weights, full_range)] * FRAMES, mime_type, path)
    found = [pixel[:3] for pixel in shown(browser, server, path, mime_type, None)]
    off, than = furthest(found, [list(rgb) for rgb in PATCHES]), "what went in"
    if off > TOLERANCE and colorimetry in FFMPEG_COLOURS:
        path = folder / f"reference-{len(server.files)}"
        by_ffmpeg(source, path)
        due = [pixel[:3] for pixel in shown(browser, server, path, "video/webm", None)]
        off, than = furthest(found, due), "FFmpeg's file of the same"
    if off > TOLERANCE:
        raise RuntimeError(f"{off} off from {than}: {found}")
    return f"{colorimetry} as {mime_type}: {off} off from {than} on a canvas"


def judge_alpha(browser, server, folder, mime_type):
    """Checks how a recording with alpha is composited; returns a summary."""
    alphas = (255, 200, 128, 60, 0, 255, 30, 160)
    patches = [(*rgb[::-1], alpha) for rgb, alpha in zip(PATCHES, alphas)]
    rows = (b"".join(bytes(patches[top + x // PATCH]) for x in range(WIDTH)) for top in (0, COLUMNS))
    picture = b"".join(row * PATCH for row in rows)
    path = folder / f"alpha-{len(server.files)}"
    caps = f"format=BGRA,width={WIDTH},height={HEIGHT}"
    record(caps, [picture] * FRAMES, mime_type, path, keep="alpha")
    background = (20, 120, 220)
    found = shown(browser, server, path, mime_type, list(background))
    mixed = [
        [round((value * alpha + under * (255 - alpha)) / 255) for value, under in zip(rgb, background)]
        for rgb, alpha in zip(PATCHES, alphas)
    ]
    off = furthest([pixel[:3] for pixel in found], mixed)
    if off > TOLERANCE:
        raise RuntimeError(f"{off} off: {found} instead of {mixed}")
    return f"{mime_type} with alpha: composited, {off} off"
