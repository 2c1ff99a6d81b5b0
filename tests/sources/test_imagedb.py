from collections.abc import Iterable

import pytest

from imgfs.digest import ImageID
from imgfs.sources.imagedb import dump_repositories, parse_repositories

IMAGE = ImageID.of(b"an image")


class Reported(list[str]):
    def __call__(self, text: str, *, image: str = "", names: Iterable[str] = ()) -> None:
        self.append(text)


@pytest.mark.parametrize(
    "name", ["a:1", "a/b:1", "localhost:5000/a:1", "bare", "localhost:5000/bare", "a:b:c"]
)
def test_every_name_that_is_written_is_read(name: str) -> None:
    reported = Reported()
    assert parse_repositories(dump_repositories({name: IMAGE}), "names", reported) == {name: IMAGE}
    assert reported == []


def test_a_name_under_another_repository_is_reported_and_skipped() -> None:
    reported = Reported()
    data = dump_repositories({"a:1": IMAGE, "b:1": IMAGE}).replace(b'"b":', b'"c":')
    assert parse_repositories(data, "names", reported) == {"a:1": IMAGE}
    assert reported == ["names: 'b:1' is no name in 'c'"]
