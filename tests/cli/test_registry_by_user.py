"""Registries as a user without rights reaches them, with the files of that user's own."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.images import TestImage, layer_tar
from tests.ordinary_user import as_user, user_folder
from tests.registry.filling import insecure, put_images
from tests.registry.serving import docker_registry, htpasswd
from tests.tools import require_tool

IMAGE = TestImage([layer_tar({"etc/": None, "etc/name": b"here\n", "big": os.urandom(3 << 20)})], ["app:1"])
PASSWORD = "geheim-genug"
PLACES = ("run/containers/auth.json", "home/.config/containers/auth.json", "home/.docker/config.json")

LOOK = """
import json, os, subprocess, sys

image, other, auth, *places = sys.argv[1:]

def imgfs(*arguments, status=0):
    done = subprocess.run([sys.executable, "-m", "imgfs", *arguments], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if not status else done.stderr

assert os.geteuid() != 0
print(imgfs("ls", image, status=1), end="")
for place in places:
    os.makedirs(os.path.dirname(place))
    with open(place, "w") as file:
        file.write(auth)
    assert imgfs("cat", image + ":/etc/name") == "here\\n"
    if place != places[-1]:
        os.unlink(place)
imgfs("index", "--push", image)
imgfs("copy", "-q", image, other)
imgfs("cache", "clear")
os.mkdir("mnt")
imgfs("mount", other, "mnt")
(tag,) = [os.path.join(at, name) for at, names, _ in os.walk("mnt/tags") for name in names if name == "2"]
assert open(os.path.join(tag, "rootfs/etc/name")).read() == "here\\n"
stats = json.load(open("mnt/.imgfs/stats"))
assert stats["total"]["requests"] > 0
assert not any(counts.get("bytes", 0) > 2 << 20 for counts in stats["blobs"].values()), stats
subprocess.run(["fusermount3", "-u", "mnt"], check=True)
"""


def test_an_ordinary_user_reads_mounts_indexes_and_copies(tmp_path: Path) -> None:
    require_tool("fusermount3")
    with docker_registry(tmp_path / "registry") as address:
        put_images(address, tmp_path / "layout", [IMAGE])
    port = int(address.rpartition(":")[2])
    locked = htpasswd(tmp_path / "passwords", "me", PASSWORD)
    with docker_registry(tmp_path / "registry", port=port, auth=locked), user_folder() as folder:
        auth = {"auths": {address: {"auth": base64.b64encode(f"me:{PASSWORD}".encode()).decode()}}}
        arguments = (f"docker://{address}/app:1", f"docker://{address}/other:2", json.dumps(auth), *PLACES)
        command = as_user(folder, [sys.executable, "-c", LOOK, *arguments])
        (folder / "home").mkdir(mode=0o777)
        (folder / "home").chmod(0o777)
        insecure(folder, address).chmod(0o644)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
        (refused,) = done.stdout.splitlines()
        assert "wants a name and a password, and none is known for it" in refused
        kept = [path for path in (folder / "cache").rglob("*") if path.is_file()]
        assert kept
        secrets = (PASSWORD.encode(), auth["auths"][address]["auth"].encode())
        assert not any(secret in path.read_bytes() for path in kept for secret in secrets)
