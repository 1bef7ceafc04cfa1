"""A real fcgi-sidecar with all its ports on 127.0.0.1."""
from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from pathlib import Path

from . import http, paths, ports, proc, sanitize, wait


def secret_file(folder: Path | str, name: str = "secret") -> Path:
    """A fresh key that only the owner may read."""
    p = Path(folder) / name
    p.write_text(secrets.token_hex(32))
    os.chmod(p, 0o600)
    paths.give(p)
    return p


class Sidecar:
    """One instance: `serve` in the background, its hooks as commands.

    tmp        folder above the instance's own (tmp/name)
    name       of the instance
    authority  e.g. file:///…/authority.json
    secret     key file, see secret_file()
    upstream   where its php-fpm listens (url of a PhpFpm, "unix:/path" or "host:port")
    seed       seed database of a first deployment
    options    further options by name ("peer": "…") for every command
    """

    def __init__(self, tmp, name: str, authority: str, secret: Path | str, upstream: str = "", seed: Path | str | None = None,
                 options: dict[str, str] | None = None, env: dict[str, str] | None = None):
        paths.require("fcgi-sidecar")
        self.name = name
        self.root = Path(tmp) / name
        (self.root / "data").mkdir(parents=True, exist_ok=True)
        os.chmod(self.root, 0o755)
        self.binary = paths.staged(paths.sidecar_binary(), tmp)
        self.database = self.root / "data" / "database.sqlite"
        self.state_dir = self.root / "data" / ".sidecar"
        self.termination_log = self.root / "termination-log"
        paths.give(self.root)
        self.port, self.control_port, self.http_port = (ports.free_port() for _ in range(3))
        self.options = {
            "database": self.database, "state-dir": self.state_dir, "listen": f"127.0.0.1:{self.port}",
            "control-listen": f"127.0.0.1:{self.control_port}", "http-listen": f"127.0.0.1:{self.http_port}",
            "secret-file": secret, "authority": authority, "advertise": "127.0.0.1",
            "termination-log": self.termination_log,
        }
        if upstream:
            self.options["upstream"] = upstream.removeprefix("fcgi://")
        if seed:
            self.options["seed-database"] = seed
        self.options.update(options or {})
        self.env = dict(env or {})
        self.proc: proc.Process | None = None

    @property
    def record(self) -> Path:
        """The authority's record, of file://."""
        return Path(str(self.options["authority"]).removeprefix("file://"))

    def argv(self, command: str, *args: str, **options) -> list[str]:
        opts = self.options | {k.replace("_", "-"): v for k, v in options.items()}
        return [str(self.binary), command, *(f"--{k}={v}" for k, v in opts.items() if v is not None), *map(str, args)]

    def _env(self) -> dict[str, str]:
        return paths.base_env({**sanitize.env(self.root), **self.env})

    def run(self, command: str, *args: str, timeout: float = 60, **options) -> subprocess.CompletedProcess:
        """A command in the foreground; stdout and stderr are text."""
        return subprocess.run(self.argv(command, *args, **options), env=self._env(), cwd="/", stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", timeout=timeout * wait.FACTOR,
                              **paths.popen_user())

    # -- life --------------------------------------------------------------------------
    def start(self, timeout: float = 15, **options) -> "Sidecar":
        """`serve`, until its HTTP endpoint answers."""
        self.proc = proc.Process(self.argv("serve", **options), self.root / "serve.log", env=self._env(),
                                 as_user=True, name=f"fcgi-sidecar[{self.name}]")

        def up():
            if not self.proc.running():
                raise AssertionError(f"fcgi-sidecar[{self.name}] ended with {self.proc.returncode}:\n{self.log()}")
            try:
                return http.get(self.http_port, "/livez", timeout=2).status == 200
            except (OSError, http.Truncated):
                return False
        wait.until(up, timeout, f"fcgi-sidecar[{self.name}]'s /livez")
        return self

    def post_start(self, check: bool = True, timeout: float = 60, **options) -> subprocess.CompletedProcess:
        return self._hook("post-start", check, timeout, **options)

    def pre_stop(self, check: bool = True, timeout: float = 60, **options) -> subprocess.CompletedProcess:
        return self._hook("pre-stop", check, timeout, **options)

    def _hook(self, command: str, check: bool, timeout: float, **options) -> subprocess.CompletedProcess:
        r = self.run(command, timeout=timeout, **options)
        assert not check or r.returncode == 0, \
            f"{self.name}: {command} exits with {r.returncode}:\n{r.stderr}\nserve said:\n{self.log()[-3000:]}"
        return r

    def status(self) -> dict:
        """`status --json`."""
        r = self.run("status", "--json", timeout=20)
        assert r.returncode == 0, f"{self.name}: status exits with {r.returncode}: {r.stderr}"
        return json.loads(r.stdout)

    def http(self, target: str, **kw) -> http.Response:
        return http.get(self.http_port, target, **kw)

    def stop(self, timeout: float = 20) -> int | None:
        """TERM; returns the exit status."""
        rc = self.proc.stop(signal.SIGTERM, timeout) if self.proc else None
        self.proc = None
        self.check()
        return rc

    def kill(self) -> None:
        if self.proc:
            self.proc.kill()
        self.proc = None

    def __enter__(self) -> "Sidecar":
        return self.start()

    def __exit__(self, *exc) -> None:
        self.stop()

    # -- looking at it -------------------------------------------------------------------
    def log(self) -> str:
        p = self.root / "serve.log"
        return p.read_text(errors="replace") if p.exists() else ""

    @property
    def url(self) -> str:
        """Its FastCGI relay, as DemoBackend wants it."""
        return f"fcgi://127.0.0.1:{self.port}"

    @property
    def relay(self):
        return ("127.0.0.1", self.port)

    @property
    def control(self):
        return ("127.0.0.1", self.control_port)

    def check(self) -> None:
        bad = sanitize.reports(self.root)
        assert not bad, "sanitizer reports:\n" + "\n".join(bad)[:8000]
