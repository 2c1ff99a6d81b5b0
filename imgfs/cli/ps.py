"""`imgfs ps`: lists of containers, as `docker ps --all` prints them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from imgfs.cli.ages import age, span
from imgfs.cli.json_output import json_option, print_json
from imgfs.cli.messages import end_of_list, shown, utf8
from imgfs.cli.opening import opened
from imgfs.cli.table import no_trunc_option, print_table
from imgfs.errors import printable
from imgfs.sources.container import Container, ContainerState
from imgfs.sources.union import ContainerAt, Snapshot

_FIRST = datetime(1, 1, 1, tzinfo=UTC)  # sorts containers of unknown age last
_COMMAND = 20  # characters of a command that docker prints


@click.command(short_help="List containers.")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("-a", "--all", "show_all", is_flag=True, hidden=True, help="List all containers, as always.")
@click.option("-q", "--quiet", is_flag=True, help="Print only IDs.")
@no_trunc_option
@json_option
def ps(sources: tuple[str, ...], show_all: bool, quiet: bool, no_trunc: bool, as_json: bool) -> None:
    """List the containers of each SOURCE, or of every store of this machine that can be read, newest first: those that
    run and those that do not, as the engine last recorded them.

    No engine is asked, so a disk of another machine will do. A container that ran when its machine stopped is listed as
    if it still did. Where a terminal is too narrow, columns are left out; `--no-trunc` prints all.

    \b
    Examples:
      imgfs ps
      imgfs ps docker:/mnt/disk/var/lib/docker
    """
    with opened(sources) as union:
        snapshot, problems = union.snapshot, union.problems
        names = {source: shown(name) for name, source in union.named.items()}
    found = sorted(
        snapshot.containers.values(), key=lambda at: at.found.container.created or _FIRST, reverse=True
    )
    if as_json:
        print_json([_fields(at) for at in found])
    elif quiet:
        for at in found:
            click.echo(_id(at.found.container.id, no_trunc=no_trunc))
    else:
        place = ["SOURCE"] if len(names) > 1 else []
        lines = [["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES", *place]]
        for at in found:
            place = [names[at.source]] if len(names) > 1 else []
            lines.append([*_cells(at.found.container, snapshot, no_trunc=no_trunc), *place])
        has_ports = any(at.found.container.ports for at in found)
        drop = ["COMMAND", "CREATED"] if has_ports else ["PORTS", "COMMAND", "CREATED"]
        print_table(lines, cut=None if no_trunc else ["COMMAND", "IMAGE"], drop=drop)
    end_of_list(problems)


def _cells(container: Container, snapshot: Snapshot, *, no_trunc: bool) -> Sequence[str]:
    now = datetime.now(UTC)
    cells = [
        _id(container.id, no_trunc=no_trunc),
        _image(container, snapshot, no_trunc=no_trunc),
        _command(container.command, no_trunc=no_trunc),
        age(container.created, now),
        _status(container.state, now),
        ", ".join(container.ports),
        container.name,
    ]
    return [printable(utf8(cell)) for cell in cells]


def _id(container_id: str, *, no_trunc: bool) -> str:
    return container_id if no_trunc else container_id[:12]


def _image(container: Container, snapshot: Snapshot, *, no_trunc: bool) -> str:
    """The name of its image; its ID where that is another image's name by now, as docker has it."""
    name = snapshot.name_meant(container.image_name)
    is_named = container.image is None or (name is not None and snapshot.tags[name] == container.image)
    if is_named or container.image is None:
        return container.image_name
    return container.image if no_trunc else container.image.short


def _command(command: Sequence[str], *, no_trunc: bool) -> str:
    """As moby's container view has it."""
    if not command:  # not recorded
        return ""
    program, arguments = command[:1], command[1:]
    text = " ".join([*program, *(f"'{word}'" if " " in word else word for word in arguments)])
    if not no_trunc and len(text) > _COMMAND:
        text = f"{text[: _COMMAND - 1]}…"
    return json.dumps(text, ensure_ascii=False)


def _status(state: ContainerState, now: datetime) -> str:
    """As moby's State.String has it."""
    if state.is_running:
        up = "Up" if state.started is None else f"Up {span(state.started, now)}"
        if state.status == "restarting":
            return f"Restarting ({state.exit_code or 0}) {age(state.finished, now)}"
        return f"{up} (Paused)" if state.status == "paused" else up
    if state.status == "exited" and state.exit_code is not None:
        return f"Exited ({state.exit_code}) {age(state.finished, now)}"
    return "Removal In Progress" if state.status == "removing" else state.status.capitalize()


def _fields(at: ContainerAt) -> dict[str, object]:
    container = at.found.container
    state = container.state
    return {
        "id": container.id,
        "name": utf8(container.name),
        "image": container.image,
        "image_name": utf8(container.image_name),
        "command": [utf8(word) for word in container.command],
        "created": container.created.isoformat() if container.created else None,
        "state": state.status,
        "exit_code": state.exit_code,
        "started": state.started.isoformat() if state.started else None,
        "finished": state.finished.isoformat() if state.finished else None,
        "ports": list(container.ports),
        "source": utf8(at.source.reference),
    }
