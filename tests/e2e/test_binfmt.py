"""binfmt_misc: interpreters by magic and by extension, with every flag, nested, and a program of another architecture."""
import os
import struct
import unittest

import harness

# Mounted at the start, as distributions expect.
BINFMT = "/proc/sys/fs/binfmt_misc"

# Prints what an interpreter is told: arguments, and what the descriptor in AT_EXECFD (type 2) is.
SHOW = r"""#!/usr/bin/env python3
import os, struct, sys
aux = open("/proc/self/auxv", "rb").read()
values = dict(struct.unpack("QQ", aux[i:i + 16]) for i in range(0, len(aux) - 15, 16))
print("args", sys.argv, "fd", os.readlink("/proc/self/fd/%d" % values[2]) if 2 in values else None)
"""

# The same as a static ELF program, made by the C compiler of the test.
SHOW_C = r"""
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>
int main(int argc, char** argv) {
  for (int i = 0; i < argc; i++) printf("[%s]", argv[i]);
  Elf64_auxv_t entry;
  int aux = open("/proc/self/auxv", O_RDONLY), has = 0;
  (void)aux; (void)entry;
  extern char** environ;
  char** at = environ;
  while (*at) at++;
  for (Elf64_auxv_t* a = (Elf64_auxv_t*)(at + 1); a->a_type != AT_NULL; a++) {
    if (a->a_type != AT_EXECFD) continue;
    char text[64] = "";
    has = 1;
    ssize_t count = pread((int)a->a_un.a_val, text, 4, 0);
    printf(" fd=%d holds=%.*s cloexec=%d", (int)a->a_un.a_val, (int)(count > 0 ? count : 0), text,
           fcntl((int)a->a_un.a_val, F_GETFD));
  }
  if (!has) printf(" no-fd");
  printf(" flags=%lu secure=%lu uid=%d euid=%d execfn=%s\n", getauxval(AT_FLAGS), getauxval(AT_SECURE), getuid(), geteuid(),
         (char*)getauxval(AT_EXECFN));
  return 42;
}
"""


def aarch64_program(text, status):
    """A static aarch64 ELF file that writes `text` and exits: write(1, text, n); exit(status)."""
    code = struct.pack(
        "<8I",
        0xD2800020,                                # mov x0, #1
        0x100000E1,                                # adr x1, +28
        0xD2800002 | (len(text) << 5),             # mov x2, #n
        0xD2800808,                                # mov x8, #64 (write)
        0xD4000001,                                # svc #0
        0xD2800000 | (status << 5),                # mov x0, #status
        0xD2800BA8,                                # mov x8, #93 (exit)
        0xD4000001) + text                         # svc #0
    base, headers = 0x400000, 64 + 56
    size = headers + len(code)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, base + headers, 64, 0, 0, 64, 56, 1,
                                                             0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x10000) + code


class BinfmtTest(harness.UslTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share = os.path.join(cls.home.path, "share")
        os.mkdir(cls.share)
        cls.write("show", SHOW, 0o755)
        cls.write("show.c", SHOW_C)
        harness.subprocess.run(["cc", "-static", "-o", cls.share + "/elf", cls.share + "/show.c"], check=True)
        os.chmod(cls.share + "/elf", 0o755)
        cls.rootfs_options = ["-v", f"{cls.share}:/s"]

    @classmethod
    def write(cls, name, content, mode=0o644):
        path = os.path.join(cls.share, name)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(path, mode)

    def test_table(self):
        out = self.check(self.shell(f"""
            set -e
            cd {BINFMT}
            cat status
            echo ':one:M:2:ab\\x00cd:\\xff\\xff\\x00\\xff\\xff:/s/elf:OC' > register
            echo ':two:E::ext::/s/elf:' > register
            cat one two; ls
            echo 0 > one; head -1 one; echo 1 > one; head -1 one
            echo -1 > one; ls
            echo 0 > status; cat status
            printf x > /tmp/f.ext; chmod +x /tmp/f.ext; (exec /tmp/f.ext) 2>&1 || echo "status $?"
            echo 1 > status; /tmp/f.ext || echo "status $?"
            echo -1 > status; ls
            grep binfmt_misc /proc/mounts"""))
        self.assertEqual(out.splitlines(), [
            "enabled",
            "enabled", "interpreter /s/elf", "flags: OC", "offset 2", "magic 6162006364", "mask ffff00ffff",
            "enabled", "interpreter /s/elf", "flags: ", "extension .ext",
            "one", "register", "status", "two",
            "disabled", "enabled",
            "register", "status", "two",
            "disabled",
            *[line for line in out.splitlines() if "f.ext" in line and "execfn" not in line],
            "status 127",  # bash takes the file for a script of its own
            "[/s/elf][/tmp/f.ext] no-fd flags=0 secure=0 uid=0 euid=0 execfn=/tmp/f.ext", "status 42",
            "register", "status",
            "binfmt_misc /proc/sys/fs/binfmt_misc binfmt_misc rw,nosuid,nodev,noexec,relatime 0 0"], out)

    def test_flags(self):
        out = self.check(self.shell(f"""
            cp /s/elf /tmp/elf
            reg() {{ echo -1 > {BINFMT}/status; echo "$1" > {BINFMT}/register; }}
            printf 'MAGIC' > /tmp/prog; chmod 755 /tmp/prog
            reg ':a:M::MAGIC::/tmp/elf:';   (exec -a zero /tmp/prog x y)
            reg ':a:M::MAGIC::/tmp/elf:P';  (exec -a zero /tmp/prog x y)
            reg ':a:M::MAGIC::/tmp/elf:O';  (exec -a zero /tmp/prog x 3</dev/null)
            chown nobody /tmp/prog; chmod 4711 /tmp/prog
            cp /tmp/prog /tmp/readable; chown nobody /tmp/readable; chmod 4755 /tmp/readable
            mount -o remount,suid /tmp
            for flags in '' O C; do reg ":a:M::MAGIC::/tmp/elf:$flags"; setpriv --reuid 1234 --clear-groups /tmp/prog; done
            reg ':a:M::MAGIC::/tmp/elf:F'; mv /tmp/elf /tmp/moved; printf 'no ELF' > /tmp/elf; /tmp/prog; rm /tmp/moved; /tmp/prog
            reg ':a:M::MAGIC::/tmp/elf:'; (exec /tmp/prog) 2>/dev/null || echo "status $?" """))
        lines = out.splitlines()
        self.assertEqual(lines[0], "[/tmp/elf][/tmp/prog][x][y] no-fd flags=0 secure=0 uid=0 euid=0 execfn=/tmp/prog")
        self.assertEqual(lines[1], "[/tmp/elf][/tmp/prog][zero][x][y] no-fd flags=1 secure=0 uid=0 euid=0 execfn=/tmp/prog")
        self.assertRegex(lines[2], r"^\[/tmp/elf\]\[/tmp/prog\]\[x\] fd=4 holds=MAGI cloexec=0 flags=0")
        # Without C the set-id bit of the binary counts for nothing; with it the interpreter runs as its owner.
        self.assertIn("no-fd flags=0 secure=0 uid=1234 euid=1234", lines[3])
        self.assertIn("holds=MAGI cloexec=0 flags=0 secure=0 uid=1234 euid=1234", lines[4])
        self.assertRegex(lines[5], r"holds=MAGI cloexec=0 flags=0 secure=1 uid=1234 euid=65534")
        # F: the file that had the name when it was registered, even when it has no name any more.
        self.assertIn("[/tmp/elf][/tmp/prog] no-fd", lines[6])
        self.assertIn("[/tmp/elf][/tmp/prog] no-fd", lines[7])
        self.assertEqual(lines[8], "status 126")

    def test_nested_and_errors(self):
        script = r"""
import errno, os, sys
B = "/proc/sys/fs/binfmt_misc/"
def put(name, text, mode=0o755):
    with open(name, "w") as f: f.write(text)
    os.chmod(name, mode)
def reg(line):
    with open(B + "status", "w") as f: f.write("-1")
    for one in line.split("\n"):
        with open(B + "register", "w") as f: f.write(one)
def run(*argv, how=None):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try: (how or (lambda: os.execv(argv[0], argv)))()
        except OSError as e: print(argv[0], errno.errorcode[e.errno], flush=True); os._exit(1)
    os.waitpid(pid, 0)
put("/tmp/p.foo", "data")
put("/tmp/mid", "#!/s/elf one two\n")
reg(":a:E::foo::/tmp/mid:"); run("/tmp/p.foo", "x")          # binfmt, then #!
reg(":a:E::foo::/tmp/mid:P"); run("/tmp/p.foo", "x")
reg(":a:E::foo::/tmp/mid:O"); run("/tmp/p.foo", "x")          # the binary can be handed to one interpreter only
put("/tmp/script", "#!/tmp/interp.bar arg\n"); put("/tmp/interp.bar", "data")
reg(":b:E::bar::/s/elf:"); run("/tmp/script", "x")            # #!, then binfmt
reg(":b:E::bar::/s/elf:O"); run("/tmp/script", "x")
reg(":a:E::foo::/nowhere:"); run("/tmp/p.foo")
reg(":a:E::foo::/tmp:"); run("/tmp/p.foo")
reg(":a:E::foo::/tmp/p.foo:"); run("/tmp/p.foo")              # itself, again and again
reg(":a:M::\\x7fELF::/s/elf:"); run("/s/elf")                 # every ELF file, its interpreter too
with open(B + "status", "w") as f: f.write("-1")
for i in range(6): put("/tmp/s%d" % i, "#!/tmp/s%d\n" % (i + 1) if i < 5 else "#!/s/elf\n")
run("/tmp/s1")                                                  # five interpreters
run("/tmp/s0")                                                  # six
put("/tmp/n", "no magic at all"); run("/tmp/n")
reg(":a:E::foo::/s/elf:"); put("/tmp/q.foo", "x", 0o644); run("/tmp/q.foo")
fd = os.open("/tmp/p.foo", os.O_RDONLY | os.O_CLOEXEC)
run("fd", how=lambda: os.execve(fd, ["zero"], os.environ))
reg(":a:M::data::/s/elf:"); run("fd", how=lambda: os.execve(fd, ["zero"], os.environ))
os.set_inheritable(fd, True); run("fd", how=lambda: os.execve(fd, ["zero", "x"], os.environ))
"""
        with open(os.path.join(self.share, "nested.py"), "w") as file:
            file.write(script)
        out = self.check(self.guest("python3", "/s/nested.py"))
        tail = " no-fd flags=0 secure=0 uid=0 euid=0 execfn="
        self.assertEqual(out.splitlines(), [
            f"[/s/elf][one two][/tmp/mid][/tmp/p.foo][x]{tail}/tmp/p.foo",
            f"[/s/elf][one two][/tmp/mid][/tmp/p.foo][/tmp/p.foo][x]{tail}/tmp/p.foo".replace("flags=0", "flags=1"),
            "/tmp/p.foo ENOEXEC",
            f"[/s/elf][/tmp/interp.bar][arg][/tmp/script][x]{tail}/tmp/script",
            "[/s/elf][/tmp/interp.bar][arg][/tmp/script][x] fd=3 holds=data cloexec=0 flags=0 secure=0 uid=0 euid=0 "
            "execfn=/tmp/script",
            "/tmp/p.foo ENOENT", "/tmp/p.foo EACCES", "/tmp/p.foo ELOOP", "/s/elf ELOOP",
            f"[/s/elf][/tmp/s5][/tmp/s4][/tmp/s3][/tmp/s2][/tmp/s1]{tail}/tmp/s1",
            "/tmp/s0 ELOOP",
            "/tmp/n ENOEXEC", "/tmp/q.foo EACCES",
            # An extension is that of the name, /dev/fd/N; a magic counts, but the interpreter could not open the name.
            "fd ENOEXEC", "fd ENOENT",
            next((line for line in out.splitlines() if "/dev/fd/" in line), "a line with /dev/fd"),
        ], out)

    @unittest.skipUnless(os.path.exists("/usr/bin/qemu-aarch64-static"), "qemu-user-static is not installed")
    def test_foreign_program(self):
        self.write("arm", aarch64_program(b"hello from aarch64\n", 7), 0o755)
        magic = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
        mask = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
        for flags in ("", "OCF", "POCF"):
            out = self.check(self.shell(f"""
                /s/arm; echo "before $?"
                printf '%s\n' ':qemu-aarch64:M::{magic}:{mask}:/usr/bin/qemu-aarch64-static:{flags}' > {BINFMT}/register
                /s/arm; echo "status $?" """, options=[]))
            self.assertIn("before 126", out)
            self.assertTrue(out.endswith("hello from aarch64\nstatus 7\n"), out)

    def test_who_may_register(self):
        out = self.check(self.shell(f"""
            (echo ':x:E::y::/s/elf:' > {BINFMT}/register) 2>&1; ls {BINFMT}""", options=["-u", "nobody"]))
        self.assertIn("Permission denied", out)
        self.assertNotIn("\nx\n", out)


if __name__ == "__main__":
    unittest.main()
