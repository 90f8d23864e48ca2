#!/usr/bin/env python3
"""How long from an image in a registry to a sandbox that can start from it, with all of it durable.

An image of eight gzip layers with 150 MiB of the system template's files is pushed to a registry of its own (Debian's
`docker-registry`, on loopback). In turn, each time from nothing:

  atoll      a template is created and waited for, in a new data directory, and the disk synced
  skopeo     `skopeo copy` to an OCI layout, `umoci unpack`, the same mkfs.erofs, and the disk synced
  podman     `podman pull` into a new store, and the disk synced
"""

import argparse
import contextlib
import glob
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tempfile
import time
import urllib.request

import kit

LAYERS, FILE_BYTES_MAX = 8, 150 * 2**20
REPOSITORY = "bench/image"
READY_SECONDS_MAX = 300
START_SECONDS_MAX = 30
MKFS = ["mkfs.erofs", "--quiet", "-d0"]


def run(*command, **options):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)


def sync(directory):
    run("sync", "--file-system", directory)


@contextlib.contextmanager
def mounted(image):
    with tempfile.TemporaryDirectory() as directory:
        run("mount", "-t", "erofs", "-o", "loop,ro", image, directory)
        try:
            yield directory
        finally:
            run("umount", directory)


def parts(root):
    """The tree's first 150 MiB in eight lists of about equal bytes, each in the tree's order; and all the bytes."""
    paths = []
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted(names + files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            paths.append((os.path.relpath(path, root), status.st_size if stat.S_ISREG(status.st_mode) else 0))
    lists, filled = [[] for _ in range(LAYERS)], 0
    for path, size in paths:
        if filled + size <= FILE_BYTES_MAX:
            lists[min(LAYERS - 1, int(filled * LAYERS / FILE_BYTES_MAX))].append(path)
            filled += size
    return lists, filled


class Layout:
    """An image in the OCI layout."""

    def __init__(self, directory):
        self.directory = directory
        os.makedirs(f"{directory}/blobs/sha256")

    def blob(self, data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        with open(f"{self.directory}/blobs/sha256/{digest}", "wb") as file:
            file.write(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def write(self, layers, diff_ids):
        config = self.blob(json.dumps({
            "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }).encode(), "application/vnd.oci.image.config.v1+json")
        manifest = self.blob(json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
            "layers": layers,
        }).encode(), "application/vnd.oci.image.manifest.v1+json")
        manifest["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
        for name, content in (("oci-layout", {"imageLayoutVersion": "1.0.0"}),
                              ("index.json", {"schemaVersion": 2, "manifests": [manifest]})):
            with open(f"{self.directory}/{name}", "w") as file:
                json.dump(content, file)


def make_image(root, directory):
    """The layout, and the bytes of its files and of its layers."""
    layout, layers, diff_ids = Layout(directory), [], []
    lists, file_bytes = parts(root)
    for paths in lists:
        tar = subprocess.run(
            ["tar", "--create", "--directory", root, "--no-recursion", "--numeric-owner", "--null", "--files-from=-"],
            input=b"\0".join(path.encode() for path in paths), capture_output=True, check=True).stdout
        diff_ids.append("sha256:" + hashlib.sha256(tar).hexdigest())
        packed = subprocess.run(["gzip", "-6", "-n"], input=tar, capture_output=True, check=True).stdout
        layers.append(layout.blob(packed, "application/vnd.oci.image.layer.v1.tar+gzip"))
    layout.write(layers, diff_ids)
    return file_bytes, sum(layer["size"] for layer in layers)


@contextlib.contextmanager
def registry(directory):
    """A registry on a free port of loopback; its address."""
    address = f"127.0.0.1:{kit.free_port()}"
    config = f"{directory}/registry.yml"
    with open(config, "w") as file:
        json.dump({"version": 0.1, "storage": {"filesystem": {"rootdirectory": f"{directory}/registry"}},
                   "http": {"addr": address}}, file)
    process = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                urllib.request.urlopen(f"http://{address}/v2/").close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.02)
        yield address
    finally:
        process.terminate()
        process.wait()


def atoll_once(address, work):
    data = tempfile.mkdtemp(dir=work)
    os.chmod(data, 0o755)
    flags = ["--registry-plain-http", address, "--registry-allow-private", "127.0.0.0/8"]
    # The first start of a new data directory would make Debian's own template beside it.
    flags += ["--system-templates", "false"]
    with kit.server(*flags, data_dir=data, template=None) as connect:
        client = connect()

        def pull():
            template = client.call("POST", "/v1/template", {"name": "it", "uri": f"{address}/{REPOSITORY}:latest"})
            deadline = time.monotonic() + READY_SECONDS_MAX
            while (seen := client.call("GET", f"/v1/template/{template['id']}"))["state"] != "ready":
                if seen["state"] == "failed" or time.monotonic() > deadline:
                    raise RuntimeError(f"the template is {seen}")
                time.sleep(0.02)
            sync(data)

        milliseconds, _ = kit.timed(pull)
        sandbox = client.create(template_name="it", memory=512)
        assert client.execute(sandbox, "true")["exit_code"] == 0
        client.delete(sandbox)
    shutil.rmtree(data)
    return milliseconds


def skopeo_once(address, work):
    directory = tempfile.mkdtemp(dir=work)

    def pull():
        run("skopeo", "copy", "--src-tls-verify=false", f"docker://{address}/{REPOSITORY}:latest",
            f"oci:{directory}/layout:latest")
        run("umoci", "unpack", "--image", f"{directory}/layout:latest", f"{directory}/bundle",
            stderr=subprocess.DEVNULL)
        run(*MKFS, f"{directory}/root.erofs", f"{directory}/bundle/rootfs")
        sync(directory)

    milliseconds, _ = kit.timed(pull)
    shutil.rmtree(directory)
    return milliseconds


def podman_once(address, work):
    directory = tempfile.mkdtemp(dir=work)

    def pull():
        run("podman", "--root", f"{directory}/root", "--runroot", f"{directory}/run", "--storage-driver=overlay", "pull",
            "--quiet", "--tls-verify=false", f"{address}/{REPOSITORY}:latest", stderr=subprocess.DEVNULL)
        sync(directory)

    milliseconds, _ = kit.timed(pull)
    shutil.rmtree(directory)
    return milliseconds


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-n", type=int, default=7, help="counted rounds, after one that is not")
    rounds = arguments.parse_args().n + 1
    ways = {"atoll": atoll_once, "skopeo_umoci_mkfs": skopeo_once, "podman_pull": podman_once}
    times = {name: [] for name in ways}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as work:
        # The service user passes through it.
        os.chmod(work, 0o755)
        with kit.server():
            [image] = glob.glob(f"{kit.DATA_DIR}/node/images/*/root.erofs")[:1]
        with mounted(image) as root:
            file_bytes, layer_bytes = make_image(root, f"{work}/image")
        with registry(work) as address:
            run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{work}/image:latest",
                f"docker://{address}/{REPOSITORY}:latest")
            for number in range(rounds):
                for name, once in ways.items():
                    milliseconds = once(address, work)
                    times[name] += [milliseconds] if number else []
    kit.report("pull", {
        "layers": LAYERS, "file_mib": round(file_bytes / 2**20, 1), "layer_mib": round(layer_bytes / 2**20, 1),
        "milliseconds": {name: kit.summary(values) for name, values in times.items()},
    })


if __name__ == "__main__":
    main()
