#!/usr/bin/python3
"""Directives, options, metrics and messages: in the code and in docs/, both ways.

A side that does not exist at all is left out with a note.
"""
import os
import re
import subprocess
import sys

from guardlib import Guard, defined_terms, strings, strip_comments

METRIC = r"\b(?:demo|sidecar|apache|phpfpm)_[a-z0-9_]+"


def compare(guard: Guard, what: str, code: set[str], page: str, documented: set[str] | None) -> None:
    if documented is None or not code:
        guard.note(f"{what}: not compared, {page if documented is None else 'its source'} does not exist yet")
        return
    for name in sorted(code - documented):
        guard.error(f"{what} {name} is not described in {page}")
    for name in sorted(documented - code):
        guard.error(f"{what} {name} is described in {page} but not in the code")


def page_terms(guard: Guard, page: str, term: str) -> set[str] | None:
    text = guard.read(page)
    return None if text is None else defined_terms(text, term)


def directives(guard: Guard) -> None:
    code = set()
    for path in guard.sources("mod_demo"):
        code.update(re.findall(r'AP_INIT_\w+\s*\(\s*"(Demo\w+)"', strip_comments(guard.read(path) or "")))
    compare(guard, "directive", code, "docs/directives.md",
            page_terms(guard, "docs/directives.md", r"\bDemo[A-Z]\w+"))


def option_rows(guard: Guard) -> set[str]:
    """The names in the sidecar's table, one X(kind, member, "name", …) a row."""
    text = guard.read("fcgi-sidecar/base/sc_options.def")
    if text is None:
        return set()
    names = set(re.findall(r'^X\(\s*\w+\s*,\s*\w+\s*,\s*"([a-z0-9-]+)"', strip_comments(text), re.M))
    if not names:
        guard.error("fcgi-sidecar/base/sc_options.def: no row X(kind, member, \"name\", …) is found")
    return {f"--{name}" for name in names}


def help_options() -> set[str]:
    """What the built program itself says; nothing when there is none."""
    binary = "fcgi-sidecar/fcgi-sidecar"
    if not os.access(binary, os.X_OK):
        return set()
    out = subprocess.run([f"./{binary}", "--help"], capture_output=True, text=True, timeout=30, check=False)
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", out.stdout))


def options(guard: Guard) -> None:
    documented = page_terms(guard, "docs/sidecar.md", r"(?<![\w-])--[a-z][a-z0-9-]*")
    general = {"--help", "--version", "--json"} # of the command line, not of the table
    rows = option_rows(guard)
    compare(guard, "option", rows, "docs/sidecar.md",
            None if documented is None else documented - (general - rows))
    if documented is not None and not guard.given:
        for name in sorted(help_options() - documented - general):
            guard.error(f"option {name} of fcgi-sidecar --help is not described in docs/sidecar.md")


def family(name: str) -> str:
    """Without what the text formats add to a family's name."""
    return re.sub(r"_(total|info)$", "", name)


def metrics(guard: Guard) -> None:
    code = set()
    for path in guard.sources("mod_demo", "fcgi-sidecar", ext=(".c", ".def")):
        # own names are rows of a table; the exporters' names stand where they are written
        own = path.endswith("metrics.def") or "metrics" in path
        pattern = METRIC if own else r"(?:apache|phpfpm)_[a-z0-9_]+"
        code.update(s for s in strings(guard.read(path) or "") if re.fullmatch(pattern, s))
    documented = page_terms(guard, "docs/metrics.md", METRIC)
    compare(guard, "metric", {family(n) for n in code}, "docs/metrics.md",
            None if documented is None else {family(n) for n in documented})


def messages(guard: Guard) -> None:
    uses: dict[str, list[str]] = {}
    for path in guard.sources("mod_demo", "fcgi-sidecar", "lib"):
        for s in strings(guard.read(path) or ""):
            for name in re.findall(r"\b(?:DM|SC)\d{4}\b", s):
                uses.setdefault(name, []).append(path)
    for name, paths in sorted(uses.items()):
        if len(paths) > 1:
            guard.error(f"message {name} is used {len(paths)} times: {', '.join(paths)}")
    # "DM0200–DM0299" names a range, not a message
    compare(guard, "message", set(uses), "docs/messages.md",
            page_terms(guard, "docs/messages.md", r"(?<![–-])\b(?:DM|SC)\d{4}\b(?![–-])"))


def main() -> int:
    guard = Guard("documented")
    directives(guard)
    options(guard)
    metrics(guard)
    messages(guard)
    return guard.done()


if __name__ == "__main__":
    sys.exit(main())
