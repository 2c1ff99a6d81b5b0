"""Decoders, which are made in no other module."""

import re
import subprocess
import sys
from pathlib import Path

import imgfs

_AT_ONCE = """
import sys, threading
import msgspec
from imgfs.decoders import json_decoder, msgpack_decoder

sys.setswitchinterval(1e-6)

def meet(make, encode):
    class Inner(msgspec.Struct):
        number: int
        parts: list[tuple[int, int]] | None = None

    class Outer(msgspec.Struct):
        inner: list[Inner]
        named: dict[str, Inner]

    value = Outer([Inner(1, [(2, 3)])], {"a": Inner(4)})
    data, wrong = encode(value), []

    def decode():
        barrier.wait()
        if make(Outer).decode(data) != value:
            wrong.append(1)

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong

for _ in range(100):
    meet(json_decoder, msgspec.json.encode)
    meet(msgpack_decoder, msgspec.msgpack.encode)
print("alive")
"""


def test_threads_that_meet_a_type_at_the_same_time_get_what_is_right() -> None:
    done = subprocess.run([sys.executable, "-c", _AT_ONCE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("alive\n", "", 0)


def test_decoders_are_made_in_one_place() -> None:
    """One that is made elsewhere can crash the process, in a way that hardly ever shows in tests."""
    makes = re.compile(r"msgspec\.(json|msgpack|toml|yaml)\.(decode|Decoder)\(|msgspec\.convert\(")
    found = [
        path.name for path in Path(imgfs.__file__).parent.rglob("*.py") if makes.search(path.read_text())
    ]
    assert found == ["decoders.py"]
