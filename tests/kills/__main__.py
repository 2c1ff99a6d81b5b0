"""`scripts/kills [COUNT]`: as many kills, and a line of what came of them."""

import sys
import tempfile
import time
from pathlib import Path

from tests.kills.kills import Kills


def main(count: int) -> int:
    with tempfile.TemporaryDirectory(prefix="imgfs-") as folder:
        kills = Kills(Path(folder), seed=time.time_ns())
        for number in range(count):
            kills.one(number)
        kills.end()
        for line in kills.wrong[:20]:
            print(line)
        print(f"{count} kills, {kills.hits} of them before the command had ended, {len(kills.wrong)} wrong")
        return int(bool(kills.wrong))


sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
