"""`scripts/bench NAME [REPEATS]`: runs one benchmark and prints its table; exit status 1 if a target was missed."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import cat, engines, index, kernel, locate, registry, store, tree
from tests.bench.report import Row, print_table

BENCHMARKS: dict[str, Callable[[Path, int], Sequence[Row]]] = {
    "cat": cat.run,
    "engines": engines.run,
    "index": index.run,
    "kernel": kernel.run,
    "locate": locate.run,
    "registry": registry.run,
    "store": store.run,
    "tree": tree.run,
}
WORK = Path(__file__).parents[2] / ".bench"


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] not in BENCHMARKS:
        print(f"usage: scripts/bench {'|'.join(BENCHMARKS)} [REPEATS]", file=sys.stderr)
        return 2
    WORK.mkdir(exist_ok=True)
    rows = BENCHMARKS[arguments[0]](WORK, int(arguments[1]) if len(arguments) > 1 else 5)
    print_table(rows)
    return int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
