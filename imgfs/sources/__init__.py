"""Where images come from: one file a source, all of them in the table below.

References are written as skopeo writes its transports, `SCHEME:REST`; a bare path is recognised by what lies
there.
"""

from collections.abc import Callable, Mapping

from imgfs.layers import Indexer
from imgfs.sources import containerd, containers_storage, docker, docker_archive, oci, own
from imgfs.sources.recognise import recognise
from imgfs.sources.reference import split_tag
from imgfs.sources.source import Source

__all__ = ["SCHEMES", "Source", "default_sources", "has_no_place", "open_source"]


SCHEMES: Mapping[str, Callable[[str, Indexer], Source]] = {
    "imgfs": own.open_store,
    "oci": lambda rest, indexer: oci.open_layout(*split_tag(rest), indexer),
    "oci-archive": lambda rest, indexer: oci.open_archive(*split_tag(rest), indexer),
    "docker": docker.open_store,
    "containers-storage": containers_storage.open_store,
    "docker-archive": lambda rest, indexer: docker_archive.open_archive(*split_tag(rest), indexer),
    "containerd": containerd.open_store,
}

# those that know where their images lie when nothing follows the colon, in the order in which to look
_HAVE_DEFAULT = ("imgfs", "docker", "containers-storage", "containerd")


def default_sources() -> list[str]:
    """The stores that a machine may have where they lie by default, as references, such as `containerd:`."""
    return [f"{scheme}:" for scheme in _HAVE_DEFAULT if scheme in SCHEMES]


def has_no_place(reference: str) -> bool:
    """Whether a reference leaves it to the source where its images lie."""
    return reference in default_sources()


def open_source(reference: str, indexer: Indexer) -> Source:
    """Open a source from its reference, such as `oci:/srv/layout:latest`, or a bare path.

    `indexer` makes its compressed layers readable at random.

    Raises SourceNotFound, StoreError or InvalidImage if there is no such source, OSError if it cannot be read.
    """
    scheme, colon, rest = reference.partition(":")
    if colon and scheme in SCHEMES:
        source = SCHEMES[scheme](rest, indexer)
    else:
        source = SCHEMES[recognise(reference, SCHEMES)](reference, indexer)
    indexer.serve(source.writers)
    return source
