"""What the escape tests share: the host side that is attacked, a small guest tree, and running an attack natively or inside.

Environment (set by CTest): USL_EXECUTABLE, USL_ORDINARY_USER, USL_ESCAPE_PROGRAMS (the directory of the built programs).
"""
import contextlib
import os
import pathlib
import pty
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from harness import GID, SOURCE, UID, USL, user_command  # noqa: E402

PROGRAMS = pathlib.Path(os.environ.get("USL_ESCAPE_PROGRAMS", SOURCE / "build/release/tests/escape"))
ATTACKS = PROGRAMS / "escape_attacks"
TIMEOUT = 60


def as_user(path):
    if os.getuid() == 0:
        os.chown(path, UID, GID)


class Place:
    """Directories of the ordinary user: `host` with what must be safe, `tree` a small root file system, `native` to work in."""

    def __init__(self):
        # A home below /home where that is possible: /var/tmp is empty in the view of the host's root anyway.
        parent = "/home" if os.access("/home", os.W_OK) else "/var/tmp"
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="usl-escape-", dir=parent))
        as_user(self.path)
        names = ("host", "tree", "native", "programs", "runtime")
        self.host, self.tree, self.native, self.programs, self.runtime = (self.path / name for name in names)
        for directory in (self.host, self.native, self.programs, self.runtime):
            directory.mkdir(mode=0o700)
            as_user(directory)
        for name in ("escape_attacks", "escape_guest_program"):
            self.copy(PROGRAMS / name, self.programs / name)
        self.make_tree()

    @staticmethod
    def copy(source, target, mode=0o755):
        shutil.copyfile(source, target)
        os.chmod(target, mode)
        as_user(target)

    def make_tree(self):
        for name in ("", "bin", "etc", "tmp", "proc", "dev", "sys", "run", "root", "work", "var", "home"):
            (self.tree / name).mkdir()
            as_user(self.tree / name)
        (self.tree / "work").chmod(0o1777)
        for name in ("attacks", "suid", "unreadable"):
            self.copy(ATTACKS, self.tree / "bin" / name)
        self.copy(PROGRAMS / "escape_guest_program", self.tree / "bin/true")
        users = "root:x:0:0:root:/root:/bin/sh\ntester:x:1000:1000::/work:/bin/sh\n"
        for name, text in {"etc/passwd": users, "etc/group": "root:x:0:\ntester:x:1000:\n", "etc/shadow": "root:*:1::::::\n",
                           "etc/gshadow": "root:*::\n", "etc/target": "text of root's file\n", "etc/private": "private\n",
                           "root/private": "private\n"}.items():
            (self.tree / name).write_text(text)
            as_user(self.tree / name)

    def environment(self):
        environment = {"HOME": str(self.path), "PATH": os.environ["PATH"], "TERM": "dumb", "LANG": "C.UTF-8", "USER": "tester",
                       "XDG_RUNTIME_DIR": str(self.runtime)}
        for name in ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "USL_LOG"):
            if name in os.environ:
                environment[name] = os.environ[name]
        return environment

    def run(self, command, stdin=subprocess.DEVNULL, timeout=TIMEOUT, **options):
        return subprocess.run(user_command([str(word) for word in command]), stdin=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=timeout, cwd="/",
                              env=self.environment(), **options)

    def usl_command(self, *command, options=(), view=False, landlock=True):
        where = ["-v", f"{self.programs}:/programs:ro"] if view else ["--rootfs", str(self.tree)]
        return [*([] if landlock else [PROGRAMS / "escape_no_landlock"]), USL, "run", *where, *options, "--", *map(str, command)]

    def usl(self, *command, options=(), view=False, **more):
        return self.run(self.usl_command(*command, options=options, view=view), **more)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


class HostSide:
    """The attacked host (host_side.cc): fresh for each run, so that one attack's damage is not taken for another's."""

    def __init__(self, place):
        self.token = secrets.token_hex(16)
        self.place = place
        shutil.rmtree(place.host)
        place.host.mkdir()
        as_user(place.host)
        place.copy(PROGRAMS / "escape_host_program", place.host / "program")
        (place.host / "given").write_text("given to the guest for reading\n")
        as_user(place.host / "given")
        self.process = subprocess.Popen(user_command([str(PROGRAMS / "escape_host_side"), str(place.host), self.token]),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/")
        self.facts = self.read()
        self.facts.update(driver=str(os.getpid()), host_uid=str(UID), host_program=f"{place.host}/program")
        self.before = self.state()

    def read(self):
        lines = {}
        while (line := self.process.stdout.readline()) not in ("", "\n"):
            name, _, value = line.rstrip("\n").partition("=")
            lines[name] = value
        return lines

    def state(self):
        """The attacked objects as the host sees them."""
        self.process.stdin.write("state\n")
        self.process.stdin.flush()
        return self.read()

    def changes(self):
        after = self.state()
        return {name: (self.before.get(name), after.get(name)) for name in sorted({*self.before, *after})
                if self.before.get(name) != after.get(name)}

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def standard_input(kind, place):
    """What the attack `needs` as standard input: yields the argument for subprocess, and a function that gives what arrived."""
    closing = []
    arrived = bytes
    try:
        if kind == "directory":
            closing.append(os.open(place.host, os.O_RDONLY | os.O_DIRECTORY))
        elif kind == "file":
            closing.append(os.open(place.host / "given", os.O_RDONLY))
        elif kind == "log":
            closing.append(os.open(place.host / "secret", os.O_WRONLY | os.O_APPEND))
        elif kind == "socket":
            ours, theirs = socket.socketpair()
            closing += [theirs.detach(), ours.detach()]
        elif kind == "pipe":
            closing += os.pipe()
            if os.getuid() == 0:
                os.fchown(closing[0], UID, GID)
        elif kind == "inet":
            closing.append(socket.socket(socket.AF_INET).detach())
        elif kind == "terminal":
            main, terminal = pty.openpty()
            closing += [terminal, main]
            if os.getuid() == 0:
                os.fchown(terminal, UID, GID)

            def arrived():
                os.set_blocking(terminal, False)
                with contextlib.suppress(BlockingIOError):
                    return os.read(terminal, 4096)
                return b""
        yield (closing[0] if closing else subprocess.DEVNULL), arrived
    finally:
        for fd in closing:
            os.close(fd)


def facts_as_arguments(facts):
    return [f"{name}={value}" for name, value in facts.items()]
