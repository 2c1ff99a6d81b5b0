"""Stacks of layers from public bug reports of programs that flatten images, against the kernel's overlayfs.

Each docstring names the report, and what went wrong in it.
"""

import tarfile
import tempfile
from pathlib import Path

from tests.tree.stacks import Entry, Facts, merged, real_facts, tar, tree_facts
from tests.tree.unpacking import compared, mounted, unpacked

FILE, DIRECTORY, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def directory(name: str) -> Entry:
    return Entry(name, DIRECTORY, mode=0o755)


def shown(memory: Path, *stack: list[Entry]) -> Facts:
    """What imgfs makes of a stack, which must be what a container of Docker's overlay2 sees."""
    with tempfile.TemporaryDirectory(dir=memory) as name:
        layers = unpacked(list(stack), Path(name))
        assert layers == [tar(layer) for layer in stack], "Docker refuses none of it"
        with mounted(list(stack), Path(name)) as top:
            theirs = real_facts(top)
    facts = tree_facts(merged(layers), layers)
    assert compared(facts) == compared(theirs)
    return facts


def paths(facts: Facts) -> str:
    return " ".join(sorted(path.decode() for path in facts))


def content(facts: Facts, path: str) -> object:
    return facts[path.encode()][5]


def test_an_opaque_directory_hides_directories_below(memory: Path) -> None:
    """google/go-containerregistry#1897: those in an opaque directory came back."""
    lower = [directory("a"), directory("a/b"), Entry("a/b/foo", FILE, "foo")]
    assert paths(shown(memory, lower, [directory("a"), Entry("a/.wh..wh..opq", FILE)])) == "a"


def test_a_hard_link_keeps_its_content_when_another_name_is_replaced(memory: Path) -> None:
    """google/go-containerregistry#2002: it had the content of the name's newer file."""
    facts = shown(
        memory,
        [Entry("t2", FILE, "123")],
        [Entry("t1", FILE, "123"), Entry("t2", HARDLINK, "t1"), Entry("t3", HARDLINK, "t1")],
        [Entry("t1", FILE, "456")],
    )
    assert [content(facts, name) for name in ("t1", "t2", "t3")] == [b"456", b"123", b"123"]


def test_a_hard_link_outlives_the_name_that_it_was_made_of(memory: Path) -> None:
    """google/go-containerregistry#977: extracting failed, as the name was whited out by then."""
    lower = [Entry("a", FILE, "text"), Entry("b", HARDLINK, "a")]
    facts = shown(memory, lower, [Entry(".wh.a", FILE)])
    assert (paths(facts), content(facts, "b")) == ("b", b"text")


def test_whiteouts_of_the_only_layer_are_not_shown(memory: Path) -> None:
    """google/go-containerregistry#1623 and anchore/stereoscope#696: they were files of the root file system."""
    layer = [directory("root"), Entry("root/.wh..wh..opq", FILE), Entry(".wh.gone", FILE), Entry("a", FILE)]
    assert paths(shown(memory, layer)) == "a root"


def test_a_directory_that_was_removed_and_made_again_is_new(memory: Path) -> None:
    """google/go-containerregistry#2191: it had what it had before the whiteout of a layer in between."""
    layers = [Entry("a/foo", FILE), Entry("b/bar", FILE)], [Entry(".wh.a", FILE)], [Entry("a/baz", FILE)]
    assert paths(shown(memory, *map(list, layers))) == "a a/baz b b/bar"


def test_an_opaque_directory_in_place_of_a_link_leaves_what_that_led_to(memory: Path) -> None:
    """anchore/stereoscope#694: what the link led to was emptied."""
    lower = [directory("target"), Entry("target/keep", FILE), Entry("link", SYMLINK, "/target")]
    upper = [directory("link"), Entry("link/.wh..wh..opq", FILE), Entry("link/new", FILE)]
    assert paths(shown(memory, lower, upper)) == "link link/new target target/keep"


def test_a_whiteout_of_a_link_that_leads_nowhere_hides_only_that(memory: Path) -> None:
    """anchore/stereoscope#694: a link to itself below a whiteout failed the whole image."""
    lower = [Entry("loop", SYMLINK, "loop"), Entry("nowhere", SYMLINK, "/absent/x"), Entry("a", FILE)]
    assert paths(shown(memory, lower, [Entry(".wh.loop", FILE), Entry(".wh.nowhere", FILE)])) == "a"


def test_only_the_exact_name_makes_a_directory_opaque(memory: Path) -> None:
    """anchore/stereoscope#696: a name that began with the marker's hid the directory and all in it.

    Of names that begin so Docker makes nothing, as they are those of aufs itself.
    """
    lower = [directory("etc"), Entry("etc/passwd", FILE)]
    for marker in ("etc/.wh..wh..opqX", ".wh..wh..opqX"):
        assert paths(shown(memory, lower, [Entry(marker, FILE)])) == "etc etc/passwd"


def test_names_of_a_file_that_come_to_lead_to_each_other_are_no_loop(memory: Path) -> None:
    """anchore/stereoscope#670: as uv installs files, of which a later layer makes a link to the one in its store."""
    lower = [Entry("installed", FILE, "code"), directory("store"), Entry("store/1", HARDLINK, "installed")]
    facts = shown(memory, lower, [Entry("installed", SYMLINK, "store/1")])
    assert content(facts, "store/1") == b"code"
    assert content(facts, "installed") == b"store/1"


def test_a_whiteout_is_found_however_its_path_is_written(memory: Path) -> None:
    """anchore/anchore-engine#209: one below `./` did not hide the file that another layer has without."""
    lower = [Entry("/etc/one", FILE), Entry("etc/two", FILE), Entry("./etc/three", FILE)]
    upper = [Entry("./etc/.wh.one", FILE), Entry("/etc/.wh.two", FILE), Entry("etc//.wh.three", FILE)]
    assert paths(shown(memory, lower, upper)) == "etc"


def test_a_hard_link_makes_the_directories_that_it_is_in(memory: Path) -> None:
    """apple/container#1797: a layer was refused that has no entry for them."""
    facts = shown(
        memory, [Entry("bin/app", FILE, "app"), Entry("bin/app.runfiles/main/app", HARDLINK, "bin/app")]
    )
    assert content(facts, "bin/app.runfiles/main/app") == b"app"


def test_a_hard_link_to_an_absolute_path_stays_inside(memory: Path) -> None:
    """moby/go-archive#98: a layer was refused in which one is written with a slash before it."""
    facts = shown(memory, [Entry("bin/app", FILE, "app"), Entry("app", HARDLINK, "/bin/app")])
    assert content(facts, "app") == b"app"


def test_a_path_through_an_absolute_link_of_its_layer_stays_inside(memory: Path) -> None:
    """moby/go-archive#93: a layer was refused in which files lie below `var/run`, a link to `/run`."""
    layer = [
        directory("run"),
        directory("var"),
        Entry("var/run", SYMLINK, "/run"),
        Entry("var/run/pid", FILE),
    ]
    assert paths(shown(memory, layer)) == "run run/pid var var/run"


def test_directories_that_no_layer_has_an_entry_for_are_made(memory: Path) -> None:
    """moby/moby#53257: a layer was refused of which another has its parent, or none."""
    upper = [directory("etc/dnf"), Entry("etc/dnf/dnf.conf", FILE)]
    assert paths(shown(memory, [Entry("etc/name", FILE)], upper)) == "etc etc/dnf etc/dnf/dnf.conf etc/name"
    assert paths(shown(memory, upper)) == "etc etc/dnf etc/dnf/dnf.conf"


def test_a_link_takes_the_place_of_a_directory_that_its_layer_has_whiteouts_in(memory: Path) -> None:
    """GoogleContainerTools/kaniko#2308: such layers could not be unpacked, in either order."""
    lower = [directory("a"), Entry("a/a", FILE), directory("b")]
    upper = [Entry("a/.wh.a", FILE), Entry("a", SYMLINK, "b")]
    assert paths(shown(memory, lower, upper)) == "a b"
