"""Packages know only the packages below them; FUSE and its event loop stay in one of them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "imgfs"
PACKAGES = [
    "cli",
    "mount",
    "api",
    "view",
    "saving",
    "own",
    "locate",
    "checking",
    "sources",
    "rootfs",
    "store",
    "layers",
    "tree",
    "tar",
    "codec",
    "erofs",
    "squashfs",
    "registry",
    "cache",
    "blob",
    "help",
    "globs",
    "go_json",
    "decoders",
    "budget",
    "lru",
    "single_flight",
    "digest",
    "logs",
    "sizes",
    "errors",
    "lazy",
    "version",
]
ONLY_IN_MOUNT = {"pyfuse3", "trio"}
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTED = {path.stem.removeprefix("test_") for path in Path(__file__).parent.rglob("test_*.py")}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield str(node.module)
            if node.module == "imgfs":
                yield from (f"imgfs.{alias.name}" for alias in node.names)


def _package(path: Path) -> str | None:
    """The package a module is in; None for those at the top, which begin the program."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return first if first in PACKAGES else None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_package_imports_only_from_below(path: Path) -> None:
    package = _package(path)
    if package is None:
        assert path.name in ("__init__.py", "__main__.py")
        return
    below = PACKAGES[PACKAGES.index(package) :]
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "imgfs" and len(parts) > 1:
            assert parts[1] in below, f"{package} must not know {name}"
        assert parts[0] not in ONLY_IN_MOUNT or package == "mount", f"{package} must not know {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_has_tests_of_its_name_or_says_which_try_it(path: Path) -> None:
    if path.name in ("__init__.py", "__main__.py"):
        return
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert path.stem in TESTED or "ried by" in docstring
