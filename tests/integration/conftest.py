"""Fixtures of the integration tests: servers of a test, or of a whole module.

httpd, php_fpm, responder and sidecar are factories: what they make is started by its own
start() or `with`, and at the end of the test (module) it is stopped and checked. After each
test the error log of every httpd alive, those of the module too, has to be free of unclaimed
warnings.
"""
from __future__ import annotations

import pytest

from tools import paths, sidecar as sidecar_tool
from tools.httpd import Httpd
from tools.phpfpm import PhpFpm
from tools.relay import Relay
from tools.responder import Responder


class _Made:
    """What a factory made, in order; stopped in the opposite one."""

    def __init__(self, tmp, httpds: list[Httpd]):
        self.tmp, self.things, self.httpds, self.count = tmp, [], httpds, {}

    def name(self, base: str) -> str:
        self.count[base] = n = self.count.get(base, 0) + 1
        return base if n == 1 else f"{base}-{n}"

    def stop(self) -> None:
        errors = []
        for t in reversed(self.things):
            try:
                t.stop()
            except AssertionError as e:
                errors.append(str(e))
        assert not errors, "\n".join(errors)


@pytest.fixture(scope="module")
def _module_httpds():
    return []


@pytest.fixture(scope="module")
def _module_made(module_tmp, _module_httpds):
    made = _Made(module_tmp, _module_httpds)
    yield made
    made.stop()


@pytest.fixture
def _made(tmp, _module_httpds):
    own: list[Httpd] = []
    made = _Made(tmp, own)
    yield made
    errors = []
    try:
        made.stop()                 # first: what the stop itself logs counts, too
    except AssertionError as e:
        errors.append(str(e))
    for h in own:
        try:
            h.check()
        except AssertionError as e:
            errors.append(str(e))
    assert not errors, "\n".join(errors)


@pytest.fixture(autouse=True)
def _logs_are_clean(request, _module_httpds):
    yield
    errors = []
    for h in _module_httpds:
        try:
            h.check()
        except AssertionError as e:
            errors.append(str(e))
    assert not errors, "\n".join(errors)


def _httpd(made: _Made):
    def make(config="", modules=(), mpm="event", env=None, **kw) -> Httpd:
        kw.setdefault("name", made.name("httpd"))
        h = Httpd(made.tmp, config, modules, mpm, env, **kw)
        made.things.append(h)
        made.httpds.append(h)
        return h
    return make


def _php_fpm(made: _Made):
    def make(workers=4, listen="tcp", pm="static", **kw) -> PhpFpm:
        kw.setdefault("name", made.name("php-fpm"))
        p = PhpFpm(made.tmp, workers, listen, pm, **kw)
        made.things.append(p)
        return p
    return make


def _responder(made: _Made):
    def make(*script, unix=False, **kw) -> Responder:
        r = Responder(*script, path=made.tmp / (made.name("responder") + ".sock") if unix else None, **kw)
        made.things.append(r)
        return r.start()
    return make


@pytest.fixture
def httpd(_made):
    """httpd(config, modules, …) -> Httpd, not started."""
    return _httpd(_made)


@pytest.fixture
def php_fpm(_made):
    """php_fpm(workers, listen, …) -> PhpFpm, not started."""
    return _php_fpm(_made)


@pytest.fixture
def responder(_made):
    """responder(step, …) -> Responder, listening."""
    return _responder(_made)


@pytest.fixture(scope="module")
def module_httpd(_module_made):
    """The same three for what a module's tests share."""
    return _httpd(_module_made)


@pytest.fixture(scope="module")
def module_php_fpm(_module_made):
    return _php_fpm(_module_made)


@pytest.fixture(scope="module")
def module_responder(_module_made):
    return _responder(_module_made)


@pytest.fixture
def secret(tmp):
    """A key file for sidecars."""
    return sidecar_tool.secret_file(tmp)


@pytest.fixture
def sidecar(_made, tmp, secret):
    """sidecar(name, upstream, seed, …) -> Sidecar, not started; all of a test share authority and secret."""
    authority = tmp / "authority"
    authority.mkdir(exist_ok=True)
    paths.give(authority)

    def make(name="a", upstream="", seed=None, authority_url=f"file://{authority}/authority.json", **kw):
        s = sidecar_tool.Sidecar(tmp, name, authority_url, secret, upstream, seed, **kw)
        _made.things.append(s)
        return s
    return make


class _RelayOfTest:
    """A relay, and the warnings that its log may have when it has ended."""

    def __init__(self, relay: Relay, claimed):
        self.relay, self.claimed = relay, claimed

    def stop(self) -> None:
        self.relay.stop()
        self.relay.check(self.claimed)


@pytest.fixture
def relay(_made):
    """relay(php or address, …) -> Relay, started; warnings in its log must be claimed. Stopped after the httpd that was made
    for it, whose health check would find it gone, and before php-fpm."""
    def make(upstream, claimed=(), **options) -> Relay:
        upstream = upstream if isinstance(upstream, str) else upstream.url.removeprefix("fcgi://")
        r = Relay(_made.tmp, upstream, _made.name("relay"), **options).start()
        _made.things.append(_RelayOfTest(r, claimed))
        return r
    return make
