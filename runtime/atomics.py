"""Loads and stores that order memory between threads, for compiled code on any processor.

`store_release` makes everything its thread wrote or read before it happen before whatever follows a `load_acquire` in
another thread that sees the stored value.
"""

from __future__ import annotations

import platform
import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# LLVM's name for it, and what it is given.
_PAUSES: dict[str, tuple[str, tuple[int, ...]]] = {
    "x86_64": ("llvm.x86.sse2.pause", ()),
    "amd64": ("llvm.x86.sse2.pause", ()),
    "aarch64": ("llvm.aarch64.hint", (1,)),
    "arm64": ("llvm.aarch64.hint", (1,)),
}
_BYTES = 8  # of an item; arrays are aligned to at least that

# Lets another thread have the processor, if one waits for it.
give_way = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())


def _item(context: Any, builder: Any, array_type: Any, array: Any, row: Any, column: Any) -> Any:
    view = context.make_array(array_type)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, array_type, view, [row, column], wraparound=False)


@intrinsic  # type: ignore[untyped-decorator]
def load_acquire(typingctx: Any, array: Any, row: Any, column: Any) -> Any:
    """array[row, column] of an i64 array."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_item(context, builder, array, *args), "acquire", _BYTES)

    return types.int64(array, types.intp, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def store_release(typingctx: Any, array: Any, row: Any, column: Any, value: Any) -> Any:
    """array[row, column] = value, in an i64 array."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[3], _item(context, builder, array, *args[:3]), "release", _BYTES)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def pause(typingctx: Any) -> Any:
    """Tells the processor that this thread only waits, so that another on the same core may have its units."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name, values = _PAUSES.get(platform.machine().lower(), ("", ()))
        if name:
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(32)] * len(values))
            hint = cgutils.get_or_insert_function(builder.module, kind, name)
            builder.call(hint, [ir.Constant(ir.IntType(32), value) for value in values])
        return context.get_dummy_value()

    return types.void(), codegen
