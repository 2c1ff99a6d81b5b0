"""All targets by name."""

from tests.fuzz import caches, codecs, documents, tars

TARGETS = {target.name: target for module in (tars, codecs, documents, caches) for target in module.TARGETS}
