"""Reports, as the programs that they are for read them."""

import json
import xml.etree.ElementTree as ET

from imgfs.checking import Result
from imgfs.checking.reports import json_report, junit_report, markdown_report, shortened
from imgfs.digest import ImageID

IMAGE = ImageID("sha256:" + "5" * 64)
RESULTS = [
    Result("lowest-efficiency", "at least 90.0%", "95.0%", True),
    Result("must-not-exist", "/<a>|`b`&", "12 paths", False, [f"/<a>|`b`&/{number}" for number in range(12)]),
]


def test_json() -> None:
    report = json.loads(json_report("app:1", IMAGE, RESULTS))
    assert (report["image"], report["id"], report["holds"]) == ("app:1", IMAGE, False)
    good, bad = report["rules"]
    assert good == {
        "rule": "lowest-efficiency",
        "limit": "at least 90.0%",
        "found": "95.0%",
        "holds": True,
        "details": [],
    }
    assert len(bad["details"]) == 12


def test_junit() -> None:
    suites = ET.fromstring(junit_report("app:1\x1b[31m", IMAGE, RESULTS))
    (suite,) = suites
    assert suites.tag == "testsuites"
    assert suite.attrib == {
        "name": "imgfs check app:1\\x1b[31m",
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
    }
    good, bad = suite.findall("testcase")
    assert good.attrib == {"classname": "imgfs.check", "name": "lowest-efficiency: at least 90.0%"}
    assert list(good) == []
    (failure,) = bad
    assert failure.attrib["message"] == "must-not-exist: 12 paths, where the rule is /<a>|`b`&"
    assert (failure.text or "").splitlines()[0] == "/<a>|`b`&/0"


def test_markdown() -> None:
    lines = markdown_report("app:1", IMAGE, RESULTS).splitlines()
    assert lines[0] == "### imgfs check <code>app:1</code>: 1 of 2 rules broken"
    rows = [line for line in lines if line.startswith("| :")]
    assert rows[0].startswith("| :white_check_mark: | lowest-efficiency | ")
    assert rows[1].count("|") == 5, "none in a cell"
    assert lines[-1] == "- <code>and 2 more</code>"
    assert markdown_report("a", IMAGE, RESULTS[:1]).splitlines()[0].endswith("1 rule checked, none broken")


def test_few_details_are_all_there() -> None:
    assert shortened(["a"] * 10) == ["a"] * 10
