"""Problems: logged once, listed while they last, never without end."""

import pytest

from imgfs.store import Problem, Problems


def test_a_problem_is_logged_once_and_listed_at_every_look(caplog: pytest.LogCaptureFixture) -> None:
    problems = Problems("oci:/srv")
    for _ in range(3):
        problems = problems.begin()
        problems.report("blob x is missing")
        problems.report("blob x is missing")
        assert list(problems) == ["blob x is missing"]
    assert caplog.messages == ["oci:/srv: blob x is missing"]


def test_a_problem_that_does_not_come_up_again_is_none_any_more() -> None:
    problems = Problems()
    problems.report("it is broken")
    assert list(problems.begin()) == []


def test_a_problem_knows_the_image_that_is_not_shown_for_it() -> None:
    problems = Problems()
    problems.report("its config is missing", image="sha256:1", names=["a:1", "b:1"])
    (problem,) = problems
    assert (problem, problem.image, problem.names) == ("its config is missing", "sha256:1", ("a:1", "b:1"))
    assert (Problem("alone").image, Problem("alone").names) == ("", ())


def test_problems_without_end_are_listed_up_to_a_thousand(caplog: pytest.LogCaptureFixture) -> None:
    problems = Problems()
    for number in range(5000):
        problems.report(f"problem {number}")
    assert len(list(problems)) == len(caplog.messages) == 1001
    assert "more problems" in list(problems)[-1]


def test_what_is_no_problem_is_logged_once_and_not_listed(caplog: pytest.LogCaptureFixture) -> None:
    problems = Problems()
    for _ in range(2):
        problems.note("there are images elsewhere")
    assert caplog.messages == ["there are images elsewhere"]
    assert len(problems) == 0


def test_a_place_that_is_well_again_may_break_again(caplog: pytest.LogCaptureFixture) -> None:
    problems = Problems()
    problems.report("it is gone")
    problems.clear()
    assert list(problems) == []
    problems.report("it is gone")
    assert len(caplog.messages) == 2
