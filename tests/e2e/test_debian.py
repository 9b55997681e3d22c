"""Real programs of an unpacked Debian, run by an ordinary user."""
import json
import os
import subprocess
import unittest

from harness import DebianTest, GID, SOURCE, UID, user_command


class Debian(DebianTest):
    def test_root_identity(self):
        out = self.check(self.guest("id"))
        self.assertTrue(out.startswith("uid=0(root) gid=0(root)"), out)

    def test_exit_statuses(self):
        self.check(self.guest("sh", "-c", "exit 7"), 7)
        self.check(self.guest("sh", "-c", "kill -TERM $$"), 128 + 15)
        self.check(self.guest("/no/such/program"), 127)
        self.check(self.guest("/etc/passwd"), 126)

    def test_pipes_stay_pipes(self):
        result = self.guest("cat", input="one\ntwo\n")
        self.assertEqual(self.check(result), "one\ntwo\n")
        result = self.shell("echo out; echo err >&2")
        self.assertEqual((result.stdout, result.stderr), ("out\n", "err\n"))

    def test_pipeline(self):
        out = self.check(self.shell("seq 1 100000 | tee >(wc -l >&2) | sort -rn | head -3 | paste -sd,"))
        self.assertEqual(out, "100000,99999,99998\n")

    def test_job_control(self):
        out = self.check(self.shell("""
            set -m
            sleep 100 & kill -STOP %1; sleep 0.1; jobs %1 | grep -c Stopped
            bg %1 >/dev/null; kill %1; wait %1; echo "status $?"
            (exit 3) & wait $!; echo "status $?" """))
        self.assertEqual(out.splitlines(), ["1", "status 143", "status 3"])

    def test_coreutils(self):
        out = self.check(self.shell("""
            cd /tmp && mkdir -p a/b && echo hello > a/b/f && ln -s b/f a/l && ln a/b/f a/h
            chown 33:33 a/b/f && chmod 4750 a/h && stat -c '%u:%g %a %h %F' a/h a/l && cp -a a c && diff -r a c && mv c d && rm -r d
            touch -d '2001-02-03 04:05:06 UTC' a/h && date -u -r a/h +%F && du -s a >/dev/null && df / >/dev/null && readlink -f a/l
            mknod n c 1 3 && mkfifo p && ls -l n p | cut -c1 && sha256sum a/b/f | cut -c1-8 && rm -r a n p"""))
        self.assertEqual(out.splitlines(), ["33:33 4750 2 regular file", "0:0 777 1 symbolic link", "2001-02-03",
                                            "/tmp/a/b/f", "c", "p", "5891b5b5"])

    def test_perl(self):
        out = self.check(self.guest("perl", "-e", '$| = 1; for (1..3) { open(my $p, "-|", "echo", "x$_") or die; print <$p>; close $p; } print `id -u`;'))
        self.assertEqual(out, "x1\nx2\nx3\n0\n")

    def test_python_json(self):
        out = self.check(self.guest("python3", "-m", "json.tool", input='{"a":[1,2]}'))
        self.assertEqual(json.loads(out), {"a": [1, 2]})

    def test_python_processes_and_threads(self):
        out = self.check(self.guest("python3", "-c", """
import subprocess, threading, multiprocessing, os
print(subprocess.run(["echo", "sub"], capture_output=True, text=True).stdout.strip())
total = []
threads = [threading.Thread(target=lambda n=n: total.append(n)) for n in range(50)]
[t.start() for t in threads]; [t.join() for t in threads]
print(sum(total))
if __name__ == "__main__":
    with multiprocessing.Pool(4) as pool:
        print(sum(pool.map(abs, range(-100, 100))))
    q = multiprocessing.get_context("spawn").Queue(); q.put(5); print(q.get())
"""))
        self.assertEqual(out.split(), ["sub", "1225", "10000", "5"])

    def test_gcc(self):
        out = self.check(self.shell("""
            cd /root && cat > t.c <<'X'
#include <stdio.h>
#include <pthread.h>
static void *run(void *p) { return p; }
int main(int argc, char **argv) { pthread_t t; void *r; pthread_create(&t, 0, run, argv[1]); pthread_join(t, &r); puts(r); return 42; }
X
            gcc -O2 -Wall t.c -o t -lpthread && ./t dynamic; echo $?; gcc -static t.c -o s && ./s static; echo $?; rm t t.c s"""))
        self.assertEqual(out.split(), ["dynamic", "42", "static", "42"])

    def test_git(self):
        out = self.check(self.shell("""
            cd /root && rm -rf repo && git init -q repo && cd repo && git config user.email a@b && git config user.name n
            for i in $(seq 100); do echo $i > f$i; done; git add . && git commit -qm first && echo x >> f1 && git commit -qam second
            git log --oneline | wc -l; git status --porcelain | wc -l; git fsck 2>&1 | wc -l; git gc -q && git show HEAD:f1"""))
        self.assertEqual(out.split(), ["2", "0", "0", "1", "x"])

    def test_busybox_static(self):
        out = self.check(self.guest("busybox", "sh", "-c", "busybox echo hi | busybox tr a-z A-Z; busybox ls /usr/bin/busybox /bin/busybox 2>/dev/null | busybox head -1"))
        self.assertEqual(out.splitlines()[0], "HI")

    def test_node(self):
        out = self.check(self.guest("node", "-e", """
const fs = require('fs'), { execSync } = require('child_process');
setTimeout(() => console.log('timer'), 5);
fs.promises.writeFile('/tmp/x', 'data').then(() => fs.promises.readFile('/tmp/x', 'utf8')).then(console.log)
  .then(() => console.log(execSync('echo child').toString().trim()));
"""))
        self.assertEqual(sorted(out.split()), ["child", "data", "timer"])

    def test_go_static(self):
        program = os.path.join(self.home.path, "goprogram")
        build = subprocess.run(["go", "build", "-o", program, str(SOURCE / "tests/e2e/programs/goroutines.go")],
                               env={**os.environ, "CGO_ENABLED": "0", "GOCACHE": os.path.join(self.home.path, "gocache"),
                                    "GO111MODULE": "off", "HOME": self.home.path}, capture_output=True, text=True)
        self.assertEqual(build.returncode, 0, build.stderr)
        os.chmod(program, 0o755)
        out = self.check(self.guest("/opt/goprogram", options=["-v", f"{program}:/opt/goprogram:ro"]))
        self.assertEqual(out.split(), ["499500", "signal", "user", "defined", "signal", "1", "child"], out)

    def test_ps_sees_only_the_instance(self):
        out = self.check(self.shell("sleep 50 & ps -e -o pid=,comm= ; kill %1"))
        names = [line.split()[1] for line in out.splitlines()]
        self.assertIn("sleep", names)
        self.assertLessEqual(set(names), {"init", "usl-init", "bash", "sleep", "ps"}, out)
        self.assertEqual(out.splitlines()[0].split()[0], "1")

    def test_setuid_su(self):
        out = self.check(self.shell("su nobody -s /bin/sh -c 'id -u; cat /etc/shadow 2>&1 | tail -1; kill -9 1 2>&1 | tail -1'"))
        self.assertEqual(out.splitlines()[0], "65534")
        self.assertIn("Permission denied", out.splitlines()[1])

    def test_host_files_keep_their_owner(self):
        self.check(self.shell("touch /root/made && chown 1234:5678 /root/made && chmod 4711 /root/made"))
        if self.tree:
            status = os.stat(os.path.join(self.tree, "root/made"))
            self.assertEqual((status.st_uid, status.st_gid, status.st_mode & 0o7000), (UID, GID, 0))
        self.assertEqual(self.check(self.guest("stat", "-c", "%u:%g %a", "/root/made")).strip(), "1234:5678 4711" if self.tree else "")


class DebianPackages(DebianTest):
    def test_apt_install(self):
        if not self.tree:
            self.skipTest("package sources cannot be reached")
        result = self.shell("apt-get update && apt-get install -y --no-install-recommends nginx-light bc && nginx -v && echo '6*7' | bc",
                            environment=self.home.environment(DEBIAN_FRONTEND="noninteractive"), timeout=600,
                            options=["-e", "DEBIAN_FRONTEND=noninteractive"])
        out = self.check(result)
        self.assertEqual(out.splitlines()[-1], "42")
        out = self.check(self.shell("dpkg --audit; dpkg -V bc | grep -v /usr/share/doc/ | grep -v /usr/share/man/; dpkg -s nginx-light | grep ^Status; apt-get remove -y bc >/dev/null; command -v bc || echo gone"))
        self.assertEqual(out.splitlines(), ["Status: install ok installed", "gone"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
