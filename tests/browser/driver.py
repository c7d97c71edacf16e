"""Headless Chromium, controlled through chromedriver, with Python's standard library only."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
]


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Browser:
    """One window of Chromium, closed at the end of the with block."""

    def __init__(self, profile):
        self.profile = profile

    def __enter__(self):
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        # Warnings of the browser's libraries are not failures of this project.
        environment = {name: value for name, value in os.environ.items() if name != "G_DEBUG"}
        self.driver = subprocess.Popen(
            [shutil.which("chromedriver") or "chromedriver", f"--port={port}"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _open(self):
        end = time.monotonic() + 30
        while True:
            try:
                if self._call("GET", "/status")["ready"]:
                    break
            except (OSError, KeyError):
                pass
            if time.monotonic() > end:
                raise RuntimeError("chromedriver does not start")
            time.sleep(0.05)
        options = {"args": FLAGS + [f"--user-data-dir={self.profile}"]}
        chromium = shutil.which("chromium")
        if chromium:
            options["binary"] = chromium
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options}}
        session = self._call("POST", "/session", {"capabilities": capabilities})
        self.session = f"/session/{session['sessionId']}"
        timeouts = {"script": 150_000, "pageLoad": 30_000}
        self._call("POST", self.session + "/timeouts", timeouts)
        self.version = session["capabilities"]["browserVersion"]

    def __exit__(self, *_):
        try:
            self._call("DELETE", self.session)
        except (OSError, AttributeError, RuntimeError):
            pass
        self.driver.terminate()
        try:
            self.driver.wait(10)
        except subprocess.TimeoutExpired:
            self.driver.kill()

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.base + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=180) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode(errors="replace")) from error

    def go(self, url):
        self._call("POST", self.session + "/url", {"url": url})

    def run(self, function, *arguments):
        """The result of an async function of the page; raises its error."""
        script = (
            "const done = arguments[arguments.length - 1];"
            f"Promise.resolve(window.{function}(...Array.from(arguments).slice(0, -1)))"
            ".then(value => done({value}), error => done({error: String(error)}));"
        )
        body = {"script": script, "args": list(arguments)}
        answer = self._call("POST", self.session + "/execute/async", body)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]
