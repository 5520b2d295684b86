"""One machine instruction that numba does not offer by name."""

from __future__ import annotations

from typing import Any

from numba.core import config, types
from numba.extending import intrinsic


def _lowest_bit_plain(bits: int) -> int:
    """Return the position of the lowest set bit of a positive number."""
    return (int(bits) & -int(bits)).bit_length() - 1


@intrinsic
def _lowest_bit_compiled(typing_context: Any, bits: Any) -> Any:
    """As `_lowest_bit_plain`, as the machine's count of trailing zeros."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, 0))

    return types.int64(types.int64), generate


lowest_bit: Any = _lowest_bit_plain if vars(config)["DISABLE_JIT"] else _lowest_bit_compiled
"""Position of the lowest set bit of a positive int64; works compiled and, with the compiler off, plain."""
