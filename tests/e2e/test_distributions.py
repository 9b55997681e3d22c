"""Distributions: import, export, clone, snapshot, rollback, rename, remove, two commands at once, kills at any time."""
import functools
import glob
import hashlib
import http.server
import io
import json
import os
import random
import signal
import subprocess
import tarfile
import threading
import time
import unittest

import harness

KILLS = int(os.environ.get("USL_KILLS", "30"))
BUSYBOX = "/bin/busybox"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def member(tar, name, kind=tarfile.REGTYPE, data=b"", **more):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data)
    info.mode = more.pop("mode", 0o644)
    info.mtime = more.pop("mtime", 1_600_000_000.25)
    info.pax_headers = more.pop("pax", {})
    for key, value in more.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data))


def make_archive(path, mode="w", files=20):
    """A small system of busybox with one of everything that tar holds."""
    with open(BUSYBOX, "rb") as file:
        busybox = file.read()
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as tar:
        member(tar, "./", tarfile.DIRTYPE, mode=0o755)
        for name in ("bin", "etc", "root", "dev", "var"):
            member(tar, f"./{name}", tarfile.DIRTYPE, mode=0o755)
        member(tar, "./tmp", tarfile.DIRTYPE, mode=0o1777)
        member(tar, "./bin/busybox", data=busybox, mode=0o755)
        for name in ("sh", "ls", "cat", "stat", "touch", "rm", "mkdir", "sync", "true"):
            member(tar, f"./bin/{name}", tarfile.SYMTYPE, linkname="busybox")
        member(tar, "./bin/hard", tarfile.LNKTYPE, linkname="./bin/busybox", mode=0o755)
        member(tar, "./etc/passwd", data=b"root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/:/bin/sh\n")
        member(tar, "./etc/group", data=b"root:x:0:\nme:x:1000:\n")
        member(tar, "./etc/shadow", data=b"root:*:::::::\n", mode=0o640, gid=42)
        member(tar, "./bin/su", data=b"x", mode=0o4755)
        member(tar, "./var/owned", data=b"mine", mode=0o600, uid=1000, gid=1000,
               pax={"SCHILY.xattr.user.color": "green", "SCHILY.xattr.trusted.t": "secret"})
        member(tar, "./var/link", tarfile.SYMTYPE, linkname="owned", uid=1000, gid=1000)
        member(tar, "./var/null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3)
        member(tar, "./var/fifo", tarfile.FIFOTYPE, mode=0o600, uid=5)
        member(tar, "./var/acl", data=b"x", mode=0o640,
               pax={"SCHILY.acl.access": "user::rw-,user:1000:r--,group::r--,mask::r--,other::---"})
        member(tar, "./var/\u00fcml\u00e4ut-" + "n" * 180, data=b"long")
        for i in range(files):
            member(tar, f"./var/{i}", data=bytes([i % 256]) * 5000)


def listing(path):
    """What an archive says of each member, in the order of their names."""
    members = {}
    with tarfile.open(path) as tar:
        for info in tar:
            data = tar.extractfile(info).read() if info.isreg() else b""
            pax = {key: value for key, value in info.pax_headers.items() if key.startswith("SCHILY")}
            if acl := pax.get("SCHILY.acl.access"):  # in any order, with or without the number repeated
                pax["SCHILY.acl.access"] = sorted(":".join(entry.split(":")[:3]) for entry in acl.split(","))
            data = hashlib.sha256(data).hexdigest()
            members[info.name.rstrip("/")] = (info.type, 0o777 if info.issym() else info.mode, info.uid, info.gid, info.mtime, info.linkname,
                                              info.devmajor if info.isdev() else 0, info.devminor if info.isdev() else 0,
                                              data, pax)
    return members


class DistributionsTest(harness.UslTest):
    def setUp(self):
        self.home = harness.Home()
        self.addCleanup(self.home.remove)
        self.addCleanup(self.end_instances)
        self.data = os.path.join(self.home.path, ".local/share/usl")
        self.archive = os.path.join(self.home.path, "system.tar")
        make_archive(self.archive)
        os.chmod(self.archive, 0o644)

    def path(self, name):
        return os.path.join(self.home.path, name)

    def refuse(self, result, *words):
        self.assertEqual(result.returncode, 125, result.stderr)
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def run_in(self, name, script):
        return self.check(self.usl("run", "-d", name, "--", "/bin/sh", "-c", script)).strip()

    def end_instances(self):
        """Those that wait for the next session, so that their trees can be looked at."""
        for name in self.names():
            self.usl("stop", name)

    def names(self):
        return self.check(self.usl("list", "-q")).split()

    def layers(self):
        return sorted(name for name in os.listdir(self.data + "/layers") if not name.endswith(".json"))

    def expect_tidy(self):
        """No name without its tree, and after one more command no tree without its name."""
        self.end_instances()
        self.check(self.usl("import", "tidy", self.archive))
        self.check(self.usl("remove", "tidy"))
        registry = json.loads(self.check(self.usl("list", "--json")))
        with open(self.data + "/registry.json") as file:
            raw = json.load(file)
        named = {layer for d in raw.get("distributions", []) for layer in d["layers"]}
        named |= {layer for d in raw.get("distributions", []) for s in d.get("snapshots", []) for layer in s["layers"]}
        self.assertEqual(set(self.layers()), named)
        self.assertEqual(sorted(os.listdir(self.data + "/distributions")), sorted(d["id"] for d in registry))
        self.assertEqual(os.listdir(self.data + "/tmp"), [])
        for tree in [self.data + "/layers/" + layer for layer in named] + [d["upper"] for d in registry]:
            self.assertTrue(os.path.isdir(tree), tree)
            self.check(self.usl("fsck", tree))

    def test_import_run_export_import(self):
        self.check(self.usl("import", "one", self.archive))
        self.assertEqual(self.run_in("one", "cat /var/owned; stat -c '%u %g %a' /var/owned /etc/shadow /bin/su"),
                         "mine1000 1000 600\n0 42 640\n0 0 4755")
        exported, again = self.path("exported.tar"), self.path("again.tar")
        # Untouched, from its layer alone.
        self.check(self.usl("import", "fresh", self.archive))
        self.check(self.usl("export", "fresh", exported))
        self.maxDiff = None
        self.assertEqual(listing(exported), listing(self.archive))
        self.check(self.usl("import", "two", exported))
        self.check(self.usl("export", "two", again))
        with open(exported, "rb") as first, open(again, "rb") as second:
            self.assertEqual(first.read(), second.read())
        # GNU tar understands it.
        self.assertIn("./bin/su", subprocess.run(["tar", "-tf", exported], check=True, stdout=subprocess.PIPE, text=True).stdout)
        # One layer for both imports of one archive.
        self.assertEqual(len(self.layers()), 2)
        for form, magic in (("tar.gz", b"\x1f\x8b"), ("tar.xz", b"\xfd7zXZ"), ("tar.zst", b"\x28\xb5\x2f\xfd")):
            packed = self.path("packed." + form)
            self.check(self.usl("export", "two", packed))
            with open(packed, "rb") as file:
                self.assertTrue(file.read(8).startswith(magic), form)
            self.check(self.usl("import", "packed", packed))
            self.check(self.usl("export", "packed", again))
            self.assertEqual(listing(again), listing(exported))
            self.check(self.usl("remove", "packed"))
        self.expect_tidy()

    def test_changes_are_exported_and_pipes_work(self):
        self.check(self.usl("import", "one", self.archive))
        self.run_in("one", "rm /var/1; echo new >/var/2; mkdir /var/dir; rm /bin/hard; touch /var/dir/f")
        command = [harness.USL, "export", "one", "-"]
        with open(self.path("out.tar"), "wb") as out:
            subprocess.run(harness.user_command(command), stdout=out, check=True, cwd="/", env=self.home.environment())
        members = listing(self.path("out.tar"))
        self.assertNotIn("./var/1", members)
        self.assertNotIn("./bin/hard", members)
        self.assertEqual(members["./var/2"][8], hashlib.sha256(b"new\n").hexdigest())
        self.assertIn("./var/dir/f", members)
        with open(self.path("out.tar"), "rb") as source:
            self.check(self.usl("import", "two", "-", stdin=source))
        self.assertEqual(self.run_in("two", "cat /var/2; ls /var/dir"), "new\nf")

    def test_clone_snapshot_rollback_rename_remove(self):
        self.check(self.usl("--import", "One", self.path("place"), self.archive))
        self.assertEqual(len(os.listdir(self.path("place"))), 1)
        self.run_in("one", "echo first >/root/state")
        self.assertEqual(self.check(self.usl("snapshot", "one", "before")).strip(), "before")
        self.run_in("one", "echo second >/root/state; rm /var/3")
        self.check(self.usl("clone", "one", "two"))
        self.run_in("two", "echo third >/root/state")
        self.assertEqual(self.run_in("one", "cat /root/state; ls /var/3 2>/dev/null; true"), "second")
        self.assertEqual(self.run_in("two", "cat /root/state"), "third")
        self.assertEqual(self.check(self.usl("rollback", "one")).strip(), "before")
        self.assertEqual(self.run_in("one", "cat /root/state; ls /var/3"), "first\n/var/3")
        self.assertEqual(self.run_in("two", "cat /root/state; ls /var/3 2>/dev/null; true"), "third")
        self.assertIn("before", self.check(self.usl("snapshot", "one", "--list")))
        self.check(self.usl("rename", "one", "Eins"))
        self.assertEqual(self.names(), ["Eins", "two"])
        self.assertIn("Eins (Default)", self.check(self.usl("-l")))
        self.check(self.usl("--set-default", "TWO"))
        self.assertIn("* two", self.check(self.usl("--list", "-v")))
        self.check(self.usl("snapshot", "eins", "--delete", "before"))
        self.check(self.usl("--unregister", "eins"))
        self.assertEqual(self.run_in("two", "cat /root/state"), "third")
        self.assertEqual(os.listdir(self.path("place")), [])
        self.expect_tidy()
        self.check(self.usl("remove", "two"))
        self.assertEqual(self.names(), [])
        self.assertEqual(self.layers(), [])

    def test_in_place(self):
        tree = self.path("tree")
        os.mkdir(tree)
        subprocess.run(["tar", "-C", tree, "--no-same-owner", "--exclude=./var/null", "-xf", self.archive], check=True)
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", "-h", f"{harness.UID}:{harness.GID}", tree], check=True)
        self.check(self.usl("--import-in-place", "there", tree))
        self.run_in("there", "echo here >/root/state")
        with open(tree + "/root/state") as file:
            self.assertEqual(file.read(), "here\n")
        self.refuse(self.usl("clone", "there", "copy"), "in place", "export")
        self.check(self.usl("remove", "there"))
        self.assertTrue(os.path.exists(tree + "/root/state"))

    def test_refusals(self):
        self.refuse(self.usl("run", "-d", "nobody", "true"), "nobody", "usl install")
        self.refuse(self.usl("import", "../evil", self.archive), "../evil", "letters")
        self.refuse(self.usl("import", "one", self.path("missing.tar")), "missing.tar")
        self.refuse(self.usl("import", "one", self.home.path), "directory")
        self.check(self.usl("import", "one", self.archive))
        self.refuse(self.usl("import", "ONE", self.archive), "already", "usl remove one")
        self.refuse(self.usl("rollback", "one"), "snapshot")
        self.refuse(self.usl("install", "no-such-thing"), "usl list --online")
        with open(self.archive, "rb") as file:
            data = file.read()
        for cut in (0, 100, 512, len(data) // 2, len(data) - 10240 - 100):
            with open(self.path("cut.tar"), "wb") as file:
                file.write(data[:cut])
            self.refuse(self.usl("import", "cut", self.path("cut.tar")), "cut.tar")
        with open(self.data + "/registry.json") as file:
            text = file.read()
        with open(self.data + "/registry.json", "w") as file:
            file.write(text[:-20])
        self.refuse(self.usl("list"), self.data + "/registry.json")
        self.refuse(self.usl("remove", "one"), self.data + "/registry.json")
        with open(self.data + "/registry.json", "w") as file:
            file.write(text)
        self.assertEqual(self.names(), ["one"])
        self.expect_tidy()

    def test_a_lost_registry_costs_no_files(self):
        self.check(self.usl("import", "one", self.archive))
        self.run_in("one", "echo kept >/root/state")
        os.rename(self.data + "/registry.json", self.path("lost.json"))
        make_archive(self.path("other.tar"), files=3)
        self.check(self.usl("import", "two", self.path("other.tar")))
        self.check(self.usl("remove", "two"))
        self.check(self.usl("import", "three", self.path("other.tar")))
        os.rename(self.path("lost.json"), self.data + "/registry.json")
        self.assertEqual(self.run_in("one", "cat /root/state /var/owned"), "kept\nmine")
        self.expect_tidy()

    def test_start_keeps_one_that_runs_already(self):
        self.check(self.usl("import", "one", self.archive))
        self.check(self.usl("set", "one", "instance.idle_timeout", "0"))
        process = subprocess.Popen(harness.user_command([harness.USL, "run", "-d", "one", "--", "/bin/sh", "-c", "echo up; cat"]),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/", env=self.home.environment())
        self.assertEqual(process.stdout.readline(), "up\n")
        supervisor = json.loads(self.check(self.usl("status", "--json")))["running"][0]["supervisor"]
        self.check(self.usl("start", "one"))
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
        self.assertEqual(self.run_in("one", "echo still here"), "still here")
        self.assertEqual(json.loads(self.check(self.usl("status", "--json")))["running"][0]["supervisor"], supervisor)
        self.refuse(self.usl("snapshot", "one"), "in use")
        self.check(self.usl("stop", "one"))

    def test_a_relative_root(self):
        self.check(self.usl("import", "--location", self.path("."), "one", self.archive))
        tree = glob.glob(self.path("usl-*"))[0]
        result = subprocess.run(harness.user_command([harness.USL, "run", "--rootfs", os.path.basename(tree), "--", "true"]),
                                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=self.home.path,
                                env=self.home.environment())
        # It is found; an upper tree without its layers has no programs.
        self.assertNotIn("does not exist", result.stderr)
        self.assertIn(tree, result.stderr)

    def test_running_distributions_are_left_alone(self):
        self.check(self.usl("import", "one", self.archive))
        process = subprocess.Popen(harness.user_command([harness.USL, "run", "-d", "one", "--", "/bin/sh", "-c", "echo up; cat"]),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/", env=self.home.environment())
        try:
            self.assertEqual(process.stdout.readline(), "up\n")
            for command in (["remove", "one"], ["clone", "one", "two"], ["snapshot", "one"], ["rename", "one", "x"],
                            ["export", "one", self.path("x.tar")]):
                self.refuse(self.usl(*command), "in use")
            self.assertIn("Running", self.check(self.usl("list", "-v")))
            self.assertFalse(glob.glob(self.path("x.tar*")))
        finally:
            process.stdin.close()
            process.wait(30)
            process.stdout.close()
        # Nobody uses it any more, so it makes way.
        self.check(self.usl("snapshot", "one"))
        self.assertIn("Stopped", self.check(self.usl("list", "-v")))

    def start(self, *arguments):
        return subprocess.Popen(harness.user_command([harness.USL, *arguments]), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/",
                                env=self.home.environment())

    def test_two_installs_of_one_name(self):
        processes = [self.start("install", self.archive, "--name", "same", "-q") for _ in range(2)]
        errors = [process.communicate(timeout=60)[1] for process in processes]
        statuses = sorted(process.returncode for process in processes)
        self.assertEqual(statuses, [0, 125], errors)
        self.assertIn("already", "".join(errors))
        self.assertEqual(self.names(), ["same"])
        self.expect_tidy()

    def test_interrupts_leave_nothing(self):
        make_archive(self.archive, files=3000)
        process = self.start("import", "one", self.archive)
        deadline = time.monotonic() + 30
        while not glob.glob(self.data + "/tmp/*/var/1*") and process.poll() is None:
            self.assertLess(time.monotonic(), deadline)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, 130, error)
        self.assertIn("interrupted", error)
        self.assertEqual(os.listdir(self.data + "/tmp"), [])
        self.assertEqual(os.listdir(self.data + "/layers"), [])
        self.assertEqual(self.names(), [])

    def serve(self, directory):
        """An address on the loopback interface where the files of a directory are."""
        handler = functools.partial(QuietHandler, directory=directory)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def stop():
            server.shutdown()
            server.server_close()
            thread.join()
        self.addCleanup(stop)
        return f"http://127.0.0.1:{server.server_port}"

    def write_catalogue(self, text):
        directory = self.path(".config/usl")
        os.makedirs(directory, exist_ok=True)
        with open(directory + "/catalogue.json", "w") as file:
            file.write(text)

    @unittest.skipUnless(os.path.exists(os.path.join(os.path.dirname(harness.USL), "usl-fetch")), "usl-fetch is not built")
    def test_catalogue(self):
        address = self.serve(self.home.path)
        with open(self.archive, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        entry = {"name": "tiny", "description": "a small one", "url": address + "/system.tar", "sha256": digest}
        self.write_catalogue(json.dumps({"version": 1, "distributions": [entry]}))
        environment = self.home.environment(no_proxy="127.0.0.1")
        self.assertIn("a small one", self.check(self.usl("list", "--online")))
        self.check(self.usl("install", "tiny", "--name", "mine", environment=environment))
        self.assertEqual(self.names(), ["mine"])
        self.assertIn("busybox", self.run_in("mine", "ls /bin"))
        entry["sha256"] = "0" * 64
        self.write_catalogue(json.dumps({"version": 1, "distributions": [entry]}))
        result = self.usl("install", "tiny", "-q", environment=environment)
        self.refuse(result, "SHA-256")
        self.assertEqual(self.names(), ["mine"])
        for wrong in ("garbage", "[]", json.dumps({"version": 2}), json.dumps({"version": 1, "distributions": [{"name": "x"}]})):
            self.write_catalogue(wrong)
            self.refuse(self.usl("install", "tiny", environment=environment), "catalogue.json")

    def test_full_disk(self):
        limited = ["prlimit", "--fsize=100000", harness.USL]
        for command in (["import", "one", self.archive], ["install", self.archive]):
            result = subprocess.run(harness.user_command(limited + command), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                    text=True, cwd="/", env=self.home.environment())
            self.refuse(result, "busybox", "File too large")
        self.assertEqual(os.listdir(self.data + "/tmp"), [])
        self.check(self.usl("import", "one", self.archive))
        result = subprocess.run(harness.user_command(limited + ["export", "one", self.path("out.tar")]), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, cwd="/", env=self.home.environment())
        self.refuse(result, "out.tar")
        self.assertFalse(glob.glob(self.path("out.tar*")))

    def test_kills(self):
        """Whatever is killed, whenever: the next command finds all in order."""
        seed = int(os.environ.get("USL_SEED", "1"))
        generator = random.Random(seed)
        started = time.monotonic()
        self.check(self.usl("import", "base", self.archive))
        longest = time.monotonic() - started
        self.run_in("base", "echo kept >/root/state")
        expected = self.run_in("base", "cat /root/state")
        commands = [["import", "other", self.archive], ["clone", "base", "copy"], ["remove", "copy"], ["rename", "base", "moved"],
                    ["rename", "moved", "base"], ["snapshot", "base"], ["rollback", "base"], ["remove", "other"],
                    ["install", self.archive, "--name", "other"]]
        for _ in range(KILLS):
            command = generator.choice(commands)
            started = time.monotonic()
            process = self.start(*command)
            delay = generator.uniform(0, longest * generator.choice((0.3, 1.2)))
            while time.monotonic() - started < delay and process.poll() is None:
                time.sleep(0.001)
            process.kill()
            process.communicate()
            # A snapshot keeps what was there; a rollback goes back to one of those.
            names = self.names()
            self.assertTrue(("base" in names) != ("moved" in names), names)
            base = "base" if "base" in names else "moved"
            self.assertEqual(self.run_in(base, "cat /root/state"), expected, f"seed {seed}, after {command}")
            for name in set(names) - {base}:
                self.assertIn("busybox", self.run_in(name, "ls /bin"))
        self.expect_tidy()


if __name__ == "__main__":
    unittest.main()
