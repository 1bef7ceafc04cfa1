#!/usr/bin/python3
"""Each source, unit test, fuzz harness and guard is in its folder's local.mk.

What is not there is neither built nor run, and nobody would notice.
"""
import re
import sys

from guardlib import C_FOLDERS, Guard


def words(text: str) -> set[str]:
    """The words of a makefile, %D% left out, comments too."""
    return set(re.sub(r"#.*", "", text).replace("%D%/", "").replace("\\\n", " ").split())


def check_sources(guard: Guard) -> None:
    for folder in C_FOLDERS:
        listed = words(guard.read(f"{folder}/local.mk") or "")
        for path in guard.sources(folder):
            if path.removeprefix(f"{folder}/") not in listed:
                guard.error(f"{path} is not in {folder}/local.mk")


def check_unit(guard: Guard) -> None:
    listed = words(guard.read("tests/unit/local.mk") or "")
    for path in guard.sources("tests/unit", ext=(".c", ".h")):
        name = path.split("/")[-1]
        if name not in listed:
            guard.error(f"{path} is not in tests/unit/local.mk")
        elif name.startswith("test_") and name.endswith(".c") and f"tests/unit/{name[:-2]}" not in listed:
            guard.error(f"{path} is built by tests/unit/local.mk but not among UNIT_TESTS")


def check_fuzz(guard: Guard) -> None:
    listed = words(guard.read("tests/fuzz/local.mk") or "")
    for path in guard.sources("tests/fuzz", ext=(".c",)):
        name = path.split("/")[-1][:-2]
        if not name.startswith("fuzz_"):
            continue
        short = name[len("fuzz_"):]
        for program in (f"tests/fuzz/fuzz_{short}", f"tests/fuzz/replay_{short}"):
            if program not in listed:
                guard.error(f"{path}: {program} is not in tests/fuzz/local.mk")
        seeds = guard.root / "tests/fuzz/seeds" / short
        if not seeds.is_dir() or not any(seeds.iterdir()):
            guard.error(f"{path}: there are no seeds in tests/fuzz/seeds/{short}")


def check_guards(guard: Guard) -> None:
    text = guard.read("tests/guard/local.mk") or ""
    listed = words(text)
    for p in sorted((guard.root / "tests/guard").glob("*")):
        if not p.is_file() or p.name == "local.mk":
            continue
        if p.name not in listed and f"tests/guard/{p.name}" not in listed:
            guard.error(f"tests/guard/{p.name} is not in tests/guard/local.mk")
        elif p.suffix == ".py" and p.name != "guardlib.py" and f"tests/guard/{p.name}" not in listed:
            guard.error(f"tests/guard/{p.name} is not among the TESTS of tests/guard/local.mk")


def check_release(guard: Guard) -> None:
    """What lies at the top or in tests/ goes into a release, but for what git alone needs."""
    files = [path for path in guard.tracked() if path not in (".gitignore", ".gitattributes")]
    top = words(guard.read("Makefile.am") or "") | {"Makefile.am", "configure.ac", "tests"} | set(C_FOLDERS)
    tests = words(guard.read("tests/local.mk") or "") | {"local.mk"}
    for name in sorted({path.split("/")[0] for path in files} - top):
        guard.error(f"{name} is not in EXTRA_DIST of Makefile.am")
    for name in sorted({path.split("/")[1] for path in files if path.startswith("tests/")} - tests):
        if f"{name}/local.mk" not in tests:
            guard.error(f"tests/{name} is not in tests/local.mk")


def main() -> int:
    guard = Guard("registered")
    check_sources(guard)
    check_unit(guard)
    check_fuzz(guard)
    check_guards(guard)
    check_release(guard)
    return guard.done()


if __name__ == "__main__":
    sys.exit(main())
