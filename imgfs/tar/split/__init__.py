"""Layers whose tar an engine did not keep: a tar-split and the files of the layer's directory, put together again."""

from imgfs.tar.split.recipe import FileExtent, Naming, Recipe, parse_recipe
from imgfs.tar.split.split_tar import Split, SplitTar

__all__ = ["FileExtent", "Naming", "Recipe", "Split", "SplitTar", "parse_recipe"]
