"""The fuzzing in short: every target, some seconds in all, the same inputs every time."""

import os
from itertools import islice

import pytest

from tests.fuzz.mutator import mutations
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

_INPUTS, _SECONDS = 2000, 1.0


def _spent() -> float:
    """Seconds of processor time, with that of decoders that are processes of their own."""
    return sum(os.times()[:4])


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_what_nobody_meant_is_an_error_of_ours_or_none(target: Target) -> None:
    until = _spent() + _SECONDS
    tried = 0
    for data in islice(mutations(target.corpus, 1), _INPUTS):
        target.check(data)
        tried += 1
        if _spent() > until and tried > len(target.corpus):
            break
    assert tried > len(target.corpus)
