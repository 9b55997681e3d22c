"""Debian's own tools on files: what they write they read back, in another process and in another run."""
import unittest

from harness import DebianTest

# A tree with everything that an archive can hold.
MAKE_TREE = """
    set -e
    rm -rf /srv/t && mkdir -p /srv/t/d/sub && cd /srv/t
    echo content > f && chmod 4711 f && chown 33:44 d && chmod 2775 d && chmod 1777 d/sub
    ln f d/hard && ln -s ../f d/soft && ln -s nowhere dangling && chown -h 1000:1001 dangling
    mkfifo p && chown 5:6 p && mknod null c 1 3 && mknod disk b 7 0
    truncate -s 5M sparse && echo end >> sparse
    printf x > "$(printf 'odd \\\\ name\\n\\377')"
    setfattr -n user.note -v value f && setfattr -n trusted.note -v secret d && setfattr -n user.note -v dir d
    setfacl -m u:1000:rwx,g:50:r-x d && setfacl -d -m u:1000:rw,g::r d && setfacl -m u:33:rw,g::rx d/sub
    cp /bin/true tool && setcap cap_net_raw+ep tool
    touch -h -d '2001-02-03 04:05:06.123456789 UTC' f dangling d/sub
"""
# What of it a tool must keep, as text; of directory $1.
DESCRIBE = """
    describe() { (cd "$1" && { find . ! -type d -printf '%p %y %m %U:%G %n %l %T@\\n'; find . -type d -printf '%p %y %m %U:%G %T@\\n'; } | LC_ALL=C sort
    find . -type f -exec sha256sum {} + | LC_ALL=C sort; getfacl -Rnp . ; getfattr -hRd -m - . ; getcap -r . ; stat -c '%n %t:%T' null disk); }
"""


class FileTools(DebianTest):
    def same(self, script, **more):
        """Copies /srv/t to /srv/u by `script` and compares them in all that describe() tells."""
        out = self.check(self.shell(MAKE_TREE + DESCRIBE + "rm -rf /srv/u; set -o pipefail\n" + script +
                                    "\ndescribe /srv/t > /tmp/t; describe /srv/u > /tmp/u; diff /tmp/t /tmp/u && wc -l < /tmp/t", **more))
        self.assertGreater(int(out.split()[-1]), 60, out)

    def test_tar_round_trip(self):
        self.same("mkdir /srv/u; tar -C /srv/t --xattrs --xattrs-include='*' --acls --selinux -S -cf - . | "
                  "tar -C /srv/u --xattrs --xattrs-include='*' --acls --selinux --numeric-owner -xpf -")

    def test_cp_archive(self):
        self.same("cp -a --reflink=auto --sparse=auto /srv/t /srv/u; test $(stat -c %b /srv/u/sparse) -lt 1000")

    def test_attributes_survive_a_restart(self):
        before = self.check(self.shell(MAKE_TREE + DESCRIBE + "describe /srv/t"))
        self.assertEqual(self.check(self.shell(DESCRIBE + "describe /srv/t")), before)

    def test_access_lists(self):
        out = self.check(self.shell("""
            cd /tmp && rm -rf acl && mkdir acl && cd acl && umask 077
            setfacl -m u:33:rwx,m:rx . && setfacl -d -m g:33:rw,o::r . && touch new && mkdir sub
            getfacl -ncE . new sub | grep -v '^$'; ls -ld . new | cut -c1-11
            setfacl -b -k . && getfacl -ncE . | grep -v '^$'; setfacl --set u::rw,g::r,o::-,u:33:r new && chmod g-r new && getfacl -nce new | grep :33"""))
        # What Linux says.
        self.assertEqual(out.splitlines(), [
            "user::rwx", "user:33:rwx", "group::r-x", "mask::r-x", "other::r-x", "default:user::rwx",
            "default:group::r-x", "default:group:33:rw-", "default:mask::rwx", "default:other::r--", "user::rw-",
            "group::r-x", "group:33:rw-", "mask::rw-", "other::r--", "user::rwx", "group::r-x", "group:33:rw-",
            "mask::rwx", "other::r--", "default:user::rwx", "default:group::r-x", "default:group:33:rw-",
            "default:mask::rwx", "default:other::r--", "drwxr-xr-x+", "-rw-rw-r--+", "user::rwx", "group::r-x",
            "other::r-x", "user:33:r--\t#effective:---"])

    def test_file_capabilities(self):
        out = self.check(self.shell("""
            cd /srv && cp /usr/bin/chown own && setcap cap_chown+ep own && getcap own && touch x && chmod 755 own
            su nobody -s /bin/sh -c 'chown 5 x 2>/dev/null || echo refused; ./own 5:6 x && stat -c %u:%g x'
            setcap -r own; getcap own; su nobody -s /bin/sh -c './own 7 x 2>/dev/null || echo refused'"""))
        self.assertEqual(out.splitlines(), ["own cap_chown=ep", "refused", "5:6", "refused"])

    def test_nodes_and_fifos(self):
        out = self.check(self.shell("""
            cd /srv && rm -rf n && mkdir n && cd n && mknod z c 1 5 && head -c 4 z | od -An -tx1 && mkfifo p
            (sleep 0.1; seq 1 50000) > p & sum=0; awk '{ s += $1 } END { print s }' < p; wait; (cat p > got &) ; echo hello > p; sleep 0.3; cat got"""))
        self.assertEqual(out.split(), ["00", "00", "00", "00", "1250025000", "hello"])

    def test_find_by_time_and_kind(self):
        out = self.check(self.shell("""
            cd /tmp && rm -rf w && mkdir w && cd w && touch -d '1 hour ago' old && touch -d '30 minutes ago' mark && touch new && ln new hard
            chmod 4755 new; ln -s new soft; find . -type f -newer mark | sort; find . -samefile new | sort; find . -perm /4000 -type l -o -perm /4000 | sort
            find . ! -newer mark -type f | sort; find / -xdev -path /etc/passwd -user root -links 1"""))
        self.assertEqual(out.split(), ["./hard", "./new", "./hard", "./new", "./hard", "./new", "./mark", "./old", "/etc/passwd"])

    def test_git_keeps_its_objects(self):
        out = self.check(self.shell("""
            cd /root && rm -rf g c && git init -q g && cd g && git config user.email a@b && git config user.name n
            for i in $(seq 200); do head -c 3000 /dev/urandom > f$i; done; ln -s f1 l; chmod +x f2; git add . && git commit -qm one
            git mv f3 f4x && git rm -q f5 && git commit -qam two && git repack -adq && git fsck --full --strict 2>&1 | grep -v dangling | wc -l
            git clone -q . ../c && cd ../c && git fsck --full 2>&1 | wc -l; git status --porcelain | wc -l; stat -c %a f2; readlink l; git log --oneline | wc -l"""))
        self.assertEqual(out.split(), ["0", "0", "0", "755", "f1", "2"])

    def test_sqlite_locks_between_processes(self):
        out = self.check(self.guest("python3", "-c", """
import multiprocessing, os, sqlite3
path = '/tmp/base.sqlite'
for suffix in ('', '-wal', '-shm', '-journal'):
    if os.path.exists(path + suffix): os.unlink(path + suffix)
def work(mode):
    base = sqlite3.connect(path, timeout=120, isolation_level=None)
    for _ in range(60):
        base.execute('begin immediate')
        value, = base.execute('select n from t').fetchone()
        base.execute('update t set n = ?', (value + 1,))
        base.execute('commit')
for mode in ('delete', 'wal'):
    base = sqlite3.connect(path)
    print(base.execute('pragma journal_mode = ' + mode).fetchone()[0])
    base.execute('drop table if exists t'); base.execute('create table t (n)'); base.execute('insert into t values (0)'); base.commit(); base.close()
    children = [multiprocessing.Process(target=work, args=(mode,)) for _ in range(3)]
    [c.start() for c in children]; [c.join() for c in children]
    base = sqlite3.connect(path)
    print(base.execute('select n from t').fetchone()[0], base.execute('pragma integrity_check').fetchone()[0]); base.close()
holder = sqlite3.connect(path, isolation_level=None); holder.execute('pragma journal_mode = delete'); holder.execute('begin exclusive')
try: sqlite3.connect(path, timeout=0).execute('select * from t')
except sqlite3.OperationalError as error: print(error)
"""))
        self.assertEqual(out.splitlines(), ["delete", "180 ok", "wal", "180 ok", "database is locked"])

    def test_dpkg_life_of_a_package(self):
        out = self.check(self.shell("""
            set -e; umask 022; rm -rf /tmp/p && mkdir -p /tmp/p && cd /tmp/p
            make() { # VERSION
              rm -rf tree && mkdir -p tree/DEBIAN tree/etc tree/usr/lib/thing tree/usr/bin && echo "setting=$1" > tree/etc/thing.conf
              echo "#!/bin/sh" > tree/usr/bin/thing && echo "echo thing $1" >> tree/usr/bin/thing && chmod 4755 tree/usr/bin/thing
              echo $1 > tree/usr/lib/thing/data && ln tree/usr/lib/thing/data tree/usr/lib/thing/same && ln -s data tree/usr/lib/thing/link
              [ $1 = 1 ] && echo old > tree/usr/lib/thing/gone || mkdir tree/usr/lib/thing/new
              printf 'Package: thing\\nVersion: %s\\nArchitecture: all\\nMaintainer: m <m@example.org>\\nDescription: d\\n' $1 > tree/DEBIAN/control
              echo /etc/thing.conf > tree/DEBIAN/conffiles; (cd tree && md5sum usr/bin/thing usr/lib/thing/data > DEBIAN/md5sums)
              dpkg-deb --root-owner-group -b tree thing-$1.deb > /dev/null; }
            make 1; make 2; export DEBIAN_FRONTEND=noninteractive
            dpkg -i thing-1.deb > /dev/null; thing; stat -c '%a %h' /usr/bin/thing /usr/lib/thing/same; dpkg -V thing; dpkg --audit
            echo changed >> /etc/thing.conf; dpkg -V thing || true
            dpkg --force-confold -i thing-2.deb > /dev/null 2>&1; thing; ls /usr/lib/thing; cat /etc/thing.conf
            echo broken > /usr/lib/thing/data; dpkg -V thing || true
            dpkg -r thing > /dev/null 2>&1; test ! -e /usr/bin/thing; test -e /etc/thing.conf; dpkg -P thing > /dev/null 2>&1; test ! -e /etc/thing.conf; dpkg -s thing 2>&1 | head -1 | grep -c 'not installed'"""))
        self.assertEqual(out.splitlines(), [
            "thing 1", "4755 1", "644 2", "??5?????? c /etc/thing.conf", "thing 2", "data", "link", "new", "same", "setting=1", "changed",
            "??5?????? c /etc/thing.conf", "??5??????   /usr/lib/thing/data", "1"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
