"""The file system's part of bench/run.py: data by fio, the cache of names, and instances over a large lower layer.

All of it is native against USL; native is the same uid on the same disk.
"""
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import time

FIO_PAIRS = 5
# Buffered, on a file that is there, so that memory and not the disk is what is measured.
FIO_JOBS = {
    "sequential read, 128k": ["--rw=read", "--bs=128k"],
    "sequential write, 128k": ["--rw=write", "--bs=128k"],
    "random read, 4k": ["--rw=randread", "--bs=4k"],
    "random write, 4k": ["--rw=randwrite", "--bs=4k"],
}
FIO_COMMON = ["--name=bench", "--size=128m", "--ioengine=psync", "--time_based", "--runtime=2", "--output-format=json",
              "--overwrite=1", "--fallocate=none", "--filename=bench.data", "--randrepeat=1", "--invalidate=0"]
LARGE = 100_000  # names of the cache row, files of the lower layer
START_RUNS = 15


def resident(pid):
    """VmRSS of a process in kilobytes."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def kernel_below(pid):
    """The usl-kernel process among the descendants of `pid`."""
    parents = {}
    kernels = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            comm, rest = pathlib.Path(f"/proc/{name}/stat").read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        parents[int(name)] = int(rest.split()[1])
        if comm == "usl-kernel":
            kernels.append(int(name))
    for kernel in kernels:
        at = kernel
        while at > 1:
            if at == pid:
                return kernel
            at = parents.get(at, 0)
    raise ValueError("no kernel process")


class Files:
    """`user`: the prefix that makes a command the ordinary user's; `usl`: the executable; `place`: a directory of his on the disk,
    which the view of the host shows."""

    def __init__(self, user, usl, place):
        self.user, self.usl, self.place = user, usl, place

    def make(self, count):
        """A tree of `count` files in directories of 1,000."""
        for directory in range((count + 999) // 1000):
            path = os.path.join(self.place, f"d{directory}")
            os.mkdir(path)
            for number in range(min(1000, count - directory * 1000)):
                with open(os.path.join(path, f"file-{number:04}"), "w", encoding="ascii") as file:
                    file.write("content")

    def fio(self):
        """{row: {system: [MB/s]}}; the systems take turns, in an order that changes."""
        if not shutil.which("fio"):
            return {}
        native = os.path.join(self.place, "native")
        os.mkdir(native, 0o777)
        os.chmod(native, 0o777)
        # The upper tree of the view, in a directory that the lower one has.
        inside = os.path.join(self.place, "inside")
        os.mkdir(inside, 0o777)
        os.chmod(inside, 0o777)
        rows = {}
        for row, job in FIO_JOBS.items():
            command = ["fio", *FIO_COMMON, *job]
            for _ in range(FIO_PAIRS):
                order = ["native", "usl"]
                random.shuffle(order)
                for name in order:
                    prefix = self.user if name == "native" else [*self.user, self.usl, "run", "--"]
                    result = subprocess.run([*prefix, "sh", "-c", 'cd "$0" && exec "$@"', native if name == "native" else inside, *command],
                                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd="/", timeout=120)
                    if result.returncode:
                        raise ValueError(f"fio, {name}: {result.stderr[-300:]}")
                    figures = json.loads(result.stdout[result.stdout.index("{"):])["jobs"][0]
                    side = figures["read"] if "read" in row else figures["write"]
                    rows.setdefault(row, {}).setdefault(name, []).append(side["bw_bytes"] / 1e6)
        return rows

    def cached_names(self):
        """Megabytes that the kernel process grows by when LARGE names of a tree are looked up and kept."""
        script = f'echo ready; read x; find "{self.place}" -size +1000k >/dev/null; echo done; read x'
        process = subprocess.Popen([*self.user, self.usl, "run", "--", "bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True, cwd="/")
        try:
            figures = []
            for word in ("ready", "done"):
                line = process.stdout.readline()
                if line.strip() != word:
                    raise ValueError(f"the session said {line!r}")
                figures.append(resident(kernel_below(process.pid)))
                process.stdin.write("\n")
                process.stdin.flush()
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
        return (figures[1] - figures[0]) / 1024

    def start(self):
        """Milliseconds from `usl run` to its end, each time a new instance over the view of the host."""
        file = os.path.join(self.place, "d0/file-0000")
        times = []
        for _ in range(START_RUNS):
            begin = time.monotonic()
            subprocess.run([*self.user, self.usl, "run", "--", "/bin/true"], check=True, stdin=subprocess.DEVNULL, cwd="/")
            times.append(time.monotonic() - begin)
        # It is there: an instance without the tree would prove nothing.
        subprocess.run([*self.user, self.usl, "run", "--", "test", "-f", file], check=True, stdin=subprocess.DEVNULL, cwd="/")
        return statistics.median(times) * 1000


def measure(user, usl):
    """(rows of fio, megabytes for LARGE names, start in ms over an empty and over a large lower directory)."""
    # Neither /tmp nor /var/tmp, which the view of the host does not show.
    place = tempfile.mkdtemp(prefix="usl-bench-", dir="/srv")
    try:
        os.chmod(place, 0o755)
        files = Files(user, usl, place)
        os.mkdir(os.path.join(place, "d0"))
        pathlib.Path(place, "d0/file-0000").write_text("content", encoding="ascii")
        empty = files.start()
        shutil.rmtree(os.path.join(place, "d0"))
        files.make(LARGE)
        large = files.start()
        return files.fio(), files.cached_names(), empty, large
    finally:
        shutil.rmtree(place, ignore_errors=True)
