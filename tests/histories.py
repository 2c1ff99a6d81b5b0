"""Images whose layers and histories are nearly those of each other, so that it is not clear which is based on which."""

import random
from collections.abc import Sequence

from tests.images import TestImage, layer_tar

_LAYERS = [layer_tar({name: name.encode()}) for name in "abc"]
_STACKS: Sequence[Sequence[int]] = ([], [0], [0, 1], [0, 1, 2], [0, 2], [1])
# the first two are the same time
_TIMES = (
    "2024-01-02T03:04:05.678Z",
    "2024-01-02T05:04:05.678000000+02:00",
    "2024-01-02T03:04:05.678000001Z",
    "0001-01-01T00:00:00Z",
    None,
)
_FIRST: dict[str, object] = {"created": _TIMES[0], "created_by": "first"}


def unclear_family(rng: random.Random, count: int) -> list[TestImage]:
    """`count` different images, each with a history that is another's with a step more or less, or with one changed."""
    found: dict[str, TestImage] = {}
    histories: list[list[dict[str, object]]] = [[], [_FIRST]]
    while len(found) < count:
        history = list(rng.choice(histories))
        if history and rng.random() < 0.2:
            history[rng.randrange(len(history))] = _step(rng)
        if len(history) < 4:
            history.append(_step(rng) if rng.random() < 0.4 else _FIRST)
        histories.append(history)
        layers = [_LAYERS[number] for number in rng.choice(_STACKS)]
        extra = {"history": history, "config": {"Cmd": [rng.choice("xy")]}}
        image = TestImage(layers, [f"localhost/unclear:{len(found)}"], extra=extra)
        found.setdefault(image.id, image)
    return list(found.values())


def _step(rng: random.Random) -> dict[str, object]:
    """A step like `_FIRST` but for one field or none."""
    changes: list[dict[str, object]] = [{"created": time} for time in _TIMES]
    changes += [{"author": "me"}, {"comment": "why"}, {"empty_layer": True}, {"empty_layer": False}]
    return _FIRST | rng.choice(changes)
