"""What an engine records of a container: which image it was made of, what it runs, and in which state it was last.

Tried by the tests of each source that finds containers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from imgfs.digest import ImageID

_RUNNING = ("running", "paused", "restarting")


class ContainerState(msgspec.Struct, frozen=True):
    """The state of a container as its engine last recorded it; an engine that was killed leaves `running` behind.

    `status` is one of docker's: created, running, paused, restarting, removing, exited, dead; or
    unknown, where the engine records it elsewhere. Times are in UTC. If it `is_mounted`, the engine has its root
    file system mounted though it may not run.
    """

    status: str
    exit_code: int | None = None
    started: datetime | None = None
    finished: datetime | None = None
    is_mounted: bool = False

    @property
    def is_running(self) -> bool:
        """Whether it has processes."""
        return self.status in _RUNNING

    @property
    def may_change(self) -> bool:
        """Whether the files of the container may change at any time."""
        return self.is_running or self.is_mounted or self.status == "unknown"


@dataclass(frozen=True, slots=True)
class Container:
    """A container; `name` is "" where its engine gives none.

    `image` is the ID of the image it was made of, None where that is not recorded, and `image_name` how that was named
    then. `command` is the program with its arguments; `ports` are as docker ps prints them.
    """

    id: str
    name: str
    image: ImageID | None
    image_name: str
    command: Sequence[str]
    created: datetime | None
    state: ContainerState
    ports: Sequence[str] = ()
