"""What the end-to-end tests share: running usl as an ordinary user without user namespaces, and a Debian root file system.

Environment (set by CTest): USL_EXECUTABLE, USL_ORDINARY_USER (tests/tools/ordinary_user.cc).
"""
import glob
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
USL = os.environ.get("USL_EXECUTABLE", str(SOURCE / "build/release/usl"))
ORDINARY_USER = os.environ.get("USL_ORDINARY_USER", str(SOURCE / "build/release/tests/tools/ordinary_user"))
# Root's tests become uid 1000, whether or not somebody has that number; an ordinary user's stay who they are.
UID = 1000 if os.getuid() == 0 else os.getuid()
GID = 1000 if os.getuid() == 0 else os.getgid()
TIMEOUT = 300


def user_command(command):
    """The command line that runs `command` as the ordinary user."""
    return [ORDINARY_USER, f"{UID}:{GID}", *command]


class Home:
    """A home directory of the ordinary user with a run-time directory beside it; removed at the end, and with them the
    instances that still wait for a session."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="usl-test-home-", dir="/var/tmp")
        self.runtime = tempfile.mkdtemp(prefix="usl-test-run-", dir="/var/tmp")
        if os.getuid() == 0:
            for path in (self.path, self.runtime):
                os.chown(path, UID, GID)

    def environment(self, **more):
        environment = {"HOME": self.path, "XDG_RUNTIME_DIR": self.runtime, "PATH": os.environ["PATH"], "TERM": "dumb", "LANG": "C.UTF-8", "USER": "tester"}
        for name in ("http_proxy", "https_proxy", "no_proxy", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "USL_LOG"):
            if name in os.environ:
                environment[name] = os.environ[name]
        environment.update(more)
        return environment

    def remove(self):
        if glob.glob(self.runtime + "/usl/instances/*"):
            subprocess.run(user_command([USL, "shutdown"]), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, env=self.environment(), cwd="/", timeout=TIMEOUT)
        for path in (self.path, self.runtime):
            shutil.rmtree(path, ignore_errors=True)


def make_rootfs():
    """The directory of a Debian tree of the ordinary user, shared by all tests: copy it before changing it. None where the
    package sources cannot be reached."""
    result = subprocess.run([SOURCE / "tests/rootfs/make_rootfs.sh", f"{UID}:{GID}"], stdout=subprocess.PIPE, text=True)
    if result.returncode == 3:
        return None
    result.check_returncode()
    return result.stdout.strip().splitlines()[-1]


class UslTest(unittest.TestCase):
    """Runs usl as the ordinary user; `rootfs_options` say in which tree."""

    rootfs_options = []

    @classmethod
    def setUpClass(cls):
        cls.home = Home()

    @classmethod
    def tearDownClass(cls):
        cls.home.remove()

    def usl(self, *arguments, stdin=None, timeout=TIMEOUT, environment=None, **options):
        """Runs `usl ARGUMENTS`; the completed process with text output."""
        if stdin is None and "input" not in options:
            stdin = subprocess.DEVNULL
        if stdin is not None:
            options["stdin"] = stdin
        return subprocess.run(user_command([USL, *map(str, arguments)]), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=timeout, cwd="/", errors="replace",
                              env=environment or self.home.environment(), **options)

    def guest(self, *command, options=(), **more):
        """Runs a command in the tree of this class."""
        return self.usl("run", *self.rootfs_options, *options, "--", *command, **more)

    def shell(self, script, options=(), **more):
        return self.guest("bash", "-c", script, options=options, **more)

    def check(self, result, status=0):
        self.assertEqual(result.returncode, status,
                         f"status {result.returncode}\n--- stdout\n{result.stdout[-4000:]}\n--- stderr\n{result.stderr[-4000:]}")
        return result.stdout


class DebianTest(UslTest):
    """In an unpacked Debian of its own (a copy of the cached tree), or where there is none in the host view."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tree = None
        source = make_rootfs()
        if source is None:
            print("package sources cannot be reached: these tests use the host's own root as the lower layer")
            return
        cls.tree = os.path.join(cls.home.path, "rootfs")
        copy = ["cp", "-a", "--reflink=auto", source, cls.tree]
        subprocess.run(["setpriv", "--reuid", str(UID), "--regid", str(GID), "--clear-groups", *copy]
                       if os.getuid() == 0 else copy, check=True)
        cls.rootfs_options = ["--rootfs", cls.tree]
