#!/usr/bin/python3
"""No litter in tracked files: white space, merge markers, notes to self, paths of a
developer's machine; scripts that do not parse."""
import os
import re
import shutil
import subprocess
import sys

from guardlib import Guard

NO_TABS = (".c", ".h", ".def", ".py", ".php", ".sh", ".sql", ".css", ".yaml", ".yml", ".json", ".md")
#: In pieces, so that this file is clean too.
NOTES = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")
MERGE = re.compile(r"^(<{7}|>{7}|\|{7})( |$)")
#: "a= b=" sets two variables to nothing; a program named test is not the shell's.
SHELLCHECK_NOT = "SC1007,SC2065"
#: Bytes by nature: the seeds of the fuzz harnesses.
BINARY_FOLDERS = ("tests/fuzz/seeds/",)


def machine_paths(guard: Guard) -> re.Pattern:
    """Homes in general, and where this very checkout lies; a folder right below / is a word like others (/src)."""
    own = [f for f in (str(guard.root), str(guard.root.parent), os.environ.get("HOME", "")) if f.count("/") >= 2]
    return re.compile("|".join(["/home/[a-z]", "/Users/[A-Za-z]", *(re.escape(p) + r"(?![\w-])" for p in own)]))


def check_line(guard: Guard, path: str, number: int, line: str, paths: re.Pattern) -> None:
    where = f"{path}:{number}: "
    indent = re.match(r"[ \t]*", line).group(0)

    if line != line.rstrip():
        guard.error(f"{where}trailing white space")
    if path.endswith(NO_TABS) and "\t" in line:
        guard.error(f"{where}a tab")
    elif "\t" in indent and " " in indent.split("\t")[0]:
        guard.error(f"{where}spaces before a tab")
    if MERGE.match(line):
        guard.error(f"{where}a merge marker")
    m = NOTES.search(line)
    if m:
        guard.error(f"{where}{m.group(1)}: finish it or leave it out")
    m = paths.search(line)
    if m:
        guard.error(f"{where}a path of a developer's machine: {m.group(0)}")


def interpreter(path: str, text: str) -> str:
    """'sh', 'bash', 'python' or ''; what has no first line of its own is sourced by bash."""
    first = text.split("\n", 1)[0]
    if path.endswith(".py") or re.match(r"#!.*\bpython3?\b", first):
        return "python"
    m = re.match(r"#!\s*(?:/usr/bin/env\s+|/usr/bin/|/bin/)(ba|da)?sh\b", first)
    if m:
        return "bash" if m.group(1) == "ba" else "sh"
    return "bash" if path.endswith(".sh") else ""


def run(guard: Guard, path: str, command: list[str]) -> None:
    out = subprocess.run(command, cwd=guard.root, capture_output=True, text=True, check=False)
    if out.returncode != 0:
        text = (out.stdout + out.stderr).strip()
        guard.error(f"{path}: {os.path.basename(command[0])} refuses it:\n{text}")


def check_script(guard: Guard, path: str, text: str) -> None:
    kind = interpreter(path, text)
    sourced = kind == "bash" and not text.startswith("#!")
    if kind == "python":
        try:
            compile(text, path, "exec", dont_inherit=True)
        except SyntaxError as e:
            guard.error(f"{path}:{e.lineno}: does not compile: {e.msg}")
    elif kind and shutil.which("bash"):
        run(guard, path, ["bash", "-n", path] if kind == "bash" else ["bash", "--posix", "-n", path])
    if kind in ("sh", "bash") and shutil.which("shellcheck"):
        excluded = SHELLCHECK_NOT + (",SC2034" if sourced else "") # set for who sources it
        run(guard, path, ["shellcheck", "-x", "-P", "SCRIPTDIR", "-S", "warning", "-s", kind, "-e", excluded, path])


def main() -> int:
    guard = Guard("clean")
    paths = machine_paths(guard)
    if not shutil.which("shellcheck"):
        guard.note("shell scripts are only parsed: shellcheck is missing: apt-get install shellcheck")
    for path in guard.tracked():
        data = (guard.root / path).read_bytes()
        if path.startswith(BINARY_FOLDERS) or b"\0" in data or path == "LICENSE":
            continue
        text = data.decode("utf-8", errors="replace")
        if "\ufffd" in text and path.endswith(NO_TABS):
            guard.error(f"{path}: is not UTF-8")
        if "\r\n" in text:
            guard.error(f"{path}: lines end with CR LF")
        if text and not text.endswith("\n"):
            guard.error(f"{path}: the last line does not end")
        for number, line in enumerate(text.split("\n"), 1):
            check_line(guard, path, number, line, paths)
        check_script(guard, path, text)
    return guard.done()


if __name__ == "__main__":
    sys.exit(main())
