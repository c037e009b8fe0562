"""Comparisons as JUnit XML: a suite per model, a test case per number."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as xml

from frontends.cli.golden.compare import Row
from frontends.cli.golden.policy import rule_of
from frontends.cli.golden.render import allowed, number
from frontends.cli.golden.store import Result
from runtime.text import safe


def junit(results: Iterable[Result], errors: Iterable[tuple[str, str]] = ()) -> str:
    """errors: model and message of models that could not be compared at all."""
    root = xml.Element("testsuites", name="wsec golden")
    for result in results:
        rows = result.comparison.rows
        suite = _suite(root, str(result.model), len(rows), failures=sum(row.failed for row in rows))
        for row in rows:
            _case(suite, row)
        if result.comparison.notes:
            xml.SubElement(suite, "system-out").text = "\n".join(map(safe, result.comparison.notes))
    for model, message in errors:
        case = xml.SubElement(_suite(root, model, 1, errors=1), "testcase", classname=safe(model), name="golden")
        xml.SubElement(case, "error", message=safe(message))
    xml.indent(root, " ")
    return xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: xml.Element, model: str, tests: int, *, failures: int = 0, errors: int = 0) -> xml.Element:
    counts = {"tests": str(tests), "failures": str(failures), "errors": str(errors), "skipped": "0"}
    return xml.SubElement(root, "testsuite", {"name": safe(model), **counts})


def _case(suite: xml.Element, row: Row) -> None:
    case = xml.SubElement(suite, "testcase", classname=suite.get("name", ""), name=safe(row.metric), time="0")
    said = f"{number(row.new)}, recorded {number(row.old)}, {allowed(row) or 'nothing'} allowed"
    if row.failed:
        message = f"{row.verdict}: {rule_of(row.metric).text}: {said}"
        xml.SubElement(case, "failure", message=message, type=row.verdict.lower()).text = message
    else:
        xml.SubElement(case, "system-out").text = f"{row.verdict}: {said}"
