"""wsec: from a transformer in ONNX to a wafer-scale engine, and its program executed core by core.

    image = wsec.compile("model.onnx", "model.wse", target="cs2", max_seq=128)
    session = wsec.load(image)
    logits = session.run(input_ids=[[15496, 11, 995]])["logits"]
    more = session.append(input_ids=[[290]])["logits"]
    assert wsec.check("model.onnx", image, tokens=16).passed

What stands here is what users may rely on; everything else may change. Imports happen inside, so that
`wsec --help` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import WsecError

if TYPE_CHECKING:
    from frontends.hf.export import ExportReport
    from runtime.check import CheckReport
    from runtime.image import Image
    from runtime.references import Keep
    from runtime.session import Session
    from runtime.validate import Report

__all__ = ["WsecError", "check", "compile", "export", "load", "main", "validate"]


def export(model: str, output: str | Path, **options: Any) -> ExportReport:
    """Write a Hugging Face GPT as ONNX. `model`: a preset, a checkpoint folder or a hub name.

    Options: `seed`, `layers`, `width`, `heads`, `vocab`, `ctx`, `precision`, `exporter`, `weights`, `validate`; see
    `frontends.hf.export.export`. Raises InputError, and NumericsError if the file disagrees with torch.
    """
    from frontends.hf import export as exporter

    return exporter.export(model, Path(output), **options)


def compile(
    model: str | Path, output: str | Path | None = None, *, store_weights: Keep = "auto", **options: Any
) -> Image:
    """The legal image of an ONNX model, or of a `.wir` module; written to `output` (`.wse`) if given.

    `store_weights`: `copy` large weights into the file, `reference` the model's data file, which must lie in the folder
    of `output`, or `auto`: refer to it from 1 GiB on, where that is possible. Other options are the fields of
    `compiler.driver.Options`: `target`, `precision`, `max_seq`, `slots`, `fold`, `max_cores`, `optimize`, `seed`,
    `deterministic_limit`, `time_limit`, `margin`, and the files `defects`, `fix_placement`, `constraints` (with
    `allow_unused_overrides`). Raises InputError, InfeasibleError, LimitError, and IllegalImageError for an image the
    validator refuses.
    """
    from compiler.driver import Options
    from frontends.cli.toolchain import compile_model
    from runtime.imagefile import write_image

    image = compile_model(Path(model), Options(**options))
    if output is not None:
        write_image(image, output, store_weights)
    return image


def load(image: str | Path | Image, threads: int = 2, engine: str = "functional") -> Session:
    """A session that runs an image: `run(name=array, ...)` and `append(...)` give arrays by graph output name.

    With `engine="cycle"` the same bits take cycles, and `session.timing` tells where they went. Raises InputError,
    IllegalImageError, and MachineFault or DeadlockError while it runs.
    """
    from runtime import session

    return session.load(image, threads, engine)


def validate(image: str | Path | Image) -> Report:
    """The violations the independent validator finds in an image (`report.ok` if none), and facts about it."""
    from runtime import validate as validator
    from runtime.image import Image
    from runtime.imagefile import read_image

    return validator.validate(image if isinstance(image, Image) else read_image(image))


def check(
    model: str | Path,
    image: str | Path | Image | None = None,
    *,
    tokens: int = 32,
    batch: int = 1,
    seed: int = 0,
    threads: int = 2,
    layers: bool = False,
    level: str = "all",
    mode: str = "both",
    **options: Any,
) -> CheckReport:
    """Machine against onnxruntime on the same random inputs; compiles with `options` if no image is given.

    With `layers`, `report.layers` has a row for every value inside the model, at `level` graph, placed, executed or
    all, its error accumulated, isolated or both (`mode`): see `runtime.check.Layer`.
    Raises what `compile` and running raise; numbers outside the tolerance are told by `report.passed`.
    """
    from compiler.driver import Options
    from frontends.cli.toolchain import Inside, check_model
    from runtime.image import Image
    from runtime.imagefile import read_image

    loaded = image if image is None or isinstance(image, Image) else read_image(image)
    return check_model(
        Path(model), loaded, options=Options(**options), tokens=tokens, batch=batch, seed=seed, threads=threads,
        inside=Inside(level, mode) if layers else None,
    )  # fmt: skip


def main() -> int:
    """The command line, `wsec`."""
    from frontends.cli.main import main as run

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
