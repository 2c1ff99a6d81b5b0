"""How much memory one thing may make: an archive, a layer, a tree, a store. Costs are counted in bytes, roughly.

Every reader of what comes from outside spends from a budget before it keeps something, so that a small input cannot
make a large process. Knows nothing of what is read; the readers say what things cost.
"""

from imgfs.errors import TooMuch

MIB = 1 << 20

SMALL, MOST_OF_SMALL = 16 * MIB, 4096 * MIB
"""What is stored in fewer bytes than the first may not decode to more than the second: it takes seconds to read."""


class Budget:
    """The bytes that `name` may still take, `limit` at first. Not safe for several threads."""

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
        """Say that `size` bytes that were counted are free again."""
        self._left += size


def check_decoded(name: str, stored: int, decoded: int) -> None:
    """Refuse what decodes to very much for its size, both in bytes. Raises TooMuch."""
    if decoded > MOST_OF_SMALL and stored < SMALL:
        raise TooMuch(f"{name}: {stored} bytes that decode to more than {MOST_OF_SMALL // MIB} MiB")


def too_much(name: str, what: str, limit: int) -> TooMuch:
    """The error that `what` of `name`, a plural, takes more than `limit` bytes."""
    figure = f"{limit // MIB} MiB" if limit >= MIB else f"{limit} bytes"
    return TooMuch(f"{name}: {what} take more than {figure}")
