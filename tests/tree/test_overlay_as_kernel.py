"""Stacks of layers, known to be hard and random ones, against the kernel's overlayfs over what Docker would unpack."""

import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.tree.stacks import Entry, merged, real_facts, stacks, tar, tree_facts
from tests.tree.unpacking import compared, mounted, unpacked

FILE, DIRECTORY, SYMLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE
LIBC = [
    Entry("usr", DIRECTORY, mode=0o755),
    Entry("usr/lib", DIRECTORY, mode=0o755),
    Entry("usr/lib/libc", FILE, "c"),
]
IN_LIB = [Entry("lib", DIRECTORY, mode=0o711), Entry("lib/foo", FILE, "foo")]
OLD_X = [Entry("x", DIRECTORY, mode=0o755), Entry("x/old", FILE, "old")]
NEW_X = [Entry("x", DIRECTORY, mode=0o700), Entry("x/new", FILE, "new")]
BELOW_A = [Entry("a", DIRECTORY, mode=0o750), Entry("a/b", FILE, "b")]


@pytest.mark.parametrize(
    ("stack", "shown"),
    [
        ([[*LIBC, Entry("lib", SYMLINK, "usr/lib")], IN_LIB], "lib lib/foo usr usr/lib usr/lib/libc"),
        ([[*LIBC, Entry("lib", SYMLINK, "/usr/lib")], IN_LIB], "lib lib/foo usr usr/lib usr/lib/libc"),
        ([[*LIBC, Entry("lib", SYMLINK, "usr/lib")], IN_LIB[1:]], "lib lib/foo usr usr/lib usr/lib/libc"),
        (
            [[*LIBC, Entry("lib", SYMLINK, "usr/lib")], [Entry("lib/.wh.libc", FILE)]],
            "lib usr usr/lib usr/lib/libc",
        ),
        ([[*LIBC, Entry("lib", SYMLINK, "usr/lib")], [Entry(".wh.lib", FILE)]], "usr usr/lib usr/lib/libc"),
        (
            [LIBC, [Entry("lib", SYMLINK, "usr/lib"), Entry("usr/lib", DIRECTORY, mode=0o755), IN_LIB[1]]],
            "lib usr usr/lib usr/lib/foo usr/lib/libc",
        ),
        ([[Entry("a", FILE, "x")], BELOW_A], "a a/b"),
        ([[Entry("a", FILE, "x")], BELOW_A[1:]], "a a/b"),
        ([[Entry("a", tarfile.CHRTYPE)], BELOW_A], "a a/b"),
        ([[Entry("a", tarfile.FIFOTYPE)], BELOW_A], "a a/b"),
        ([[Entry("a", SYMLINK, "nowhere")], BELOW_A], "a a/b"),
        ([[Entry("a", SYMLINK, "a")], BELOW_A], "a a/b"),
        ([BELOW_A, [Entry("a", FILE, "x")], [Entry("a", DIRECTORY), Entry("a/c", FILE)]], "a a/c"),
        ([OLD_X, [Entry(".wh.x", FILE), *NEW_X]], "x x/new x/old"),
        ([OLD_X, [*NEW_X, Entry("x/.wh..wh..opq", FILE)]], "x x/new"),
        ([OLD_X, [Entry(".wh.x", FILE)], NEW_X], "x x/new"),
        ([OLD_X, [Entry("x", tarfile.CHRTYPE, device=(0, 0))], NEW_X], "x x/new"),
    ],
)
def test_a_stack_known_to_be_hard_is_what_the_kernel_shows(
    memory: Path, stack: list[list[Entry]], shown: str
) -> None:
    with tempfile.TemporaryDirectory(dir=memory) as name:
        work = Path(name)
        layers = unpacked(stack, work)
        assert layers == [tar(layer) for layer in stack], "none of it is refused"
        with mounted(stack, work) as top:
            theirs = real_facts(top)
    assert compared(tree_facts(merged(layers), layers)) == compared(theirs)
    assert " ".join(path.decode() for path in sorted(theirs)) == shown


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stacks(sparse=["pax"], devices=[(5, 1), (0, 0)]))
def test_a_random_stack_is_what_the_kernel_shows(memory: Path, stack: list[list[Entry]]) -> None:
    with tempfile.TemporaryDirectory(dir=memory) as name:
        work = Path(name)
        layers = unpacked(stack, work)
        with mounted(stack, work) as top:
            theirs = real_facts(top)
    assert compared(tree_facts(merged(layers), layers)) == compared(theirs)
