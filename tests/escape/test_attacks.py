"""Every attack of attacks/*.cc: natively first, as the control that it can succeed, then inside USL, where it must not.

Both times the host side tells from outside what happened to it. With -v the control's result is printed too.
"""
import os
import pathlib
import re
import subprocess
import unittest

from harness_escape import ATTACKS, HostSide, Place, UID, facts_as_arguments, standard_input


class Escape(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = Place()
        cls.addClassCleanup(cls.place.remove)
        setup = cls.place.usl("/bin/attacks", "--setup")
        assert setup.returncode == 0, f"cannot prepare the guest's tree: {setup.stdout}"
        cls.suid_record = os.getxattr(cls.place.tree / "bin/suid", "user.usl").hex()
        cls.core_pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text()

    def tearDown(self):
        self.assertEqual(pathlib.Path("/proc/sys/kernel/core_pattern").read_text(), self.core_pattern)

    def facts(self, host, **more):
        return facts_as_arguments({**host.facts, "suid_record": self.suid_record, **more})

    def run_attack(self, host, command, stdin_kind):
        """The result, and what in the host's state changed."""
        with standard_input(stdin_kind, self.place) as (stdin, arrived):
            options = {"start_new_session": True} if stdin_kind == "terminal" else {}
            result = self.place.run(command, stdin=stdin, **options)
            changes = host.changes()
            if typed := arrived():
                changes["terminal"] = typed
        return result, changes

    def control(self, name, kind, stdin_kind):
        """Runs it natively."""
        with HostSide(self.place) as host:
            facts = self.facts(host, native=1, work=self.place.native, target=host.facts["secret"], host_tree="",
                               guest_program=self.place.programs / "escape_guest_program", own_program=ATTACKS)
            result, changes = self.run_attack(host, [ATTACKS, name, *facts], stdin_kind)
        escaped = result.returncode == 1 or bool(changes)
        text = f"\ncontrol of {name}: {result.stdout.strip()} {changes or ''}"
        print(text)
        self.assertIn(result.returncode, (0, 1), text)
        if kind == "escapes":
            self.assertTrue(escaped, f"{text}: it proves nothing")

    def inside(self, name, needs, stdin_kind, view=False, volume=False, landlock=True):
        options = ["-u", "1000"] if "user" in needs else []
        options += ["--network", "none"] if "nonet" in needs else []
        options += ["--allow-out", "127.0.0.2", "--allow-in", "127.0.0.2"] if "listed" in needs else []
        options += ["-v", f"{self.place.native}:/volume"] if volume else []
        work = "/tmp" if view else "/volume" if volume else "/work"
        programs = "/programs/escape_attacks" if view else "/bin/attacks"
        with HostSide(self.place) as host:
            facts = self.facts(host, native=0, work=work, target="/etc/target",
                               host_tree=self.place.tree, suid_program="/bin/suid", unreadable_program="/bin/unreadable",
                               guest_program="/bin/true", own_program="/bin/attacks")
            command = self.place.usl_command(programs, name, *facts, options=options, view=view, landlock=landlock)
            result, changes = self.run_attack(host, command, stdin_kind)
        print(f"\n{work}{'' if landlock else ' without Landlock'}: {result.stdout.strip()}")
        self.assertEqual(changes, {}, f"{name} changed the host: {result.stdout}")
        self.assertNotIn(host.token, result.stdout.replace(f"unix_abstract={host.token}", ""))
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertRegex(result.stdout, rf"(?m)^held: {re.escape(name)}: ")
        self.assertEqual(self.core_files(), [])

    def core_files(self):
        places = [self.place.tree, self.place.tree / "work", self.place.host, self.place.path, pathlib.Path("/"),
                  pathlib.Path(f"/run/user/{UID}")]
        return [str(file) for place in places if place.is_dir() for file in place.glob("core*")
                if file.is_file() and file.stat().st_uid == UID]


def add_tests():
    listing = subprocess.run([ATTACKS, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in listing.splitlines():
        name, control, *needs = line.split()
        if "helper" in needs:
            continue

        def test(self, name=name, control=control, needs=needs):
            stdin_kind = next((word.removeprefix("stdin=") for word in needs if word.startswith("stdin=")), None)
            if control != "none":
                with self.subTest("control"):
                    self.control(name, control, stdin_kind)
            with self.subTest("inside"):
                self.inside(name, needs, stdin_kind)
            if "volume" in needs:
                with self.subTest("in a volume"):
                    self.inside(name, needs, stdin_kind, volume=True)
            if name.split(".")[0] in ("signals", "processes", "exec"):
                with self.subTest("without Landlock"):
                    self.inside(name, needs, stdin_kind, landlock=False)
            if "view" in needs:
                with self.subTest("in the view of the host's root"):
                    self.inside(name, needs, stdin_kind, view=True)

        setattr(Escape, "test_" + name.replace(".", "_"), test)


add_tests()

if __name__ == "__main__":
    unittest.main(verbosity=2)
