"""Limits on the memory that one archive, layer, tree or store may take. Costs are estimates in bytes.

Every reader of input from outside spends from a budget before it keeps something, so that a small input cannot
make a large process. The readers know what things cost.
"""

from imgfs.errors import TooMuch

MIB = 1 << 20

SMALL, MOST_OF_SMALL = 16 * MIB, 4096 * MIB
"""Content stored in fewer bytes than the first may not decode to more than the second, which takes seconds to read."""


class Budget:
    """The bytes that `name` may take, `limit` in all. Not safe for several threads."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = self._left = limit

    def spend(self, size: int, what: str) -> None:
        """Count `size` bytes for some of `what`, a plural.

        Raises TooMuch, with the name, `what` and the limit, if there are not so many left; it is not counted then.
        """
        if size > self._left:
            raise too_much(self._name, what, self._limit)
        self._left -= size

    def restore(self, size: int) -> None:
        """Count `size` bytes less: they are free again."""
        self._left += size


def check_decoded(name: str, stored: int, decoded: int) -> None:
    """Raises TooMuch for `stored` bytes that decode to too many times their size."""
    if decoded > MOST_OF_SMALL and stored < SMALL:
        raise TooMuch(f"{name}: {stored} bytes that decode to more than {MOST_OF_SMALL // MIB} MiB")


def too_much(name: str, what: str, limit: int) -> TooMuch:
    """The error that `what`, a plural, of `name` take more than `limit` bytes."""
    figure = f"{limit // MIB} MiB" if limit >= MIB else f"{limit} bytes"
    return TooMuch(f"{name}: {what} take more than {figure}")
