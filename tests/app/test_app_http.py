"""Methods, slashes, headers: what holds for every page."""

import http.client
import urllib.parse

import pytest

FORMS = ["/signin/", "/signup/", "/forgot-password/"]


@pytest.mark.parametrize("path", FORMS)
def test_anonymous_pages(anonymous, path):
    page = anonymous.get(path)
    assert page.status == 200 and page.forms


@pytest.mark.parametrize("path", [
    "/nothing/", "/notes/", "/pads/", "/notes/0/", "/notes/01/", "/notes/-1/", "/notes/1e3/", "/notes/x/",
    "/notes/99999999999999999999/", "/notes/1/edit/more/", "/notes/{id}/", "//signin/", "/signin//",
    "/reset-password/xyz/", "/.env", "/index.php/nothing/"])
def test_unknown_path_is_404(user, path):
    page = user.get(path)
    assert page.status == 404


@pytest.mark.parametrize("path", ["/../etc/passwd", "/%2e%2e/", "/assets/../../schema.sql", "/assets/%2e%2e/%2e%2e/src/App.php"])
def test_files_outside_the_document_root_are_not_there(anonymous, path):
    page = anonymous.get(path)
    assert page.status in (400, 404)
    assert "CREATE TABLE" not in page.text and "<?php" not in page.text


def test_404_is_a_page(anonymous):
    page = anonymous.get("/nothing/")
    assert page.status == 404 and "Not found" in page.words and "/" in page.links


@pytest.mark.parametrize("path, target", [
    ("/signin", "/signin/"),
    ("/notes/1", "/notes/1/"),
    ("/pads/7/edit", "/pads/7/edit/"),
    ("/pads/7?order=-name", "/pads/7/?order=-name"),
    ("/signin?next=%2Fsettings%2F", "/signin/?next=%2Fsettings%2F"),
])
def test_missing_slash_is_added(anonymous, path, target):
    page = anonymous.get(path)
    assert (page.status, page.location) == (301, target)


def test_missing_slash_keeps_a_form(anonymous):
    page = anonymous.request("POST", "/signin", {"email": "x"})
    assert (page.status, page.location) == (308, "/signin/")


def test_missing_slash_never_leads_elsewhere(anonymous):
    for path in ("//elsewhere.example", "//elsewhere.example/signin", "/\\elsewhere.example"):
        page = anonymous.get(path)
        assert page.status == 404 and page.location is None


@pytest.mark.parametrize("method, path, allow", [
    ("POST", "/", "GET, HEAD"),
    ("DELETE", "/notes/1/", "GET, HEAD"),
    ("PUT", "/notes/1/edit/", "GET, HEAD, POST"),
    ("OPTIONS", "/signin/", "GET, HEAD, POST"),
    ("PATCH", "/pads/1/", "GET, HEAD"),
])
def test_wrong_method(anonymous, method, path, allow):
    page = anonymous.request(method, path)
    assert page.status == 405 and page.headers["Allow"] == allow


@pytest.mark.parametrize("path", ["/", "/signin/", "/nothing/", "/notes/create/"])
def test_head_is_get_without_body(user, path):
    user.get("/")  # shows the message that sign-up left
    got, head = user.get(path), user.request("HEAD", path)
    assert head.status == got.status and head.body == b""
    # A web server in front may leave the length out (RFC 9110 §8.6), but never change it.
    assert head.headers["Content-Length"] in (None, str(len(got.body)))
    assert head.headers["Content-Type"] == got.headers["Content-Type"]


@pytest.mark.parametrize("path", ["/", "/signin/", "/nothing/"])
def test_security_headers(user, path):
    headers = user.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Instance"]
    assert "X-Powered-By" not in headers


def test_pages_need_no_inline_style_or_script_and_no_other_host(user):
    note = user.create_note("n")
    for path in ("/", note, note + "edit/", "/settings/", "/signin/"):
        text = user.get(path).text
        assert "<script" not in text and "style=" not in text and "<style" not in text
        assert "://" not in text


def test_instance_is_shown(servers):
    server = servers(NOTEJAM_INSTANCE="pod-7\r\nX-Evil: 1<b>").create_database().start()
    page = server.browser().get("/signin/")
    assert page.headers["X-Instance"] == "pod-7??X-Evil:?1<b>"
    assert page.headers["X-Evil"] is None
    assert "answered by pod-7??X-Evil:?1<b>" in page.words and "1<b>" not in page.text


def test_instance_is_the_host_name_by_default(servers):
    server = servers(NOTEJAM_INSTANCE="").create_database().start()
    assert server.browser().get("/signin/").headers["X-Instance"]


def test_assets(anonymous):
    links = [part.split('"')[0] for part in anonymous.get("/signin/").text.split('href="')[1:]]
    for link in [link for link in links if link.startswith("/assets/")]:
        page = anonymous.get(link)
        assert page.status == 200 and len(page.body) > 100, link


def test_absolute_form_of_the_target(anonymous):
    parts = urllib.parse.urlsplit(anonymous.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.putrequest("GET", anonymous.url + "/signin/")
    connection.endheaders()
    assert connection.getresponse().status == 200
    connection.close()


def test_form_above_post_max_size_is_413(anonymous):
    page = anonymous.request("POST", "/signin/", {"email": "x" * (9 << 20)})
    assert page.status == 413
