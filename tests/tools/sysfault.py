"""A countdown over the system calls of a sidecar (sysfault.c), which a test sets and reads while the sidecar runs."""
from __future__ import annotations

import errno
import mmap
import os
import struct
import subprocess
from pathlib import Path

from . import paths, sanitize

#: Of sysfault.c, in its order.
KINDS = ("write", "sync", "name", "net", "lock", "read")
ACTIONS = {"kill": 1, "fail": 2, "short": 3, "stall": 4}
_LEFT, _HIT, _WHAT, _SEEN, SIZE = 16, 24, 32, 128, 128 + 8 * len(KINDS)


def library(tmp) -> Path:
    so = Path(tmp) / "sysfault.so"
    if not so.exists():
        subprocess.run([paths.require("cc"), "-shared", "-fPIC", "-O1", "-w", "-o", so, Path(__file__).with_suffix(".c")],
                       check=True)
        os.chmod(so, 0o755)
    return so


class Countdown:
    """env goes into the environment of the one program that is meant; nothing is armed at first."""

    def __init__(self, tmp, name: str):
        file = Path(tmp) / f"sysfault-{name}"
        file.write_bytes(bytes(SIZE))
        os.chmod(file, 0o666)
        with open(file, "r+b") as f:
            self._map = mmap.mmap(f.fileno(), SIZE)
        so = library(tmp)
        self.env = {"LD_PRELOAD": f"{sanitize.runtime()} {so}" if paths.SANITIZE else str(so), "SYSFAULT_FILE": str(file),
                    "SYSFAULT_ARGUMENT": "serve"}

    def arm(self, kind: str, n: int, action: str, error: str = "EIO") -> None:
        """From now on: the nth call of that kind ("all": of any)."""
        mask = (1 << len(KINDS)) - 1 if kind == "all" else 1 << KINDS.index(kind)
        self._map[:SIZE] = bytes(SIZE)
        struct.pack_into("<IIIq", self._map, 4, mask, ACTIONS[action], getattr(errno, error), n)
        struct.pack_into("<I", self._map, 0, 1)

    def disarm(self) -> None:
        struct.pack_into("<I", self._map, 0, 0)

    @property
    def hit(self) -> str:
        """The call and its file, when it was made; "" before."""
        if not struct.unpack_from("<I", self._map, _HIT)[0]:
            return ""
        return self._map[_WHAT:_SEEN].split(b"\0")[0].decode(errors="replace")

    @property
    def seen(self) -> dict[str, int]:
        """Calls of each kind since it was armed."""
        return dict(zip(KINDS, struct.unpack_from(f"<{len(KINDS)}Q", self._map, _SEEN)))
