from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.digest import Digest
from imgfs.errors import AmbiguousID, ImageNotFound
from imgfs.store import DigestIndex

LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


def index_of(*digests: Digest) -> DigestIndex:
    index = DigestIndex()
    for digest in digests:
        index.add(digest)
    return index


def sha256(beginning: str) -> Digest:
    return Digest("sha256:" + beginning.ljust(64, "0"))


def test_a_unique_prefix_finds_its_digest_with_and_without_the_algorithm() -> None:
    index = index_of(sha256("abc1"), sha256("abd1"), sha256("1"))
    for term in ("abc", "sha256:abc", "abc1", sha256("abc1").hex, sha256("abc1")):
        assert index.search(term) == sha256("abc1")


def test_a_shared_prefix_is_ambiguous_and_names_the_term() -> None:
    index = index_of(sha256("abc1"), sha256("abd1"))
    for term in ("ab", "sha256:ab", ""):
        with pytest.raises(AmbiguousID, match=f"multiple IDs found with provided prefix: {term}"):
            index.search(term)


@pytest.mark.parametrize(
    "term", ["bc", "sha256:bc", "sha512:abc", "sha256:", ":abc", "sha256", "ABC", "abc ", "a:b:c", "é", "\0"]
)
def test_a_term_that_begins_no_digest_is_no_such_image(term: str) -> None:
    with pytest.raises(ImageNotFound) as caught:
        index_of(sha256("abc")).search(term)
    assert str(caught.value) == f"No such image: {term}"


def test_the_empty_term_means_the_only_digest_as_in_moby() -> None:
    assert index_of(sha256("abc")).search("") == sha256("abc")
    with pytest.raises(ImageNotFound):
        index_of().search("")


def test_a_whole_digest_is_found_though_a_longer_one_begins_with_it() -> None:
    short, long = sha256("abc"), Digest("sha512:" + sha256("abc").hex + "0" * 64)
    index = index_of(long, short)
    assert index.search(short.hex) == short
    assert index.search(short.hex + "0") == long
    assert index.search("sha512:abc") == long
    with pytest.raises(AmbiguousID):
        index.search("abc")


def test_what_was_removed_is_not_found_and_no_longer_in_the_way() -> None:
    index = index_of(sha256("abc1"), sha256("abd1"))
    index.remove(sha256("abd1"))
    assert index.search("ab") == sha256("abc1")
    assert len(index) == 1
    assert sha256("abd1") not in index


def test_adding_twice_and_removing_what_is_not_there_do_nothing() -> None:
    index = index_of(sha256("a"), sha256("a"))
    index.remove(sha256("b"))
    assert len(index) == 1
    index.remove(sha256("a"))
    assert len(index) == 0


@st.composite
def digests(draw: Callable[[st.SearchStrategy[str]], str]) -> Digest:
    """Digests that share prefixes often."""
    algorithm = draw(st.sampled_from(sorted(LENGTHS)))
    beginning = draw(st.text("0f", max_size=6))
    return Digest(f"{algorithm}:{beginning.ljust(LENGTHS[algorithm], draw(st.sampled_from('0f')))}")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(digests(), max_size=12),
    st.lists(digests(), max_size=4),
    st.sampled_from(["", "sha256:", "sha384:", "sha512:"]),
    st.text("0f", min_size=1, max_size=130),
)
def test_searching_agrees_with_comparing_every_digest(
    added: list[Digest], removed: list[Digest], algorithm: str, prefix: str
) -> None:
    index = index_of(*added)
    for digest in removed:
        index.remove(digest)
    left = set(added) - set(removed)
    matching = [digest for digest in left if digest.startswith(algorithm) and digest.hex.startswith(prefix)]
    exact = [digest for digest in matching if digest.hex == prefix]
    expected = (exact or matching)[0] if len(matching) == 1 or exact else None
    try:
        found = index.search(algorithm + prefix)
    except ImageNotFound:
        assert not matching
    except AmbiguousID:
        assert len(matching) > 1
        assert not exact
    else:
        assert found == expected
