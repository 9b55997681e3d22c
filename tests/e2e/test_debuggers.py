"""gdb and strace inside: what a debugger sees at an exec, of threads, of a process that runs already."""
import pathlib
import re
import unittest

from harness import DebianTest, SOURCE


class Debuggers(DebianTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls.tree is None:
            raise unittest.SkipTest("needs a Debian with gcc, gdb and strace")
        source = pathlib.Path(SOURCE / "tests/e2e/programs/threads.c").read_text()
        cls.program = "/root/threads"
        self = cls("test_breakpoints_in_threads")
        self.check(self.guest("gcc", "-g", "-O1", "-pthread", "-x", "c", "-o", cls.program, "-", input=source))

    def gdb(self, *commands, arguments=(), before=""):
        """Runs gdb with these commands; all of its output."""
        words = " ".join(f"-ex '{command}'" for command in ("set confirm off", "set pagination off", *commands))
        return self.check(self.shell(f"{before} gdb -nx -q -batch {words} {' '.join(arguments)} 2>&1"))

    def test_breakpoints_in_threads(self):
        out = self.gdb("break visited", "run", "info threads", "backtrace", "continue", "continue", "continue",
                       arguments=[self.program])
        self.assertEqual(len(re.findall(r'^Thread \d+ "threads" hit Breakpoint 1, visited \(n=[123]\)', out, re.M)), 3, out)
        self.assertRegex(out, r"#1 .* in run \(number=")
        self.assertIn("counted 6", out)
        self.assertRegex(out, r"exited with code 07")

    def test_the_first_instruction_is_the_interpreters(self):
        out = self.gdb("starti", "info proc exe", "info auxv", "kill", arguments=[self.program])
        self.assertRegex(out, r"0x[0-9a-f]+ in .* from /lib64/ld-linux-x86-64.so.2")
        self.assertIn(f"exe = '{self.program}'", out)
        entry = int(re.search(r"AT_ENTRY.*(0x[0-9a-f]+)", out)[1], 16)
        headers = int(re.search(r"AT_PHDR.*(0x[0-9a-f]+)", out)[1], 16)
        self.assertLess(abs(entry - headers), 0x10000, out)

    def test_an_exec_is_followed(self):
        out = self.gdb("catch exec", "run", "break visited", "continue", "backtrace", "delete", "continue",
                       arguments=["--args", "/bin/sh", "-c", f'"exec {self.program}"'])
        self.assertIn(f"is executing new program: {self.program}", out)
        self.assertRegex(out, r'hit Breakpoint \d, visited \(n=[123]\)')
        self.assertIn("exited with code 07", out)

    def test_attach_and_detach(self):
        out = self.gdb("break visited", "continue", "backtrace", "delete", "detach", arguments=["-p", "$COPROC_PID"],
                       before=f'coproc {self.program} on; read -u ${{COPROC[0]}};')
        self.assertRegex(out, r"Breakpoint 1, visited \(n=")
        self.assertRegex(out, r"#1 .* in main \(argc=2")
        self.assertIn("detached]", out)

    def test_strace_follows_a_shell(self):
        out = self.check(self.shell("""strace -f -o /tmp/log -e trace=execve,clone,exit_group,openat \
            sh -c 'cat /etc/hostname /nowhere | wc -l; exec true' 2>/dev/null; cat /tmp/log"""))
        for program in ("cat", "wc", "true"):
            self.assertRegex(out, rf'execve\("/usr/bin/{program}", \["{program}"')
        self.assertRegex(out, r'openat\(AT_FDCWD, "/nowhere", O_RDONLY\) = -1 ENOENT')
        self.assertNotIn("mmap", out)
        self.assertEqual(len(re.findall(r"\+\+\+ exited with", out)), 3, out)

    def test_strace_shows_the_first_call_of_a_new_program(self):
        out = self.check(self.shell("strace true 2>&1"))
        calls = re.findall(r"^(\w+)\(", out, re.M)
        self.assertEqual([name for name in calls if name != "execve"][0], "brk", out)


if __name__ == "__main__":
    unittest.main()
