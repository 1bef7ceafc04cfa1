"""A real php-fpm in the foreground, with a configuration of its own."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from . import fcgi, paths, ports, proc, wait

WWW = paths.TOP / "tests" / "integration" / "www"

TEMPLATE = """\
[global]
pid = {root}/php-fpm.pid
error_log = {root}/php-fpm.log
log_level = notice
daemonize = no
process_control_timeout = {control_timeout}
[www]
{user}
listen = {listen}
listen.backlog = {backlog}
listen.mode = 0666
pm = {pm}
pm.max_children = {workers}
pm.start_servers = {start}
pm.min_spare_servers = 1
pm.max_spare_servers = {workers}
pm.process_idle_timeout = 2s
pm.max_requests = {max_requests}
pm.status_path = /status
pm.status_listen = 127.0.0.1:{status_port}
ping.path = /ping
ping.response = pong
access.log = {root}/access.log
access.format = "%{{%Y-%m-%dT%H:%M:%S}}t %m %r%Q%q %s %{{mili}}d %p"
catch_workers_output = yes
decorate_workers_output = no
clear_env = no
security.limit_extensions = .php
{ini}
{extra}
"""
INI = {"post_max_size": "0", "upload_max_filesize": "2G", "memory_limit": "256M", "max_execution_time": "120",
       "display_errors": "0", "log_errors": "1", "error_log": "",
       "date.timezone": "UTC", "sys_temp_dir": "{root}/tmp", "session.save_path": "{root}/tmp"}


class PhpFpm:
    """A php-fpm pool.

    tmp      folder of this instance (made if absent)
    workers  pm.max_children
    listen   "tcp" (a free port of 127.0.0.1) or "unix" (a socket in the folder)
    pm       static, dynamic or ondemand
    env      variables that scripts see
    ini      php.ini values of the pool
    docroot  default: a copy of tests/integration/www
    extra    further lines of the pool's configuration
    """

    def __init__(self, tmp, workers: int = 4, listen: str = "tcp", pm: str = "static", *, env=None, ini=None,
                 docroot=None, max_requests: int = 0, backlog: int = 511, control_timeout: str = "5s",
                 extra: str = "", name: str = "php-fpm"):
        self.binary = paths.require("php-fpm")
        self.name = name
        self.root = Path(tmp) / name
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        os.chmod(self.root, 0o755)
        paths.give(self.root)
        if docroot is None:
            docroot = self.root / "www"
            shutil.copytree(WWW, docroot, dirs_exist_ok=True)
        self.docroot = Path(docroot)
        self.workers, self.pm, self.max_requests, self.backlog = workers, pm, max_requests, backlog
        self.env, self.ini, self.extra = dict(env or {}), dict(ini or {}), extra
        self.control_timeout = control_timeout
        self.port = ports.free_port() if listen == "tcp" else None
        self.socket = None if listen == "tcp" else self.root / "php-fpm.sock"
        self.status_port = ports.free_port()
        self.proc: proc.Process | None = None

    @property
    def listen(self) -> str:
        return f"127.0.0.1:{self.port}" if self.port else str(self.socket)

    @property
    def address(self):
        """What fcgi.Client connects to: (host, port) or a path."""
        return ("127.0.0.1", self.port) if self.port else str(self.socket)

    @property
    def url(self) -> str:
        """As DemoBackend and BACKEND_URL want it."""
        return f"fcgi://{self.listen}" if self.port else f"unix:{self.socket}"

    @property
    def status_url(self) -> str:
        return f"fcgi://127.0.0.1:{self.status_port}/status"

    def write_conf(self) -> Path:
        who = paths.unprivileged()
        ini = {k: v.format(root=self.root) for k, v in INI.items()} | self.ini
        conf = self.root / "php-fpm.conf"
        conf.write_text(TEMPLATE.format(
            root=self.root, listen=self.listen, pm=self.pm, workers=self.workers, start=min(2, self.workers),
            max_requests=self.max_requests, status_port=self.status_port, backlog=self.backlog,
            control_timeout=self.control_timeout, extra=self.extra,
            user=f"user = {who[0]}\ngroup = {who[1]}\nlisten.owner = {who[0]}\nlisten.group = {who[1]}" if who else "",
            ini="\n".join(f"php_admin_value[{k}] = {v}" for k, v in ini.items() if v != "")))
        return conf

    def start(self) -> "PhpFpm":
        conf = self.write_conf()
        self.proc = proc.Process([self.binary, "--nodaemonize", "--fpm-config", conf], self.root / "stdout.log",
                                 env=paths.base_env(self.env), name=self.name)

        def up():
            if not self.proc.running():
                raise AssertionError(f"php-fpm ended with {self.proc.returncode}:\n{self.proc.output()}\n{self.log()}")
            return self.ping()
        wait.until(up, 20, "php-fpm's pong")
        return self

    def stop(self, sig: int = signal.SIGTERM, timeout: float = 10) -> None:
        if self.proc and self.proc.running():
            self.proc.stop(sig, timeout)
        self.proc = None

    def kill(self) -> None:
        if self.proc:
            self.proc.kill()
        self.proc = None

    def reload(self, timeout: float = 15) -> None:
        """SIGUSR2: a new set of workers with the configuration as it is now in the object."""
        self.write_conf()
        old = set(self.pids())
        self.proc.send(signal.SIGUSR2)
        wait.until(lambda: not old & set(self.pids()) and self.ping(), timeout, "php-fpm's reload")

    def __enter__(self) -> "PhpFpm":
        return self.start()

    def __exit__(self, *exc) -> None:
        self.stop()

    def pids(self) -> list[int]:
        """The workers of the pool (the status listener has a process of its own)."""
        return [p for p in proc.children(self.proc.pid) if proc.title(p) == "php-fpm: pool www"] if self.proc else []

    def let(self, name: str) -> None:
        """What the scripts with ?until=name wait for."""
        (self.root / "tmp" / name).touch()

    def log(self) -> str:
        p = self.root / "php-fpm.log"
        return p.read_text(errors="replace") if p.exists() else ""

    def access_log(self) -> list[str]:
        p = self.root / "access.log"
        return p.read_text(errors="replace").splitlines() if p.exists() else []

    def ping(self) -> bool:
        try:
            return fcgi.request(self.address, fcgi.script_params("/ping", "/ping"), timeout=2).body == b"pong"
        except (OSError, fcgi.ProtocolError):
            return False

    def status(self) -> dict:
        """php-fpm's own status page, from its listener of its own (works while every worker is busy)."""
        r = fcgi.request(("127.0.0.1", self.status_port), fcgi.script_params("/status", "/status", query="json"))
        return json.loads(r.body)


def php(code: str, *args: str) -> str:
    """Run PHP code on the command line and return what it prints."""
    return subprocess.run([paths.require("php"), "-r", code, "--", *args], capture_output=True, text=True,
                          check=True, timeout=60).stdout
