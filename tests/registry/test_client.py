"""The client against a registry that does what registries do in practice, and what they should not."""

import json
import logging
import os
import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgfs.cache.cache import Cache
from imgfs.cache.partial_file import Partial
from imgfs.digest import Digest
from imgfs.errors import Corrupt, ImgfsError, NotFound
from imgfs.registry.account import Credentials
from imgfs.registry.challenge import Challenge
from imgfs.registry.client import MANIFEST_TYPES, RegistryClient, RemoteRepository
from imgfs.registry.configuration import Configuration
from imgfs.registry.credentials import CredentialStore
from imgfs.registry.reference import Repository
from imgfs.registry.registries_conf import RegistriesConf
from imgfs.registry.remote_blob import RemoteBlob
from imgfs.registry.tokens import Authorizer
from imgfs.registry.transport import Limits, RegistryError, Transport
from tests.registry.quirky import INDEX, SECRET, Faults, Quirky, running_quirky
from tests.registry.serving import certificates

LIMITS = Limits(connect=2, idle=1, pause=0.01, wait=1, patience=3, attempts=4, slowest=1 << 20)
LARGE = random.Random(1).randbytes(4 << 20)
SMALL = random.Random(2).randbytes(50_000)
NAME = "some/app"
ME = Credentials("me", SECRET)


@pytest.fixture(scope="module")
def registry() -> Iterator[Quirky]:
    with running_quirky() as registry:
        for data in (LARGE, SMALL):
            registry.blob(data)
        yield registry


@pytest.fixture
def quirky(registry: Quirky) -> Iterator[Quirky]:
    registry.faults = Faults()
    registry.manifests.clear()
    registry.tokens.clear()
    registry.urls.clear()
    registry.expired.clear()
    registry.take()
    yield registry
    assert not any(seen.has_credentials for seen in registry.take() if seen.port == 1)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[RegistryClient]:
    client = new_client(tmp_path)
    yield client
    client.close()


def new_client(folder: Path, creds: Credentials | None = ME) -> RegistryClient:
    configuration = Configuration(RegistriesConf({}), CredentialStore([]), tls_verify=False, creds=creds)
    return RegistryClient(configuration, cache=Cache(str(folder / "cache"), 1 << 30), limits=LIMITS)


@pytest.fixture
def repository(client: RegistryClient, quirky: Quirky) -> RemoteRepository:
    return client.repository(Repository(quirky.address, NAME))


def read(
    repository: RemoteRepository, offset: int = 1_000_000, size: int = 200_000, data: bytes = LARGE
) -> None:
    """Read a range of a blob, which is right."""
    with repository.blob(Digest.of(data), len(data)) as blob:
        assert blob.pread(size, offset) == data[offset : offset + size]


def layer_requests(quirky: Quirky) -> list[str]:
    return [seen.range for seen in quirky.take() if "/blobs/" in seen.path]


def test_a_range_is_one_request_of_that_size(repository: RemoteRepository, quirky: Quirky) -> None:
    read(repository)
    assert layer_requests(quirky) == ["bytes=1000000-1199999"]


def test_a_whole_body_for_a_range_near_the_start_is_read_that_far(
    repository: RemoteRepository, quirky: Quirky
) -> None:
    quirky.faults.whole = 1
    read(repository, 300_000, 100_000)
    assert len(layer_requests(quirky)) == 1


def test_a_blob_that_is_sent_whole_only_is_asked_for_once(
    repository: RemoteRepository, quirky: Quirky
) -> None:
    quirky.faults.whole = -1
    with repository.blob(Digest.of(LARGE), len(LARGE)) as blob:
        for offset in (2_000_000, 3_000_000, 5, 1_500_000):
            assert blob.pread(200_000, offset) == LARGE[offset : offset + 200_000]
        assert blob.pread(10, len(LARGE) - 4) == LARGE[-4:]
    assert layer_requests(quirky) == ["bytes=2000000-2199999", ""]


def test_a_whole_body_that_is_another_blob_is_an_error(repository: RemoteRepository, quirky: Quirky) -> None:
    quirky.faults.whole, quirky.faults.flipped = -1, -1
    with (
        repository.blob(Digest.of(LARGE), len(LARGE)) as blob,
        pytest.raises(Corrupt, match="failed to verify"),
    ):
        for _ in range(200):
            blob.pread(1, len(LARGE) - 1)
            time.sleep(0.02)
    with (
        repository.blob(Digest.of(SMALL), len(SMALL)) as blob,
        pytest.raises(Corrupt, match="failed to verify"),
    ):
        blob.pread(1, 0)


@pytest.mark.parametrize("data", [LARGE, SMALL], ids=["large", "small"])
def test_a_blob_that_is_sent_whole_is_tried_a_few_times(
    repository: RemoteRepository, quirky: Quirky, data: bytes
) -> None:
    quirky.faults.whole, quirky.faults.cut = -1, -1
    with (
        repository.blob(Digest.of(data), len(data)) as blob,
        pytest.raises(RegistryError, match=f"blob {Digest.of(data)}: "),
    ):
        blob.pread(10, len(data) - 10)
    assert layer_requests(quirky).count("") == 4
    quirky.faults.cut = 3
    with repository.blob(Digest.of(data), len(data)) as blob:
        assert blob.pread(10, len(data) - 10) == data[-10:]


@pytest.mark.parametrize("fault", ["shifted", "whole_with_range", "cut"])
def test_an_answer_that_is_not_what_was_asked_for_is_asked_for_again(
    repository: RemoteRepository, quirky: Quirky, fault: str
) -> None:
    setattr(quirky.faults, fault, 2)
    read(repository)
    assert getattr(quirky.faults, fault) == 0


@pytest.mark.parametrize("fault", ["shifted", "whole_with_range", "cut"])
def test_an_answer_that_is_never_what_was_asked_for_is_an_error_that_names_the_blob(
    repository: RemoteRepository, quirky: Quirky, fault: str
) -> None:
    setattr(quirky.faults, fault, -1)
    with pytest.raises(RegistryError) as raised:
        with repository.blob(Digest.of(LARGE), len(LARGE)) as blob:
            for offset in range(0, len(LARGE), 500_000):
                blob.pread(400_000, offset)
    text = str(raised.value)
    assert text.startswith(f"docker://{quirky.address}/{NAME}: blob {Digest.of(LARGE)}: ")
    assert "\n" not in text


def test_a_range_that_breaks_off_goes_on_from_there(repository: RemoteRepository, quirky: Quirky) -> None:
    quirky.faults.cut = 1
    read(repository)
    assert layer_requests(quirky) == ["bytes=1000000-1199999", "bytes=1100000-1199999"]


def test_a_redirect_is_followed_without_credentials_and_kept(
    repository: RemoteRepository, quirky: Quirky
) -> None:
    quirky.faults.redirect, quirky.faults.auth = "storage", "bearer"
    with repository.blob(Digest.of(LARGE), len(LARGE)) as blob:
        for offset in (2_000_000, 3_000_000, 1_000_000):
            assert blob.pread(1000, offset) == LARGE[offset : offset + 1000]
    seen = [each for each in quirky.take() if "sha256:" in each.path]
    assert [each.port for each in seen] == [0, 1, 1, 1]
    assert [each.has_credentials for each in seen] == [True, False, False, False]


@pytest.mark.parametrize("status", [400, 403])
def test_a_place_that_is_too_old_is_asked_for_again(
    repository: RemoteRepository, quirky: Quirky, status: int
) -> None:
    quirky.faults.redirect, quirky.faults.url_uses, quirky.faults.url_status = "storage", 1, status
    with repository.blob(Digest.of(LARGE), len(LARGE)) as blob:
        for offset in (2_000_000, 3_000_000):
            assert blob.pread(1000, offset) == LARGE[offset : offset + 1000]
    assert [each.port for each in quirky.take() if "sha256:" in each.path] == [0, 1, 1, 0, 1]


def read_slowly(repository: RemoteRepository, offsets: range) -> None:
    with repository.blob(Digest.of(LARGE), len(LARGE)) as blob:
        for offset in offsets:
            size = abs(offsets.step)
            assert blob.pread(size, offset) == LARGE[offset : offset + size]
            time.sleep(0.05)


FORWARD = range(0, len(LARGE), 1 << 18)


def test_a_token_that_expires_while_a_blob_is_read_is_renewed_once_each_time(
    repository: RemoteRepository, quirky: Quirky
) -> None:
    quirky.faults.auth, quirky.faults.token_lives, quirky.faults.redirect = "bearer", 0.2, ""
    for offsets in (FORWARD, FORWARD[::-1]):
        read_slowly(repository, offsets)
    assert len(set(quirky.expired)) >= 3
    assert len(quirky.tokens) == 1 + len(set(quirky.expired))
    assert sum("/token" in seen.path for seen in quirky.take()) == len(quirky.tokens)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_place_that_expires_while_a_blob_is_read_is_asked_for_once_each_time(
    repository: RemoteRepository, quirky: Quirky, status: int
) -> None:
    quirky.faults.redirect, quirky.faults.url_lives, quirky.faults.url_status = "storage", 0.2, status
    read_slowly(repository, FORWARD[::-1])
    assert len(quirky.expired) >= 3
    assert len(quirky.urls) == 1 + len(quirky.expired)
    read_slowly(repository, FORWARD)  # of which several ranges may be on their way at the same time


def test_a_place_that_never_works_is_an_error(repository: RemoteRepository, quirky: Quirky) -> None:
    quirky.faults.redirect, quirky.faults.url_uses = "storage", 0
    with pytest.raises(RegistryError, match="access is denied"):
        read(repository)
    assert len([each for each in quirky.take() if each.port == 1]) == 2


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("loop", "redirects more than 5 times"),
        ("ftp://x/", "no web address"),
        ("http://[", "no web address"),
    ],
)
def test_redirects_that_lead_nowhere_are_errors(
    repository: RemoteRepository, quirky: Quirky, target: str, why: str
) -> None:
    quirky.faults.redirect = target
    with pytest.raises(RegistryError, match=why):
        read(repository)


def test_a_redirect_does_not_leave_tls(tmp_path: Path) -> None:
    made = certificates(tmp_path / "tls")
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    shutil.copy(made.authority, trusted)
    configuration = Configuration(RegistriesConf({}), CredentialStore([]), cert_dir=str(trusted))
    client = RegistryClient(configuration, limits=LIMITS)
    with running_quirky(tls=context) as quirky:
        quirky.blob(LARGE)
        repository = client.repository(Repository(quirky.address, NAME))
        read(repository)
        quirky.faults.redirect = "storage"
        with pytest.raises(RegistryError, match="it redirects from https to http"):
            read(repository)
        client.close()
        assert not any(seen.port == 1 for seen in quirky.take())


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_credentials_are_asked_for_once(repository: RemoteRepository, quirky: Quirky, scheme: str) -> None:
    quirky.faults.auth = scheme
    for offset in (0, 2_000_000):
        read(repository, offset)
    paths = [seen.path.partition("?")[0] for seen in quirky.take()]
    assert paths.count("/v2/") <= 2  # https is tried first
    assert paths.count("/token") == (scheme == "bearer")
    assert sum("/blobs/" in path for path in paths) == 2


@pytest.mark.parametrize(
    ("name", "expires"), [("token", None), ("access_token", 0), ("token", 10**18), ("token", 10**400)]
)
def test_tokens_are_read_as_they_are_written(
    repository: RemoteRepository, quirky: Quirky, name: str, expires: int | None
) -> None:
    quirky.faults.auth, quirky.faults.token_field, quirky.faults.token_expires = "bearer", name, expires
    quirky.faults.challenge_on_ping_only = True
    read(repository)
    read(repository)
    assert sum(seen.path.startswith("/token") for seen in quirky.take()) == 1


def test_a_token_that_is_refused_is_renewed_once_a_request(
    repository: RemoteRepository, quirky: Quirky
) -> None:
    quirky.faults.auth, quirky.faults.token_uses = "bearer", 1
    for offset in (0, 2_000_000, 1_000_000):
        read(repository, offset)
    assert sum(seen.path.startswith("/token") for seen in quirky.take()) == 3
    quirky.faults.token_uses = 0
    with pytest.raises(RegistryError, match="authentication is required"):
        read(repository, 3_000_000)
    assert sum(seen.path.startswith("/token") for seen in quirky.take()) <= 2


def test_an_identity_token_is_exchanged(tmp_path: Path, quirky: Quirky) -> None:
    quirky.faults.auth = "bearer"
    client = new_client(tmp_path, Credentials("", "", SECRET))
    read(client.repository(Repository(quirky.address, NAME)))
    client.close()


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
@pytest.mark.parametrize("creds", [None, Credentials("me", "wrong-secret")])
def test_no_secret_is_in_a_message_or_a_log(
    tmp_path: Path, quirky: Quirky, caplog: pytest.LogCaptureFixture, scheme: str, creds: Credentials | None
) -> None:
    quirky.faults.auth, quirky.faults.redirect = scheme, "storage"
    client = new_client(tmp_path, creds)
    with caplog.at_level(logging.DEBUG), pytest.raises(RegistryError) as raised:
        read(client.repository(Repository(quirky.address, NAME)))
    client.close()
    right = new_client(tmp_path)
    with caplog.at_level(logging.DEBUG):
        read(right.repository(Repository(quirky.address, NAME)))
    right.close()
    for secret in ("wrong-secret", SECRET, "token-", "signature"):
        assert secret not in caplog.text
        assert secret not in str(raised.value)
    assert quirky.address in str(raised.value)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_registry_is_asked_again(repository: RemoteRepository, quirky: Quirky, status: int) -> None:
    read(repository)
    quirky.faults.statuses = [status]
    read(repository)


@pytest.mark.parametrize(
    ("pause", "longest"), [("1", 3.0), ("3600", 0.5), ("Wed, 21 Oct 2099 07:28:00 GMT", 0.5)]
)
def test_a_registry_that_wants_a_long_pause_is_given_up(
    repository: RemoteRepository, quirky: Quirky, pause: str, longest: float
) -> None:
    read(repository)
    quirky.faults.statuses, quirky.faults.retry_after = [429] * 20, pause
    started = time.monotonic()
    with pytest.raises(RegistryError, match="too many requests"):
        read(repository)
    assert time.monotonic() - started < longest


def test_a_registry_that_is_not_there_is_an_error(client: RegistryClient) -> None:
    with pytest.raises(RegistryError, match=r"docker://127\.0\.0\.1:1/x:1: Connection refused"):
        client.repository(Repository("127.0.0.1:1", "x")).manifest("1")


def test_an_error_with_a_lying_length_is_answered_at_once(
    repository: RemoteRepository, quirky: Quirky
) -> None:
    quirky.faults.lying_416 = True
    started = time.monotonic()
    with repository.blob(Digest.of(LARGE), len(LARGE) + 100) as blob, pytest.raises(RegistryError):
        blob.pread(50, len(LARGE) + 10)
    assert time.monotonic() - started < 0.9


def manifest(quirky: Quirky, tag: str = "1", **more: object) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPES[1],
        "layers": [],
        "config": {"mediaType": "x"},
    } | more
    data = json.dumps(document).encode()
    quirky.manifest(NAME, tag, data, MANIFEST_TYPES[1])
    return data


@pytest.mark.parametrize("stated", [None, "", "sha512:12", f"sha256:{'0' * 64}"])
def test_a_manifest_is_hashed_here(repository: RemoteRepository, quirky: Quirky, stated: str | None) -> None:
    data = manifest(quirky)
    quirky.faults.digest_header, quirky.faults.content_type = stated, "; charset=utf-8"
    found = repository.manifest("1")
    assert (found.data, found.digest, found.media_type) == (data, Digest.of(data), MANIFEST_TYPES[1])
    assert repository.head("1") == (Digest.of(data) if stated is None else stated or None)


def test_a_manifest_that_is_another_one_is_an_error(repository: RemoteRepository, quirky: Quirky) -> None:
    wanted = Digest.of(b"wanted")
    quirky.manifests[NAME, wanted] = MANIFEST_TYPES[1], b"{}"
    with pytest.raises(Corrupt, match=f"{wanted}: failed to verify"):
        repository.manifest(wanted)
    quirky.manifest(NAME, "typed", b'{"mediaType": "application/json"}', MANIFEST_TYPES[1])
    with pytest.raises(RegistryError, match="its manifest is of type"):
        repository.manifest("typed")
    quirky.manifest(NAME, "old", b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws")
    with pytest.raises(RegistryError, match="schema 1"):
        repository.manifest("old")
    quirky.manifest(NAME, "large", b" " * (5 << 20), MANIFEST_TYPES[1])
    with pytest.raises(RegistryError, match="too many"):
        repository.manifest("large")
    with pytest.raises(NotFound):
        repository.manifest("none")


def test_tags_are_listed_page_by_page_and_odd_ones_left_out(
    repository: RemoteRepository, quirky: Quirky
) -> None:
    for tag in ("a", "b", "c", "", ".odd", "d"):
        manifest(quirky, tag)
    quirky.faults.tag_page, quirky.faults.odd_names = 2, (None, 7, {"name": "x"}, "sha256:1", ["a"])
    assert list(repository.tags()) == ["a", "b", "c", "d"]


def test_a_list_without_an_end_is_an_error_that_names_it(
    client: RegistryClient, repository: RemoteRepository, quirky: Quirky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgfs.registry.client._MOST_PAGES", 5)
    quirky.faults.tag_page, quirky.faults.links, quirky.faults.referrers = 1, "endless", "pages"
    label = f"docker://{quirky.address}/"
    with pytest.raises(RegistryError, match=f"^{label}{NAME}: the list of tags does not end within 5 pages$"):
        list(repository.tags())
    with pytest.raises(RegistryError, match=f"^{label}: .*: the catalog does not end within 5 pages$"):
        list(client.catalog(quirky.address))
    with pytest.raises(
        RegistryError, match=f"^{label}{NAME}@.*: the list of referrers does not end within 5"
    ):
        repository.referrers(Digest.of(b"image"), "a/b")


def test_a_list_that_leads_in_a_circle_is_shown_with_a_warning(
    repository: RemoteRepository, quirky: Quirky, caplog: pytest.LogCaptureFixture
) -> None:
    for tag in ("a", "b", "c"):
        manifest(quirky, tag)
    quirky.faults.tag_page, quirky.faults.links = 2, "circle"
    with caplog.at_level(logging.WARNING):
        assert list(repository.tags()) == ["a", "b"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{quirky.address}: the list of tags may be incomplete: one page leads back to another"
    ]


def test_a_page_at_another_name_of_the_host_is_asked_for_at_this_one(
    repository: RemoteRepository, quirky: Quirky
) -> None:
    for tag in ("a", "b", "c"):
        manifest(quirky, tag)
    quirky.faults.tag_page, quirky.faults.links = 2, "other host"
    assert list(repository.tags()) == ["a", "b", "c"]


def test_repositories_are_listed_page_by_page(client: RegistryClient, quirky: Quirky) -> None:
    for name in ("a", "b/c", "d"):
        quirky.manifest(name, "1", b"{}", MANIFEST_TYPES[1])
    quirky.faults.tag_page, quirky.faults.odd_names = 2, (None, 7)
    assert list(client.catalog(quirky.address)) == ["a", "b/c", "d"]
    assert sum("_catalog" in seen.path for seen in quirky.take()) == 3


@pytest.mark.parametrize("status", [401, 404, 405])
def test_a_registry_that_lists_no_repositories_says_so(
    client: RegistryClient, quirky: Quirky, status: int
) -> None:
    quirky.faults.catalog_status = status
    with pytest.raises(RegistryError, match=f"docker://{quirky.address}/: it does not list its repositories"):
        list(client.catalog(quirky.address))


@pytest.mark.parametrize("api", ["api", "unfiltered", "pages"])
def test_referrers_are_listed_and_filtered(repository: RemoteRepository, quirky: Quirky, api: str) -> None:
    quirky.faults.referrers = api
    subject = {"subject": {"digest": Digest.of(b"image")}}
    wanted = [
        manifest(quirky, tag, artifactType="a/b", **subject, annotations={"n": tag}) for tag in ("1", "2")
    ]
    manifest(quirky, "3", artifactType="c/d", **subject)
    found = repository.referrers(Digest.of(b"image"), "a/b")
    assert {each["digest"] for each in found} == {Digest.of(data) for data in wanted}


def test_a_page_for_people_is_no_list_of_referrers(repository: RemoteRepository, quirky: Quirky) -> None:
    quirky.faults.referrers = "html"
    listed = [{"digest": Digest.of(b"x"), "artifactType": "a/b"}, {"digest": "odd", "artifactType": "a/b"}]
    tag = Digest.of(b"image").replace(":", "-")
    quirky.manifest(NAME, tag, json.dumps({"manifests": listed}).encode(), INDEX)
    assert repository.referrers(Digest.of(b"image"), "a/b") == [listed[0]]
    assert not any(seen.path == "/page" for seen in quirky.take())


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.tuples(st.integers(0, len(LARGE)), st.integers(0, 700_000)), min_size=1, max_size=12),
    st.builds(
        Faults,
        whole=st.integers(0, 2),
        shifted=st.integers(0, 2),
        cut=st.integers(0, 3),
        whole_with_range=st.integers(0, 1),
        redirect=st.sampled_from(["", "storage"]),
        url_uses=st.sampled_from([-1, 1, 3]),
        auth=st.sampled_from(["", "basic", "bearer"]),
        token_uses=st.sampled_from([-1, 1, 2]),
    ),
)
def test_reads_are_right_or_errors_whatever_goes_wrong(
    repository: RemoteRepository, quirky: Quirky, reads: list[tuple[int, int]], faults: Faults
) -> None:
    quirky.faults = faults
    with repository.blob(Digest.of(LARGE), len(LARGE)) as blob:
        for offset, size in reads:
            try:
                data = blob.pread(size, offset)
            except ImgfsError:
                continue
            assert data == LARGE[offset : offset + size]


def test_a_redirect_that_lies_about_its_body_is_not_read_to_its_end(
    repository: RemoteRepository, quirky: Quirky
) -> None:
    quirky.faults.redirect, quirky.faults.endless_redirects = "storage", True
    read(repository)
    assert all(seen.sent < 16 << 20 for seen in quirky.take())


def test_another_origin_does_not_say_where_credentials_go(
    repository: RemoteRepository, quirky: Quirky
) -> None:
    quirky.faults.auth, quirky.faults.url_status, quirky.faults.url_challenge = "basic", 401, True
    with pytest.raises(RegistryError):
        repository.request("PATCH", f"http://{quirky.servers[1].address}/upload", body=b"x")
    read(repository)
    assert [seen.path for seen in quirky.take() if seen.port == 1] == ["/upload"]


def test_a_password_in_an_address_is_shown_nowhere(
    client: RegistryClient, repository: RemoteRepository, quirky: Quirky, caplog: pytest.LogCaptureFixture
) -> None:
    quirky.faults.redirect = f"http://user:hidden@{quirky.servers[1].address}/x"
    with caplog.at_level(logging.DEBUG), pytest.raises(RegistryError) as raised:
        read(repository)
    assert "hidden" not in f"{caplog.text} {raised.value} {client.stats.as_dict()}"


def test_a_realm_that_is_no_address_is_an_error(client: RegistryClient, quirky: Quirky) -> None:
    authorizer = Authorizer(Transport(client.configuration, client.stats, LIMITS), "x", is_insecure=True)
    authorizer.learn([Challenge("bearer", {"realm": "http://["})])
    with pytest.raises(RegistryError, match="no web address"):
        authorizer.header((), lambda: None)


def test_a_password_in_a_realm_is_shown_nowhere(client: RegistryClient, quirky: Quirky) -> None:
    authorizer = Authorizer(Transport(client.configuration, client.stats, LIMITS), "x", is_insecure=True)
    authorizer.learn([Challenge("bearer", {"realm": f"http://user:hidden@{quirky.address}/nothing"})])
    with pytest.raises(RegistryError, match="which gives tokens for x") as raised:
        authorizer.header((), lambda: None)
    assert "hidden" not in str(raised.value)


def test_a_kept_blob_outlives_an_image_that_records_another_size(
    repository: RemoteRepository, quirky: Quirky
) -> None:
    read(repository, 20_000, 10, SMALL)
    for size in (len(SMALL) - 1, len(SMALL) + 1):
        with repository.blob(Digest.of(SMALL), size) as wrong, pytest.raises(RegistryError, match="recorded"):
            wrong.pread(10, 0)
    quirky.take()
    read(repository, 20_000, 10, SMALL)
    assert not layer_requests(quirky)


class ClosingCache(Cache):
    """A cache during whose last step in keeping a blob, that blob is closed."""

    blob: RemoteBlob
    partial: Partial

    def keep_partial(self, partial: Partial, digest: Digest, kind: str) -> None:
        super().keep_partial(partial, digest, kind)
        if len(LARGE) == os.fstat(partial.fd).st_size:
            self.partial = partial
            self.blob.close()


def test_a_blob_closed_as_it_is_kept_leaves_nothing_open(
    client: RegistryClient, repository: RemoteRepository, quirky: Quirky, tmp_path: Path
) -> None:
    cache = client.cache = ClosingCache(str(tmp_path / "closing"), 1 << 30)
    quirky.faults.whole = -1
    cache.blob = repository.blob(Digest.of(LARGE), len(LARGE))
    cache.blob.pread(10, 2_000_000)
    for thread in threading.enumerate():
        if thread.name == "imgfs fetching":
            thread.join(5)
    assert cache.partial.fd < 0
