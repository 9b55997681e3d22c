"""stress-ng in the guest: each stressor of the classes below for two seconds; no crash of the kernel, no hang, no process left."""
import re
import subprocess
import unittest

from harness import DebianTest, UID

CLASSES = ("filesystem", "scheduler", "interrupt", "os", "pipe", "memory", "network")
SECONDS = 2
# What a stressor may need beyond its two seconds on a busy machine; mmapfork and forkheavy natively take most of a minute.
PATIENCE = 240

# Exit status 1 with this line: stress-ng runs it only with --pathological.
DISABLED = "as it may hang or reboot the machine"
# Exit status 3: stress-ng says that the system has no such thing (netlink connectors, binderfs, EFI, PCI).
NOT_IMPLEMENTED = 3
# These open raw or packet sockets, of which guests get EPERM, and stress-ng asks for uid 0 only.
RAW_SOCKETS = {"icmp-flood", "rawpkt", "rawsock", "rawudp"}


class Stress(DebianTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not cls.tree:
            raise unittest.SkipTest("package sources cannot be reached")
        cls.check(cls(), cls().shell("apt-get update -q && apt-get install -qy --no-install-recommends stress-ng",
                                     options=["-e", "DEBIAN_FRONTEND=noninteractive"], timeout=900))

    def runTest(self):
        pass

    def stressors(self, name):
        # The question mark makes stress-ng list the class; its exit status is no success.
        listing = self.shell(f"stress-ng --class {name}? 2>&1").stdout
        found = re.search(r"stressors: (.*)", listing)
        self.assertIsNotNone(found, listing)
        return found[1].split()

    def stress(self, stressor):
        try:
            result = self.guest("stress-ng", f"--{stressor}", "1", "--timeout", str(SECONDS), "--temp-path", "/tmp",
                                "--oomable", options=["-w", "/tmp"], timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.fail(f"{stressor} did not end")
        text = result.stdout + result.stderr
        self.assertNotIn("usl:", text)
        if stressor in RAW_SOCKETS:
            self.assertRegex(text, r"errno=1 \(Operation not permitted\)")
        elif DISABLED not in text:
            self.assertIn(result.returncode, (0, NOT_IMPLEMENTED), text[-3000:])
        left = subprocess.run(["pgrep", "-u", str(UID), "-f", "^stress-ng"], stdout=subprocess.PIPE, text=True).stdout
        self.assertEqual(left, "")


def add_tests():
    def make(name):
        def test(self):
            stressors = self.stressors(name)
            self.assertGreater(len(stressors), 5)
            for stressor in stressors:
                with self.subTest(stressor):
                    self.stress(stressor)
        return test

    for name in CLASSES:
        setattr(Stress, f"test_{name}", make(name))


add_tests()

if __name__ == "__main__":
    unittest.main(verbosity=2)
