"""Processes of a test: registered when started, ended by their id, never by name."""
from __future__ import annotations

import atexit
import ctypes
import os
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from . import paths, wait

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_live: "list[Process]" = []
_lock = threading.Lock()


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    _allow_core()


def _allow_core() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)


class Process:
    """A program in the foreground, in a session of its own, its output in a file.

    argv    the program and its arguments
    log     file that takes stdout and stderr (appended)
    env     the whole environment
    as_user start it as the unprivileged user where the tests run as root
    """

    def __init__(self, argv, log: Path | str, env: dict[str, str] | None = None, cwd=None,
                 as_user: bool = False, name: str = ""):
        self.argv = [str(a) for a in argv]
        self.name = name or os.path.basename(self.argv[0])
        self.log = Path(log)
        out = open(self.log, "ab")
        main = threading.current_thread() is threading.main_thread()
        try:
            self.popen = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env=paths.base_env() if env is None else env, cwd=cwd or "/", start_new_session=True,
                # A thread's end would count as the parent's, so only the main thread asks for it.
                preexec_fn=_die_with_parent if main else _allow_core,
                **(paths.popen_user() if as_user else {}))
        finally:
            out.close()
        self.pid = self.popen.pid
        with _lock:
            _live.append(self)

    def running(self) -> bool:
        return self.popen.poll() is None

    @property
    def returncode(self):
        return self.popen.poll()

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def send(self, sig: int) -> None:
        if self.running():
            os.kill(self.pid, sig)

    def wait(self, timeout: float = 10.0) -> int:
        """Exit status (negative: signal); AssertionError when it still runs after timeout seconds."""
        try:
            rc = self.popen.wait(timeout * wait.FACTOR)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} (pid {self.pid}) did not end within "
                                 f"{timeout * wait.FACTOR:g} s\n{self.output()[-2000:]}") from None
        self._forget()
        return rc

    def stop(self, sig: int = signal.SIGTERM, timeout: float = 10.0) -> int:
        """Signal and wait; what is left of the session is killed."""
        self.send(sig)
        try:
            return self.wait(timeout)
        finally:
            self.kill_group()

    def kill(self) -> None:
        """SIGKILL to the process alone (its children, too, when they are in its session)."""
        self.kill_group()
        self.popen.wait(10)
        self._forget()

    def kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass

    def _forget(self) -> None:
        with _lock:
            if self in _live:
                _live.remove(self)


def end_all() -> list[str]:
    """End whatever a test left running; returns the names of those."""
    with _lock:
        left = list(_live)
        _live.clear()
    names = [f"{p.name} (pid {p.pid})" for p in left if p.running()]
    for p in left:
        p.send(signal.SIGTERM)
    end = time.monotonic() + 5
    for p in left:
        try:
            p.popen.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        p.kill_group()
        try:
            p.popen.wait(5)
        except subprocess.TimeoutExpired:
            names.append(f"{p.name} (pid {p.pid}) survived SIGKILL")
    return names


atexit.register(end_all)


def backtraces(program: str, folder: Path | str) -> str:
    """What every core file in the folder says, by gdb; "" without a core file."""
    out = []
    for core in sorted(Path(folder).glob("core*")):
        if not shutil.which("gdb"):
            out.append(f"{core}: no gdb to look at it")
            continue
        r = subprocess.run(["gdb", "-batch", "-nx", "-ex", "bt 25", "-ex", "thread apply all bt 12", program, str(core)],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=120)
        first, *threads = r.stdout.split("\nThread ")
        out.append(first)
        # Of the others those alone that are in our own code: the rest waits for work.
        out += ["Thread " + t for t in threads if "demo" in t]
    return "\n".join(out)


def children(pid: int) -> list[int]:
    """Direct children of a process, in order of their ids."""
    kids = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            kids += [int(x) for x in task.read_text().split()]
        except (OSError, ValueError):
            pass
    return sorted(kids)


def descendants(pid: int) -> list[int]:
    out: list[int] = []
    for kid in children(pid):
        out.append(kid)
        out += descendants(kid)
    return out


def policies(pids) -> list[int]:
    """Of all threads of these processes: os.SCHED_OTHER, os.SCHED_BATCH…"""
    out = []
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            try:
                out.append(os.sched_getscheduler(int(task.name)))
            except ProcessLookupError:      # it ended meanwhile
                pass
    return out


def title(pid: int) -> str:
    """Its command line, as ps shows it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Is there such a process that is not a zombie?"""
    try:
        return re.search(r"^State:\s+([A-Z])", Path(f"/proc/{pid}/status").read_text(), re.M).group(1) != "Z"
    except (OSError, AttributeError):
        return False


def uids(pids: list[int]) -> set[int]:
    """The real user ids of those processes that are alive."""
    got = set()
    for pid in pids:
        try:
            if alive(pid):
                got.add(Path(f"/proc/{pid}").stat().st_uid)
        except OSError:
            pass  # it ended in between
    return got


def rss_kib(pid: int, what: str = "VmRSS") -> int:
    """Resident memory in KiB; what: VmRSS now, VmHWM the most ever."""
    try:
        m = re.search(rf"^{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    except OSError:
        return 0
    return int(m.group(1)) if m else 0


def fd_count(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def cpu_seconds(pid: int) -> float:
    """User and system time a process has used so far."""
    try:
        f = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")
