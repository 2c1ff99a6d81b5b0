from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.digest import ImageID
from imgfs.store.family import Family, rings

A, B, C, D = sorted(ImageID.of(name) for name in (b"a", b"b", b"c", b"d"))


def test_children_are_listed_sorted_under_their_parent() -> None:
    family = Family({C: A, B: A})
    assert family.children(A) == [B, C]
    assert family.children(B) == []


def test_moving_an_image_takes_it_from_its_old_parent() -> None:
    family = Family({C: A})
    family.set_parent(C, B)
    assert (family.children(A), family.children(B), family.parents) == ([], [C], {C: B})


def test_an_image_without_a_parent_can_be_given_none_again() -> None:
    family = Family({C: A})
    for _ in range(2):
        family.set_parent(C, None)
        assert (family.children(A), family.parents) == ([], {})


def test_descent_goes_over_every_generation_and_includes_oneself() -> None:
    family = Family({D: C, C: B, B: A})
    assert family.descends(D, A)
    assert family.descends(A, A)
    assert not family.descends(A, D)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.integers(0, 9), st.integers(0, 12)))
def test_every_ring_is_found_once_and_whole(numbers: dict[int, int]) -> None:
    ids = [ImageID.of(b"%d" % number) for number in range(13)]
    parents = {ids[child]: ids[parent] for child, parent in numbers.items()}
    found = list(rings(parents))
    for ring in found:
        assert [parents[image_id] for image_id in ring] == [*ring[1:], ring[0]]
    in_rings = {image_id for image_id in parents if _returns(parents, image_id)}
    assert sorted(image_id for ring in found for image_id in ring) == sorted(in_rings)


def test_a_line_of_many_images_takes_no_time_worth_noticing() -> None:
    ids = [ImageID.of(b"%d" % number) for number in range(20_000)]
    assert list(rings(dict(pairwise(ids)))) == []


def _returns(parents: dict[ImageID, ImageID], start: ImageID) -> bool:
    image_id = start
    for _ in parents:
        image_id = parents.get(image_id, image_id)
        if image_id == start:
            return image_id in parents
    return False
