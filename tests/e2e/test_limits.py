"""--pids, --memory, --cpus: bombs in the guest end in the guest's own limits, and the instance can still be stopped."""
import os
import signal
import subprocess
import time
import unittest

from harness import USL, UslTest, user_command

# Each process makes children as fast as it can, for ever.
FORK_BOMB = """
import os, sys
print("started", flush=True)
while True:
    try:
        os.fork()
    except BlockingIOError:
        pass
"""

# How many children can be alive at a time, and whether there is room again afterwards.
COUNT_CHILDREN = """
import os, signal
children = []
try:
    while True:
        child = os.fork()
        if child == 0:
            signal.pause()
        children.append(child)
except BlockingIOError:
    print(len(children))
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
# They are gone, so there is room again.
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
print("again")
"""

COUNT_THREADS = """
import threading
done = threading.Event()
threads = []
try:
    while True:
        thread = threading.Thread(target=done.wait)
        thread.start()
        threads.append(thread)
except RuntimeError:
    print(len(threads))
done.set()
"""

# Processes that hold so many MiB each, one after the other; tells how each ended.
HOLD = """
import os, signal, sys, time
def hold(mebibytes):
    child = os.fork()
    if child == 0:
        try:
            data = bytearray(mebibytes << 20)
            for i in range(0, len(data), 4096):
                data[i] = 1
        except MemoryError:
            os._exit(12)
        print("holds", flush=True)
        signal.pause()
    return child
children = [hold(int(size)) for size in sys.argv[1:]]
print("ended", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
time.sleep(0.5)
for child in children:
    try:
        os.kill(child, signal.SIGTERM)
    except ProcessLookupError:
        pass
"""


def processes_of(instance):
    """All that are below `usl run`: its kernel process, init and the guests."""
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(instance)], stdout=subprocess.PIPE, text=True).stdout
    found = []
    for pid in map(int, listing.split()):
        found += [pid, *processes_of(pid)]
    return found


class Limits(UslTest):
    def python(self, program, *arguments, options=()):
        return self.guest("python3", "-c", program, *arguments, options=options)

    def test_processes(self):
        # The interpreter is one of the ten.
        self.assertEqual(self.check(self.python(COUNT_CHILDREN, options=("--pids", "10"))).split(), ["9", "again"])

    def test_threads(self):
        self.assertEqual(self.check(self.python(COUNT_THREADS, options=("--pids", "10"))).split(), ["9"])

    def test_many_short_ones_are_no_matter(self):
        script = "for i in $(seq 100); do /bin/true; done; seq 3 | cat | cat | wc -l; dmesg | grep -c rejected"
        self.assertEqual(self.shell(script, options=("--pids", "6")).stdout.split(), ["3", "0"])

    def test_a_fork_bomb_can_be_stopped(self):
        process = subprocess.Popen(user_command([USL, "run", "--pids", "60", "--", "python3", "-c", FORK_BOMB]),
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.home.environment(), cwd="/")
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        process.stdout.readline()
        most = 0
        end = time.monotonic() + 3
        while time.monotonic() < end:
            most = max(most, len(processes_of(process.pid)))
            time.sleep(0.1)
        # Below usl are its kernel and init, too; and processes under way may be twice as many (docs/limits.md).
        self.assertGreater(most, 20)
        self.assertLessEqual(most, 2 + 2 * 60)
        guests = processes_of(process.pid)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(30), 128 + signal.SIGTERM)
        self.assertEqual([pid for pid in guests if os.path.exists(f"/proc/{pid}")], [])

    def test_the_limit_is_told_in_the_log(self):
        output = self.check(self.shell("(for i in 1 2 3 4 5 6 7 8; do sleep 1 & done) 2>/dev/null; wait; dmesg",
                                       options=("--pids", "6")))
        self.assertIn("fork rejected: the instance has its 6 processes and threads (--pids)", output)

    def test_memory_of_one_process(self):
        self.assertEqual(self.check(self.python(HOLD, "200", options=("-m", "64m"))).split(), ["ended", "12"])

    def test_memory_of_all_together(self):
        result = self.python(HOLD, "48", "30", "30", options=("--memory", "96MiB"))
        # The largest was killed, the others are left.
        self.assertIn(f"ended {-signal.SIGKILL}", self.check(result))
        self.assertIn("Out of memory: killed process", result.stderr)
        self.assertEqual(result.stderr.count("Out of memory"), 1, result.stderr)

    def test_memory_below_the_limit(self):
        # A fork shares what it does not write: 60 MiB in three processes are 60.
        program = """
import os
data = bytearray(60 << 20)
for i in range(0, len(data), 4096):
    data[i] = 1
for _ in range(2):
    if os.fork() == 0:
        import time; time.sleep(1); os._exit(0)
print(sorted(os.wait()[1] for _ in range(2)))
"""
        result = self.python(program, options=("--memory", "96m"))
        self.assertEqual((self.check(result).strip(), result.stderr), ("[0, 0]", ""))

    def test_descriptors(self):
        program = """
import errno, os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
held = []
try:
    while True:
        held.append(os.open("/etc/passwd", os.O_RDONLY))
except OSError as error:
    print(errno.errorcode[error.errno], 500 < len(held) < 512)
"""
        self.assertEqual(self.check(self.python(program)).split(), ["EMFILE", "True"])

    def test_mappings(self):
        program = """
import errno, mmap
held = []
try:
    while True:
        held.append(mmap.mmap(-1, 8 << 20))
except OSError as error:
    print(errno.errorcode[error.errno], "after", len(held))
    print("alive")
"""
        words = self.check(self.python(program.replace("mmap.mmap(-1, 8 << 20)", "mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE)"),
                                       options=("--memory", "64m"))).split()
        self.assertEqual((words[0], words[-1]), ("ENOMEM", "alive"))
        self.assertLess(int(words[2]), 8)

    def test_processors(self):
        program = """
import errno, os
print(len(os.sched_getaffinity(0)))
own = next(iter(os.sched_getaffinity(0)))
others = set(range(os.cpu_count())) - {own}
os.sched_setaffinity(0, {own} | others)
print(len(os.sched_getaffinity(0)))
try:
    os.sched_setaffinity(0, others)
except OSError as error:
    print(errno.errorcode[error.errno])
"""
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("there is one processor only")
        self.assertEqual(self.check(self.python(program, options=("--cpus", "1"))).split(), ["1", "1", "EINVAL"])
        self.assertEqual(self.check(self.python("import os; print(len(os.sched_getaffinity(0)))", options=("--cpus", "4096"))),
                         f"{len(os.sched_getaffinity(0))}\n")

    def test_wrong_values(self):
        for option, value in [("--pids", "0"), ("--pids", "x"), ("--pids", "-1"), ("--memory", "1m"), ("--memory", "lots"),
                              ("--memory", "99999999999t"), ("--memory", "64mm"), ("--cpus", "0.5"), ("--cpus", "0")]:
            result = self.guest("true", options=(f"{option}={value}",))
            self.assertEqual(result.returncode, 125, (option, value))
            self.assertIn(f'usl: {option}: "{value}" is no ', result.stderr)
            self.assertEqual(result.stderr.count("\n"), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
