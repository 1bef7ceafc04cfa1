"""What PHP sees: every CGI/1.1 variable, from a real php-fpm's $_SERVER."""
import base64

import pytest

from tools import fcgi, http
from tools.httpd import PHP


@pytest.fixture(scope="module")
def fpm(module_php_fpm):
    return module_php_fpm(workers=4).start()


@pytest.fixture(scope="module")
def site(module_httpd, fpm, module_tmp):
    (module_tmp / "users").write_text("jane:{SHA}" + base64.b64encode(
        __import__("hashlib").sha1(b"kitten").digest()).decode() + "\n")
    (module_tmp / "users").chmod(0o644)
    (fpm.docroot / "sub").mkdir()
    (fpm.docroot / "sub" / "p q.php").write_text((fpm.docroot / "params.php").read_text())
    return module_httpd(f"""
DemoBackend {fpm.url}
DemoParam CONFIGURED "%{{REQUEST_METHOD}} by %{{REMOTE_ADDR}}"
DemoParam HTTP_X_OVERRIDDEN "by the configuration"
SetEnv FROM_SETENV value
{PHP}
<Location "/auth/">
    AuthType Basic
    AuthName "test"
    AuthUserFile {module_tmp}/users
    Require valid-user
</Location>
Alias /auth/ {fpm.docroot}/
Alias /alias {fpm.docroot}/sub
<Location "/alias">
    DemoParam CONFIGURED "in a location"
</Location>
""", modules=["auth_basic", "authn_file", "authz_user", "authn_core", "rewrite"],
        docroot=fpm.docroot).start()


def server(site, target="/params.php", **kw):
    return http.get(site, target, **kw).json()["server"]


def test_rfc3875_variables(site, fpm):
    s = server(site, "/params.php/info/a%20b?x=1&y=%20", headers={"X-Some": "thing", "Cookie": "a=b"})
    assert s | {
        "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1", "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/params.php", "PATH_INFO": "/info/a b", "QUERY_STRING": "x=1&y=%20",
        "PATH_TRANSLATED": f"{fpm.docroot}/info/a b",
        "SCRIPT_FILENAME": f"{fpm.docroot}/params.php", "DOCUMENT_ROOT": str(fpm.docroot),
        "REQUEST_URI": "/params.php/info/a%20b?x=1&y=%20", "REMOTE_ADDR": "127.0.0.1",
        "SERVER_ADDR": "127.0.0.1", "SERVER_PORT": "80", "SERVER_NAME": "localhost",
        "REQUEST_SCHEME": "http", "HTTP_X_SOME": "thing", "HTTP_COOKIE": "a=b", "REDIRECT_STATUS": "200",
        "PHP_SELF": "/params.php/info/a b", "FROM_SETENV": "value", "CONFIGURED": "GET by 127.0.0.1",
    } == s
    assert s["REMOTE_PORT"].isdigit() and s["SERVER_SOFTWARE"].startswith("Apache")
    assert "HTTPS" not in s and "CONTENT_LENGTH" not in s


def test_configured_parameters_have_the_last_word(site):
    s = server(site, headers={"X-Overridden": "by the client"})
    assert s["HTTP_X_OVERRIDDEN"] == "by the configuration"


def test_location_adds_to_the_server(site):
    s = server(site, "/alias/p%20q.php")
    assert s["CONFIGURED"] == "in a location" and s["HTTP_X_OVERRIDDEN"] == "by the configuration"


def test_alias(site, fpm):
    s = server(site, "/alias/p%20q.php/z?q")
    assert (s["SCRIPT_NAME"], s["PATH_INFO"], s["SCRIPT_FILENAME"]) == ("/alias/p q.php", "/z", f"{fpm.docroot}/sub/p q.php")
    assert s["DOCUMENT_ROOT"] == str(fpm.docroot)


def test_authenticated_user(site):
    assert http.get(site, "/auth/params.php").status == 401
    head = {"Authorization": "Basic " + base64.b64encode(b"jane:kitten").decode()}
    s = http.get(site, "/auth/params.php", head).json()["server"]
    assert (s["REMOTE_USER"], s["AUTH_TYPE"]) == ("jane", "Basic") and "HTTP_AUTHORIZATION" not in s


def test_post_variables(site):
    r = http.post(site, "/params.php?g=1", {"a": "ü", "b": "1 2"}).json()
    assert r["post"] == {"a": "ü", "b": "1 2"} and r["get"] == {"g": "1"}
    assert r["server"]["CONTENT_LENGTH"] == "16"
    assert r["server"]["CONTENT_TYPE"] == "application/x-www-form-urlencoded"


def test_chunked_post_has_its_length(site):
    r = http.post_chunked(site, "/params.php", [b"a=1", b"&b=", b"2"],
                          {"Content-Type": "application/x-www-form-urlencoded"}).json()
    assert r["post"] == {"a": "1", "b": "2"} and r["server"]["CONTENT_LENGTH"] == "7"
    assert "HTTP_TRANSFER_ENCODING" not in r["server"]


def test_empty_post(site):
    assert server(site)["REQUEST_METHOD"] == "GET"
    assert http.post(site, "/params.php", b"").json()["server"]["CONTENT_LENGTH"] == "0"
    assert http.post_chunked(site, "/params.php", []).json()["server"]["CONTENT_LENGTH"] == "0"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "CUSTOM"])
def test_methods(site, method):
    assert http.request(site, method, "/params.php", body=b"x" if method == "PUT" else None).json()["server"]["REQUEST_METHOD"] == method


def test_absolute_form(site):
    assert server(site, "http://localhost/params.php?a")["REQUEST_URI"] == "/params.php?a"


# --- files on the other side, front controller --------------------------------------------------
@pytest.fixture(scope="module")
def front(module_httpd, fpm):
    """httpd has the pictures, php-fpm has the scripts."""
    h = module_httpd(f"""
DemoBackend {fpm.url}
DemoDocumentRoot {fpm.docroot}/
DemoFrontController /params.php
""" + PHP)
    (h.docroot / "logo.txt").write_text("a picture")
    (h.docroot / "dir").mkdir()
    return h.start()


@pytest.mark.parametrize("target", ["/", "/blog/2024", "/a.b/c", "/dir/", "/favicon.ico", "/logo.txt/x"])
def test_front_controller_runs_where_no_file_is(front, fpm, target):
    s = server(front, target + "?q=1")
    assert (s["SCRIPT_FILENAME"], s["SCRIPT_NAME"]) == (f"{fpm.docroot}/params.php", "/params.php")
    assert s["REQUEST_URI"] == target + "?q=1" and s["DOCUMENT_ROOT"] == str(fpm.docroot) and "PATH_INFO" not in s


@pytest.mark.parametrize("rest,uri", [("", "/"), ("?/blog", "/?/blog"), ("?a=/b", "/?a=/b"), ("/?a", "/?a")])
def test_absolute_form_without_a_path(front, rest, uri):
    """httpd's access control saw "/": PHP must not see a path that stands in the query."""
    assert server(front, "http://localhost" + rest)["REQUEST_URI"] == uri


def test_front_controller_leaves_files_alone(front):
    assert http.get(front, "/logo.txt").text == "a picture"


def test_front_controller_leaves_scripts_of_the_other_side_alone(front, fpm):
    s = server(front, "/sub/p%20q.php/info")
    assert (s["SCRIPT_FILENAME"], s["PATH_INFO"]) == (f"{fpm.docroot}/sub/p q.php", "/info")
    r = http.get(front, "/missing/too.php")
    front.error_log.claim("Primary script unknown")
    assert r.status == 404


def test_document_root_that_is_the_root(httpd, responder):
    b = responder()
    h = httpd(f"DemoBackend {b.url}\nDemoDocumentRoot /\n{PHP}").start()
    http.get(h, "/a/b.php/c")
    p = b.last.params
    assert (p["DOCUMENT_ROOT"], p["SCRIPT_FILENAME"], p["PATH_TRANSLATED"]) == ("/", "/a/b.php", "/c")


def test_front_controller_with_the_files_here(httpd, fpm):
    h = httpd(f"""
DemoBackend {fpm.url}
DemoFrontController /params.php
{PHP}
<Location "/off">
    DemoFrontController off
</Location>
""", docroot=fpm.docroot).start()
    assert server(h, "/missing.php/x")["SCRIPT_NAME"] == "/params.php"
    assert server(h, "/sub/p%20q.php/x")["SCRIPT_NAME"] == "/sub/p q.php"
    assert http.get(h, "/off/x").status == 404


@pytest.mark.parametrize("slash", ["", "/"])
def test_front_controller_below_an_alias(httpd, fpm, tmp, slash):
    app = tmp / "app"
    app.mkdir()
    (app / "front.php").write_text((fpm.docroot / "params.php").read_text())
    h = httpd(f"""
DemoBackend {fpm.url}
Alias /shop{slash} {app}{slash}
<Directory "{app}">
    DemoFrontController /shop/front.php
</Directory>
{PHP}""").start()
    for target in ("/shop/some/page", "/shop/missing.php", "/shop/"):
        s = server(h, target)
        assert (s["SCRIPT_NAME"], s["SCRIPT_FILENAME"]) == ("/shop/front.php", f"{app}/front.php")
        assert s["REQUEST_URI"] == target


def test_fallback_resource(httpd, fpm):
    h = httpd(f"""
DemoBackend {fpm.url}
FallbackResource /params.php
""" + PHP, docroot=fpm.docroot).start()
    s = server(h, "/blog/2024?x=y")
    assert (s["SCRIPT_NAME"], s["REQUEST_URI"], s["QUERY_STRING"]) == ("/params.php", "/blog/2024?x=y", "x=y")


@pytest.mark.parametrize("how", ["DemoFrontController", "FallbackResource"])
def test_answer_is_not_described_by_the_suffix_of_a_file_that_is_not_there(httpd, responder, how):
    """httpd would say that /a.de.gz is compressed, and in German: what the script sent is neither."""
    b = responder(lambda ex: fcgi.response("plain", "X-A: b\r\n", req_id=ex.id))
    h = httpd(f"""DemoBackend {b.url}
AddEncoding x-gzip .gz
AddLanguage de .de
{how} /index.php
<Location /forced>
    ForceType text/css
</Location>
""" + PHP)
    (h.docroot / "index.php").touch()
    (h.docroot / "real.de.txt.gz").write_text("a file")
    h.start()
    described = [(r.body, r.header("Content-Encoding"), r.header("Content-Language"), r.header("Content-Type"))
                 for r in (http.get(h, "/" + x) for x in ("a.de.gz", "a.css", "real.de.txt.gz"))]
    assert described == [(b"plain", None, None, None), (b"plain", None, None, None), (b"a file", "x-gzip", "de", "text/plain")]
    if how == "DemoFrontController":        # FallbackResource leaves the folder that the type is forced for
        assert http.get(h, "/forced").header("Content-Type") == "text/css"


def test_rewrite_rule(httpd, fpm):
    h = httpd(f"""
DemoBackend {fpm.url}
RewriteEngine on
RewriteRule ^/nice/(.*)$ /params.php/$1?id=$1 [L,QSA]
""" + PHP, modules=["rewrite"], docroot=fpm.docroot).start()
    s = server(h, "/nice/7?a=b")
    assert (s["SCRIPT_NAME"], s["PATH_INFO"], s["QUERY_STRING"]) == ("/params.php", "/7", "id=7&a=b")
    assert s["REQUEST_URI"] == "/nice/7?a=b"


def test_htaccess(httpd, fpm, tmp):
    h = httpd(f"""
DemoBackend {fpm.url}
<Directory "{tmp}/httpd/htdocs">
    AllowOverride All
</Directory>
""")
    (h.docroot / ".htaccess").write_text('<FilesMatch "\\.php$">\nSetHandler demo-fcgi\n</FilesMatch>\nDemoFrontController /params.php\n')
    (h.docroot / "params.php").write_text((fpm.docroot / "params.php").read_text())
    h.start()
    assert server(h, "/some/page")["SCRIPT_NAME"] == "/params.php"
    (h.docroot / ".htaccess").write_text("DemoDocumentRoot /etc\n")
    h.error_log.claim("DemoDocumentRoot not allowed here")
    assert http.get(h, "/some/page").status == 500


@pytest.mark.parametrize("how", [
    "RewriteEngine on\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule ^(.*)$ params.php/$1 [L,QSA,E=SET:by-rewrite]",
    "FallbackResource /params.php/a/b", "ErrorDocument 404 /params.php/a/b"], ids=["htaccess", "fallback", "error"])
def test_path_info_survives_an_internal_redirect(httpd, fpm, how):
    """With REDIRECT_URL php-fpm would move it to ORIG_PATH_INFO."""
    h = httpd(f"DemoBackend {fpm.url}\n{PHP}", modules=["rewrite"])
    h.config += f'<Directory "{h.docroot}">\nAllowOverride All\n</Directory>\n'
    (h.docroot / "params.php").write_text((fpm.docroot / "params.php").read_text())
    (h.docroot / ".htaccess").write_text(how + "\n")
    s = server(h.start(), "/a/b?q=1")
    assert (s["SCRIPT_NAME"], s["PATH_INFO"]) == ("/params.php", "/a/b")
    assert (s["PHP_SELF"], s["REQUEST_URI"]) == ("/params.php/a/b", "/a/b?q=1")
    assert s["PATH_TRANSLATED"] == f"{h.docroot}/a/b" and "ORIG_PATH_INFO" not in s
    assert s.get("REDIRECT_SET") == ("by-rewrite" if "by-rewrite" in how else None)


@pytest.mark.parametrize("files_here", [True, False])
def test_accept_path_info_off(httpd, fpm, files_here):
    docroot = {"docroot": fpm.docroot} if files_here else {}
    h = httpd(f"""
DemoBackend {fpm.url}
DemoDocumentRoot {fpm.docroot}
<Location "/">
    AcceptPathInfo Off
</Location>
{PHP}""", **docroot).start()
    assert server(h, "/params.php")["SCRIPT_NAME"] == "/params.php"
    assert http.get(h, "/params.php/a").status == 404
