"""Instances that can be joined: start, join, end, and what happens when a part of them is killed."""
import fcntl
import json
import os
import pathlib
import signal
import struct
import subprocess
import termios
import time
import unittest

from harness import GID, UID, USL, UslTest, user_command
from test_terminal import Session

NAME = "joined"


def children_of(pid):
    """The numbers of the processes whose parent is `pid`."""
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if int(fields[1]) == pid:
            found.append(int(status.parent.name))
    return found


def is_alive(pid):
    """Whether it runs: one that nobody has waited for yet does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Instances(UslTest):
    def setUp(self):
        self.runtime = os.path.join(self.home.path, "run")
        if not os.path.isdir(self.runtime):
            os.mkdir(self.runtime, 0o700)
            if os.getuid() == 0:
                os.chown(self.runtime, UID, GID)
        self.environment = self.home.environment(XDG_RUNTIME_DIR=self.runtime, HOME=self.home.path)

    def tearDown(self):
        self.run_usl("shutdown", "--force")
        self.assertEqual(self.places(), [], "nothing is left behind")

    def places(self):
        root = pathlib.Path(self.runtime) / "usl"
        return sorted(str(path) for path in root.rglob("*")) if root.exists() else []

    def run_usl(self, *arguments, **options):
        return self.usl(*arguments, environment=self.environment, **options)

    def start(self, *command):
        """A detached instance of the host's view whose first session is the command."""
        self.check(self.run_usl("run", "--detach", "--name", NAME, "--", *(command or ("sleep", "1000"))))

    def exec(self, *command, options=(), **more):
        return self.run_usl("exec", *options, NAME, "--", *command, **more)

    def state(self):
        instances = json.loads(self.check(self.run_usl("status", "--json")))["running"]
        return instances[0] if instances else None

    def popen(self, *arguments, **options):
        process = subprocess.Popen(user_command([USL, *arguments]), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=self.environment, cwd="/", text=True, **options)
        self.addCleanup(lambda: (process.poll() is None and process.kill(), process.communicate()))
        return process

    def await_end(self, seconds=20):
        """Until the instance's directory is gone."""
        end = time.monotonic() + seconds
        while self.places():
            self.assertLess(time.monotonic(), end, self.places())
            time.sleep(0.02)

    def test_joins_with_exit_status_streams_and_environment(self):
        self.start()
        self.assertEqual(self.exec("sh", "-c", "exit 42").returncode, 42)
        self.assertEqual(self.exec("sh", "-c", "kill -TERM $$").returncode, 143)
        self.assertEqual(self.exec("no-such-command").returncode, 127)
        result = self.exec("sh", "-c", "cat; echo err >&2; echo $A; pwd; id -un", input="in\n",
                           options=["-e", "A=1", "-w", "/usr", "-u", "daemon"])
        self.assertEqual(self.check(result), "in\n1\n/usr\ndaemon\n")
        self.assertEqual(result.stderr, "err\n")
        result = self.exec("true", options=["-u", "nobody-of-that-name"])
        self.assertEqual(result.returncode, 125)
        self.assertIn("no user", result.stderr)
        # One instance: what one session writes the next reads.
        self.check(self.exec("sh", "-c", "echo kept >/root/file"))
        self.assertEqual(self.check(self.exec("cat", "/root/file")), "kept\n")

    def test_the_detached_command_is_the_life_and_its_output_the_log(self):
        self.check(self.run_usl("run", "--detach", "--name", NAME, "--", "sh", "-c", "echo said; sleep 1; exit 3"))
        self.await_end()
        log = self.check(self.run_usl("logs", NAME))
        self.assertIn("said\n", log)
        self.assertIn("ended with status 3", log)
        self.assertEqual(self.exec("true").returncode, 125)

    def test_here_is_where_the_user_was(self):
        """The detached supervisor is in the host's root: that must not be what the guest gets."""
        here = os.path.join(self.home.path, "here")
        os.mkdir(here)
        pathlib.Path(here, "file").write_text("mine\n")
        subprocess.run(user_command([USL, "run", "--detach", "--name", NAME, "--here", "--", "sleep", "1000"]), check=True,
                       stdin=subprocess.DEVNULL, env=self.environment, cwd=here)
        self.assertEqual(self.check(self.exec("cat", here + "/file")), "mine\n")
        for outside in ("/", os.path.dirname(here)):
            result = self.exec("sh", "-c", f"mkdir -p /mnt/x && mount -t drvfs {outside} /mnt/x")
            self.assertNotEqual(result.returncode, 0, outside)
        self.check(self.exec("sh", "-c", f"mount -t drvfs {here} /mnt/x && grep -q mine /mnt/x/file"))

    def test_a_name_is_taken_once(self):
        self.start()
        result = self.run_usl("run", "--detach", "--name", NAME, "--", "true")
        self.assertEqual(result.returncode, 125)
        self.assertIn("is taken", result.stderr)

    def test_a_start_that_fails_is_told(self):
        result = self.run_usl("run", "--detach", "--name", NAME, "--rootfs", "/no/such/tree", "--", "true")
        self.assertEqual(result.returncode, 125)
        self.assertIn("/no/such/tree", result.stderr)

    def test_joining_is_quick(self):
        self.start()
        times = []
        for _ in range(15):
            begin = time.monotonic()
            self.check(self.exec("/bin/true"))
            times.append(time.monotonic() - begin)
        print(f"usl exec of /bin/true: {min(times) * 1000:.1f} ms at best, {sorted(times)[7] * 1000:.1f} ms in the middle")

    def test_signals_reach_the_session(self):
        self.start()
        process = self.popen("exec", NAME, "--", "sh", "-c", "trap 'echo got; exit 7' INT; echo up; while :; do sleep 0.1; done")
        self.assertEqual(process.stdout.readline(), "up\n")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(20), 7)
        self.assertEqual(process.stdout.read(), "got\n")

    def test_a_killed_client_hangs_its_session_up(self):
        self.start()
        process = self.popen("exec", NAME, "--", "sh", "-c", "trap 'echo hung up >/root/hup; exit' HUP; echo up; while :; do sleep 0.1; done")
        self.assertEqual(process.stdout.readline(), "up\n")
        # The user command may stand before it: the client is the one that the terminal's user started last.
        for pid in [process.pid, *children_of(process.pid)]:
            os.kill(pid, signal.SIGKILL)
        self.check(self.exec("sh", "-c", "for i in $(seq 100); do [ -e /root/hup ] && exit 0; sleep 0.1; done; exit 1"))

    def test_a_killed_kernel_is_told_and_leaves_nothing(self):
        self.start()
        process = self.popen("exec", NAME, "--", "sh", "-c", "echo up; sleep 1000")
        self.assertEqual(process.stdout.readline(), "up\n")
        os.kill(self.state()["kernel"], signal.SIGKILL)
        self.assertEqual(process.wait(20), 125)
        self.assertIn("killed by signal 9", process.stderr.read())
        self.await_end()
        self.start()
        self.check(self.exec("true"))

    def test_a_killed_supervisor_is_told_and_leaves_nothing(self):
        self.start()
        process = self.popen("exec", NAME, "--", "sh", "-c", "echo up; sleep 1000")
        self.assertEqual(process.stdout.readline(), "up\n")
        state = self.state()
        os.kill(state["supervisor"], signal.SIGKILL)
        self.assertEqual(process.wait(20), 125)
        self.assertIn("ended unexpectedly", process.stderr.read())
        # The next one waits for what is left of the last.
        self.start()
        self.assertFalse(is_alive(state["kernel"]))
        self.check(self.exec("true"))

    def test_stop_ends_in_order_and_kill_at_once(self):
        self.start()
        process = self.popen("exec", NAME, "--", "sh", "-c", "trap 'echo term; exit 9' TERM; trap '' HUP; echo up; while :; do sleep 0.1; done")
        self.assertEqual(process.stdout.readline(), "up\n")
        self.check(self.run_usl("stop", NAME))
        self.assertEqual(process.wait(20), 9)
        self.assertEqual(process.stdout.read(), "term\n")
        self.assertEqual(self.places(), [])
        self.start()
        process = self.popen("exec", NAME, "--", "sh", "-c", "trap '' TERM HUP; echo up; while :; do sleep 0.1; done")
        self.assertEqual(process.stdout.readline(), "up\n")
        self.check(self.run_usl("kill", NAME))
        self.assertEqual(process.wait(20), 137)

    def test_what_runs_is_shown(self):
        self.start()
        self.check(self.exec("ls", "/usr"))
        processes = json.loads(self.check(self.run_usl("ps", "--json")))[0]["processes"]
        self.assertTrue(any(one["command"] == "sleep 1000" for one in processes), processes)
        stats = json.loads(self.check(self.run_usl("stats", NAME, "--json")))[0]
        self.assertGreater(stats["served_calls"], 10)
        self.assertEqual(stats["sessions"], 1)

    def test_hostile_messages_end_their_connection_only(self):
        self.start()
        # As the user, from outside: garbage, a truncated packet, a launch without descriptors, one of lies.
        script = """
import glob, socket, struct, os
path = glob.glob(os.environ["XDG_RUNTIME_DIR"] + "/usl/instances/*/socket")[0]
def packet(kind, session=0, value=0, size=0, magic=0x434C5355, version=2):
    return struct.pack("<IHHIiQ", magic, version, kind, session, value, size)
null = os.open("/dev/null", os.O_RDWR)
memory = os.memfd_create("x")
os.write(memory, os.urandom(4096))
fifo = os.pipe()[0]
attempts = [(b"", []), (b"x", []), (os.urandom(24), []), (os.urandom(5000), []), (packet(1, 1, 0, 4096), []),
            (packet(1, 1, 0, 4096), [null, null, null, memory]), (packet(1, 1, 0, 4096), [null, null, null, fifo]),
            (packet(1, 1, 0, 1 << 40), [null] * 4), (packet(16, 1, 0), []), (packet(48, 1), [null]),
            (packet(4, 0, 0, 4096), [memory]), (packet(3, 0, -5), []), (packet(2, 1, 9), []), (packet(1, 1, 0, 64), [null] * 200)]
for data, fds in attempts:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(path)
    s.settimeout(5)
    try:
        socket.send_fds(s, [data or b"\\0"], fds)
        s.shutdown(socket.SHUT_WR)
        assert s.recv(100) == b"", "answered"
    except (BrokenPipeError, ConnectionResetError):
        pass
    s.close()
"""
        result = subprocess.run(user_command(["python3", "-c", script]), env=self.environment, capture_output=True, text=True,
                                timeout=60, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.check(self.exec("true"))

    def terminal(self, *command, expect="ready> "):
        """A command in a pty in the running instance; a shell where there is none."""
        command = command or ("bash", "--norc", "--noprofile")
        session = Session(self.home, "-e", "PS1=ready> ", NAME, "--", *command, subcommand="exec",
                          environment={**self.environment, "TERM": "xterm"})
        self.addCleanup(session.close)
        session.expect(expect)
        return session

    def test_a_terminal_with_job_control(self):
        self.start()
        session = self.terminal()
        session.type("tty; stty size; stat -c %U $(tty)\n")
        session.expect(r"/dev/pts/\d+\s")
        session.expect("30 100")
        session.expect(r"root\s")
        session.expect("ready> ")
        session.type("trap 'echo changed $(stty size)' WINCH\n")
        session.expect("ready> ")
        fcntl.ioctl(session.master, termios.TIOCSWINSZ, struct.pack("HHHH", 41, 123, 0, 0))
        session.type("\n")
        session.expect("changed 41 123")
        session.type("sh -c 'echo be''gun; exec sleep 1000'\n")
        session.expect("begun")
        session.type("\x03")
        session.expect("ready> ")
        session.type("echo status $?\n")
        session.expect("status 130")
        session.type("sh -c 'echo be''gun; exec sleep 1000'\n")
        session.expect("begun")
        session.type("\x1a")
        session.expect("Stopped")
        session.expect("ready> ")
        session.type("fg\n")
        session.expect("sleep 1000")
        session.type("\x03")
        session.expect("ready> ")
        session.type("exit 9\n")
        self.assertEqual(session.process.wait(60), 9)
        self.assertEqual(termios.tcgetattr(session.slave)[:4], session.before[:4])

    def test_a_terminal_that_vanishes_hangs_up(self):
        self.start()
        session = self.terminal("sh", "-c", "trap 'echo >/root/hup; exit' HUP; echo trapped; while :; do sleep 0.1; done",
                                expect="trapped")
        for pid in [session.process.pid, *children_of(session.process.pid)]:
            os.kill(pid, signal.SIGKILL)
        self.check(self.exec("sh", "-c", "for i in $(seq 100); do [ -e /root/hup ] && exit 0; sleep 0.1; done; exit 1"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
