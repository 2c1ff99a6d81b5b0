"""What is read of the configuration of an OCI runtime.

Format: OCI runtime specification, config.md, "Process". Tried by the tests of each source that finds containers.
"""

import msgspec


class _Process(msgspec.Struct):
    args: list[str] | None = None


class RuntimeSpec(msgspec.Struct):
    """A config.json, or a part of a document that has the same form."""

    process: _Process | None = None

    @property
    def command(self) -> list[str]:
        """The program with its arguments; nothing where that is not recorded."""
        return (self.process.args if self.process is not None else None) or []
