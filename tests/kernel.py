"""What the kernel that tests run on can do."""

import os
import re
from pathlib import Path


def kernel_has_erofs() -> bool:
    """Whether this process can mount an EROFS image that is a file: tests that cannot expect FUSE to serve instead."""
    major, minor = map(int, re.findall(r"\d+", os.uname().release)[:2])
    kinds = Path("/proc/filesystems").read_text().split()
    return os.geteuid() == 0 and (major, minor) >= (6, 12) and "erofs" in kinds
