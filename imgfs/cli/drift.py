"""`imgfs drift`: what a container changed of its image."""

import click

from imgfs.cli.color import color_option
from imgfs.cli.json_output import difference_fields, json_lines_option, print_json_line
from imgfs.cli.look import change_letter
from imgfs.cli.messages import shown
from imgfs.cli.naming import named_container
from imgfs.cli.opening import source_option, store_option
from imgfs.rootfs import drift as changes


@click.command(short_help="Show what a container changed of its image.")
@click.argument("container")
@json_lines_option
@click.option("--exit-code", is_flag=True, help="Exit with 1 if anything differs, as imgfs diff does.")
@color_option
@source_option
@store_option
def drift(
    container: str, as_json: bool, exit_code: bool, sources: tuple[str, ...], store: str | None
) -> None:
    """Print the paths that CONTAINER added (A), changed (C) or deleted (D), as docker diff does, sorted.

    A file has changed if its size, time, mode or owner has; `imgfs diff IMAGE CONTAINER` compares contents instead.
    A directory in which something changed is C, too; of one that is gone, what was in it is not listed.

    \b
    Examples:
      imgfs drift web
      imgfs drift --exit-code docker:[/mnt/disk/var/lib/docker]web
    """
    count = 0
    with (
        named_container(container, sources, store) as named,
        named.base_fs() as before,
        named.root_fs() as after,
    ):
        for count, of in enumerate(changes(before, after), 1):  # noqa: B007  # the last one is used
            if as_json:
                print_json_line(difference_fields(of))
            else:
                click.echo(f"{change_letter(of.change)} {shown(of.path)}")
    click.get_current_context().exit(int(exit_code and count > 0))
