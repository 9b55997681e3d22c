"""Container images: usl pull, images, rmi and run --image, from layouts, archives and a registry that lies and dies."""
import base64
import gzip
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from harness import GID, UID, USL, UslTest, user_command
from http_server import Page
from image_maker import Image, ImageRegistry, base_layer, sha256, tar, top_layer


class ImageTest(UslTest):
    def setUp(self):
        self.directory = tempfile.mkdtemp(dir=self.home.path)
        os.chmod(self.directory, 0o755)
        self.data = os.path.join(self.directory, "data")
        os.mkdir(self.data)
        os.chown(self.data, UID, GID)
        self.registry = ImageRegistry()
        self.name = self.registry.address + "/some/image"

    def tearDown(self):
        self.registry.close()
        shutil.rmtree(self.directory)

    def environment(self, **more):
        environment = self.home.environment(**{"XDG_DATA_HOME": self.data, "USL_DOWNLOAD_TIMEOUT": "1", **more})
        return {name: value for name, value in environment.items() if not name.endswith("_proxy")}

    def run_usl(self, *arguments, **more):
        return self.usl(*arguments, environment=self.environment(**more.pop("variables", {})), **more)

    def pulled(self, name, **more):
        return self.check(self.run_usl("pull", name, **more))

    def refused(self, *arguments, says, **more):
        result = self.run_usl(*arguments, **more)
        self.assertEqual(result.returncode, 125, result.stdout + result.stderr)
        lines = [line for line in result.stderr.splitlines() if line.startswith("usl: ")]
        self.assertEqual(len(lines), 1, result.stderr)
        self.assertIn(says, lines[0])

    def in_image(self, name, *command, options=(), **more):
        return self.check(self.run_usl("run", "--image", name, *options, "--", *command, **more))

    def images(self):
        return json.loads(self.check(self.run_usl("images", "--json")))

    def layers(self):
        directory = os.path.join(self.data, "usl/layers")
        return sorted(name for name in os.listdir(directory) if not name.endswith(".json")) if os.path.exists(directory) else []

    def left(self, directory):
        found = []
        for root, _, files in os.walk(os.path.join(self.data, "usl", directory)):
            found += [os.path.join(root, name) for name in files]
        return found

    def check_tree(self, name):
        """The merged view of the two layers of image_maker."""
        script = "cd /data; find . | sort_ ; cat kept changed deep/above; stat -c '%n %a %u:%g' . kept".replace(" | sort_", "")
        lines = self.in_image(name, "sh", "-c", script).splitlines()
        self.assertEqual(sorted(lines[:5]), [".", "./changed", "./deep", "./deep/above", "./kept"])
        self.assertEqual(lines[5:], ["belowaboveabove. 711 0:0", "kept 640 1000:2000"])


class Local(ImageTest):
    def test_layout(self):
        path = os.path.join(self.directory, "layout")
        Image().write_layout(path)
        self.check_tree(f"oci:{path}")
        self.check_tree(f"oci:{path}:v1")
        self.refused("pull", f"oci:{path}:v2", says='no "v2" in it, only: v1')

    def test_uncompressed_and_repeated_layers(self):
        path = os.path.join(self.directory, "layout")
        base, top = base_layer(), top_layer()
        Image([base, top, tar(), top, tar()], compress=None).write_layout(path)
        self.check_tree(f"oci:{path}")
        self.assertEqual(len(self.layers()), 3)

    def test_oci_archive(self):
        for mode in ("w", "w:gz", "w:xz"):
            path = os.path.join(self.directory, "a" + mode[2:])
            Image().write_oci_archive(path, mode)
            self.check_tree(f"oci-archive:{path}")
        self.assertEqual(self.left("cache"), [])

    def test_docker_archive(self):
        for mode in ("w", "w:gz"):
            path = os.path.join(self.directory, "d" + mode[2:])
            Image().write_docker_archive(path, ["busybox:test", "localhost:5000/x:1"], mode)
            self.check_tree(f"docker-archive:{path}")
            self.check_tree(f"docker-archive:{path}:localhost:5000/x:1")
            self.refused("pull", f"docker-archive:{path}:other", says='no "other" in it')
        self.assertEqual(self.left("cache"), [])

    def test_layers_that_are_not_what_the_configuration_says(self):
        path = os.path.join(self.directory, "a.tar")
        image = Image()
        image.layers = [image.layers[0], tar(("evil", b"x", {}))]
        image.write_docker_archive(path)
        self.refused("pull", f"docker-archive:{path}", says="SHA-256")
        self.assertEqual(self.images(), [])
        self.assertEqual(self.left("tmp"), [])

    def test_what_is_no_image(self):
        empty = os.path.join(self.directory, "empty.tar")
        open(empty, "w").close()
        self.refused("pull", "oci:/etc", says="no OCI image layout")
        self.refused("pull", f"docker-archive:{empty}", says="no tar archive")
        self.refused("pull", "docker-archive:/etc/passwd", says="no tar archive")
        self.refused("pull", "oci-archive:/no/such/file", says="/no/such/file")
        self.refused("pull", "UPPER:case:x", says="no name of an image")
        self.refused("run", "--image", "a@sha256:123", "--", "true", says="sha256")
        self.assertEqual(self.images(), [])

    def test_other_platform_and_no_layers(self):
        path = os.path.join(self.directory, "arm")
        Image(platform=("linux", "arm64")).write_layout(path)
        self.refused("pull", f"oci:{path}", says="linux/arm64")
        path = os.path.join(self.directory, "none")
        image = Image([tar()])
        image = Image([tar()], change=lambda manifest: manifest["layers"].clear())
        image.write_layout(path)
        self.refused("pull", f"oci:{path}", says="layers")

    def test_list_and_remove(self):
        first, second = os.path.join(self.directory, "first"), os.path.join(self.directory, "second")
        base = base_layer()
        one, two = Image([base]), Image([base, top_layer()])
        one.write_layout(first)
        two.write_layout(second)
        self.assertIn("is new", self.pulled(f"oci:{first}"))
        self.assertIn("is up to date", self.pulled(f"oci:{first}"))
        self.assertEqual(self.check(self.run_usl("pull", "-q", f"oci:{second}:v1")).strip(), two.digest)
        self.assertEqual(len(self.layers()), 2)
        listed = self.images()
        self.assertEqual([each["image"] for each in listed], [f"oci:{first}", f"oci:{second}:v1"])
        self.assertEqual([each["digest"] for each in listed], [one.digest, two.digest])
        self.assertEqual(listed[1]["layers"], [sha256(two.layers[1])[7:], sha256(base)[7:]])
        self.assertEqual(listed[0]["config"]["command"], ["sh"])
        self.assertIn(one.digest[7:19], self.check(self.run_usl("images")))
        self.refused("rmi", f"oci:{first}", "nonsense", says="nonsense")
        self.assertEqual(len(self.images()), 2)
        self.check(self.run_usl("rmi", one.digest[7:15]))
        self.assertEqual(len(self.layers()), 2)
        self.check(self.run_usl("rmi", f"oci:{second}:v1"))
        self.assertEqual(self.layers(), [])
        self.refused("rmi", "oci:x", says="no image")


class Configured(ImageTest):
    CONFIG = {"Entrypoint": ["/bin/sh", "-c", 'echo "$A $B $HOME $(pwd) $(id -u):$(id -g) $0 $*"'], "Cmd": ["one", "two"],
              "Env": ["A=1", "B=2", "SECRET"], "User": "user", "WorkingDir": "/srv/made"}

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.directory, "layout")
        Image(config=self.CONFIG).write_layout(self.path)

    def said(self, *command, options=()):
        result = self.run_usl("run", "--image", f"oci:{self.path}", *options, *command, variables={"SECRET": "s3cret"})
        self.assertNotIn("s3cret", result.stdout)
        return self.check(result).strip()

    def test_as_docker_does(self):
        self.assertEqual(self.said(), "1 2 /home/user /srv/made 1000:1000 one two")
        self.assertEqual(self.said("--", "x"), "1 2 /home/user /srv/made 1000:1000 x")
        self.assertEqual(self.said("x", options=["-e", "A=9", "-u", "0", "-w", "/data"]), "9 2 /root /data 0:0 x")
        self.assertEqual(self.said("--", "-c", "echo $A", options=["--entrypoint", "sh"]), "1")
        self.assertIn("SECRET", self.said("env", options=["--entrypoint", "", "-e", "X=SECRET"]))

    def test_changes_are_thrown_away(self):
        self.assertEqual(self.said("sh", "-c", "touch /data/new && rm /data/kept && ls /data",
                                   options=["--entrypoint", "", "-u", "0"]).split(), ["changed", "deep", "new"])
        self.assertEqual(self.said("ls", "/data", options=["--entrypoint", "", "-u", "0"]).split(), ["changed", "deep", "kept"])
        self.assertEqual(self.left("running"), [])

    def test_nothing_of_the_host_is_there(self):
        self.assertEqual(sorted(self.said("ls", "/", options=["--entrypoint", ""]).split()),
                         ["bin", "data", "dev", "etc", "proc", "run", "srv", "sys", "tmp"])

    def test_other_options(self):
        self.refused("run", "--image", "x", "--rootfs", "/", "--", "true", says="--rootfs")
        self.refused("run", "--entrypoint", "x", "--", "true", says="--image")
        self.assertEqual(self.said("cat", "/m/f", options=["--entrypoint", "", "-v", f"{self.volume()}:/m", "--network", "none"]),
                         "of the host")

    def volume(self):
        path = os.path.join(self.directory, "volume")
        os.mkdir(path)
        with open(os.path.join(path, "f"), "w") as file:
            file.write("of the host")
        return path

    def test_removing_the_image_of_a_running_instance(self):
        process = subprocess.Popen(
            user_command([USL, "run", "--image", f"oci:{self.path}", "--entrypoint", "", "-u", "0", "--", "sh",
                          "-c", "echo ready; read line; cat /data/kept; ls /data"]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment(), cwd="/")
        self.assertEqual(process.stdout.readline(), "ready\n")
        self.check(self.run_usl("rmi", f"oci:{self.path}"))
        self.assertEqual(self.images(), [])
        out, _ = process.communicate("go\n")
        self.assertEqual(process.returncode, 0)
        self.assertEqual(out.split(), ["belowchanged", "deep", "kept"])
        # Now nobody needs them, and the next command that sweeps takes them away.
        other = os.path.join(self.directory, "other")
        Image([base_layer()]).write_layout(other)
        self.pulled(f"oci:{other}")
        self.check(self.run_usl("rmi", f"oci:{other}"))
        self.assertEqual(self.layers(), [])


class FromRegistry(ImageTest):
    def test_pull_and_run(self):
        image = Image()
        self.registry.add("some/image", "v1", image)
        self.check_tree(f"docker://{self.name}:v1")
        self.assertEqual(self.images()[0]["digest"], image.digest)
        before = len(self.registry.requests)
        self.check_tree(f"{self.name}:v1")
        self.assertEqual(len(self.registry.requests), before, "what is here is not asked for")
        self.pulled(f"{self.name}:v1")
        self.assertEqual(self.registry.paths().count(f"/v2/some/image/blobs/{sha256(image.stored[0])}"), 1)
        self.assertEqual(self.left("cache"), [])
        self.pulled(f"{self.name}@{image.digest}")

    def test_install(self):
        image = Image(config={"Env": ["A=1"], "Cmd": ["false"]})
        self.registry.add("some/image", "v1", image)
        self.check(self.run_usl("install", f"docker://{self.name}:v1"))
        self.assertEqual(self.images(), [], "a distribution is no image")
        script = "echo $A; cat /data/changed; echo here > /data/new"
        self.assertEqual(self.check(self.run_usl("run", "-d", "image", "--", "sh", "-c", script)), "1\nabove")
        self.assertEqual(self.check(self.run_usl("run", "-d", "image", "--", "cat", "/data/new")), "here\n")
        self.refused("install", f"docker://{self.name}:v1", says="image")
        self.refused("install", f"docker://{self.name}:none", "--name", "other", says="manifest_unknown")
        self.refused("run", "-d", "image", "--image", "x", "--", "true", says="--image")
        before = len(self.registry.requests)
        self.check(self.run_usl("install", f"docker://{self.name}:v1", "--name", "other"))
        self.assertFalse(any(sha256(blob) in path for path in self.registry.paths()[before:] for blob in image.stored))
        self.check(self.run_usl("remove", "image"))
        self.check(self.run_usl("remove", "other"))
        self.assertEqual(self.layers(), [])

    def test_newer_one(self):
        self.registry.add("some/image", "latest", Image([base_layer()]))
        self.pulled(self.name)
        newer = Image([base_layer(), top_layer()])
        self.registry.add("some/image", "latest", newer)
        self.assertIn("is new", self.pulled(self.name))
        self.assertEqual([each["digest"] for each in self.images()], [newer.digest])

    def test_index(self):
        right = Image()
        wrong = Image(platform=("linux", "arm64"))
        self.registry.add("some/image", "x", right)
        self.registry.add("some/image", "y", wrong)
        self.registry.add_index("some/image", "latest", [
            wrong.descriptor(platform={"os": "linux", "architecture": "arm64"}),
            right.descriptor(platform={"os": "linux", "architecture": "amd64"})])
        self.pulled(self.name)
        self.assertEqual(self.images()[0]["digest"], right.digest)
        self.registry.add_index("some/image", "arm", [wrong.descriptor(platform={"os": "linux", "architecture": "arm64"})])
        self.refused("pull", self.name + ":arm", says="for linux/arm64 and not for linux/amd64")
        self.registry.add_index("some/image", "lie", [wrong.descriptor(platform={"os": "linux", "architecture": "amd64"})])
        self.refused("pull", self.name + ":lie", says="linux/arm64")

    def test_token(self):
        self.registry.token = ""
        self.registry.add("some/image", "latest", Image())
        self.pulled(self.name)
        path, _ = next(each for each in self.registry.requests if each[0].startswith("/token"))
        self.assertEqual(path, "/token?service=here&scope=repository%3Asome%2Fimage%3Apull")
        self.assertEqual(self.registry.tokens, 1)

    def test_token_that_ends_while_blobs_come(self):
        self.registry.token = ""
        self.registry.uses = 2
        self.registry.add("some/image", "latest", Image())
        self.pulled(self.name)
        self.assertGreater(self.registry.tokens, 1)

    def login(self, text, **variables):
        path = os.path.join(self.directory, "auth.json")
        with open(path, "w") as file:
            json.dump({"auths": {self.registry.address: {"auth": base64.b64encode(text.encode()).decode()}}}, file)
        os.chmod(path, 0o644)
        return {"REGISTRY_AUTH_FILE": path}

    def test_login(self):
        for token in (None, ""):
            self.registry.login, self.registry.token = base64.b64encode(b"me:secret").decode(), token
            self.registry.add("some/image", "latest", Image())
            self.refused("pull", self.name, says="access" if token == "" else "wants a login")
            self.refused("pull", self.name, says="gives no access", variables=self.login("me:wrong"))
            self.pulled(self.name, variables=self.login("me:secret"))
            self.check(self.run_usl("rmi", self.name))
        docker = os.path.join(self.home.path, ".docker")
        os.mkdir(docker)
        shutil.copy(self.login("me:secret")["REGISTRY_AUTH_FILE"], os.path.join(docker, "config.json"))
        self.pulled(self.name)
        shutil.rmtree(docker)
        self.refused("pull", self.name, says="JSON", variables={"REGISTRY_AUTH_FILE": "/etc/passwd"})

    def test_blobs_elsewhere_get_no_credentials(self):
        image = Image()
        store = ImageRegistry()
        try:
            self.registry.token = ""
            self.registry.add("some/image", "latest", image)
            for digest, blob in image.blobs.items():
                store.pages["/store/" + digest] = Page(blob)
                self.registry.change[f"/v2/some/image/blobs/{digest}"] = Page(
                    b"", 307, {"Location": f"{store.url}/store/{digest}"})
            store.page = lambda path, headers: store.pages[path]
            self.pulled(self.name)
            self.assertEqual(len(store.requests), 3, "the configuration and two layers")
            self.assertFalse(any("Authorization" in headers for _, headers in store.requests))
        finally:
            store.close()

    def test_lies(self):
        image = Image()
        self.registry.add("some/image", "latest", image)
        layer = f"/v2/some/image/blobs/{sha256(image.stored[1])}"
        damaged = bytearray(image.stored[1])
        damaged[-1] ^= 1
        evil = Image([tar(("evil", b"x", {}))])
        for path, page, says in (
                (layer, Page(bytes(damaged)), "SHA-256"),
                (layer, Page(image.stored[1] + b"x"), "more than the"),
                (layer, Page(image.stored[1][:-1]), "were expected"),
                (layer, Page(b"gone", 404), "404"),
                (layer, Page(b"", 302, {"Location": "file:///etc/passwd"}), "redirects to"),
                (f"/v2/some/image/blobs/{sha256(image.config)}", Page(b"x" * len(image.config)), "something else"),
                ("/v2/some/image/manifests/latest", Page(b"nonsense"), "JSON"),
                ("/v2/some/image/manifests/latest", Page(b"x", 500), "HTTP status 500"),
                ("/v2/some/image/manifests/latest", Page(b"[" * 100000), "JSON"),
                ("/v2/some/image/manifests/latest", Page(b" " * (5 << 20)), "more than the"),
                ("/v2/some/image/manifests/latest", Page(b'{"schemaVersion": 1}'), "schema 1"),
                ("/v2/some/image/manifests/latest",
                 Page(evil.manifest, headers={"Docker-Content-Digest": image.digest}), "not what it says"),
                ("/v2/some/image/manifests/latest", Page(b"", 401, {"WWW-Authenticate": "Negotiate"}), "login"),
                ("/v2/some/image/manifests/latest",
                 Page(b"", 401, {"WWW-Authenticate": 'Bearer realm="file:///etc/passwd"'}), "not encrypted")):
            self.registry.change = {path: page}
            self.refused("pull", self.name, says=says)
        self.registry.change = {f"/v2/some/image/manifests/{image.digest}": Page(evil.manifest)}
        self.refused("pull", f"{self.name}@{image.digest}", says="was asked for")
        self.refused("pull", self.name + ":missing", says="manifest_unknown")
        self.assertEqual(self.images(), [])
        self.registry.change = {}
        self.check_tree(self.name)

    def test_dies_half_way_and_is_resumed(self):
        noise = os.urandom(300000)
        image = Image([base_layer(), tar(("noise", noise, {}))])
        self.registry.add("some/image", "latest", image)
        path = f"/v2/some/image/blobs/{sha256(image.stored[1])}"
        blob = image.stored[1]
        self.registry.change[path] = Page(blob, cut=100000, cuts=1)
        # The second connection stalls for good.
        original = self.registry.page

        def page(asked, headers):
            if asked == path and "Range" in headers:
                return Page(blob, stall=0)
            return original(asked, headers)

        self.registry.page = page
        self.refused("pull", self.name, says="nothing came from")
        # The layer that was whole is not fetched again either.
        self.assertEqual(sorted(os.path.getsize(each) for each in self.left("cache")), sorted([100000, len(image.stored[0])]))
        before = len(self.registry.requests)
        self.assertEqual(self.left("tmp"), [])
        self.registry.page = original
        self.registry.change = {}
        self.pulled(self.name)
        self.assertEqual(self.registry.requests[-1][1]["Range"], "bytes=100000-")
        self.assertNotIn(sha256(image.stored[0]), str(self.registry.requests[before:]))
        self.assertEqual(self.left("cache"), [])

    def test_interrupted(self):
        image = Image([base_layer(), tar(("noise", os.urandom(300000), {}))])
        self.registry.add("some/image", "latest", image)
        path = f"/v2/some/image/blobs/{sha256(image.stored[1])}"
        self.registry.change[path] = Page(image.stored[1], stall=50000)
        process = subprocess.Popen(user_command([USL, "pull", self.name]), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, env=self.environment(USL_DOWNLOAD_TIMEOUT="60"), cwd="/")
        for line in process.stderr:
            if "layer 2 of 2: fetching" in line:
                break
        part = os.path.join(self.data, "usl/cache/blobs", sha256(image.stored[1])[7:] + ".part")
        deadline = time.monotonic() + 20
        while not (os.path.exists(part) and os.path.getsize(part) == 50000):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.communicate()
        self.assertNotEqual(process.returncode, 0)
        self.assertEqual(self.images(), [])
        self.registry.change = {}
        self.pulled(self.name)
        self.assertEqual(self.registry.requests[-1][1]["Range"], "bytes=50000-")

    def test_nobody_there(self):
        self.registry.add("some/image", "latest", Image())
        dead = ImageRegistry()
        dead.close()
        self.refused("pull", dead.address + "/x", says=dead.address)
        self.refused("run", "--image", dead.address + "/x", "--", "true", says=dead.address)

    def test_without_the_helper(self):
        alone = os.path.join(self.directory, "usl")
        shutil.copy(USL, alone)
        path = os.path.join(self.directory, "layout")
        Image().write_layout(path)

        def run(*arguments):
            return subprocess.run(user_command([alone, *arguments]), capture_output=True, text=True, env=self.environment(), cwd="/")

        result = run("pull", self.name)
        self.assertEqual(result.returncode, 125)
        self.assertIn("usl-fetch", result.stderr)
        self.assertEqual(run("run", "--image", f"oci:{path}", "--", "echo", "works").stdout, "works\n")

    def test_two_at_once(self):
        image = Image([base_layer(), tar(("noise", os.urandom(1000000), {}))])
        self.registry.add("some/image", "latest", image)
        pulls = [subprocess.Popen(user_command([USL, "pull", "-q", self.name]), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, env=self.environment(), cwd="/") for _ in range(3)]
        for pull in pulls:
            out, error = pull.communicate()
            self.assertEqual((pull.returncode, out.strip()), (0, image.digest), error)
        self.assertEqual(len(self.images()), 1)
        self.assertEqual(self.left("tmp"), [])


if __name__ == "__main__":
    unittest.main()
