"""The stream protocol: every token on every lane is one header word followed by the lane's block of elements."""

from __future__ import annotations

from dataclasses import dataclass

# Header: command in bits 28..30, slot in bits 20..27, position in bits 0..19.
POSITION_BITS = 20
SLOT_BITS = 8
COMMAND_SHIFT = POSITION_BITS + SLOT_BITS
TOKEN = 0  # the only command so far: a token of sequence `slot` at `position`
MAX_POSITIONS = 1 << POSITION_BITS
MAX_SLOTS = 1 << SLOT_BITS


def header(slot: int, position: int, command: int = TOKEN) -> int:
    """The header word. Raises ValueError if a field does not fit."""
    if not (0 <= slot < MAX_SLOTS and 0 <= position < MAX_POSITIONS and 0 <= command < 8):
        raise ValueError(f"header out of range: slot {slot}, position {position}, command {command}")
    return command << COMMAND_SHIFT | slot << POSITION_BITS | position


@dataclass(frozen=True)
class Blocks:
    """How `features` elements lie on lanes: lane l has [l*block, min((l+1)*block, features)), all lanes non-empty."""

    features: int
    block: int

    @staticmethod
    def over(features: int, lanes: int) -> Blocks:
        """Blocks for at most `lanes` lanes."""
        return Blocks(features, -(-features // lanes))

    @property
    def lanes(self) -> int:
        return -(-self.features // self.block)

    def start(self, lane: int) -> int:
        return lane * self.block

    def size(self, lane: int) -> int:
        """Elements on a lane."""
        return min(self.block, self.features - lane * self.block)
