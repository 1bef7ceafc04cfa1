"""Wait for conditions, not for clocks."""
from __future__ import annotations

import time
from typing import Any, Callable

#: Factor on every time limit; a sanitizer or a loaded machine wants more than 1.
FACTOR = 1.0


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
