"""Two instances of one user: neither sees, signals, limits or schedules the other's processes."""
import os
import pathlib
import subprocess
import unittest

from harness_escape import Place, user_command

# In the one: many processes, so that whatever numbers the kernels give them, some are the other's too.
NEIGHBOUR = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & (sleep 1000 & echo $!; wait) & echo $!; done; echo ready; wait"
# In the other: each way to reach a process by its number.
PROBE = """
for i in 1 2 3 4 5 6 7 8 9; do sleep 0 & done; wait
sleep 5 &
for pid in %s; do
  ls -d /proc/$pid 2>/dev/null && echo "/proc/$pid is there"
  kill -0 $pid 2>/dev/null && echo "$pid can be signalled"
  kill -9 $pid 2>&1 | grep -v "No such process" | grep .
done
kill $!
echo probed
"""


class Instances(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def usl(self, script):
        return user_command([str(word) for word in self.place.usl_command("/bin/sh", "-c", script, view=True)])

    def test_neither_reaches_the_other(self):
        neighbour = subprocess.Popen(self.usl(NEIGHBOUR), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd="/",
                                     env=self.place.environment())
        try:
            pids = []
            for line in neighbour.stdout:
                if line.strip() == "ready":
                    break
                pids.append(line.strip())
            self.assertGreaterEqual(len(pids), 8)
            alive = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
            self.assertEqual(alive, pids, "the numbers are the host's")
                result = subprocess.run(self.usl(PROBE % " ".join(pids)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    text=True, cwd="/", env=self.place.environment(), timeout=60)
            self.assertEqual(result.stdout, "probed\n")
            for pid in pids:
                state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
                self.assertIn(state, "SR", pid)
        finally:
            neighbour.terminate()
            neighbour.communicate(timeout=60)


if __name__ == "__main__":
    unittest.main(verbosity=2)
