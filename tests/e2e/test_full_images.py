"""Images that others' tools make and serve: skopeo, umoci and Debian's docker-registry, over the loopback."""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

from harness import GID, UID, UslTest, user_command
from image_maker import Image, base_layer, tar, top_layer

TOOLS = ("skopeo", "umoci", "docker-registry")
POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


@unittest.skipUnless(all(shutil.which(tool) for tool in TOOLS), "needs the packages " + ", ".join(TOOLS))
class OthersTools(UslTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = tempfile.mkdtemp(dir=cls.home.path)
        os.chown(cls.directory, UID, GID)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            cls.address = f"127.0.0.1:{free.getsockname()[1]}"
        config = os.path.join(cls.directory, "registry.yml")
        with open(config, "w") as file:
            json.dump({"version": 0.1, "storage": {"filesystem": {"rootdirectory": cls.directory + "/registry"}},
                       "http": {"addr": cls.address}, "log": {"level": "error"}}, file)
        cls.policy = os.path.join(cls.directory, "policy.json")
        with open(cls.policy, "w") as file:
            json.dump(POLICY, file)
        cls.server = subprocess.Popen(user_command(["docker-registry", "serve", config]), stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, env=cls.clean(), cwd="/")
        deadline = time.monotonic() + 30
        host, port = cls.address.split(":")
        while True:
            try:
                socket.create_connection((host, int(port))).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        cls.server.wait()
        super().tearDownClass()

    @classmethod
    def clean(cls):
        return {name: value for name, value in cls.home.environment().items() if not name.endswith("_proxy")}

    def tool(self, *command):
        result = subprocess.run(user_command(list(command)), capture_output=True, text=True, env=self.clean(), cwd=self.directory)
        self.assertEqual(result.returncode, 0, result.stderr)

    def skopeo(self, source, target, *options):
        self.tool("skopeo", "--policy", self.policy, "copy", "-q", "--dest-tls-verify=false", "--src-tls-verify=false",
                  *options, source, target)

    def layout(self, name):
        path = os.path.join(self.directory, name)
        image = Image()
        image.write_layout(path)
        for root, directories, files in os.walk(path):
            for each in [".", *directories, *files]:
                os.chown(os.path.join(root, each), UID, GID)
        return path, image

    def seen(self, reference):
        """What a guest sees of the image's files."""
        script = "cd /; find bin etc data | while read f; do stat -c '%n %F %a %u:%g %s %Y' $f; done; cat data/*d data/deep/*"
        out = self.check(self.usl("run", "--image", reference, "--", "sh", "-c", script, environment=self.clean()))
        # The instance itself writes these.
        return sorted(line for line in out.splitlines() if not line.startswith(("etc directory ", "etc/hosts ", "etc/resolv")))

    def test_registry_and_every_form_of_skopeo(self):
        path, image = self.layout("plain")
        remote = f"docker://{self.address}/a/b:v1"
        self.skopeo(f"oci:{path}:v1", remote)
        expected = self.seen(f"oci:{path}")
        self.assertEqual(self.seen(remote), expected)
        for number, form in enumerate(("oci", "oci-archive", "docker-archive")):
            local = f"{form}:{self.directory}/copy{number}"
            self.skopeo(remote, local + ":b:v1" if form == "docker-archive" else local + ":v1")
            self.assertEqual(self.seen(local), expected, form)
        for compression in ("gzip", "zstd"):
            target = f"docker://{self.address}/a/{compression}:v1"
            self.skopeo(remote, target, "--dest-compress-format", compression, "--format",
                        "oci" if compression == "zstd" else "v2s2")
            self.assertEqual(self.seen(target), expected, compression)

    def test_umoci(self):
        path = os.path.join(self.directory, "umoci")
        self.tool("umoci", "init", "--layout", path)
        self.tool("umoci", "new", "--image", f"{path}:t")
        for number, layer in enumerate((base_layer(), top_layer())):
            file = os.path.join(self.directory, f"layer{number}.tar")
            with open(file, "wb") as out:
                out.write(layer)
            self.tool("umoci", "raw", "add-layer", "--image", f"{path}:t", file)
        self.tool("umoci", "config", "--image", f"{path}:t", "--config.env", "A=umoci", "--config.user", "1000:2000",
                  "--config.workingdir", "/made", "--config.cmd", "sh", "--config.cmd", "-c", "--config.cmd",
                  "echo $A $(id -u):$(id -g) $(pwd)")
        out = self.check(self.usl("run", "--image", f"oci:{path}:t", environment=self.clean()))
        self.assertEqual(out, "umoci 1000:2000 /made\n")

    def test_hundred_layers(self):
        layers = [base_layer()] + [tar((f"data/file{i}", str(i).encode(), {}), (f"data/.wh.file{i - 1}", b"", {})) for i in range(100)]
        path = os.path.join(self.directory, "many")
        Image(layers).write_layout(path)
        out = self.check(self.usl("run", "--image", f"oci:{path}", "--", "sh", "-c", "ls /data; cat /data/file99",
                                  environment=self.clean()))
        self.assertEqual(out.split(), ["changed", "deep", "file99", "gone", "kept", "99"])


if __name__ == "__main__":
    unittest.main()
