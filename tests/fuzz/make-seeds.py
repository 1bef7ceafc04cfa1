#!/usr/bin/python3
"""Writes the seeds of the fuzz harnesses anew, into seeds/ beside this script.

The seeds are in the repository; run this after a change here.
"""
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES, RESULT, UNKNOWN = range(1, 12)


def record(kind, content=b"", padding=0, request_id=1, version=1):
    return (struct.pack(">BBHHBB", version, kind, request_id, len(content), padding, 0)
            + content + b"\0" * padding)


def end(app=0, status=0, **kw):
    return record(END, struct.pack(">IB3x", app, status), **kw)


def begin(role=1, flags=1, **kw):
    return record(BEGIN, struct.pack(">HB5x", role, flags), **kw)


def pair(name, value, long_form=False):
    def length(n):
        return struct.pack(">I", n | 1 << 31) if n > 127 or long_form else bytes([n])
    return length(len(name)) + length(len(value)) + name + value


def stream(wire, client=False, any_id=False, sizes=(3,)):
    """The input of fuzz_stream: choices, sizes of the pieces, wire image."""
    choices = int(client) | (1 if any_id else 0) << 1 | len(sizes) << 4
    return bytes([choices, *sizes]) + wire


HEADER = b"Content-Type: text/html; charset=UTF-8\r\nStatus: 404 Not Found\r\n\r\n"

STREAM = {
    "plain": stream(record(STDOUT, HEADER + b"hello", 3) + end()),
    "stderr": stream(record(STDERR, b"PHP Notice: x\n") + record(STDOUT, HEADER) + record(STDOUT)
                     + record(STDERR) + end(7)),
    "padding": stream(record(STDOUT, b"x", 255) + end(padding=255), sizes=(1, 200, 7)),
    "overloaded": stream(end(0, 2)),
    "unknown-role": stream(end(0xffffffff, 3)),
    "unknown-status": stream(end(0, 200)),
    "after-end": stream(end() + record(STDOUT, b"late")),
    "unknown-type": stream(record(99, b"?" * 300, 5) + record(0, b"", 1) + end()),
    "long-end": stream(record(END, bytes(20), 4)),
    "short-end": stream(record(END, bytes(7))),
    "wrong-id": stream(record(STDOUT, b"x", request_id=2)),
    "wrong-version": stream(record(STDOUT, b"x") + record(STDOUT, b"x", version=2)),
    "wrong-side": stream(record(STDIN, b"x")),
    "http": stream(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "values": stream(record(RESULT, pair(b"FCGI_MPXS_CONNS", b"0"), request_id=0)
                     + record(UNKNOWN, bytes([42]) + bytes(7), request_id=0) + end()),
    "cut": stream(record(STDOUT, HEADER, 8)[:-20]),
    "request": stream(begin() + record(PARAMS, pair(b"SCRIPT_NAME", b"/index.php"), 6)
                      + record(PARAMS) + record(STDIN, b"a=b") + record(STDIN),
                      client=True, any_id=True, sizes=(5, 1)),
    "requests": stream(begin(role=3, flags=0, padding=9) + record(DATA, b"f") + record(DATA)
                       + record(ABORT, b"ignored", 2) + begin(request_id=2)
                       + record(GET_VALUES, pair(b"FCGI_MAX_CONNS", b""), request_id=0)
                       + record(77, b"skip", request_id=0), client=True, any_id=True, sizes=()),
    "client-short-begin": stream(record(BEGIN, bytes(3)), client=True),
}

ROOM = struct.pack(">H", 4096)
NO_ROOM = struct.pack(">H", 0)
PAIRS = {
    "none": ROOM,
    "cgi": ROOM + b"".join(pair(n, v) for n, v in [
        (b"GATEWAY_INTERFACE", b"CGI/1.1"), (b"SCRIPT_FILENAME", b"/app/public/index.php"),
        (b"QUERY_STRING", b""), (b"HTTP_COOKIE", b"s=" + b"0123456789abcdef" * 12)]),
    "lengths": NO_ROOM + pair(b"n" * 127, b"v" * 127) + pair(b"n" * 128, b"v" * 128),
    "empty-names": NO_ROOM + pair(b"", b"") + pair(b"", b"v") + pair(b"n", b""),
    "long-form": ROOM + pair(b"AB", b"xyz", long_form=True) + pair(b"", b"", long_form=True),
    "huge-length": ROOM + b"\xff\xff\xff\xff\xff\xff\xff\xff",
    "lying-length": ROOM + pair(b"A", b"1") + b"\x05\x7fABCDEshort",
    "cut-length": ROOM + b"\x01\x80\x00",
    "full-record": ROOM + pair(b"n" * 1000, b"v" * (65535 - 8 - 1000)) + pair(b"A", b"1"),
    "too-big": NO_ROOM + pair(b"n" * 9, b"v" * 65535) + pair(b"A", b"1"),
}

CGIH = {
    "crlf": b"\x01" + HEADER + b"<html>",
    "lf": b"\x02" + HEADER.replace(b"\r", b"") + b"<html>",
    "mixed": b"\x03Content-Type: a\nX-B:c\r\nSet-Cookie:  d=e \t\n\r\nbody",
    "empty": b"\x04\r\nbody",
    "empty-lf": b"\x04\nbody",
    "status": b"\x05Status: 200\n\n",
    "bad-status": b"\x05Status: 2000 OK\nStatus:\nStatus: 099 x\n\n",
    "location": b"\x00Location: /elsewhere?a=b\r\n\r\n",
    "no-colon": b"\x07<b>Fatal error</b>\n\n",
    "fold": b"\x01A: b\r\n c\r\n\r\n",
    "bare-cr": b"\x01A: b\rC: d\r\r\n\r\r\n\r\n",
    "nul": b"\x01A\0B: c\0d\n\n",
    "no-end": b"\x09A: b\nC: d\n",
    "space-name": b"\x01A : b\n: c\n\n",
    "obs-text": b"\x01A: caf\xc3\xa9 \xff\n\n",
}


def prom(accept, help_text, a, b, number=0.25, integer=7):
    return (struct.pack("<dQ", number, integer)
            + b"\0".join([accept, help_text, a, b]))


PROM = {
    "plain": prom(b"text/plain", b"Requests.", b"GET", b"200"),
    "prometheus": prom(b"application/openmetrics-text;version=1.0.0;q=0.75,"
                       b"text/plain;version=0.0.4;q=0.5,*/*;q=0.1", b"Up.", b"a", b"b"),
    "escapes": prom(b"*/*;q=0", b"a \"b\" \\ \n", b"\\\"\n", b"{},=\" "),
    "odd-bytes": prom(b"\xff,;q=", b"\xed\xa0\x80", b"\xc0\xaf\xf4\x90\x80\x80", b"\xe2\x82"),
    "utf8": prom(b"", "Größe".encode(), "é€𝄞".encode(), b"\x7f\t\r"),
    "nan": prom(b"", b"", b"", b"", float("nan"), 0),
    "inf": prom(b"", b"", b"", b"", float("-inf"), 2 ** 64 - 1),
    "tiny": prom(b"application/openmetrics-text;q=0.001", b"h", b"", b"", 5e-324, 1),
    "third": prom(b"a;q=1.5,b;q=0.00000001", b"h", b"x", b"y", -1 / 3, 10 ** 19),
    "million": prom(b"", b"h", b"x", b"y", 1e6, 10 ** 6),
}


def main():
    for harness, seeds in (("stream", STREAM), ("pairs", PAIRS), ("cgih", CGIH), ("prom", PROM)):
        folder = os.path.join(HERE, "seeds", harness)
        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        for name, data in seeds.items():
            with open(os.path.join(folder, name), "wb") as f:
                f.write(data)
        print(f"{harness}: {len(seeds)} seeds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
