"""A walk over every system call (test_sidecar_syscalls.py) that goes on where it was left: the file of its cases.

`python3 tests/tools/faultwalk.py FILE...` prints docs/testing.md's table of them.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

#: What makes two cases the same.
KEY = ("phase", "side", "kind", "n", "action", "error")
KINDS = ("write", "sync", "name", "net", "lock", "read")
ROWS = {"kill": "killed", "fail": "fails", "short": "half done"}


class Cases:
    """Those of a file, a JSON object a line. Processes may add to it side by side: a line is one write at its end."""

    def __init__(self, path: str | Path):
        self.path, self.seen = Path(path), {}
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            case = json.loads(line)
            self.seen[tuple(case[k] for k in KEY)] = case

    def hit(self, *key) -> str | None:
        """The call that met the fault, "" when there were not so many; None when there was no such case yet."""
        case = self.seen.get(key)
        return None if case is None else case["hit"]

    def add(self, case: dict) -> None:
        self.seen[tuple(case[k] for k in KEY)] = case
        with open(self.path, "a") as f:
            f.write(json.dumps(case) + "\n")


def table(paths) -> str:
    """Faults that met a call, by kind; each number counts once. A dash: the kind was gone through, and there is no such
    call; nothing: it was not gone through."""
    seen = {key: case for p in paths for key, case in Cases(p).seen.items()}
    out = ["| | " + " | ".join(KINDS) + " | all |", "|" + "---|" * (len(KINDS) + 2)]
    for phase in ("cut-over", "copy"):
        for action, word in ROWS.items():
            for side in ("old", "new"):
                row = [[bool(c["hit"]) for c in seen.values() if (c["phase"], c["side"], c["kind"], c["action"])
                        == (phase, side, kind, action)] for kind in KINDS]
                cells = [str(sum(hits) or "–") if hits else "" for hits in row]
                out.append(f"| {phase}, {side} side, {word} | {' | '.join(cells)} | {sum(map(sum, row))} |")
    return "\n".join(out)


if __name__ == "__main__":
    print(table(sys.argv[1:]))
