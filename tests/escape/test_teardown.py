"""The end of an instance: whatever its processes do, none outlives it, and nothing of it is left on the host.

Also, from outside: which rights and namespaces a guest's processes really have.
"""
import contextlib
import os
import pathlib
import secrets
import signal
import subprocess
import time
import unittest

from harness_escape import GID, Place, UID, USL, user_command

TIMEOUT = 10


def processes_with(word):
    """Pids of processes that have `word` in their command line: those of a guest keep it over forks."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if word.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def parent_of(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(pid):
    return [int(child) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()]


def host_ipc():
    """The ids of the ordinary user's System V objects without a key, as USL makes them."""
    ids = set()
    for kind in ("shm", "sem", "msg"):
        lines = [line.split() for line in pathlib.Path(f"/proc/sysvipc/{kind}").read_text().splitlines()]
        owner = lines[0].index("uid")
        ids |= {(kind, line[1]) for line in lines[1:] if line[owner] == str(UID) and line[0] == "0"}
    return ids


class Teardown(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.word = secrets.token_hex(16)
        self.ipc = host_ipc()

    def start(self, how, view=False):
        """An instance whose daemons run; its `usl run` process."""
        program = "/programs/escape_attacks" if view else "/bin/attacks"
        command = self.place.usl_command(program, "teardown.daemons", f"how={how}", f"word={self.word}", view=view)
        process = subprocess.Popen(user_command(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, cwd="/", env=self.place.environment())
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n")
        self.assertGreater(len(self.guests(process)), 5, "the daemons are there")
        process.stdin.close()  # the program that is to end waits for this
        return process

    def guests(self, process):
        """What has the word in its command line but `usl run` itself and the kernel process."""
        own = {process.pid, *(children_of(process.pid) if process.poll() is None else [])}
        return [pid for pid in processes_with(self.word) if pid not in own]

    def expect_nothing_left(self, runtime_files=True, ipc=True):
        deadline = time.monotonic() + TIMEOUT
        while processes_with(self.word) and time.monotonic() < deadline:
            time.sleep(0.02)
        left = processes_with(self.word)
        for pid in left:  # not to disturb what comes after
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.assertEqual(left, [], "guest processes outlive their instance")
        if runtime_files:
            self.assertEqual([str(path) for path in self.place.runtime.rglob("*") if path.is_file()], [])
        if ipc:
            while host_ipc() - self.ipc and time.monotonic() < deadline:  # somebody else's may come and go
                time.sleep(0.02)
            self.assertEqual(host_ipc() - self.ipc, set(), "System V objects are left")

    def test_ends_with_its_first_process(self):
        for view in (False, True):
            process = self.start("end", view)
            self.assertEqual(process.wait(TIMEOUT), 0)
            # At once: whoever waits for `usl run` may rely on it.
            self.assertEqual(processes_with(self.word), [])
            self.expect_nothing_left()

    def test_usl_run_is_killed(self):
        process = self.start("stay")
        process.kill()
        process.wait(TIMEOUT)
        self.expect_nothing_left(runtime_files=False, ipc=False)
        # What the killed one left is cleaned by the next.
        self.assertEqual(self.place.usl("/bin/true").returncode, 0)

    def test_usl_run_gets_signals(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            process = self.start("stay")
            process.send_signal(number)
            # The session decides about it; here it ignores everything, so a second look is by force.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
            process.kill()
            process.wait(TIMEOUT)
            self.expect_nothing_left(runtime_files=False, ipc=False)

    def test_the_kernel_is_killed(self):
        process = self.start("stay")
        kernel, = children_of(process.pid)
        os.kill(kernel, signal.SIGKILL)
        self.assertNotEqual(process.wait(TIMEOUT), 0)
        self.assertEqual(processes_with(self.word), [])
        self.assertIn("kernel", process.stderr.read())
        self.expect_nothing_left()

    def test_what_guests_are_on_the_host(self):
        """Root's set-id program of the guest: on the host an ordinary process of the user without any right or namespace."""
        setup = self.place.usl("/bin/attacks", "--setup")
        self.assertEqual(setup.returncode, 0, setup.stdout)
        process = subprocess.Popen(
            user_command(self.place.usl_command("/bin/suid", "privilege.probe", "how=wait", self.word, options=["-u", "1000"])),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", env=self.place.environment())
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + TIMEOUT
        guests = []
        while not guests and time.monotonic() < deadline:
            guests = [pid for pid in self.guests(process) if b"privilege.probe" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                      and pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/bin/suid")]
        self.assertEqual(len(guests), 1)
        status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{guests[0]}/status").read_text().splitlines()
                      if ":\t" in line)
        self.assertEqual(status["Uid"].split(), [str(UID)] * 4)
        self.assertEqual(status["Gid"].split(), [str(GID)] * 4)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "2")
        self.assertEqual({status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}, {"0" * 16})
        for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"):
            self.assertEqual(os.readlink(f"/proc/{guests[0]}/ns/{name}"), os.readlink(f"/proc/self/ns/{name}"))
        # The native directory is empty, so that what escapes into it meets nothing; core files are off.
        self.assertEqual(os.listdir(f"/proc/{guests[0]}/cwd"), [])
        limits = pathlib.Path(f"/proc/{guests[0]}/limits").read_text()
        self.assertRegex(limits, r"Max core file size +0 +")
        self.assertEqual(process.wait(TIMEOUT), 10)
        self.expect_nothing_left()


if __name__ == "__main__":
    unittest.main(verbosity=2)
