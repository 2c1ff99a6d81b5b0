"""`python -m imgfs` is the command `imgfs`."""

from imgfs.cli.main import main

if __name__ == "__main__":
    main()
