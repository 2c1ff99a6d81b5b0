"""imgfs: container images as files, for Python programs.

    import imgfs

    with imgfs.open_image("debian:12") as image:
        print(image.config["config"]["Cmd"])
        print((image.rootfs / "etc/os-release").read_text())
        with image.open_flat_tar() as file, tarfile.open(fileobj=file) as tar:
            print(tar.getnames())

    with imgfs.open("docker:", "oci:layout") as images:
        for image in images:
            print(image.id, image.tags, [layer.diff_id for layer in image.layers])

Images are read in place: nothing is unpacked, no daemon is asked, and FUSE is not needed.
"""

from typing import TYPE_CHECKING

from imgfs.version import __version__

if TYPE_CHECKING:
    from imgfs.api.opened import Image, Images, Layer, open, open_image  # noqa: A004
    from imgfs.api.path import ImagePath

__all__ = ["Image", "ImagePath", "Images", "Layer", "__version__", "open", "open_image"]


def __getattr__(name: str) -> object:
    """The public names, imported when the first of them is used: commands start without them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from imgfs.api import opened, path

    return getattr(path if name == "ImagePath" else opened, name)
