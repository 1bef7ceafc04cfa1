"""Forgotten password, from the form to the new password."""

import re

import pytest

from notejam import PASSWORD

NEW = "battery staple"


def mails(server):
    return [path.read_text() for path in sorted(server.mail.glob("*.eml"))]


def ask(server, email="a@example.com"):
    """Asks for a link and returns its path."""
    before = set(server.mail.glob("*.eml"))
    assert server.browser().submit("/forgot-password/", email=email).status == 200
    new, = set(server.mail.glob("*.eml")) - before
    return re.search(r"https?://[^/\s]+(/reset-password/[0-9a-f]{64}/)", new.read_text())[1]


def test_whole_way(server):
    device = server.browser().sign_up("a@example.com")
    link = ask(server, " A@example.COM ")
    mail, = mails(server)
    assert mail.startswith("To: a@example.com\n") or mail.startswith("To: a@example.com\r\n")
    browser = server.browser()
    page = browser.submit(link, new_password=NEW, repeat_new_password=NEW)
    assert (page.status, page.location) == (302, "/signin/")
    assert "Your new password is set." in browser.follow(page).words
    assert device.get("/").status == 302, "whoever was signed in is signed out"
    assert browser.sign_in("a@example.com", PASSWORD).status == 422
    assert browser.sign_in("a@example.com", NEW).status == 302


def test_a_link_is_good_once(server):
    server.browser().sign_up("a@example.com")
    link = ask(server)
    browser = server.browser()
    fields = browser.get(link).form().fields
    values = {**fields, "new_password": NEW, "repeat_new_password": NEW}
    assert browser.request("POST", link, values).status == 302
    assert browser.request("POST", link, values).status == 404
    assert browser.get(link).status == 404


def test_a_newer_link_voids_the_older(server):
    server.browser().sign_up("a@example.com")
    first, second = ask(server), ask(server)
    assert server.browser().get(first).status == 404
    assert server.browser().get(second).status == 200


def test_a_link_expires(server):
    server.browser().sign_up("a@example.com")
    link = ask(server)
    server.sql("UPDATE password_resets SET expires_at = expires_at - 3600001")
    page = server.browser().get(link)
    assert page.status == 404 and "This link has expired or was used already." in page.words


def test_faulty_new_password_keeps_the_link(server):
    server.browser().sign_up("a@example.com")
    link = ask(server)
    for values, message in (((NEW, "other"), "The passwords are not the same."), (("x", "x"), "at least 6")):
        page = server.browser().submit(link, new_password=values[0], repeat_new_password=values[1])
        assert page.status == 422 and message in page.words
    assert server.browser().get(link).status == 200


def test_the_page_does_not_tell_who_has_an_account(server):
    server.browser().sign_up("known@example.com")
    texts = []
    for name in ("known@example.com", "other@example.com"):
        page = server.browser().submit("/forgot-password/", email=name)
        texts.append((page.status, page.text.replace(name, "NAME")))
    assert texts[0] == texts[1]
    assert len(mails(server)) == 1


def test_an_account_is_not_flooded(server):
    server.browser().sign_up("a@example.com")
    for _ in range(5):
        assert server.browser().submit("/forgot-password/", email="a@example.com").status == 200
    assert len(mails(server)) == 3


def test_only_the_hash_of_a_token_is_stored(server):
    server.browser().sign_up("a@example.com")
    token = ask(server).split("/")[2]
    (stored,), = server.sql("SELECT token_hash FROM password_resets")
    assert re.fullmatch("[0-9a-f]{64}", stored) and stored != token


def test_faulty_address(anonymous):
    page = anonymous.submit("/forgot-password/", email="nobody")
    assert page.status == 422 and "This is not an e-mail address." in page.words


def test_log_mode_tells_that_and_not_what(servers):
    server = servers(NOTEJAM_MAIL="").create_database().start()
    server.browser().sign_up("a@example.com")
    server.browser().submit("/forgot-password/", email="a@example.com")
    line, = server.log_lines()
    assert "a password reset was asked for" in line
    assert "a@example.com" not in line and not re.search("[0-9a-f]{64}", line)


def test_link_in_the_mail_uses_the_configured_address(servers):
    server = servers(NOTEJAM_URL="https://notes.example/").create_database().start()
    browser = server.browser().sign_up("a@example.com")
    fields = browser.get("/forgot-password/").form().fields
    browser.request("POST", "/forgot-password/", {**fields, "email": "a@example.com"}, {"Host": "evil.example"})
    mail, = mails(server)
    assert "https://notes.example/reset-password/" in mail and "evil" not in mail


@pytest.mark.parametrize("mode, cause", [("sendmail", "needs NOTEJAM_URL"), ("pigeon", "must be log, sendmail or file:DIR")])
def test_mail_that_cannot_be_sent_is_an_error_in_the_log(servers, mode, cause):
    server = servers(NOTEJAM_MAIL=mode).create_database().start()
    server.browser().sign_up("a@example.com")
    assert server.browser().submit("/forgot-password/", email="a@example.com").status == 500
    assert any(cause in line for line in server.faults())
    server.stop()
    server.log.write_text("")  # the fault was wanted
