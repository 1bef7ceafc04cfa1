"""The demo application from outside: a server to start and a browser without a window."""

import html.parser
import http.client
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.parse

APP = pathlib.Path(__file__).resolve().parents[2] / "docker" / "app"
MIGRATE = APP / "bin" / "migrate"
PASSWORD = "correct horse"


def migrate(database, *options):
    """Runs bin/migrate and returns the finished process."""
    return subprocess.run(
        ["php", str(MIGRATE), "--database", str(database), *options],
        capture_output=True, text=True, timeout=240, check=False)


class Form:
    """A form of a page: where it goes and what its fields hold."""

    def __init__(self, action, method):
        self.action = action
        self.method = method
        self.fields = {}


class _PageParser(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.forms, self.links, self.texts = [], [], []
        self._textarea = self._select = None

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form":
            self.forms.append(Form(attrs.get("action", ""), attrs.get("method", "get")))
        elif tag == "a" and "href" in attrs:
            self.links.append(attrs["href"])
        elif tag == "input" and self.forms:
            self.forms[-1].fields[attrs["name"]] = attrs.get("value", "")
        elif tag == "textarea":
            self._textarea = attrs["name"]
            self.forms[-1].fields[self._textarea] = ""
        elif tag == "select":
            self._select = attrs["name"]
        elif tag == "option" and self._select:
            fields = self.forms[-1].fields
            if "selected" in attrs or self._select not in fields:
                fields[self._select] = attrs.get("value", "")

    def handle_endtag(self, tag):
        if tag == "textarea":
            # A browser drops one line break after the tag.
            fields = self.forms[-1].fields
            fields[self._textarea] = fields[self._textarea].removeprefix("\n")
            self._textarea = None
        elif tag == "select":
            self._select = None

    def handle_data(self, data):
        if self._textarea:
            self.forms[-1].fields[self._textarea] += data
        self.texts.append(data)


class Page:
    """An answer: status, headers, body and, for HTML, its forms and links."""

    def __init__(self, path, response):
        self.path = path
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.text = self.body.decode("utf-8")
        parser = _PageParser()
        if (self.headers.get("Content-Type") or "").startswith("text/html"):
            parser.feed(self.text)
        self.forms, self.links = parser.forms, parser.links
        self.words = " ".join(" ".join(parser.texts).split())

    @property
    def location(self):
        return self.headers.get("Location")

    def form(self):
        assert len(self.forms) == 1, f"{self.path}: {len(self.forms)} forms\n{self.text}"
        return self.forms[0]


class Browser:
    """Keeps cookies, follows nothing by itself."""

    def __init__(self, url):
        self.url = url
        self.cookies = {}

    def request(self, method, path, fields=None, headers=None):
        parts = urllib.parse.urlsplit(self.url)
        factory = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = factory(parts.hostname, parts.port, timeout=120)
        headers = dict(headers or {})
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        body = None
        if fields is not None:
            body = urllib.parse.urlencode(fields)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            page = Page(path, response)
        finally:
            connection.close()
        self._keep(page.headers.get_all("Set-Cookie") or [])
        return page

    def _keep(self, lines):
        for line in lines:
            name, value = line.split(";", 1)[0].split("=", 1)
            if value in ("", "deleted"):
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value

    def get(self, path, **headers):
        return self.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def follow(self, page):
        assert page.status in (301, 302), f"{page.path}: {page.status}\n{page.text}"
        return self.get(page.location)

    def submit(self, path, **values):
        """Loads the page, fills in its form and sends it."""
        page = self.get(path)
        assert page.status == 200, f"{path}: {page.status}\n{page.text}"
        form = page.form()
        return self.request("POST", form.action or path, {**form.fields, **values})

    def sign_up(self, email, password=PASSWORD):
        page = self.submit("/signup/", email=email, password=password, repeat_password=password)
        assert page.status == 302, page.text
        return self

    def sign_in(self, email, password=PASSWORD, **more):
        return self.submit("/signin/", email=email, password=password, **more)

    def create_note(self, name, text="text", pad="0"):
        """Writes a note and returns its path."""
        page = self.submit("/notes/create/", name=name, text=text, pad=pad)
        assert page.status == 302, page.text
        newest = self.get(page.location + "?order=-updated_at")
        return next(link for link in newest.links if is_object(link, "notes"))

    def create_pad(self, name):
        """Makes a pad and returns its path."""
        before = set(self.get("/").links)
        page = self.submit("/pads/create/", name=name)
        assert page.status == 302, page.text
        return next(link for link in self.get("/").links if link not in before and is_object(link, "pads"))


def is_object(link, kind):
    """True for /notes/5/ and the like."""
    parts = link.split("/")
    return len(parts) == 4 and parts[1] == kind and parts[2].isdigit()


def object_id(path):
    return path.split("/")[2]


class Server:
    """PHP's built-in server with the application, in a folder of its own."""

    def __init__(self, folder, **environment):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.database = self.folder / "database.sqlite"
        self.mail = self.folder / "mail"
        self.mail.mkdir(exist_ok=True)
        self.log = self.folder / "php.log"
        self._environment = {
            "NOTEJAM_DATABASE": str(self.database), "NOTEJAM_INSTANCE": "test-instance",
            "NOTEJAM_MAIL": f"file:{self.mail}", "NOTEJAM_WRITES_API": "1", **environment}
        self._process = None
        self.url = None

    def create_database(self):
        done = migrate(self.database)
        assert done.returncode == 0, done.stderr
        return self

    def start(self):
        for _ in range(5):  # another process may take the port between the probe and PHP
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    ["php", "-S", f"127.0.0.1:{port}", "-t", str(APP / "public")],
                    stdout=log, stderr=log, start_new_session=True,
                    env={**os.environ, **self._environment})
            if self._wait(port):
                self.url = f"http://127.0.0.1:{port}"
                return self
            self.stop()
        raise RuntimeError(f"php -S does not start:\n{self.log.read_text()}")

    def _wait(self, port):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return self._process.poll() is None
            except OSError:
                time.sleep(0.02)
        return False

    def stop(self):
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(60)
            self._process = None

    def browser(self):
        return Browser(self.url)

    def log_lines(self):
        """What the application and PHP logged, without the server's access lines."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "notejam:" in line or "PHP " in line and "Development Server" not in line]

    def faults(self):
        """Lines of the log that no test wants: mistakes in the code."""
        return [line for line in self.log_lines()
                if "notejam: 500" in line or "PHP " in line and "POST Content-Length" not in line]

    def sql(self, statement, *parameters):
        connection = sqlite3.connect(self.database, timeout=10)
        try:
            with connection:
                return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()
