"""Wait for conditions, not for clocks."""
from __future__ import annotations

import time
from typing import Any, Callable

#: Factor on every time limit: tests name what an idle machine needs, and a starved one may take longer. A limit that is
#: not reached costs nothing.
FACTOR = 4.0


def until(cond: Callable[[], Any], timeout: float = 10.0, what: str = "", every: float = 0.02) -> Any:
    """Call cond until its result is true and return that; AssertionError after timeout seconds."""
    end = time.monotonic() + timeout * FACTOR
    while True:
        got = cond()
        if got:
            return got
        if time.monotonic() >= end:
            label = what or getattr(cond, "__name__", "the condition")
            raise AssertionError(f"waited {timeout * FACTOR:g} s in vain for {label} (last: {got!r})")
        time.sleep(every)
