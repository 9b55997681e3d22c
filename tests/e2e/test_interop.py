"""Programs of the host from inside, by usl-host: what the switch opens, and that nothing else does."""
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import time
import unittest

from harness import UID, USL, user_command
from test_config import SmallTreeTest, own


# Against the server, from inside: garbage of many sizes, with too few and too many descriptors, requests that lie about
# their payload or have none, and many connections that say nothing.
ATTACK = r"""
import os, socket, struct

def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect("/run/usl/interop/host")
    return s

def closed(s):
    s.settimeout(30)
    try:
        return s.recv(4096)
    except ConnectionResetError:
        return b""

for size in [0, 1, 23, 24, 25, 100, 60000]:
    s = connect()
    s.send(os.urandom(size)) if size else s.shutdown(socket.SHUT_WR)
    assert closed(s) == b"", size
null = os.open("/dev/null", os.O_RDWR)
for count in [1, 3, 4, 5, 50]:
    s = connect()
    socket.send_fds(s, [os.urandom(24)], [null] * count)
    assert closed(s) == b"", count
def launch(size, payload):
    memory = os.memfd_create("x")
    os.write(memory, payload)
    s = connect()
    socket.send_fds(s, [struct.pack("<IHHIiQ", 0x434C5355, 2, 1, 1, 0, size)], [null, null, null, memory])
    return closed(s)

fixed = lambda argc, envc, groups=0, flags=0: struct.pack("<8I", 0, 0, 0, flags, groups, argc, envc, 0)
assert launch(8, b"12345678") == b""                                     # shorter than a request
assert launch(1 << 40, fixed(1, 0)) == b"" and launch(4096, fixed(1, 0)) == b""  # longer than its memory
place = b"\0/\0"                                                           # no user, the directory
for bad in [fixed(1, 0), fixed(0, 0) + place, fixed(1 << 31, 1 << 31) + place + b"a\0",
            fixed(1, 0, 1 << 30) + place + b"a\0", fixed(1, 0, 0, 0xffffffff) + place + b"echo\0",
            fixed(2, 0) + place + b"echo\0", b"\xff" * 4096]:
    assert launch(len(bad), bad) == b"", bad[:60]
refused = fixed(1, 0) + place + b"sh\0"
assert len(launch(len(refused), refused)) == 24                           # a status
many = [connect() for _ in range(60)]
for s in many:
    s.close()
"""


@unittest.skipUnless(shutil.which("busybox"), "needs busybox-static")
class InteropTest(SmallTreeTest):
    def setUp(self):
        super().setUp()
        self.shared = pathlib.Path(self.home.path) / "shared"
        self.shared.mkdir(exist_ok=True)
        own(self.shared)

    def interop(self, policy, *command, options=(), **more):
        return self.run_tree(*command, options=["--interop", policy, "-v", f"{self.shared}:/shared", *options], **more)

    def test_off_by_default(self):
        result = self.run_tree("sh", "-c", "ls /run/usl /usr/local/bin; usl-host true")
        self.assertEqual(result.returncode, 127)
        self.assertNotIn("usl-host\n", result.stdout)

    def test_status_output_arguments_and_pipes(self):
        script = "echo in | usl-host tr a-z A-Z; usl-host sh -c 'echo err >&2; exit 7'; echo $?; " \
                 "usl-host printf '%s|' 'a b' '' \"c'd\"; usl-host sh -c 'kill -9 $$'; echo $?"
        result = self.interop("all", "sh", "-c", script)
        self.assertEqual(self.check(result), "IN\n7\na b||c'd|137\n")
        self.assertEqual(result.stderr, "err\n")

    def test_it_is_the_hosts_user_and_files(self):
        result = self.interop("all", "sh", "-c", "id -u; usl-host id -u; usl-host readlink -f /proc/self/exe")
        lines = self.check(result).splitlines()
        self.assertEqual(lines[:2], ["0", str(UID)])
        self.assertEqual(lines[2], os.path.realpath(shutil.which("readlink")))

    def test_a_shared_directory_is_the_current_one_and_others_are_the_home(self):
        script = "mkdir /shared/x; cd /shared/x; usl-host pwd; cd /etc; usl-host pwd; cd /run; usl-host pwd"
        lines = self.check(self.interop("all", "sh", "-c", script)).splitlines()
        self.assertEqual(lines, [f"{self.shared}/x", self.home.path, self.home.path])

    def test_the_list(self):
        script = "usl-host echo yes; usl-host sh -c 'echo no'; echo $?; usl-host /bin/echo no; echo $?; " \
                 "usl-host ./echo; echo $?; cd /shared; usl-host nosuch; echo $?; usl-host ''; echo $?"
        result = self.interop("echo,nosuch", "sh", "-c", script)
        self.assertEqual(self.check(result), "yes\n125\n125\n125\n127\n125\n")
        self.assertIn("usl-host: \"sh\" is not one of interop.allow", result.stderr)
        self.assertIn("the host has no program \"nosuch\"", result.stderr)

    def test_a_program_in_a_shared_directory_is_not_found_by_name(self):
        """The guest makes `echo` in its current directory; the host's PATH has a relative part."""
        script = "cd /shared; printf '#!/bin/sh\\necho evil\\n' >echo; busybox chmod 755 echo; usl-host echo good"
        environment = self.home.environment()
        environment["PATH"] = ".::" + environment["PATH"]
        self.assertEqual(self.check(self.interop("echo", "sh", "-c", script, environment=environment)), "good\n")

    def test_the_environment(self):
        script = "export USLENV=A:P/p:LD_DEBUG A=1 P=/shared/f LD_DEBUG=help PATH=$PATH:/guest; usl-host env"
        environment = self.home.environment(HOST_VALUE="h")
        everything = self.check(self.interop("all", "sh", "-c", script.replace(":LD_DEBUG A", " A"),
                                             environment=environment)).splitlines()
        self.assertIn("HOST_VALUE=h", everything)
        self.assertIn("A=1", everything)
        self.assertIn(f"P={self.shared}/f", everything)
        self.assertNotIn("/guest", "".join(e for e in everything if e.startswith("PATH=")))
        listed = self.check(self.interop("env", "sh", "-c", script, environment=environment)).splitlines()
        self.assertFalse([e for e in listed if e.startswith(("A=", "P=", "LD_DEBUG=", "USLENV="))])

    def test_the_guest_can_narrow_and_not_widen(self):
        self.write("etc/wsl.conf", "[interop]\nenabled=false\n")
        self.assertEqual(self.interop("all", "usl-host", "true").returncode, 127)
        (self.tree / "etc/wsl.conf").unlink()
        self.write("etc/usl.conf", "[interop]\npolicy='all'\nallow=['sh']\n")
        self.assertEqual(self.interop("echo", "usl-host", "sh", "-c", "true").returncode, 125)

    def test_no_new_privileges(self):
        out = self.check(self.interop("all", "usl-host", "grep", "NoNewPrivs", "/proc/self/status"))
        self.assertEqual(out.split(), ["NoNewPrivs:", "1"])

    def test_other_guest_users_are_refused(self):
        (self.tree / "bin/su").symlink_to("busybox")
        self.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n"
                                 "bob:x:1001:1001::/:/bin/sh\n")
        self.write("etc/wsl.conf", "[user]\ndefault=ann\n")
        self.check(self.interop("all", "usl-host", "true"))
        for user in ("root", "ann"):
            self.check(self.interop("all", "su", user, "-c", "/run/usl/bin/usl-host true", options=["-u", "root"]))
        result = self.interop("all", "su", "bob", "-c", "/run/usl/bin/usl-host true", options=["-u", "root"])
        self.assertEqual(result.returncode, 125)
        self.assertIn("Permission denied", result.stderr)

    def test_the_program_ends_with_its_caller_and_with_the_instance(self):
        mark = self.shared / "mark"
        wait = f"trap 'echo hup >{mark}; exit' HUP; echo started; while :; do sleep 0.1; done"
        self.interop("all", "sh", "-c", f"usl-host sh -c \"{wait}\" >/shared/out & p=$!; "
                     "while ! grep -q started /shared/out; do sleep 0.05; done; kill -9 $p; "
                     "while ! grep -q hup /shared/mark; do sleep 0.05; done")
        self.assertEqual(mark.read_text(), "hup\n")
        token = f"{os.getpid()}{time.monotonic_ns()}"
        self.check(self.interop("all", "sh", "-c", f"usl-host sh -c 'echo up; exec sleep 3{token}' >/shared/out2 & "
                                "while ! grep -q up /shared/out2; do sleep 0.05; done"))
        left = [p for p in pathlib.Path("/proc").glob("[0-9]*/cmdline") if self.has(p, token)]
        self.assertEqual(left, [])

    @staticmethod
    def has(path, token):
        try:
            return token.encode() in path.read_bytes()
        except OSError:
            return False

    def test_hostile_packets(self):
        """What a guest can send that is no request does no harm, and the next request is served."""
        attack = pathlib.Path(self.home.path) / "shared/attack.py"
        attack.write_text(ATTACK)
        own(attack)
        result = self.usl("run", "--interop", "echo", "-v", f"{self.shared}:/shared", "--", "sh", "-c",
                          "python3 /shared/attack.py && usl-host echo fine")
        self.assertEqual(self.check(result), "fine\n")
        self.assertEqual(result.stderr, "")

    def test_a_terminal(self):
        pid, master = pty.fork()
        if pid == 0:
            command = user_command([USL, "run", "--rootfs", str(self.tree), "--interop", "all", "--",
                                    "usl-host", "sh", "-c", "tty; stty size; read line; echo got $line; sleep 100"])
            os.execve(command[0], command, self.home.environment())
        output = b""
        try:
            self.assertIn(b"/dev/pts/", output := self.until(master, b"\n", output))
            os.write(master, b"word\n")
            output = self.until(master, b"got word", output)
            os.write(master, b"\x03")
            _, status = os.waitpid(pid, 0)
            pid = 0
            self.assertEqual(os.waitstatus_to_exitcode(status), 130)
        finally:
            if pid:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            os.close(master)

    def until(self, master, text, output):
        deadline = time.monotonic() + 60
        while text not in output:
            self.assertTrue(select.select([master], [], [], max(0, deadline - time.monotonic()))[0], output)
            output += os.read(master, 4096)
        return output

    def test_the_ssh_agent(self):
        agent = subprocess.Popen(user_command(["ssh-agent", "-D", "-a", f"{self.home.path}/agent"]),
                                 stdout=subprocess.DEVNULL, env=self.home.environment())
        try:
            while not os.path.exists(f"{self.home.path}/agent"):
                self.assertIsNone(agent.poll())
                time.sleep(0.01)
            environment = self.home.environment(SSH_AUTH_SOCK=f"{self.home.path}/agent")
            # SSH_AGENTC_REQUEST_IDENTITIES, answered by a list of none.
            result = self.usl("run", "--ssh-agent", "--", "python3", "-c",
                              "import os, socket; s = socket.socket(socket.AF_UNIX); "
                              "s.connect(os.environ['SSH_AUTH_SOCK']); s.sendall(b'\\0\\0\\0\\1\\13'); print(s.recv(99).hex())",
                              environment=environment)
            self.assertEqual(self.check(result), "000000050c00000000\n")
            result = self.run_tree("sh", "-c", "echo \"<$SSH_AUTH_SOCK>\"", environment=environment)
            self.assertEqual(self.check(result), "<>\n")
        finally:
            agent.terminate()
            agent.wait()


if __name__ == "__main__":
    unittest.main()
