"""Container images of busybox, made by hand: as an OCI layout, a docker archive, or in a registry that can lie."""
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile

from http_server import Page, Server

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
APPLETS = ("sh", "cat", "ls", "stat", "env", "pwd", "id", "echo", "sleep", "true", "touch", "find", "rm")


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def busybox():
    """The static busybox of the test dependencies."""
    for path in ("/bin/busybox", "/usr/bin/busybox"):
        if os.path.exists(path):
            with open(path, "rb") as file:
                return file.read()
    raise FileNotFoundError("busybox (package busybox-static)")


def tar(*entries):
    """A tar of (name, content or None for a directory, {attributes})."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content, more in entries:
            info = tarfile.TarInfo(name)
            info.mtime = 1700000000
            info.mode = 0o644
            info.uid = info.gid = 0
            if content is None and "type" not in more:
                info.type = tarfile.DIRTYPE
                info.mode = 0o755
            for key, value in more.items():
                setattr(info, key, value)
            info.size = len(content or b"")
            archive.addfile(info, io.BytesIO(content or b""))
    return buffer.getvalue()


def base_layer():
    entries = [(name, None, {}) for name in ("bin", "etc", "data", "data/deep")]
    entries.append(("bin/busybox", busybox(), {"mode": 0o755}))
    entries += [(f"bin/{name}", None, {"type": tarfile.SYMTYPE, "linkname": "busybox"}) for name in APPLETS]
    entries += [
        ("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n", {}),
        ("etc/group", b"root:x:0:\nuser:x:1000:\nextra:x:2000:user\n", {}),
        ("data/gone", b"below", {}),
        ("data/kept", b"below", {"uid": 1000, "gid": 2000, "mode": 0o640}),
        ("data/deep/below", b"below", {}),
        ("data/changed", b"below", {}),
    ]
    return tar(*entries)


def top_layer():
    """Removes data/gone, hides what data/deep had, changes a file."""
    return tar(("data", None, {"mode": 0o711}), ("data/.wh.gone", b"", {}), ("data/deep", None, {}),
               ("data/deep/.wh..wh..opq", b"", {}), ("data/deep/above", b"above", {}), ("data/changed", b"above", {}))


class Image:
    """Blobs by digest, and the manifest."""

    def __init__(self, layers=None, compress=gzip.compress, config=None, platform=("linux", "amd64"), change=None):
        layers = layers or [base_layer(), top_layer()]
        self.layers = layers
        self.stored = [compress(layer) if compress else layer for layer in layers]
        suffix = "+gzip" if compress is gzip.compress else ""
        self.config = json.dumps({
            "os": platform[0], "architecture": platform[1], "config": config or {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]}}).encode()
        manifest = {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(self.config),
                       "size": len(self.config)},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar" + suffix, "digest": sha256(blob),
                        "size": len(blob)} for blob in self.stored]}
        if change:
            change(manifest)
        self.manifest = json.dumps(manifest).encode()
        self.digest = sha256(self.manifest)
        self.blobs = {sha256(blob): blob for blob in [*self.stored, self.config]}

    def descriptor(self, **more):
        return {"mediaType": MANIFEST, "digest": self.digest, "size": len(self.manifest), **more}

    def write_layout(self, directory, tag="v1"):
        """As skopeo and podman save --format oci-dir do."""
        os.makedirs(os.path.join(directory, "blobs/sha256"))
        for digest, blob in {**self.blobs, self.digest: self.manifest}.items():
            with open(os.path.join(directory, "blobs", digest.replace(":", "/")), "wb") as file:
                file.write(blob)
        with open(os.path.join(directory, "oci-layout"), "w") as file:
            file.write('{"imageLayoutVersion": "1.0.0"}')
        entry = self.descriptor(annotations={"org.opencontainers.image.ref.name": tag})
        with open(os.path.join(directory, "index.json"), "w") as file:
            json.dump({"schemaVersion": 2, "manifests": [entry]}, file)
        os.chmod(directory, 0o755)

    def write_oci_archive(self, path, mode="w"):
        layout = path + ".layout"
        self.write_layout(layout)
        with tarfile.open(path, mode) as archive:
            archive.add(layout, arcname=".")
        shutil.rmtree(layout)

    def write_docker_archive(self, path, names=("busybox:test",), mode="w"):
        """As docker save did for long and podman save does: one directory with layer.tar for each layer."""
        with tarfile.open(path, mode) as archive:
            def add(name, data):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            config = sha256(self.config)[7:] + ".json"
            add(config, self.config)
            members = []
            for layer in self.layers:
                members.append(sha256(layer)[7:] + "/layer.tar")
                add(members[-1], layer)
            add("manifest.json", json.dumps([{"Config": config, "RepoTags": list(names), "Layers": members}]).encode())
            add("repositories", b"{}")


class ImageRegistry(Server):
    """Speaks the registry protocol. `token` makes it want bearer tokens, `login` ("user:password" in base64) a login."""

    def __init__(self):
        super().__init__()
        self.manifests = {}  # (repository, tag or digest) to (media type, bytes)
        self.blobs = {}
        self.token = None
        self.tokens = 0      # so many were given
        self.login = None
        self.change = {}     # path to Page, instead of what is right
        self.uses = None     # so many requests a token is good for

    def add(self, repository, tag, image):
        self.blobs.update(image.blobs)
        for name in (tag, image.digest):
            self.manifests[repository, name] = (MANIFEST, image.manifest)

    def add_index(self, repository, tag, entries):
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        self.manifests[repository, tag] = (INDEX, index)
        return index

    def error(self, status, code, headers=None):
        body = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
        return Page(body, status, headers)

    def page(self, path, headers):
        if path.startswith("/token?"):
            if self.login and headers.get("Authorization") != "Basic " + self.login:
                return self.error(401, "DENIED")
            self.tokens += 1
            self.token = f"token-{self.tokens}"
            self.used = 0
            return Page(json.dumps({"token": self.token}).encode())
        if self.token is not None:
            self.used = getattr(self, "used", 0) + 1
            stale = self.uses is not None and self.used > self.uses
            if headers.get("Authorization") != "Bearer " + self.token or stale:
                challenge = f'Bearer realm="{self.url}/token",service="here",scope="repository:x:pull,push"'
                return self.error(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        elif self.login and headers.get("Authorization") != "Basic " + self.login:
            return self.error(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="here"'})
        if path in self.change:
            return self.change[path]
        parts = path.split("/")
        if path.startswith("/v2/") and parts[-2] == "manifests":
            found = self.manifests.get(("/".join(parts[2:-2]), parts[-1]))
            if found:
                return Page(found[1], type=found[0], headers={"Docker-Content-Digest": sha256(found[1])})
            return self.error(404, "MANIFEST_UNKNOWN")
        if path.startswith("/v2/") and parts[-2] == "blobs" and parts[-1] in self.blobs:
            return Page(self.blobs[parts[-1]])
        return self.error(404, "BLOB_UNKNOWN")
