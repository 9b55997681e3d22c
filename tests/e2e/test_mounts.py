"""Mounts and their namespaces with the programs that people use: mount, umount, findmnt, unshare, nsenter, pivot_root."""
import os
import subprocess
import unittest

from harness import USL, UslTest, user_command


class Mounts(UslTest):
    def test_mount_and_findmnt(self):
        out = self.check(self.shell("""
            cd /tmp && mkdir a b && mount -t tmpfs -o size=64k,nodev,mode=711 demo a
            findmnt -no SOURCE,FSTYPE,OPTIONS /tmp/a; df --output=size a | tail -1
            touch a/f && mount --bind a b && ls b && mount -o remount,bind,ro b && touch b/g; echo "status $?"
            mount -o remount,size=128k a && df --output=size a | tail -1
            umount b && umount a && findmnt /tmp/a; echo "status $?" """))
        lines = [line.strip() for line in out.splitlines()]
        self.assertEqual(lines[0].split()[:2], ["demo", "tmpfs"])
        for option in ("nodev", "size=64k", "mode=711"):
            self.assertIn(option, lines[0])
        self.assertEqual(lines[1:], ["64", "f", "status 1", "128", "status 1"])

    def test_busy_and_lazy(self):
        result = self.shell("""
            cd /tmp && mkdir a && mount -t tmpfs none a && exec 3> a/f
            umount a; echo "status $?"; umount -l a; echo "status $?"; echo text >&3 && echo written
            exec 3>&-; mount -t tmpfs none a && (cd a && umount /tmp/a; echo "status $?"); umount a; echo "status $?" """)
        self.assertEqual(self.check(result).split("\n")[:-1],
                         ["status 32", "status 0", "written", "status 32", "status 0"])
        self.assertIn("busy", result.stderr)

    def test_propagation_between_namespaces(self):
        out = self.check(self.shell("""
            mount --make-rshared / && cd /tmp && mkdir -p a/x && mount -t tmpfs none a && mkdir a/x
            findmnt -no PROPAGATION /tmp/a
            unshare -m --propagation slave sh -c 'findmnt -no PROPAGATION /tmp/a; read go; findmnt -no SOURCE /tmp/a/x
                mount -t tmpfs inner /mnt; echo done; read end' < <(sleep 0.2; mount -t tmpfs late /tmp/a/x; echo go; sleep 0.3; echo end)
            findmnt /mnt; echo "status $?" """))
        self.assertEqual(out.split("\n")[:-1], ["shared", "private,slave", "late", "done", "status 1"])

    def test_recursive_bind(self):
        out = self.check(self.shell("""
            cd /tmp && mkdir a b && mount -t tmpfs none a && mkdir a/in && mount -t tmpfs none a/in && touch a/in/f
            mount --bind a b && ls b/in | wc -l && umount b && mount --rbind a b && ls b/in
            umount b; echo "status $?"; umount -R b; echo "status $?"; mount --move a b && ls b/in"""))
        self.assertEqual(out.split("\n")[:-1], ["0", "f", "status 32", "status 0", "f"])

    def test_nsenter(self):
        out = self.check(self.shell("""
            mkdir /tmp/m; unshare -m -u sh -c 'hostname inner; mount -t tmpfs own /tmp/m; touch /tmp/m/f; echo ready; exec sleep 60' > /tmp/log &
            until grep -q ready /tmp/log; do sleep 0.05; done
            pid=$!; ls /tmp/m | wc -l; nsenter -t $pid -m ls /tmp/m; nsenter -t $pid -m -u hostname
            [ $(readlink /proc/$pid/ns/mnt) != $(readlink /proc/self/ns/mnt) ] && echo differs
            nsenter -t $pid -a sh -c 'ls /tmp/m; hostname'; kill $pid"""))
        self.assertEqual(out.split("\n")[:-1], ["0", "f", "inner", "differs", "f", "inner"])

    def test_pivot_root(self):
        out = self.check(self.shell("""
            unshare -m bash -c 'mkdir /tmp/new && mount -t tmpfs none /tmp/new && cd /tmp/new && mkdir old proc usr
                for link in bin lib lib64 sbin; do [ -e /$link ] && ln -s usr/$link $link; done
                mount --bind /usr usr && mount -t proc proc proc && pivot_root . old && umount -l /old && ls / && cat /proc/mounts | cut -d" " -f2'
            test -d /etc && echo outside"""))
        self.assertEqual(out.split("\n")[:-1], ["bin", "lib", "lib64", "old", "proc", "sbin", "usr", "/", "/usr", "/proc", "outside"])

    def test_the_host_makes_no_namespace(self):
        script = """
import ctypes, os, time
libc = ctypes.CDLL(None)
CLONE_NEWNS, CLONE_NEWUTS, SIGCHLD = 0x20000, 0x4000000, 17
child = libc.syscall(56, CLONE_NEWNS | CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0)
if child == 0:
    assert libc.unshare(CLONE_NEWNS) == 0
    print(os.getpid(), os.readlink("/proc/self/ns/mnt") != os.readlink("/proc/1/ns/mnt"), flush=True)
    input()
    os._exit(0)
os.waitpid(child, 0)
"""
        process = subprocess.Popen(user_command([USL, "run", "--", "python3", "-c", script]), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True, cwd="/", env=self.home.environment())
        with process:
            pid, differs = process.stdout.readline().split()
            self.assertEqual(differs, "True")
            for name in ("mnt", "uts", "user"):
                self.assertEqual(os.readlink(f"/proc/{pid}/ns/{name}"), os.readlink(f"/proc/self/ns/{name}"))
            process.communicate("\n")
        self.assertEqual(process.returncode, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
