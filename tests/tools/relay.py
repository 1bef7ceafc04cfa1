"""The relay alone (tests/tools/relay_run.c), driven line by line."""
from __future__ import annotations

import resource
import subprocess
import threading
from pathlib import Path

from . import paths, proc, sanitize, wait


class Relay:
    """A relay of its own process.

    tmp      folder for its log
    upstream "unix:/path" or "host:port"
    files    limit of open files, 0: as it is
    options  members of sc_relay_config by name: workers=4, queue_timeout_ms=500, …
    """

    def __init__(self, tmp, upstream: str, name: str = "relay", files: int = 0, **options):
        self.binary = paths.BUILD / "tests" / "tools" / "relay_run"
        if not self.binary.exists():
            paths.missing("relay_run (make)")
        self.root, self.files = Path(tmp), files
        self.log = self.root / f"{name}.log"
        self.argv = [str(self.binary), f"upstream={upstream}", *(f"{k}={v}" for k, v in options.items())]
        self.lock = threading.Lock()
        self.popen: subprocess.Popen | None = None
        self.port = 0

    def start(self) -> "Relay":
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                          text=True, env=paths.base_env(sanitize.env(self.root)),
                                          preexec_fn=self._limit if self.files else None)
        line = self.popen.stdout.readline()
        assert line.startswith("port "), f"{line!r}\n{self.output()}"
        self.port = int(line.split()[1])
        return self

    def _limit(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.files, self.files))

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def call(self, *words) -> str:
        """A command of relay_run; its answer."""
        with self.lock:
            self.popen.stdin.write(" ".join(map(str, words)) + "\n")
            self.popen.stdin.flush()
            return self.popen.stdout.readline().strip()

    def stats(self) -> dict:
        pairs = dict(p.split("=", 1) for p in self.call("stats").split())
        return {k: v if k == "mode" else int(v) for k, v in pairs.items()}

    def until(self, condition, what: str, timeout: float = 10) -> dict:
        """Waits until condition(stats) holds; the statistics then."""
        last = {}

        def holds():
            last.clear()
            last.update(self.stats())
            return condition(last)
        try:
            wait.until(holds, timeout, what)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{last}\n{self.output()[-2000:]}") from None
        return last

    def rss_kib(self) -> int:
        return proc.rss_kib(self.pid)

    def check(self, claimed=()) -> None:
        """Fails on a warning or an error that none of claimed is part of."""
        bad = [line for line in self.output().splitlines()
               if line.startswith(("[error]", "[warning]")) and not any(c in line for c in claimed)]
        assert not bad, "\n".join(bad)

    def stop(self) -> None:
        if self.popen is None:
            return
        self.popen.stdin.close()
        try:
            rc = self.popen.wait(15 * wait.FACTOR)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            raise AssertionError(f"the relay did not end\n{self.output()[-2000:]}") from None
        finally:
            self.popen.stdout.close()
        self.popen = None
        assert rc == 0, f"the relay ended with {rc}\n{self.output()[-4000:]}"

    def __enter__(self) -> "Relay":
        return self.start()

    def __exit__(self, *exc) -> None:
        self.stop()
