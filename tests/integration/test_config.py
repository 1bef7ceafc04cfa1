"""A configuration that is wrong is refused by httpd -t, and the message says where, what and what would be right."""
import pytest

from tools import http, wait

OK = "DemoBackend fcgi://127.0.0.1:9000\n"


def refused(h, *words: str) -> str:
    rc, out = h.conf_test()
    assert rc != 0, f"accepted:\n{h.config}"
    for w in words:
        assert w in out, f"{w!r} is not in:\n{out}"
    return out


def accepted(h) -> None:
    rc, out = h.conf_test()
    assert rc == 0, out


# --- which backend --------------------------------------------------------------------
def test_no_backend_at_all(httpd):
    refused(httpd(""), "DemoBackend", "BACKEND_URL")


def test_backend_of_the_environment(httpd):
    accepted(httpd("", env={"BACKEND_URL": "fcgi://127.0.0.1:9000"}))
    accepted(httpd("", env={"BACKEND_URL": "unix:/run/php/php-fpm.sock"}))


BAD_URLS = ["http://127.0.0.1:9000", "https://php-fpm:9000", "fcgi://", "fcgi://:9000", "fcgi://host:0", "fcgi://host:65536",
            "fcgi://host:port", "fcgi://host:90x", "unix:", "unix:relative/php.sock", "127.0.0.1", "tcp://host:9000",
            "fcgi://ho st:9000", "fcgi://[::1:9000", "unix:/" + "x" * 200]


@pytest.mark.parametrize("url", BAD_URLS)
def test_bad_backend_in_the_configuration(httpd, url):
    out = refused(httpd(f'DemoBackend "{url}"'), "DemoBackend", "httpd.conf")
    assert "line " in out


@pytest.mark.parametrize("url", BAD_URLS)
def test_bad_backend_in_the_environment(httpd, url):
    refused(httpd("", env={"BACKEND_URL": url}), "DemoBackend", "BACKEND_URL")


@pytest.mark.parametrize("url", ["fcgi://127.0.0.1:9000", "fcgi://php-fpm", "fcgi://[::1]:9000", "unix:/run/php/php-fpm.sock",
                                 "fcgi://a:9000 fcgi://b:9001 unix:/x.sock", "FCGI://HOST:9000"])
def test_good_backends(httpd, url):
    accepted(httpd(f"DemoBackend {url}"))


def test_httpd_does_not_start_without_a_backend(httpd):
    with pytest.raises(AssertionError, match="DemoBackend"):
        httpd("").start()


# --- the other directives ---------------------------------------------------------------
@pytest.mark.parametrize("line", [
    "DemoTimeout connect=abc", "DemoTimeout bogus=1s", "DemoTimeout connect=-1s", "DemoTimeout connect",
    "DemoTimeout connect=1parsec", "DemoTimeout connect=99999999999999999999s", "DemoTimeout",
    "DemoPool max=-1", "DemoPool max=many", "DemoPool idle=x", "DemoPool on", "DemoPool size=4",
    "DemoRequestBuffering maybe", "DemoResponseBuffering 2",
    "DemoSpool memory=x", "DemoSpool max=1Q", "DemoSpool memory=-1", "DemoSpool disk=1G", "DemoSpool max=99999999999999999999",
    "DemoRetry attempts=0", "DemoRetry attempts=x", "DemoRetry tries=2", "DemoRetry attempts=-2",
    "DemoQueue max=-1", "DemoQueue max=x", "DemoQueue length=1",
    "DemoFrontController index.php",
    'DemoParam NAME "%{no_such_function:x"', "DemoParam NAME", "DemoParam", 'DemoParam "" x',
    "DemoParam NAME two words",
    "DemoHealthCheck uri=ping", "DemoHealthCheck interval=0s", "DemoHealthCheck fall=0", "DemoHealthCheck rise=x",
    "DemoHealthCheck timeout=-1s", "DemoHealthCheck colour=red",
    "DemoStatus http://127.0.0.1/status", "DemoStatus fcgi://", "DemoStatus",
    "DemoBackupBackend http://x", "DemoBackend", "DemoDocumentRoot",
])
def test_bad_values(httpd, line):
    out = refused(httpd(OK + line), line.split()[0], "httpd.conf")
    assert "line " in out


def test_unknown_directive(httpd):
    refused(httpd(OK + "DemoBackends fcgi://127.0.0.1:9000"), "DemoBackends")


@pytest.mark.parametrize("line", [
    "DemoTimeout connect=2s send=60s read=60s total=0 queue=10s", "DemoTimeout connect=500ms", "DemoTimeout total=2m",
    "DemoPool max=8 idle=2s", "DemoPool off", "DemoRequestBuffering off", "DemoRequestBuffering On",
    "DemoResponseBuffering off", "DemoSpool memory=64K max=1G", "DemoSpool max=10M", "DemoRetry attempts=2",
    "DemoRetry attempts=1", "DemoQueue max=100", "DemoDocumentRoot /app/public", "DemoFrontController /index.php",
    "DemoParam APP_ENV prod", 'DemoParam HTTP_X ""', 'DemoParam REMOTE "%{REMOTE_ADDR}"', "DemoBackupBackend fcgi://other:9000",
    "DemoHealthCheck uri=/ping expect=pong interval=2s timeout=1s fall=2 rise=1", "DemoStatus fcgi://127.0.0.1:9002/status",
])
def test_good_values(httpd, line):
    accepted(httpd(OK + line))


def test_a_bad_graceful_restart_leaves_the_old_configuration_serving(httpd, responder):
    """apachectl configtest is what guards a restart; -t says so without touching what runs."""
    r = responder()
    h = httpd(f"DemoBackend {r.url}\nDemoFrontController /index.php\nDemoParam SCRIPT_X one")
    h.start()
    assert http.get(h, "/anything").status == 200
    good, h.config = h.config, h.config + "\nDemoTimeout connect=abc"
    refused(h, "DemoTimeout")
    assert http.get(h, "/anything").status == 200
    h.config = good.replace("one", "two")
    h.graceful()
    wait.until(lambda: http.get(h, "/anything").status == 200 and r.last.params.get("SCRIPT_X") == "two", 10,
               "the new configuration")
