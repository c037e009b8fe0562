"""What a user demands of a placement, by kernel index: fixed places, regions, rectangles to keep out of.

`compiler.place.demands` reads the files and finds out which kernels they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from compiler.floorplan import Footprint, Placed
from runtime import defects
from runtime.defects import Rect
from runtime.errors import InputError
from runtime.target import Target


@dataclass(frozen=True)
class Constraints:
    """`fixed[i]`: where kernel i stands; `regions[i]`: the rectangle it stays inside; no kernel covers `keep_out`.

    `where[i]` tells where the user said so, for messages.
    """

    fixed: Mapping[int, Placed] = field(default_factory=dict)
    regions: Mapping[int, Rect] = field(default_factory=dict)
    keep_out: tuple[Rect, ...] = ()
    where: Mapping[int, str] = field(default_factory=dict)


NONE = Constraints()


def obstacles(constraints: Constraints, kernels: Sequence[Footprint], target: Target) -> tuple[Rect, ...]:
    """What no kernel that moves may cover: dead cores, keep-outs and fixed kernels. They may overlap one another."""
    fixed = (place.box(kernels[index]) for index, place in constraints.fixed.items())
    return (*target.defects, *constraints.keep_out, *fixed)


def grown(obstacles: Sequence[Rect], margin: int, window: Rect) -> list[Rect]:
    """Disjoint rectangles over what lies less than `margin` west or north of an obstacle's far side, in a window.

    A rectangle that is widened by `margin` to the east and south keeps its distance from all obstacles exactly if it is
    clear of these.
    """
    x0, y0, columns, rows = window
    near = [(x - x0, y - y0, w + margin, h + margin) for x, y, w, h in obstacles]
    clipped = [_clip(box, (0, 0, columns + margin, rows + margin)) for box in near]
    whole = defects.normal_form([box for box in clipped if box], (columns + margin, rows + margin))
    return [(x + x0, y + y0, w, h) for x, y, w, h in whole]


def _clip(box: Rect, window: Rect) -> Rect | None:
    west, north = max(box[0], window[0]), max(box[1], window[1])
    east, south = min(box[0] + box[2], window[0] + window[2]), min(box[1] + box[3], window[1] + window[3])
    return (west, north, east - west, south - north) if west < east and north < south else None


def common(a: Rect, b: Rect) -> Rect:
    """The rectangle two rectangles share; without columns or rows if they share none."""
    return _clip(a, b) or (a[0], a[1], 0, 0)


def check_fixed(constraints: Constraints, kernels: Sequence[Footprint], target: Target) -> None:
    """Raise InputError if fixed kernels cannot all stand where they are fixed, whatever the others do."""
    boxes: dict[int, Rect] = {}
    for index, place in constraints.fixed.items():
        box = place.box(kernels[index])
        reason = _misplaced(kernels[index], place, box, constraints.regions.get(index), target)
        others = [
            *((f"it covers the dead core ({o[0]},{o[1]})", o) for o in target.defects),
            *((f"it covers the keep-out {o}", o) for o in constraints.keep_out),
            *((f"it overlaps {kernels[i].name}", o) for i, o in boxes.items()),
        ]
        reason = reason or next((text for text, other in others if _meet(box, other)), "")
        if reason:
            x, y, columns, rows = box
            message = f"{kernels[index].name}, {columns} x {rows} cores, cannot stand at ({x},{y}): {reason}"
            raise InputError(message, code="bad-placement", where=constraints.where.get(index, ""))
        boxes[index] = box


def _misplaced(kernel: Footprint, place: Placed, box: Rect, region: Rect | None, target: Target) -> str:
    if common(box, target.usable) != box:
        x, y, columns, rows = target.usable
        return f"it leaves the usable rectangle, {columns} x {rows} at ({x},{y})"
    if kernel.edge and (place.x != target.usable[0] or place.orientation.code):
        return f"a host port stands, unturned, in the west-most column {target.usable[0]}"
    if region is not None and common(box, region) != box:
        return f"it leaves its region {region}"
    return ""


def _meet(a: Rect, b: Rect) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
