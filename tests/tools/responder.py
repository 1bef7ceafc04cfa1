"""A scripted FastCGI responder: any bytes, in any pieces, with any fault, and a record of what came.

    with Responder(tmp) as r:                       # answers "ok" to everything
        r.script([Step, Step, …])                   # what the next requests get, in turn; the last one stays
A step is one of
    bytes                 sent as they are (see fcgi.py for encoders)
    a number              a pause in seconds
    Split(data, n, delay) sent n bytes at a time
    Stall(event)          waits until the event is set (or the responder ends)
    Close(), Reset()      FIN or RST, and this connection is over
    ShutWrite()           half-close
    a callable            called with the Exchange; what it returns is a step again (None: nothing)
    a list of steps
Normally a script runs once the request has come whole; At("accept" | "begin" | "params", step) runs it earlier.
"""
from __future__ import annotations

import os
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import fcgi, ports, wait


@dataclass
class Split:
    data: bytes
    size: int = 1
    delay: float = 0.0


@dataclass
class Stall:
    event: threading.Event | None = None


class Close:
    pass


class Reset:
    pass


class ShutWrite:
    pass


@dataclass
class At:
    """Run the step at an earlier moment: accept, begin (BEGIN_REQUEST came) or params (PARAMS are whole)."""
    when: str
    step: object


class _Over(Exception):
    """The connection is closed by the script."""


@dataclass
class Exchange:
    """One request as it came, and the connection it came on."""
    conn: int                       # number of the connection, from 1
    sock: socket.socket
    id: int = 0
    role: int = 0
    flags: int = 0
    params: dict[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    records: list[fcgi.Record] = field(default_factory=list)
    complete: bool = False          # the empty STDIN record came
    error: str = ""                 # how the reading ended before that
    sent: int = 0                   # bytes sent by the script
    send_error: str = ""            # how sending failed
    at: float = 0.0                 # time.monotonic() of BEGIN_REQUEST

    @property
    def keep_conn(self) -> bool:
        return bool(self.flags & fcgi.KEEP_CONN)

    @property
    def uri(self) -> str:
        return self.params.get("REQUEST_URI", "")


def ok(ex: Exchange) -> bytes:
    """The answer when nothing is scripted."""
    return fcgi.response(b"ok\n", req_id=ex.id)


class Responder:
    """Listens on 127.0.0.1 (or a Unix socket) and plays scripts.

    path     a Unix socket there instead of TCP
    ping     answer php-fpm's ping (SCRIPT_NAME /ping) by itself, outside the script and the records
    backlog  of listen(2)
    accept   False: connections wait in the backlog
    host     an address of the loopback network; port a given one instead of any free one
    """

    def __init__(self, *script, path: Path | str | None = None, ping: bool = True, backlog: int = 128,
                 accept: bool = True, keep: bool = True, host: str = "127.0.0.1", port: int | None = None):
        self.path, self.ping_path, self.keep = (str(path) if path else None), "/ping" if ping else None, keep
        self.requests: list[Exchange] = []      # in order of BEGIN_REQUEST, without pings
        self.pings = 0
        self.connections = 0                    # accepted so far
        self.open = 0                           # open now
        self._script: list = list(script)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._socks: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._backlog, self._accept = backlog, accept
        self._listener: socket.socket | None = None
        self.host, self.port = host, port

    # -- life ------------------------------------------------------------------------
    def start(self) -> "Responder":
        if self.path:
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            Path(self.path).unlink(missing_ok=True)
            s.bind(self.path)
            os.chmod(self.path, 0o666)
        else:
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Its own also while it is stopped: an ephemeral port could be given to anybody's connection then, even to
            # the one that asks whether it is back.
            self.port = self.port or ports.free_port()
            s.bind((self.host, self.port))
        s.listen(self._backlog)
        self._listener = s
        self._stop.clear()
        if self._accept:
            self.accept()
        return self

    def accept(self) -> None:
        """Begin to accept, for a responder made with accept=False."""
        self._spawn(self._accept_loop)

    def stop(self) -> None:
        """Close everything; the address may be taken again by start()."""
        self._stop.set()
        if self._listener:
            try:
                self._listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self._listener.close()
            self._listener = None
        with self._lock:
            socks = list(self._socks)
        for s in socks:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for t in self._threads:
            t.join(5)
        self._threads.clear()
        if self.path:
            Path(self.path).unlink(missing_ok=True)

    def __enter__(self) -> "Responder":
        return self.start()

    def __exit__(self, *exc) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"unix:{self.path}" if self.path else f"fcgi://{self.host}:{self.port}"

    @property
    def address(self):
        return self.path or (self.host, self.port)

    # -- script and record -----------------------------------------------------------
    def script(self, *steps) -> None:
        """Replace what is to come: one entry a request; the last one serves all that follow."""
        with self._lock:
            self._script = list(steps)

    def forget(self) -> None:
        with self._lock:
            self.requests.clear()

    def wait_requests(self, n: int = 1, timeout: float = 10.0, complete: bool = True) -> list[Exchange]:
        """Waits until n requests came (whole ones); returns all."""
        def enough():
            with self._lock:
                got = [r for r in self.requests if r.complete or not complete]
            return got if len(got) >= n else None
        return wait.until(enough, timeout, f"{n} requests at the responder")

    @property
    def last(self) -> Exchange:
        return self.requests[-1]

    def _take(self):
        with self._lock:
            if not self._script:
                return ok
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]

    def _peek(self, when: str):
        """The next entry, taken, if it is to run at that moment."""
        with self._lock:
            e = self._script[0] if self._script else None
        if isinstance(e, At) and e.when == when:
            return self._take().step
        return None

    # -- threads -----------------------------------------------------------------------
    def _spawn(self, fn, *args) -> None:
        t = threading.Thread(target=fn, args=args, daemon=True)
        self._threads.append(t)
        t.start()

    def _accept_loop(self) -> None:
        listener = self._listener
        while not self._stop.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._socks.add(sock)
                self.connections += 1
                self.open += 1
                n = self.connections
            self._spawn(self._serve, sock, n)

    def _serve(self, sock: socket.socket, n: int) -> None:
        try:
            step = self._peek("accept")
            if step is not None:
                self._play(step, Exchange(n, sock))
            reader = fcgi.Reader(sock)
            while not self._stop.is_set():
                ex = self._read(sock, n, reader)
                if ex is None or not (ex.keep_conn and self.keep):
                    break
        except _Over:
            pass
        except OSError:
            pass
        finally:
            with self._lock:
                self._socks.discard(sock)
                self.open -= 1
            try:
                sock.shutdown(socket.SHUT_WR)      # what was sent arrives, even if input is unread
            except OSError:
                pass
            sock.close()

    def _read(self, sock, n: int, reader: fcgi.Reader) -> Exchange | None:
        """One request; None when the connection ended."""
        ex, raw, early = Exchange(n, sock), b"", None
        is_ping = False
        try:
            while True:
                rec = reader.record()
                ex.records.append(rec)
                if rec.type == fcgi.GET_VALUES:
                    want = fcgi.decode_pairs(rec.content)
                    known = {"FCGI_MAX_CONNS": "100", "FCGI_MAX_REQS": "100", "FCGI_MPXS_CONNS": "0"}
                    sock.sendall(fcgi.record(fcgi.GET_VALUES_RESULT, 0,
                                             fcgi.pairs({k: v for k, v in known.items() if k in want})))
                elif rec.type == fcgi.BEGIN_REQUEST:
                    ex.role, ex.flags = struct.unpack(">HB5x", rec.content[:8])
                    ex.id, ex.at = rec.req_id, time.monotonic()
                    early = self._peek("begin")
                    if early is not None:
                        self._record(ex)
                        self._play(early, ex)
                elif rec.type == fcgi.PARAMS and rec.content:
                    raw += rec.content
                elif rec.type == fcgi.PARAMS:
                    ex.params = fcgi.decode_pairs(raw)
                    is_ping = self.ping_path is not None and self.ping_path in (
                        ex.params.get("SCRIPT_NAME"), ex.params.get("SCRIPT_FILENAME"), ex.params.get("REQUEST_URI"))
                    if not is_ping:
                        self._record(ex)
                        if early is None:
                            early = self._peek("params")
                            if early is not None:
                                self._play(early, ex)
                elif rec.type == fcgi.STDIN and rec.content:
                    ex.stdin += rec.content
                elif rec.type == fcgi.STDIN:
                    ex.complete = True
                    break
                elif rec.type == fcgi.ABORT_REQUEST:
                    ex.error = "aborted"
                    break
        except EOFError:
            ex.error = "closed"
        except (OSError, fcgi.ProtocolError) as e:
            ex.error = str(e) or type(e).__name__
        if not ex.complete:
            return None
        if is_ping:
            with self._lock:
                self.pings += 1
            sock.sendall(fcgi.response(b"pong", req_id=ex.id))
        elif early is None:
            self._play(self._take(), ex)
        return ex

    def _record(self, ex: Exchange) -> None:
        with self._lock:
            if ex not in self.requests:
                self.requests.append(ex)

    def _play(self, step, ex: Exchange) -> None:
        sock = ex.sock
        try:
            if step is None:
                return
            if isinstance(step, At):
                self._play(step.step, ex)
            elif isinstance(step, (bytes, bytearray)):
                sock.sendall(step)
                ex.sent += len(step)
            elif isinstance(step, (int, float)):
                self._stop.wait(step)
            elif isinstance(step, Split):
                for i in range(0, len(step.data), step.size):
                    piece = step.data[i:i + step.size]
                    sock.sendall(piece)
                    ex.sent += len(piece)
                    if step.delay:
                        self._stop.wait(step.delay)
            elif isinstance(step, Stall):
                while not self._stop.is_set() and not (step.event and step.event.wait(0.05)):
                    if step.event is None:
                        self._stop.wait(0.05)
            elif isinstance(step, (Close, Reset)) or step in (Close, Reset):
                if isinstance(step, Reset) or step is Reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.close()
                raise _Over
            elif isinstance(step, ShutWrite) or step is ShutWrite:
                sock.shutdown(socket.SHUT_WR)
            elif isinstance(step, (list, tuple)):
                for s in step:
                    self._play(s, ex)
            elif callable(step):
                self._play(step(ex), ex)
            else:
                raise TypeError(f"no step: {step!r}")
        except OSError as e:
            ex.send_error = str(e)
            raise
