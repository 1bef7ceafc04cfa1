"""What the relay makes of an upstream's answers, over a Unix socket and over TCP."""
from __future__ import annotations

import pytest

from tools import fcgi
from tools.responder import Close, Split

PARAMS = fcgi.script_params("/x.php", "/x.php")
BODY = bytes(range(256)) * 400


@pytest.fixture(params=["unix", "tcp"])
def upstream(request, responder, relay):
    """upstream(step, …) -> (relay, responder)."""
    def make(*steps, claimed=(), **options):
        r = responder(*steps, unix=request.param == "unix")
        address = f"unix:{r.path}" if request.param == "unix" else f"127.0.0.1:{r.port}"
        return relay(address, claimed, **options), r
    return make


def ask(relay, **kw):
    return fcgi.request(relay.address, PARAMS, **kw)


WHOLE = {
    "one record": fcgi.response(BODY[:60000]),
    "many records": fcgi.stdout(b"Content-Type: text/plain\r\n\r\n" + BODY, chunk=999) + fcgi.end_request(),
    "padding": fcgi.stdout(b"Content-Type: text/plain\r\n\r\n" + BODY, chunk=5000, padding=255)
    + fcgi.end_request(padding=255),
    "empty records": fcgi.record(fcgi.STDOUT) + fcgi.response(b"x", end=False) + fcgi.record(fcgi.STDERR)
    + fcgi.record(fcgi.STDOUT) + fcgi.end_request(),
    "stderr between": fcgi.stderr("one\n") + fcgi.response(b"x", end=False) + fcgi.stderr("two\n") + fcgi.end_request(),
    "unknown type": fcgi.record(77, 1, b"z" * 60000) + fcgi.response(b"x"),
    "nothing but an end": fcgi.end_request(),
    "application status": fcgi.response(b"x", app_status=7),
    "overloaded": fcgi.end_request(protocol_status=fcgi.OVERLOADED),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("pieces", ["whole", "small"])
def test_whole_answers_arrive_as_they_are(upstream, name, pieces):
    data = WHOLE[name]
    relay, r = upstream(data if pieces == "whole" else Split(data, max(1, len(data) // 3000)))
    got = ask(relay, timeout=30)
    want = fcgi.Client.__new__(fcgi.Client)
    want.reader = fcgi.Reader(_Bytes(data))
    want = want.read()
    assert got.complete and (got.out, got.err, got.app_status, got.protocol_status) == \
        (want.out, want.err, want.app_status, want.protocol_status)


class _Bytes:
    """A socket that has received all there is."""

    def __init__(self, data):
        self.data = data

    def recv(self, n):
        out, self.data = self.data[:n], self.data[n:]
        return out


BROKEN = {
    "closed before an answer": Close(),
    "closed in the header": [fcgi.response(b"x")[:20], Close()],
    "closed in the body": [fcgi.response(BODY[:5000], end=False), Close()],
    "version 2": fcgi.record(fcgi.STDOUT, 1, b"x", version=2),
    "another id": fcgi.response(b"x", req_id=2),
    "a request": fcgi.begin_request(),
    "short end": fcgi.record(fcgi.END_REQUEST, 1, b"1234"),
    "http": b"HTTP/1.1 200 OK\r\n\r\nhello, world",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_answers_are_never_whole(upstream, name):
    relay, r = upstream(BROKEN[name], fcgi.response(b"next"), claimed=["SC0303"])
    try:
        assert not ask(relay).complete
    except fcgi.ProtocolError:
        pass  # it ended within a record, as it did for the relay
    assert ask(relay).out.endswith(b"next")
    assert relay.stats()["upstream_errors"] == 1


def test_left_over_bytes_reach_nobody(upstream):
    relay, r = upstream(fcgi.response(b"first") + fcgi.stdout("left over"), fcgi.response(b"second"), claimed=["SC0305"])
    with fcgi.Client(relay.address) as c:
        assert c.request(PARAMS, keep=True).out.endswith(b"first")
        assert c.request(PARAMS, keep=True).out.endswith(b"second")


def test_bodies_arrive_whole(upstream):
    relay, r = upstream(fcgi.response(b"ok"), fcgi.response(b"ok"))
    for size in (70_000, 3):
        body = BODY[:1] * size
        p = fcgi.script_params("/x.php", "/x.php", "POST", body=body, extra={"LONG": "v" * 60000, "OTHER": "w" * 60000})
        assert fcgi.request(relay.address, p, body).complete
        assert r.last.stdin == body
        assert r.last.params["LONG"] == "v" * 60000 and r.last.params["OTHER"] == "w" * 60000
