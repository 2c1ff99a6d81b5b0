"""`--format` of `imgfs ls`: a line for each name of an image, as `docker images` writes it.

Tried by the tests of `imgfs ls`.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

import click

from imgfs.cli.ages import age, with_zone
from imgfs.cli.image_list import Listed
from imgfs.cli.json_output import print_json_line
from imgfs.cli.table import print_table
from imgfs.cli.template import Template
from imgfs.sizes import human_size
from imgfs.sources import Source
from imgfs.sources.reference import split_name

HEADINGS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Layers": "LAYERS",
    "Type": "TYPE",
    "Source": "SOURCE",
}
"""The fields of --format, and what stands above their columns."""

_DEFAULT = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"


class ImageFormat:
    """A format: `json`, `table`, `table TEMPLATE` or a template. Raises TemplateError if it does not parse."""

    def __init__(self, text: str, places: Mapping[Source, str], *, no_trunc: bool) -> None:
        self._is_json = text == "json"
        self._is_table = text == "table" or text.startswith("table ")
        body = text.removeprefix("table").strip() or _DEFAULT if self._is_table else text
        self._template = Template(body)
        self._places = places
        self._no_trunc = no_trunc

    def print(self, images: Iterable[Listed]) -> None:
        """Print the images. Raises TemplateError for a field that there is not."""
        rows = (fields for image in images for fields in self._fields(image))
        if self._is_json:
            for fields in rows:
                print_json_line(fields)
            return
        lines = map(self._template.render, rows)
        if self._is_table:
            cells = [line.split("\t") for line in (self._template.render(HEADINGS), *lines)]
            print_table([line + [""] * (max(map(len, cells)) - len(line)) for line in cells])
            return
        for line in lines:
            click.echo(line)

    def _fields(self, image: Listed) -> Iterator[Mapping[str, str]]:
        digests = dict(name.split("@", 1) for name in image.repo_digests)
        size, now = human_size(image.size), datetime.now(UTC)
        for name in image.tags or ["<none>:<none>"]:
            repository, tag = split_name(name)
            yield {
                "ID": image.id if self._no_trunc else image.id.short,
                "Repository": repository or "<none>",
                "Tag": tag or "<none>",
                "Digest": digests.get(repository, "<none>"),
                "CreatedSince": age(image.created, now),
                "CreatedAt": with_zone(image.created),
                "Size": size,
                "Layers": "" if image.image is None else str(len(image.image.diff_ids)),
                "Type": image.type,
                "Source": ", ".join(self._places[source] for source in image.sources),
            }
