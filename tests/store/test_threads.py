"""One store, many threads: every call answers or fails as it does for one, and no layer stays held."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from imgfs.digest import ImageID
from imgfs.errors import InvalidImage, NotFound
from imgfs.store import FSBackend, ImageStore, MemoryBackend, StoreBackend
from tests.store.stores import Layers, config

LAYERS = [b"layer %d " % number * (number + 1) for number in range(8)]
STACKS = [LAYERS[:depth] for depth in range(1, 9)] + [[LAYERS[7], *LAYERS[:depth]] for depth in range(4)]
CONFIGS = [config(f"image {number}", STACKS[number % len(STACKS)]) for number in range(24)]
IDS = [ImageID.of(data) for data in CONFIGS]
CONTENT = {image_id: b"".join(STACKS[number % len(STACKS)]) for number, image_id in enumerate(IDS)}
THREADS = 8

pytestmark = pytest.mark.usefixtures("hasty_threads")


def hammer(store: ImageStore, seed: int, steps: int) -> int:
    """Do things to the store at random; answers how many did what was asked."""
    rng = random.Random(seed)

    def create() -> None:
        assert store.create(rng.choice(CONFIGS), parent=rng.choice([None, None, some()])) in IDS

    def delete() -> None:
        for freed in store.delete(some()):
            assert freed.size

    def set_parent() -> None:
        store.set_parent(some(), some())

    def search() -> None:
        wanted = some()
        assert store.search(rng.choice(["", "sha256:"]) + wanted.hex[:20]) == wanted

    def children() -> None:
        for image_id in store.children(some()):
            assert image_id in IDS

    def look() -> None:
        for image_id, image in rng.choice([store.map, store.heads])().items():
            assert image.id == image_id

    def get() -> None:
        wanted = some()
        assert store.get(wanted).id == wanted
        assert store.known_tar_size(wanted) in (len(CONTENT[wanted]), None)  # None: deleted meanwhile

    def update() -> None:
        store.set_last_updated(some())

    def refresh() -> None:
        store.refresh()

    def read() -> None:
        wanted = some()
        with store.get_tar_seek_stream(wanted) as stream:
            offset = rng.randrange(200)
            stream.seek(offset)
            assert stream.read() == CONTENT[wanted][offset:]

    def some() -> ImageID:
        return rng.choice(IDS)

    actions: list[Callable[[], None]] = [create, create, create, delete, set_parent, search, children, read]
    actions += [read, look, get, update, refresh]
    done = 0
    for _ in range(steps):
        try:
            rng.choice(actions)()
        except (NotFound, InvalidImage):  # gone by now, or a parent that would be its own ancestor
            continue
        done += 1
    return done


@pytest.mark.parametrize(("kind", "steps"), [("memory", 2000), ("fs", 150)])
def test_hammering_a_store_leaves_it_sound_and_no_layer_held(
    kind: str, steps: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backend: StoreBackend = MemoryBackend() if kind == "memory" else FSBackend(tmp_path_factory.mktemp("db"))
    layers = Layers(*STACKS)
    store = ImageStore(backend, layers)
    with ThreadPoolExecutor(THREADS) as pool:
        done = list(pool.map(lambda seed: hammer(store, seed, steps), range(THREADS)))
    assert sum(done) > THREADS * steps // 4
    check_sound(store, backend, layers)
    for image_id in list(store.map()):
        store.delete(image_id)
    assert (len(store), backend.walk(), layers.references()) == (0, [], {})


def check_sound(store: ImageStore, backend: StoreBackend, layers: Layers) -> None:
    """Whatever the store says of its images agrees with itself, with its backend and with a store opened anew."""
    images = store.map()
    assert list(images) == backend.walk()
    for image_id, image in images.items():
        assert store.search(image_id) == image_id
        for child in store.children(image_id):
            assert store.get_parent(child) == image_id
        if image.parent is not None:
            assert image_id in store.children(image.parent)
        with store.get_tar_seek_stream(image_id) as stream:
            assert stream.read() == CONTENT[image_id]
    assert ImageStore(backend, Layers(*STACKS)).map() == images
    fresh = Layers(*STACKS)
    again = ImageStore(backend, fresh)
    assert fresh.references() == layers.references()
    again.close()


def test_of_many_who_create_the_same_image_each_gets_it() -> None:
    store = ImageStore(MemoryBackend(), Layers(*STACKS))
    start = threading.Barrier(THREADS)

    def create(_: int) -> ImageID:
        start.wait(10)
        return store.create(CONFIGS[7])

    with ThreadPoolExecutor(THREADS) as pool:
        assert set(pool.map(create, range(THREADS))) == {IDS[7]}
    assert len(store.delete(IDS[7])) == 8


def test_of_many_who_delete_the_same_image_one_does() -> None:
    layers = Layers(*STACKS)
    store = ImageStore(MemoryBackend(), layers)
    store.create(CONFIGS[7])
    start = threading.Barrier(THREADS)

    def delete(_: int) -> int:
        start.wait(10)
        try:
            return len(store.delete(IDS[7]))
        except NotFound:
            return 0

    with ThreadPoolExecutor(THREADS) as pool:
        assert sorted(pool.map(delete, range(THREADS))) == [0] * (THREADS - 1) + [8]
    assert layers.references() == {}
