"""One question to every image of the machine: which of their layers have what, and where it is seen.

Layers are shared, so a thousand images cost their distinct layers. What is asked of a layer lies in columns of files in
the cache, which are mapped into memory (`segment`); which images there are lies beside it, with the stamps that say
whether that is so still (`machine`). Both are imported without what opens stores, as that takes longer than a search.
"""
