"""The table of all bombs, or of those whose names begin as the arguments say; exits with 1 if one takes too much."""

import shutil
import sys
import tempfile
from pathlib import Path

from imgfs.errors import printable
from tests.bombs.commands import ALL, CPU, MIB, PEAK, rows
from tests.bombs.databases import DATABASES
from tests.bombs.layers import LAYERS
from tests.bombs.places import PLACES


def main(arguments: list[str]) -> int:
    """Make each bomb, do every command with it, print a line for each; the exit status."""
    chosen = [argument for argument in arguments if argument not in ALL]
    commands = [argument for argument in arguments if argument in ALL] or ALL
    bad = 0
    print(f"Limits: {PEAK // MIB} MB, {CPU:.0f} s")
    print(f"{'INPUT':<28}{'SIZE':>8}  {'COMMAND':<8}{'STATUS':>7}{'PEAK':>10}{'CPU':>9}  VERDICT")
    for name, make in (LAYERS | PLACES | DATABASES).items():
        if chosen and not name.startswith(tuple(chosen)):
            continue
        folder = Path(tempfile.mkdtemp(prefix="imgfs-bombs-"))
        try:
            place = folder / "input"
            place.mkdir()
            source = make(place / "x", 1)
            for row in rows(name, source, commands, folder):
                took = row.took
                start = f"{name:<28}{row.size / 1e6:>6.1f}MB  {row.command:<8}{took.status:>7}"
                verdict = f"OVER: {row.fault}" if row.fault else "ok"
                told = printable(took.errors.strip()[:160])
                print(f"{start}{took.peak / MIB:>8.0f}MB{took.cpu:>8.1f}s  {verdict}  {told}", flush=True)
                bad += bool(row.fault)
        finally:
            shutil.rmtree(folder)
    return int(bad > 0)


sys.exit(main(sys.argv[1:]))
