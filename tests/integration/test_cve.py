"""Faults that gateways to PHP had: each has a test with its name."""
import pytest

from tools import fcgi, http
from tools.httpd import ALL_TO_PHP
from tools.responder import Close


@pytest.fixture(scope="module")
def backend(module_responder):
    return module_responder(lambda ex: fcgi.response("|".join(
        ex.params.get(k, "(none)") for k in ("SCRIPT_FILENAME", "PATH_INFO", "SCRIPT_NAME")), req_id=ex.id))


@pytest.fixture(scope="module")
def remote(module_httpd, backend):
    """The files are on php-fpm's side alone; every path goes there."""
    return module_httpd(f"""
DemoBackend {backend.url}
DemoDocumentRoot /app/public
{ALL_TO_PHP}
<Files "secret.php">
    Require all denied
</Files>
""", modules=["authz_host"]).start()


@pytest.fixture(scope="module")
def local(module_httpd, module_php_fpm):
    """The files are on both sides, and php-fpm runs whatever it is given (limit_extensions off)."""
    fpm = module_php_fpm(workers=2, extra="").start()
    for name in ("x.jpg", "x.txt"):
        (fpm.docroot / name).write_text("<?php echo 'EXECUTED';")
    (fpm.docroot / "y.php").write_text("<?php echo 'y', $_SERVER['PATH_INFO'] ?? '';")
    return module_httpd(f"""
DemoBackend {fpm.url}
<LocationMatch "\\.php">
    SetHandler demo-fcgi
</LocationMatch>
""", docroot=fpm.docroot).start()


def raw(server, target, headers=()):
    with http.Connection(server.port) as c:
        c.request("GET", target, {"Connection": "close", **dict(headers)})
        return c.read()


def test_cve_2014_3583_headers_beyond_8_kib(module_httpd, backend, remote):
    for size in (8191, 8192, 8193, 16384, 65000):
        backend.script(fcgi.stream(fcgi.STDOUT, b"X: " + b"h" * size + b"\r\n\r\nbody", chunk=8192) + fcgi.end_request(),
                       lambda ex: fcgi.response("x", req_id=ex.id))
        r = raw(remote, "/x.php")
        assert (r.header("X"), r.body) == ("h" * size, b"body")
    backend.script(echo)


def echo(ex):
    return fcgi.response("|".join(ex.params.get(k, "(none)") for k in ("SCRIPT_FILENAME", "PATH_INFO", "SCRIPT_NAME")),
                         req_id=ex.id)


@pytest.mark.parametrize("target", ["/x.php/a%0ab", "/x.php%0a/b", "/%0a.php/x", "/x.php/%0a", "/x.php/PHP%0Ais_the_shittiest_lang.php"])
def test_cve_2019_11043_newline_in_the_path(remote, target):
    assert raw(remote, target).status == 400


def test_cve_2019_11043_no_empty_path_info(remote):
    assert raw(remote, "/x.php").text == "/app/public/x.php|(none)|/x.php"
    assert raw(remote, "/x.php/").text == "/app/public/x.php|/|/x.php"


@pytest.mark.parametrize("target,status", [("/secret.php%3fx.php", 403), ("/a%3f.php", 403), ("/a%01.php", 400), ("/a.php%7f", 400),
                                           ("/x.php/a%3fb", 200)])
def test_cve_2024_38473_question_mark_and_control_characters(remote, target, status):
    r = raw(remote, target)
    assert r.status == status
    if status == 200:
        assert r.text == "/app/public/x.php|/a?b|/x.php"


def test_cve_2024_38473_access_control_sees_the_script_that_runs(remote):
    remote.error_log.claim("AH01630|AH01797|denied", optional=True)
    for target in ("/secret.php", "/secret.php/x", "/a/b/secret.php", "/a/secret.php/x.php", "//secret.php", "/./a/../secret.php"):
        assert raw(remote, target).status == 403, target


@pytest.mark.parametrize("target", ["/x.jpg/y.php", "/x.jpg/.php", "/x.txt/a/b.php/c", "/x.jpg%2fy.php", "/x.jpg/y.php/x.php"])
def test_fix_pathinfo_does_not_run_another_file(local, target):
    r = raw(local, target)
    assert r.status in (403, 404) and "EXECUTED" not in r.text


def test_fix_pathinfo_script_with_path_info(local):
    assert raw(local, "/y.php/x.jpg").text == "y/x.jpg"


def test_httpoxy(remote, backend):
    backend.forget()
    raw(remote, "/x.php", {"Proxy": "http://evil/", "X-Proxy": "kept"})
    params = backend.wait_requests(1)[0].params
    assert "HTTP_PROXY" not in params and params["HTTP_X_PROXY"] == "kept"


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X.Forwarded.For", "Content_Length", "X~A", "Proxy_"])
def test_header_aliasing(remote, backend, name):
    backend.forget()
    raw(remote, "/x.php", {name: "evil", "X-Forwarded-For": "good"})
    params = backend.wait_requests(1)[0].params
    assert "evil" not in params.values() and params["HTTP_X_FORWARDED_FOR"] == "good"


def test_nul_in_the_path(remote, backend):
    backend.forget()
    assert raw(remote, "/x.php%00.jpg").status in (400, 403, 404)
    assert not backend.requests


@pytest.mark.parametrize("target,script", [("/x.PHP/y.php", "/x.PHP/y.php"), ("/x.Php", "/x.Php"),
                                           ("/x.ph%EF%BD%90/y.php", "/x.phｐ/y.php"),     # fullwidth p
                                           ("/%E2%84%AA.php/a", "/\u212a.php"),               # Kelvin sign lowers to k
                                           ("/x.p%C4%B1p/y.php/z", "/x.pıp/y.php"),
                                           ("/%C8%BA.php.txt.php", "/Ⱥ.php.txt.php")])   # grows when lowered
def test_unicode_case_folding_in_the_split(remote, target, script):
    assert raw(remote, target).text.split("|")[0] == "/app/public" + script


@pytest.mark.parametrize("target,script,info", [
    ("/a.php/b.php", "/a.php", "/b.php"), ("/a.phpx/b.php/c", "/a.phpx/b.php", "/c"), ("/a.php.bak/b", "/a.php.bak/b", "(none)"),
    ("/.php/x.php", "/.php/x.php", "(none)"), ("/a/b/c.php/d//e", "/a/b/c.php", "/d/e"), ("/a%20b.php/c%20d", "/a b.php", "/c d"),
])
def test_split(remote, target, script, info):
    got = raw(remote, target).text.split("|")
    assert got[:2] == ["/app/public" + script, info]


def test_response_splitting_is_refused(remote, backend):
    backend.script(fcgi.response("x", "X-A: b\rSet-Cookie: evil=1\r\n"), echo)
    remote.error_log.claim("DM1003.*malformed header", count=1)
    r = raw(remote, "/x.php")
    assert r.status == 502 and not r.all("Set-Cookie")


def test_one_answer_is_never_given_to_another(remote, backend):
    """Left-over bytes in a kept connection handed one visitor another's page."""
    for _ in range(10):
        backend.script([fcgi.response("A")[:-4], 0.01, fcgi.response("A")[-4:] + fcgi.response("B")], echo)
        assert raw(remote, "/x.php").text == "A"
        assert raw(remote, "/x.php").text.startswith("/app/public")
    backend.script([fcgi.response("A"), Close()], echo)
    assert raw(remote, "/x.php").text == "A"
