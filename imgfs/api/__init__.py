"""The Python API: images out of any source, their files, layers and tars. `imgfs` itself exports its names."""
