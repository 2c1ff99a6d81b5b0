"""Random stacks of layers, overlaid, against the kernel's overlayfs over what Docker would unpack."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.tools import require_root
from tests.tree.stacks import Entry, Facts, merged, real_facts, stacks, tree_facts
from tests.tree.unpacking import mounted, unpacked


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory, on which overlayfs can be mounted whatever the machine's own file system is."""
    require_root()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
        yield Path(folder)
        subprocess.run(["umount", folder], check=True)


def compared(facts: Facts) -> dict[bytes, tuple[object, ...]]:
    """Facts without the numbers of links: overlayfs says those of the layer's directory."""
    return {path: (*of[:3], *of[4:]) for path, of in facts.items()}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stacks(sparse=["pax"], devices=[(5, 1), (0, 0)]))
def test_a_random_stack_is_what_the_kernel_shows(memory: Path, stack: list[list[Entry]]) -> None:
    with tempfile.TemporaryDirectory(dir=memory) as name:
        work = Path(name)
        layers = unpacked(stack, work)
        with mounted(stack, work) as top:
            theirs = real_facts(top)
    assert compared(tree_facts(merged(layers), layers)) == compared(theirs)
