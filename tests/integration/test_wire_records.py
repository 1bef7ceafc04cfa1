"""Every row of the wire table, with a responder that follows a script byte by byte.

One httpd and one responder serve the whole module; each test says what the responder answers and
which line of the log it expects.
"""
import time

import pytest

from tools import fcgi, http, wait
from tools.httpd import ALL_TO_PHP
from tools.responder import Close, Reset, Split

PLAIN = "Content-Type: text/plain\r\n"


@pytest.fixture(scope="module")
def backend(module_responder):
    return module_responder()


@pytest.fixture(scope="module")
def server(module_httpd, backend):
    h = module_httpd(f"""
DemoBackend {backend.url}
DemoTimeout queue=0
DemoLimit headers=64K
{ALL_TO_PHP}
""", modules=["unique_id"])
    return h.start()


@pytest.fixture
def ask(server, backend):
    """ask(step, …) -> the response to GET /x.php, the responder playing the steps."""
    def get(*steps, method="GET", target="/x.php", **kw):
        backend.forget()
        backend.script(*steps)
        return http.request(server, method, target, **kw)
    return get


@pytest.fixture
def error(server):
    """error(regex): the one line that the failure must log, with backend and phase."""
    def claim(regex):
        server.error_log.claim(r"DM1003: backend fcgi://127\.0\.0\.1:\d+.*" + regex, count=1)
    return claim


# --- records cut anywhere -------------------------------------------------------------------
def test_wire_byte_by_byte(ask):
    r = ask(Split(fcgi.response("body", PLAIN + "X-A: b\r\n", err="line\n").replace(b"line\n", b"     "), 1))
    assert (r.status, r.body, r.header("X-A")) == (200, b"body", "b")


@pytest.mark.parametrize("size", [2, 3, 7, 8, 9, 64])
def test_wire_cut_in_pieces(ask, size):
    body = bytes(range(256)) * 8
    r = ask(Split(fcgi.stream(fcgi.STDOUT, PLAIN.encode() + b"\r\n" + body, chunk=100, padding=size) + fcgi.end_request(),
                  size))
    assert r.body == body


@pytest.mark.parametrize("padding", [1, 7, 255])
def test_wire_padding_is_consumed(ask, padding):
    r = ask(fcgi.stream(fcgi.STDOUT, PLAIN.encode() + b"\r\n" + b"x" * 1000, chunk=10, padding=padding)
            + fcgi.end_request(padding=padding))
    assert r.body == b"x" * 1000


def test_wire_empty_records_do_not_end_the_answer(ask):
    nothing = fcgi.record(fcgi.STDOUT) + fcgi.record(fcgi.STDERR)
    r = ask(nothing + fcgi.stdout(PLAIN + "\r\n") + nothing + fcgi.stdout("a") + nothing + 0 * b"" + fcgi.stdout("b") + nothing
            + fcgi.end_request())
    assert r.body == b"ab"


def test_wire_end_request_split_over_reads_keeps_the_connection(ask, backend):
    whole = fcgi.response("x")
    for cut in (1, 8, 15):
        r = ask([whole[:-cut], 0.05, whole[-cut:]])
        assert r.body == b"x"
    before = backend.connections
    assert ask(whole).body == b"x"
    assert backend.connections <= before + 1


def test_wire_bytes_behind_the_end_close_the_connection(ask, server, backend):
    evil = fcgi.response("mine") + fcgi.response("of another request")
    spoilt = set()
    for _ in range(5):
        assert ask(evil).body == b"mine"
        assert backend.last.conn not in spoilt          # none of them was used again
        spoilt.add(backend.last.conn)
    wait.until(lambda: server.error_log.grep("DM1041"), 5, "the note of left-over bytes")
    for _ in range(4):
        assert ask(fcgi.response("clean")).body == b"clean"
        assert backend.last.conn not in spoilt


def test_wire_bytes_that_come_later_are_never_another_answer(ask, backend):
    """What a backend sends on an idle kept connection must not be read as the next answer."""
    first, stray = fcgi.response("first"), fcgi.response("stray")
    for _ in range(5):
        assert ask([first, 0.03, stray]).body == b"first"
        sent = backend.last
        wait.until(lambda sent=sent: sent.sent == len(first + stray) or sent.send_error, 10, "the stray answer")
        assert ask(fcgi.response("second")).body == b"second"


# --- malformed ---------------------------------------------------------------------------------
@pytest.mark.parametrize("name,data", [
    ("version", fcgi.record(fcgi.STDOUT, 1, b"x", version=2)),
    ("garbage", b"HTTP/1.1 200 OK\r\n\r\n"),
    ("id", fcgi.response("x", req_id=2)),
    ("id_zero", fcgi.stdout(PLAIN + "\r\nx", req_id=0)),
    ("type_of_a_client", fcgi.record(fcgi.STDIN, 1, b"x")),
    ("short_end", fcgi.record(fcgi.END_REQUEST, 1, b"\0\0\0")),
])
def test_wire_malformed_record_is_502(ask, error, name, data):
    error(r"response: malformed FastCGI record")
    r = ask([data, Close()])
    assert r.status == 502 and b"HTTP/1.1 200 OK" not in r.body


@pytest.mark.parametrize("length", [0, 1, 8, 9000, 65535])
@pytest.mark.parametrize("type", [12, 99, 255])
def test_wire_unknown_record_is_skipped_exactly(ask, length, type):
    odd = fcgi.record(type, 1, b"\1\6\0\1" * 16384 if length == 65535 else b"z" * length,
                      255, length=None) if length != 65535 else fcgi.record(type, 1, b"z" * 65535, 255)
    r = ask(odd + fcgi.stdout(PLAIN + "\r\nbo") + odd + fcgi.stdout("dy") + odd + fcgi.end_request())
    assert (r.status, r.body) == (200, b"body")


def test_wire_largest_record(ask):
    body = b"".join(b"%07d\n" % i for i in range(200000))
    r = ask(fcgi.stdout(PLAIN + "\r\n") + fcgi.stream(fcgi.STDOUT, body, chunk=65535, padding=255) + fcgi.end_request())
    assert r.body == body


def test_wire_large_parameters_are_split_between_pairs(httpd, responder):
    b = responder()
    h = httpd(f"""
DemoBackend {b.url}
LimitRequestFieldSize 65500
LimitRequestLine 65500
LimitRequestFields 0
{ALL_TO_PHP}
""").start()
    fields = {f"X-Field-{i}": f"{i}-" + "v" * 50000 for i in range(30)}
    assert http.get(h, "/x.php?" + "q" * 60000, fields).status == 200
    got = b.wait_requests(1)[0]
    assert sum(len(v) for v in got.params.values()) > 1 << 20
    for name, value in fields.items():
        assert got.params["HTTP_" + name.upper().replace("-", "_")] == value
    assert got.params["QUERY_STRING"] == "q" * 60000
    for rec in got.records:                       # php-fpm decodes each record on its own
        if rec.type == fcgi.PARAMS:
            fcgi.decode_pairs(rec.content)


def test_wire_parameter_that_fits_no_record(httpd, responder):
    b = responder()
    h = httpd(f"DemoBackend {b.url}\nLimitRequestFieldSize 200000\nLimitRequestLine 200000\n"
              + ALL_TO_PHP).start()
    h.error_log.claim(r"DM1021: parameter HTTP_X_LONG of 70000 bytes", count=1)
    assert http.get(h, "/x.php", {"X-Long": "v" * 70000}).status == 431
    h.error_log.claim(r"DM1021: parameter (QUERY_STRING|REQUEST_URI) of 700\d\d bytes", count=1)
    assert http.get(h, "/x.php?" + "q" * 70000).status == 414
    assert not b.requests


# --- END_REQUEST -----------------------------------------------------------------------------------
def test_wire_overloaded_is_503_with_retry_after(ask, error):
    error("OVERLOADED")
    r = ask(fcgi.end_request(protocol_status=fcgi.OVERLOADED))
    assert r.status == 503 and int(r.header("Retry-After")) > 0


def test_wire_overloaded_then_free(httpd, responder):
    b = responder(fcgi.end_request(protocol_status=fcgi.OVERLOADED), fcgi.end_request(protocol_status=fcgi.OVERLOADED),
                  fcgi.end_request(protocol_status=fcgi.OVERLOADED), fcgi.response("done"))
    h = httpd(f"DemoBackend {b.url}\n{ALL_TO_PHP}").start()
    h.error_log.claim("DM1003.*OVERLOADED.*another follows", optional=True)
    r = http.post(h, "/x.php", b"body")
    assert (r.status, r.body) == (200, b"done")
    assert {q.stdin for q in b.requests} == {b"body"}


@pytest.mark.parametrize("status,word", [(fcgi.CANT_MPX_CONN, "CANT_MPX_CONN"), (fcgi.UNKNOWN_ROLE, "UNKNOWN_ROLE"),
                                         (77, "END_REQUEST says")])
def test_wire_refused_request_is_502(ask, error, status, word):
    error(rf"response: .*{word}")
    assert ask(fcgi.end_request(protocol_status=status)).status == 502


def test_wire_end_without_an_answer_is_502(ask, error):
    error("END_REQUEST without a header")
    assert ask(fcgi.end_request()).status == 502


# --- closed too early ---------------------------------------------------------------------------------
@pytest.mark.parametrize("how", [Close(), Reset()])
@pytest.mark.parametrize("sent", [b"\1\6\0", fcgi.stdout("Content-Type: te"), fcgi.stdout(PLAIN)])
def test_wire_closed_within_the_header_is_502(ask, error, how, sent):
    error(r"(read|send): .*")
    r = ask([sent, 0.02, how])
    assert r.status == 502


def test_wire_closed_before_the_first_byte_is_retried_once(ask, server, backend):
    server.error_log.claim(r"DM1003.*closed the connection before it answered.*another follows", count=1)
    server.error_log.claim(r"DM1003.*attempt 2\b", count=1)
    assert ask(Close()).status == 502
    assert len(backend.requests) == 2


def test_wire_closed_before_the_first_byte_then_well(ask, server):
    server.error_log.claim(r"DM1003.*another follows", count=1)
    assert ask(Close(), fcgi.response("second")).body == b"second"


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("body", ["short", "x" * 100000])
def test_wire_closed_within_the_body_is_no_clean_end(ask, error, version, length, body):
    error("read: .*within the body")
    head = PLAIN + ("Content-Length: 200000\r\n" if length else "")
    with pytest.raises((http.Truncated, ConnectionResetError)):
        ask([fcgi.response(body, head, end=False), 0.02, Close()], version=version)


# --- headers ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("head", ["A: b\n\n", "A: b\r\n\r\n", "A: b\n\r\n", "A: b\r\n\n"])
def test_wire_line_ends_of_the_header(ask, head):
    r = ask(fcgi.stdout(head + "body") + fcgi.end_request())
    assert (r.status, r.header("A"), r.body) == (200, "b", b"body")


@pytest.mark.parametrize("size", [1, 2, 3, 11])
def test_wire_header_split_over_records(ask, size):
    r = ask(fcgi.stream(fcgi.STDOUT, b"Status: 201 Made\r\nA: b\r\n\r\nbody", chunk=size) + fcgi.end_request())
    assert (r.status, r.reason, r.header("A"), r.body) == (201, "Made", "b", b"body")


def test_wire_header_without_an_end_is_502(ask, error):
    error("header exceeds DemoLimit headers=")
    assert ask(fcgi.stdout(b"X: " + b"a" * 200000) + fcgi.end_request()).status == 502


def test_wire_header_end_missing_at_the_end(ask, error):
    error("END_REQUEST before the end of the header")
    assert ask(fcgi.stdout("X: y\r\n") + fcgi.end_request()).status == 502


def test_wire_long_header_line_and_many_headers(ask):
    r = ask(fcgi.response("x", PLAIN + "X-Long: " + "l" * 60000 + "\r\n"))
    assert len(r.header("X-Long")) == 60000
    r = ask(fcgi.response("x", PLAIN + "".join(f"X-{i}: {i}\r\n" for i in range(1000))))
    assert all(r.header(f"X-{i}") == str(i) for i in range(1000))


@pytest.mark.parametrize("line,what", [("Status: abc", "malformed Status"), ("Status: 99", "malformed Status"),
                                       ("Status: 600 x", "malformed Status"), ("Status: 100", "malformed Status"),
                                       ("No colon here", "malformed header: malformed header line: \"No colon here\""), (": empty", "malformed header"),
                                       ("A: b\r\n folded", "malformed header"), ("A: b\x01", "malformed header"),
                                       ("A b: c", "malformed header"), ("Content-Length: -1", "Content-Length"),
                                       ("Content-Length: 1\r\nContent-Length: 2", 'a second, different Content-Length "2"'),
                                       ("Content-Length: 1x", 'malformed Content-Length "1x"')])
def test_wire_malformed_header_is_502(ask, error, line, what):
    error(what)
    r = ask(fcgi.response("body", line + "\r\n" + PLAIN))
    assert r.status == 502 and r.header("A") is None


def test_wire_no_status_is_200(ask):
    assert ask(fcgi.response("x")).status == 200


@pytest.mark.parametrize("status", [201, 301, 404, 418, 500, 503])
def test_wire_status_and_body_of_the_script(ask, status):
    r = ask(fcgi.response("own page", f"Status: {status} Own Reason\r\n" + PLAIN))
    assert (r.status, r.reason, r.body) == (status, "Own Reason", b"own page")


@pytest.mark.parametrize("status", [299, 420, 599])
def test_wire_status_that_httpd_does_not_know_is_passed_on(ask, status):
    """PHP's http_response_code(599) sends no reason, and httpd has none for it."""
    r = ask(fcgi.response("own page", f"Status: {status}\r\n" + PLAIN))
    assert (r.status, r.body) == (status, b"own page")


def test_wire_answer_that_the_client_has_is_304(ask, backend):
    """As with a file, and as mod_cgi does: only where the script leaves the status to the server."""
    has = PLAIN + 'ETag: "v1"\r\nLast-Modified: Mon, 06 May 2024 07:08:09 GMT\r\n'
    for field in ({"If-None-Match": '"v0", "v1"'}, {"If-Modified-Since": "Mon, 06 May 2024 07:08:09 GMT"}):
        r = ask(fcgi.response("body", has + "Content-Length: 4\r\n"), headers=field)
        assert (r.status, r.body, r.header("ETag")) == (304, b"", '"v1"')
    for field in ({"If-None-Match": '"v0"'}, {"If-Modified-Since": "Mon, 06 May 2024 07:08:08 GMT"}):
        assert ask(fcgi.response("body", has), headers=field).body == b"body"
    has_it = {"If-None-Match": '"v1"'}
    assert ask(fcgi.response("body", "Status: 200 OK\r\n" + has), headers=has_it).status == 200
    assert ask(fcgi.response("body", "Status: 404 Not Found\r\n" + has), headers=has_it).status == 404
    assert ask(fcgi.response("done", has), method="POST", headers=has_it, body=b"x").body == b"done"


def test_wire_repeated_fields_are_kept(ask):
    r = ask(fcgi.response("x", PLAIN + "Set-Cookie: a=1\r\nSet-Cookie: b=2; Path=/\r\nVary: A\r\nset-cookie: c=3\r\n"))
    assert r.all("Set-Cookie") == ["a=1", "b=2; Path=/", "c=3"]


def test_wire_fields_between_hops_are_dropped(ask):
    r = ask(fcgi.response("x", PLAIN + "Connection: keep-alive, X-A\r\nTransfer-Encoding: gzip, chunked\r\nTrailer: T\r\n"
                          "Upgrade: h2c\r\nX-B: 1\r\n"))
    assert r.body == b"x" and r.header("X-B") == "1" and r.header("Upgrade") is None and r.header("Trailer") is None
    assert "gzip" not in (r.header("Transfer-Encoding") or "")


# --- Location, RFC 3875 §6.2 -------------------------------------------------------------------------------
def test_wire_location_elsewhere_is_302(ask):
    r = ask(fcgi.response("", "Location: https://example.org/a\r\n"))
    assert (r.status, r.header("Location")) == (302, "https://example.org/a")


def test_wire_location_of_another_host_is_no_path(ask):
    r = ask(fcgi.response("", "Location: //example.org/a\r\n"))
    assert (r.status, r.header("Location")) == (302, "//example.org/a")


def test_wire_location_path_is_answered_from_there(ask, backend):
    r = ask(fcgi.response("", "Location: /other.php?a=b\r\n"), lambda ex: fcgi.response(ex.params["SCRIPT_NAME"] + "?"
            + ex.params["QUERY_STRING"] + ex.params["REQUEST_METHOD"] + ex.params.get("CONTENT_LENGTH", "-")),
            method="POST", body=b"form=data")
    assert (r.status, r.body) == (200, b"/other.php?a=bGET-")


def test_wire_location_with_status_is_passed_on(ask):
    r = ask(fcgi.response("moved", "Status: 301\r\nLocation: /new\r\n" + PLAIN))
    assert (r.status, r.header("Location"), r.body) == (301, "/new", b"moved")


def test_wire_endless_local_redirect_ends(ask, server):
    server.error_log.claim("AH00124")
    assert ask(fcgi.response("", "Location: /x.php\r\n")).status == 500


# --- no body ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [204, 304])
def test_wire_no_body_with_204_and_304(ask, backend, server, status):
    with http.Connection(server.port) as c:
        backend.script(fcgi.response("must not be seen", f"Status: {status}\r\n" + PLAIN), fcgi.response("next"))
        c.request("GET", "/x.php")
        assert c.read().status == status
        c.request("GET", "/x.php")
        assert c.read().body == b"next"


def test_wire_head_has_the_headers_and_no_body(server, backend):
    with http.Connection(server.port) as c:
        backend.script(fcgi.response("x" * 1000, PLAIN + "Content-Length: 1000\r\n"), fcgi.response("next"))
        c.request("HEAD", "/x.php")
        r = c.read("HEAD")
        assert (r.status, r.header("Content-Length")) == (200, "1000")
        c.request("GET", "/x.php")
        assert c.read().body == b"next"


# --- Content-Length -----------------------------------------------------------------------------------------
def test_wire_body_shorter_than_stated_is_no_clean_end(ask, error):
    error("the body has 5 bytes, Content-Length says 10")
    with pytest.raises(http.Truncated):
        ask(fcgi.response("short", PLAIN + "Content-Length: 10\r\n"))


def test_wire_body_longer_than_stated_is_cut(ask, server, backend):
    server.error_log.claim("DM1052.*Content-Length of 3", count=2)
    with http.Connection(server.port) as c:
        backend.script(fcgi.response("too long", PLAIN + "Content-Length: 3\r\n"),
                       fcgi.stdout(PLAIN + "Content-Length: 3\r\n\r\nab") + fcgi.stdout("cd") + fcgi.stdout("ef")
                       + fcgi.end_request(), fcgi.response("next"))
        for body in (b"too", b"abc", b"next"):
            c.request("GET", "/x.php")
            assert c.read().body == body


# --- STDERR ---------------------------------------------------------------------------------------------------
def test_wire_stderr_goes_to_the_log_a_line_each(ask, server):
    server.error_log.claim(r"DM1040: \[request \S{10,}\] PHP: (first|second|third and last)$", count=3)
    r = ask(fcgi.stderr("first\nsec") + fcgi.stdout(PLAIN + "\r\nbo") + fcgi.stderr("ond\r\n\nthird and") + fcgi.stdout("dy")
            + fcgi.stderr(" last") + fcgi.end_request())
    assert r.body == b"body"


def test_wire_stderr_of_an_answer_that_fails(ask, server, error):
    server.error_log.claim("DM1040.*PHP Fatal", count=1)
    error("closed the connection")
    assert ask([fcgi.stderr("PHP Fatal error: out of it"), Close()]).status == 502


# --- kept connections -----------------------------------------------------------------------------------------
def test_wire_kept_connection_that_dies_is_retried(ask, server, backend):
    """Closed while idle: found before it is used. Closed by the request itself: one new connection."""
    assert ask(fcgi.response("one")).body == b"one"
    server.error_log.claim("DM1003.*before it answered.*another follows", optional=True)
    for _ in range(5):
        assert ask([fcgi.response("one"), 0.01, Close()]).body == b"one"
        time.sleep(0.05)
        assert ask(fcgi.response("two")).body == b"two"


def test_wire_post_is_never_sent_twice(server, backend):
    for _ in range(3):                                # a kept connection is there
        backend.script(fcgi.response("x"))
        assert http.get(server, "/x.php").status == 200
    backend.forget()
    backend.script(Close())
    server.error_log.claim("DM1003.*closed the connection before it answered.*attempt 1", count=1)
    assert http.post(server, "/x.php", b"order").status == 502
    assert len(backend.requests) == 1


# --- php-fpm is reloaded: a kept connection is reset within an answer ----------------------------------------------
CUT = [lambda ex: fcgi.response("half of it", PLAIN + "X-Cut: 1\r\nContent-Length: 200\r\nStatus: 203 Cut\r\n", end=False, req_id=ex.id),
       0.05, Reset()]
WHOLE = fcgi.response("whole", "Content-Type: text/css\r\n")


@pytest.mark.parametrize("on", ["another", "first"])
def test_wire_answer_cut_by_a_reset_comes_again_whole(ask, server, backend, on):
    """The client has nothing of it yet: neither a field of the first answer nor a byte of its body is in the second."""
    if on == "another":
        assert ask(fcgi.response("one")).body == b"one"
    r = ask(CUT, WHOLE)
    assert (r.status, r.body, r.header("Content-Type"), r.header("Content-Length")) == (200, b"whole", "text/css", "5")
    assert r.header("X-Cut") is None
    assert len(backend.requests) == 2 and not backend.requests[1].keep_conn
    assert server.error_log.wait_for(r"DM1003: backend .*read: .*within the body \(attempt 1, another follows")


def test_wire_answer_cut_twice_is_no_clean_end(ask, error, backend):
    error("read: .*within the body .attempt 2,")
    with pytest.raises((http.Truncated, ConnectionResetError)):
        ask(CUT)
    assert len(backend.requests) == 2


@pytest.mark.parametrize("head,body", [("X-Accel-Buffering: no\r\n", b"began"), ("", b"x" * 40000)])
def test_wire_answer_cut_when_the_client_has_some_is_not_repeated(ask, error, backend, head, body):
    error("read: .*within the body .attempt 1,")
    with pytest.raises((http.Truncated, ConnectionResetError)):
        ask([fcgi.response(body, PLAIN + head, end=False), 0.2, Reset()], WHOLE)
    assert len(backend.requests) == 1


def test_wire_post_cut_by_a_reset_is_not_repeated(server, backend, error):
    error("read: .*within the body .attempt 1,")
    backend.forget()
    backend.script(CUT, WHOLE)
    with pytest.raises((http.Truncated, ConnectionResetError)):
        http.post(server, "/x.php", b"order")
    assert len(backend.requests) == 1


def test_wire_answer_cut_with_one_attempt_is_502(httpd, responder):
    b = responder(CUT, WHOLE)
    h = httpd(f'DemoBackend {b.url}\nDemoRetry attempts=1\n{ALL_TO_PHP}').start()
    h.error_log.claim("DM1003: .*within the body .attempt 1,", count=1)
    assert http.get(h, "/x.php").status == 502 and len(b.requests) == 1
