"""FastCGI 1.0 in Python, written from the specification and independent of lib/: records, pairs, a client."""
from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field

from . import wait
from .stream import Stream

VERSION = 1
BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR, DATA = range(1, 9)
GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = 9, 10, 11
NAMES = {1: "BEGIN_REQUEST", 2: "ABORT_REQUEST", 3: "END_REQUEST", 4: "PARAMS", 5: "STDIN", 6: "STDOUT",
         7: "STDERR", 8: "DATA", 9: "GET_VALUES", 10: "GET_VALUES_RESULT", 11: "UNKNOWN_TYPE"}
RESPONDER, AUTHORIZER, FILTER = 1, 2, 3
KEEP_CONN = 1
REQUEST_COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE = range(4)
MAX_CONTENT = 65535


class ProtocolError(Exception):
    """What came is not FastCGI, or ended too early."""


# -- encoding ----------------------------------------------------------------------
def record(type: int, req_id: int = 1, content: bytes = b"", padding: int | None = None, *,
           version: int = VERSION, length: int | None = None, reserved: int = 0) -> bytes:
    """One record. padding None: none; length overrides what the header claims."""
    pad = padding or 0
    return struct.pack(">BBHHBB", version, type, req_id, len(content) if length is None else length,
                       pad, reserved) + content + b"\xaa" * pad


def stream(type: int, data: bytes, req_id: int = 1, chunk: int = 32768, padding: int = 0, end: bool = False) -> bytes:
    """data as records of at most chunk bytes; end: with the empty record that closes the stream."""
    out = [record(type, req_id, data[i:i + chunk], padding) for i in range(0, len(data), chunk)]
    if end:
        out.append(record(type, req_id))
    return b"".join(out)


def _len(n: int, wide: bool = False) -> bytes:
    return struct.pack(">I", n | 0x80000000) if n > 127 or wide else bytes([n])


def pair(name: bytes | str, value: bytes | str, wide: bool = False) -> bytes:
    """A name-value pair; wide: four-byte lengths even where one byte would do."""
    n = name if isinstance(name, bytes) else name.encode()
    v = value if isinstance(value, bytes) else value.encode()
    return _len(len(n), wide) + _len(len(v), wide) + n + v


def pairs(params: dict) -> bytes:
    return b"".join(pair(k, v) for k, v in params.items())


def params_records(params: dict, req_id: int = 1) -> bytes:
    """PARAMS records that end between pairs, as php-fpm needs it, and the empty one."""
    out, cur = [], b""
    for k, v in params.items():
        p = pair(k, v)
        if cur and len(cur) + len(p) > MAX_CONTENT:
            out.append(record(PARAMS, req_id, cur))
            cur = b""
        cur += p
    if len(cur) > MAX_CONTENT:
        out.append(stream(PARAMS, cur, req_id, MAX_CONTENT))
    elif cur:
        out.append(record(PARAMS, req_id, cur))
    return b"".join(out) + record(PARAMS, req_id)


def begin_request(req_id: int = 1, role: int = RESPONDER, flags: int = 0) -> bytes:
    return record(BEGIN_REQUEST, req_id, struct.pack(">HB5x", role, flags))


def end_request(req_id: int = 1, app_status: int = 0, protocol_status: int = REQUEST_COMPLETE, padding: int = 0) -> bytes:
    return record(END_REQUEST, req_id, struct.pack(">IB3x", app_status, protocol_status), padding)


def stdout(data: bytes | str, req_id: int = 1, **kw) -> bytes:
    return stream(STDOUT, data if isinstance(data, bytes) else data.encode(), req_id, **kw)


def stderr(data: bytes | str, req_id: int = 1, **kw) -> bytes:
    return stream(STDERR, data if isinstance(data, bytes) else data.encode(), req_id, **kw)


def response(body: bytes | str = b"", headers: str = "Content-Type: text/plain\r\n", req_id: int = 1, *,
             end: bool = True, err: bytes | str = b"", app_status: int = 0,
             protocol_status: int = REQUEST_COMPLETE) -> bytes:
    """A whole answer: headers (each with its line end), a blank line, the body, END_REQUEST."""
    body = body if isinstance(body, bytes) else body.encode()
    out = stderr(err, req_id) if err else b""
    out += stdout(headers.encode("latin-1") + b"\r\n" + body, req_id)
    return out + (end_request(req_id, app_status, protocol_status) if end else b"")


def script_params(script_name: str, script_filename: str, method: str = "GET", query: str = "",
                  body: bytes = b"", extra: dict | None = None) -> dict[str, str]:
    """The least that php-fpm needs."""
    p = {"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": "tests", "SERVER_PROTOCOL": "HTTP/1.1",
         "REQUEST_METHOD": method, "SCRIPT_NAME": script_name, "SCRIPT_FILENAME": script_filename,
         "REQUEST_URI": script_name + ("?" + query if query else ""), "QUERY_STRING": query,
         "REMOTE_ADDR": "127.0.0.1", "SERVER_NAME": "localhost", "SERVER_PORT": "80"}
    if body or method in ("POST", "PUT"):
        p["CONTENT_LENGTH"] = str(len(body))
        p["CONTENT_TYPE"] = "application/x-www-form-urlencoded"
    return p | (extra or {})


# -- decoding ----------------------------------------------------------------------
@dataclass
class Record:
    version: int
    type: int
    req_id: int
    content: bytes
    padding: int = 0

    def __repr__(self) -> str:
        return f"{NAMES.get(self.type, self.type)}(id={self.req_id}, {len(self.content)} B)"


class Reader:
    """Records from a socket."""

    def __init__(self, sock: socket.socket):
        self.sock, self.buf = sock, b""

    def exactly(self, n: int) -> bytes:
        while len(self.buf) < n:
            got = self.sock.recv(max(65536, n - len(self.buf)))
            if not got:
                if not self.buf:
                    raise EOFError
                raise ProtocolError(f"closed within a record: {len(self.buf)} of {n} bytes")
            self.buf += got
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def record(self) -> Record:
        version, type, req_id, length, padding, _ = struct.unpack(">BBHHBB", self.exactly(8))
        try:
            content = self.exactly(length + padding)[:length] if length + padding else b""
        except EOFError:
            raise ProtocolError("closed between a record's header and its content") from None
        return Record(version, type, req_id, content, padding)


def decode_pairs(data: bytes) -> dict[str, str]:
    """Names and values as str by latin-1 surrogate-free rules: bytes that are no UTF-8 are escaped."""
    out, i = {}, 0

    def length() -> int:
        nonlocal i
        if i >= len(data):
            raise ProtocolError("a pair without its lengths")
        n = data[i]
        i += 1
        if n & 0x80:
            if i + 3 > len(data):
                raise ProtocolError("a pair's four-byte length is cut")
            n = ((n & 0x7f) << 24) | int.from_bytes(data[i:i + 3], "big")
            i += 3
        return n
    while i < len(data):
        nl, vl = length(), None
        vl = length()
        if i + nl + vl > len(data):
            raise ProtocolError(f"a pair of {nl}+{vl} bytes is cut")
        name = data[i:i + nl].decode("utf-8", "surrogateescape")
        out[name] = data[i + nl:i + nl + vl].decode("utf-8", "surrogateescape")
        i += nl + vl
    return out


# -- a client ------------------------------------------------------------------------
@dataclass
class Response:
    """What a responder answered, by stream."""
    out: bytes = b""
    err: bytes = b""
    app_status: int | None = None
    protocol_status: int | None = None
    records: list[Record] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.protocol_status is not None

    def _split(self) -> tuple[bytes, bytes]:
        if self.out.startswith(b"\r\n"):
            return b"", self.out[2:]
        ends = [(self.out.find(s), len(s)) for s in (b"\r\n\r\n", b"\n\n") if s in self.out]
        if not ends:
            return self.out, b""
        at, n = min(ends)
        return self.out[:at], self.out[at + n:]

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [(k.strip(), v.strip()) for k, _, v in
                (x.decode("latin-1").partition(":") for x in self._split()[0].splitlines() if x)]

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)

    @property
    def status(self) -> int:
        return int((self.header("Status") or "200").split()[0])

    @property
    def body(self) -> bytes:
        return self._split()[1]


def connect(address, timeout: float = 10.0) -> socket.socket:
    """address: (host, port), "host:port", "fcgi://host:port", a path or "unix:path". timeout: times wait.FACTOR."""
    timeout *= wait.FACTOR
    if isinstance(address, str):
        if address.startswith("fcgi://"):
            address = address[len("fcgi://"):].split("/")[0]
        if address.startswith(("unix:", "/")):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            s.settimeout(timeout)
            s.connect(address.removeprefix("unix:"))
            return s
        host, _, port = address.rpartition(":")
        address = (host, int(port))
    s = socket.create_connection(address, timeout=timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


class Client(Stream):
    """One connection to a responder; raw bytes or whole requests."""

    def __init__(self, address, timeout: float = 10.0):
        self.sock = connect(address, timeout)
        self.reader = Reader(self.sock)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def start(self, params: dict, req_id: int = 1, keep: bool = False, role: int = RESPONDER) -> None:
        """BEGIN_REQUEST and PARAMS; the body is still to come."""
        self.send(begin_request(req_id, role, KEEP_CONN if keep else 0) + params_records(params, req_id))

    def stdin(self, data: bytes = b"", req_id: int = 1, end: bool = True) -> None:
        self.send(stream(STDIN, data, req_id, end=end))

    def request(self, params: dict, body: bytes = b"", req_id: int = 1, keep: bool = False,
                role: int = RESPONDER) -> Response:
        self.start(params, req_id, keep, role)
        self.stdin(body, req_id)
        return self.read(req_id)

    def read(self, req_id: int = 1) -> Response:
        """Read to END_REQUEST of this request, or to the end of the connection (then not complete)."""
        r = Response()
        while True:
            try:
                rec = self.reader.record()
            except EOFError:
                return r
            r.records.append(rec)
            if rec.req_id != req_id:
                continue
            if rec.type == STDOUT:
                r.out += rec.content
            elif rec.type == STDERR:
                r.err += rec.content
            elif rec.type == END_REQUEST:
                r.app_status, r.protocol_status = struct.unpack(">IB3x", rec.content[:8])
                return r

    def get_values(self, names=("FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS")) -> dict[str, str]:
        self.send(record(GET_VALUES, 0, b"".join(pair(n, "") for n in names)))
        return decode_pairs(self.reader.record().content)


def request(address, params: dict, body: bytes = b"", timeout: float = 10.0) -> Response:
    """One request over a connection of its own."""
    with Client(address, timeout) as c:
        return c.request(params, body)
