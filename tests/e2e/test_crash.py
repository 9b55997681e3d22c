"""The kernel process is killed in the middle of changes, again and again. After each time the tree is clean for `usl fsck`, what
was done is there, and what was under way is as before or as after (tests/tools/crash_workload.cc has the model).

USL_CRASH_KILLS: how often in all (10). USL_CRASH_SEED: the seed, which each run prints.
"""
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from harness import GID, UID, USL, UslTest, user_command

KILLS = int(os.environ.get("USL_CRASH_KILLS", "10"))
WORKLOAD = os.environ.get("USL_CRASH_WORKLOAD", "")
def lower_place():
    """A directory that the view of the host shows: not in /tmp and the like, where a checkout may be. None where there is none."""
    place = os.path.realpath(os.environ.get("USL_CRASH_LOWER", os.path.dirname(os.path.abspath(__file__))))
    hidden = ("/tmp/", "/var/tmp/", "/run/", "/dev/")
    return next((each for each in (place, "/srv", "/opt") if not f"{each}/".startswith(hidden) and os.access(each, os.W_OK)), None)


LOWER_PLACE = lower_place()
WORKERS = 3
KILLS_PER_TREE = 20


def content(seed, size):
    """As Content() of the workload."""
    mask = (1 << 64) - 1
    state, text = seed, bytearray()
    for _ in range(size):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        text.append(97 + (z ^ (z >> 31)) % 26)
    return bytes(text)


LOWER = {"low0": 10, "low1": 5000, "low2": 300000, "low3": 2500000, "low4": 0}
_contents = {}


def make_lower(directory):
    for worker in range(WORKERS):
        own = os.path.join(directory, str(worker))
        os.makedirs(os.path.join(own, "lowd"))
        for name, size in LOWER.items():
            if size not in _contents:
                _contents[size] = content(size, size)
            with open(os.path.join(own, name), "wb") as file:
                file.write(_contents[size])
            os.chmod(os.path.join(own, name), 0o644)
        os.link(os.path.join(own, "low1"), os.path.join(own, "low5"))
        with open(os.path.join(own, "lowd/inner"), "w", encoding="ascii") as file:
            file.write("inner")
        os.chmod(os.path.join(own, "lowd"), 0o755)


def give(path):
    """To the ordinary user, whole."""
    if os.getuid() != 0:
        return
    for parent, directories, files in os.walk(path):
        for name in directories + files:
            os.chown(os.path.join(parent, name), UID, GID, follow_symlinks=False)
    os.chown(path, UID, GID)


class Crash(UslTest):
    def setUp(self):
        self.seed = int(os.environ.get("USL_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
        self.random = random.Random(self.seed)
        print(f"USL_CRASH_SEED={self.seed}", flush=True)
        self.count = 0

    def new_tree(self, kind):
        """A tree of its kind: (options of run, the workload's directory, what fsck gets, its owner arguments)."""
        self.count += 1
        base = os.path.join(self.home.path, f"{kind}-{self.count}")
        if kind == "layers":
            # The view of the host over a directory with files: copy-ups. Not in the home nor in /var/tmp, which the view
            # hides.
            base = os.path.join(LOWER_PLACE, f"crash-{os.getpid()}-{self.count}")
            make_lower(base)
            give(base)
            self.addCleanup(shutil.rmtree, base, ignore_errors=True)
            name = f"crash-{self.count}"
            tree = os.path.join(self.home.path, ".local/share/usl/kept", name, "upper/tree")
            return ["--keep", name, "-v", f"{WORKLOAD}:/crash_workload:ro"], base, tree, [str(UID), str(GID)]
        os.makedirs(os.path.join(base, "bin"))
        os.makedirs(os.path.join(base, "data"))
        shutil.copy(WORKLOAD, os.path.join(base, "bin/sh"))
        if kind == "sidecar":
            os.makedirs(os.path.join(base, ".usl"), 0o700)
            open(os.path.join(base, ".usl/sidecar"), "wb").close()
        give(base)
        return ["--rootfs", base], "/data", base, ["-", "-"]

    def command(self, mode, options, directory, owner, seed, progress):
        program = "/crash_workload" if "--keep" in options else "/bin/sh"
        return user_command([USL, "run", *options, "--", program, mode, directory, str(seed), *owner,
                             *(f"{worker}:{ended}:{begun}" for worker, (ended, begun) in sorted(progress.items()))])

    def read_line(self, line, progress, done):
        words = line.split()
        if words and words[0] in "BECP":
            worker, number = int(words[1]), int(words[2])
            ended, begun = progress[worker]
            if words[0] == "B":
                progress[worker] = (ended, number)
            else:
                progress[worker] = (number, number)
            done[words[0]] += 1
            return
        self.fail(f"seed {self.seed}: {line}")

    @staticmethod
    def kernel_of(supervisor):
        # By all processes: the list of children may skip one while a sibling ends.
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    comm, rest = file.read().split("(", 1)[1].rsplit(")", 1)
            except OSError:
                continue
            if comm == "usl-kernel" and int(rest.split()[1]) == supervisor:
                return int(name)
        return None

    def run_and_kill(self, command, progress, done):
        errors = tempfile.TemporaryFile("w+")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd="/",
                                   env=self.home.environment())
        self.addCleanup(errors.close)
        self.addCleanup(process.stdout.close)
        try:
            # By changes and not by time, so that a slow machine gets as far; then somewhere within one.
            wanted = self.random.choice([1, 3, 10, 30, 100, 300]) + self.random.randrange(10)
            before = done["E"]
            while done["E"] < before + wanted:
                line = process.stdout.readline()
                if not line:
                    break
                self.read_line(line, progress, done)
            time.sleep(self.random.random() * 0.003)
            kernel = self.kernel_of(process.pid)
            if kernel is None:
                errors.seek(0)
                self.fail(f"seed {self.seed}: there is no kernel process; usl's status: {process.poll()}\n{errors.read()}")
            os.kill(kernel, signal.SIGKILL)
            # Not by communicate(): it does not know of what is in the buffer of stdout.
            for line in process.stdout:
                self.read_line(line, progress, done)
            process.wait(timeout=120)
        finally:
            # By SIGTERM: without its supervisor an instance that has no kernel either would stay.
            process.terminate()
            process.wait(timeout=120)
        errors.seek(0)
        self.assertEqual(process.returncode, 125, errors.read())

    def fsck(self, tree):
        result = self.usl("fsck", "--json", tree)
        self.assertEqual(result.returncode, 0, f"seed {self.seed}\n{result.stdout[-4000:]}{result.stderr}")
        report = json.loads(result.stdout)
        return [problem for problem in report["problems"] if problem["severity"] == "note"]

    def crash(self, kind, kills):
        done = dict.fromkeys("BECP", 0)
        notes = 0
        while kills > 0:
            options, directory, tree, owner = self.new_tree(kind)
            seed = self.random.randrange(1, 1 << 31)
            progress = {worker: (0, 0) for worker in range(WORKERS)}
            for _ in range(min(kills, KILLS_PER_TREE)):
                self.run_and_kill(self.command("go", options, directory, owner, seed, progress), progress, done)
                notes += len(self.fsck(tree))
                kills -= 1
            result = subprocess.run(self.command("check", options, directory, owner, seed, progress),
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/", timeout=300,
                                    env=self.home.environment())
            for line in result.stdout.splitlines():
                self.read_line(line, progress, done)
            self.check(result)
            self.fsck(tree)
            shutil.rmtree(tree, ignore_errors=True)
        print(f"{kind}: {done['E']} changes, {done['P']} writes cut in two, "
              f"{notes} leftovers", flush=True)

    def test_tree(self):
        self.crash("tree", KILLS - KILLS * 2 // 5 - KILLS * 3 // 10)

    def test_sidecar(self):
        self.crash("sidecar", KILLS * 3 // 10)

    @unittest.skipIf(LOWER_PLACE is None, "no directory that the view of the host shows can be written to")
    def test_layers(self):
        self.crash("layers", KILLS * 2 // 5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
