"""`scripts/fuzz [SECONDS [TARGET...]]`: atheris on each target, in a process of its own, for an equal share of time.

An input that fails is written to `.fuzz/TARGET/`, where the corpus grows that is begun with the next time. Exit status
1 if there was any.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

WORK = Path(__file__).parents[2] / ".fuzz"
_MOST_MEMORY, _MOST_SECONDS = 2048, 10  # MB of a process, and seconds for an input, which atheris makes slow


def main(arguments: Sequence[str]) -> int:
    from tests.fuzz.targets import TARGETS

    seconds, *names = arguments or ("60",)
    chosen = names or list(TARGETS)
    failed = []
    for name in chosen:
        print(f"== {name}", flush=True)
        share = max(1, int(seconds) // len(chosen))
        command = [sys.executable, "-m", "tests.fuzz", "--one", name, str(share)]
        if subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": "1"}).returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else f"{len(chosen)} targets, none failed")
    return int(bool(failed))


def one(name: str, seconds: str) -> None:
    """Fuzz one target; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["imgfs"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    logging.disable()  # of what is skipped there is a line for nearly every input
    corpus = WORK / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.corpus):
        (corpus / f"sound-{number}").write_bytes(data)
    limits = [
        f"-rss_limit_mb={_MOST_MEMORY}",
        f"-timeout={_MOST_SECONDS}",
        "-max_len=20000",
    ]
    limits += [f"-max_total_time={seconds}", f"-artifact_prefix={corpus}/", "-verbosity=0"]
    atheris.Setup([name, *limits, str(corpus)], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(*sys.argv[2:])
    sys.exit(main(sys.argv[1:]))
