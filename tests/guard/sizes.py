#!/usr/bin/python3
"""Functions and files small enough to be read at once.

Above the habit (60 lines a function, 500 a file) it is told, above the limit
(100, 800, the README 150) it is an error.
"""
import ast
import re
import sys

from guardlib import Guard, strip_comments

FUNCTION_HABIT, FUNCTION_LIMIT = 60, 100
FILE_HABIT, FILE_LIMIT, README_LIMIT = 500, 800, 150
SOURCES = (".c", ".h", ".def", ".py", ".php", ".sh", ".js")


def c_functions(text: str) -> list[tuple[str, int, int]]:
    """(name, line, lines) of each function: its braces stand in the first column."""
    lines = strip_comments(text).split("\n")
    found, start, name = [], None, ""
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            head = " ".join(lines[max(0, number - 8):number - 1])
            names = re.findall(r"(\w+)\s*\(", head.rsplit(";", 1)[-1].rsplit("}", 1)[-1])
            start, name = number, names[0] if names else "?"
        elif line.startswith("}") and start is not None:
            found.append((name, start, number - start + 1))
            start = None
    return found


def python_functions(text: str, path: str, guard: Guard) -> list[tuple[str, int, int]]:
    try:
        tree = ast.parse(text)
    except SyntaxError as e:
        guard.error(f"{path}:{e.lineno}: {e.msg}")
        return []
    return [(node.name, node.lineno, node.end_lineno - node.lineno + 1) for node in ast.walk(tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def check(guard: Guard, what: str, lines: int, habit: int, limit: int) -> None:
    if lines > limit:
        guard.error(f"{what} has {lines} lines, the limit is {limit}")
    elif lines > habit:
        guard.note(f"{what} has {lines} lines, the habit is {habit}")


def main() -> int:
    guard = Guard("sizes")
    for path in guard.tracked():
        text = guard.read(path) or ""
        lines = text.count("\n")
        if path == "README.md":
            check(guard, path, lines, README_LIMIT, README_LIMIT)
        shell = text.startswith("#!") and not path.endswith(".md")
        if not path.endswith(SOURCES) and not shell:
            continue
        check(guard, path, lines, FILE_HABIT, FILE_LIMIT)
        functions = []
        if path.endswith((".c", ".h")):
            functions = c_functions(text)
        elif path.endswith(".py"):
            functions = python_functions(text, path, guard)
        for name, line, length in functions:
            check(guard, f"{path}:{line}: {name}()", length, FUNCTION_HABIT, FUNCTION_LIMIT)
    return guard.done()


if __name__ == "__main__":
    sys.exit(main())
