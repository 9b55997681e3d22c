"""DrvFs: volumes with options, mount -t drvfs and what it must not reach, names without regard to case, inotify, usl path."""
import os
import subprocess
import unittest

import harness


class DrvFsTest(harness.UslTest):
    def setUp(self):
        self.base = os.path.join(self.home.path, "host-" + self.id().rsplit(".", 1)[1])
        for name in ("share/sub", "other", "wine/dosdevices", "wine/drive_c/Program Files"):
            os.makedirs(os.path.join(self.base, name))
        self.write("share/file", "shared\n")
        self.write("other/secret", "secret\n")
        self.write("wine/drive_c/Program Files/Read.me", "wine\n")
        os.symlink("../other", os.path.join(self.base, "share/link"))
        os.symlink("../drive_c", os.path.join(self.base, "wine/dosdevices/c:"))
        os.symlink("/", os.path.join(self.base, "wine/dosdevices/z:"))
        self.own(self.base)

    def own(self, path):
        if os.getuid() == 0:
            subprocess.run(["chown", "-Rh", f"{harness.UID}:{harness.GID}", path], check=True)

    def path(self, name):
        return os.path.join(self.base, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)

    def read(self, name):
        with open(self.path(name)) as file:
            return file.read()

    def test_bind_shows_what_wsl_shows(self):
        os.chmod(self.path("share/file"), 0o640)
        out = self.check(self.shell("""
            stat -c '%a %u %n' /b /b/file /b/sub
            chmod 600 /b/file; chown 7:8 /b/file; stat -c '%a %u %g' /b/file
            chmod a-w /b/file; stat -c %a /b/file; chmod u+w /b/file
            /b/file 2>/dev/null; echo run $?
            mknod /b/null c 1 3 2>&1 | grep -o 'not permitted'
            grep ' /b ' /proc/mounts | cut -d' ' -f3,4""", options=["--bind", f"{self.path('share')}:/b"]))
        self.assertEqual(out.splitlines(), ["777 0 /b", "777 0 /b/file", "777 0 /b/sub", "777 0 0", "555", "run 127",
                                            "not permitted", "drvfs rw,nosuid,nodev,relatime,uid=0,gid=0"], out)
        out = self.check(self.shell("stat -c '%a %U' /b/file /b/sub; echo x > /b/new; id -un",
                                    options=["--bind", f"{self.path('share')}:/b:umask=022,fmask=011", "-u", "nobody"]))
        self.assertEqual(out.split(), ["744", "nobody", "755", "nobody", "nobody"])

    def test_metadata_persists(self):
        options = ["--bind", f"{self.path('share')}:/b:metadata"]
        first = self.check(self.shell("""
            stat -c '%a %u' /b/file
            chown 12:13 /b/file; chmod 4751 /b/file
            mknod /b/null c 1 3; mkfifo /b/fifo; ln -s file /b/l; chown -h 5:6 /b/l
            mkdir /b/d; chown 8 /b/d; chmod 1730 /b/d
            setpriv --reuid 77 --clear-groups sh -c 'echo x > /b/by77; ln -s y /b/l77'""", options=options))
        self.assertEqual(first, "777 0\n")
        second = self.check(self.shell("cd /b; stat -c '%n %F %a %u %g %t:%T' file null fifo l l77 d by77", options=options))
        self.assertEqual(second.splitlines(), [
            "file regular file 4751 12 13 0:0", "null character special file 644 0 0 1:3", "fifo fifo 644 0 0 0:0",
            "l symbolic link 777 5 6 0:0", "l77 symbolic link 777 77 0 0:0", "d directory 1730 8 0 0:0",
            "by77 regular file 644 77 0 0:0"], second)
        self.assertTrue(os.path.islink(self.path("share/l77")), "the host sees symlinks")
        plain = self.check(self.shell("stat -c '%a %u' /b/file /b/d", options=["--bind", f"{self.path('share')}:/b"]))
        self.assertEqual(plain.split(), ["777", "0", "777", "0"])

    def test_a_guest_mounts_what_it_may(self):
        share = self.path("share")
        out = self.check(self.shell(f"""
            mkdir -p /m /n
            mount -t drvfs {share}/sub /m && echo sub
            mount -t drvfs -o uid=1000,gid=1000,umask=027,noatime {share} /n && stat -c '%a %u' /n/file
            echo 'made' > /n/made
            grep -E ' /[mn] ' /proc/mounts
            mount -o remount,suid,dev /n; grep ' /n ' /proc/mounts | grep -c nosuid,nodev
            mount -t drvfs -o no_such_option {share} /m 2>&1 | grep -c 'wrong fs type\\|bad option'
            umount /n; ls /n | wc -l
            grep drvfs /proc/filesystems""", options=["--drvfs", share]))
        self.assertEqual(out.splitlines(), [
            "sub", "750 1000",
            f"{share}/sub /m drvfs rw,nosuid,nodev,relatime,uid=0,gid=0 0 0",
            f"{share} /n drvfs rw,nosuid,nodev,noatime,uid=1000,gid=1000,umask=027 0 0",
            "1", "1", "0", "nodev\tdrvfs"], out)
        self.assertEqual(self.read("share/made"), "made\n")

    def test_a_guest_mounts_nothing_else(self):
        share, other = self.path("share"), self.path("other")
        sources = [other, f"{share}/../other", f"{share}/link", f"{share}/link/secret", f"{share}x", self.base, "/", "/etc", "share",
                   "/proc/self/root", "/proc/self/cwd", "C:", "Z:", f"Z:{other}", f"{share}/sub/../..", "//host/share", f"{other}/none"]
        script = "mkdir /m\n" + "\n".join(
            f"mount -i -t drvfs '{source}' /m 2>/dev/null && echo 'MOUNTED {source}' && ls -a /m" for source in sources)
        script += f"""
            # By every name that the guest can make: links and bind mounts of its own.
            ln -s {other} /etc/alias; mkdir -p /x{share}; ln -s {other} /v/evil; mv /v/evil /v/sub/evil
            for source in /etc/alias {share}/sub/evil {share}/sub/evil/secret; do
              mount -i -t drvfs $source /m 2>/dev/null && echo "MOUNTED $source"
            done
            chroot / mount -i -t drvfs {other} /m 2>/dev/null && echo MOUNTED in chroot
            setpriv --reuid 1234 --clear-groups mount -i -t drvfs {share} /m 2>/dev/null && echo MOUNTED as a user
            cat /v/sub/evil/secret 2>/dev/null
            echo end"""
        result = self.shell(script, options=["-v", f"{share}:/v", "-e", f"WINEPREFIX={self.path('wine')}"],
                            environment=self.home.environment(WINEPREFIX=self.path("wine")))
        self.assertEqual(self.check(result), "end\n")
        self.assertEqual(result.stderr.count("allow that with --drvfs"), 1, result.stderr)

    def test_read_only_shares_stay_so(self):
        share = self.path("share")
        out = self.check(self.shell(f"""
            mkdir /m; mount -t drvfs -o rw {share} /m; mount -o remount,rw /m
            (echo x > /m/file) 2>&1 | grep -o 'Read-only'; touch /m/new 2>/dev/null || echo no
            chmod 777 /m/file 2>/dev/null || echo no; rm -f /m/file 2>/dev/null || echo no
            mount -t drvfs {share}/sub /m; touch /m/x 2>/dev/null || echo no""", options=["--drvfs", f"{share}:ro"]))
        self.assertEqual(out.split(), ["Read-only", "no", "no", "no", "no"])
        self.assertEqual(self.read("share/file"), "shared\n")

    def test_the_race_of_a_directory_and_a_symlink(self):
        share, other = self.path("share"), self.path("other")
        script = f"""
import ctypes, os, subprocess, threading
libc = ctypes.CDLL(None, use_errno=True)
os.mkdir("/m")
os.mkdir("/v/real"); open("/v/real/secret", "w").write("inside\\n")
os.symlink("{other}", "/v/swap")
stop = False
def swap():
    while not stop: libc.syscall(316, -100, b"/v/real", -100, b"/v/swap", 2)
def mount(n):
    for i in range(150):
        if libc.mount(b"{share}/real", b"/m", b"drvfs", 0, None) != 0: continue
        try: text = open("/m/secret").read()
        except OSError: text = ""
        if text not in ("", "inside\\n"): print("LEAK", text)
        libc.umount2(b"/m", 2)
thread = threading.Thread(target=swap); thread.start()
mount(0)
for i in range(1500):
    for name in ("/v/real/secret", "/v/swap/secret"):
        try:
            text = open(name).read()
            if text != "inside\\n": print("LEAK", name, text)
            open(name, "w").write("inside\\n")
        except OSError: pass
stop = True; thread.join(); print("end")
"""
        self.write("share/race.py", script)
        self.own(self.path("share/race.py"))
        out = self.check(self.guest("python3", "/v/race.py", options=["-v", f"{share}:/v"]))
        self.assertEqual(out, "end\n")
        self.assertEqual(self.read("other/secret"), "secret\n")

    def test_wine_drives(self):
        environment = self.home.environment(WINEPREFIX=self.path("wine"))
        out = self.check(self.usl("run", "-v", "C:\\program files:/p:ro", "--drvfs", "C:", "--", "sh", "-c", """
            cat /p/Read.me; mkdir /c; mount -t drvfs C: /c -o case=off; cat '/c/PROGRAM FILES/read.ME'
            mount -t drvfs 'c:\\program files' /c; ls /c; grep ' /c ' /proc/mounts | cut -d' ' -f1
            mount -t drvfs Z: /c 2>/dev/null || echo refused""", environment=environment))
        self.assertEqual(out.splitlines(), ["wine", "wine", "Read.me", "C:", "c:\\134program\\040files", "refused"])

    def test_case(self):
        out = self.check(self.shell("""
            cd /b; cat FILE; echo new > Mixed.Case; cat mixed.CASE; ls; cd SUB && env pwd -P; cd ..
            mv mixed.case MIXED.CASE; ls; mkdir sub 2>&1 | grep -o exists; rm FiLe; ls
            for i in $(seq 300); do echo $i > F$i; done; cat f300 f1; rm f[0-9]* F*; ls""",
                                    options=["--bind", f"{self.path('share')}:/b:case=off"]))
        self.assertEqual(out.splitlines(), [
            "shared", "new", "Mixed.Case", "file", "link", "sub", "/b/sub", "MIXED.CASE", "file", "link", "sub", "exists",
            "MIXED.CASE", "link", "sub", "300", "1", "MIXED.CASE", "link", "sub"], out)

    def test_host_changes_are_told(self):
        self.write("share/watch.py", r"""
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
fd = libc.inotify_init1(0)
print(libc.inotify_add_watch(fd, b"/v", 0x3c0 | 8), flush=True)
names = {0x100: "create", 0x200: "delete", 0x40: "from", 0x80: "to", 8: "written"}
seen = []
while "end" not in [name for _, name in seen]:
    data = os.read(fd, 4096)
    while data:
        wd, mask, cookie, length = struct.unpack("iIII", data[:16])
        seen.append((names.get(mask & 0xfff, hex(mask)), data[16:16 + length].rstrip(b"\0").decode()))
        data = data[16 + length:]
print(seen)
""")
        process = subprocess.Popen(harness.user_command(
            [harness.USL, "run", "-v", f"{self.path('share')}:/v", "--", "python3", "/v/watch.py"]), stdout=subprocess.PIPE,
            text=True, cwd="/", env=self.home.environment(), stdin=subprocess.DEVNULL)
        self.assertEqual(process.stdout.readline(), "1\n")
        self.write("share/h\u00f6st", "x")
        os.rename(self.path("share/h\u00f6st"), self.path("share/new name"))
        os.remove(self.path("share/new name"))
        os.mkdir(self.path("share/end"))
        out, _ = process.communicate(timeout=harness.TIMEOUT)
        self.assertEqual(out.strip(), str([("create", "h\u00f6st"), ("written", "h\u00f6st"), ("from", "h\u00f6st"),
                                           ("to", "new name"), ("delete", "new name"), ("create", "end")]))

    def test_watches_over_layers(self):
        # In the view of the host everything lies in a lower layer: a watch must see what happens to it all the same.
        self.write("share/layers.py", r"""
import ctypes, os, struct
libc = ctypes.CDLL(None)
names = {0x100: "create", 0x200: "delete", 0x40: "from", 0x80: "to", 2: "modify", 8: "written", 0x400: "delete_self", 4: "attrib", 0x8000: "ignored"}
def watch(path, mask):
    fd = libc.inotify_init1(0o4000)
    assert libc.inotify_add_watch(fd, path.encode(), mask) > 0
    return fd
def events(fd):
    seen = []
    try: data = os.read(fd, 65536)
    except BlockingIOError: data = b""
    while data:
        wd, mask, cookie, length = struct.unpack("iIII", data[:16])
        seen.append(names.get(mask & 0xffff, hex(mask)) + (" " + data[16:16 + length].rstrip(b"\0").decode()).rstrip())
        data = data[16 + length:]
    return seen
d = "/usr/share/doc/" + [n for n in sorted(os.listdir("/usr/share/doc")) if os.path.isfile("/usr/share/doc/%s/copyright" % n)][0]
fd = watch(d, 0x3c0 | 8)
f = watch(d + "/copyright", 2)
before = open(d + "/copyright").read()
listed = sorted(os.listdir(d))
open(d + "/copyright", "a").write("more")
os.rename(d + "/copyright", d + "/moved")
os.remove(d + "/moved")
open(d + "/copyright", "w").write("new")
os.remove(d + "/copyright")
print(events(fd)); print(events(f))
print(sorted(os.listdir(d) + ["copyright"]) == listed, len(before) > 0)
os.mkdir("/etc/made")
fd = watch("/etc", 0x3c0 | 8)
open("/etc/hostname", "w").write("x")
os.remove("/etc/hostname"); os.remove("/etc/passwd"); os.rename("/etc/apt", "/etc/apt2")
print(events(fd), os.path.exists("/etc/hostname"), os.path.exists("/etc/apt2/sources.list") or len(os.listdir("/etc/apt2")) > 0)
""")
        out = self.check(self.guest("python3", "/v/layers.py", options=["-v", f"{self.path('share')}:/v"]))
        self.assertEqual(out.splitlines(), [
            "['written copyright', 'from copyright', 'to moved', 'delete moved', 'create copyright', 'written copyright', "
            "'delete copyright']", "['modify', 'ignored']", "True True",
            "['written hostname', 'delete hostname', 'delete passwd', 'from apt', 'to apt2'] False True"], out)

    def test_paths(self):
        share = self.path("share")
        options = ["-v", f"{share}:/v", "--bind", f"{self.path('other')}:/v/sub"]

        def path(*arguments, status=0, environment=None):
            return self.check(self.usl("path", *arguments, environment=environment), status).splitlines()
        self.assertEqual(path(*options, f"{share}/file", f"{self.path('other')}/x"), ["/v/file", "/v/sub/x"])
        self.assertEqual(path(*options, "-p", "/v/file", "/v/sub/y"), [f"{share}/file", f"{self.path('other')}/y"])
        self.assertEqual(path(*options, "-w", "/v/file"), [f"{share}/file"])
        self.assertEqual(path(*options, "-u", f"{share}/link/secret"), ["/v/sub/secret"])
        self.assertEqual(path("--rootfs", share, "-u", f"{share}/sub/x"), ["/sub/x"])
        self.assertEqual(path("--rootfs", share, "-u", self.path("other"), status=1), [])
        self.assertEqual(path("-w", "/tmp/x", status=1), [])
        wine = self.home.environment(WINEPREFIX=self.path("wine"))
        self.assertEqual(path("-v", "C::/c", "C:\\program files\\read.me", environment=wine), ["/c/Program Files/Read.me"])
        self.assertEqual(path("-v", "C::/c", "-w", "/c/Program Files", "/usr", environment=wine), ["C:\\Program Files", "Z:\\usr"])
        self.assertEqual(path("-v", "C::/c", "-m", "/c/Program Files", environment=wine), ["C:/Program Files"])
        self.assertEqual(path("-w", "a/b", environment=wine), ["a\\b"])
        self.assertEqual(path("Q:\\x", status=1, environment=wine), [])
        out = self.check(self.usl("run", "-v", "C::/c", "--drvfs", "C:", *options, "-v", f"{harness.USL}:/run/bin/wslpath:ro", "--", "bash", "-c", f"""
            PATH=$PATH:/run/bin; mkdir /d; mount -t drvfs C: /d
            wslpath 'C:\\Program Files'; wslpath -w /d/x; wslpath -m /d/x; wslpath -u {share}/file; wslpath -w /v/sub/secret
            cd /d; wslpath -aw 'Program Files'; wslpath -w a/b; wslpath -u 'a\\b'; wslpath -w /etc/passwd || echo "status $?"
            wslpath -z x 2>/dev/null; echo $?; wslpath; echo $?""", environment=wine))
        self.assertEqual(out.splitlines(), ["/d/Program Files", "C:\\x", "C:/x", "/v/file", f"{self.path('other')}/secret",
                                            "C:\\Program Files", "a\\b", "a/b", "status 1", "1", "1"], out)


if __name__ == "__main__":
    unittest.main()
