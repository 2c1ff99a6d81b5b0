"""The manual: a topic a file, in Markdown that reads well as it is; `imgfs help` prints them, man pages have them."""

from importlib.resources import files

TOPICS = ("images", "mount", "sources", "registries", "tars", "cache", "trust", "json", "python", "changes")
"""The topics, in the order in which to read them."""


def topic_text(topic: str) -> str:
    """The text of one of TOPICS."""
    return (files(__name__) / f"{topic}.md").read_text(encoding="utf-8")
