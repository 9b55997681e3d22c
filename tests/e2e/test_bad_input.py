"""What goes wrong gets one clear line and status 125, and nothing is left behind."""
import os
import pathlib
import struct
import subprocess
import tempfile
import time
import unittest

from harness import GID, ORDINARY_USER, UID, USL, UslTest, user_command


def processes_of_usl():
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() in ("usl-kernel", "usl-init"):
                found.add(path.parent.name)
        except OSError:
            continue
    return found


class BadInput(UslTest):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="bad-", dir=self.home.path)
        os.chown(self.directory, UID, GID)

    def refused(self, *arguments, says):
        result = self.usl(*arguments)
        self.assertEqual(result.returncode, 125, result.stderr)
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("usl: "), result.stderr)
        for text in says:
            self.assertIn(text, result.stderr)

    def test_roots(self):
        missing = os.path.join(self.directory, "missing")
        self.refused("run", "--rootfs", missing, "--", "true", says=[missing, "does not exist"])
        empty = os.path.join(self.directory, "empty")
        os.mkdir(empty)
        os.chown(empty, UID, GID)
        self.refused("run", "--rootfs", empty, "--", "true", says=[empty, "is empty"])
        self.refused("run", "--rootfs", "/etc/passwd", "--", "true", says=["not a directory"])

    def test_root_that_cannot_be_read(self):
        closed = os.path.join(self.directory, "closed")
        os.mkdir(closed, 0o000)
        os.chown(closed, UID, GID)
        self.refused("run", "--rootfs", closed, "--", "true", says=["not readable"])
        os.chmod(closed, 0o700)

    def test_root_of_another_architecture(self):
        tree = os.path.join(self.directory, "arm")
        os.makedirs(os.path.join(tree, "bin"))
        with open(os.path.join(tree, "bin/sh"), "wb") as shell:
            shell.write(b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 183, 1) + bytes(40))
        os.chmod(os.path.join(tree, "bin/sh"), 0o755)
        for path in (tree, os.path.join(tree, "bin"), os.path.join(tree, "bin/sh")):
            os.chown(path, UID, GID)
        self.refused("run", "--rootfs", tree, "--", "sh", says=["arm64"])

    def test_options(self):
        for arguments in (["run", "--no-such-option"], ["nonsense"], ["run", "--network", "moon", "--", "true"],
                          ["run", "-v", "nocolon", "--", "true"], ["run", "-u", "no-such-user", "--", "true"]):
            result = self.usl(*arguments)
            self.assertEqual(result.returncode, 125, (arguments, result.stderr))
            self.assertTrue(result.stderr.startswith("usl: "), result.stderr)

    def test_commands(self):
        result = self.usl("run", "--", "/no/such/program")
        self.assertEqual(result.returncode, 127, result.stderr)
        result = self.usl("run", "--", "/etc")
        self.assertEqual(result.returncode, 126, result.stderr)

    def test_usl_inside_usl(self):
        result = self.usl("run", "-v", f"{USL}:/opt/usl:ro", "--", "/opt/usl", "run", "--", "true")
        self.assertEqual(result.returncode, 125, result.stderr)
        self.assertIn("inside USL", result.stderr)

    def test_corrupt_programs(self):
        program = bytearray(pathlib.Path("/bin/true").read_bytes())
        offsets = [4, 16, 18, 20, 24, 32, 40, 52, 54, 56, 58, 64 + 8, 64 + 16, 64 + 32, 64 + 40]
        names = []
        for offset in offsets:
            for value in (0x00, 0xFF, 0x7F):
                corrupt = bytearray(program)
                corrupt[offset:offset + 8 if offset >= 24 and offset < 52 or offset > 64 else offset + 2] = bytes([value]) * (
                    8 if offset >= 24 and offset < 52 or offset > 64 else 2)
                names.append(f"c{offset}-{value}")
                path = os.path.join(self.directory, names[-1])
                pathlib.Path(path).write_bytes(corrupt)
                os.chmod(path, 0o755)
        result = self.usl("run", "-v", f"{self.directory}:/corrupt:ro", "--", "sh", "-c",
                          "for f in /corrupt/c*; do $f 2>/dev/null; echo $?; done; echo survived")
        self.assertEqual(result.returncode, 0, result.stderr)
        statuses = result.stdout.split()
        self.assertEqual(statuses[-1], "survived")
        self.assertEqual(len(statuses), len(names) + 1)
        self.assertTrue(any(int(status) != 0 for status in statuses[:-1]))

    def test_nothing_is_left(self):
        before = (processes_of_usl(), set(os.listdir("/dev/shm")))
        self.check(self.usl("run", "--", "sh", "-c", "(setsid sh -c 'trap \"\" TERM HUP; sleep 1000' &) ; sleep 1000 & exit 0"))
        after = (processes_of_usl(), set(os.listdir("/dev/shm")))
        self.assertLessEqual(after[0], before[0])
        self.assertLessEqual({name for name in after[1] if name.startswith("usl-tmpfs")}, before[1])
        running = os.path.join(self.home.path, ".local/share/usl/running")
        self.assertEqual(os.listdir(running) if os.path.isdir(running) else [], [])

    def killed(self, victim_of):
        """SIGKILLs a process of the instance; no guest may outlive it."""
        mark = f"{time.monotonic_ns() % 10**9 + 10**9}"
        process = subprocess.Popen(user_command([USL, "run", "--", "sh", "-c", f"setsid sleep {mark} & echo started; sleep {mark}"]),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.home.environment(), cwd="/")
        self.assertEqual(process.stdout.readline(), "started\n")
        victim = victim_of(process)
        os.kill(victim, 9)
        process.communicate(timeout=60)
        end = time.monotonic() + 20
        while True:
            left = [path for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in self.read(path)]
            if not left or time.monotonic() > end:
                break
            time.sleep(0.05)
        self.assertEqual(left, [])
        return process.returncode

    @staticmethod
    def read(path):
        try:
            return path.read_bytes()
        except OSError:
            return b""

    def kernel_of(self, process):
        """The kernel process is the supervisor's child of that name."""
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "usl-kernel":
                return int(child)
        raise AssertionError("no kernel process")

    def test_killed_supervisor(self):
        self.assertEqual(self.killed(lambda process: process.pid), -9)

    def test_killed_kernel(self):
        self.assertEqual(self.killed(self.kernel_of), 125)


if __name__ == "__main__":
    unittest.main(verbosity=2)
