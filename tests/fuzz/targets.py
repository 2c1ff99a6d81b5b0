"""All targets by name."""

from tests.fuzz import caches, codecs, documents, images, tars

TARGETS = {
    target.name: target for module in (tars, codecs, documents, caches, images) for target in module.TARGETS
}
