"""The merged root file system of an image as a library: its tree and content, and comparing two. No FUSE."""
