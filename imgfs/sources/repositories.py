"""Names of images as moby keeps them in `repositories.json`.

Format: moby, `reference/store.go`: by repository, by full name, the ID of the image.
"""

from collections.abc import Iterator, Mapping

import msgspec

from imgfs.sources.documents import parse_document

Repositories = dict[str, dict[str, str]]


class _Document(msgspec.Struct, rename={"repositories": "Repositories"}):
    repositories: Repositories = msgspec.field(default_factory=dict)


def parse_repositories(data: bytes, path: str) -> Iterator[tuple[str, str]]:
    """Each name with the ID it stands for, as written. Raises InvalidImage naming `path` if they do not parse."""
    document = parse_document(data, _Document, path)
    return (pair for repository in document.repositories.values() for pair in repository.items())


def dump_repositories(names: Mapping[str, str]) -> bytes:
    """The document that says so, sorted."""
    repositories: Repositories = {}
    for name, image_id in sorted(names.items()):
        repositories.setdefault(name.rpartition(":")[0], {})[name] = image_id
    return msgspec.json.encode(_Document(repositories), enc_hook=str)
