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


# --- how many, how long ------------------------------------------------------------------
def backends(first: int, n: int, directive: str = "DemoBackend") -> str:
    return "".join(f"{directive} fcgi://127.0.0.1:{first + i}\n" for i in range(n))


def refused_at(h, last_line: str, *words: str) -> None:
    """The message names the file and just this line of it."""
    rc, out = h.conf_test()
    assert rc != 0, "accepted"
    line = h.conf.read_text().splitlines().index(last_line) + 1
    for w in ("httpd.conf", f"line {line} ", *words):
        assert w in out, f"{w!r} is not in:\n{out}"


@pytest.mark.parametrize("last", ["DemoBackend fcgi://127.0.0.1:9500", "DemoBackupBackend fcgi://127.0.0.1:9500",
                                  "DemoStatus fcgi://127.0.0.1:9500/status"])
def test_too_many_backends(httpd, last):
    """What can not be looked after is refused by -t already, at the line that is one too many."""
    refused_at(httpd(backends(9000, 32) + last), last, "32 different backends", "DEMO_BACKENDS_MAX", "127.0.0.1:9500")


def test_too_many_backends_in_all_servers(httpd):
    h = httpd("", ports_count=2)
    h.config = backends(9000, 20) + f"<VirtualHost *:{h.ports[1]}>\n" + backends(9100, 13) + "</VirtualHost>"
    refused_at(h, "DemoBackend fcgi://127.0.0.1:9112", "DEMO_BACKENDS_MAX")


def test_too_many_backends_in_the_environment(httpd):
    refused(httpd("", env={"BACKEND_URL": " ".join(f"fcgi://127.0.0.1:{9000 + i}" for i in range(33))}),
            "BACKEND_URL", "32 different backends", "127.0.0.1:9032")


def test_as_many_backends_as_there_may_be(httpd, responder):
    """Those that are named twice count once; httpd starts with them and serves."""
    r = responder()
    h = httpd(f"DemoBackend {r.url}\nDemoFrontController /x.php\n" + backends(1, 31, "DemoBackupBackend")
              + f"DemoBackend {r.url}\nDemoStatus {r.url}/status\n")
    h.error_log.claim("DM0231", optional=True)
    accepted(h)
    h.start()
    assert http.get(h, "/").status == 200


@pytest.mark.parametrize("line", ["DemoStatus fcgi://127.0.0.1/" + "s" * 191, "DemoHealthCheck uri=/" + "p" * 191,
                                  "DemoHealthCheck expect=" + "p" * 192, "DemoBackend fcgi://" + "h" * 254,
                                  "DemoParam " + "N" * 1025 + " x"],
                         ids=lambda line: line[:30])
def test_too_long_values(httpd, line):
    h = httpd(OK + line)
    rc, out = h.conf_test()
    assert rc != 0 and "at most" in out and "line " in out and line.split()[0] in out, out[:2000]
    assert len(out) < 2000


@pytest.mark.parametrize("line", ["DemoStatus fcgi://127.0.0.1/" + "s" * 190, "DemoHealthCheck uri=/" + "p" * 190,
                                  "DemoBackend fcgi://" + "h" * 253 + ":65535", "DemoParam " + "N" * 1024 + " x"], ids=lambda line: line[:30])
def test_values_as_long_as_may_be(httpd, line):
    accepted(httpd(OK + line))


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
    "DemoStatus http://127.0.0.1/status", "DemoStatus fcgi://", "DemoStatus", "DemoStatus fcgi://php-fpm:9002/status?full",
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
