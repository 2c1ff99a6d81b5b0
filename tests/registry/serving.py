"""The registry of the distribution project, run for a test."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.tools import require_tool


@contextmanager
def docker_registry(folder: Path, **configuration: Any) -> Iterator[str]:
    """A registry without TLS that keeps what it has in `folder`; its `HOST:PORT`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder.mkdir(parents=True, exist_ok=True)
    storage = {"filesystem": {"rootdirectory": str(folder / "storage")}} | configuration.pop("storage", {})
    document = {"version": 0.1, "storage": storage, "http": {"addr": address}, **configuration}
    (folder / "config.yml").write_text(json.dumps(document))
    serving = subprocess.Popen(
        [require_tool("docker-registry"), "serve", folder / "config.yml"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://{address}/v2/")
        yield address
    finally:
        serving.kill()
        serving.wait()


def _wait_for(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(url).close()
        except urllib.error.HTTPError:  # it wants to know who we are
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
