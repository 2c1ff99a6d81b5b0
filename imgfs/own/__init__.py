"""Writing to the store of imgfs: loading and importing images, names, removing. `sources.own` reads it."""
