"""What lies in a store is opened by `Root` and written by `Folder`, and by nothing else: other ways are listed here."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "imgfs"
MODULES = sorted(PACKAGE.rglob("*.py"))

WAYS = {
    "os": {
        "open",
        "stat",
        "lstat",
        "listdir",
        "scandir",
        "readlink",
        "rename",
        "replace",
        "unlink",
        "remove",
        "mkdir",
        "makedirs",
        "link",
        "symlink",
        "rmdir",
        "chmod",
        "chown",
        "utime",
        "truncate",
        "access",
        "walk",
        "fwalk",
        "mkfifo",
        "mknod",
        "removedirs",
        "renames",
        "lchown",
        "statvfs",
    },
    "os.path": {
        "exists",
        "lexists",
        "isdir",
        "isfile",
        "islink",
        "ismount",
        "realpath",
        "getsize",
        "getmtime",
        "getctime",
        "getatime",
        "samefile",
    },
    "shutil": {"rmtree", "copy", "copy2", "copyfile", "copytree", "move", "disk_usage", "chown", "copymode"},
    "tempfile": {"mkstemp", "mkdtemp", "TemporaryFile", "NamedTemporaryFile", "TemporaryDirectory"},
    "io": {"open", "FileIO"},
    "": {"open", "FileBlob", "Path"},
}

ALLOWED: Mapping[str, tuple[str, str]] = {
    "blob/file.py": (
        "a file that the user names on the command line",
        "os.open",
    ),
    "blob/folder.py": (
        "this is how files are written; the user's own path is made link by link",
        "open os.link os.mkdir os.open os.path.isdir os.rename os.scandir os.stat os.unlink shutil.rmtree",
    ),
    "blob/link_reader.py": (
        "a link that was listed, in a directory that is open",
        "os.readlink",
    ),
    "registry/credentials.py": (
        "the user's own files with credentials",
        "os.path.isfile",
    ),
    "registry/registries_conf.py": (
        "the user's own configuration, and the system's",
        "os.listdir os.path.exists",
    ),
    "registry/user_file.py": (
        "the user's own configuration",
        "open os.path.lexists",
    ),
    "registry/tls.py": (
        "the user's own certificates, and the system's",
        "os.access os.listdir os.path.isdir",
    ),
    "blob/resolve.py": (
        "this is how names are resolved",
        "os.open os.readlink",
    ),
    "blob/root.py": (
        "this is how stores are read; the root's own path is the user's",
        "os.open os.scandir os.stat",
    ),
    "checking/rule_file.py": (
        "the user's own file of rules",
        "open os.path.lexists",
    ),
    "cli/doctor.py": (
        "fuse.conf, and a temporary mount point",
        "open os.rmdir tempfile.mkdtemp",
    ),
    "cli/export.py": (
        "the directory that the user wants made",
        "os.makedirs",
    ),
    "cli/files.py": (
        "the directory that the user wants files in",
        "os.mkdir os.path.exists os.path.isdir os.path.isfile",
    ),
    "locate/catalog.py": (
        "a file of the cache that is being written, and one that is marked as used",
        "open os.utime",
    ),
    "locate/machine.py": (
        "whether stores have changed",
        "os.stat",
    ),
    "sources/default_places.py": (
        "whether stores appear in their default places",
        "os.scandir",
    ),
    "sources/lookup.py": (
        "whether the name that the user gave is a path",
        "os.path.isdir",
    ),
    "sources/not_found.py": (
        "whether the name that the user gave is a path",
        "os.path.lexists",
    ),
    "rootfs/copy_out.py": (
        "files are made here, beneath the descriptor of the user's directory",
        "open os.chmod os.chown os.link os.mkdir os.mknod os.open os.symlink os.utime",
    ),
    "sources/image_reference.py": (
        "whether what the user named exists",
        "os.path.lexists",
    ),
    "cli/output.py": (
        "the file or the directory that the user wants written",
        "open os.open os.path.exists os.path.isfile os.path.lexists os.path.realpath os.rename os.replace os.stat "
        "os.unlink shutil.rmtree",
    ),
    "cli/copy.py": (
        "the place that the user wants written",
        "os.mkdir os.path.exists os.path.getsize os.path.isfile os.path.lexists os.path.samefile",
    ),
    "saving/layout_directory.py": (
        "a descriptor that a folder created",
        "open",
    ),
    "saving/compression.py": (
        "temporary files",
        "tempfile.TemporaryFile",
    ),
    "saving/entry.py": (
        "the directory that the user wants written",
        "open os.makedirs os.mkdir",
    ),
    "cli/own_store.py": (
        "what the user gives to import",
        "open os.path.isdir",
    ),
    "cli/complete.py": (
        "the paths that the user types, and a file of the package",
        "open os.path.exists os.scandir",
    ),
    "cli/known_names.py": (
        "whether stores have changed, and a file of the cache, whose owner is checked",
        "open os.open os.path.lexists os.stat",
    ),
    "cli/main.py": (
        "/dev/null",
        "os.open",
    ),
    "cli/mount.py": (
        "the user's mount point, and whether what the user named as a source exists",
        "os.path.lexists os.path.realpath",
    ),
    "cli/mount_helper.py": (
        "whether what the user named as a source exists",
        "os.path.lexists",
    ),
    "cli/remedies.py": (
        "/dev/fuse, and fusermount3",
        "os.open os.stat",
    ),
    "layers/directory_scan.py": (
        "entries of a directory that is held open, by plain names beneath its descriptor, and /proc",
        "open os.listdir os.path.exists os.stat",
    ),
    "mount/holders.py": (
        "/proc",
        "Path os.listdir os.open os.readlink",
    ),
    "mount/table.py": (
        "the mount point, and /proc",
        "Path os.path.realpath",
    ),
    "codec/parallel_gzip_child.py": (
        "descriptors that it was given",
        "open",
    ),
    "cache/cache.py": (
        "files of the cache, beneath its descriptor",
        "open os.open os.utime",
    ),
    "cache/trusted_folder.py": (
        "the cache directory, judged by its descriptor",
        "os.makedirs os.open os.readlink",
    ),
    "cache/partial_file.py": (
        "files of the cache, beneath its descriptor",
        "os.open os.utime",
    ),
    "logs.py": (
        "the socket of syslog",
        "os.path.exists",
    ),
    "mount/daemon.py": (
        "a pipe, and /dev/null",
        "open os.open",
    ),
    "mount/kernel_mounts.py": (
        "directories and files of the mount itself",
        "os.open",
    ),
    "mount/umount.py": (
        "the mount point",
        "os.statvfs",
    ),
    "mount/session.py": (
        "the mount point",
        "os.path.ismount os.path.realpath os.stat os.statvfs tempfile.TemporaryFile",
    ),
    "mount/tuning.py": (
        "the mount point, and /sys",
        "open os.open os.stat",
    ),
    "sources/containerd/store.py": (
        "what the user gives as a source: a path or a path and a namespace",
        "os.path.lexists",
    ),
    "own/directory_tar.py": (
        "the directory that the user imports",
        "open os.listdir os.path.isdir os.path.islink",
    ),
    "own/loading.py": (
        "a copy in the writer's own folder",
        "open",
    ),
    "sources/kind.py": (
        "the archive that the user gives",
        "FileBlob",
    ),
    "own/writer.py": (
        "a descriptor that a folder created",
        "open",
    ),
    "sources/__init__.py": (
        "what the user gives as a source",
        "FileBlob os.path.isdir os.path.lexists",
    ),
    "sources/reference.py": (
        "what the user gives as a source: a path or a path and a tag",
        "os.path.lexists",
    ),
    "sources/containers_storage/storage_conf.py": (
        "storage.conf",
        "open os.path.exists",
    ),
}
"""By module, the reason and the ways that it uses; none of them leads to a file of a store by its path."""


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{_dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else "?"


def _ways(tree: ast.AST) -> Iterator[str]:
    """What a module names of the ways to reach a file, called or handed on."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in WAYS:
            yield from (
                f"{node.module}.{alias.name}" for alias in node.names if alias.name in WAYS[node.module]
            )
        if isinstance(node, ast.Attribute):
            before, _, last = _dotted(node).rpartition(".")
            if last in WAYS.get(before, ()) and before:
                yield f"{before}.{last}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WAYS[""]:
            if not (node.func.id == "FileBlob" and len(node.args) > 1):  # over a descriptor
                yield node.func.id
        elif isinstance(node, ast.Name) and node.id == "FileBlob":
            parent = parents[node]
            if isinstance(parent, ast.Call) and node is not parent.func:
                yield "FileBlob"  # handed on, as to partial


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_opened_in_no_other_way_than_these(path: Path) -> None:
    name = str(path.relative_to(PACKAGE))
    _, allowed = ALLOWED.get(name, ("", ""))
    assert sorted(set(_ways(ast.parse(path.read_text())))) == sorted(allowed.split())


def test_the_ways_are_recognised() -> None:
    program = """
import os, shutil
from os import scandir
os.open("a", 0); os.path.exists("a"); open("a"); FileBlob("a"); FileBlob("a", 3); partial(FileBlob, "a")
shutil.rmtree("a"); sum(map(os.stat, []))
"""
    found = sorted(_ways(ast.parse(program)))
    assert found == sorted(
        [
            "FileBlob",
            "FileBlob",
            "open",
            "os.open",
            "os.path.exists",
            "os.scandir",
            "os.stat",
            "shutil.rmtree",
        ]
    )


def test_only_modules_that_are_there_are_listed() -> None:
    assert ALLOWED.keys() <= {str(path.relative_to(PACKAGE)) for path in MODULES}
