from imgfs.registry.stats import Stats


def test_counts_are_summed_over_hosts_and_blobs() -> None:
    stats = Stats()
    stats.count("a", "requests")
    stats.count("a", "bytes", 10, "sha256:x")
    stats.count("b", "bytes", 5)
    stats.count_spans("sha256:x", "fetched", 2)
    assert stats.total("bytes") == 15
    found = stats.as_dict()
    assert found["hosts"] == {"a": {"requests": 1, "bytes": 10}, "b": {"bytes": 5}}
    assert found["blobs"] == {"sha256:x": {"bytes": 10, "spans_fetched": 2}}
    total = found["total"]
    assert (total["requests"], total["bytes"], total["spans_fetched"], total["retries"]) == (1, 15, 2, 0)


def test_the_sums_are_said_on_a_line() -> None:
    stats = Stats()
    assert stats.describe() == ""
    stats.count("a", "requests", 3)
    stats.count("b", "requests")
    stats.count("b", "bytes", 1536, "sha256:x")
    stats.count_spans("sha256:x", "from_cache", 2)
    assert stats.describe() == "4 requests, 1.5KB received, 2 spans from the cache"
