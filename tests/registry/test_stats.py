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
    assert isinstance(total, dict)
    assert (total["requests"], total["bytes"], total["spans_fetched"], total["retries"]) == (1, 15, 2, 0)
