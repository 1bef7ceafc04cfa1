"""What the guards share: the files of the tree, C without its comments, the report."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

#: Made by autotools or by a build; there is no .git to ask in an unpacked release.
GENERATED_DIRS = {"build-aux", "autom4te.cache", ".libs", ".deps", "__pycache__", ".pytest_cache", ".git",
                  "run"}
GENERATED_FILES = {"configure", "configure~", "config.h.in", "config.h.in~", "aclocal.m4", "Makefile.in",
                   "libtool.m4", "ltoptions.m4", "ltsugar.m4", "ltversion.m4", "lt~obsolete.m4"}
C_FOLDERS = ("lib", "mod_demo", "fcgi-sidecar")


class Guard:
    """Collects what is wrong; done() prints it and gives the exit code."""

    def __init__(self, name: str):
        self.name = name
        self.given = len(sys.argv) > 1
        self.root = Path(sys.argv[1] if self.given else Path(__file__).parents[2]).resolve()
        self.errors: list[str] = []

    def error(self, text: str) -> None:
        self.errors.append(text)

    def note(self, text: str) -> None:
        print(f"note: {text}")

    def done(self) -> int:
        for text in self.errors:
            print(f"{self.name}: {text}")
        print(f"{self.name}: {len(self.errors)} errors" if self.errors else f"{self.name}: clean")
        return 1 if self.errors else 0

    def read(self, path: str) -> str | None:
        """The text of a file, or None when there is none."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def sources(self, *folders: str, ext: tuple[str, ...] = (".c", ".h", ".def")) -> list[str]:
        """The C files of these folders and of the rooms in them, relative to the root."""
        found = []
        for folder in folders:
            for p in sorted((self.root / folder).rglob("*")):
                path = p.relative_to(self.root)
                if p.suffix in ext and p.is_file() and not GENERATED_DIRS.intersection(path.parts):
                    found.append(path.as_posix())
        return found

    def tracked(self) -> list[str]:
        """The files of the repository; those of a release where there is none."""
        if (self.root / ".git").exists():
            out = subprocess.run(["git", "-C", str(self.root), "ls-files", "-z"],
                                 capture_output=True, check=False)
            if out.returncode == 0:
                names = out.stdout.decode().split("\0")
                return sorted({n for n in names if n and (self.root / n).is_file()})
        if (self.root / "config.status").exists():
            print(f"{self.name}: skipped: built inside an unpacked release, its files are not to be told from others")
            sys.exit(77)
        found = []
        for folder, dirs, files in os.walk(self.root):
            dirs[:] = [d for d in dirs if d not in GENERATED_DIRS
                       and not (Path(folder) / d / "config.status").exists()]
            found += [os.path.relpath(os.path.join(folder, f), self.root) for f in files
                      if f not in GENERATED_FILES]
        return sorted(found)


def strip_comments(text: str) -> str:
    """C without comments; strings and line breaks stay."""
    def repl(m: re.Match) -> str:
        return m.group(0) if m.group(0)[0] in "\"'" else re.sub(r"[^\n]", " ", m.group(0))
    return re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', repl, text, flags=re.S)


def strings(text: str) -> list[str]:
    """The contents of the string literals of C."""
    return re.findall(r'"((?:\\.|[^"\\\n])*)"', strip_comments(text))


def includes(text: str) -> list[tuple[int, str, str]]:
    """(line, '<' or '"', name) of each #include."""
    found = []
    for number, line in enumerate(strip_comments(text).split("\n"), 1):
        m = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if m:
            found.append((number, m.group(1), m.group(2)))
    return found


def defined_terms(markdown: str, term: str) -> set[str]:
    """What a page describes: terms that begin a heading, a table row or a list item.

    A term in passing ("see also …") is no description.
    """
    found = set()
    for line in markdown.split("\n"):
        if line.startswith("|"):
            place = line.split("|")[1]
        elif re.match(r"#+ ", line):
            place = line.lstrip("# ")
        elif re.match(r"\s*[-*] +[`*]", line):
            place = re.match(r"\s*[-*] +([`*]+[^`*]*[`*]*)", line).group(1)
        elif line.startswith(("`", "**")):
            place = re.match(r"[`*]+[^`*]*", line).group(0)
        else:
            continue
        found.update(re.findall(term, place))
    return found
