"""EROFS images of merged trees, against the kernel, which mounts them, erofs-utils, and the reader of imgfs."""

import os
import random
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgfs.blob import FileBlob, MemoryBlob, blob_chunks
from imgfs.erofs.inode import fits_short
from imgfs.errors import Corrupt, InvalidImage
from imgfs.tar import scan_blob
from imgfs.tree import AssembledBlob, ErofsPlan, Tree, build_tree
from tests.erofs.images import image_facts, mounted_file, tar_of_every_kind, tool
from tests.tar.archives import check_sparse_file, extended, header, long_name, padded, sparse_file
from tests.tree.stacks import Entry, check_same, merged, real_facts, stacks, tar, tree_facts


def metadata(plan: ErofsPlan) -> bytes:
    """The metadata as a file of its own."""
    with AssembledBlob(plan.metadata, lambda number: MemoryBlob(b"")) as blob:
        return blob.pread(blob.size, 0)


def written(plan: ErofsPlan, layers: Sequence[bytes], work: Path) -> tuple[Path, Path, list[Path]]:
    """The image as one file, and as metadata and devices."""
    with AssembledBlob(plan, lambda number: MemoryBlob(layers[number])) as blob:
        data = b"".join(blob_chunks(blob))
    assert len(data) == plan.size
    whole, alone, devices = work / "whole", work / "alone", []
    whole.write_bytes(data)
    alone.write_bytes(metadata(plan))
    for layer, start, blocks in plan.devices:
        devices.append(work / f"device-{start}")
        content = data[start * 512 : (start + blocks) * 512]
        devices[-1].write_bytes(content if layer is None else layers[layer])
    return whole, alone, devices


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stacks())
def test_a_random_tree_is_what_the_kernel_shows(disk: Path, stack: list[list[Entry]]) -> None:
    layers = [tar(layer) for layer in stack]
    tree = merged(layers)
    expected = tree_facts(tree, layers)
    with tempfile.TemporaryDirectory(dir=disk) as name:
        work = Path(name)
        for with_layers in (False, True):
            made = work / f"{with_layers}"
            made.mkdir()
            whole, alone, devices = written(ErofsPlan(tree, with_layers=with_layers), layers, made)
            with mounted_file(whole, made / "top") as top:
                check_same(real_facts(top), expected)
            with mounted_file(alone, made / "with-devices", devices) as top:
                check_same(real_facts(top), expected)
            done = subprocess.run([*tool("fsck.erofs", "trixie"), whole], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stacks())
def test_a_random_tree_is_what_the_reader_finds(stack: list[list[Entry]]) -> None:
    layers = [tar(layer) for layer in stack]
    tree = merged(layers)
    for with_layers in (False, True):
        plan = ErofsPlan(tree, with_layers=with_layers)
        with AssembledBlob(plan, lambda number: MemoryBlob(layers[number])) as blob:
            found = image_facts(blob)
            assert found.pop(b"")[0] == tree.modes[0]
            check_same(found, tree_facts(tree, layers))


def check(tree: Tree, layers: Sequence[bytes], work: Path) -> None:
    """Compare the images of a tree, in every form, with the tree."""
    expected = tree_facts(tree, layers)
    for with_layers in (False, True):
        made = work / f"{with_layers}"
        made.mkdir()
        whole, alone, devices = written(ErofsPlan(tree, with_layers=with_layers), layers, made)
        with mounted_file(whole, made / "top") as top:
            check_same(real_facts(top), expected)
            status = top.stat()
            owner = status.st_uid, status.st_gid
            assert (status.st_mode, *owner) == (tree.modes[0], tree.uids[0], tree.gids[0])
            assert (status.st_mtime_ns, status.st_nlink) == (tree.mtimes[0], tree.links[0])
        with mounted_file(alone, made / "with-devices", devices) as top:
            check_same(real_facts(top), expected)
        with FileBlob(whole) as blob:
            found = image_facts(blob)
            del found[b""]
            check_same(found, expected)
        run(*tool("fsck.erofs", "trixie"), whole)
        run(*tool("dump.erofs", "trixie"), "-S", whole)


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_of_every_kind_are_what_they_are_in_the_layer(disk: Path) -> None:
    work = disk / "every-kind"
    work.mkdir()
    layer = tar_of_every_kind(work / "files", 1)
    tree = merged([layer])
    assert tree.sparse and tree.devices and tree.same and tree.xattrs
    check(tree, [layer], work)


def test_files_of_the_same_time_take_less(disk: Path) -> None:
    kinds, owners = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE), (0, 65_535, 65_536)

    def layer(fraction: str) -> bytes:
        return tar(
            [
                Entry(
                    f"{number}",
                    kinds[number % 3],
                    "x",
                    owner=owners[number // 3 % 3],
                    fraction=fraction.format(number % 10),
                    xattr="value" * (number % 2),
                )
                for number in range(40)
            ]
        )

    work = Path(tempfile.mkdtemp(dir=disk))
    check(merged([layer("987654321")]), [layer("987654321")], work)
    same, other = (len(metadata(ErofsPlan(merged([layer(of)])))) for of in ("987654321", "98765432{}"))
    assert same < other


@pytest.mark.parametrize(
    ("size", "owner", "links", "fits"),
    [
        (2**32 - 1, (65_535, 65_535), 65_535, True),
        (2**32, (0, 0), 1, False),
        (0, (0, 65_536), 1, False),
        (0, (0, 0), 65_536, False),
    ],
)
def test_an_inode_of_the_shorter_form_holds_what_it_can(
    size: int, owner: tuple[int, int], links: int, fits: bool
) -> None:
    assert fits_short(size, owner, links) is fits


def test_many_and_long_names_are_found(disk: Path) -> None:
    odd = [b"!", b"-x", b"+", b".a", b"..b", b".-", b"\xff"]
    names = [b"many/%05d" % number for number in range(50_000)]
    names += [b"long/" + b"%03d" % number + b"n" * 252 for number in range(300)]
    layer = b"".join(long_name(b"L", name) + header() for name in [*names, *(b"odd/" + name for name in odd)])
    work = disk / "names"
    work.mkdir()
    tree = merged([layer + bytes(1024)])
    whole, _, _ = written(ErofsPlan(tree), [layer], work)
    with mounted_file(whole, work / "top") as top:
        for name in ("many", "long", "odd"):
            entry = tree.lookup(0, name.encode())
            assert entry is not None
            folder, expected = os.fsencode(top / name), tree.names(tree.children(entry))
            assert sorted(os.listdir(folder)) == expected
            assert all(os.path.lexists(os.path.join(folder, of)) for of in expected)
            assert not os.path.lexists(top / name / "none")
    run(*tool("fsck.erofs", "trixie"), whole)


def test_links_to_long_paths_lead_there(disk: Path) -> None:
    lengths = (1, 100, 255, 383, 384, 385, 447, 448, 449, 511, 512, 513, 1024, 4095)
    targets = ["t" * length for length in lengths] * 3
    layer = tar([Entry(f"{number:02}", tarfile.SYMTYPE, target) for number, target in enumerate(targets)])
    work = disk / "links"
    work.mkdir()
    check(merged([layer]), [layer], work)


HUGE = 1 << 38
SPARSE = {
    "in-pages": (1 << 20, [(4096, 8192), (65_536, 4096)]),
    "in-blocks": (10_000, [(512, 512), (2048, 1000)]),
    "to-the-end": (10_000, [(0, 512), (9728, 272)]),
    "anywhere": (10_000, [(1, 700), (2047, 2), (5000, 1)]),
    "then-in-blocks": (1 << 16, [(1, 700), (4096, 4096), (8192, 12_288)]),
    "empty-parts": (5000, [(0, 0), (512, 512), (5000, 0)]),
    "a-hole": (1_000_000, [(0, 0)]),
    "a-huge-hole": (HUGE, [(HUGE, 0)]),
    "huge": (HUGE, [(0, 4096), (HUGE // 2, 4096), (HUGE - 4096, 4096)]),
    "many": (1 << 25, [(number << 14, 512) for number in range(1 << 11)]),
}


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("with_layers", [True, False])
def test_a_sparse_file_has_its_data_and_its_holes(disk: Path, name: str, with_layers: bool) -> None:
    size, parts = SPARSE[name]
    layer = header(b"before", size=1) + padded(b"x") + sparse_file(name, size, parts) + bytes(1024)
    work = Path(tempfile.mkdtemp(dir=disk))
    plan = ErofsPlan(merged([layer]), with_layers=with_layers)
    whole, _, _ = written(plan, [layer], work)
    with mounted_file(whole, work / "top") as top, open(top / name, "rb") as file:
        check_sparse_file(top / name, size, parts)
        if not any(length for _, length in parts):
            with pytest.raises(OSError, match="No such device or address"):
                os.lseek(file.fileno(), 0, os.SEEK_DATA)
        elif name == "in-pages":
            assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 4096
            assert os.lseek(file.fileno(), 4096, os.SEEK_HOLE) == 12_288
    run(*tool("fsck.erofs", "trixie"), whole)
    assert plan.size < 64 << 20


LENGTHS = st.sampled_from([1, 5, 511, 512, 513, 1024, 4096, 5000])


@settings(deadline=None)
@given(st.lists(st.tuples(LENGTHS | st.just(0), LENGTHS), max_size=6), LENGTHS | st.just(0), st.booleans())
def test_any_sparse_file_is_what_the_reader_finds(
    gaps: list[tuple[int, int]], end: int, with_layers: bool
) -> None:
    parts, size = list[tuple[int, int]](), 0
    for gap, length in gaps:
        parts.append((size + gap, length))
        size += gap + length
    size += end
    layer = sparse_file("file", size, parts or [(0, 0)]) + bytes(1024)
    tree = merged([layer])
    with AssembledBlob(ErofsPlan(tree, with_layers=with_layers), lambda _: MemoryBlob(layer)) as blob:
        assert image_facts(blob)[b"file"] == tree_facts(tree, [layer])[b"file"]


@pytest.mark.parametrize(("place", "copies"), [(1000, {}), (512, {0: "a copy"}), (700, {0: "a copy"})])
def test_what_is_not_in_whole_blocks_of_a_tar_is_laid_out(place: int, copies: dict[int, str]) -> None:
    layer = random.Random(1).randbytes(3000)
    tree = Tree()
    tree.append(0, b"", 0o40755, (0, 0), 0, 0, (0, 0, 0))
    tree.append(0, b"file", 0o100644, (0, 0), 2000, 0, (0, place, 0))
    tree.set_children(0, 1, 1)
    tree.copies = copies
    plan = ErofsPlan(tree, with_layers=True)
    assert [(device.layer, device.blocks) for device in plan.devices] == [(None, 4)]
    with AssembledBlob(plan, lambda _: MemoryBlob(layer)) as blob:
        assert image_facts(blob)[b"file"][5] == layer[place : place + 2000]


def test_a_file_may_be_larger_than_4_gib(disk: Path) -> None:
    size = (5 << 30) + 1
    layer, work = disk / "large.tar", Path(tempfile.mkdtemp(dir=disk))
    with layer.open("wb") as file:
        file.write(header(b"large", size=b"%012o" % size))
        file.seek(512 + size - 4)
        file.write(b"last")
        file.truncate(512 + size + 511 + 1024)
    with FileBlob(layer) as blob:
        tree = build_tree(scan_blob(blob), "large")
        plan = ErofsPlan(tree, with_layers=True)
        with AssembledBlob(plan, lambda _: FileBlob(layer)) as image:
            assert image.pread(4, plan.devices[0].start * 512 + 512 + size - 4) == b"last"
    assert [(device.layer, device.blocks) for device in plan.devices] == [(0, (size + 512 + 511) // 512)]
    (work / "metadata").write_bytes(metadata(plan))
    with mounted_file(work / "metadata", work / "top", [layer]) as top, (top / "large").open("rb") as shown:
        assert os.fstat(shown.fileno()).st_size == size
        assert os.pread(shown.fileno(), 10, size - 6) == b"\0\0last"


def test_attributes_are_those_of_the_layers(disk: Path) -> None:
    access = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *entry)
        for entry in [
            (1, 6, -1 % 2**32),
            (2, 4, 1000),
            (4, 4, -1 % 2**32),
            (16, 4, -1 % 2**32),
            (32, 4, -1 % 2**32),
        ]
    )
    capability = struct.pack("<5I", 0x02000001, 0x400, 0, 0, 0)
    names = {
        "system.posix_acl_access": access,
        "security.capability": capability,
        "trusted.empty": b"",
        "user." + "n" * 250: b"v" * 70,
        "user.large": random.Random(1).randbytes(5000),
    }
    many = {f"user.many.{number}": b"%d" % number for number in range(300)}

    def member(name: bytes, xattrs: Mapping[str, bytes]) -> bytes:
        records = {b"SCHILY.xattr." + key.encode(): value for key, value in xattrs.items()}
        return extended(b"x", records) + header(name)

    layer = member(b"1", names) + member(b"2", names) + member(b"3", {**names, "user.own": b"x" * 3000})
    layer += member(b"many", many) + member(b"many-too", many) + header(b"none") + bytes(1024)
    tree = merged([layer])
    first = tree.lookup(0, b"1")
    assert first is not None
    assert tree.xattrs[first] == {key.encode(): value for key, value in names.items()}
    work = Path(tempfile.mkdtemp(dir=disk))
    check(tree, [layer], work)
    assert os.path.getsize(work / "False/whole") < 40_000, "what several have is there once"


@pytest.mark.parametrize(
    "xattrs", [{b"user.a": bytes(65_536)}, {b"user.%d" % number: bytes(65_535) for number in range(5)}]
)
def test_attributes_that_the_format_has_no_room_for_are_an_error(xattrs: dict[bytes, bytes]) -> None:
    tree = merged([header(b"file") + bytes(1024)])
    tree.xattrs[1] = xattrs
    with pytest.raises(InvalidImage, match=r"^'file': .*EROFS( has room for 65535)?$"):
        ErofsPlan(tree)


@pytest.mark.parametrize(
    ("size", "message"),
    [(1 << 56, r"^an EROFS image of more than 2047 GiB"), (1 << 59, r"^'file': .* too many for EROFS")],
)
def test_what_the_format_has_no_room_for_is_an_error(size: int, message: str) -> None:
    layer = sparse_file("file", size, [(1, 1), (size // 2, 1), (size - 2, 1)]) + bytes(1024)
    with pytest.raises(InvalidImage, match=message):
        ErofsPlan(merged([layer]))


def test_the_same_tree_is_the_same_image() -> None:
    def image(owner: int) -> bytes:
        layers = [
            tar(
                [Entry("a/b", tarfile.REGTYPE, "b", xattr="x"), Entry("l", tarfile.SYMTYPE, "a", owner=owner)]
            )
        ]
        with AssembledBlob(ErofsPlan(merged(layers)), lambda number: MemoryBlob(layers[number])) as blob:
            return blob.pread(blob.size, 0)

    assert image(0) == image(0)
    assert image(0)[1024 + 48 : 1024 + 64] != image(1)[1024 + 48 : 1024 + 64], "their UUIDs differ"


def test_absolute_links_can_lead_inside() -> None:
    layers = [
        tar(
            [
                Entry("a/b/l", tarfile.SYMTYPE, "/x/y"),
                Entry("top", tarfile.SYMTYPE, "/"),
                Entry("r", tarfile.SYMTYPE, "x"),
            ]
        )
    ]
    with AssembledBlob(
        ErofsPlan(merged(layers), links_inside=True), lambda number: MemoryBlob(layers[number])
    ) as blob:
        found = {path: facts[5] for path, facts in image_facts(blob).items()}
    assert (found[b"a/b/l"], found[b"top"], found[b"r"]) == (b"../../x/y", b".", b"x")


def test_a_layer_that_ends_before_its_files_do_is_an_error_and_no_zeros() -> None:
    layer = tar([Entry("a", tarfile.REGTYPE, "one")])[:1024]
    for with_layers in (False, True):
        plan = ErofsPlan(merged([layer]), with_layers=with_layers)
        with (
            AssembledBlob(plan, lambda number: MemoryBlob(layer[: 512 + 2])) as blob,
            pytest.raises(Corrupt, match="ends before"),
        ):
            blob.pread(plan.size, 0)
