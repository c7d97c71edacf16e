"""An HTTP server for uploads: writes the bodies of PUT and POST, one after the other, to its standard output as
they arrive, in pieces of any size. Prints its port on standard error; exits when its standard input ends."""

import http.server
import os
import sys
import threading


class Upload(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                self.copy(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            self.copy(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PUT

    def copy(self, size):
        while size:
            piece = self.rfile.read1(min(size, 65536))
            if not piece:
                raise ConnectionError("the body is not whole")
            size -= len(piece)
            while piece:
                piece = piece[os.write(1, piece):]

    def log_message(self, format, *args):
        pass


def leave():
    sys.stdin.buffer.read()
    os._exit(0)


server = http.server.HTTPServer(("127.0.0.1", 0), Upload)
print(server.server_port, file=sys.stderr, flush=True)
threading.Thread(target=leave).start()
server.serve_forever()
