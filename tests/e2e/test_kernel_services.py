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

    def test_keyctl_has_keyrings_of_the_instance(self):
        out = self.check(self.shell("""
            keyctl session one sh -c 'key=$(keyctl add user test:key secret @s) && keyctl print $key &&
              [ "$(keyctl search @s user test:key)" = $key ] && keyctl timeout $key 1000 &&
              keyctl rdescribe $key && grep -c "test:key: 6" /proc/keys && keyctl revoke $key;
              keyctl print $key 2>&1; keyctl purge user >/dev/null; keyctl get_persistent @s 2>&1' 2>/dev/null
            cat /proc/key-users | wc -l"""))
        lines = out.splitlines()
        self.assertEqual(lines[0], "secret")
        self.assertEqual(lines[1], "user;0;0;3f010000;test:key")
        self.assertEqual(lines[2], "1")
        self.assertIn("revoked", lines[3])
        self.assertIn("not supported", lines[4])

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
