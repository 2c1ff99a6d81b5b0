"""Budgets of memory."""

import pytest

from imgfs.budget import MIB, Budget
from imgfs.errors import TooMuch


def test_a_budget_refuses_what_is_too_much_by_name_and_figure() -> None:
    budget = Budget("layer x", 3 * MIB)
    budget.spend(2 * MIB, "members")
    with pytest.raises(TooMuch, match=r"^layer x: names take more than 3 MiB$"):
        budget.spend(MIB + 1, "names")
    budget.spend(MIB, "names")


def test_what_is_restored_can_be_spent_again() -> None:
    budget = Budget("tree", 100)
    budget.spend(100, "entries")
    budget.restore(1)
    budget.spend(1, "entries")
    with pytest.raises(TooMuch, match=r"^tree: entries take more than 100 bytes$"):
        budget.spend(1, "entries")
