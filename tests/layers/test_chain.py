"""Chain IDs, after the OCI image specification."""

import hashlib

from imgfs.digest import ChainID, DiffID
from imgfs.layers import chain_id, chain_ids

A, B, C = (DiffID.of(name) for name in (b"a", b"b", b"c"))


def test_one_layer_is_its_own_chain() -> None:
    assert list(chain_ids([A])) == [ChainID(A)]
    assert chain_id([A]) == ChainID(A)


def test_a_stack_is_hashed_from_the_bottom() -> None:
    two = "sha256:" + hashlib.sha256(f"{A} {B}".encode()).hexdigest()
    three = "sha256:" + hashlib.sha256(f"{two} {C}".encode()).hexdigest()
    assert list(chain_ids([A, B, C])) == [ChainID(A), two, three]
    assert chain_id([A, B, C]) == three


def test_chains_are_those_that_sha256sum_makes() -> None:
    """Worked out by printf and sha256sum."""
    diff_ids = [DiffID.from_hex(digit * 64) for digit in "123"]
    assert list(chain_ids(diff_ids)) == [
        ChainID.from_hex("1" * 64),
        "sha256:9932074217c35353d2e03a3f5a86549f7c67bfeb0ba53e23d69f4d4c8f7958f5",
        "sha256:50127c0d6b338be78246434b4bce23ecf75e505158ea0bbd15effeb162fbf3ec",
    ]


def test_no_layers_have_no_chain() -> None:
    assert chain_id([]) is None
    assert list(chain_ids([])) == []
