"""The kernel's log, reboot(2), host names and the tables of /proc, as Debian's own tools see them."""
import unittest

from harness import UslTest

REBOOT = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
shown = lambda: open('/proc/sys/kernel/ctrl-alt-del').read().strip()
print(libc.reboot(0x89abcdef - (1 << 32)), shown(), flush=True)
print(libc.reboot(0), shown(), flush=True)
print(libc.reboot(0x1234), os.strerror(ctypes.get_errno()), flush=True)
libc.reboot(0x4321fedc)
print('still here', flush=True)
"""


class KernelServices(UslTest):
    def test_dmesg_reads_the_instances_own_log(self):
        out = self.check(self.shell("""
            echo '<5>usl test line' > /dev/kmsg; dmesg; echo --; dmesg -C; dmesg; echo --
            echo after > /dev/kmsg; dmesg -S; echo --; timeout 10 head -n1 /proc/kmsg"""))
        shown, cleared, after, first = out.split("--\n")
        self.assertIn("Linux version", shown)
        self.assertIn("usl test line", shown)
        self.assertEqual(cleared, "")
        self.assertIn("] after", after)
        self.assertNotIn("usl test line", after)
        self.assertIn("Linux version", first)

    def test_reboot_ends_the_instance_with_status_0(self):
        result = self.shell(f"python3 -c \"{REBOOT}\"; echo outlived; exit 3")
        self.assertEqual(self.check(result), "0 1\n0 0\n-1 Invalid argument\n")

    def test_host_names_are_in_step(self):
        out = self.check(self.shell("""
            echo one > /proc/sys/kernel/hostname; hostname; uname -n; hostname two; cat /proc/sys/kernel/hostname"""))
        self.assertEqual(out, "one\none\ntwo\n")

    def test_tools_list_the_instances_objects_only(self):
        out = self.check(self.shell("""
            ipcmk -M 1000 >/dev/null; ipcs -m | grep -c 1000; lsns | head -1; cat /sys/fs/cgroup/memory.max
            ls /dev/kmsg; sysctl -a 2>&1 >/dev/null | wc -l"""))
        shown = out.splitlines()
        self.assertEqual(shown[0], "1")
        self.assertIn("NS TYPE", shown[1])
        self.assertEqual(shown[2:], ["max", "/dev/kmsg", "0"])


if __name__ == "__main__":
    unittest.main()
