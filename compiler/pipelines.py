"""The whole lowering, as data: phases in order, each a pipeline. Here one sees what runs, and changes it.

A phase is where one may stop (`--compile-to`) and resume: the module's `phase` attribute says which was last finished.
`import` is the front end's, `image` the packaging of the last module.
"""

from __future__ import annotations

import compiler.passes.codegen
import compiler.passes.common_subexpressions
import compiler.passes.dead_code
import compiler.passes.fold
import compiler.passes.fold_constants
import compiler.passes.fuse_attention
import compiler.passes.fuse_gelu
import compiler.passes.fuse_layer_norm
import compiler.passes.fuse_softmax
import compiler.passes.insert_forks
import compiler.passes.lower_to_flow
import compiler.passes.place
import compiler.passes.predict
import compiler.passes.recover_positions
import compiler.passes.route
import compiler.passes.simplify
import compiler.passes.sink_reshapes
import compiler.passes.size  # noqa: F401 - importing a pass registers it

# `{...}` holds the driver's options for the pass; see compiler.driver.
PHASES: dict[str, str] = {
    # Exporter habits away: constants, casts, reshapes around linear layers.
    "canonical": "fold-constants,simplify,sink-reshapes,simplify,common-subexpressions,dead-code",
    # Decomposed forms back to single ops. Softmax first: attention looks for it.
    "fuse": (
        "fuse-layer-norm,fuse-gelu,fuse-softmax,fuse-attention,"
        # Fusing leaves reshapes next to each other, and constants nobody reads.
        "simplify,sink-reshapes,simplify,recover-positions,common-subexpressions,dead-code"
    ),
    "flow": "lower-to-flow,insert-forks,fold",
    "size": "size",
    "place": "place",
    "route": "route,predict",
    "core": "codegen,dead-code",
}
PHASE_NAMES = ("import", *PHASES)


def after(phase: str) -> list[str]:
    """The phases that follow `phase`, in order. Raises KeyError for an unknown one."""
    names = list(PHASE_NAMES)
    if phase not in names:
        raise KeyError(phase)
    return names[names.index(phase) + 1 :]
