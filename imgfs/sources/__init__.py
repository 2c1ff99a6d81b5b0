"""Where images come from: one file a source, all of them in the table below.

References are written as skopeo writes its transports, `SCHEME:REST`; a bare path is recognised by what lies
there.
"""

from collections.abc import Callable, Mapping

from imgfs.layers import Indexer
from imgfs.sources import containers_storage, docker, docker_archive, oci, own
from imgfs.sources.recognise import recognise
from imgfs.sources.reference import split_tag
from imgfs.sources.source import Source

__all__ = ["SCHEMES", "Source", "open_source"]


SCHEMES: Mapping[str, Callable[[str, Indexer], Source]] = {
    "imgfs": own.open_store,
    "oci": lambda rest, indexer: oci.open_layout(*split_tag(rest), indexer),
    "oci-archive": lambda rest, indexer: oci.open_archive(*split_tag(rest), indexer),
    "docker": docker.open_store,
    "containers-storage": containers_storage.open_store,
    "docker-archive": lambda rest, indexer: docker_archive.open_archive(*split_tag(rest), indexer),
}


def open_source(reference: str, indexer: Indexer) -> Source:
    """Open a source from its reference, such as `oci:/srv/layout:latest`, or a bare path.

    `indexer` makes its compressed layers readable at random.

    Raises StoreError or InvalidImage if there is no such source, OSError if it cannot be read.
    """
    scheme, colon, rest = reference.partition(":")
    if colon and scheme in SCHEMES:
        return SCHEMES[scheme](rest, indexer)
    return SCHEMES[recognise(reference, SCHEMES)](reference, indexer)
