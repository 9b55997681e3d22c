"""A web server on loopback that lies, stalls and dies as it is told, for the tests of downloads."""
import hashlib
import http.server
import re
import socket
import threading


class Page:
    """What a path answers with."""

    def __init__(self, body=b"", status=200, headers=None, etag=True, ranges=True, cut=None, cuts=0, stall=None, type=None,
                 length=None):
        self.body = body
        self.status = status
        self.headers = dict(headers or {})
        self.etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"' if etag is True else etag
        self.ranges = ranges
        self.cut = cut        # so many bytes of an answer, then the connection ends...
        self.cuts = cuts      # ...so many times
        self.stall = stall    # so many bytes, then nothing comes
        self.length = length  # a lie about the length
        if type:
            self.headers["Content-Type"] = type


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, page):
        body, status = page.body, page.status
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and page.ranges and status == 200 and self.headers.get("If-Range") in (None, page.etag):
            start = int(asked[1])
            if start >= len(body):
                status, body = 416, b""
            else:
                status, body = 206, body[start:]
        self.send_response(status)
        for name, value in page.headers.items():
            self.send_header(name, value)
        if page.etag:
            self.send_header("ETag", page.etag)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(page.body) - 1}/{len(page.body)}")
        self.send_header("Content-Length", str(len(body) if page.length is None else page.length))
        self.end_headers()
        if page.stall is not None:
            self.wfile.write(body[:page.stall])
            self.wfile.flush()
            self.server.owner.ending.wait()
            self.close_connection = True
            return
        if page.cuts > 0:
            page.cuts -= 1
            self.wfile.write(body[:page.cut])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.wfile.write(body)

    def do_GET(self):
        owner = self.server.owner
        owner.requests.append((self.path, dict(self.headers)))
        page = owner.page(self.path, self.headers)
        try:
            self.answer(page)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


class Server:
    """Serves `pages`, a dictionary of path to Page; a subclass may choose otherwise."""

    def __init__(self):
        self.pages = {}
        self.requests = []
        self.ending = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.owner = self
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"http://{self.address}"
        self.server.handle_error = lambda request, address: None  # a client that was killed
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def page(self, path, headers):
        return self.pages.get(path, Page(b"nothing here", 404))

    def paths(self):
        return [path for path, _ in self.requests]

    def close(self):
        self.ending.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
