"""Archives as `docker save` has written them: manifest.json, configs and layers' tars.

Format: moby, image/spec, v1.2.md. The directories of version 1.0 are left out: engines have not read them for years.
Tried by the tests of `imgfs save`, and with engines.
"""

from collections.abc import Iterator, Sequence

from imgfs.digest import DiffID
from imgfs.saving.entry import Entry, SavedImage, data_entry, json_entry, layer_entry, loadable_name


def docker_archive_entries(images: Sequence[SavedImage]) -> Iterator[Entry]:
    """The files of an archive of some images; layers that several have are in it once. Raises as `layer_entry` does."""
    items: list[dict[str, object]] = []
    image_ids = {saved.image.id for saved in images}
    written: set[DiffID] = set()
    for saved in images:
        config = f"{saved.image.id.hex}.json"
        yield data_entry(config, saved.image.raw_config)
        for number, diff_id in enumerate(saved.layers.diff_ids):
            if diff_id not in written:
                written.add(diff_id)
                yield layer_entry(_name(diff_id), saved.layers, number)
        layers = [_name(diff_id) for diff_id in saved.layers.diff_ids]
        names = list(filter(None, map(loadable_name, saved.names)))
        item: dict[str, object] = {"Config": config, "RepoTags": names or None, "Layers": layers}
        parent = saved.image.parent
        items.append(item | ({"Parent": parent} if parent in image_ids else {}))
    yield json_entry("manifest.json", items)


def _name(diff_id: DiffID) -> str:
    return f"{diff_id.hex}.tar"
