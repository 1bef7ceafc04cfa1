"""Processes that outlive the script: started in a session of their own, known by id and time of start."""
from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import time
from pathlib import Path


class Failed(Exception):
    """What went wrong, where, and what to do; shown as it is, exit status 1."""


def start_time(pid: int) -> int:
    """Kernel's start time of a process, 0 when there is none (or only its zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return 0 if stat[0] == "Z" else int(stat[19])


def launch(argv: list, log: Path, user: tuple[int, int] | None, env: dict[str, str]) -> dict:
    """Start a program in the background; returns what alive() and end() know it by."""
    who = {"user": user[0], "group": user[1], "extra_groups": []} if user else {}
    with open(log, "ab") as out:
        p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                             cwd="/", env=env, start_new_session=True, **who)
    _children[p.pid] = p
    return {"pid": p.pid, "start": start_time(p.pid), "log": str(log)}


_children: dict[int, subprocess.Popen] = {}


def alive(proc: dict | None) -> bool:
    if not proc:
        return False
    if proc["pid"] in _children:
        _children[proc["pid"]].poll()       # no zombie of ours
    return proc["start"] != 0 and start_time(proc["pid"]) == proc["start"]


def end(proc: dict | None, signals=(signal.SIGTERM,), patience: float = 10.0) -> bool:
    """Send the signals in turn, each with patience seconds to obey, SIGKILL last; True when none was needed."""
    for sig in (*signals, signal.SIGKILL):
        if not alive(proc):
            break
        os.kill(proc["pid"], sig)
        until(lambda: not alive(proc), patience)
        if sig == signal.SIGKILL:
            return False
    if proc:
        _end_session(proc["pid"])
    return True


def _end_session(leader: int) -> None:
    """What is left of a session whose leader has ended."""
    for p in Path("/proc").glob("[0-9]*/stat"):
        try:
            stat = p.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(stat[3]) == leader and stat[0] != "Z":
            try:
                os.kill(int(p.parent.name), signal.SIGKILL)
            except ProcessLookupError:
                pass


def until(cond, seconds: float, every: float = 0.03):
    """cond's result as soon as it is true, or the last one after so many seconds."""
    limit = time.monotonic() + seconds
    while True:
        got = cond()
        if got or time.monotonic() >= limit:
            return got
        time.sleep(every)


def free_port() -> int:
    """Below the ephemeral range, so that no outgoing connection takes it while the instance is stopped."""
    for _ in range(1000):
        port = random.randrange(20000, 32000)
        if port_is_free(port):
            return port
    raise Failed("no free port on 127.0.0.1 between 20000 and 32000")


def port_is_free(port: int) -> bool:
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except PermissionError:
            raise Failed(f"port {port} needs root; choose one from 1024 on: scripts/demo --port 8080") from None
        except OSError:
            return False
    return True


def listener_of(port: int) -> str:
    """Who listens on the port: "name (pid N)", or "" when that is not to be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            for line in Path(table).read_text().splitlines()[1:]:
                f = line.split()
                if f[3] == "0A" and int(f[1].rsplit(":", 1)[1], 16) == port:
                    inodes.add(f"socket:[{f[9]}]")
        except OSError:
            pass
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(fd) in inodes:
                return f"{(fd.parents[1] / 'comm').read_text().strip()} (pid {fd.parents[1].name})"
        except OSError:
            pass
    return ""


def tail(path: Path | str, lines: int = 15) -> str:
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join("    | " + x for x in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()[-lines:])
