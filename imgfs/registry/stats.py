"""What questions cost: requests, bytes and retries by registry, and what was read of each blob."""

from collections import Counter
from threading import Lock
from typing import Any

from imgfs.sizes import human_size


class Stats:
    """Counts what is asked of registries and what they send. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._hosts: dict[str, Counter[str]] = {}
        self._blobs: dict[str, Counter[str]] = {}

    def count(self, host: str, what: str, amount: int = 1, blob: str | None = None) -> None:
        """Count `what`: `requests`, `bytes` received, `sent` bytes, `retries`; also for the blob with that digest."""
        with self._lock:
            self._hosts.setdefault(host, Counter())[what] += amount
            if blob is not None:
                self._blobs.setdefault(blob, Counter())[what] += amount

    def count_spans(self, blob: str, what: str, amount: int = 1) -> None:
        """Count spans of a blob: `fetched`, `from_cache`, `verified`."""
        with self._lock:
            self._blobs.setdefault(blob, Counter())[f"spans_{what}"] += amount

    def total(self, what: str) -> int:
        """A count over all hosts."""
        with self._lock:
            return sum(host[what] for host in self._hosts.values())

    def describe(self) -> str:
        """The sums on a line; empty if nothing was asked and no span was read."""
        total = self.as_dict()["total"]
        said = {
            "requests": "{} requests",
            "bytes": "{}B received",
            "sent": "{}B sent",
            "retries": "{} retries",
            "spans_fetched": "{} spans fetched",
            "spans_from_cache": "{} spans from the cache",
        }
        sizes = ("bytes", "sent")
        shown = {what: human_size(total[what]) if what in sizes else total[what] for what in said}
        return ", ".join(text.format(shown[what]) for what, text in said.items() if total[what])

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """All counts: those of each host, those of each blob by its digest, and the sums."""
        with self._lock:
            hosts = {name: dict(counts) for name, counts in sorted(self._hosts.items())}
            blobs = {digest: dict(counts) for digest, counts in sorted(self._blobs.items())}
        usual = dict.fromkeys(("requests", "bytes", "sent", "retries"), 0)
        spans = dict.fromkeys(("spans_fetched", "spans_from_cache", "spans_verified"), 0)
        total = Counter(usual | spans)
        for counts in hosts.values():
            total.update(counts)
        for counts in blobs.values():
            total.update({what: amount for what, amount in counts.items() if what in spans})
        return {"total": dict(total), "hosts": hosts, "blobs": blobs}
