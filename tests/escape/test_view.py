"""The view of the host's root: files of the user's that show in it stay as they are, sockets and FIFOs in it are dead;
and what the caller of `usl run` has open or in its environment does not get in."""
import os
import pathlib
import socket
import stat
import subprocess
import unittest

from harness_escape import ATTACKS, Place, as_user, user_command


def snapshot(directory):
    """Names, attributes and contents of all below a directory; times but those of access."""
    found = {}
    for path in sorted(pathlib.Path(directory).rglob("*")):
        status = path.lstat()
        content = None
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        attributes = os.listxattr(path, follow_symlinks=False)
        found[str(path)] = (status.st_mode, status.st_nlink, status.st_uid, status.st_mtime_ns, content, attributes)
    return found


class View(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        # Not in the user's home, which is an empty one in the view.
        (self.place.path / "home").mkdir()
        as_user(self.place.path / "home")
        self.shared = self.place.path / "shared"
        for directory in ("", "directory", "empty"):
            (self.shared / directory).mkdir()
        for name in [f"f{number}" for number in range(10)] + ["directory/inner", "directory/inner2"]:
            (self.shared / name).write_text("of the host\n" * 600)
        (self.shared / "to-f9").symlink_to(self.shared / "f9")
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind(str(self.shared / "socket"))
        self.listener.listen()
        self.listener.setblocking(False)
        os.mkfifo(self.shared / "fifo")
        self.reader = os.open(self.shared / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, self.reader)
        for path in [self.shared, *self.shared.rglob("*")]:
            if os.getuid() == 0 and not path.is_symlink():
                as_user(path)
        self.environment = {**self.place.environment(), "HOME": str(self.place.path / "home")}

    def run_attack(self, name, *facts, native, leaks=(), options=()):
        arguments = [name, f"shared={self.shared}", f"native={int(native)}", *facts]
        command = [str(ATTACKS), *arguments] if native else self.place.usl_command("/bin/attacks" if options else "/programs/escape_attacks", *arguments, options=options,
                                                                                               view=not options)
        result = subprocess.run(user_command(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, cwd="/", env=self.environment, timeout=60, pass_fds=leaks)
        print(f"\n{'control' if native else 'view'}: {result.stdout.strip()}")
        return result

    def test_changes_stay_in_the_view(self):
        before = snapshot(self.shared)
        result = self.run_attack("view.change", native=False)
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertEqual(snapshot(self.shared), before)
        if self.place.path.is_relative_to("/home"):
            self.assertIn("unseen: 0", result.stdout)
        # The control: natively all of it changes.
        self.run_attack("view.change", native=True)
        after = snapshot(self.shared)
        same = [name for name in before if before[name] == after.get(name) and "/f" in name]
        self.assertLessEqual(set(same), {str(self.shared / name) for name in ("fifo",)})

    def test_sockets_and_fifos_are_dead(self):
        result = self.run_attack("view.connect", native=False)
        self.assertEqual(result.returncode, 0, result.stdout)
        with self.assertRaises(BlockingIOError):
            self.listener.accept()
        self.assertEqual(os.read(self.reader, 10), b"")
        self.assertEqual(self.run_attack("view.connect", native=True).returncode, 1)

    def test_a_volume_for_reading_is_not_written(self):
        before = snapshot(self.shared)
        result = self.run_attack("view.read_only_volume", native=False, options=["-v", f"{self.shared}:/volume:ro"])
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertNotIn("cannot be opened", result.stdout)
        self.assertEqual(snapshot(self.shared), before)

    def test_nothing_leaks_in(self):
        self.environment["SECRET_TOKEN"] = "USL-HOST-SECRET:in-the-environment"
        directory = os.open(self.shared, os.O_RDONLY)
        self.addCleanup(os.close, directory)
        self.assertEqual(self.run_attack("view.leaks", native=True, leaks=[directory]).returncode, 1)
        result = self.run_attack("view.leaks", native=False, leaks=[directory])
        self.assertEqual(result.returncode, 0, result.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
