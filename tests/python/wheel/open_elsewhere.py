"""On Windows: a recording that replaces a file which is open elsewhere.

    open_elsewhere.py LOCATION
"""

import ctypes
import os
import sys
from ctypes import wintypes

from rig import Rig, raised, run

from gst_mediarecorder import UnknownError

location = sys.argv[1]
GENERIC_READ, OPEN_EXISTING = 0x80000000, 3
SHARE_READ, SHARE_WRITE, SHARE_DELETE = 1, 2, 4
kernel = ctypes.WinDLL("kernel32", use_last_error=True)
kernel.CreateFileW.argtypes = (
    wintypes.LPCWSTR,
    wintypes.DWORD,
    wintypes.DWORD,
    ctypes.c_void_p,
    wintypes.DWORD,
    wintypes.DWORD,
    wintypes.HANDLE,
)
kernel.CreateFileW.restype = wintypes.HANDLE
kernel.ReadFile.argtypes = (wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD, wintypes.LPDWORD, ctypes.c_void_p)
kernel.CloseHandle.argtypes = (wintypes.HANDLE,)


class Held:
    """Creates a file and opens it for reading, with this share mode."""

    def __init__(self, path, share):
        with open(path, "wb") as file:
            file.write(b"older")
        self.handle = kernel.CreateFileW(path, GENERIC_READ, share, None, OPEN_EXISTING, 0, None)
        assert self.handle not in (None, wintypes.HANDLE(-1).value), ctypes.get_last_error()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        kernel.CloseHandle(self.handle)

    def read(self):
        buffer, count = ctypes.create_string_buffer(64), wintypes.DWORD()
        assert kernel.ReadFile(self.handle, buffer, 64, ctypes.byref(count), None)
        return buffer.raw[: count.value]


with Rig() as rig:
    rig.recorder.location = location
    with Held(location, SHARE_READ | SHARE_WRITE | SHARE_DELETE) as held:
        rig.recorder.start()
        assert held.read() == b"older"
        run(rig.recorded_more(300_000_000))
        rig.recorder.stop()
    closed = location + ".closed"
    rig.recorder.location = closed
    with Held(closed, SHARE_READ) as held:
        error = raised(UnknownError, rig.recorder.start)
        assert closed in str(error), error
        assert held.read() == b"older"
    rig.recorder.start()
    rig.recorder.stop()
# Once the pipeline is in NULL, the files are complete.
for path in location, closed:
    assert os.stat(path).st_size > 100, path
os.remove(closed)
left = [name for name in os.listdir(os.path.dirname(os.path.abspath(location))) if name.startswith(".mediarecorder")]
assert not left, left
print("done")
