"""run_suite.py python|go [PART...]: runs a suite (or parts of it) natively as root and inside, and compares.

Exit status 0: what passes natively passes inside, but for the tests of SUITE_known.txt, and those do differ. 77: skipped.
The output of each part is kept in $USL_SUITE_OUTPUT where that is set.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
from harness import GID, Home, UID, USL, make_rootfs, user_command  # noqa: E402

SKIPPED = 77
PART_SECONDS = 1800


class Python:
    """CPython's own tests, one file after the other."""
    packages = "python3-full libpython3.11-testsuite netbase tzdata"
    parts = ("os posix subprocess signal socket select selectors epoll mmap fcntl pty tempfile shutil pathlib threading "
             "multiprocessing_fork multiprocessing_spawn asyncio resource time pwd grp ioctl wait3 wait4 fork1 "
             "threadsignals").split()

    def command(self, part):
        return (f"cd /tmp && python3 -m test --timeout {PART_SECONDS - 60} --junit-xml /tmp/result.xml test_{part} 2>&1; "
                "cat /tmp/result.xml")

    def results(self, output):
        report = re.search(r"<testsuites.*?</testsuites>", output, re.S)
        if not report:
            return {}
        results = {}
        clean = re.sub(r"[^\t\n\r -\ud7ff]", "?", report[0])
        for case in xml.etree.ElementTree.fromstring(clean).iter("testcase"):
            failed = case.find("failure") is not None or case.find("error") is not None
            skipped = case.find("skipped") is not None
            results[case.get("name")] = "fail" if failed else "skip" if skipped else "pass"
        return results


class Go:
    """Tests of Go's standard library, those of the runtime that concern the system."""
    packages = "golang-go golang-src gcc libc6-dev netbase tzdata"
    parts = "os os/exec os/signal os/user syscall net io/fs path/filepath internal/poll time runtime".split()
    runtime = "Signal|Segv|Stack|Timer|Netpoll|Futex|Lock|Thread|Yield|Goroutine|Preempt|Finalizer|Usleep|Epoll|Env"

    def command(self, part):
        some = f"-run '{self.runtime}'" if part == "runtime" else ""
        return ("export GOCACHE=/var/tmp/gocache GOFLAGS=-p=1 GO111MODULE=off; cd $(go env GOROOT)/src && "
                f"go test -short -v {some} -timeout {PART_SECONDS - 60}s {part} 2>&1")

    def results(self, output):
        words = {"PASS": "pass", "FAIL": "fail", "SKIP": "skip"}
        return {match[2]: words[match[1]] for match in re.finditer(r"^\s*--- (PASS|FAIL|SKIP): (\S+)", output, re.M)}


class Trees:
    """The same Debian with the suite's packages twice: the ordinary user's, installed inside, and a copy of root's."""

    def __init__(self, packages):
        self.home = Home()
        self.inside = os.path.join(self.home.path, "inside")
        self.native = os.path.join(self.home.path, "native")
        source = make_rootfs()
        if source is None:
            self.home.remove()
            sys.exit(SKIPPED)
        subprocess.run(["setpriv", "--reuid", str(UID), "--regid", str(GID), "--clear-groups",
                        "cp", "-a", "--reflink=auto", source, self.inside], check=True)
        self.run_inside(f"export DEBIAN_FRONTEND=noninteractive; apt-get -q update && "
                        f"apt-get -q install -y --no-install-recommends {packages}", check=True)
        subprocess.run(["cp", "-a", "--reflink=auto", self.inside, self.native], check=True)
        subprocess.run(["chown", "-R", "-h", "root:root", self.native], check=True)

    def remove(self):
        self.home.remove()

    def run(self, command, check=False):
        result = subprocess.run(["nice", *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, errors="replace", cwd="/", timeout=PART_SECONDS, env=self.home.environment())
        if check and result.returncode != 0:
            print(result.stdout[-5000:])
            sys.exit(1)
        return result.stdout

    def run_inside(self, script, check=False):
        return self.run(user_command([USL, "run", "--rootfs", self.inside, "--", "sh", "-c", script]), check)

    def run_native(self, script):
        enter = ('cd "$0" && mount -t proc proc proc && mount --rbind /dev dev && mount --rbind /sys sys && '
                 'mount -t tmpfs -o mode=1777 tmpfs tmp && exec env -i HOME=/root TERM=dumb LANG=C.UTF-8 '
                 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot . sh -c "$1"')
        return self.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", enter, self.native, script])


def known_differences(name):
    """{(part, test): reason}"""
    known = {}
    for line in (HERE / f"{name}_known.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            part, test, reason = line.split(maxsplit=2)
            known[part, test] = reason
    return known


def keep(directory, part, where, output):
    if directory:
        path = pathlib.Path(directory) / f"{part.replace('/', '_')}.{where}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(output)


def compare(part, native, inside, known):
    """The complaints about one part."""
    complaints = []
    for test in sorted(native):
        same = native[test] != "pass" or inside.get(test) == "pass"
        if not same and (part, test) not in known:
            complaints.append(f"{part} {test}: passes natively, inside: {inside.get(test, 'no result')}")
        if same and native[test] == "pass" and (part, test) in known:
            complaints.append(f"{part} {test}: passes inside, but stands in the list of known differences")
    if not any(result == "pass" for result in native.values()):
        print(f"{part}: nothing passes natively, so nothing is compared")
    return complaints


def main():
    name, chosen = sys.argv[1], sys.argv[2:]
    suite = {"python": Python, "go": Go}[name]()
    if os.getuid() != 0 or not shutil.which("unshare"):
        print("skipped: the native run needs root, for a chroot")
        sys.exit(SKIPPED)
    known = known_differences(name)
    trees = Trees(suite.packages)
    complaints = []
    try:
        for part in chosen or suite.parts:
            outputs = {}
            for where, run in (("native", trees.run_native), ("inside", trees.run_inside)):
                outputs[where] = run(suite.command(part))
                keep(os.environ.get("USL_SUITE_OUTPUT"), part, where, outputs[where])
            native, inside = (suite.results(outputs[where]) for where in ("native", "inside"))
            print(f"{part}: {sum(r == 'pass' for r in native.values())} pass natively, "
                  f"{sum(r == 'pass' for r in inside.values())} inside", flush=True)
            complaints += compare(part, native, inside, known)
    finally:
        trees.remove()
    for complaint in complaints:
        print(complaint)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
