"""How far the index of a layer is vouched for. Tried by the tests of `blob_layer`."""

from enum import StrEnum


class Level(StrEnum):
    """What the index of a layer rests on, the strongest first."""

    PROVED = "proved"
    """A pass here compared all stored bytes with their digest and the tar with its diff ID."""
    PINNED = "pinned"
    """Its digest is in the manifest of the image, or was given by the user."""
    FOUND = "found"
    """It was found beside the image: what may push to the repository may have changed it."""
