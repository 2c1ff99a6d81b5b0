"""Packages whose names are imported when they are first used."""

import ast
import sys
from importlib import import_module
from pathlib import Path

import pytest

from imgfs.lazy import importing

PACKAGE = Path(__file__).parent.parent / "imgfs"
LAZY = [path.parent for path in PACKAGE.rglob("__init__.py") if "importing(" in path.read_text()]


@pytest.mark.parametrize("folder", LAZY, ids=lambda folder: folder.name)
def test_what_type_checkers_see_is_what_is_there(folder: Path) -> None:
    package = ".".join(("imgfs", *folder.relative_to(PACKAGE).parts))
    (block,) = (
        node for node in ast.parse((folder / "__init__.py").read_text()).body if isinstance(node, ast.If)
    )
    names = {
        (node.module, alias.name)
        for node in block.body
        for alias in getattr(node, "names", ())
        if isinstance(node, ast.ImportFrom)
    }
    assert names
    for module, name in names:
        assert getattr(import_module(package), name) is getattr(import_module(str(module)), name)


@pytest.mark.parametrize("folder", LAZY, ids=lambda folder: folder.name)
def test_no_name_is_that_of_a_module_which_would_hide_it(folder: Path) -> None:
    text = (folder / "__init__.py").read_text()
    (block,) = (node for node in ast.parse(text).body if isinstance(node, ast.If))
    names = {alias.name for node in block.body for alias in getattr(node, "names", ())}
    assert not names & {path.stem for path in folder.iterdir()}


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'email' has no attribute 'nothing'"):
        importing("email", {"message": ["Message"]})("nothing")


def test_a_name_is_looked_up_once() -> None:
    email = import_module("email")
    assert "Message" not in vars(email)
    try:
        found = importing("email", {"message": ["Message"]})("Message")
        assert vars(email)["Message"] is found is sys.modules["email.message"].Message
    finally:
        vars(email).pop("Message", None)
