"""The command `imgfs`, also as `python -m imgfs`: what a shell asks for with each key press needs no command line."""

import os
import sys

COMPLETION = "_IMGFS_COMPLETE"
"""Set by shells to their name, to ask for completions of the line that the arguments are."""


def main() -> None:
    """Run the command line, or complete one; never returns."""
    if COMPLETION in os.environ:
        import signal

        from imgfs.cli.complete import complete

        signal.signal(signal.SIGINT, signal.SIG_DFL)
        complete(os.environ[COMPLETION], " ".join(sys.argv[1:]))
        sys.exit()
    from imgfs.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
