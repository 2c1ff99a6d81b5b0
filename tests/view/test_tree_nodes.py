"""Entries of trees as nodes."""

import os
import stat
import tarfile

import pytest

from imgfs.rootfs import RootFS
from imgfs.view.node import Directory, File, Node, NodeTable
from imgfs.view.tree_nodes import TreeDirectory, TreeFile, TreeSpecial, TreeSymlink, tree_node
from tests.rootfs.roots import root_fs
from tests.tree.stacks import Entry, tar

LAYER = tar(
    [
        Entry("d", tarfile.DIRTYPE, mode=0o750, owner=5, mtime=9),
        Entry("d/file", tarfile.REGTYPE, "content", mode=0o4755, xattr="value"),
        Entry("d/link", tarfile.SYMTYPE, "file"),
        Entry("d/name", tarfile.LNKTYPE, "d/file", mode=0o4755),
        Entry("d/null", tarfile.CHRTYPE, device=(1, 3)),
        Entry("d/pipe", tarfile.FIFOTYPE),
    ]
)


class Table(NodeTable):
    """The nodes of one tree."""

    key = "/table"

    def __init__(self, root: RootFS) -> None:
        self.root = root

    def node(self, number: int) -> Node:
        return tree_node(self, self.root, number)

    def load(self) -> None: ...

    def top(self) -> Directory:
        node = self.node(0)
        assert isinstance(node, Directory)
        return node


def test_absolute_links_can_be_shown_leading_inside() -> None:
    links = {"top": "/etc/x", "d/link": "/etc/../x", "d/e/link": "/", "d/relative": "../x", "root": "/"}
    table = Table(root_fs(tar([Entry(name, tarfile.SYMTYPE, target) for name, target in links.items()])))
    for table.links_inside in (False, True):
        for name, target in links.items():
            *folders, last = name.encode().split(b"/")
            directory: Node | None = table.top()
            for folder in folders:
                assert isinstance(directory, TreeDirectory)
                directory = directory.lookup(folder)
            assert isinstance(directory, TreeDirectory)
            node = directory.lookup(last)
            assert isinstance(node, TreeSymlink)
            inside = os.fsencode("../" * len(folders) + target.lstrip("/")) or b"."
            assert node.target == (inside if table.links_inside and target[0] == "/" else target.encode())
            (listed,) = [row for row in directory.listed(0, 9) if row[0] == last]
            assert listed[7] == len(node.target)


def test_a_link_with_several_names_is_shown_as_it_is() -> None:
    links = [Entry("a", tarfile.SYMTYPE, "/x"), Entry("d/b", tarfile.LNKTYPE, "a")]
    table = Table(root_fs(tar(links)))
    table.links_inside = True
    node = table.top().lookup(b"a")
    assert isinstance(node, TreeSymlink)
    assert node.target == b"/x"


@pytest.fixture
def top() -> Directory:
    return Table(root_fs(LAYER)).top()


def below(top: Directory) -> TreeDirectory:
    node = top.lookup(b"d")
    assert isinstance(node, TreeDirectory)
    return node


def test_a_node_is_what_its_entry_says(top: Directory) -> None:
    folder = below(top)
    assert (folder.mode, folder.uid, folder.links, folder.mtime_ns) == (
        stat.S_IFDIR | 0o750,
        5,
        2,
        9_000_000_000,
    )
    assert (folder.parent, folder.count, folder.label) == (0, 5, "/table/d")
    file = folder.lookup(b"file")
    assert isinstance(file, TreeFile)
    assert (file.mode, file.known_size, file.find_size()) == (stat.S_IFREG | 0o4755, 7, 7)
    assert file.label == "/table/d/file"
    link, null, pipe = (folder.lookup(name) for name in (b"link", b"null", b"pipe"))
    assert isinstance(link, TreeSymlink)
    assert link.target == b"file"
    assert isinstance(null, TreeSpecial)
    assert null.device == os.makedev(1, 3)
    assert isinstance(pipe, TreeSpecial)
    assert (pipe.mode, pipe.device) == (stat.S_IFIFO | 0o644, 0)
    assert folder.lookup(b"none") is None


def test_names_of_a_file_are_one_node(top: Directory) -> None:
    file, name = below(top).lookup(b"file"), below(top).lookup(b"name")
    assert file is not None
    assert name is not None
    assert (file.number, file.links, dict(name.xattrs)) == (name.number, 2, dict(file.xattrs))


def test_a_listing_says_what_the_nodes_say(top: Directory) -> None:
    folder = below(top)
    listed = list(folder.listed(0, 99))
    assert [row[0] for row in listed] == [name for name, _ in folder.entries()]
    for (name, number, mode, links, uid, gid, device, size, mtime_ns), (_, node) in zip(
        listed, folder.entries(), strict=True
    ):
        of = (node.number, node.mode, node.links, node.uid, node.gid, node.device, node.mtime_ns)
        assert (number, mode, links, uid, gid, device, mtime_ns) == of, name
        if isinstance(node, File):
            assert size == node.known_size
    assert [row[0] for row in folder.listed(1, 3)] == [b"link", b"name"]


def test_a_file_opens_without_blocking_once_its_layer_is_open(top: Directory) -> None:
    file = below(top).lookup(b"file")
    assert isinstance(file, TreeFile)
    assert file.try_open() is None
    with file.open() as blob:
        assert blob.pread(9, 0) == b"content"
    again = file.try_open()
    assert again is not None
    assert again.pread(9, 3) == b"tent"
    again.close()
