"""usl-fetch, by its own protocol, against a server that lies, stalls and dies."""
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from harness import USL, Home, user_command
from http_server import Page, Server

FETCH = os.path.join(os.path.dirname(USL), "usl-fetch")
DATA = bytes(range(256)) * 4096  # 1 MiB


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Fetch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = Home()

    @classmethod
    def tearDownClass(cls):
        cls.home.remove()

    def setUp(self):
        self.server = Server()
        self.directory = tempfile.mkdtemp(dir=self.home.path)
        os.chmod(self.directory, 0o777)
        self.path = os.path.join(self.directory, "file")
        self.helper = self.start()

    def start(self):
        environment = {name: value for name, value in self.home.environment().items() if not name.endswith("_proxy")}
        return subprocess.Popen(user_command([FETCH, "--serve"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                env=environment)

    def end(self):
        self.helper.stdin.close()
        self.helper.stdout.close()
        self.assertEqual(self.helper.wait(), 0)

    def tearDown(self):
        self.end()
        self.server.close()
        shutil.rmtree(self.directory)

    def ask(self, url, **more):
        request = {"url": url, "headers": [], "authorization": "", "path": self.path, "sha256": "", "max_size": 1 << 30,
                   "size": -1, "stall_seconds": 2}
        request.update(more)
        self.helper.stdin.write(json.dumps(request).encode() + b"\n")
        self.helper.stdin.flush()

    def answer(self):
        """The reply with what progress lines said."""
        progress = []
        while True:
            message = json.loads(self.helper.stdout.readline())
            if "done" not in message:
                message["body"] = self.helper.stdout.read(message["body_size"])
                message["progress"] = progress
                return message
            progress.append(message)

    def get(self, page, **more):
        self.ask(self.server.url + page, **more)
        return self.answer()

    def content(self, suffix=""):
        with open(self.path + suffix, "rb") as file:
            return file.read()

    def left(self):
        return sorted(os.listdir(self.directory))

    def write_part(self, data):
        with open(self.path + ".part", "wb") as file:
            file.write(data)
        os.chmod(self.path + ".part", 0o666)

    def test_whole_file(self):
        self.server.pages["/f"] = Page(DATA)
        reply = self.get("/f", sha256=sha256(DATA), size=len(DATA))
        self.assertEqual(reply["error"], 0, reply)
        self.assertEqual(self.content(), DATA)
        self.assertEqual(self.left(), ["file"])
        self.assertEqual(reply["progress"][-1], {"done": len(DATA), "total": len(DATA), "note": ""})

    def test_body_in_memory(self):
        self.server.pages["/f"] = Page(b"ab\ncd", headers={"X-Y": "z"})
        reply = self.get("/f", path="")
        self.assertEqual((reply["error"], reply["status"], reply["body"], reply["headers"]["x-y"]), (0, 200, b"ab\ncd", "z"))
        reply = self.get("/missing", path="")
        self.assertEqual((reply["error"], reply["status"], reply["body"]), (0, 404, b"nothing here"))

    def test_break_is_bridged_from_where_it_was(self):
        self.server.pages["/f"] = Page(DATA, cut=300000, cuts=3)
        reply = self.get("/f")
        self.assertEqual(reply["error"], 0, reply)
        self.assertEqual(self.content(), DATA)
        ranges = [headers.get("Range") for _, headers in self.server.requests]
        self.assertEqual(ranges, [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"])
        etag = self.server.pages["/f"].etag
        self.assertEqual([headers.get("If-Range") for _, headers in self.server.requests], [None, etag, etag, etag])

    def test_kill_and_resume(self):
        self.server.pages["/f"] = Page(DATA, stall=500000)
        self.ask(self.server.url + "/f", stall_seconds=60)
        while True:
            message = json.loads(self.helper.stdout.readline())
            if message.get("done", 0) == 500000:
                break
        self.helper.send_signal(signal.SIGKILL)
        self.helper.wait()
        self.helper.stdin.close()
        self.helper.stdout.close()
        self.helper = self.start()
        self.assertEqual(len(self.content(".part")), 500000)
        self.server.pages["/f"] = Page(DATA)
        self.assertEqual(self.get("/f")["error"], 0)
        self.assertEqual(self.content(), DATA)
        self.assertEqual(self.server.requests[-1][1]["Range"], "bytes=500000-")

    def test_changed_meanwhile(self):
        self.server.pages["/f"] = Page(DATA, cut=1000, cuts=99)
        self.assertNotEqual(self.get("/f", max_size=5000)["error"], 0)
        self.server.pages["/f"] = Page(DATA, cut=100000, cuts=1)
        changed = DATA[::-1]

        def page(path, headers, plain=self.server.page):
            # After the first break the file is another one.
            return plain(path, headers) if "Range" not in headers else Page(changed)

        self.server.page = page
        self.assertEqual(self.get("/f")["error"], 0)
        self.assertEqual(self.content(), changed)

    def test_part_without_a_note_is_not_trusted(self):
        self.write_part(b"something else")
        self.server.pages["/f"] = Page(DATA)
        self.assertEqual(self.get("/f")["error"], 0)
        self.assertEqual(self.content(), DATA)

    def test_wrong_part_is_found_by_the_digest(self):
        self.write_part(b"something else")
        self.server.pages["/f"] = Page(DATA)
        self.assertEqual(self.get("/f", sha256=sha256(DATA))["error"], 0)
        self.assertEqual(self.content(), DATA)
        self.assertEqual([headers.get("Range") for _, headers in self.server.requests], ["bytes=14-", None])

    def test_part_that_is_whole_needs_no_server(self):
        self.write_part(DATA)
        self.assertEqual(self.get("/f", sha256=sha256(DATA))["error"], 0)
        self.assertEqual(self.server.requests, [])
        self.assertEqual(self.content(), DATA)

    def test_server_without_ranges(self):
        self.write_part(DATA[:5])
        self.server.pages["/f"] = Page(DATA, ranges=False)
        self.assertEqual(self.get("/f", sha256=sha256(DATA))["error"], 0)
        self.assertEqual(self.content(), DATA)

    def refused(self, reply, errno, says):
        self.assertEqual(reply["error"], errno, reply)
        self.assertIn(says, reply["message"])
        self.assertFalse(os.path.exists(self.path))

    def test_wrong_digest(self):
        self.server.pages["/f"] = Page(DATA)
        self.refused(self.get("/f", sha256="0" * 64), 74, "SHA-256")
        self.assertEqual(self.left(), [])

    def test_wrong_sizes(self):
        self.server.pages["/f"] = Page(DATA)
        self.refused(self.get("/f", size=5), 27, "more than the 5 bytes")
        self.refused(self.get("/f", size=len(DATA) + 1), 74, "were expected")
        self.refused(self.get("/f", max_size=1000), 27, "more than the 1000 bytes")
        self.refused(self.get("/f", max_size=1000, path=""), 27, "more than the 1000 bytes")
        self.server.pages["/f"] = Page(b"short", length=1 << 40, cut=5, cuts=99)
        self.refused(self.get("/f", max_size=3), 27, "more than the 3 bytes")
        self.assertEqual(self.left(), [])

    def test_stall(self):
        self.server.page = lambda path, headers: Page(DATA, stall=0 if "Range" in headers else 100)
        reply = self.get("/f", stall_seconds=1)
        self.refused(reply, 110, "for 1 seconds")
        self.assertTrue(any("trying again" in each["note"] for each in reply["progress"]))
        self.assertEqual(self.left(), ["file.part", "file.part.json"])

    def test_statuses(self):
        for status, errno in ((401, 13), (403, 13), (404, 2), (410, 2), (500, 121), (418, 121)):
            self.server.pages["/f"] = Page(b"an error page", status)
            self.refused(self.get("/f"), errno, f"HTTP status {status}")
        self.assertEqual(self.left(), [])

    def test_busy_server(self):
        pages = [Page(b"busy", 503, {"Retry-After": "0"}), Page(b"busy", 429), Page(DATA)]
        self.server.page = lambda path, headers: pages.pop(0)
        reply = self.get("/f")
        self.assertEqual(reply["error"], 0, reply)
        self.assertEqual(self.content(), DATA)

    def test_nobody_listens(self):
        dead = Server()
        dead.close()
        self.ask(dead.url + "/f")
        self.refused(self.answer(), 111, dead.address)
        self.ask("http://no-such-host.invalid/f")
        self.refused(self.answer(), 113, "no-such-host.invalid")

    def test_other_schemes(self):
        for url in ("file:///etc/passwd", "ftp://127.0.0.1/f", "nonsense", "", "gopher://x", "http://"):
            self.ask(url)
            self.assertEqual(self.answer()["error"], 22, url)
        self.server.pages["/f"] = Page(b"", 302, {"Location": "file:///etc/passwd"})
        self.refused(self.get("/f"), 22, "file:///etc/passwd")
        self.server.pages["/f"] = Page(b"", 301, {"Location": "/f"})
        self.refused(self.get("/f"), 22, "more than 10 redirects")

    def test_redirect_keeps_credentials_at_home(self):
        other = Server()
        try:
            other.pages["/g"] = Page(DATA)
            self.server.pages["/f"] = Page(b"", 307, {"Location": "/h"})
            self.server.pages["/h"] = Page(b"a page", 307, {"Location": other.url + "/g"})
            reply = self.get("/f", authorization="Bearer secret")
            self.assertEqual(reply["error"], 0, reply)
            self.assertEqual(reply["url"], other.url + "/g")
            self.assertEqual([headers.get("Authorization") for _, headers in self.server.requests], ["Bearer secret"] * 2)
            self.assertEqual([headers.get("Authorization") for _, headers in other.requests], [None])
        finally:
            other.close()

    def test_two_at_once(self):
        self.server.pages["/f"] = Page(DATA, stall=1000)
        self.ask(self.server.url + "/f", sha256=sha256(DATA), stall_seconds=60)
        while json.loads(self.helper.stdout.readline()).get("done", 0) < 1000:
            pass
        first, self.helper = self.helper, self.start()
        self.server.pages["/f"] = Page(DATA)
        self.ask(self.server.url + "/f", sha256=sha256(DATA))
        self.assertIn("waiting", json.loads(self.helper.stdout.readline())["note"])
        first.kill()
        first.wait()
        first.stdin.close()
        first.stdout.close()
        self.assertEqual(self.answer()["error"], 0)
        self.assertEqual(self.content(), DATA)
        self.assertEqual(self.left(), ["file"])

    def test_where_it_cannot_write(self):
        self.server.pages["/f"] = Page(DATA)
        reply = self.get("/f", path="/proc/no-such/file")
        self.assertEqual(reply["error"], 2, reply)
        self.assertIn("cannot write", reply["message"])

    def test_bad_requests(self):
        for line in (b"{}\n", b"nonsense\n", b"[1]\n", b"\xff\n"):
            self.helper.stdin.write(line)
            self.helper.stdin.flush()
            self.assertEqual(self.answer()["error"], 71)


if __name__ == "__main__":
    unittest.main()
