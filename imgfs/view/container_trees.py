"""The trees of containers, of all their layers together and of their own changes.

The files of a container that runs change while they are looked at. So its trees are those of one moment: once they are
older than `_SECONDS`, or another moment was recorded of the container, the names `rootfs` and `upper` lead to new ones.
What is open in older trees stays as it was; of those but the newest two nothing more is found (ESTALE).
Tried by the tests of `containers/`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

from imgfs.sources.union import ContainerAt
from imgfs.store import LayerStack
from imgfs.view.node import Origin
from imgfs.view.trees import Trees, TreeTable

T = TypeVar("T")

_SECONDS = 2.0  # that trees of a container that runs are looked into


class ContainerOrigin:
    """The layers of a container as they are when they are first read."""

    def __init__(self, at: ContainerAt) -> None:
        self._at = at
        self._layers: LayerStack | None = None
        self._making = Lock()

    @property
    def origins(self) -> tuple[Origin, ...]:
        """What reading the container may have to wait for."""
        return (self._at.source,)

    def read(self, work: Callable[[LayerStack], T]) -> T:
        """What `work` returns for the container's layers. May block. Raises ImgfsError or OSError."""
        with self._making:
            if self._layers is None:
                self._layers = self._at.source.container_layers(self._at.found)
        return work(self._layers)


@dataclass(slots=True)
class _Moment:
    """The tables of a container at one moment, by `rootfs` or `upper`."""

    number: int
    at: ContainerAt
    origin: ContainerOrigin
    time: float = field(default_factory=time.monotonic)
    tables: dict[str, TreeTable] = field(default_factory=dict)

    def is_over(self, at: ContainerAt) -> bool:
        """Whether the container may be another by now, `at` being what is known of it."""
        is_old = at.found.container.state.may_change and time.monotonic() - self.time > _SECONDS
        return is_old or at != self.at or any(table.is_stale for table in self.tables.values())


class ContainerTrees:
    """The trees of all containers of a mount, which are among `trees`. Never blocks."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._moments: dict[str, list[_Moment]] = {}
        self._lock = Lock()

    def table(self, at: ContainerAt, name: str) -> TreeTable:
        """The table of the container's `rootfs`, or of its `upper`, as it is now."""
        container_id = at.found.container.id
        with self._lock:
            moments = self._moments.setdefault(container_id, [])
            if not moments or moments[-1].is_over(at):
                number = moments[-1].number + 1 if moments else 0
                moments.append(_Moment(number, at, ContainerOrigin(at)))
            for old in moments[:-2]:
                for table in old.tables.values():
                    self._trees.drop(table)
            del moments[:-2]
            moment = moments[-1]
            if name not in moment.tables:
                key = f"/containers/{container_id}/{name}" + (f"@{moment.number}" if moment.number else "")
                only = None if name == "rootfs" else len(at.found.diff_ids) + len(at.found.own) - 1
                moment.tables[name] = self._trees.table(key, moment.origin, 0, only, once=True)
            return moment.tables[name]

    def forget(self, container_id: str) -> None:
        """Let go of the trees of a container that is gone."""
        with self._lock:
            for moment in self._moments.pop(container_id, ()):
                for table in moment.tables.values():
                    self._trees.drop(table)
