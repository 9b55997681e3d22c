"""The configuration of a tree: wsl.conf, usl.conf, and what `usl config` says of it."""
import json
import os
import pathlib
import shutil
import subprocess
import unittest

from harness import GID, UID, UslTest

PASSWD = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n"


def own(path):
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", f"{UID}:{GID}", path], check=True)


class SmallTreeTest(UslTest):
    """In a tree of busybox alone."""

    def setUp(self):
        self.tree = pathlib.Path(self.home.path) / "tree"
        for directory in ("bin", "etc", "root", "home/ann"):
            (self.tree / directory).mkdir(parents=True)
        shutil.copy(shutil.which("busybox"), self.tree / "bin/busybox")
        for name in ("sh", "cat", "hostname", "id", "ls", "pwd", "stat", "mkdir", "sleep", "readlink", "grep", "mount"):
            (self.tree / "bin" / name).symlink_to("busybox")
        self.write("etc/passwd", PASSWD)
        self.write("etc/group", "root:x:0:\nann:x:1000:\n")
        own(self.tree)

    def tearDown(self):
        shutil.rmtree(self.tree)
        shutil.rmtree(os.path.join(self.home.path, ".config"), ignore_errors=True)

    def write(self, path, text):
        (self.tree / path).write_text(text)
        own(self.tree / path)

    def run_tree(self, *command, options=(), **more):
        return self.usl("run", "--rootfs", self.tree, *options, "--", *command, **more)

    def config(self, *more):
        return json.loads(self.check(self.usl("config", "--rootfs", self.tree, "--json", *more)))


@unittest.skipUnless(shutil.which("busybox"), "needs busybox-static")
class ConfigTest(SmallTreeTest):
    def test_what_wsl_conf_says_holds(self):
        self.write("etc/wsl.conf", "[user]\ndefault = ann\n[network]\nhostname = box\n[filesystem]\numask = 0027\n")
        result = self.run_tree("sh", "-c", "id -un; hostname; umask; grep box /etc/hosts")
        self.assertEqual(self.check(result), "ann\nbox\n0027\n127.0.1.1\tbox\t# usl\n")
        self.assertEqual(result.stderr, "")

    def test_options_win_over_usl_conf_and_that_over_wsl_conf(self):
        self.write("etc/wsl.conf", "[user]\ndefault=ann\n[network]\nhostname=one\n")
        self.write("etc/usl.conf", "[network]\nhostname = 'two'\n")
        self.assertEqual(self.check(self.run_tree("sh", "-c", "id -un; hostname")), "ann\ntwo\n")
        result = self.run_tree("sh", "-c", "id -un; hostname", options=["-u", "root", "--hostname", "three"])
        self.assertEqual(self.check(result), "root\nthree\n")
        self.assertEqual((self.tree / "etc/hosts").read_text().count("# usl"), 1)

    def test_generated_files_can_be_turned_off(self):
        self.write("etc/wsl.conf", "[network]\ngenerateHosts=false\ngenerateResolvConf=false\n")
        self.check(self.run_tree("sh", "-c", "true"))
        self.assertFalse((self.tree / "etc/hosts").exists())
        self.assertFalse((self.tree / "etc/resolv.conf").exists())

    def test_mistakes_are_told_and_do_not_stop_it(self):
        self.write("etc/wsl.conf", "[user]\ndefault=ann\n[nosuch]\nkey=1\n[network]\ngenerateHosts=perhaps\n")
        self.write("etc/usl.conf", "[network\n")
        result = self.run_tree("id", "-un")
        self.assertEqual(self.check(result), "ann\n")
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), 3, lines)
        self.assertIn("/etc/wsl.conf:4: unknown key nosuch.key", result.stderr)
        self.assertIn("/etc/wsl.conf:6: network.generateHosts cannot be \"perhaps\"", result.stderr)
        self.assertIn("/etc/usl.conf:1: this is no TOML", result.stderr)

    def test_a_configured_user_that_does_not_exist_is_a_clear_failure(self):
        self.write("etc/wsl.conf", "[user]\ndefault=bob\n")
        result = self.run_tree("true")
        self.assertEqual(result.returncode, 125)
        self.assertIn("bob", result.stderr)
        self.check(self.run_tree("sh", "-c", "true", options=["-u", "root"]))

    def test_hostile_files(self):
        """A FIFO, a directory, a symlink to the host's file, a device's record and a huge file instead of the text."""
        (self.tree / "etc/wsl.conf").mkdir()
        os.mkfifo(self.tree / "etc/usl.conf")
        own(self.tree)
        self.assertEqual(self.check(self.run_tree("id", "-un")), "root\n")
        (self.tree / "etc/wsl.conf").rmdir()
        (self.tree / "etc/usl.conf").unlink()
        secret = pathlib.Path(self.home.path) / "secret"
        secret.write_text("[user]\ndefault=ann\n")
        own(secret)
        (self.tree / "etc/wsl.conf").symlink_to(secret)
        with open(self.tree / "etc/usl.conf", "wb") as file:
            file.truncate(1 << 32)
        own(self.tree)
        result = self.run_tree("id", "-un")
        self.assertEqual(self.check(result), "root\n")
        self.assertIn("/etc/usl.conf: larger than 256 KiB", result.stderr)

    def test_the_guest_opens_nothing(self):
        self.write("etc/usl.conf", "[interop]\npolicy='all'\n[automount]\ndirectories=['/']\n[network]\nproxy=true\n")
        result = self.run_tree("sh", "-c", "ls /mnt /run/usl /usr/local/bin; echo $http_proxy",
                               environment=self.home.environment(http_proxy="http://user:secret@proxy"))
        self.assertNotIn("secret", result.stdout + result.stderr)
        self.assertNotIn("host", result.stdout)
        self.assertIn("/etc/usl.conf:2: interop.policy stays \"off\"", result.stderr)

    def test_config_shows_where_values_are_from(self):
        self.write("etc/wsl.conf", "[boot]\nsystemd=true\ncommand=echo \"a\\tb\"\n")
        self.write("etc/usl.conf", "[user]\ndefault='ann'\n[[service]]\nname='web'\ncommand='httpd -f'\n")
        shown = self.config()
        self.assertEqual(shown["values"]["user.default"],
                         {"value": "ann", "origin": "usl.conf", "where": "/etc/usl.conf:2", "ignored": False})
        self.assertEqual(shown["values"]["boot.command"]["value"], "echo a\tb")
        self.assertTrue(shown["values"]["boot.systemd"]["ignored"])
        self.assertEqual(shown["values"]["filesystem.umask"]["origin"], "built in")
        self.assertEqual(shown["services"],
                         [{"name": "web", "command": "httpd -f", "user": "", "restart": "never"}])
        text = self.check(self.usl("config", "--rootfs", self.tree))
        self.assertIn("systemd is not run", text)
        self.assertIn("a\\x09b", text)

    def test_uslenv(self):
        environment = self.home.environment(USLENV="A:B/p:C/w:D", A="1", B=str(self.tree / "home"), C="3", SECRET="s")
        result = self.run_tree("sh", "-c", "echo $A-$B-$C-$SECRET", environment=environment,
                               options=["-v", f"{self.tree}/home:/shared"])
        self.assertEqual(self.check(result), "1-/shared--\n")


@unittest.skipUnless(shutil.which("busybox"), "needs busybox-static")
class DistributionConfigTest(SmallTreeTest):
    """With a registry, as `usl import-in-place` would write it."""

    def setUp(self):
        super().setUp()
        self.data = pathlib.Path(self.home.path) / ".local/share/usl"
        self.data.mkdir(parents=True)
        (self.data / "registry.json").write_text(json.dumps(self.registry()))
        own(pathlib.Path(self.home.path) / ".local")

    def tearDown(self):
        shutil.rmtree(pathlib.Path(self.home.path) / ".local")
        super().tearDown()

    def registry(self):
        return {"version": 1, "default": "small", "images": [], "distributions": [{
            "name": "small", "id": "01234567-89ab-4cde-8f01-23456789abcd", "layers": [], "upper": str(self.tree),
            "default_user": "", "source": "", "config": {}, "options": {}, "snapshots": [], "created": 0}]}

    def show(self):
        return json.loads(self.check(self.usl("config", "small", "--json")))["values"]

    def test_set_and_unset(self):
        self.check(self.usl("set", "small", "interop.policy", "list"))
        self.check(self.usl("set", "SMALL", "INSTANCE.idle_timeout", "2m"))
        self.check(self.usl("set", "small", "user.default", "ann"))
        values = self.show()
        self.assertEqual(values["interop.policy"]["value"], "list")
        self.assertEqual(values["instance.idle_timeout"]["value"], "120000")
        self.assertEqual(values["user.default"]["value"], "ann")
        self.assertEqual(values["user.default"]["where"], "usl set")
        for key in ("interop.policy", "instance.idle_timeout", "user.default"):
            self.check(self.usl("set", "small", key, "--unset"))
            self.assertEqual(self.show()[key]["origin"], "built in")

    def test_what_is_wrong_is_refused_and_nothing_changes(self):
        before = (self.data / "registry.json").read_text()
        for words, line in ((["small", "no.key", "1"], "unknown key no.key"),
                            (["small", "interop.policy", "sometimes"], "off, list or all"),
                            (["other", "interop.policy", "all"], "there is no distribution \"other\""),
                            (["small", "interop.policy"], "give a value")):
            result = self.usl("set", *words)
            self.assertEqual(result.returncode, 125, words)
            self.assertIn(line, result.stderr)
            self.assertEqual(len(result.stderr.splitlines()), 1)
        self.assertEqual((self.data / "registry.json").read_text(), before)

    def test_options_hold_in_a_run_and_in_an_instance(self):
        shared = pathlib.Path(self.home.path) / "shared"
        shared.mkdir(exist_ok=True)
        (shared / "f").write_text("content\n")
        own(shared)
        for key, value in (("automount.directories", f"{shared}:ro"), ("interop.policy", "list"),
                           ("interop.allow", "echo"), ("network.hostname", "box")):
            self.check(self.usl("set", "small", key, value))
        script = f"hostname; cat /mnt/host{shared}/f; (: >/mnt/host{shared}/g) 2>/dev/null; usl-host echo hi; usl-host id; echo $?"
        for words in (["run", "-d", "small", "--"], ["exec", "small", "--"]):
            result = self.usl(*words, "sh", "-c", script)
            self.assertEqual(self.check(result), "box\ncontent\nhi\n125\n", words)
            self.assertFalse((shared / "g").exists())
        environment = self.home.environment(USLENV="A:B/p:C/w", A="1", B=f"{shared}/f", C="3", SECRET="s")
        self.assertEqual(self.check(self.usl("exec", "small", "--", "sh", "-c", "echo $A-$B-$C-$SECRET",
                                             environment=environment)), f"1-/mnt/host{shared}/f--\n")
        self.check(self.usl("stop", "small"))
        self.check(self.usl("set", "small", "interop.policy", "--unset"))
        self.assertEqual(self.usl("run", "-d", "small", "--", "usl-host", "echo").returncode, 127)

    def test_the_hosts_file(self):
        config = pathlib.Path(self.home.path) / ".config/usl"
        config.mkdir(parents=True)
        (config / "config.toml").write_text("[automount]\ndirectories = ['~', '/usr:ro']\n[nosuch]\nx = 1\n")
        own(config.parent)
        result = self.usl("config", "--json")
        value = json.loads(self.check(result))["values"]["automount.directories"]
        self.assertEqual(value["value"], f"{self.home.path},/usr:ro")
        self.assertTrue(value["where"].endswith("config.toml:2"))
        self.assertIn("config.toml:4: unknown key nosuch.x", result.stderr)


if __name__ == "__main__":
    unittest.main()
