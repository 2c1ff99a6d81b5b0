"""Steps of images, as people wrote them."""

import pytest

from imgfs.cli.steps import shown_step


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        ("/bin/sh -c #(nop) ADD file:ab in / ", "ADD file:ab in /"),
        ("/bin/sh -c apt-get update &&\n  make", "RUN apt-get update &&\\n make"),
        ("RUN /bin/sh -c make all # buildkit", "RUN make all"),
        ("COPY a b # buildkit", "COPY a b"),
        ("RUN rm \x1b[31m", "RUN rm \\x1b[31m"),
        ("bazel build", "bazel build"),
        ("", ""),
    ],
)
def test_a_step_is_shown_as_a_dockerfile_has_it(step: str, shown: str) -> None:
    assert shown_step(step) == shown
