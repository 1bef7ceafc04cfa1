"""Programs built with AddressSanitizer and UBSan: DEMO_SANITIZE=1."""
from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path

from . import paths


@lru_cache(None)
def runtime() -> str:
    """The compiler's own libasan, which has to be the first library of a program that loads our module."""
    cc = os.environ.get("CC", "gcc").split()[0]
    lib = subprocess.run([cc, "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    # Debian's libasan.so is a linker name for the real one; a preload wants the real one.
    return os.path.realpath(lib) if os.path.sep in lib else ""


def env(folder: Path | str, preload: bool = False) -> dict[str, str]:
    """Environment of a program under test; its reports go to folder/sanitizer.*"""
    if not paths.SANITIZE:
        return {}
    log = Path(folder) / "san"
    log.mkdir(mode=0o777, exist_ok=True)
    os.chmod(log, 0o1777)
    common = f"log_path={log}/sanitizer:print_stacktrace=1:abort_on_error=1:disable_coredump=1:handle_segv=2:handle_sigbus=2"
    # httpd and APR leave at exit what their pools hold, so leaks are valgrind's matter.
    out = {"ASAN_OPTIONS": common + ":detect_leaks=0:detect_stack_use_after_return=0:malloc_context_size=12",
           "UBSAN_OPTIONS": common}
    if preload and runtime():
        out["LD_PRELOAD"] = runtime()
    return out


def reports(folder: Path | str) -> list[str]:
    """The reports written under folder."""
    return [p.read_text(errors="replace") for p in sorted(Path(folder).glob("**/san/sanitizer*"))]
