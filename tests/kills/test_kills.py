"""The short form of `scripts/kills`."""

from pathlib import Path

from tests.kills.kills import Kills


def test_commands_killed_at_any_instant_leave_the_store_and_the_cache_well(tmp_path: Path) -> None:
    kills = Kills(tmp_path, seed=5)
    for number in range(6):
        kills.one(number)
    kills.end()
    assert kills.wrong == []
