"""A session in a terminal: a pty of its own, window size, job control keys, exit status, the terminal restored."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from harness import USL, UslTest, user_command


class Session:
    """usl run in a pty, driven like a person would."""

    def __init__(self, home, *command, size=(30, 100), subcommand="run", environment=None):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.text = ""

        def own_terminal():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(user_command([USL, subcommand, *command]), stdin=slave, stdout=slave, stderr=slave,
                                        preexec_fn=own_terminal, cwd="/",
                                        env=environment or home.environment(TERM="xterm"))

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, pattern, seconds=60):
        """Reads until the pattern appears; the text before it is dropped."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.text)
            if found:
                self.text = self.text[found.end():]
                return found
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                raise AssertionError(f"no {pattern!r} in {self.text[-2000:]!r}")
            try:
                self.text += os.read(self.master, 4096).decode(errors="replace")
            except OSError:
                raise AssertionError(f"the session ended without {pattern!r}: {self.text[-2000:]!r}") from None

    def hang_up(self):
        """As when its window is closed."""
        os.close(self.master)
        self.master = -1

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.master >= 0:
            os.close(self.master)
        os.close(self.slave)


class Terminal(UslTest):
    def start(self, *command, **options):
        session = Session(self.home, *command, **options)
        self.addCleanup(session.close)
        return session

    def shell_session(self, **options):
        session = self.start("-e", "PS1=ready> ", "--", "bash", "--norc", "--noprofile", **options)
        session.expect("ready> ")
        return session

    def test_is_a_terminal_of_its_own(self):
        session = self.shell_session(size=(33, 77))
        session.type("tty; stty size; [ -t 0 ] && [ -t 1 ] && echo both\n")
        session.expect(r"/dev/pts/\d+\s")
        session.expect("33 77")
        session.expect("both")
        session.type("exit 9\n")
        self.assertEqual(session.process.wait(60), 9)
        self.assertEqual(termios.tcgetattr(session.slave)[:4], session.before[:4])

    def test_window_size_follows(self):
        session = self.shell_session()
        session.type("trap 'echo changed $(stty size)' WINCH\n")
        session.expect("ready> ")
        fcntl.ioctl(session.master, termios.TIOCSWINSZ, struct.pack("HHHH", 41, 123, 0, 0))
        session.type("\n")
        session.expect("changed 41 123")

    def test_interrupt(self):
        session = self.shell_session()
        session.type("sleep 1000; echo status $?\n")
        time.sleep(0.5)
        session.type("\x03")
        session.expect("ready> ")
        session.type("echo $?\n")
        session.expect("130")

    def test_interrupt_of_a_served_call(self):
        session = self.shell_session()
        session.type("mkfifo /tmp/fifo; cat /tmp/fifo\n")
        time.sleep(0.5)
        session.type("\x03")
        session.expect("ready> ")
        session.type("echo $?\n")
        session.expect("130")

    def test_suspend_and_resume(self):
        session = self.shell_session()
        session.type("sleep 1000\n")
        time.sleep(0.5)
        session.type("\x1a")
        session.expect("Stopped")
        session.type("jobs; fg\n")
        session.expect("sleep 1000")
        time.sleep(0.3)
        session.type("\x03")
        session.expect("ready> ")
        session.type("echo gone $?\n")
        session.expect("gone 130")

    def test_hang_up(self):
        # Not the signal alone: bash may take it just before it waits for input and go on waiting, on Linux too.
        session = self.shell_session()
        session.type("sleep 1000 &\n")
        session.expect("ready> ")
        session.hang_up()
        self.assertEqual(session.process.wait(60), 128 + signal.SIGHUP)

    def test_hang_up_is_the_end_for_those_who_ignore_the_signal(self):
        log = os.path.join(self.home.path, "ends")
        script = "trap '' HUP; echo ready; cat; echo read to the end >> /log/ends; echo written || echo failed >> /log/ends"
        session = self.start("-v", f"{self.home.path}:/log", "--", "bash", "-c", script)
        session.expect("ready")
        session.hang_up()
        self.assertEqual(session.process.wait(60), 0)
        with open(log) as file:
            self.assertEqual(file.read(), "read to the end\nfailed\n")

    def test_hang_up_signal_is_passed_on(self):
        session = self.start("--", "bash", "-c", "trap 'echo signalled; exit 5' HUP; sleep 1000 & echo ready; wait")
        session.expect("ready")
        session.process.send_signal(signal.SIGHUP)
        session.expect("signalled")
        self.assertEqual(session.process.wait(60), 5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
