#!/usr/bin/env python3
"""Measures USL beside native, proot and gVisor (runsc, ptrace platform) in one run, as ratios, and writes the page.

    bench/run.py --usl build/release/usl --output docs/benchmarks.md

Needs root for the native runs (chroot into the same tree) and for runsc; USL and proot run as an ordinary user without user
namespaces (tests/tools/ordinary_user). The rounds of all systems take turns, so that a machine that drifts drifts for all;
a figure is the median of the rounds.
"""
import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import files

SOURCE = pathlib.Path(__file__).resolve().parents[1]
UID = 1000
DEVICES = ["/dev/null", "/dev/urandom"]
SAME_OUTPUT = 0.02  # by how much a row's count may differ from native's: /tmp and /proc are not the same everywhere

# Has a target of its own and is not in the mean of the others. Each time into a new directory that nothing was removed
# from: where much has just been removed, ext4 looks long for inode numbers that it may use again.
UNTAR_LARGE = "tar x, 20,000 files, to disk"
MACRO = {
    "python start": "python3 -c pass",
    "10 gcc -c": "cd /tmp/work && for i in 0 1 2 3 4 5 6 7 8 9; do gcc -O1 -c hello.c -o h$i.o; done",
    "git add + status, 2000 files": "cd /tmp/work && rm -rf repo && cp -r files repo && cd repo && git init -q . && git add . && git status --porcelain | wc -l",
    "tar x, 2000 files": "cd /tmp/work && rm -rf out && mkdir out && tar xf files.tar -C out",
    UNTAR_LARGE: (
        "ln -sfn $(mktemp -d /var/tmp/usl-bench-untar.XXXXXX) /var/tmp/usl-bench-untar && sync -f /var/tmp",
        "tar xf /tmp/work/many.tar -C /var/tmp/usl-bench-untar/"),
    "find /usr": "find /usr | wc -l",
    "ls -lR /usr": "ls -lR /usr 2>/dev/null | wc -l",
    "200 x /bin/true from bash": "for ((i=0;i<200;i++)); do /bin/true; done",
}
SETUP = """
mkdir -p /tmp/work/files && cd /tmp/work && for i in $(seq 2000); do echo "content of file $i" > files/f$i; done
tar cf files.tar files
mkdir many && for d in $(seq 100); do mkdir many/d$d && for i in $(seq 200); do echo "$d $i" > many/d$d/f$i; done; done
tar cf many.tar many && rm -rf many
cat > hello.c <<X
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void) { puts("hello"); return 0; }
X
"""
# What runs for each system: set up once, then one line to time each command from within, so that a system's own start-up
# does not count. A pair is what goes before each run, and what is timed.
DRIVER = r"""
import subprocess, sys, time, json, os
setup, commands, repeats = json.load(sys.stdin)
subprocess.run(["bash", "-c", setup], check=True)
for name, command in commands.items():
    times = []
    before, command = command if isinstance(command, list) else (None, command)
    for _ in range(repeats):
        if before:
            subprocess.run(["bash", "-c", before], check=True)
        start = time.monotonic()
        output = subprocess.run(["bash", "-c", command], check=True, stdout=subprocess.PIPE, text=True).stdout
        times.append(time.monotonic() - start)
    print(json.dumps([name, sorted(times)[len(times) // 2], int(output.strip() or 0)]), flush=True)
subprocess.run(["rm", "-rf", "/tmp/work", "/var/tmp/usl-bench-untar"])
"""


NOTES = """## Reading the figures

- Data calls are native; what is above 1.0 there is the host's evaluation of the seccomp filter.
- A served call costs two context switches, some 6 us here, and 2 to 10 us for reading and writing the guest's memory and asking
  the host. `find` and `tar` make little else than served calls, so they are the slowest rows against native.
- `stat` of the single calls asks for one name again and again, so it is answered inside the guest
  (src/kernel/README-fast-path.md): the best case. The first time it is a served call, as fstat is each time. `ls -lR` and
  `gcc -c` show what that does to work; each was run three times in one session, of which the median counts.
- `raise` makes two served calls since handlers are set through the kernel (no SA_RESTART: src/platform/README.md).
- Single calls of proot and runsc are faster where the tracer stays on the guest's processor, slower by several times where
  it does not; which one it is changes from run to run.
"""

# Servers with their own load generators (--services): each script prints requests (or transactions) per second. As an
# ordinary user of the tree, as PostgreSQL wants it, with everything below /tmp.
SERVICE_PACKAGES = "redis-server redis-tools postgresql postgresql-contrib nginx-light apache2-utils"
SERVICE_PORT = 46379
NGINX = """rm -rf /tmp/web; mkdir /tmp/web; printf '%%1024s' '' > /tmp/web/page
cat > /tmp/web/nginx.conf <<X
pid /tmp/web/pid; error_log /tmp/web/error; worker_processes 1; events { worker_connections 512; }
http { access_log off; client_body_temp_path /tmp/web/a; proxy_temp_path /tmp/web/b; fastcgi_temp_path /tmp/web/c;
  uwsgi_temp_path /tmp/web/d; scgi_temp_path /tmp/web/e; server { listen 127.0.0.1:%d; root /tmp/web; } }
X
/usr/sbin/nginx -c /tmp/web/nginx.conf 2>/dev/null; until [ -s /tmp/web/pid ]; do sleep 0.1; done
ab -q -n 20000 -c 20 http://127.0.0.1:%d/page | awk '/^Requests per second/ { print $4 }'
kill $(cat /tmp/web/pid)""" % (SERVICE_PORT, SERVICE_PORT)
POSTGRESQL = """rm -rf /tmp/pg; bin=$(echo /usr/lib/postgresql/*/bin); $bin/initdb -D /tmp/pg -A trust >/dev/null 2>&1
$bin/pg_ctl -D /tmp/pg -w -l /tmp/pg/log -o "-k /tmp/pg -c listen_addresses=" start >/dev/null
$bin/pgbench -q -i -s 5 -h /tmp/pg postgres >/dev/null 2>&1
$bin/pgbench -n -c 4 -j 2 -T 5 -h /tmp/pg postgres 2>/dev/null | awk '/^tps/ { print $3 }'
$bin/pg_ctl -D /tmp/pg -w stop >/dev/null"""
REDIS = """redis-server --port %d --save '' --appendonly no --dir /tmp >/dev/null & server=$!
until redis-cli -p %d ping >/dev/null 2>&1; do sleep 0.1; done
redis-benchmark -p %d -t {command} -n 60000 --csv | awk -F'"' '/{test}/ {{ print $4 }}'; kill $server; wait""" % (
    (SERVICE_PORT,) * 3)
SERVICES = {
    "redis GET": REDIS.format(command="get", test="GET"),
    "redis SET": REDIS.format(command="set", test="SET"),
    "pgbench, 4 clients": POSTGRESQL,
    "nginx, 1 KiB, ab -c 20": NGINX,
}


class Systems:
    def __init__(self, usl, tree, ordinary_user, wanted):
        self.tree = tree
        self.usl = usl
        self.user = user = [ordinary_user, f"{UID}:{UID}", "env", f"HOME={os.path.dirname(tree)}"]
        self.prefix = {
            "native": ["chroot", f"--userspec={UID}:{UID}", tree],
            "usl": [*user, usl, "run", "--rootfs", tree, "--"],
            "proot": [*user, "proot", "-0", "-r", tree, "-b", "/dev", "-b", "/proc", "-w", "/"],
            "runsc": ["runsc", "-platform", "ptrace", "-network", "none", "-ignore-cgroups", "do", "-quiet", "-root", tree, "--"],
        }
        self.prefix = {name: prefix for name, prefix in self.prefix.items()
                       if name in wanted and (name != "proot" or shutil.which("proot")) and (name != "runsc" or shutil.which("runsc"))}

    def as_user(self, name):
        """The prefix for a user of the tree who is not root."""
        prefix = list(self.prefix[name])
        if name == "usl":
            at = prefix.index("run") + 1
            prefix[at:at] = ["-u", str(UID)]
        elif name == "proot":
            prefix[prefix.index("-0")] = "-i"
            prefix.insert(prefix.index("-i") + 1, f"{UID}:{UID}")
        return prefix

    def run(self, name, command, pin=False, prefix=None, **options):
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/tmp"}
        # Never the machine's /dev/null: runsc gives its standard streams to the user that its sandbox runs as.
        options.setdefault("input", "")
        # A whole system is pinned from outside: its kernel or tracer too.
        return subprocess.run([*(["taskset", "1"] if pin else []), *(prefix or self.prefix[name]), *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=environment, cwd="/", **options)


def collect(systems, rounds, measure):
    """{row: {system: [figures]}} over all rounds; a system that fails is dropped and said so."""
    rows, failed = {}, {}
    for _ in range(rounds):
        for name in systems.prefix:
            if name in failed:
                continue
            try:
                for row, value in measure(name):
                    rows.setdefault(row, {}).setdefault(name, []).append(value)
            except (subprocess.SubprocessError, ValueError) as error:
                failed[name] = str(error)
                print(f"{name}: {error}", file=sys.stderr)
    return rows, failed


def micro(systems, seconds, pin):
    def measure(name):
        result = systems.run(name, ["/opt/usl-micro", str(seconds)], pin, timeout=600)
        if result.returncode:
            raise ValueError(f"micro failed: {result.stderr[-300:]}")
        for line in result.stdout.splitlines():
            row, value = line.split()
            yield row, float(value)
    return measure


def macro(systems, repeats, failed_rows):
    counts = {}

    def measure(name):
        result = systems.run(name, ["python3", "-c", DRIVER], input=json.dumps([SETUP, MACRO, repeats]), timeout=1800)
        for line in result.stdout.splitlines():
            row, value, count = json.loads(line)
            expected = counts.setdefault(row, count)  # of the first system, the native one
            if abs(count - expected) > SAME_OUTPUT * expected:
                failed_rows[f"{name}, {row}"] = f"wrong output ({count} lines, not {expected})"
            else:
                yield row, value
        if result.returncode:  # the rows before it count
            raise ValueError("macro failed: " + (result.stderr.strip().splitlines() or [f"status {result.returncode}"])[-1])
    return measure


def services(systems, failed_rows):
    """Rates of the servers; runsc is left out, as its network is off."""
    def measure(name):
        if name == "runsc":
            return
        for row, command in SERVICES.items():
            if f"{name}, {row}" in failed_rows:
                continue
            result = systems.run(name, ["bash", "-ec", command], prefix=systems.as_user(name), timeout=600)
            if result.returncode or not result.stdout.strip():
                failed_rows[f"{name}, {row}"] = (result.stderr.strip().splitlines() or [f"status {result.returncode}"])[-1]
            else:
                yield row, float(result.stdout)
    return measure


def start_time(systems, usl_prefix):
    times = []
    for _ in range(21):
        start = time.monotonic()
        subprocess.run([*usl_prefix, "/bin/true"], check=True, stdin=subprocess.DEVNULL, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.monotonic() - start)
    return statistics.median(times)


def kernel_memory(usl_prefix):
    """Resident kilobytes of the kernel process after a bash session."""
    process = subprocess.Popen([*usl_prefix, "bash", "-c", "ls -l / /usr/bin > /dev/null; for i in 1 2 3 4 5; do id; ps aux; done > /dev/null; echo ready; read x"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/")
    process.stdout.readline()
    resident = 0
    for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == "usl-kernel":
                for line in (path.parent / "status").read_text().splitlines():
                    if line.startswith("VmRSS:"):
                        resident = max(resident, int(line.split()[1]))
        except OSError:
            continue
    process.communicate("\n")
    return resident


def number(value):
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def table(rows, systems, unit, scale):
    names = [name for name in systems if any(name in figures for figures in rows.values())]
    head = "| |" + "".join(f" {name} ({unit}) |" for name in names) + "".join(f" {name} / native |" for name in names if name != "native")
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    for row, figures in rows.items():
        median = {name: statistics.median(values) for name, values in figures.items()}
        cells = [number(median[name] * scale) if name in median else "-" for name in names]
        ratios = [f"{median[name] / median['native']:.2f}" if name in median and "native" in median else "-" for name in names if name != "native"]
        lines.append("| " + " | ".join([row, *cells, *ratios]) + " |")
    return "\n".join(lines)


def geometric_mean(rows, name, against):
    ratios = [statistics.median(f[name]) / statistics.median(f[against]) for row, f in rows.items()
              if row != UNTAR_LARGE and name in f and against in f]
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else float("nan")


def verdicts(free, pinned, whole, start, memory, file_figures):
    """One line for each target that the project has set itself: what, how much was allowed, what was measured."""
    def ratio(rows, row, above, below):
        figures = rows.get(row, {})
        if above not in figures or below not in figures:
            return float("nan")
        return statistics.median(figures[above]) / statistics.median(figures[below])

    data = ["read", "write", "pread", "lseek", "futex-wake", "mmap-munmap", "pipe-ping-pong"]
    checks = [("slowest of the data calls, to native", max(ratio(free, row, "usl", "native") for row in data), "<=", 1.3)]
    for rows, where, factor in ((free, "unpinned", 8), (pinned, "on one processor", 3)):
        checks += [(f"{row} {where}, proot to USL", ratio(rows, row, "proot", "usl"), ">=", factor)
                   for row in ("stat", "open-close", "fstat")]
    checks.append(("fork-exec-wait, to native", ratio(free, "fork-exec-wait", "usl", "native"), "<=", 2))
    if whole:
        checks += [("work, geometric mean to native", geometric_mean(whole, "usl", "native"), "<=", 1.8),
                   ("work, geometric mean of proot to USL", geometric_mean(whole, "proot", "usl"), ">=", 3)]
        checks.append((f"{UNTAR_LARGE}, to native", ratio(whole, UNTAR_LARGE, "usl", "native"), "<=", 1.8))
    checks.append(("create-write-close-unlink on disk, to native", ratio(free, "create-write-close-unlink-disk", "usl", "native"), "<=", 2.5))
    if file_figures:
        fio, names, _, large = file_figures
        checks += [(f"fio, {row}, USL to native", ratio(fio, row, "usl", "native"), ">=", 0.9) for row in fio]
        checks += [("100,000 cached names, MB", names, "<=", 60), ("instance over 100,000 more files, ms", large, "<=", 20)]
    checks += [("`usl run -- /bin/true`, ms", start * 1000, "<=", 20), ("the kernel process, MB", memory / 1024, "<=", 12)]
    lines = ["| target | allowed | measured | |", "|---|---|---|---|"]
    for what, value, way, bound in checks:
        met = value <= bound if way == "<=" else value >= bound
        lines.append(f"| {what} | {way} {bound} | {value:.3g} | {'met' if met else 'missed'} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--usl", required=True)
    parser.add_argument("--output", help="the page to write; standard output without it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2, help="for each micro row")
    parser.add_argument("--repeats", type=int, default=3, help="of each macro row in a round, of which the median counts")
    parser.add_argument("--systems", default="native,usl,proot,runsc")
    parser.add_argument("--skip-macro", action="store_true")
    parser.add_argument("--services", action="store_true", help="redis, PostgreSQL and nginx too; installs them in the tree")
    parser.add_argument("--skip-files", action="store_true")
    options = parser.parse_args()
    if os.getuid() != 0:
        sys.exit("bench/run.py: the native runs need root (chroot into the same tree)")
    build = pathlib.Path(options.usl).resolve().parent
    source = subprocess.run([SOURCE / "tests/rootfs/make_rootfs.sh", f"{UID}:{UID}"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1]
    work = tempfile.mkdtemp(prefix="usl-bench-", dir="/var/tmp")
    try:
        os.chown(work, UID, UID)
        tree = os.path.join(work, "tree")
        subprocess.run(["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", "cp", "-a", source, tree], check=True)
        os.makedirs(os.path.join(tree, "opt"), exist_ok=True)
        # Static copies that the ordinary user may run, outside of a home that he may not read.
        binaries = os.path.join(work, "bin")
        os.mkdir(binaries)
        for binary in [build / "usl", build / "tests/tools/ordinary_user"]:
            shutil.copy(binary, binaries)
        shutil.copy(build / "bench/usl_micro", os.path.join(tree, "opt/usl-micro"))
        for directory in ("dev", "proc"):
            os.makedirs(os.path.join(tree, directory), exist_ok=True)
        # USL's /tmp is a tmpfs, so it is one for all.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "usl-bench", os.path.join(tree, "tmp")], check=True)
        for device in DEVICES:  # of the native runs
            with open(tree + device, "w"):
                pass
            subprocess.run(["mount", "--bind", device, tree + device], check=True)
        page = measure_all(options, Systems(os.path.join(binaries, "usl"), tree, os.path.join(binaries, "ordinary_user"), options.systems.split(",")))
    finally:
        for place in [*DEVICES, "/tmp"]:
            subprocess.run(["umount", f"{work}/tree{place}"], stderr=subprocess.DEVNULL)
        shutil.rmtree(work, ignore_errors=True)
    if options.output:
        pathlib.Path(options.output).write_text(page)
    print(page)


def measure_all(options, systems):
    free, failed = collect(systems, options.rounds, micro(systems, options.seconds, False))
    pinned, _ = collect(systems, 1, micro(systems, options.seconds, True))
    failed_rows = {}
    rates, failed_services = {}, {}
    if options.services:
        installed = systems.run("usl", ["bash", "-c", "apt-get update -q && DEBIAN_FRONTEND=noninteractive "
                                        f"apt-get install -qy --no-install-recommends {SERVICE_PACKAGES} && useradd -u {UID} bench"], timeout=1800)
        if installed.returncode:
            sys.exit(f"bench/run.py: cannot install the servers: {installed.stderr[-500:]}")
        rates, failed_services = collect(systems, options.rounds, services(systems, failed_rows))
    whole, failed_macro = ({}, {}) if options.skip_macro else collect(
        systems, options.rounds, macro(systems, options.repeats, failed_rows))
    start = start_time(systems, systems.prefix["usl"])
    memory = kernel_memory(systems.prefix["usl"])
    file_figures = None
    if not options.skip_files:
        try:
            file_figures = files.measure(systems.user, systems.usl)
        except (subprocess.SubprocessError, OSError, ValueError) as error:
            failed["files"] = str(error)
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    names = list(systems.prefix)
    parts = [
        "# Benchmarks", "",
        "Written by `make bench` (`bench/run.py`). Ratios hold; absolute times are this machine's on that day.", "",
        f"Machine: {cpu}, {os.cpu_count()} processors, Linux {platform.release()}, {datetime.date.today()}. "
        f"1-minute load at the end: {os.getloadavg()[0]:.1f}. "
        f"Medians of {options.rounds} rounds in which the systems took turns; one Debian tree for all, with /tmp in memory. USL and proot as an ordinary user without user namespaces.", "",
        "## Single calls, unpinned", "", table(free, names, "ns", 1), "",
        "## Single calls, guest and USL on one processor", "", table(pinned, names, "ns", 1), ""]
    if whole:
        parts += ["## Work", "", table(whole, names, "ms", 1000), "",
                  f"Geometric mean of the ratios: USL / native {geometric_mean(whole, 'usl', 'native'):.2f}; "
                  f"proot / USL {geometric_mean(whole, 'proot', 'usl'):.2f}; runsc / USL {geometric_mean(whole, 'runsc', 'usl'):.2f}.", ""]
    if rates:
        parts += ["## Servers", "", "Requests or transactions per second: more is better, and so are larger ratios.", "",
                  table(rates, [name for name in names if name != "runsc"], "1/s", 1), ""]
    parts += ["## Start and memory", "",
              f"`usl run -- /bin/true`, start to end: {start * 1000:.1f} ms (median of 21). The kernel process after a bash session: {memory / 1024:.1f} MB resident.", ""]
    if file_figures:
        fio, cached, empty, large = file_figures
        parts += ["## Files", ""]
        if fio:
            parts += [f"Data by fio, buffered, in the view of the host; medians of {files.FIO_PAIRS} paired runs of 2 s.", "",
                      table(fio, ["native", "usl"], "MB/s", 1), ""]
        parts += [f"{files.LARGE:,} names looked up and kept: {cached:.1f} MB more in the kernel process. `usl run -- /bin/true` in the view of the "
                  f"host: {empty:.1f} ms; with {files.LARGE:,} more files in the lower layer {large:.1f} ms (medians of {files.START_RUNS}).", ""]
    parts += ["## Targets", "", verdicts(free, pinned, whole, start, memory, file_figures), ""]
    for name, why in {**failed, **failed_macro, **failed_services, **failed_rows}.items():
        parts += [f"{name} did not finish: {why}.", ""]
    parts.append(NOTES)
    return "\n".join(parts)


if __name__ == "__main__":
    main()
