#!/usr/bin/python3
"""Who may include whom.

lib is C11 and libc; the products build on lib and never on each other; the
rooms of a product form a house in which arrows point down; each library that is
not everybody's is known to one file; headers form no cycle.
"""
import os
import re
import sys

from guardlib import C_FOLDERS, Guard, includes, strip_comments

C11 = {f"{name}.h" for name in (
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg "
    "stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype"
).split()}

#: header -> the files that may include it
OWNED = {
    "fcgiapp.h": set(),
    "fcgi_stdio.h": set(),
    "fcgios.h": set(),
    "fastcgi.h": set(),
    "sqlite3.h": {"fcgi-sidecar/database/sc_sqlite.h"},
    "microhttpd.h": {"fcgi-sidecar/observe/sc_http.c"},
    "curl.h": {"fcgi-sidecar/authority/sc_authority_lease.c"},
}
#: room -> the rooms it may include; one a line, from the ground up: a room knows only rooms that stand above it
#: in this table, so the house has no cycle. What a room is for: docs/architecture.md.
ROOMS = {
    "lib": [],
    "mod_demo/shm": [],
    "mod_demo/backend": ["shm"],
    "mod_demo/pool": ["shm", "backend"],
    "mod_demo/background": ["lib", "shm", "backend"],
    "mod_demo/config": ["shm", "backend", "pool"],
    "mod_demo/exchange": ["lib", "shm", "backend", "pool", "config"],
    "mod_demo/response": ["lib", "shm", "exchange"],
    "mod_demo/request": ["lib", "shm", "backend", "pool", "config", "exchange", "response"],
    "mod_demo/observe": ["lib", "shm", "backend", "pool", "background", "config"],
    "mod_demo": ["shm", "backend", "pool", "background", "config", "exchange", "response", "request", "observe"],
    "fcgi-sidecar/base": [],
    "fcgi-sidecar/relay": ["lib"],
    "fcgi-sidecar/authority": ["base"],
    "fcgi-sidecar/database": ["base"],
    "fcgi-sidecar/control": ["base", "lib"],
    "fcgi-sidecar/node": ["base", "relay", "authority", "database", "control"],
    "fcgi-sidecar/handoff": ["base", "relay", "authority", "database", "control", "node"],
    "fcgi-sidecar/observe": ["base", "relay", "authority", "database", "control", "node", "handoff", "lib"],
    "fcgi-sidecar/commands": ["base", "relay", "authority", "database", "control", "node", "handoff", "observe"],
    "fcgi-sidecar": ["base", "commands"],
}
#: room -> the only headers of it that other rooms may include
DOORS = {
    "fcgi-sidecar/relay": {"sc_relay.h"},
    "fcgi-sidecar/database": {"sc_check.h", "sc_db.h", "sc_db_fence.h", "sc_db_file.h", "sc_have.h", "sc_owner.h", "sc_pages.h",
                              "sc_resume.h", "sc_wal.h"},
}
HTTPD = re.compile(r"(httpd|http_\w+|ap_\w+|util_\w+|mpm_common|scoreboard|mod_\w+)\.h$")
OTHER_PRODUCT = {"mod_demo": "fcgi-sidecar", "fcgi-sidecar": "mod_demo"}


def resolve(guard: Guard, path: str, name: str) -> str | None:
    """The file of the tree that an include with quotes names."""
    for base in (os.path.dirname(path), ""):
        candidate = os.path.normpath(os.path.join(base, name))
        if (guard.root / candidate).is_file():
            return candidate
    return None


def check_include(guard: Guard, path: str, line: int, kind: str, name: str) -> str | None:
    folder, leaf = path.split("/")[0], os.path.basename(name)
    target = resolve(guard, path, name) if kind == '"' else None
    where = f"{path}:{line}: "

    if name.endswith(".c"):
        guard.error(f"{where}includes {name}: .c files meet only through headers")
    if leaf in OWNED and path not in OWNED[leaf]:
        owners = ", ".join(sorted(OWNED[leaf])) or "no file"
        guard.error(f"{where}includes {leaf}, which {owners} may")
    if folder == "lib":
        if target is not None and not target.startswith("lib/"):
            guard.error(f"{where}lib includes {target}")
        elif target is None and name not in C11 and name != "config.h":
            guard.error(f"{where}lib includes {name}, which is not C11's")
    elif target is not None and target.startswith(OTHER_PRODUCT[folder] + "/"):
        guard.error(f"{where}{folder} includes {target} of the other product")
    elif target is None and folder == "fcgi-sidecar" and HTTPD.match(leaf):
        guard.error(f"{where}the sidecar includes httpd's {name}")
    if target is not None:
        check_room(guard, path, line, target)
    return target


def check_room(guard: Guard, path: str, line: int, target: str) -> None:
    """An include from one room into another."""
    source, room = os.path.dirname(path), os.path.dirname(target)
    if room == source or source not in ROOMS:
        return
    product = source.split("/")[0]
    allowed = {name if name == "lib" else f"{product}/{name}" for name in ROOMS[source]}
    if room.split("/")[0] in (product, "lib") and room not in allowed:
        guard.error(f"{path}:{line}: room {source} includes {target}: it may include {', '.join(ROOMS[source])}")
    elif os.path.basename(target) not in DOORS.get(room, {os.path.basename(target)}):
        guard.error(f"{path}:{line}: includes {target}, which is for its room alone: "
                    f"the door is {', '.join(sorted(DOORS[room]))}")


def check_house(guard: Guard, paths: list[str]) -> None:
    """Every file is in a room of the table, and the table points one way."""
    for path in paths:
        if os.path.dirname(path) not in ROOMS:
            guard.error(f"{path}: {os.path.dirname(path)} is no room of tests/guard/layers.py")
    above: set[str] = set()
    for room, allowed in ROOMS.items():
        product = room.split("/")[0]
        for name in allowed:
            if (name if name == "lib" else f"{product}/{name}") not in above:
                guard.error(f"tests/guard/layers.py: {room} may include {name}, which does not stand above it")
        above.add(room)


def check_umbrella(guard: Guard, path: str, text: str, count: int) -> None:
    """A header that is nothing but includes hides who needs what."""
    rest = [line for line in strip_comments(text).split("\n")
            if line.strip() and not line.lstrip().startswith("#")]
    if path.endswith(".h") and count >= 2 and not rest:
        guard.error(f"{path}: is an umbrella header: include what is used where it is used")


def check_cycles(guard: Guard, graph: dict[str, list[str]]) -> None:
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> None:
        if node in trail:
            guard.error("headers include each other: " + " -> ".join(trail[trail.index(node):] + [node]))
        elif node not in done:
            for target in graph.get(node, []):
                visit(target, trail + [node])
            done.add(node)

    for header in sorted(graph):
        visit(header, [])


def main() -> int:
    guard = Guard("layers")
    graph: dict[str, list[str]] = {}
    paths = guard.sources(*C_FOLDERS)
    check_house(guard, paths)
    for path in paths:
        text = guard.read(path) or ""
        found = includes(text)
        targets = [check_include(guard, path, *inc) for inc in found]
        check_umbrella(guard, path, text, len(found))
        if path.endswith(".h"):
            graph[path] = [t for t in targets if t is not None]
    check_cycles(guard, graph)
    return guard.done()


if __name__ == "__main__":
    sys.exit(main())
