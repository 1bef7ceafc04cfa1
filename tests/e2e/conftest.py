"""scripts/demo in a folder of its own, so that a demo that runs already is left alone."""
from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tools import paths, ports, proc, wait


class Demo:
    """The script as a user types it."""

    def __init__(self, folder: Path):
        self.run_dir = folder / "run"
        self.port = ports.free_port()
        self.env = {**os.environ, "DEMO_RUN": str(self.run_dir)}

    def __call__(self, *args: str, timeout: float = 300) -> subprocess.CompletedProcess:
        return subprocess.run([str(paths.TOP / "scripts" / "demo"), *args], env=self.env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout * wait.FACTOR)

    def ok(self, *args: str, **kw) -> str:
        """Must exit with 0; what it printed."""
        r = self(*args, **kw)
        assert r.returncode == 0, f"scripts/demo {' '.join(args)} exits with {r.returncode}:\n{r.stdout}\n{r.stderr}"
        return r.stdout

    def start(self) -> str:
        return self.ok("start", "--port", str(self.port))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> dict:
        return json.loads((self.run_dir / "state.json").read_text())

    def pids(self) -> list[int]:
        """Every process that belongs to this folder, whoever remembers it."""
        # httpd and the sidecar name it on the command line; php-fpm's workers are children of one that does.
        roots = {str(self.run_dir), str(self.run_dir.resolve())}
        found = []
        for p in Path("/proc").glob("[0-9]*"):
            pid = int(p.name)
            if pid != os.getpid() and any(r + "/" in proc.title(pid) for r in roots) and proc.alive(pid):
                found += [pid, *proc.descendants(pid)]
        return sorted(set(found))

    def listening(self) -> set[int]:
        """TCP ports its processes listen on."""
        inodes = set()
        for pid in self.pids():
            for fd in Path(f"/proc/{pid}/fd").glob("*"):
                try:
                    m = re.match(r"socket:\[(\d+)\]", os.readlink(fd))
                except OSError:
                    continue
                if m:
                    inodes.add(m.group(1))
        out = set()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            f = line.split()
            if f[3] == "0A" and f[9] in inodes:
                out.add(int(f[1].split(":")[1], 16))
        return out


@pytest.fixture(scope="module")
def demo(module_tmp):
    """Not started yet; stopped and wiped at the end, whatever happened."""
    paths.require("apache2")
    paths.require("php-fpm")
    d = Demo(module_tmp)
    yield d
    pids = d.pids()
    d("stop", "--wipe")
    wait.until(lambda: not any(proc.alive(p) for p in pids), 10, "the end of the demo's processes")
