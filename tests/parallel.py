"""How pytest-xdist deals tests out to its workers.

The tests of a module stay together, and so do those that use the engines of one Debian, so that nothing is started or
built twice. Those that measure the machine come last, on one worker, while nothing else runs.
"""

import re
from typing import Any

from xdist.scheduler import LoadScopeScheduling

from tests.engines.machine import SUITES

ALONE = {
    "tests/cli/test_hanging.py": "what does not hang takes less than a second",
    "tests/cli/test_kept_names.py": "changes show within a second",
}
"""What runs alone, by the beginnings of tests' names, and why."""

_ENGINES = re.compile(rf"tests/engines/.*\b({'|'.join(SUITES)})\b")


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """Deals out tests by group, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        """The group of a test."""
        if nodeid.startswith(tuple(ALONE)):
            return "alone"
        engines = _ENGINES.match(nodeid)
        return f"engines of {engines[1]}" if engines else nodeid.partition("::")[0]

    def _check_nodes_have_same_collection(self) -> bool:
        """Raise an error if a worker has other tests than another, as names that depend on the time make it.

        To show how lists of thousands of names differ takes pytest-xdist minutes.
        """
        first, *others = self.registered_collections.values()
        for other in others:
            if other != first:
                raise RuntimeError(f"workers collected different tests: {sorted({*first} ^ {*other})}")
        return True

    def _assign_work_unit(self, node: Any) -> None:
        """Give a worker the next group.

        A worker begins its last test once it knows that there is no other, so all but one are ended before the group
        that runs alone.
        """
        if "alone" in self.workqueue:
            self.workqueue.move_to_end("alone")
        if [*self.workqueue] != ["alone"] or len(self.nodes) == 1:
            super()._assign_work_unit(node)
        elif node is not self.nodes[0]:
            node.shutdown()

    def remove_node(self, node: Any) -> str | None:
        """Forget a worker that has ended; returns the test in which it crashed, if it did."""
        crashed: str | None = super().remove_node(node)
        for other in self.nodes:
            self._reschedule(other)
        return crashed
