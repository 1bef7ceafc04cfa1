"""A small HTTP/1 client over a bare socket: everything a well-behaved library would not let a test do."""
from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urlsplit

from . import wait
from .stream import Stream


class Truncated(Exception):
    """The connection ended before the message did; .response holds what came."""

    def __init__(self, text: str, response: "Response | None" = None):
        super().__init__(text)
        self.response = response


@dataclass
class Response:
    status: int
    reason: str
    version: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    interim: list[int] = field(default_factory=list)     # 1xx before it
    trailers: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def header(self, name: str, default: str | None = None) -> str | None:
        return next((v for k, v in self.headers if k.lower() == name.lower()), default)

    def all(self, name: str) -> list[str]:
        return [v for k, v in self.headers if k.lower() == name.lower()]

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self):
        import json
        return json.loads(self.body)


class Connection(Stream):
    """A connection to 127.0.0.1:port. send() takes any bytes; read() reads one response.

    timeout  of each read and write, times wait.FACTOR
    """

    def __init__(self, port: int, timeout: float = 20.0, host: str = "127.0.0.1", rcvbuf: int | None = None):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout * wait.FACTOR)
        self.sock.connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""

    def send(self, data: bytes | str) -> None:
        self.sock.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def request(self, method: str, target: str, headers=(), body: bytes | None = None, version: str = "HTTP/1.1",
                host: str | None = "localhost") -> None:
        """Send a request; headers: dict or pairs. A body gets a Content-Length unless one is given."""
        head = list(headers.items()) if isinstance(headers, dict) else list(headers)
        names = {k.lower() for k, _ in head}
        if host and "host" not in names:
            head.insert(0, ("Host", host))
        if body is not None and not names & {"content-length", "transfer-encoding"}:
            head.append(("Content-Length", str(len(body))))
        self.send(f"{method} {target} {version}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in head) + "\r\n")
        if body:
            self.send(body)

    def send_chunk(self, data: bytes) -> None:
        """A chunk of a chunked body; an empty one ends it."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    # -- reading -----------------------------------------------------------------------
    def _more(self) -> bool:
        got = self.sock.recv(65536)
        self.buf += got
        return bool(got)

    def line(self) -> bytes:
        while b"\n" not in self.buf:
            if not self._more():
                raise Truncated(f"closed within a line: {self.buf[:200]!r}")
        line, _, self.buf = self.buf.partition(b"\n")
        return line.rstrip(b"\r")

    def exactly(self, n: int) -> bytes:
        parts, have = [self.buf[:n]], min(n, len(self.buf))
        self.buf = self.buf[n:]
        while have < n:
            got = self.sock.recv(min(1 << 20, n - have))
            if not got:
                raise Truncated(f"closed after {have} of {n} bytes", Response(0, "", "", [], b"".join(parts)))
            parts.append(got)
            have += len(got)
        return b"".join(parts)

    def rest(self, timeout: float | None = None) -> bytes:
        """Everything until the other side closes."""
        if timeout is not None:
            self.sock.settimeout(timeout * wait.FACTOR)
        while self._more():
            pass
        out, self.buf = self.buf, b""
        return out

    def head(self) -> Response:
        """Status line and headers of the next response, 1xx ones included."""
        start = self.line().decode("latin-1")
        version, _, tail = start.partition(" ")
        code, _, reason = tail.partition(" ")
        if not version.startswith("HTTP/") or not code.isdigit():
            raise Truncated(f"no status line: {start!r}")
        return Response(int(code), reason, version, self._fields())

    def _fields(self) -> list[tuple[str, str]]:
        out = []
        while True:
            line = self.line().decode("latin-1")
            if not line:
                return out
            k, _, v = line.partition(":")
            out.append((k, v.strip()))

    def read(self, method: str = "GET") -> Response:
        """The next final response with its body; Truncated (with .response) when it is cut."""
        interim = []
        t0 = time.monotonic()
        while True:
            r = self.head()
            if 100 <= r.status < 200 and r.status != 101:
                interim.append(r.status)
                continue
            break
        r.interim = interim
        try:
            if method == "HEAD" or r.status in (204, 304):
                pass
            elif "chunked" in (r.header("Transfer-Encoding") or "").lower():
                while True:
                    n = int(self.line().split(b";")[0], 16)
                    if n == 0:
                        r.trailers = self._fields()
                        break
                    r.body += self.exactly(n)
                    self.line()
            elif r.header("Content-Length") is not None:
                r.body = self.exactly(int(r.header("Content-Length")))
            else:
                r.body = self.rest()
        except Truncated as e:
            if e.response is not None:
                r.body += e.response.body
            raise Truncated(str(e), r) from None
        except ConnectionResetError as e:
            raise Truncated(f"connection reset: {e}", r) from None
        r.seconds = time.monotonic() - t0
        return r

    def closed(self, timeout: float = 5.0) -> bool:
        return not self.buf and super().closed(timeout)


def _port_of(where) -> int:
    if isinstance(where, int):
        return where
    if isinstance(where, str):
        return urlsplit(where).port or 80
    return where.port


def request(where, method: str, target: str, headers=(), body: bytes | None = None, timeout: float = 20.0, **kw) -> Response:
    """One request over a connection of its own. where: a port, an Httpd or a URL's origin."""
    head = dict(headers)
    head.setdefault("Connection", "close")
    with Connection(_port_of(where), timeout) as c:
        c.request(method, target, head, body, **kw)
        return c.read(method)


def get(where, target: str = "/", headers=(), **kw) -> Response:
    return request(where, "GET", target, headers, **kw)


def post(where, target: str, body: bytes | dict = b"", headers=(), **kw) -> Response:
    head = dict(headers)
    if isinstance(body, dict):
        body = urlencode(body, quote_via=quote).encode()
        head.setdefault("Content-Type", "application/x-www-form-urlencoded")
    return request(where, "POST", target, head, body, **kw)


def post_chunked(where, target: str, chunks, headers=(), timeout: float = 60.0) -> Response:
    """POST an iterable of bytes with Transfer-Encoding: chunked."""
    head = {"Transfer-Encoding": "chunked", "Connection": "close", **dict(headers)}
    with Connection(_port_of(where), timeout) as c:
        c.request("POST", target, head)
        for data in chunks:
            if data:
                c.send_chunk(data)
        c.send_chunk(b"")
        return c.read("POST")


class Session:
    """Cookies, over connections of their own: enough to sign in with."""

    def __init__(self, where):
        self.where, self.cookies = where, {}

    def request(self, method: str, target: str, body=None, headers=(), **kw) -> Response:
        head = dict(headers)
        if self.cookies:
            head["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        if isinstance(body, dict):
            body = urlencode(body, quote_via=quote).encode()
            head.setdefault("Content-Type", "application/x-www-form-urlencoded")
        r = request(self.where, method, target, head, body, **kw)
        for line in r.all("Set-Cookie"):
            k, _, v = line.split(";")[0].partition("=")
            if v and v != "deleted":
                self.cookies[k.strip()] = v
            else:
                self.cookies.pop(k.strip(), None)
        return r

    def get(self, target: str, **kw) -> Response:
        return self.request("GET", target, **kw)

    def post(self, target: str, body: dict, **kw) -> Response:
        return self.request("POST", target, body, **kw)
