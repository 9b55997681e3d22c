"""Daemons of Debian, installed inside by apt-get and driven by their own clients. Long (label full)."""
import os
import pathlib
import re
import socket
import subprocess
import time
import unittest

from harness import DebianTest, USL, user_command

PACKAGES = ("adduser cron openssh-server openssh-client sshpass rsync postgresql redis-server redis-tools nginx-light apache2 "
            "apache2-utils squid tinyproxy dante-server curl netbase valgrind ltrace")
# Waits for a port of the instance, which is one of the host.
READY = """ready() { for i in $(seq 200); do if (exec 3<>/dev/tcp/127.0.0.1/$1) 2>/dev/null; then return; fi; sleep 0.1; done
           echo "nobody listens on port $1" >&2; return 1; }
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Daemons(DebianTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls.tree is None:
            raise unittest.SkipTest("needs package sources")
        self = cls("test_users")
        self.check(self.shell(f"""export DEBIAN_FRONTEND=noninteractive
            apt-get -q update && apt-get -q install -y --no-install-recommends {PACKAGES}
            for user in alice:one bob:two; do
              adduser --quiet --disabled-password --gecos '' ${{user%:*}} && echo $user | chpasswd || exit
            done
            adduser --quiet alice sudo""", timeout=1500))

    def script(self, text, timeout=300):
        """Runs a bash script that ends at the first failure; its output."""
        return self.check(self.shell(READY + "set -e\n" + text, timeout=timeout))

    def test_users(self):
        out = self.script("""
            su alice -c 'id -un; echo one | sudo -S -p "" id -un; echo two | su bob -c "id -un" 2>/dev/null'
            su bob -c 'echo two | sudo -S -p "" id -un 2>&1 || true; echo wrong | su alice -c id 2>&1 || true'
            su bob -c 'cat /etc/shadow 2>&1 || true; kill -9 1 2>&1 || true'
            su -s /bin/sh nobody -c 'id -un; id -u' """)
        lines = out.splitlines()
        self.assertEqual(lines[:4], ["alice", "root", "bob", "bob is not in the sudoers file."], out)
        self.assertIn("Authentication failure", lines[4])
        self.assertIn("Permission denied", lines[5])
        self.assertIn("Operation not permitted", lines[6])
        self.assertEqual(lines[7:], ["nobody", "65534"])

    def test_valgrind_and_ltrace(self):
        out = self.script("valgrind /bin/ls /etc/passwd 2>&1; ltrace -f sh -c 'ls /etc/passwd; true' 2>&1")
        self.assertIn("ERROR SUMMARY: 0 errors", out)
        self.assertRegex(out, r'fwrite_unlocked\("/etc/passwd", 1, 11')
        self.assertEqual(len(re.findall(r"\+\+\+ exited \(status 0\)", out)), 2, out[-2000:])

    def test_cron(self):
        out = self.script("""
            echo '* * * * * alice id -un > /tmp/cron.out' > /etc/cron.d/job
            cron
            for i in $(seq 700); do [ ! -s /tmp/cron.out ] || break; sleep 0.1; done
            cat /tmp/cron.out; rm /etc/cron.d/job; kill $(cat /run/crond.pid)""")
        self.assertEqual(out, "alice\n")

    def test_postgresql_loses_nothing_that_was_committed(self):
        port = free_port()
        out = self.script(f"""
            export PGPORT={port}; pg_conftool 15 main set port $PGPORT
            pg_ctlcluster 15 main start; ready $PGPORT
            run() {{ su postgres -c "$1"; }}
            run 'pgbench -q -i postgres' 2>/dev/null; run 'pgbench -n -c 4 -t 100 postgres' | grep 'actually processed'
            run 'psql -qc "create table t(i int)"'
            (set +e; for i in $(seq 1000); do run "psql -qc 'insert into t values($i)'" 2>/dev/null && echo $i > /tmp/last; done) &
            until [ "$(cat /tmp/last 2>/dev/null || echo 0)" -gt 10 ]; do sleep 0.1; done
            kill -9 $(head -1 /var/lib/postgresql/15/main/postmaster.pid)
            kill $!; wait $! || true
            last=$(cat /tmp/last)
            until pg_ctlcluster 15 main start; do sleep 0.5; done 2>/dev/null; ready $PGPORT
            until run 'psql -Atc "select 1"' >/dev/null 2>&1; do sleep 0.2; done
            echo "kept $(run 'psql -Atc "select count(*) from t where i <= '$last'"') of $last"
            pg_ctlcluster 15 main stop""")
        self.assertIn("400/400", out)
        kept = re.search(r"kept (\d+) of (\d+)", out)
        self.assertEqual(kept[1], kept[2], out)

    def test_redis(self):
        port = free_port()
        out = self.script(f"""
            start() {{ redis-server --daemonize yes --appendonly yes --dir /var/tmp --port {port} >/dev/null; ready {port}; }}
            start; redis-benchmark -p {port} -q -n 3000 -t set,get,lpush --csv | grep -c '"'
            redis-cli -p {port} set key value; redis-cli -p {port} shutdown; start
            redis-cli -p {port} get key
            redis-cli -p {port} set key other; kill -9 $(redis-cli -p {port} info server | sed -n 's/process_id:\\([0-9]*\\).*/\\1/p')
            sleep 0.2; start; redis-cli -p {port} get key; redis-cli -p {port} shutdown""")
        self.assertEqual(out.splitlines()[-4:], ["OK", "value", "OK", "other"])

    def web_server(self, start, reload, stop, port):
        out = self.script(f"""
            echo content > /var/www/html/index.html; {start}; ready {port}
            ab -q -n 5000 -c 20 http://127.0.0.1:{port}/index.html & {reload}; wait $!
            curl -s http://127.0.0.1:{port}/index.html; {stop}""")
        self.assertRegex(out, r"Complete requests: +5000\nFailed requests: +0\n")
        self.assertTrue(out.endswith("content\n"), out[-500:])

    def test_nginx(self):
        port = free_port()
        self.script(f"sed -i 's/listen 80 /listen {port} /; /listen \\[::\\]/d' /etc/nginx/sites-available/default")
        self.web_server("nginx", "nginx -s reload 2>/dev/null", "nginx -s quit 2>/dev/null", port)

    def test_apache(self):
        port = free_port()
        self.script(f"""sed -i 's/^Listen .*/Listen {port}/' /etc/apache2/ports.conf
            sed -i 's/<VirtualHost .*/<VirtualHost *:{port}>/' /etc/apache2/sites-available/000-default.conf
            echo ServerName localhost > /etc/apache2/conf-enabled/name.conf""")
        self.web_server("apache2ctl start", "apache2ctl graceful", "apache2ctl stop", port)

    def test_proxies(self):
        web, tiny, squid = free_port(), free_port(), free_port()
        out = self.script(f"""
            echo through > /srv/page; (cd /srv; exec python3 -m http.server {web} --bind 127.0.0.1 >/dev/null 2>&1) &
            sed -i 's/^Port .*/Port {tiny}/' /etc/tinyproxy/tinyproxy.conf; mkdir -p /run/tinyproxy
            chown tinyproxy: /run/tinyproxy; tinyproxy
            sed -i 's/^http_port .*/http_port {squid}/; s/^acl SSL_ports .*/acl SSL_ports port {web}/' /etc/squid/squid.conf
            squid; ready {web}; ready {tiny}; ready {squid}
            for proxy in {tiny} {squid}; do curl -s -x http://127.0.0.1:$proxy http://127.0.0.1:{web}/page; done
            curl -s -p -x http://127.0.0.1:{squid} http://127.0.0.1:{web}/page""")
        self.assertEqual(out, "through\n" * 3)

    def test_socks(self):
        web, socks, ssh, forward = free_port(), free_port(), free_port(), free_port()
        out = self.script(f"""
            echo through > /srv/page; (cd /srv; exec python3 -m http.server {web} --bind 127.0.0.1 >/dev/null 2>&1) &
            printf '%s\\n' 'logoutput: /var/log/danted.log' 'internal: 127.0.0.1 port = {socks}' 'external: lo' \\
              'clientmethod: none' 'socksmethod: none' 'user.privileged: root' 'user.unprivileged: nobody' \\
              'client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}' \\
              'socks pass {{ from: 127.0.0.0/8 to: 127.0.0.0/8 command: connect }}' > /etc/danted.conf
            danted -D -f /etc/danted.conf; ready {web}; ready {socks}
            for scheme in socks5 socks5h socks4; do curl -s -x $scheme://127.0.0.1:{socks} http://127.0.0.1:{web}/page; done
            # What the rules of the proxy do not let pass.
            curl -s -x socks5://127.0.0.1:{socks} http://192.0.2.1/ || echo "refused $?"
            ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/socks; cat /root/.ssh/socks.pub >> /root/.ssh/authorized_keys
            mkdir -p /run/sshd; /usr/sbin/sshd -p {ssh} -o ListenAddress=127.0.0.1; ready {ssh}
            ssh -q -o StrictHostKeyChecking=no -i /root/.ssh/socks -p {ssh} -N -f -D 127.0.0.1:{forward} root@127.0.0.1
            ready {forward}; curl -s -x socks5://127.0.0.1:{forward} http://127.0.0.1:{web}/page""")
        self.assertEqual(out, "through\n" * 3 + "refused 97\n" + "through\n")

    def test_python_and_node_serve(self):
        first, second = free_port(), free_port()
        out = self.script(f"""
            python3 -c '
            import asyncio
            async def serve(reader, writer):
                await reader.readuntil(b"\\r\\n\\r\\n")
                writer.write(b"HTTP/1.0 200 OK\\r\\nContent-Length: 7\\r\\n\\r\\nasyncio")
                await writer.drain(); writer.close()
            async def main():
                async with await asyncio.start_server(serve, "127.0.0.1", {first}) as server: await server.serve_forever()
            asyncio.run(main())' &
            node -e 'require("http").createServer((q, a) => a.end("node")).listen({second}, "127.0.0.1")' &
            ready {first}; ready {second}; curl -s http://127.0.0.1:{first}/; curl -s http://127.0.0.1:{second}/
            for port in {first} {second}; do ab -q -n 1000 -c 10 http://127.0.0.1:$port/ | grep -E 'Complete|Failed'; done
            """.replace("\n            ", "\n"))
        self.assertTrue(out.startswith("asyncionode"), out)
        self.assertEqual(len(re.findall(r"Complete requests: +1000\nFailed requests: +0", out)), 2, out)

    def test_ssh(self):
        """From the host into the guest, and from there on to another user."""
        port, forwarded, socks, web = (free_port() for _ in range(4))
        keys = os.path.join(self.home.path, "keys")
        os.mkdir(keys, 0o755)
        key = os.path.join(keys, "key")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        public = pathlib.Path(key + ".pub").read_text().strip()
        self.script(f"""install -d -o alice -g alice -m 700 /home/alice/.ssh
            echo '{public}' > /home/alice/.ssh/authorized_keys; chown alice: /home/alice/.ssh/authorized_keys""")
        options = ["-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        ssh = ["ssh", "-p", str(port), *options, "alice@127.0.0.1"]

        def run(*command, **more):
            return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=60, **more)

        server = subprocess.Popen(user_command([USL, "run", *self.rootfs_options, "--", "sh", "-c",
                                                f"mkdir -p /run/sshd; exec /usr/sbin/sshd -D -e -p {port}"]),
                                  stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/",
                                  env=self.home.environment())
        tunnel = None
        try:
            self.wait_for(port)
            out = run(*ssh, "id -un; ps -eo user:16,args | grep '[s]shd: alice'; tty").stdout
            self.assertRegex(out, r"^alice\nroot +sshd: alice \[priv\]\nalice +sshd: alice@notty\nnot a tty\n$")
            out = run(*ssh[:1], "-tt", *ssh[1:], "tty; stty size; test -w $(tty) && echo mine").stdout
            self.assertRegex(out, r"/dev/pts/\d+\n\d+ \d+\nmine")
            login = f"ssh -p {port} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR bob@127.0.0.1"
            self.assertEqual(run(*ssh, f"SSHPASS=two sshpass -e {login} id -un").stdout, "bob\n")
            self.assertIn("denied", run(*ssh, f"SSHPASS=no sshpass -e {login} id -un").stdout)
            blob = os.urandom(2_000_000)
            pathlib.Path(keys, "blob").write_bytes(blob)
            self.assertEqual(run("scp", "-P", str(port), *options, keys + "/blob", "alice@127.0.0.1:copied").stdout, "")
            self.assertEqual(run("scp", "-O", "-P", str(port), *options, "alice@127.0.0.1:copied", keys + "/back").stdout, "")
            self.assertEqual(pathlib.Path(keys, "back").read_bytes(), blob)
            out = subprocess.run(["sftp", "-q", "-b", "-", "-P", str(port), *options, "alice@127.0.0.1"], timeout=60, text=True,
                                 input="mkdir d\nrename copied d/moved\nls -l d\n", stdout=subprocess.PIPE).stdout
            self.assertRegex(out, r"alice +2000000 .* d/moved")
            # Forwarding of ports, SOCKS, and of the agent.
            tunnel = subprocess.Popen([ssh[0], "-L", f"{forwarded}:127.0.0.1:{web}", "-D", str(socks), *ssh[1:],
                                       f"cd d && echo tunnel > page && exec python3 -m http.server {web} --bind 127.0.0.1"],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.wait_for(web)
            self.wait_for(forwarded)
            self.assertEqual(run("curl", "-s", f"http://127.0.0.1:{forwarded}/page").stdout, "tunnel\n")
            self.assertEqual(run("curl", "-s", "--socks5-hostname", f"127.0.0.1:{socks}", f"http://127.0.0.1:{web}/page").stdout,
                             "tunnel\n")
            out = run("ssh-agent", "sh", "-c", f"ssh-add -q {key}; {ssh[0]} -A {' '.join(ssh[1:])} ssh-add -l").stdout
            self.assertIn("ED25519", out)
        finally:
            for process in (tunnel, server):
                if process:
                    process.terminate()
                    process.wait(timeout=60)
            server.stderr.close()

    def wait_for(self, port):
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        self.fail(f"nobody listens on port {port}")


if __name__ == "__main__":
    unittest.main()
