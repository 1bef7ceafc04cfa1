"""Names: several addresses, changes at run time, resolvers that fail or hang."""
import time

import pytest

from tools import fcgi, http, metrics, ports, wait
from tools.httpd import HEALTH_PAGE, METRICS_PAGE, PHP
from tools.resolver import Resolver

CONFIG = """
DemoBackend fcgi://php:{port}
DemoHealthCheck interval=100ms timeout=20s fall=1
DemoTimeout connect=700ms queue=300ms
""" + HEALTH_PAGE + METRICS_PAGE + PHP


class World:
    """php is a name; 127.0.0.2 to 127.0.0.4 listen on one port, each answers its own address."""

    def __init__(self, tmp, httpd, responder):
        self.names = Resolver(tmp)
        self.port = ports.free_port()
        self.make = responder
        self.httpd = httpd(CONFIG.format(port=self.port), env=self.names.env)
        (self.httpd.docroot / "x.php").touch()
        self.responders = {}

    def up(self, *hosts):
        for host in hosts:
            self.responders[host] = self.make(lambda ex, h=host: fcgi.response(h.encode(), req_id=ex.id),
                                              host=host, port=self.port)

    def ask(self, n: int = 1) -> set[str]:
        got = [http.get(self.httpd, "/x.php") for _ in range(n)]
        assert all(r.status == 200 for r in got), [r.status for r in got]
        return {r.text for r in got}

    def ready(self) -> bool:
        return http.get(self.httpd, "/health/readyz").status == 200

    def addresses(self) -> set[str]:
        return {x["address"].rsplit(":")[0] for x in metrics.scrape(self.httpd).labels("demo_backend_up")}


@pytest.fixture
def world(tmp, httpd, responder):
    w = World(tmp, httpd, responder)
    yield w
    w.httpd.stop()              # before the responders, or their end would be logged


def test_all_addresses_of_a_name(world):
    world.up("127.0.0.2", "127.0.0.3", "127.0.0.4")
    world.names.set(php="127.0.0.2 127.0.0.3 127.0.0.4")
    world.httpd.start()
    wait.until(world.ready, 5)
    assert world.ask(60) == {"127.0.0.2", "127.0.0.3", "127.0.0.4"}
    assert metrics.scrape(world.httpd).sum("demo_backend_addresses") == 3


def test_changes_are_seen_at_run_time(world):
    world.up("127.0.0.2", "127.0.0.3")
    world.names.set(php="127.0.0.2")
    world.httpd.start()
    wait.until(world.ready, 5)
    assert world.ask(10) == {"127.0.0.2"}
    world.names.set(php="127.0.0.3")
    wait.until(lambda: world.ask() == {"127.0.0.3"}, 8, "the new address")
    assert world.ask(20) == {"127.0.0.3"}
    assert world.addresses() == {"127.0.0.3"}
    assert world.httpd.error_log.wait_for("DM0221", count=2)    # as many as before, but another


def test_failure_asks_again_at_once(world):
    """A pod is replaced: the old address dies as the name changes."""
    world.up("127.0.0.2")
    world.names.set(php="127.0.0.2")
    world.httpd.error_log.claim("DM[0-9]+", optional=True)
    world.httpd.start()
    wait.until(world.ready, 5)
    time.sleep(1.2)
    world.up("127.0.0.3")
    world.names.set(php="127.0.0.3")
    world.responders["127.0.0.2"].stop()
    start = time.monotonic()
    wait.until(lambda: http.get(world.httpd, "/x.php").text == "127.0.0.3", 5)
    assert time.monotonic() - start < 3         # not the interval of 5 s


def test_failing_resolver_keeps_what_is_known(world):
    world.up("127.0.0.2")
    world.names.set(php="127.0.0.2")
    world.httpd.error_log.claim("DM0220: backend fcgi://php:[0-9]+: resolve: Temporary failure in name resolution; 1 addresses known so far are kept", count=1)
    world.httpd.start()
    wait.until(world.ready, 5)
    world.names.set(php="fails")
    wait.until(lambda: metrics.scrape(world.httpd).sum("demo_backend_resolutions_total", outcome="failed") >= 2, 10)
    assert world.ask(5) == {"127.0.0.2"} and world.ready()
    world.names.set(php="127.0.0.2")
    before = metrics.scrape(world.httpd).sum("demo_backend_resolutions_total", outcome="ok")
    wait.until(lambda: metrics.scrape(world.httpd).sum("demo_backend_resolutions_total", outcome="ok") > before, 5)


def test_unknown_name(world):
    world.httpd.error_log.claim("DM0220: .*Name or service not known")
    world.httpd.error_log.claim("DM[0-9]+", optional=True)
    world.httpd.start()

    def told():
        return "resolve: Name or service not known" in http.get(world.httpd, "/health/readyz?verbose").text
    wait.until(told, 5)
    r = http.get(world.httpd, "/x.php")
    assert r.status == 503 and r.header("Retry-After")
    assert metrics.scrape(world.httpd).get("demo_errors_total", phase="resolve") == 1
    world.up("127.0.0.2")
    world.names.set(php="127.0.0.2")
    wait.until(lambda: http.get(world.httpd, "/x.php").status == 200, 5)


def test_request_waits_for_the_first_resolution(world):
    world.up("127.0.0.2")
    world.names.set(php="after 0.4 127.0.0.2")
    world.httpd.start()
    assert world.ask() == {"127.0.0.2"}


def test_hanging_resolver_costs_a_request_no_more_than_its_time_out(world):
    world.names.set(php="after 60 127.0.0.2")
    world.httpd.error_log.claim("DM[0-9]+", optional=True)
    world.httpd.start()
    r = http.get(world.httpd, "/x.php")
    assert r.status == 503 and r.header("Retry-After") and r.seconds < 30      # not the resolver's 60
    assert http.get(world.httpd, "/health/livez").status == 200
    start = time.monotonic()
    world.httpd.stop()
    assert time.monotonic() - start < 30        # not the resolver's 60


def test_hanging_resolver_does_not_disturb_what_works(world):
    world.up("127.0.0.2")
    world.names.set(php="127.0.0.2")
    world.httpd.start()
    wait.until(world.ready, 5)
    world.names.set(php="after 60 127.0.0.3")
    end = time.monotonic() + 6.5                # past the next resolution
    slowest = 0.0
    while time.monotonic() < end:
        r = http.get(world.httpd, "/x.php")
        assert r.text == "127.0.0.2"
        slowest = max(slowest, r.seconds)
        assert world.ready()
        time.sleep(0.02)
    assert slowest < 30             # the resolver takes 60


def test_more_addresses_than_fit_are_told_once_and_do_not_change_by_turns(world):
    """A resolver answers in any order: those that are used stay."""
    all_of_them = [f"127.0.1.{i + 1}" for i in range(70)]
    world.httpd.error_log.claim("DM0231: ", optional=True)      # nobody is there, so the name is asked for every second
    world.httpd.error_log.claim("DM0222: .*: 6 addresses are left out", count=1)
    world.httpd.error_log.claim("DM0222: .*: 7 addresses are left out", count=1)

    def resolved() -> float:
        return metrics.scrape(world.httpd).sum("demo_backend_resolutions_total", outcome="ok")

    def answer(addresses):
        world.names.set(php=" ".join(addresses))
        before = resolved()
        wait.until(lambda: resolved() >= before + 2, 20, "two resolutions")
        return world.addresses()
    world.names.set(php=" ".join(all_of_them))
    world.httpd.start()
    wait.until(lambda: len(world.addresses()) == 64, 10)
    used = world.addresses()
    assert answer(reversed(all_of_them)) == used
    assert answer([*all_of_them[35:], *all_of_them[:35], "127.0.1.99"]) == used
