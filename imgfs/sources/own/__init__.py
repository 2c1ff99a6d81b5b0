"""The store of imgfs as a source, `imgfs:PATH`, read without locks while others write; `imgfs.own` writes it."""

from imgfs.sources.own.store import OwnStore, default_path, is_own_store, open_store

__all__ = ["OwnStore", "default_path", "is_own_store", "open_store"]
