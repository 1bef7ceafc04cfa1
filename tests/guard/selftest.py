#!/usr/bin/python3
"""Proves that the guards see what they are for.

A copy of the tree gets one violation at a time; the guard must then end with 1
and print a line that it did not print before.
"""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from guardlib import Guard

FOLDERS = ("lib", "mod_demo", "fcgi-sidecar", "docs", "tests/unit", "tests/fuzz", "tests/guard")
NOTE = "TO" + "DO"
HOME = "/ho" + "me/somebody/tree"
LESS, MORE = "<" * 7, ">" * 7


def function(lines: int) -> str:
    return "static int zz(void)\n{\n" + "    zz();\n" * (lines - 2) + "}\n"


def directive(name: str) -> dict[str, str]:
    return {"mod_demo/zz.c": f'AP_INIT_TAKE1("{name}", zz, NULL, RSRC_CONF, "zz"),\n'}


def option(name: str) -> dict[str, str]:
    return {"fcgi-sidecar/base/sc_options.def": f'X(TEXT, zz, "{name}", "ZZ", NULL, SC_CMD_NODE, "zz")\n'}


def metric(name: str) -> dict[str, str]:
    return {"mod_demo/shm/demo_metrics.def": f'DEMO_COUNTER(ZZ, "{name}", NULL, "Zz.")\n'}


def message(*texts: str) -> dict[str, str]:
    return {"fcgi-sidecar/zz.c": "".join(f'sc_log("{t}");\n' for t in texts)}


#: guard, what the new line must hold, {file: what is put at its end}
CASES = [
    ("layers", "lib includes apr.h", {"lib/prom.c": "#include <apr.h>\n"}),
    ("layers", "lib includes sys/socket.h", {"lib/prom.h": "#include <sys/socket.h>\n"}),
    ("layers", "lib includes mod_demo/zz.h", {"lib/prom.c": '#include "mod_demo/zz.h"\n', "mod_demo/zz.h": "\n"}),
    ("layers", "of the other product", {"mod_demo/zz.c": '#include "fcgi-sidecar/zz.h"\n', "fcgi-sidecar/zz.h": "\n"}),
    ("layers", "of the other product", {"fcgi-sidecar/zz.c": '#include "../mod_demo/zz.h"\n', "mod_demo/zz.h": "\n"}),
    ("layers", "the sidecar includes httpd's http_log.h", {"fcgi-sidecar/zz.c": "#include <http_log.h>\n"}),
    ("layers", "includes fcgiapp.h", {"fcgi-sidecar/zz.c": "#  include <fcgiapp.h>\n"}),
    ("layers", "includes sqlite3.h", {"mod_demo/zz.c": "#include <sqlite3.h>\n"}),
    ("layers", "includes microhttpd.h", {"fcgi-sidecar/zz.h": "#include <microhttpd.h>\n"}),
    ("layers", "meet only through headers", {"lib/prom.c": '#include "lib/cgih.c"\n'}),
    ("layers", "base includes fcgi-sidecar/node/sc_node.h",
     {"fcgi-sidecar/base/sc_file.c": '#include "fcgi-sidecar/node/sc_node.h"\n'}),
    ("layers", "relay includes fcgi-sidecar/base/sc_log.h",
     {"fcgi-sidecar/relay/sc_listen.c": '#include "../base/sc_log.h"\n'}),
    ("layers", "handoff includes fcgi-sidecar/observe/sc_status.h",
     {"fcgi-sidecar/handoff/sc_ship.h": '#include "fcgi-sidecar/observe/sc_status.h"\n'}),
    ("layers", "base includes lib/prom.h", {"fcgi-sidecar/base/zz.c": '#include "lib/prom.h"\n'}),
    ("layers", "is for its room alone",
     {"fcgi-sidecar/node/sc_node.c": '#include "fcgi-sidecar/relay/sc_relay_core.h"\n'}),
    ("layers", "is for its room alone",
     {"fcgi-sidecar/handoff/sc_ship.c": '#include "fcgi-sidecar/database/sc_sqlite.h"\n'}),
    ("layers", "pool includes mod_demo/config/demo_config.h",
     {"mod_demo/pool/demo_conn.c": '#include "mod_demo/config/demo_config.h"\n'}),
    ("layers", "observe includes mod_demo/exchange/demo_exchange.h",
     {"mod_demo/observe/demo_status.h": '#include "mod_demo/exchange/demo_exchange.h"\n'}),
    ("layers", "fcgi-sidecar/zz is no room", {"fcgi-sidecar/zz/zz.c": "int a;\n"}),
    ("layers", "umbrella", {"mod_demo/zz.h": "/* All. */\n#ifndef ZZ_H\n#define ZZ_H\n#include <httpd.h>\n"
                                             "#include <apr.h>\n#endif\n"}),
    ("layers", "zz1.h -> mod_demo/zz2.h -> mod_demo/zz1.h",
     {"mod_demo/zz1.h": '#include "zz2.h"\nint a;\n', "mod_demo/zz2.h": '#include "mod_demo/zz1.h"\nint b;\n'}),

    ("documented", "directive DemoZz is not described", {**directive("DemoZz"), "docs/directives.md": "\n"}),
    ("documented", "directive DemoZz is not described", {**directive("DemoZz"), "docs/directives.md": "see `DemoZz`\n"}),
    ("documented", "directive DemoYy is described", {**directive("DemoZz"), "docs/directives.md": "## `DemoYy`\n"}),
    ("documented", "directive DemoYy is described", {**directive("DemoZz"), "docs/directives.md": "| `DemoYy a` | b |\n"}),
    ("documented", "option --zz-top is not described", {**option("zz-top"), "docs/sidecar.md": "\n"}),
    ("documented", "option --yy is described", {**option("zz"), "docs/sidecar.md": "| `--yy` | b |\n"}),
    ("documented", "metric demo_zz is not described", {**metric("demo_zz"), "docs/metrics.md": "\n"}),
    ("documented", "metric demo_yy is described", {**metric("demo_zz"), "docs/metrics.md": "| `demo_yy_total` | b |\n"}),
    ("documented", "message SC9999 is not described", {**message("SC9999: zz"), "docs/messages.md": "\n"}),
    ("documented", "message DM9998 is described", {**message("SC9999"), "docs/messages.md": "| DM9998 | zz |\n"}),
    ("documented", "message SC9999 is used 2 times", message("SC9999: a", "SC9999: b")),

    ("sizes", "zz() has 101 lines", {"lib/zz.c": function(101)}),
    ("sizes", "zz() has 101 lines", {"docs/zz.py": "def zz():\n" + "    zz()\n" * 100}),
    ("sizes", "lib/zz.h has 801 lines", {"lib/zz.h": "\n" * 801}),
    ("sizes", "README.md has", {"README.md": "\n" * 151}),

    ("clean", "zz.md:1: trailing white space", {"docs/zz.md": "a \n"}),
    ("clean", "zz.c:1: a tab", {"lib/zz.c": "\tint a;\n"}),
    ("clean", "zz.mk:1: spaces before a tab", {"lib/zz.mk": "  \ta\n"}),
    ("clean", "a merge marker", {"docs/zz.md": f"{LESS} HEAD\n"}),
    ("clean", "a merge marker", {"docs/zz.md": f"{MORE} other\n"}),
    ("clean", "finish it or leave it out", {"lib/zz.c": f"/* {NOTE}: more */\n"}),
    ("clean", "a path of a developer's machine", {"docs/zz.md": f"see {HOME}\n"}),
    ("clean", "is not UTF-8", {"docs/zz.md": b"caf\xe9\n"}),
    ("clean", "lines end with CR LF", {"docs/zz.md": "a\r\n"}),
    ("clean", "the last line does not end", {"docs/zz.md": "a"}),
    ("clean", "zz.py:1: does not compile", {"docs/zz.py": "def zz(:\n"}),
    ("clean", "bash refuses it", {"docs/zz": "#!/bin/sh\nif true; then\n"}),
    ("clean", "shellcheck refuses it", {"docs/zz.sh": "#!/bin/sh\nread line < $(zz\n)\ncd $undefined_zz[1]\n"}),

    ("registered", "lib/zz.h is not in lib/local.mk", {"lib/zz.h": "\n"}),
    ("registered", "fcgi-sidecar/base/zz.c is not in", {"fcgi-sidecar/base/zz.c": "\n"}),
    ("registered", "mod_demo/zz.c is not in", {"mod_demo/zz.c": "\n"}),
    ("registered", "test_zz.c is not in", {"tests/unit/test_zz.c": "\n"}),
    ("registered", "but not among UNIT_TESTS",
     {"tests/unit/test_zz.c": "\n", "tests/unit/local.mk": "tests_unit_test_zz_SOURCES = %D%/test_zz.c\n"}),
    ("registered", "tests/fuzz/replay_zz is not in", {"tests/fuzz/fuzz_zz.c": "\n"}),
    ("registered", "no seeds in tests/fuzz/seeds/zz", {"tests/fuzz/fuzz_zz.c": "\n"}),
    ("registered", "tests/guard/zz.py is not in", {"tests/guard/zz.py": "\n"}),
    ("registered", "zz.ini is not in EXTRA_DIST", {"zz.ini": "\n"}),
    ("registered", "tests/zz.py is not in tests/local.mk", {"tests/zz.py": "\n"}),
    ("registered", "not among the TESTS", {"tests/guard/zz.py": "\n", "tests/guard/local.mk": "EXTRA_DIST += zz.py\n"}),
]


def run(guard: Guard, name: str, tree: Path) -> tuple[int, set[str]]:
    script = guard.root / "tests/guard" / f"{name}.py"
    out = subprocess.run([sys.executable, "-B", str(script), str(tree)], capture_output=True, text=True, check=False)
    return out.returncode, set(out.stdout.split("\n")) | set(out.stderr.split("\n"))


def apply(tree: Path, files: dict) -> list[tuple[Path, bytes | None]]:
    """Writes the violation; gives what was there before."""
    before = []
    for name, content in files.items():
        path = tree / name
        old = path.read_bytes() if path.exists() else None
        path.parent.mkdir(exist_ok=True)
        before.append((path, old))
        new = content if isinstance(content, bytes) else content.encode()
        path.write_bytes((old or b"") + new)
    return before


def restore(before: list[tuple[Path, bytes | None]]) -> None:
    for path, old in before:
        if old is None:
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        else:
            path.write_bytes(old)


def copy(guard: Guard, tree: Path) -> None:
    for folder in FOLDERS:
        shutil.copytree(guard.root / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "Makefile.am", "tests/local.mk"):
        shutil.copy(guard.root / name, tree / name)
    for path in [tree, *tree.rglob("*")]: # a release may be read-only
        path.chmod(path.stat().st_mode | 0o200)


def main() -> int:
    guard = Guard("selftest")
    with tempfile.TemporaryDirectory() as tmp:
        tree = Path(tmp) / "tree"
        tree.mkdir()
        copy(guard, tree)
        baseline = {name: run(guard, name, tree)[1] for name in {case[0] for case in CASES}}
        for name, want, files in CASES:
            if "shellcheck" in want and not shutil.which("shellcheck"):
                guard.note("shellcheck is missing: its case is left out")
                continue
            before = apply(tree, files)
            code, lines = run(guard, name, tree)
            restore(before)
            if code != 1 or not any(re.search(re.escape(want), line) for line in lines - baseline[name]):
                guard.error(f"{name} does not see \"{want}\" (exit code {code}) with {files}")
    print(f"selftest: {len(CASES)} violations tried")
    return guard.done()


if __name__ == "__main__":
    sys.exit(main())
