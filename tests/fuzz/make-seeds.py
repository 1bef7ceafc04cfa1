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

CLIENT_SLOW, CLIENT_DISK_FULL, CLIENT_LOST, HEAD, UNBUFFERED, SMALL, WAITS, RESET, HTTP2 = (
    1, 2, 3, 4, 8, 16, 32, 64, 128)


def answer(wire, choices=0, piece=7, where=0):
    """The input of fuzz_answer: choices, bytes a read, where the client is slow or gone (times 16)."""
    return bytes([choices, piece, where]) + wire


def body(n):
    return bytes(0x20 + i % 95 for i in range(n))


def cgi(*lines, rest=b"body"):
    return b"\r\n".join(lines) + b"\r\n\r\n" + rest


TYPE = b"Content-Type: text/html"

ANSWER = {
    "plain": answer(record(STDOUT, HEADER + b"hello", 3) + record(STDOUT) + end()),
    "head": answer(record(STDOUT, cgi(TYPE)) + end(), HEAD),
    "stderr": answer(record(STDERR, b"PHP Notice:  x in a.php\nhalf a") + record(STDOUT, cgi(TYPE))
                     + record(STDERR, b" line\r\n\nlast") + end(1)),
    "stderr-long": answer(record(STDERR, b"x" * 9000 + b" \n" + b"y" * 7168 + b"\nz") + end(), piece=0),
    "location": answer(record(STDOUT, cgi(b"Location: http://elsewhere/", rest=b"")) + end()),
    "redirect": answer(record(STDOUT, cgi(b"Location: /here?a=b", rest=b"dropped")) + end()),
    "redirect-host": answer(record(STDOUT, cgi(b"Location: //elsewhere/", TYPE)) + end()),
    "length": answer(record(STDOUT, cgi(b"Content-Length: 4", TYPE)) + end()),
    "length-short": answer(record(STDOUT, cgi(b"Content-Length: 40", TYPE)) + end()),
    "length-long": answer(record(STDOUT, cgi(b"Content-Length: 2", TYPE)) + record(STDOUT, b"more") + end()),
    "length-twice": answer(record(STDOUT, cgi(b"Content-Length: 4", b"content-length: 5")) + end()),
    "length-odd": answer(record(STDOUT, cgi(b"Content-Length: +4")) + end()),
    "no-content": answer(record(STDOUT, cgi(b"Status: 204 No Content")) + end()),
    "not-modified": answer(record(STDOUT, cgi(b"Status: 304", b"ETag: \"x\"", rest=b"")) + end()),
    "status-100": answer(record(STDOUT, cgi(b"Status: 100 Continue")) + end()),
    "status-twice": answer(record(STDOUT, cgi(b"Status: 200 OK", b"Status: 500 No")) + end()),
    "cookies": answer(record(STDOUT, cgi(b"Set-Cookie: a=b", b"Set-Cookie: c=d; HttpOnly", TYPE)) + end()),
    "hop-by-hop": answer(record(STDOUT, cgi(b"Connection: close", b"Transfer-Encoding: chunked",
                                            b"Keep-Alive: 5", b"Upgrade: h2c", b"X-A: b")) + end()),
    "event-stream": answer(record(STDOUT, cgi(b"Content-Type: text/event-stream; charset=utf-8"))
                           + record(STDOUT, b"data: 1\n\n") * 3 + end(), WAITS),
    "unbuffered": answer(record(STDOUT, cgi(b"X-Accel-Buffering: no")) + record(STDOUT, body(300)) + end(),
                         UNBUFFERED | CLIENT_SLOW, where=2),
    "slow": answer(record(STDOUT, cgi(TYPE, rest=b"")) + record(STDOUT, body(400)) * 2 + end(),
                   CLIENT_SLOW | SMALL, piece=100, where=1),
    "disk-full": answer(record(STDOUT, cgi(TYPE, rest=b"")) + record(STDOUT, body(200)) + end(),
                        CLIENT_DISK_FULL | SMALL, piece=30, where=1),
    "lost": answer(record(STDOUT, cgi(TYPE, rest=b"")) + record(STDOUT, body(200)) + end(),
                   CLIENT_LOST | SMALL, piece=30, where=4),
    "http2": answer(record(STDOUT, cgi(TYPE, rest=b"")) + record(STDOUT, body(200)) + end(), HTTP2 | SMALL),
    "broken-off": answer(record(STDOUT, cgi(TYPE)) + record(STDOUT, body(99))[:-20], RESET),
    "header-large": answer(record(STDOUT, cgi(b"X-A: " + body(200))) + end(), SMALL),
    "header-none": answer(record(STDOUT, b"<html>") + end(255)),
    "header-odd": answer(record(STDOUT, cgi(b"A\0B: c", b" folded: x")) + end()),
    "header-split": answer(record(STDOUT, b"Content-Type: te") + record(STDOUT, b"xt/plain\r\n\r")
                           + record(STDERR, b"between") + record(STDOUT, b"\nbody") + end()),
    "overloaded": answer(end(0, 2)),
    "unknown-role": answer(record(STDOUT, HEADER) + end(0, 3)),
    "unknown-type": answer(record(99, b"?" * 30, 5) + record(STDOUT, HEADER) + end()),
    "behind-end": answer(record(STDOUT, HEADER + b"x") + end() + record(STDOUT, b"late")),
    "wrong-id": answer(record(STDOUT, HEADER) + record(STDOUT, b"x", request_id=2)),
    "empty": answer(b""),
}

PAGE = b"""pool:                 www
process manager:      static
start since:          12
accepted conn:        345
listen queue:         0
max listen queue:     7
listen queue len:     511
idle processes:       1
active processes:     1
total processes:      2
max active processes: 9
max children reached: 0
slow requests:        0

************************
pid:                  17
state:                Idle
request URI:          /a: b

************************
pid:                  18
state:                Running
"""


def fetched(*lines, page=PAGE, piece=50):
    """The input of fuzz_fetch: bytes a read, then the answer."""
    return bytes([piece]) + record(STDOUT, b"\r\n".join(lines) + b"\r\n\r\n" + page) + end()


FETCH = {
    "page": fetched(b"Content-Type: text/plain"),
    "pong": fetched(b"Content-Type: text/plain", page=b"pong"),
    "not-found": fetched(b"Status: 404 Not Found", page=b"File not found.\n"),
    "status-odd": fetched(b"Status: OK"),
    "numbers-odd": fetched(b"A: b", page=b"pool: \tx \r\nidle processes: 1234567890123456789\rslow requests: -1\n"
                                         b"accepted conn: 0x1\ntotal processes:\n:\n*\nstate:Idle\n"),
    "pool-long": fetched(b"A: b", page=b"pool: " + b"x" * 100 + b"\n"),
    "nul": fetched(b"A: b", page=b"pool: a\0b\nslow requests: 3\n"),
    "too-long": bytes([0]) + record(STDOUT, b"A: b\n\n" + b"x" * 3000) + end(),
    "no-header": bytes([1]) + record(STDOUT, b"pong") + end(),
    "overloaded": bytes([1]) + end(0, 2),
    "cut": bytes([1]) + record(STDOUT, b"A: b\n\npong"),
    "stderr": bytes([3]) + record(STDERR, b"notice") + record(STDOUT, b"A: b\n\npong") + end(),
    "http": bytes([0]) + b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


def params(*texts, limit=0xffff):
    """The input of fuzz_params: DemoLimit params=, names and values."""
    return struct.pack(">H", limit) + b"".join(t + b"\0" for t in texts)


PARAMETERS = {
    "none": params(),
    "browser": params(b"HTTP_HOST", b"localhost", b"HTTP_COOKIE", b"s=" + b"0123456789abcdef" * 12,
                      b"HTTP_ACCEPT", b"text/html", b"SERVER_SOFTWARE", b"Apache"),
    "replaced": params(b"REQUEST_METHOD", b"PUT", b"SCRIPT_NAME", b"/x", b"CONTENT_LENGTH", b"7",
                       b"PATH_INFO", b"/y", b"HTTP_TRANSFER_ENCODING", b"chunked"),
    "empty": params(b"", b"", b"", b"v", b"n", b""),
    "lengths": params(b"n" * 127, b"v" * 127, b"n" * 128, b"v" * 128),
    "growing": params(*(b"A%d" % i if i % 2 == 0 else b"\xff\xff" for i in range(40))),
    "record": params(b"A", b"\xff" * 218, b"B", b"c"),
    "too-long": params(b"A", b"\xff" * 219, b"B", b"c"),
    "uri-too-long": params(b"HTTP_X", b"\xff" * 10, b"QUERY_STRING", b"\xff" * 219),
    "limit-doubled": params(b"HTTP_X", b"\xff" * 13, b"HTTP_Y", b"\xff" * 3, limit=40),
    "limit": params(b"HTTP_X", b"\xff" * 15, b"HTTP_Y", b"z", limit=40),
}

SETTINGS = {
    name.decode().translate(str.maketrans("/:=[]%*@", "________")) or "empty": kind + name
    for kind, names in (
        (b"o", (b"time=2s", b"time=500ms", b"TIME=1m", b"time=0", b"time=9223372036854775807h", b"time=1.5s",
                b"size=64K", b"size=1GiB", b"size=8388608T", b"size=-1", b"count=7", b"count=65537", b"count=+1",
                b"text=/ping", b"text=", b"other=1", b"", b"=")),
        (b"u", (b"fcgi://php-fpm", b"fcgi://127.0.0.1:9000", b"fcgi://[::1]:9000/status", b"fcgi://[::1", b"fcgi://h:0",
                b"fcgi://h:65536", b"FCGI://H:09000/", b"unix:/run/php.sock", b"unix:///run/php.sock",
                b"unix:relative", b"unix:/" + b"x" * 120, b"http://h", b"fcgi://a@b:1", b"fcgi://:1")))
    for name in names
}
SETTINGS = {name[:40]: data for name, data in SETTINGS.items()}

def messages(*pairs, mode=0, where=0):
    """The input of fuzz_frame: what is done, where, and the messages."""
    return struct.pack(">BH", mode, where) + b"".join(bytes([kind, len(text)]) + text for kind, text in pairs)


HELLO, PAGES, BASE_END, LOG, HEARTBEAT, PROGRESS, DONE = range(1, 8)
COPY = ((HELLO, b'{"page_size":4096}'), (PAGES, b"\0\0\0\1" + b"p" * 100), (BASE_END, b""), (LOG, b"l" * 60),
        (HEARTBEAT, b"{}"), (DONE, b'{"code":0,"text":"x"}'))
FRAME = {
    "copy": messages(*COPY),
    "none": messages(),
    "bit-type": messages(*COPY, mode=1, where=3),
    "bit-length": messages(*COPY, mode=1, where=4),
    "bit-sequence": messages(*COPY, mode=0x21, where=15),
    "bit-payload": messages(*COPY, mode=0xe1, where=100),
    "bit-mac": messages(*COPY, mode=1, where=40),
    "cut-head": messages(*COPY, mode=2, where=70),
    "cut-payload": messages(*COPY, mode=2, where=90),
    "raw": bytes([3]) + struct.pack(">IIQ", HELLO, 2, 0) + b"{}" + bytes(32),
    "raw-large": bytes([3]) + struct.pack(">IIQ", PAGES, 0xffffffff, 0),
}



def control(body=b"{}", piece=7, **parameters):
    """The input of fuzz_inbound: size of the pieces, a request of the control port."""
    params = b"".join(pair(k.encode(), v) for k, v in parameters.items())
    return bytes([piece]) + begin(flags=0) + record(PARAMS, params, 3) + record(PARAMS) + record(STDIN, body) + record(STDIN)


INBOUND = {
    "whole": control(SIDECAR_PATH=b"/v1/who", CONTENT_LENGTH=b"2"),
    "bytes": control(piece=1, SIDECAR_PATH=b"/v1/grant", A=b"x" * 200),
    "no-body": control(b""),
    "large-body": control(b"b" * 4097),
    "nul": control(SIDECAR_PATH=b"/v1\0who"),
    "large-params": control(A=b"p" * 5000),
    "pair-beyond": bytes([3]) + begin() + record(PARAMS, bytes([1, 0xff, 0xff, 0xff, 0xff]) + b"A") + record(PARAMS) + record(STDIN),
    "pair-cut": bytes([3]) + begin() + record(PARAMS, bytes([4, 9]) + b"A") + record(PARAMS) + record(STDIN),
    "authorizer": bytes([0]) + begin(role=2) + record(PARAMS) + record(STDIN),
    "two-at-once": bytes([5]) + begin() + begin(request_id=2) + record(PARAMS),
    "body-first": bytes([5]) + begin() + record(STDIN, b"{}") + record(PARAMS),
    "abort": bytes([5]) + begin() + record(PARAMS, pair(b"A", b"x")) + record(ABORT),
    "cut": control(SIDECAR_PATH=b"/v1/who")[:-12],
    "http": bytes([9]) + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "nothing": bytes([0]),
}

LINEAGE = b"0123456789abcdef0123456789abcdef"
WHO = b'{"lineage":"' + LINEAGE + b'","epoch":%s,"format":1,"primary":{"uid":"%s","control":"%s","relay":"10.0.0.1:9000"}}'
AUTHORITY = {
    "record": WHO % (b"7", b"pod-1", b"10.0.0.1:9001"),
    "epoch-0": WHO % (b"0", b"pod-1", b"h:1"),
    "epoch-negative": WHO % (b"-1", b"pod-1", b"h:1"),
    "epoch-max": WHO % (b"9223372036854775807", b"pod-1", b"h:1"),
    "epoch-large": WHO % (b"9223372036854775808", b"pod-1", b"h:1"),
    "epoch-real": WHO % (b"1.0", b"pod-1", b"h:1"),
    "uid-empty": WHO % (b"1", b"", b"h:1"),
    "uid-odd": WHO % (b"1", b"a b", b"h:1"),
    "uid-long": WHO % (b"1", b"u" * 64, b"h:1"),
    "control-long": WHO % (b"1", b"u", b"h" * 272),
    "nul": WHO % (b"1", b"a\\u0000b", b"h:1"),
    "not-utf8": WHO % (b"1", b"u", b"\xff"),
    "twice": b'{"format":1,"format":1}',
    "array": b"[1]",
    "deep": b"[" * 3000,
    "empty": b"",
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
    for harness, seeds in (("stream", STREAM), ("pairs", PAIRS), ("cgih", CGIH), ("prom", PROM),
                           ("answer", ANSWER), ("fetch", FETCH), ("params", PARAMETERS),
                           ("settings", SETTINGS), ("frame", FRAME), ("inbound", INBOUND),
                           ("authority", AUTHORITY)):
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
