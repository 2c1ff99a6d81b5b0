"""Running what tests run as a user without rights."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

USER = 65534

# As root, the test becomes a user with no rights. In a mount namespace of its own, where everybody may open
# /dev/fuse, as on an ordinary machine; reading whatever is there, as only its owner may be able to read the checkout.
_BECOME = f"""
set -e
mkdir "$1/dev" && mount -t tmpfs none "$1/dev" && mknod -m 666 "$1/dev/fuse" c 10 229
mount --bind "$1/dev/fuse" /dev/fuse
[ ! -e /etc/fuse.conf ] || mount --bind /dev/null /etc/fuse.conf
cd "$1" && shift
exec setpriv --reuid={USER} --regid={USER} --clear-groups --inh-caps=+dac_read_search \
    --ambient-caps=+dac_read_search "$@"
"""


@contextmanager
def user_folder() -> Iterator[Path]:
    """A folder that a user without rights may write, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() == 0:
            os.chown(name, USER, USER)
        yield Path(name)


def as_user(folder: Path, command: Sequence[str]) -> list[str]:
    """The command line that runs a command in such a folder, as that user if this is root."""
    if os.geteuid() != 0:
        return list(command)
    return ["unshare", "--mount", "sh", "-c", _BECOME, "sh", str(folder), *command]
