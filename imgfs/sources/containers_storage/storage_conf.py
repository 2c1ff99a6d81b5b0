"""Where podman, buildah and CRI-O keep images when no place is given.

Format: containers-storage.conf(5). Root has `/var/lib/containers/storage`, others `$XDG_DATA_HOME/containers/storage`,
unless a configuration file says otherwise. `podman unshare` makes its user root in a namespace that has the user's own
store, and sets variables that say so (containers/storage, pkg/unshare/unshare_linux.go, IsRootless).
"""

import logging
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

logger = logging.getLogger("imgfs")

_MAX_FILE = 64 << 10  # bytes
_MAX_DOTS = 500  # in a line; a key takes time that grows with the square of its parts
_SYSTEM = ("/etc/containers/storage.conf", "/usr/share/containers/storage.conf")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")

_Table = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class StorageConf:
    """The directory of the store, and other stores that images are only read from."""

    graph_root: str
    additional: Sequence[str] = ()


def configurations() -> list[str]:
    """The paths of all files that may be the configuration of this user."""
    return [*_own_files(os.path.expanduser("~")), *_SYSTEM]


def default_storage() -> StorageConf:
    """The configuration of this user. A file that cannot be read is logged and ignored."""
    home = os.path.expanduser("~")
    if os.geteuid() == 0 and not os.environ.get("_CONTAINERS_USERNS_CONFIGURED"):
        storage, graph_root = _read(_system_file()), "/var/lib/containers/storage"
        keys = ["graphroot"]
    else:
        own = _own_file(home)
        # a file of the system's own says where root's images are; other users share one setting in it
        keys = ["rootless_storage_path", *(["graphroot"] if own else [])]
        storage = _read(own or _system_file())
        data_home = os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
        graph_root = os.path.join(data_home, "containers", "storage")
    for key in keys:
        text = storage.get(key)
        if isinstance(text, str) and text:
            graph_root = _expand(text, home)
            break
    return StorageConf(graph_root, [_expand(text, home) for text in _additional(storage)])


def _system_file() -> str | None:
    for path in (os.environ.get("CONTAINERS_STORAGE_CONF"), *_SYSTEM):
        if path and os.path.exists(path):
            return path
    return None


def _own_file(home: str) -> str | None:
    return next(filter(os.path.exists, _own_files(home)), None)


def _own_files(home: str) -> list[str]:
    config_home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    named = os.environ.get("CONTAINERS_STORAGE_CONF")
    return [*([named] if named else []), os.path.join(config_home, "containers", "storage.conf")]


def _read(path: str | None) -> _Table:
    """The table `storage` of a file."""
    if path is None:
        return {}
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE + 1)
        if len(data) > _MAX_FILE:
            raise ValueError(f"larger than {_MAX_FILE} bytes")
        if any(line.count(b".") > _MAX_DOTS for line in data.splitlines()):
            raise ValueError(f"a line with more than {_MAX_DOTS} dots")
        return _table(tomllib.loads(data.decode()), "storage")
    except RecursionError:
        logger.warning("%s: ignored: nested too deeply", path)
    except (OSError, ValueError) as error:
        logger.warning("%s: ignored: %s", path, error)
    return {}


def _additional(storage: _Table) -> Iterator[str]:
    image_store = storage.get("imagestore")
    if isinstance(image_store, str) and image_store:
        yield image_store
    stores = _table(storage, "options").get("additionalimagestores")
    for store in stores if isinstance(stores, list) else ():
        if isinstance(store, str) and store:
            yield store


def _table(table: _Table, key: str) -> _Table:
    value = table.get(key)
    return value if isinstance(value, dict) else {}


def _expand(text: str, home: str) -> str:
    uid = os.environ.get("_CONTAINERS_ROOTLESS_UID") or str(os.getuid())
    known = {"HOME": home, "UID": uid, **{k: v for k, v in os.environ.items() if k == "USER"}}
    expanded = _VARIABLE.sub(
        lambda match: known.get(match[1] or match[2], os.environ.get(match[1] or match[2], "")), text
    )
    return os.path.abspath(expanded)
