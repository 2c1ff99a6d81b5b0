"""Public names of a package that are imported when they are first used, so that no command waits for the others."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def importing(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], object]:
    """The `__getattr__` of a package whose modules define these names; none may be called as a module there is."""
    modules = {name: module for module, defined in names.items() for name in defined}

    def get(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(f"{package}.{modules[name]}"), name)
        setattr(sys.modules[package], name, found)
        return found

    return get
