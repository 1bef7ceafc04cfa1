"""scripts/demo: start, rollout, status, stop. Called by scripts/demo once packages and build are there."""
from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time

from process import Failed, alive, listener_of, port_is_free, until
from stack import Instance, Stack


def say(text: str, end: str = "\n") -> None:
    """To whom it concerns; when he does not read to the end (`| head`), what was begun goes on all the same."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def step(what: str):
    """A line that says what is done, then how long it took."""
    say(f"  {what:<58.58} ", end="")
    began = time.monotonic()
    try:
        yield
    except BaseException:
        say("FAILED")
        raise
    say(f"ok {time.monotonic() - began:6.2f} s")


def start(stack: Stack, port: int) -> int:
    if stack.running() and all(alive(p) for _, p in stack.processes()):
        say(f"It runs already: {stack.url}")
        if port and port != stack.port:
            say(f"  on port {stack.port}, not {port}; to change it: scripts/demo stop, then scripts/demo --port {port}")
        say("  scripts/demo status | rollout | stop")
        return 0
    if any(alive(p) for _, p in stack.processes()):
        with step("end what an incomplete run left"):
            end_all(stack)
    stack.state["port"] = port or stack.port or 8080
    if not port_is_free(stack.port):
        who = listener_of(stack.port)
        raise Failed(f"port {stack.port} of 127.0.0.1 is taken{' by ' + who if who else ''}; "
                     f"choose another: scripts/demo --port {stack.port + 1}")
    stack.stage()
    with step("seed database"):
        stack.make_seed()
    active = stack.state["active"]
    instance = Instance(stack, active) if active else Instance.new(stack)
    try:
        instance.prepare()
        with step(f"fcgi-sidecar of {instance.name}"):
            instance.start_sidecar()
        with step("post-start: " + ("the database is there" if active else "first deployment, the seed is installed")):
            instance.post_start()
        with step(f"php-fpm of {instance.name}"):
            instance.start_php_fpm()
        stack.state["active"] = instance.name
        with step("httpd with mod_demo"):
            stack.start_httpd(instance)
        with step("readiness"):
            if not until(lambda: stack.ask("/readyz")[0] == 200, 60):
                raise Failed(f"/readyz does not get green: {stack.ask('/readyz?verbose')[1].strip()}\n"
                             f"see {stack.httpd_log()}")
    except BaseException:
        end_all(stack)
        raise
    stack.save()
    for line in stack.ask("/readyz?verbose")[1].strip().splitlines():
        say(f"    {line}")
    say(f"\nThe demo runs: {stack.url}")
    say("  sign up, write a note, then: scripts/demo rollout      end it: scripts/demo stop")
    say(f"  health {stack.url}readyz?verbose   metrics {stack.url}metrics   logs {stack.run}/")
    return 0


def end_all(stack: Stack) -> None:
    """In the order of a pod's end: no new requests, then PHP, then the sidecar."""
    stack.end_httpd()
    for name in list(stack.state["instances"]):
        i = Instance(stack, name)
        i.end_php_fpm()
        i.end_sidecar()
        i.unlink_sockets()
        if name != stack.state["active"]:
            i.forget()
    stack.save()


def stop(stack: Stack, wipe: bool) -> int:
    left = [n for n, p in stack.processes() if alive(p)]
    if left:
        with step(f"end {', '.join(left)}"):
            end_all(stack)
    else:
        end_all(stack)
        say("Nothing runs.")
    if wipe:
        stack.wipe()
        say("Notes and accounts are deleted.")
    elif left:
        say("Stopped. The notes are kept: scripts/demo starts it again, scripts/demo stop --wipe deletes them.")
    return 0


def status(stack: Stack) -> int:
    if not stack.processes():
        say("Nothing runs; start it with scripts/demo.")
        return 3
    rows = [("process", "pid", "state", "listens on (127.0.0.1, run/)", "log")]
    httpd = stack.state["httpd"]
    ok = True

    def row(name, proc, listens, log):
        nonlocal ok
        up = alive(proc)
        ok = ok and up
        rows.append((name, str(proc["pid"]) if proc else "-", "runs" if up else "ended", listens, str(log)))

    def short(i, what):
        return i.listen(what).rsplit("/", 1)[-1].replace("127.0.0.1:", what + " ")

    row("httpd", httpd, str(stack.port), stack.httpd_log())
    for name, data in stack.state["instances"].items():
        i = Instance(stack, name)
        if not data.get("sidecar") and not data.get("php_fpm") and name != stack.state["active"]:
            continue
        p = data.get("ports", {})
        row(f"php-fpm {name}", data.get("php_fpm"), f"{short(i, 'php-fpm')}, {short(i, 'status')}",
            i.dir / "php-fpm.log")
        s = i.status() if alive(data.get("sidecar")) else {}
        what = f"{s.get('state', '?')}, epoch {s.get('epoch', '?')}" if s else ""
        row(f"fcgi-sidecar {name}", data.get("sidecar"),
            f"{short(i, 'relay')}, control {p.get('control')}, http {p.get('http')}", i.dir / "sidecar.log")
        if what:
            rows[-1] = (*rows[-1][:2], what, *rows[-1][3:])
    widths = [max(len(r[k]) for r in rows) for k in range(4)]
    for r in rows:
        say("  ".join(c.ljust(w) for c, w in zip(r, widths)) + "  " + r[4])
    if alive(httpd):
        code, text, _ = stack.ask("/readyz?verbose")
        say(f"\n{stack.url}readyz: {code}")
        for line in text.strip().splitlines():
            say(f"  {line}")
        ok = ok and code == 200
    return 0 if ok else 1


def rollout(stack: Stack, writers: int) -> int:
    from rollout import Rollout
    if not stack.running():
        raise Failed("nothing runs; start it with scripts/demo")
    stack.stage()
    return 0 if Rollout(stack, say, step, writers).run() else 1


def number(low: int, high: int):
    def parse(text: str) -> int:
        if not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"'{text}' is no number from {low} to {high}")
        return int(text)
    return parse


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", add_help=False)
    sub = parser.add_subparsers(dest="command", required=True)
    sub.add_parser("start", add_help=False, prog="scripts/demo").add_argument("--port", type=number(1, 65535), default=0)
    sub.add_parser("rollout", add_help=False).add_argument("--writers", type=number(1, 64), default=8)
    sub.add_parser("status", add_help=False)
    sub.add_parser("stop", add_help=False).add_argument("--wipe", action="store_true")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # so that what was begun is ended
    try:
        stack = Stack()
        if args.command in ("status",):
            return status(stack)
        if args.command == "stop" and not stack.run.exists():
            say("Nothing runs.")
            return 0
        stack.lock()
        if args.command == "start":
            return start(stack, args.port)
        if args.command == "rollout":
            return rollout(stack, args.writers)
        return stop(stack, args.wipe)
    except Failed as e:
        print(f"scripts/demo: {e}", file=sys.stderr)
        return 1
    except OSError as e:
        print(f"scripts/demo: {e.strerror or e}: {e.filename or ''}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nscripts/demo: interrupted", file=sys.stderr)
        return 130


sys.exit(main())
