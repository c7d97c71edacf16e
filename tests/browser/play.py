#!/usr/bin/env python3
"""Plays recordings of the element in Chromium.

Each file has to play in <video> or <audio>, with a finite duration, and to seek to the frame; the blobs of a
timeslice have to go into a media source while the recording goes on, by docs/RECIPES.md's own program too; colours have to be
right on a canvas, and alpha composited. Prints a line for each, ends with 1 if one failed.
"""

import http.server
import os
import pathlib
import re
import sys
import tempfile
import threading
import time

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

import colours  # noqa: E402
from driver import Browser  # noqa: E402

HERE = pathlib.Path(__file__).parent
FPS = 30
SECONDS = 4

# Type, and whether every build of Chromium has a decoder for it: otherwise it may report that it has none.
FILES = [
    ("video/webm;codecs=vp8,opus", True),
    ("video/webm;codecs=vp9,vorbis", True),
    ("video/webm;codecs=av1,opus", True),
    ("audio/webm;codecs=opus", True),
    ("audio/webm;codecs=vorbis", True),
    ("video/mp4;codecs=avc1,mp4a.40.2", False),
    ("video/mp4;codecs=avc1.42E01E,opus", False),
    ("video/mp4;codecs=avc3,mp3", False),
    ("video/mp4;codecs=av1,opus", True),
    ("video/mp4;codecs=vp9,opus", True),
    ("video/mp4;codecs=hvc1,mp4a.40.2", False),
    ("audio/mp4;codecs=mp4a.40.2", False),
    ("audio/mp4;codecs=opus", True),
    ("audio/mp4;codecs=mp3", True),
    ("video/x-matroska;codecs=avc1,opus", False),
    ("video/x-matroska;codecs=vp9,opus", False),
    ("audio/x-matroska;codecs=mp4a.40.2", False),
    ("audio/ogg;codecs=opus", True),
    ("audio/ogg;codecs=vorbis", True),
    ("audio/ogg;codecs=flac", True),
    ("audio/wav;codecs=pcm", True),
    ("audio/flac;codecs=flac", True),
    ("audio/mpeg;codecs=mp3", True),
]
# Type and timeslice in milliseconds of the recordings that are appended while recording.
STREAMS = [
    ("video/webm;codecs=vp8,opus", 200),
    ("video/webm;codecs=vp9,opus", 1000),
    ("audio/webm;codecs=opus", 100),
    ("video/mp4;codecs=avc1,mp4a.40.2", 500),
    ("video/mp4;codecs=vp9,opus", 500),
    ("video/mp4;codecs=av1,opus", 500),
    ("video/mp4;codecs=avc1,opus", 1000),
]
# Types with an alpha channel.
ALPHA = ["video/webm;codecs=vp8", "video/webm;codecs=vp9"]

# Network input: type, and the payloader and depayloader of its video and of its audio.
H264 = (
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay config-interval=-1",
    "rtph264depay ! h264parse ! video/x-h264,stream-format=avc,alignment=au",
)
VP8 = ("vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15 ! rtpvp8pay", "rtpvp8depay")
OPUS = ("opusenc ! rtpopuspay", "rtpopusdepay ! opusparse")
AAC = ("audioconvert ! avenc_aac ! aacparse ! rtpmp4gpay", "rtpmp4gdepay ! aacparse ! audio/mpeg,stream-format=raw")
NETWORKS = [
    ("video/webm", VP8, OPUS),
    ("video/mp4", H264, AAC),
    ("video/mp4", H264, OPUS),
    ("video/x-matroska", H264, OPUS),
]
# Outages of one stream, or all, in seconds: not an integer, since there is a tick each second.
OUTAGES = [3.5, 12.5, 60.5] if os.environ.get("MEDIARECORDER_LONG") else [3.5]
BEFORE = 3


def settling(seconds):
    """How long after an outage the picture may be ahead of the sound: Chromium shows frames early for about two seconds
    after one that lasts a minute, in a file of FFmpeg's, too."""
    return 3 if seconds > 30 else 1


def behind(seconds):
    """How much to record after an outage."""
    return settling(seconds) + 3


def own_sources(mime_type, live):
    """The raw input for a type, and the pad for it."""
    live = " is-live=true" if live else ""
    sources = []
    if mime_type.startswith("video"):
        video = (
            f"videotestsrc num-buffers={SECONDS * FPS} pattern=ball{live}"
            f" ! video/x-raw,width=320,height=240,framerate={FPS}/1"
        )
        sources.append((video, "video_%u"))
    if mime_type.startswith("audio") or "," in mime_type:
        audio = (
            f"audiotestsrc num-buffers={SECONDS * 100} samplesperbuffer=480 wave=ticks{live}"
            " ! audio/x-raw,rate=48000,channels=2"
        )
        sources.append((audio, "audio_%u"))
    return sources


class Recording:
    """An active recording, and its blobs."""

    def __init__(self, mime_type, live=False, sources=None, **properties):
        self.blobs = []
        self.news = threading.Condition()
        self.over = False
        self.error = None
        self.actual = mime_type
        self.pipeline = Gst.Pipeline.new(None)
        self.recorder = Gst.ElementFactory.make("mediarecorder", None)
        if self.recorder is None:
            sys.exit("GStreamer does not find the plugin mediarecorder: set GST_PLUGIN_PATH")
        self.pipeline.add(self.recorder)
        self.recorder.set_property("mime-type", mime_type)
        self.recorder.set_property("autostart", True)
        for name, value in properties.items():
            self.recorder.set_property(name.replace("_", "-"), value)
        for line, template in sources or own_sources(mime_type, live):
            self.attach(line, template)
        self.recorder.connect("on-start", self.on_start)
        self.recorder.connect("on-data-available", self.on_data)
        self.recorder.connect("on-error", self.on_error)
        self.recorder.connect("on-stop", self.on_stop)
        self.pipeline.set_state(Gst.State.PLAYING)

    def attach(self, line, template):
        source = Gst.parse_bin_from_description(line + " ! queue", True)
        self.pipeline.add(source)
        pad = self.recorder.request_pad_simple(template)
        assert source.get_static_pad("src").link(pad) == Gst.PadLinkReturn.OK

    def tell(self, **news):
        with self.news:
            for name, value in news.items():
                setattr(self, name, value)
            self.news.notify_all()

    def on_start(self, recorder):
        self.tell(actual=recorder.get_property("mime-type"))

    def on_data(self, _, sample):
        buffer = sample.get_buffer()
        self.tell(blobs=self.blobs + [(buffer.extract_dup(0, buffer.get_size()), buffer.pts, buffer.duration)])

    def on_error(self, _, error):
        self.tell(error=error.message)

    def on_stop(self, _):
        self.tell(over=True)

    def started(self):
        """The actual type, after the first blob."""
        with self.news:
            self.news.wait_for(lambda: self.blobs or self.over, 30)
        return self.actual

    def blob(self, number):
        """Waits for one blob; None after the last."""
        with self.news:
            self.news.wait_for(lambda: len(self.blobs) > number or self.over, 30)
            return self.blobs[number][0] if len(self.blobs) > number else None

    def finish(self):
        with self.news:
            done = self.news.wait_for(lambda: self.over, 120)
        self.pipeline.set_state(Gst.State.NULL)
        if not done or self.error:
            raise RuntimeError(f"the recording failed: {self.error or 'no end'}")


class Outage:
    """A recording of RTP packets, with an outage."""

    def __init__(self, what, path, away, seconds):
        mime_type, video, audio = what
        self.what = f"{mime_type}, {video[0].split()[0]} and {audio[0].split()[0]}"
        self.mime_type, self.path, self.away, self.seconds = mime_type, path, away, seconds
        sources = []
        for kind, raw, (send, receive) in [
            ("video", f"videotestsrc pattern=ball is-live=true ! video/x-raw,width=320,height=240,framerate={FPS}/1", video),
            ("audio", "audiotestsrc wave=ticks is-live=true samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=2", audio),
        ]:
            network = f"identity name={kind}-network drop-probability=0.002 ! rtpjitterbuffer latency=100"
            sources.append((f"{raw} ! {send} ! {network} ! {receive}", f"{kind}_%u"))
        self.recording = Recording("", live=True, sources=sources, location=str(path))
        self.down = False
        # Recorded time of the outage, in seconds.
        self.begin = None
        for kind in away:
            self.recording.pipeline.get_by_name(f"{kind}-network").get_static_pad("src").add_probe(
                Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST, self.pass_on
            )

    def pass_on(self, _, __):
        return Gst.PadProbeReturn.DROP if self.down else Gst.PadProbeReturn.OK

    def set_down(self, down):
        self.down = down
        if down:
            self.begin = self.recording.recorder.get_property("stats").get_value("duration") / Gst.SECOND

    def judge(self, played):
        """Checks the browser's playback; returns a summary."""
        # Data in transit still arrives.
        begin, end = self.begin - 0.5, self.begin + self.seconds + settling(self.seconds)
        ticks = [shown % 1 for shown in played["heard"] if shown is not None and shown < begin]
        later = [shown % 1 for shown in played["heard"] if shown is not None and shown > end]
        if len(ticks) < 2 or len(later) < 2:
            raise RuntimeError(f"{self.what}: ticks at {played['heard']}")
        phase = ticks[-1]
        furthest = max(abs((tick - phase + 0.5) % 1 - 0.5) for tick in ticks[1:] + later)
        # An outage without effect on audio would be half a second.
        if furthest > 0.2:
            raise RuntimeError(f"{self.what}: sound is {furthest:.3f} s off behind the outage: {played['heard']}")
        if abs(played["ended"] - played["duration"]) > 0.3:
            raise RuntimeError(f"{self.what}: of {played['duration']} s it ends at {played['ended']}")
        shown = [frame for frame in played["frames"] if end < frame < end + 2]
        # On a busy machine, a browser drops many frames.
        if len(shown) < 5:
            raise RuntimeError(f"{self.what}: {len(shown)} frames behind the outage, of {len(played['frames'])}")
        return f"{self.what}: plays through, sound at most {furthest * 1000:.0f} ms off"


def judge_outages(browser, server, folder, away, seconds):
    """Checks recordings with network outages, all in parallel; returns a summary."""
    made = []
    for number, what in enumerate(NETWORKS):
        path = folder / f"outage-{'-'.join(away)}-{seconds}-{number}"
        made.append(Outage(what, path.with_suffix("." + {"webm": "webm", "mp4": "mp4"}.get(what[0][6:], "mkv")), away, seconds))
    for wait, down in [(BEFORE, True), (seconds, False)]:
        time.sleep(wait)
        for outage in made:
            outage.set_down(down)
    time.sleep(behind(seconds))
    for outage in made:
        if error := outage.recording.recorder.emit("stop"):
            raise RuntimeError(f"{outage.what}: {error.message}")
    urls = []
    for outage in made:
        outage.recording.finish()
        urls.append(f"/file/{len(server.files)}")
        server.files[urls[-1]] = (outage.path, outage.mime_type)
    played = browser.run("ticks", urls)
    return "; ".join(outage.judge(one) for outage, one in zip(made, played))


def record(mime_type, path):
    recording = Recording(mime_type, location=str(path))
    recording.finish()
    return recording.actual


class Server(http.server.ThreadingHTTPServer):
    """Serves the page, files by range, and the blobs of the active recording."""

    daemon_threads = True
    files = {}
    recording = None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        try:
            if self.path.startswith("/file/"):
                path, kind = self.server.files[self.path]
                self.send_range(path.read_bytes(), kind)
            elif self.path.startswith("/blob/"):
                blob = self.server.recording.blob(int(self.path.rsplit("/", 1)[1]))
                self.send(404 if blob is None else 200, blob or b"", "application/octet-stream")
            elif self.path == "/":
                self.send(200, (HERE / "page.html").read_bytes(), "text/html")
            else:
                self.send(404, b"", "text/plain")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send(self, status, body, kind, **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_range(self, body, kind):
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes="):
            return self.send(200, body, kind, Accept_Ranges="bytes")
        first, last = wanted[6:].split("-", 1)
        first = int(first or 0)
        last = min(int(last), len(body) - 1) if last else len(body) - 1
        span = f"bytes {first}-{last}/{len(body)}"
        self.send(206, body[first : last + 1], kind, Accept_Ranges="bytes", Content_Range=span)


def judge_file(browser, server, folder, mime_type, certain):
    """Checks a file; returns a summary."""
    path = folder / f"{len(server.files)}"
    actual = record(mime_type, path)
    says = browser.run("says", actual)
    if not says and not certain:
        return f"{actual}: this Chromium says that it has no decoder for it"
    kind = actual.split("/")[0]
    url = f"/file/{len(server.files)}"
    server.files[url] = (path, actual.split(";")[0])
    result = browser.run("play", url, kind)
    duration = result["duration"]
    if duration is None or abs(duration - SECONDS) > 0.1:
        raise RuntimeError(f"duration {duration}")
    if len(result["seeks"]) != 3 or not result.get("ended"):
        raise RuntimeError(f"{result}")
    if kind == "video" and result["width"] != 320:
        raise RuntimeError(f"width {result['width']}")
    furthest = 0.0
    for seek in result["seeks"]:
        if abs(seek["at"] - seek["target"]) > 0.05:
            raise RuntimeError(f"a seek to {seek['target']} went to {seek['at']}")
        if kind == "video":
            if seek["frame"] is None:
                raise RuntimeError(f"a seek to {seek['target']} shows no frame")
            furthest = max(furthest, abs(seek["frame"] - seek["target"]))
    if furthest > 1 / FPS + 0.003:
        raise RuntimeError(f"seeks miss the frame by {furthest} s: {result['seeks']}")
    return f"{actual}: {duration:.3f} s, plays, seeks to the frame ({furthest * 1000:.0f} ms)"


def judge_stream(browser, server, mime_type, timeslice):
    """Checks blobs appended while recording; returns a summary."""
    server.recording = Recording(mime_type, live=True, timeslice=timeslice)
    try:
        actual = server.recording.started()
        if not browser.run("says", actual):
            return f"{actual}: this Chromium says that it has no decoder for it"
        result = browser.run("append", actual, actual.split("/")[0])
    finally:
        server.recording.finish()
    count = len(server.recording.blobs)
    # A blob has at least the timeslice's duration, and up to two frames more.
    if count < SECONDS * 1000 // (timeslice + 2 * 1000 // FPS):
        raise RuntimeError(f"only {count} blobs of {timeslice} ms")
    if result["ranges"] != 1:
        raise RuntimeError(f"what is buffered has holes: {result}")
    if abs(result["ended"] - SECONDS) > 0.15:
        raise RuntimeError(f"it ends at {result['ended']}")
    if result["before"] <= 0:
        raise RuntimeError("it did not play while it was recorded")
    starts = [blob[:8] for blob, _, _ in server.recording.blobs[1:-1] if blob]
    bounds = sum(s[:4] == b"\x1f\x43\xb6\x75" or s[4:] == b"moof" for s in starts)
    return (
        f"{actual}, timeslice {timeslice} ms: {count} blobs appended while recording,"
        f" {bounds} of {len(starts)} begin a cluster or fragment"
    )


def judge_recipe(browser, server, mime_type):
    """Checks the replay recipe of the documentation; returns a summary."""
    recipes = (HERE.parent.parent / "docs" / "RECIPES.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```js\n(.*?)^```$", recipes, re.DOTALL | re.MULTILINE)
    server.recording = Recording(mime_type, live=True, timeslice=500)
    try:
        result = browser.run("replay", program, server.recording.started())
    finally:
        server.recording.finish()
    if result["ranges"] != 1 or abs(result["end"] - SECONDS) > 0.15 or result["at"] <= 0:
        raise RuntimeError(f"{result}")
    return f"the recipe for a replay, {mime_type}: {result['blobs']} blobs, {result['end']:.2f} s of them buffered"


def main():
    Gst.init(None)
    recorder = Gst.ElementFactory.make("mediarecorder", None)
    if recorder is None:
        sys.exit("GStreamer does not find the plugin mediarecorder: set GST_PLUGIN_PATH")
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Browser(folder / "profile") as browser:
            print(f"Chromium {browser.version}")
            browser.go(f"http://127.0.0.1:{server.server_port}/")
            todo = [(judge_file, (folder, t, c), t) for t, c in FILES]
            todo += [(judge_stream, (t, s), f"{t}, timeslice {s} ms") for t, s in STREAMS]
            todo += [(judge_recipe, (t,), f"{t}, timeslice, by the recipe") for t, _ in STREAMS[:2]]
            todo += [(colours.judge_alpha, (folder, t), t) for t in ALPHA]
            pairs = colours.pairs("MEDIARECORDER_LONG" in os.environ)
            todo += [(colours.judge_colours, (folder, *pair), pair[1]) for pair in pairs]
            for seconds in OUTAGES:
                for away in [("video",), ("audio",), ("video", "audio")]:
                    what = f"{' and '.join(away)} away for {seconds} s"
                    todo.append((judge_outages, (folder, away, seconds), what))
            for judge, arguments, what in todo:
                mime_type = "" if judge is judge_outages else what.split(", timeslice")[0]
                if not recorder.emit("is-type-supported", mime_type):
                    print(f"   - {mime_type}: not installed, not tested")
                    continue
                try:
                    print("  ok", judge(browser, server, *arguments), flush=True)
                except (RuntimeError, GLib.Error) as error:
                    failed += 1
                    print(f"FAIL {what}: {error}", flush=True)
        server.shutdown()
    print(f"{failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
