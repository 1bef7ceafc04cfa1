#!/usr/bin/python3
"""The clients of the cluster tests, a process of its own so that it can run inside the cluster's network.

    client.py write URL FILE [--writers N] [--rate N]   unique-id writers until SIGTERM; a JSON line a request into FILE,
                                                        and one for each time in which this process itself did not run
    client.py list URL [--after ROW]                    what the site has stored: a JSON list of [row, id]
    client.py load URL [--seconds N] [--threads N]      GETs as fast as they go, until SIGTERM at the latest; prints how many
                                                        were answered
    client.py get URL                                   one GET: status line and body
    client.py sign-up URL JAR | who URL JAR             signs in and leaves a note; tells whether both are still there
                                                        (E2E_APP=symfony: jane_admin, and a comment)

A request that gets no 2xx is failed and is never sent again: what a user would see is what is counted.
"""
from __future__ import annotations

import argparse
import html.parser
import http.client
import http.cookiejar
import json
import os
import re
import select
import signal
import sys
import threading
import time
import urllib.parse
import urllib.request
import uuid

stop = threading.Event()


def connection(url: str, timeout: float = 60.0) -> http.client.HTTPConnection:
    at = urllib.parse.urlsplit(url)
    return http.client.HTTPConnection(at.hostname, at.port or 80, timeout=timeout)


def usable(con: http.client.HTTPConnection) -> bool:
    """False when the server has closed the kept connection (RFC 9112, 9.5): then nothing was sent on it yet."""
    return con.sock is None or not select.select([con.sock], [], [], 0)[0]


# -- writers ---------------------------------------------------------------------------
TICK, STALL = 0.02, 0.1     # s


def watch_the_clock(out, lock: threading.Lock) -> None:
    """Tells when the machine did not let this process run: what the writers measured then is no property of the site."""
    last = time.time()
    while not stop.wait(TICK):
        now = time.time()
        if now - last > STALL:
            with lock:
                out.write(json.dumps({"stalled": [last, now]}) + "\n")
        last = now


def writer(url: str, who: int, interval: float, out, lock: threading.Lock) -> None:
    """Requests at a fixed pace on a kept connection; one that is late does not make the next ones later."""
    con = connection(url)
    due = time.monotonic() + interval * who / 8     # not all at once
    while not stop.is_set():
        now = time.monotonic()
        if now < due:
            stop.wait(due - now)
            if stop.is_set():
                break
        due = max(due + interval, now - 1.0)
        ident = f"e2e-{uuid.uuid4().hex}"
        if not usable(con):
            con.close()
        sent, status, error = time.time(), 0, ""
        try:
            con.request("POST", "/api/writes", body="id=" + ident,
                        headers={"Content-Type": "application/x-www-form-urlencoded"})
            answer = con.getresponse()
            body = answer.read()
            status = answer.status
            if not 200 <= status < 300:
                error = body[:300].decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as e:
            error = f"{type(e).__name__}: {e}"
            con.close()
        with lock:
            out.write(json.dumps([ident, sent, time.time(), status, error]) + "\n")
    con.close()


def write(args) -> None:
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lock = threading.Lock()
    with open(args.file, "w", buffering=1) as out:
        threads = [threading.Thread(target=writer, args=(args.url, i, args.writers / args.rate, out, lock))
                   for i in range(args.writers)]
        threads.append(threading.Thread(target=watch_the_clock, args=(out, lock)))
        for t in threads:
            t.start()
        # Whoever started this and is gone wants no more load.
        parent = os.getppid()
        while not stop.wait(0.2):
            if os.getppid() != parent:
                stop.set()
        for t in threads:
            t.join()


def stored(args) -> None:
    con, after, rows = connection(args.url), args.after, []
    while True:
        con.request("GET", f"/api/writes?after={after}&limit=10000")
        answer = con.getresponse()
        body = answer.read()
        if answer.status != 200:
            sys.exit(f"client: /api/writes: {answer.status} {body[:300]!r}")
        page = json.loads(body)
        rows += [[w["rowid"], w["id"]] for w in page["writes"]]
        if len(page["writes"]) < 10000:
            break
        after = page["next"]
    print(json.dumps(rows))


# -- other traffic -----------------------------------------------------------------------
def load(args) -> None:
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    path = urllib.parse.urlsplit(args.url).path or "/"
    end, answered, lock = time.monotonic() + args.seconds, [0, 0], threading.Lock()

    def run():
        good = bad = 0
        con = connection(args.url, 20)
        while time.monotonic() < end and not stop.is_set():
            try:
                con.request("GET", path)
                answer = con.getresponse()
                answer.read()
                good += answer.status < 500
                bad += answer.status >= 500
            except (OSError, http.client.HTTPException):
                bad += 1
                con.close()
        with lock:
            answered[0] += good
            answered[1] += bad
    threads = [threading.Thread(target=run) for _ in range(args.threads)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(json.dumps({"answered": answered[0], "failed": answered[1]}))


def get(args) -> None:
    con, at = connection(args.url, 20), urllib.parse.urlsplit(args.url)
    con.request("GET", (at.path or "/") + ("?" + at.query if at.query else ""))
    answer = con.getresponse()
    print(answer.status)
    sys.stdout.write(answer.read().decode("utf-8", "replace"))


class Forms(html.parser.HTMLParser):
    """The forms of a page: action, and what each field has."""

    def __init__(self, page: str):
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.select = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        at = dict(attrs)
        if tag == "form":
            self.forms.append((at.get("action") or "", {}))
        elif tag in ("input", "textarea", "select") and self.forms and at.get("name") and at.get("type") != "checkbox":
            self.forms[-1][1][at["name"]] = at.get("value") or ""
            self.select = at["name"] if tag == "select" else ""
        elif tag == "option" and self.select and (not self.forms[-1][1][self.select] or "selected" in at):
            self.forms[-1][1][self.select] = at.get("value") or ""


class Browser:
    """Cookies in a file, forms with their hidden fields."""

    def __init__(self, url: str, jar: str):
        self.url = url
        self.jar = http.cookiejar.LWPCookieJar(jar)
        if os.path.exists(jar):
            self.jar.load(ignore_discard=True)
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def page(self, path: str, form: dict | None = None, referer: str = "") -> str:
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        headers = {"Origin": self.url, "Referer": referer} if referer else {}
        request = urllib.request.Request(urllib.parse.urljoin(self.url, path), data, headers)
        with self.opener.open(request, timeout=30) as answer:
            self.at = urllib.parse.urlsplit(answer.url).path
            return answer.read().decode()

    def submit(self, path: str, fields: dict[str, str], boxes: dict[str, str] | None = None) -> str:
        """The page's form that has these fields, with its hidden ones; boxes that are checked."""
        for action, has in Forms(self.page(path)).forms:
            if set(fields) <= set(has):
                where = urllib.parse.urljoin(self.url + path, action)
                return self.page(where, {**has, **fields, **(boxes or {})}, self.url + path)
        sys.exit(f"client: {path} has no form with {', '.join(fields)}")

    def save(self) -> None:
        self.jar.save(ignore_discard=True)


NOTE = "the note of the cluster test"


class Notejam:
    def sign_up(self, browser: Browser) -> str:
        email, password = f"{uuid.uuid4().hex}@example.org", uuid.uuid4().hex
        browser.submit("/signup/", {"email": email, "password": password, "repeat_password": password})
        if email not in browser.page("/"):
            browser.submit("/signin/", {"email": email, "password": password})
        browser.submit("/notes/create/", {"name": NOTE, "text": "kept"})
        return email

    def who(self, browser: Browser) -> tuple[bool, bool]:
        page = browser.page("/")
        return "/signout/" in page, NOTE in page


class SymfonyDemo:
    """The Symfony Demo's pages and accounts; the note is a comment on the newest post."""

    def post(self, browser: Browser) -> str:
        return re.search(r'href="(?:https?://[^/"]+)?(/en/blog/posts/[^"#]+)"', browser.page("/en/blog/")).group(1)

    def sign_up(self, browser: Browser) -> str:
        browser.submit("/en/login", {"_username": "jane_admin", "_password": "kitten"})
        browser.submit(self.post(browser), {"comment[content]": NOTE})
        return "jane_admin"

    def who(self, browser: Browser) -> tuple[bool, bool]:
        browser.page("/en/admin/post/")
        signed_in = browser.at == "/en/admin/post/"
        return signed_in, NOTE in browser.page(self.post(browser))


def app() -> Notejam | SymfonyDemo:
    return SymfonyDemo() if os.environ.get("E2E_APP") == "symfony" else Notejam()


def sign_up(args) -> None:
    browser = Browser(args.url, args.jar)
    who = app().sign_up(browser)
    browser.save()
    print(json.dumps({"user": who}))


def who(args) -> None:
    signed_in, note = app().who(Browser(args.url, args.jar))
    print(json.dumps({"signed_in": signed_in, "note": note}))


def main() -> None:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = top.add_subparsers(required=True)

    def command(name, run, *positional):
        p = sub.add_parser(name)
        p.set_defaults(run=run)
        for argument in ("url", *positional):
            p.add_argument(argument)
        return p
    p = command("write", write, "file")
    p.add_argument("--writers", type=int, default=8)
    p.add_argument("--rate", type=float, default=200)
    command("list", stored).add_argument("--after", type=int, default=0)
    p = command("load", load)
    p.add_argument("--seconds", type=float, default=30)
    p.add_argument("--threads", type=int, default=8)
    command("get", get)
    command("sign-up", sign_up, "jar")
    command("who", who, "jar")
    args = top.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
