"""`fabric`: which wires. One `fabric.channel` for every lane of every stream: its colour and its tree.

The tree is text: branches separated by `;`, each `x,y` (a router already in the tree; the first: the source) followed
by runs of hops. `E5` moves five routers east; `E5*` does so and gives the word to the core at every router it enters.
A branch that only stands at its router gives the word to the core there (`12,7 *`). A first word `x,y<W` enters from
the host at that side, a last `>W` leaves to the host. `compiler.route.tree` converts it to router entries and back.
"""

from __future__ import annotations

from compiler.ir.defs import Attribute, define

channel_def = define(
    "fabric.channel",
    "one lane of a stream on the wafer: `words` per token on one colour along one tree",
    attrs={
        "source": Attribute(str, doc="kernel.port of the sender"),
        "sinks": Attribute(tuple, doc="kernel.port of every receiver"),
        "lane": Attribute(int),
        "colour": Attribute(int),
        "words": Attribute(int),
        "tree": Attribute(str),
    },
)
