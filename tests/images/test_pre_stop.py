"""php-fpm-pre-stop: when php-fpm may end. The sidecar is a stand-in, and so is the clock: a second passes with each look at it."""
import json
import os
import subprocess

import pytest

from imagefile import TOP

KEPT = {"state": "PRIMARY", "handing_over": False, "leaving": False}
LEAVES = {"state": "PRIMARY", "handing_over": True, "leaving": True}
NO_ANSWER = None
#: The state file alone, while serve is away.
FILE = {"state": "PRIMARY"}


@pytest.fixture
def hook(tmp):
    """hook(status, seconds, status, seconds, …, status): what the sidecar says, and how long; -> (seconds it waited, lingered)."""
    clock, told, slept = tmp / "clock", tmp / "told", tmp / "slept"
    programs = {"date": f"n=$(($(cat {clock}) + 1)); echo $n >{clock}; echo $n",
                "sleep": f"echo $1 >>{slept}",
                "http-check": f"while read -r until status; do [ $(cat {clock}) -gt $until ] || break; done <{told}; [ -n \"$status\" ] && echo \"$status\"",
                "fcgi-sidecar": "exit 1"}
    for name, code in programs.items():
        (tmp / name).write_text(f"#!/bin/sh\n{code}\n")
        (tmp / name).chmod(0o755)

    def go(*script, linger=10, limit=540):
        clock.write_text("1000\n")
        slept.write_text("")
        lines, at = [], 1000
        for status, seconds in zip(script[::2], [*script[1::2], 10**6]):
            at += seconds
            lines.append(f"{at} {json.dumps(status) if status else ''}\n")
        told.write_text("".join(lines))
        done = subprocess.run(["sh", TOP / "docker/php-fpm/php-fpm-pre-stop", str(linger), str(limit)], stdin=subprocess.DEVNULL,
                              env={**os.environ, "PATH": f"{tmp}:{os.environ['PATH']}"}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and not done.stderr, done.stderr
        return int(clock.read_text()) - 1000, slept.read_text().split()[-1] == str(linger)
    return go


def test_it_waits_for_the_hand_over_and_lingers(hook):
    waited, lingered = hook(LEAVES, 60, {"state": "FORWARDING", "handing_over": True, "leaving": True})
    assert 60 <= waited <= 63 and lingered


def test_a_standby_only_lingers(hook):
    waited, lingered = hook({"state": "STANDBY", "handing_over": False, "leaving": False})
    assert waited <= 3 and lingered


def test_a_condemned_php_fpm_in_a_pod_that_stays_ends_soon(hook):
    waited, lingered = hook(KEPT)
    assert 15 <= waited <= 20 and not lingered


def test_a_hook_of_the_sidecar_that_comes_late_is_waited_for(hook):
    waited, lingered = hook(KEPT, 12, LEAVES, 100, {"state": "FORWARDING"})
    assert waited >= 112 and lingered


def test_a_sidecar_that_came_back_does_not_mean_that_the_pod_stays(hook):
    waited, lingered = hook(KEPT, 5, LEAVES, 20, NO_ANSWER, 8, KEPT, 60, {"state": "FORWARDING"})
    assert waited >= 93 and lingered
    waited, _ = hook(KEPT, 12, FILE, 8, KEPT, 12, LEAVES, 50, {"state": "FORWARDING"})
    assert waited >= 82


def test_the_sidecars_hook_has_ended_in_vain(hook):
    waited, lingered = hook(LEAVES, 30, {"state": "PRIMARY", "handing_over": False, "leaving": True})
    assert 34 <= waited <= 40 and lingered


def test_no_longer_than_the_limit(hook):
    waited, lingered = hook(LEAVES, limit=100)
    assert 99 <= waited <= 103 and lingered


def test_a_sidecar_that_is_gone(hook):
    waited, lingered = hook(NO_ANSWER)
    assert 45 <= waited <= 55 and lingered
