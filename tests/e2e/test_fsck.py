"""`usl fsck`: its exit statuses, its output for programs, and what a broken tree does to `usl run`."""
import fcntl
import json
import os
import shutil
import unittest

from harness import GID, UID, USL, UslTest


class Fsck(UslTest):
    def setUp(self):
        self.tree = os.path.join(self.home.path, self._testMethodName)
        os.makedirs(os.path.join(self.tree, "bin"))
        # Any program of this architecture: nothing runs in these trees.
        shutil.copy(USL, os.path.join(self.tree, "bin/sh"))
        self.give()

    def tearDown(self):
        shutil.rmtree(self.tree, ignore_errors=True)

    def give(self):
        if os.getuid() != 0:
            return
        for parent, directories, files in os.walk(os.fsencode(self.tree)):
            for name in directories + files:
                os.chown(os.path.join(parent, name), UID, GID, follow_symlinks=False)
        os.chown(self.tree, UID, GID)

    def fsck(self, *options, status):
        result = self.usl("fsck", *options, self.tree)
        self.check(result, status)
        return result

    def test_clean_broken_repaired(self):
        self.assertIn("clean", self.fsck(status=0).stdout)
        name = b"odd \xff\n\x1b[31m\"name"
        with open(os.path.join(os.fsencode(self.tree), name), "wb"):
            pass
        self.give()
        os.chmod(os.path.join(os.fsencode(self.tree), name), 0o4755)
        shown = self.fsck(status=4).stdout
        self.assertIn("set-id", shown)
        self.assertNotIn("\x1b", shown)
        report = json.loads(self.fsck("--json", status=4).stdout)
        self.assertEqual(report["status"], 4)
        (problem,) = report["problems"]
        self.assertEqual(os.fsencode(problem["path"]), name)
        self.assertEqual((problem["kind"], problem["severity"], problem["repaired"]), ("mode", "error", False))
        self.assertIn("repaired", self.fsck("--repair", status=1).stdout)
        self.fsck(status=0)

    def test_damaged_record(self):
        os.setxattr(os.path.join(self.tree, "bin"), "user.usl", b"garbage")
        self.fsck(status=4)
        refused = self.usl("run", "--rootfs", self.tree, "--", "/bin/sh")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("damaged", refused.stderr)
        self.fsck("--repair", status=1)
        with open(os.path.join(self.tree, ".usl/lost/record.1"), "rb") as lost:
            self.assertEqual(lost.read(), b"garbage")
        self.fsck(status=0)

    def test_newer_format(self):
        os.mkdir(os.path.join(self.tree, ".usl"), 0o700)
        with open(os.path.join(self.tree, ".usl/format"), "w", encoding="ascii") as file:
            file.write("2\n")
        self.give()
        for result, status in ((self.usl("run", "--rootfs", self.tree, "--", "/bin/sh"), 125), (self.usl("fsck", self.tree), 8)):
            self.assertEqual(result.returncode, status, result.stderr)
            self.assertIn("use a newer usl", result.stderr)

    def test_in_use_and_usage(self):
        directory = os.open(self.tree, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(directory, fcntl.LOCK_EX)
        result = self.usl("fsck", self.tree)
        os.close(directory)
        self.assertEqual(result.returncode, 8)
        self.assertIn("in use by another usl", result.stderr)
        self.assertEqual(self.usl("fsck", os.path.join(self.tree, "missing")).returncode, 8)
        self.assertEqual(self.usl("fsck").returncode, 16)
        self.assertEqual(self.usl("fsck", "--nonsense", self.tree).returncode, 16)


if __name__ == "__main__":
    unittest.main(verbosity=2)
