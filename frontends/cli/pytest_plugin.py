"""The pytest plugin of wsec: hold a model's numbers and costs in a test.

    def test_model(wsec_golden):
        wsec_golden("model.onnx", target="mini-64x64", tokens=16)

asserts that the compiled model agrees with onnxruntime and is no worse than its baseline, `model.golden.toml` beside
the test file. `pytest --wsec-update-golden "REASON"` writes baselines anew. pytest loads this file by itself where wsec
is installed; it imports the compiler only when a test asks for the fixture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from frontends.cli.golden.store import Result

PROPERTY = "wsec."  # JUnit properties of a test begin so
NOTE = "wsec_note"  # a line for the summary at the end
ADVICE = 'to accept the new numbers: pytest --wsec-update-golden "REASON"'


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("wsec")
    group.addoption(
        "--wsec-update-golden",
        metavar="REASON",
        help="accept what models come to now as their baselines, for the reason given; the reason is kept in the file",
    )
    group.addoption(
        "--wsec-markdown",
        type=Path,
        metavar="FILE",
        help="append a table of every model's numbers, as for the summary page of a CI service",
    )


@dataclasses.dataclass(frozen=True)
class Golden:
    """What the fixture `wsec_golden` is. `folder`: of the test file; `reason`: of the update that was asked for;
    `summary`: where tables go."""

    folder: Path
    reason: str | None
    summary: Path | None
    properties: list[tuple[str, object]]

    def __call__(
        self,
        model: str | Path,
        *,
        baseline: str | Path | None = None,
        threads: int = 2,
        **settings: Any,
    ) -> Mapping[str, float]:
        """Assert that `model` agrees with onnxruntime and with its baseline; the measured numbers by name.

        model, baseline: paths from the test file's folder; the baseline is `<model's stem>.golden.toml` unless given.
        settings: what is executed (`tokens`, `batch`, `seed`; `cycle_tokens`: that many tokens on the cycle machine
        too, 0 by default; `layers`: hold the error of every kernel too, False by default) and the compiler's options
        (`target`, `precision`, `max_seq`, ...; files are paths from the test file's folder too, and must lie with the
        baseline). What is given must be what the baseline was measured with, unless it is updated.
        """
        __tracebackhide__ = True
        from frontends.cli.files import append_text
        from frontends.cli.golden import render, store
        from runtime.errors import WsecError

        path = self.folder / (baseline or store.baseline_path(Path(model), self.folder))
        wrong = ""
        try:
            result = self._result(self.folder / model, path, settings, threads)
        except WsecError as error:
            wrong = f"{error}\n{ADVICE}" if error.code == "no-baseline" else str(error)
        if self.summary is not None:
            told = render.markdown([], [(str(model), wrong)]) if wrong else render.markdown([result])
            append_text(self.summary, f"{told}\n")
        if wrong:  # not where it is caught: pytest would show both
            pytest.fail(wrong, pytrace=False)
        self._note(result)
        if not result.written and not result.comparison.passed:
            pytest.fail(f"{render.text(result, advice=False)}\n{ADVICE}", pytrace=False)
        return {str(metric): value for metric, value in result.measured.values.items()}

    def _result(self, model: Path, path: Path, settings: Mapping[str, Any], threads: int) -> Result:
        from frontends.cli.golden import store
        from frontends.cli.golden.options import is_file

        run, options = store.split(settings)
        options = {name: str(self.folder / v) if is_file(name, v) else v for name, v in options.items()}
        if self.reason is not None:
            return store.update(model, path, self.reason, options=options, run=run, threads=threads)
        return store.check(model, path, options=options, run=run, threads=threads)

    def _note(self, result: Result) -> None:
        """Numbers for JUnit files and for the summary at the end."""
        name = result.path.name.removesuffix(".golden.toml")
        self.properties.extend(
            (f"{PROPERTY}{name}.{metric}", value) for metric, value in result.measured.values.items()
        )
        if result.written:
            return
        if result.baseline.model_sha256 != result.measured.model_sha256:
            self.properties.append((NOTE, f"{name}: the model is not the one that was recorded"))
        better = [f"{name} {row.metric} {row.old:g} -> {row.new:g}, better" for row in result.comparison.improved]
        self.properties.extend((NOTE, line) for line in better)


@pytest.fixture
def wsec_golden(request: pytest.FixtureRequest) -> Golden:
    """`wsec_golden("model.onnx", target=..., tokens=...)` holds a model against onnxruntime and its baseline."""
    config = request.config
    summary = config.getoption("--wsec-markdown")
    return Golden(
        folder=request.path.parent,
        reason=config.getoption("--wsec-update-golden"),
        summary=summary and config.invocation_params.dir / summary,
        properties=request.node.user_properties,
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Better results pass, and are told: a baseline that is not tightened does not hold them. So are other models."""
    passed = terminalreporter.getreports("passed")
    lines = [line for report in passed for name, line in report.user_properties if name == NOTE]
    if lines:
        terminalreporter.section("wsec: baselines that could be updated")
        for line in lines:
            terminalreporter.line(str(line))
        terminalreporter.line(ADVICE)
