"""Forged forms, planted markup, open redirects, guessing."""

import subprocess
import urllib.parse

import pytest

from notejam import Browser, PASSWORD

EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


@pytest.mark.parametrize("path", ["/signin/", "/signup/", "/forgot-password/"])
@pytest.mark.parametrize("token", [None, "", "x", "0" * 128, "\u00fc" * 128])
def test_anonymous_form_without_its_token_is_refused(anonymous, path, token):
    anonymous.get(path)
    fields = {"email": "a@example.com", "password": PASSWORD, "repeat_password": PASSWORD}
    if token is not None:
        fields["csrf_token"] = token
    page = anonymous.request("POST", path, fields)
    assert page.status == 403 and "This form has expired" in page.words


@pytest.mark.parametrize("path", ["/notes/create/", "/pads/create/", "/settings/", "/signout/", "{note}edit/", "{note}delete/"])
def test_users_form_without_its_token_is_refused(user, path):
    note = user.create_note("still here")
    fields = {"name": "forged", "text": "forged"}
    assert user.request("POST", path.format(note=note), fields).status == 403
    page = user.get("/")
    assert "still here" in page.words and "forged" not in page.words


def test_token_of_another_visitor_is_refused(new_user):
    one, other = new_user(), new_user()
    fields = one.get("/notes/create/").form().fields
    page = other.request("POST", "/notes/create/", {**fields, "name": "n", "text": "t"})
    assert page.status == 403


def test_token_from_before_sign_in_is_refused(anonymous, user):
    token = anonymous.get("/signin/").form().fields["csrf_token"]
    anonymous.sign_in(user.email)
    page = anonymous.request("POST", "/notes/create/", {"name": "n", "text": "t", "csrf_token": token})
    assert page.status == 403


@pytest.mark.parametrize("site, status", [("cross-site", 403), ("same-site", 403), ("same-origin", 302), ("none", 302)])
def test_form_from_another_site_is_refused_even_with_a_token(user, site, status):
    fields = user.get("/notes/create/").form().fields
    page = user.request("POST", "/notes/create/", {**fields, "name": "n", "text": "t"}, {"Sec-Fetch-Site": site})
    assert page.status == status


def test_tokens_differ_from_page_to_page(user):
    tokens = {user.get("/notes/create/").form().fields["csrf_token"] for _ in range(3)}
    assert len(tokens) == 3


def test_markup_is_escaped_everywhere(user):
    pad = user.create_pad(EVIL)
    note = user.create_note(EVIL, EVIL, pad=pad.split("/")[2])
    user.submit("/notes/create/", name="", text=EVIL)
    pages = [user.get(path) for path in (
        "/", pad, pad + "edit/", pad + "delete/", note, note + "edit/", note + "delete/", "/settings/")]
    pages.append(user.submit("/notes/create/", name="", text=EVIL))
    pages.append(user.submit("/signin/", email=EVIL, password="x"))
    pages.append(user.get("/signin/?next=/%22%3E%3Cscript%3E"))
    pages.append(user.get("/%3Cscript%3E/"))
    pages.append(user.get("/?order=%22%3E%3Cscript%3E"))
    for page in pages:
        assert "<script" not in page.text and "<img" not in page.text, page.path
    assert pages[5].form().fields["name"] == EVIL, "escaped, not changed"
    assert pages[5].form().fields["text"] == EVIL


@pytest.mark.parametrize("name", ["' OR '1'='1", "x'); DROP TABLE notes; --", "100%", "_"])
def test_sql_in_values_stays_text(user, name):
    note = user.create_note(name)
    assert user.get(note + "edit/").form().fields["name"] == name


@pytest.mark.parametrize("target", [
    "https://evil.example/", "//evil.example/", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
    "javascript:alert(1)", "evil", "/\r\nX-Evil: 1", "/ü", ""])
@pytest.mark.parametrize("by", ["query", "field"])
def test_next_stays_on_this_host(base_url, user, target, by):
    browser = Browser(base_url)
    if by == "field":
        page = browser.sign_in(user.email, next=target)
    else:
        form = browser.get("/signin/?next=" + urllib.parse.quote(target)).form()
        assert form.fields["next"] == "/"
        page = browser.request("POST", form.action, {**form.fields, "email": user.email, "password": PASSWORD})
    assert (page.status, page.location) == (302, "/")
    assert page.headers["X-Evil"] is None


def test_session_id_changes_at_sign_in(user):
    before = user.cookies["notejam_session"]
    assert user.sign_in(user.email).status == 302
    after = user.cookies["notejam_session"]
    assert before != after
    old = Browser(user.url)
    old.cookies["notejam_session"] = before
    assert old.get("/").status == 302


@pytest.mark.parametrize("planted", ["a" * 64, "x", "../../etc/passwd", "A" * 64])
def test_planted_session_id_is_not_taken_over(anonymous, user, planted):
    anonymous.cookies["notejam_session"] = planted
    page = anonymous.get("/")
    assert page.status == 302 and "notejam_session" not in anonymous.cookies
    form = anonymous.get("/signin/").form()
    anonymous.cookies["notejam_session"] = planted
    page = anonymous.request("POST", form.action, {**form.fields, "email": user.email, "password": PASSWORD})
    assert page.status == 302 and anonymous.cookies["notejam_session"] != planted
    assert anonymous.get("/").status == 200


def test_cookies_are_closed_to_scripts_and_other_sites(anonymous, user):
    lines = anonymous.get("/signin/").headers.get_all("Set-Cookie")
    lines += anonymous.sign_in(user.email).headers.get_all("Set-Cookie")
    assert len(lines) >= 3
    for line in lines:
        assert "httponly" in line.lower() and "samesite=lax" in line.lower() and "path=/" in line.lower(), line


def test_cookies_are_secure_on_https(servers):
    server = servers(NOTEJAM_URL="https://notes.example").create_database().start()
    browser = server.browser().sign_up("a@example.com")
    lines = browser.sign_in("a@example.com").headers.get_all("Set-Cookie")
    assert lines and all("secure" in line.lower() for line in lines)


def test_passwords_and_session_ids_are_stored_as_hashes_only(server):
    browser = server.browser().sign_up("a@example.com")
    (stored,), = server.sql("SELECT password_hash FROM users")
    assert stored.startswith("$2y$")
    dump = b"".join(path.read_bytes() for path in server.folder.glob("database.sqlite*"))
    assert PASSWORD.encode() not in dump
    assert browser.cookies["notejam_session"].encode() not in dump


def test_weak_hash_is_renewed_at_sign_in(server):
    browser = server.browser().sign_up("a@example.com")
    weak = subprocess.run(
        ["php", "-r", "echo password_hash($argv[1], PASSWORD_BCRYPT, ['cost' => 4]);", "--", PASSWORD],
        capture_output=True, text=True, check=True).stdout
    server.sql("UPDATE users SET password_hash = ?", weak)
    assert browser.sign_in("a@example.com").status == 302
    (renewed,), = server.sql("SELECT password_hash FROM users")
    assert renewed != weak
    assert browser.sign_in("a@example.com").status == 302


def test_guessing_a_password_is_slowed_down(server):
    server.browser().sign_up("victim@example.com")
    server.browser().sign_up("other@example.com")
    guesser = server.browser()
    for _ in range(10):
        assert guesser.sign_in("victim@example.com", "guess").status == 422
    page = guesser.sign_in("victim@example.com", "guess")
    assert page.status == 429 and 0 < int(page.headers["Retry-After"]) <= 900
    assert guesser.sign_in("victim@example.com").status == 429, "even the right one waits"
    assert guesser.sign_in("other@example.com").status == 302, "others do not"
    server.sql("UPDATE attempts SET at = at - 900000")
    assert guesser.sign_in("victim@example.com").status == 302, "the window passes"


def test_a_right_password_clears_the_count(server):
    browser = server.browser().sign_up("a@example.com")
    for _ in range(2):
        for _ in range(9):
            assert browser.sign_in("a@example.com", "guess").status == 422
        assert browser.sign_in("a@example.com").status == 302


def test_guessing_from_one_address_over_many_accounts_is_slowed_down(server):
    browser = server.browser()
    browser.sign_in("first@example.com", "guess")
    (row,) = server.sql("SELECT subject, at FROM attempts ORDER BY id DESC LIMIT 1")
    for _ in range(99):
        server.sql("INSERT INTO attempts (subject, at) VALUES (?, ?)", *row)
    assert browser.sign_in("new@example.com", "guess").status == 429
