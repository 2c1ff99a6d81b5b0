"""`scripts/soak [MINUTES]`: 64 readers on 50 images of all kinds, and a table of what came of it."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.report import Row, print_table
from tests.soak.soak import Result, soak
from tests.soak.sources import ALL

_READERS, _IMAGES = 64, 50


def main(arguments: Sequence[str]) -> int:
    minutes = float(arguments[0]) if arguments else 1
    with tempfile.TemporaryDirectory(prefix="imgfs-") as folder:  # podman takes only short paths
        result = soak(Path(folder), ALL, _IMAGES, _READERS, 60 * minutes)
    print_table(list(_rows(result)))
    for line in [*result.wrong[:20], *result.log.splitlines()[:20]]:
        print(line)
    return int(bool(result.wrong))


def _rows(result: Result) -> Sequence[Row]:
    def usage(unit: str, *values: float) -> str:
        return " / ".join(f"{value:.0f}" for value in values) + f" {unit} (start, most, end)"

    return [
        Row("operations", f"{result.operations:,}"),
        Row("bytes compared", f"{result.compared:,}"),
        Row("wrong", str(len(result.wrong)), "0", not result.wrong),
        Row(
            "stat p50, p99", f"{1000 * result.stat_time(0.5):.1f} ms, {1000 * result.stat_time(0.99):.1f} ms"
        ),
        Row("memory", usage("MB", *(use.memory for use in result.usage))),
        Row("descriptors", usage("", *(use.descriptors for use in result.usage))),
        Row("threads", usage("", *(use.threads for use in result.usage))),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
