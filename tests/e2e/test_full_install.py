"""`usl install debian`: from this machine's package sources, without privilege, where they can be reached."""
import unittest

import harness


class InstallDebianTest(harness.UslTest):
    def test_install_debian(self):
        if harness.make_rootfs() is None:
            self.skipTest("package sources cannot be reached")
        self.check(self.usl("install", "debian", "-q", timeout=1100))
        self.assertEqual(self.check(self.usl("list", "-q")), "debian\n")
        script = "id -u; dpkg --audit; stat -c '%u %g %a' /etc/shadow /usr/bin/passwd; apt-get check -qq && echo fine"
        output = self.check(self.usl("run", "-d", "debian", "--", "sh", "-c", script))
        self.assertEqual(output.splitlines(), ["0", "0 42 640", "0 0 4755", "fine"])
        # A second one of the same files costs nothing, and the first does not see what changes in it.
        self.check(self.usl("clone", "debian", "second"))
        self.check(self.usl("run", "-d", "second", "--", "rm", "-rf", "/usr/share/doc"))
        self.check(self.usl("run", "-d", "debian", "--", "test", "-d", "/usr/share/doc"))
        self.check(self.usl("remove", "second"))
        self.check(self.usl("remove", "debian"))


if __name__ == "__main__":
    unittest.main()
