"""Programs under a checker: DEMO_SANITIZE=1 (AddressSanitizer and UBSan), thread (ThreadSanitizer), memcheck (valgrind).

For the first two everything was built with --enable-sanitizers[=thread]; valgrind takes any build, and looks at httpd.
"""
from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path

from . import paths

RUNTIME = {"address": "libasan.so", "thread": "libtsan.so"}
SUPPRESSIONS = paths.TOP / "tests" / "tools"


@lru_cache(None)
def runtime() -> str:
    """The compiler's own runtime, which has to be the first library of a program that loads our module."""
    name = RUNTIME.get(paths.CHECKER)
    if not name:
        return ""
    cc = os.environ.get("CC", "gcc").split()[0]
    lib = subprocess.run([cc, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
    # Debian's libasan.so is a linker name for the real one; a preload wants the real one.
    return os.path.realpath(lib) if os.path.sep in lib else ""


def _folder(folder: Path | str) -> Path:
    log = Path(folder) / "san"
    log.mkdir(mode=0o777, exist_ok=True)
    os.chmod(log, 0o1777)
    return log


def env(folder: Path | str, preload: bool = False) -> dict[str, str]:
    """Environment of a program under test; its reports go to folder/san/sanitizer.*"""
    if paths.CHECKER not in RUNTIME:
        return {}
    common = f"log_path={_folder(folder)}/sanitizer:handle_segv=2:handle_sigbus=2"
    if paths.CHECKER == "thread":
        # httpd and APR are built without it: how their threads hand on connections and memory (atomics) it does not
        # see, so what they do themselves says nothing; nor does what httpd's prefork does in its signal handler.
        # A report is read at the end of the test; the program goes on, or the next one would never be seen.
        out = {"TSAN_OPTIONS": common + ":ignore_noninstrumented_modules=1:report_signal_unsafe=0:halt_on_error=0"
                               f":exitcode=0:second_deadlock_stack=1:history_size=4:suppressions={SUPPRESSIONS}/tsan.supp"}
    else:
        common += ":print_stacktrace=1:abort_on_error=1:disable_coredump=1"
        # httpd and APR leave at exit what their pools hold, so leaks are valgrind's matter.
        out = {"ASAN_OPTIONS": common + ":detect_leaks=0:detect_stack_use_after_return=0:malloc_context_size=12",
               "UBSAN_OPTIONS": common}
    if preload and runtime():
        out["LD_PRELOAD"] = runtime()
    return out


def wrap(folder: Path | str) -> list[str]:
    """What stands before the command of httpd."""
    if paths.CHECKER != "memcheck":
        return []
    return [paths.require("valgrind"), "-q", "--tool=memcheck", "--leak-check=full", "--show-leak-kinds=definite",
            "--errors-for-leak-kinds=definite", "--num-callers=20", "--max-threads=200",
            f"--suppressions={SUPPRESSIONS}/memcheck.supp", f"--log-file={_folder(folder)}/sanitizer.%p"]


def reports(folder: Path | str) -> list[str]:
    """The reports written under folder."""
    found = (p.read_text(errors="replace") for p in sorted(Path(folder).glob("**/san/sanitizer*")))
    return [text for text in found if text.strip()]
