"""More of Debian's tools on files: those that have to be installed, by apt-get inside."""
import unittest

from harness import DebianTest
from test_files import DESCRIBE, MAKE_TREE

PACKAGES = "rsync fio sqlite3 inotify-tools dbench"


class InstalledTools(DebianTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not cls.tree:
            raise unittest.SkipTest("package sources cannot be reached")
        cls.check(cls(), cls().shell(f"apt-get update -q && apt-get install -qy --no-install-recommends {PACKAGES}",
                                     options=["-e", "DEBIAN_FRONTEND=noninteractive"], timeout=900))

    def runTest(self):
        pass

    def test_what_was_installed_is_whole(self):
        out = self.check(self.shell(f"dpkg --audit; dpkg -V {PACKAGES} | grep -v /usr/share/ ; echo fine"))
        self.assertEqual(out, "fine\n")

    def test_rsync(self):
        out = self.check(self.shell(MAKE_TREE + DESCRIBE + """
            rm -rf /srv/u; rsync -aHAXS --modify-window=-1 --numeric-ids /srv/t/ /srv/u/ ; describe /srv/t > /tmp/t; describe /srv/u > /tmp/u; diff /tmp/t /tmp/u
            rsync -aHAXSi --modify-window=-1 --numeric-ids /srv/t/ /srv/u/ ; echo new >> /srv/t/f; rm /srv/t/sparse
            rsync -aHAXSi --modify-window=-1 --delete --numeric-ids /srv/t/ /srv/u/ ; describe /srv/t > /tmp/t; describe /srv/u > /tmp/u; diff /tmp/t /tmp/u && echo same"""))
        lines = out.splitlines()
        self.assertEqual(lines[-1], "same", out)
        self.assertIn("*deleting   sparse", lines)

    def test_fio_verifies(self):
        out = self.check(self.shell("""
            cd /tmp && fio --name=v --size=32m --rw=randrw --bs=4k --verify=crc32c --do_verify=1 --verify_fatal=1 --ioengine=psync --numjobs=2 --minimal > log && echo fine
            fio --name=m --size=16m --rw=randwrite --bs=16k --verify=sha256 --verify_fatal=1 --ioengine=mmap --minimal >> log && echo fine"""))
        self.assertEqual(out.split(), ["fine", "fine"])

    def test_dbench(self):
        # Its load file is a long session of a file server: opens, renames, locks, attributes and removals by several clients at once.
        for place in ("/srv", "/tmp"):
            out = self.check(self.shell(f"mkdir -p {place}/db && dbench -c /usr/share/dbench/client.txt -D {place}/db -t 10 4; echo status $?"))
            self.assertIn("Throughput", out)
            self.assertIn("status 0", out)
            self.assertNotIn("ERROR", out)
            self.assertNotIn("failed", out)

    def test_inotifywait(self):
        out = self.check(self.shell("""
            mkdir -p /tmp/watched && cd /tmp/watched && (inotifywait -q -m -r --format '%e %f' -o /tmp/events . & echo $! > /tmp/watcher)
            until grep -q inotify /proc/$(cat /tmp/watcher)/fdinfo/* 2>/dev/null; do sleep 0.05; done; sleep 0.5
            echo x > a; mv a b; chmod 600 b; mkdir d; sleep 0.3; touch d/in; rm b; sleep 0.5; kill $(cat /tmp/watcher); cat /tmp/events"""))
        lines = out.splitlines()
        for expected in ("CREATE a", "MODIFY a", "CLOSE_WRITE,CLOSE a", "MOVED_FROM a", "MOVED_TO b", "ATTRIB b", "CREATE,ISDIR d", "CREATE in", "DELETE b"):
            self.assertIn(expected, lines)

    def test_sqlite_shells(self):
        out = self.check(self.shell("""
            cd /tmp && rm -f s.db && sqlite3 s.db 'create table t (n integer); insert into t values (0);'
            for i in 1 2 3; do (for j in $(seq 20); do sqlite3 -cmd '.timeout 60000' s.db 'update t set n = n + 1;'; done) & done; wait
            sqlite3 s.db 'select n from t; pragma integrity_check;'"""))
        self.assertEqual(out.split(), ["60", "ok"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
