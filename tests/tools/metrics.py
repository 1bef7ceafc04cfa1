"""Reads an exposition, strictly enough to notice a broken one."""
from __future__ import annotations

import re
from dataclasses import dataclass, field

from . import http

_SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}


@dataclass
class Exposition:
    text: str
    types: dict[str, str] = field(default_factory=dict)
    samples: dict[tuple, float] = field(default_factory=dict)    # (name, frozenset of labels) -> value

    def get(self, name: str, **labels) -> float:
        """The value of one sample, labels given in full; KeyError when there is none."""
        return self.samples[name, frozenset(labels.items())]

    def sum(self, name: str, **labels) -> float:
        """The sum of all samples of this name that have these labels."""
        want = set(labels.items())
        return sum(v for (n, have), v in self.samples.items() if n == name and want <= have)

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(have) for n, have in self.samples if n == name]

    @property
    def names(self) -> set[str]:
        return {n for n, _ in self.samples}


def parse(text: str, openmetrics: bool = False) -> Exposition:
    """ValueError where the format is broken: a sample outside its family, twice the same one, …"""
    out, family, ended = Exposition(text), None, False
    assert text.endswith("\n"), "no newline at the end"
    for number, line in enumerate(text.splitlines(), 1):
        if ended:
            raise ValueError(f"line {number} after # EOF")
        if line == "# EOF" and openmetrics:
            ended = True
        elif line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            if family in out.types:
                raise ValueError(f"line {number}: {family} twice")
            out.types[family] = kind
        elif not line.startswith("# "):
            _sample(out, line, number, family, openmetrics)
    if openmetrics and not ended:
        raise ValueError("no # EOF")
    return out


def _sample(out: Exposition, line: str, number: int, family: str | None, openmetrics: bool) -> None:
    m = _SAMPLE.match(line)
    if not m:
        raise ValueError(f"line {number}: {line!r}")
    name, labels, value = m.groups()
    got = _LABEL.findall(labels or "")
    if labels and sum(len(k) + len(v) + 4 for k, v in got) - 1 != len(labels):
        raise ValueError(f"line {number}: labels {labels!r}")
    kind = out.types.get(family, "")
    allowed = [family] if not openmetrics and kind != "histogram" else []
    allowed += [family + s for s in _SUFFIXES.get(kind, ("",))]
    if name not in allowed:
        raise ValueError(f"line {number}: {name} within the family {family}")
    key = (name, frozenset(got))
    if key in out.samples:
        raise ValueError(f"line {number}: {line!r} a second time")
    out.samples[key] = float(value)


def scrape(httpd, path: str = "/metrics", openmetrics: bool = False) -> Exposition:
    accept = [("Accept", "application/openmetrics-text; version=1.0.0")] if openmetrics else []
    r = http.get(httpd, path, headers=accept)
    assert r.status == 200, r.text
    return parse(r.text, openmetrics)
