"""What a Dockerfile of docker/ says, and what docs/images.md promises, for tests to compare."""
from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


@dataclass
class ImageFile:
    """The last stage of a Dockerfile, and the arguments of all."""
    name: str
    args: set[str] = field(default_factory=set)
    env: dict[str, str] = field(default_factory=dict)
    ports: set[int] = field(default_factory=set)
    user: str = ""
    stop: str = ""
    health: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    #: names of the programs in /usr/local/bin
    programs: set[str] = field(default_factory=set)
    text: str = ""


def read(name: str) -> ImageFile:
    text = re.sub(r"\\\n", " ", (TOP / "docker" / name / "Dockerfile").read_text())
    image = ImageFile(name, text=text)
    image.args = set(re.findall(r"^ARG (\w+)", text, re.M))
    last = text[text.rindex("\nFROM "):]
    for line in last.splitlines():
        what, _, rest = line.partition(" ")
        if what == "ENV":
            image.env.update(re.findall(r"(\w+)=(\S*)", rest))
        elif what == "EXPOSE":
            image.ports |= {int(p) for p in rest.split()}
        elif what == "USER":
            image.user = rest
        elif what == "STOPSIGNAL":
            image.stop = rest
        elif what == "HEALTHCHECK":
            image.health = json.loads(rest[rest.index("["):])
        elif what == "CMD":
            image.command = json.loads(rest)
        elif what == "LABEL":
            image.labels |= set(re.findall(r'([\w.]+)="', rest))
        elif what == "COPY" and rest.rstrip().endswith("/usr/local/bin/"):
            image.programs |= {Path(p).name for p in rest.split()[:-1] if not p.startswith("--")}
    return image


def version() -> str:
    return re.search(r"^AC_INIT\(\[[^]]*\], \[([^]]*)\]", (TOP / "configure.ac").read_text(), re.M).group(1)


def documented() -> set[str]:
    """Variables that docs/images.md describes in a table."""
    found = set()
    for line in (TOP / "docs" / "images.md").read_text().splitlines():
        if line.startswith("| `"):
            found |= set(re.findall(r"`([A-Z][A-Z0-9_]+)`", line.split(" | ")[0]))
    return found


def sidecar_options() -> set[str]:
    """SIDECAR_… of every option that docs/sidecar.md describes."""
    text = (TOP / "docs" / "sidecar.md").read_text()
    return {"SIDECAR_" + o.upper().replace("-", "_") for o in re.findall(r"^\| `--([a-z-]+)`", text, re.M)}
