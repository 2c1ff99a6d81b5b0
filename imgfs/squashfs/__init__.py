"""What file systems in SquashFS, a read-only format of Linux, are made of: only as much as writing one takes.

Format: Linux, fs/squashfs/squashfs_fs.h, and Documentation/filesystems/squashfs.rst. Nothing is compressed. Knows
nothing of layers. Tried by the tests of `squashfs_plan`.
"""
