"""Pushing: blobs arrive whole whatever breaks off, or the error says what of where and why."""

import errno
import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from imgfs.blob import MemoryBlob
from imgfs.digest import Digest
from imgfs.errors import Corrupt, StoreError
from imgfs.registry import push
from imgfs.registry.client import RegistryClient
from imgfs.registry.configuration import Configuration
from imgfs.registry.push import Pusher
from imgfs.registry.reference import Repository
from imgfs.registry.transport import RegistryError
from tests.images import digest
from tests.registry.uploads import Uploads, uploads

DATA = random.Random(1).randbytes(1000)
DIGEST = Digest(digest(DATA))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Uploads]]:
    """A registry in memory, which gets pieces of 300 bytes."""
    monkeypatch.setattr(push, "_CHUNK", 300)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with uploads() as serving:
        yield serving


@pytest.fixture
def state(registry: tuple[str, Uploads]) -> Uploads:
    return registry[1]


@pytest.fixture
def pusher(registry: tuple[str, Uploads]) -> Iterator[Pusher]:
    client = RegistryClient(Configuration.load(tls_verify=False))
    yield Pusher(client.repository(Repository(registry[0], "some/app")))
    client.close()


def send(pusher: Pusher, data: bytes = DATA, source: Repository | None = None) -> list[int]:
    """Upload a blob; the progress that was reported."""
    advanced: list[int] = []
    pusher.upload(Digest(digest(data)), MemoryBlob(data), advanced.append, source)
    return [count for count in advanced if count]


@pytest.mark.parametrize("size", [0, 1, 299, 300, 301, 900, 1000])
def test_a_blob_arrives_in_pieces(pusher: Pusher, state: Uploads, size: int) -> None:
    data = DATA[:size]
    assert not pusher.has_blob(Digest(digest(data)), size)
    assert sum(send(pusher, data)) == size
    assert state.blobs["some/app", digest(data)] == data
    assert pusher.has_blob(Digest(digest(data)), size)
    assert not pusher.has_blob(Digest(digest(data)), size + 1)
    assert not state.uploads


@pytest.mark.parametrize(
    "place", ["{path}?state=a%2Fb", "http://{host}{path}?state=a%2Fb", "//{host}{path}?state=a/b"]
)
def test_the_place_of_an_upload_is_taken_as_it_is_given(pusher: Pusher, state: Uploads, place: str) -> None:
    state.place = place
    send(pusher)
    assert state.blobs["some/app", DIGEST] == DATA


def test_pieces_are_as_large_as_the_registry_wants(pusher: Pusher, state: Uploads) -> None:
    state.least = 700
    send(pusher)
    assert state.chunks == [700, 300]


def _drop(state: Uploads) -> None:
    state.dropped = {2, 4}


def _refuse(state: Uploads) -> None:
    state.refused = {1: 503, 3: 500}


def _halve(state: Uploads) -> None:
    state.halved = {1, 2}


def _forget(state: Uploads) -> None:
    state.forgotten = {3}


def _lose(state: Uploads) -> None:
    state.lost_puts = 1


@pytest.mark.parametrize("fault", [_drop, _refuse, _halve, _forget, _lose])
def test_an_upload_that_breaks_off_goes_on(
    pusher: Pusher, state: Uploads, fault: Callable[[Uploads], None]
) -> None:
    fault(state)
    assert sum(send(pusher)) == len(DATA)
    assert state.blobs["some/app", DIGEST] == DATA
    if fault is _drop:  # nothing that had arrived was sent again
        assert state.chunks == [300, 300, 125]
    assert state.requests["POST"] == (2 if fault is _forget else 1)


def test_an_upload_stays_where_it_is_safe(pusher: Pusher) -> None:
    def place(given: str) -> str:
        response: Any = SimpleNamespace(url="https://host:1/v2/a", headers={"Location": given}, status=202)
        return pusher._location(response, "blob x")

    assert place("http://host:1/b?c=d") == "https://host:1/b?c=d"  # of a registry behind a proxy
    assert place("https://storage/b") == "https://storage/b"
    for unsafe in ("http://storage/b", "file:///b", "https://["):
        with pytest.raises(RegistryError, match="blob x: it wants the upload to go on where it is not safe"):
            place(unsafe)


def _refuse_all(state: Uploads) -> None:
    state.refused = dict.fromkeys(range(100), 416)


def _state_nothing(state: Uploads) -> None:
    state.stale = True


@pytest.mark.parametrize("fault", [_refuse_all, _state_nothing])
def test_a_registry_that_takes_no_pieces_gets_blobs_whole(
    pusher: Pusher, state: Uploads, fault: Callable[[Uploads], None]
) -> None:
    fault(state)
    assert sum(send(pusher)) == len(DATA)
    patches = state.requests["PATCH"]
    other = DATA[::-1]
    state.dropped_puts = 1
    assert sum(send(pusher, other)) == len(DATA)
    assert state.requests["PATCH"] == patches  # it is not tried again
    assert {state.blobs["some/app", digest(data)] for data in (DATA, other)} == {DATA, other}
    assert not state.uploads
    with pytest.raises(Corrupt, match="failed to verify"):
        pusher.upload(Digest(digest(b"?" * 1000)), MemoryBlob(b"!" * 1000), lambda _: None)


class Broken(MemoryBlob):
    def pread(self, size: int, offset: int) -> bytes:
        if offset:
            raise OSError(errno.EIO, "Input/output error", "/disk/blob")
        return super().pread(size, offset)


def test_what_cannot_be_read_is_not_the_fault_of_the_registry(pusher: Pusher, state: Uploads) -> None:
    for pieces in (True, False):
        state.refused = {} if pieces else dict.fromkeys(range(100), 416)
        with pytest.raises(StoreError, match=f"^blob {DIGEST}: /disk/blob: Input/output error"):
            pusher.upload(DIGEST, Broken(DATA), lambda _: None)
        assert not state.uploads  # it is cancelled


def test_an_upload_that_never_goes_on_is_an_error(pusher: Pusher, state: Uploads) -> None:
    state.refused = dict.fromkeys(range(100), 503)
    with pytest.raises(
        RegistryError, match=rf"docker://127.*/some/app: blob {DIGEST}: it answers 503 \(quota\)"
    ):
        send(pusher)
    assert state.requests["PATCH"] == 5


@pytest.mark.parametrize(
    ("method", "status", "why"),
    [
        ("POST", 405, "it takes no uploads, as one that is read-only"),
        ("POST", 413, "it is too large for the registry"),
        ("PUT", 507, "the registry has no room for it"),
        ("PUT", 403, "access is denied"),
    ],
)
def test_what_a_registry_refuses_is_said_in_one_line(
    pusher: Pusher, state: Uploads, method: str, status: int, why: str
) -> None:
    state.statuses = {method: status}
    with pytest.raises(RegistryError) as raised:
        send(pusher)
    said = str(raised.value)
    assert said.startswith("docker://127.0.0.1:")
    assert f"/some/app: blob {DIGEST}: {why}" in said
    assert "quota" in said
    assert state.requests[method] == 1


def test_a_token_that_ends_amid_an_upload_is_renewed(pusher: Pusher, state: Uploads) -> None:
    state.token_uses = 2
    send(pusher)
    assert state.blobs["some/app", DIGEST] == DATA
    assert state.tokens > 2
    assert set(state.scopes) == {"repository:some/app:pull,push"}


def test_a_blob_is_mounted_where_that_is_allowed(
    pusher: Pusher, state: Uploads, registry: tuple[str, Uploads]
) -> None:
    state.blobs["other/app", DIGEST] = DATA
    source = Repository(registry[0], "other/app")
    assert send(pusher, source=source) == []
    assert state.blobs["some/app", DIGEST] == DATA
    assert state.requests["PUT"] == 0
    state.mounts, state.blobs = False, {("other/app", str(DIGEST)): DATA}
    assert sum(send(pusher, source=source)) == len(DATA)
    assert sum(send(pusher, source=Repository("elsewhere", "other/app"))) == len(DATA)


def test_wrong_bytes_are_not_sent_to_the_end(pusher: Pusher, state: Uploads) -> None:
    wrong = DATA[:-1] + b"?"
    with pytest.raises(Corrupt, match=f"blob {DIGEST}: failed to verify"):
        pusher.upload(DIGEST, MemoryBlob(wrong), lambda _: None)
    assert not state.blobs
    assert not state.uploads  # it is cancelled
    assert state.requests["PUT"] == 0


def test_a_registry_that_states_another_digest_is_an_error(pusher: Pusher, state: Uploads) -> None:
    pusher.put_manifest("1", DIGEST, DATA, "a/b")
    assert state.manifests["some/app", "1"] == ("a/b", DATA)
    state.stated = "sha256:" + "0" * 64
    with pytest.raises(RegistryError, match="tag 1: it states another digest, sha256:0"):
        pusher.put_manifest("1", DIGEST, DATA, "a/b")
    with pytest.raises(RegistryError, match="states another digest"):
        send(pusher)
    state.stated = "sha512:" + "0" * 128  # of the same, as far as that is known
    send(pusher)
