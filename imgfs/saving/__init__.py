"""Images as archives that engines load, of Docker's form and as OCI image layouts, and copied with their digests.

IDs and diff IDs stay the same.
"""

from imgfs.saving.docker_save import docker_archive_entries
from imgfs.saving.entry import Entry, write_directory, write_tar
from imgfs.saving.oci_layout import oci_layout_entries
from imgfs.saving.saved_image import ImagePieces, SavedImage, image_pieces

__all__ = [
    "Entry",
    "ImagePieces",
    "SavedImage",
    "docker_archive_entries",
    "image_pieces",
    "oci_layout_entries",
    "write_directory",
    "write_tar",
]
