"""Images of an ordinary user's containerd, in a user namespace of its own, as rootlesskit runs it."""

import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.conftest import Mount
from tests.engines.containerd import CONFIG, archives
from tests.engines.machine import machine
from tests.images import TestImage
from tests.tree.stacks import Entry, tar

FILE, DIRECTORY = tarfile.REGTYPE, tarfile.DIRTYPE
NAME = "example/rootless:1"
STACK = [
    [
        Entry("d", DIRECTORY, mode=0o755),
        Entry("d/gone", FILE, "gone"),
        Entry("o", DIRECTORY, mode=0o700),
        Entry("o/hidden", FILE, "hidden"),
        Entry("a", FILE, "a" * 10_000, mode=0o4755, fraction="123456789"),
        Entry("s", tarfile.SYMTYPE, "/d", mode=0o777, owner=1000),
    ],
    [
        Entry("./", DIRECTORY, mode=0o755),
        Entry("d", DIRECTORY, mode=0o700),
        Entry("d/.wh.gone", FILE),
        Entry("o", DIRECTORY, mode=0o755),
        Entry("o/.wh..wh..opq", FILE),
        Entry("o/new", FILE, "new"),
    ],
]
_USER, _FIRST = 1234, 100_000  # and the first of those that are mapped

_OUTSIDE = """
grep -q ^rootless: /etc/passwd || echo "rootless:x:$2:$2::$1:/bin/sh" >> /etc/passwd
echo "rootless:$3:65536" | tee /etc/subuid > /etc/subgid
exec setpriv --reuid "$2" --regid "$2" --clear-groups env HOME="$1" \
    unshare --map-auto --map-root-user --mount sh -euc "$4" sh "$1" "$5" "$6"
"""
_INSIDE = """
mount -t tmpfs none /run
containerd -c "$1/config.toml" > "$1/log" 2>&1 &
trap "kill $!; wait" EXIT
ctr="ctr -a $1/grpc.sock"
for _ in $(seq 100); do $ctr version > "$1/version" 2>&1 && break; sleep 0.1; done
$ctr images import "$2" > /dev/null
mkdir "$1/seen"
$ctr images mount "$3" "$1/seen" > /dev/null
cd "$1/seen"
"""
_LIST = "find . -type d -printf '%P %y %m %T@\\n' -o -printf '%P %y %m %T@ %s %l\\n' | sort"


def test_an_ordinary_users_store_is_read(suite: str, mount: Mount) -> None:
    image = TestImage([tar(layer) for layer in STACK], [NAME])
    with tempfile.TemporaryDirectory(prefix="imgfs-") as folder, machine(suite) as inside:
        home = Path(folder) / "home"
        home.mkdir()
        etc = Path(folder) / "etc"  # as of the disk of a machine
        etc.mkdir()
        (etc / "passwd").write_text(f"rootless:x:{_USER}:{_USER}::{home}:/bin/sh\n")
        for of in ("subuid", "subgid"):
            (etc / of).write_text(f"rootless:{_FIRST}:65536\n")
        root = home / ".local/share/containerd"
        (home / "config.toml").write_text(CONFIG.format(folder=home, root=root))
        (archive,) = archives(Path(folder), [image])
        for path in (folder, archive):
            os.chmod(path, 0o755)
        os.chown(home, _USER, _USER)
        script = f'{_INSIDE}{_LIST}\ncd /\n$ctr images unmount "$1/seen" > /dev/null'
        given = (home, str(_USER), str(_FIRST), script, archive, NAME)
        started = inside.line("sh", "-euc", _OUTSIDE, "sh", *given)
        done = subprocess.run(started, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for blob in (root / "io.containerd.content.v1.content/blobs/sha256").iterdir():
            if not blob.read_bytes().startswith(b"{"):
                blob.unlink()
        with mount(f"containerd:{root}") as top:
            rootfs = top / "tags" / NAME / "rootfs"
            shown = subprocess.run(_LIST, shell=True, cwd=rootfs, capture_output=True, text=True, check=True)
            assert shown.stdout == done.stdout
            assert "o/new f 644 1600000000.0000000000 3" in shown.stdout
            assert (rootfs / "o/new").read_bytes() == b"new"
            assert (rootfs / "a").read_bytes() == b"a" * 10_000
            assert [(rootfs / name).lstat().st_uid for name in ("a", "s")] == [0, 1000]
