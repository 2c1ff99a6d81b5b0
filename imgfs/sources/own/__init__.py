"""The store of imgfs as a source, `imgfs:PATH`, read without locks while others write; `imgfs.own` writes it."""

from imgfs.sources.own.store import KIND, default_path

__all__ = ["KIND", "default_path"]
