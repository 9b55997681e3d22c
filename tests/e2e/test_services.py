"""boot.command, scripts of /etc/init.d and services of usl.conf: started at boot, stopped in the reverse order."""
import unittest

from harness import DebianTest

NAME = "services"
CONFIGURATION = """
[boot]
command = "echo boot >>/root/events"
[services]
enabled = ["demo"]
[[service]]
name = "web"
command = "echo up; trap 'echo web end >>/root/events; exit' TERM; sleep 777 & wait"
restart = "always"
"""
SCRIPT = "#!/bin/sh\necho demo $1 >>/root/events\n"


class Services(DebianTest):
    def tearDown(self):
        self.usl("shutdown", "--force")

    def test_services_start_at_boot_and_stop_in_order(self):
        if self.tree is None:
            self.skipTest("needs a tree of its own")
        for path, text in (("etc/usl.conf", CONFIGURATION), ("etc/init.d/demo", SCRIPT)):
            self.check(self.shell(f"cat >/{path}; chmod 755 /{path}", input=text))
        self.check(self.usl("run", "--detach", "--name", NAME, *self.rootfs_options, "--", "sleep", "1000"))
        self.check(self.usl("exec", NAME, "--", "sh", "-c",
                            "for i in $(seq 200); do grep -q up /var/log/usl/web.log 2>/dev/null && exit 0; sleep 0.1; done; exit 1"))
        self.check(self.usl("stop", NAME))
        events = self.check(self.shell("cat /root/events"))
        self.assertEqual(events, "boot\ndemo start\nweb end\ndemo stop\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
