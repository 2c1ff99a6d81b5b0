"""What a check found, as programs read it: JSON, JUnit's XML for CI servers, Markdown for the page of a run."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence

import msgspec

from imgfs.checking.check import Result
from imgfs.digest import ImageID
from imgfs.errors import printable

_LISTED = 10  # details of a rule


class _Report(msgspec.Struct):
    image: str
    id: ImageID
    holds: bool
    rules: Sequence[Result]


def json_report(image: str, image_id: ImageID, results: Sequence[Result]) -> str:
    """One object: the image, whether all rules hold, and each of them."""
    report = _Report(printable(image), image_id, all(result.holds for result in results), results)
    return msgspec.json.format(msgspec.json.encode(report, enc_hook=str)).decode() + "\n"


def junit_report(image: str, image_id: ImageID, results: Sequence[Result]) -> str:
    """A test suite with a case for each rule, as JUnit writes it (github.com/testmoapp/junitxml)."""
    counts = {"tests": str(len(results)), "failures": str(failures(results)), "errors": "0", "skipped": "0"}
    suites = ET.Element("testsuites", counts)
    suite = ET.SubElement(suites, "testsuite", {"name": f"imgfs check {printable(image)}", **counts})
    properties = ET.SubElement(suite, "properties")
    ET.SubElement(properties, "property", {"name": "image", "value": str(image_id)})
    for result in results:
        name = f"{result.rule}: {result.limit}"
        case = ET.SubElement(suite, "testcase", {"classname": "imgfs.check", "name": name})
        if not result.holds:
            message = f"{result.rule}: {result.found}, where the rule is {result.limit}"
            ET.SubElement(case, "failure", {"type": result.rule, "message": message}).text = "\n".join(
                result.details
            )
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def markdown_report(image: str, image_id: ImageID, results: Sequence[Result]) -> str:
    """A heading, a table, and a list of what breaks the rules."""
    lines = [
        f"### imgfs check {_code(printable(image))}: {summary(results)}",
        "",
        "| | Rule | Limit | Found |",
        "| --- | --- | --- | --- |",
    ]
    for result in results:
        sign = ":white_check_mark:" if result.holds else ":x:"
        lines.append(f"| {sign} | {result.rule} | {_code(result.limit)} | {_code(result.found)} |")
    for result in results:
        if result.details:
            lines += ["", f"{result.rule} {_code(result.limit)}:", ""]
            lines += [f"- {_code(detail)}" for detail in shortened(result.details)]
    return "\n".join(lines) + "\n"


def failures(results: Sequence[Result]) -> int:
    """How many rules do not hold."""
    return sum(not result.holds for result in results)


def summary(results: Sequence[Result]) -> str:
    """What became of all rules."""
    failed, rules = failures(results), f"{len(results)} rule{'s' * (len(results) != 1)}"
    return f"{failed} of {rules} broken" if failed else f"{rules} checked, none broken"


def shortened(details: Sequence[str]) -> list[str]:
    """The first of some details, and how many there are besides."""
    more = [f"and {len(details) - _LISTED} more"] if len(details) > _LISTED else []
    return [*details[:_LISTED], *more]


def _code(text: str) -> str:
    """Text as it stands, in Markdown, also in a table: what is in it is escaped as in HTML."""
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("`", "&#96;")):
        text = text.replace(char, entity)
    return f"<code>{text}</code>"
