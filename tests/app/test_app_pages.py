"""Every page of Notejam as its user sees it."""

import re
import uuid

import pytest

from notejam import Browser, PASSWORD, object_id


def names_on(page):
    return re.findall(r'<td><a href="/notes/\d+/">([^<]*)</a>', page.text)


def test_home_lists_notes_of_all_pads(user):
    pad = user.create_pad("Work")
    user.create_note("in the pad", pad=object_id(pad))
    user.create_note("loose")
    assert names_on(user.get("/")) == ["loose", "in the pad"]
    assert names_on(user.get(pad)) == ["in the pad"]


def test_empty_home_invites_to_write(user):
    page = user.get("/")
    assert page.status == 200
    assert "No notes here yet" in page.words and "/notes/create/" in page.links


def test_note_create_show_edit_delete(user):
    path = user.create_note("Shopping", "milk\nbread")
    page = user.get(path)
    assert page.status == 200 and "Shopping" in page.words and "milk\nbread" in page.text

    page = user.get(path + "edit/")
    assert page.form().fields["name"] == "Shopping"
    assert page.form().fields["text"] == "milk\nbread"
    page = user.submit(path + "edit/", name="Shopping list", text="\nmilk only")
    assert (page.status, page.location) == (302, "/")
    assert "The note is updated." in user.follow(page).words
    assert user.get(path + "edit/").form().fields["text"] == "\nmilk only"

    page = user.get(path + "delete/")
    assert "Shopping list" in page.words and "cannot be brought back" in page.words
    page = user.submit(path + "delete/")
    assert (page.status, page.location) == (302, "/")
    assert "The note is deleted." in user.follow(page).words
    assert user.get(path).status == 404


def test_note_moves_between_pads(user):
    first, second = user.create_pad("First"), user.create_pad("Second")
    note = user.create_note("wanderer", pad=object_id(first))
    page = user.get(note + "edit/")
    assert page.form().fields["pad"] == object_id(first)
    page = user.submit(note + "edit/", pad=object_id(second))
    assert page.location == second
    assert names_on(user.get(first)) == [] and names_on(user.get(second)) == ["wanderer"]
    user.submit(note + "edit/", pad="0")
    assert names_on(user.get(second)) == [] and names_on(user.get("/")) == ["wanderer"]


def test_note_form_takes_the_pad_from_the_query(user):
    pad = user.create_pad("Chosen")
    page = user.get(f"/notes/create/?pad={object_id(pad)}")
    assert page.form().fields["pad"] == object_id(pad)


def test_pad_create_edit_delete(user):
    pad = user.create_pad("Wrok")
    assert "Wrok" in user.get("/").words
    page = user.submit(pad + "edit/", name="Work")
    assert page.location == pad
    assert "Work" in user.follow(page).words
    for name in ("one", "two"):
        user.create_note(name, pad=object_id(pad))
    user.create_note("elsewhere")

    assert "All 2 notes in it will be deleted with it" in user.get(pad + "delete/").words
    page = user.submit(pad + "delete/")
    assert (page.status, page.location) == (302, "/")
    page = user.follow(page)
    assert "The pad and its notes are deleted." in page.words
    assert names_on(page) == ["elsewhere"]
    assert user.get(pad).status == 404


@pytest.mark.parametrize("order, expected", [
    ("name", ["Apple", "banana", "cherry"]),
    ("-name", ["cherry", "banana", "Apple"]),
    ("updated_at", ["banana", "Apple", "cherry"]),
    ("-updated_at", ["cherry", "Apple", "banana"]),
    ("", ["cherry", "Apple", "banana"]),
    ("id;drop table notes", ["cherry", "Apple", "banana"]),
])
def test_order(user, order, expected):
    pad = user.create_pad("Fruit")
    for name in ("banana", "Apple", "cherry"):
        user.create_note(name, pad=object_id(pad))
    query = f"?order={order.replace(' ', '%20')}"
    assert names_on(user.get("/" + query)) == expected
    assert names_on(user.get(pad + query)) == expected


def test_editing_moves_a_note_to_the_top(user):
    old = user.create_note("old")
    user.create_note("new")
    user.submit(old + "edit/", text="fresh")
    assert names_on(user.get("/")) == ["old", "new"]


def test_long_lists_have_pages(user):
    fields = user.get("/notes/create/").form().fields
    for number in range(53):
        page = user.request("POST", "/notes/create/", {**fields, "name": f"note {number:02}", "text": "x"})
        assert page.status == 302
    first = user.get("/?order=name")
    second = user.get("/?order=name&page=2")
    assert "Page 1 of 2" in first.words and "/?order=name&page=2" in first.links
    assert names_on(first) + names_on(second) == [f"note {number:02}" for number in range(53)]
    for beyond in ("3", "0", "-1", "x", "99999999999999999999"):
        assert user.get(f"/?page={beyond}").status == 404


@pytest.mark.parametrize("path", ["{note}", "{note}edit/", "{note}delete/", "{pad}", "{pad}edit/", "{pad}delete/"])
def test_somebody_elses_object_is_not_there(new_user, path):
    owner, other = new_user(), new_user()
    pad = owner.create_pad("private")
    note = owner.create_note("secret", pad=object_id(pad))
    path = path.format(note=note, pad=pad)
    assert owner.get(path).status == 200
    assert other.get(path).status == 404
    if path.endswith(("edit/", "delete/")):
        fields = other.get("/notes/create/").form().fields
        page = other.request("POST", path, {**fields, "name": "stolen", "text": "stolen"})
        assert page.status == 404
        assert owner.get(note).status == 200 and "stolen" not in owner.get(note).text


def test_somebody_elses_pad_cannot_be_chosen(new_user):
    owner, other = new_user(), new_user()
    pad = owner.create_pad("private")
    page = other.submit("/notes/create/", name="n", text="t", pad=object_id(pad))
    assert page.status == 422 and "Choose one of your pads." in page.words
    assert names_on(owner.get(pad)) == []


@pytest.mark.parametrize("fields, message", [
    ({"name": "", "text": "kept text"}, "This field is required."),
    ({"name": "x" * 101, "text": "kept text"}, "Use at most 100 characters."),
    ({"name": "two\nlines", "text": "kept text"}, "control characters are not allowed"),
    ({"name": "kept name", "text": " \n"}, "This field is required."),
    ({"name": "kept name", "text": "x" * 262145}, "Use at most 256 KiB"),
    ({"name": "kept name", "text": "kept text", "pad": "999999999"}, "Choose one of your pads."),
])
def test_faulty_note_is_shown_again(user, fields, message):
    page = user.submit("/notes/create/", **fields)
    assert page.status == 422 and message in page.words
    assert "kept" in page.text
    assert names_on(user.get("/")) == []


def test_name_of_100_letters_beyond_ascii_fits(user):
    user.create_note("ü" * 100)
    assert names_on(user.get("/")) == ["ü" * 100]


def test_pad_needs_a_name(user):
    page = user.submit("/pads/create/", name="   ")
    assert page.status == 422 and "This field is required." in page.words


def test_invalid_utf8_counts_as_missing(user):
    fields = user.get("/notes/create/").form().fields
    page = user.request("POST", "/notes/create/", {**fields, "name": b"\xff\xfe", "text": "t"})
    assert page.status == 422


@pytest.mark.parametrize("path", [
    "/", "/?order=name", "/notes/create/", "/notes/1/", "/notes/1/edit/", "/notes/1/delete/", "/pads/create/",
    "/pads/1/", "/pads/1/edit/", "/pads/1/delete/", "/settings/"])
def test_anonymous_is_sent_to_sign_in(anonymous, path):
    page = anonymous.get(path)
    assert page.status == 302
    escaped = path.replace("/", "%2F").replace("?", "%3F").replace("=", "%3D")
    assert page.location == f"/signin/?next={escaped}"


def test_sign_in_leads_back_to_where_one_wanted_to_go(anonymous, user):
    page = anonymous.get("/settings/")
    form = anonymous.follow(page).form()
    page = anonymous.request("POST", form.action, {**form.fields, "email": user.email, "password": PASSWORD})
    assert (page.status, page.location) == (302, "/settings/")
    assert anonymous.get("/settings/").status == 200


def test_sign_up_signs_in(anonymous):
    email = f"{uuid.uuid4().hex}@example.com"
    page = anonymous.submit("/signup/", email=email, password=PASSWORD, repeat_password=PASSWORD)
    assert (page.status, page.location) == (302, "/")
    page = anonymous.follow(page)
    assert page.status == 200
    assert "Your account is created" in page.words and email in page.words
    assert "Your account is created" not in anonymous.get("/").words, "the message is shown once"


def test_sign_out(user):
    assert user.get("/signout/").status == 200
    assert user.get("/").status == 200, "looking at the page signs nobody out"
    page = user.submit("/signout/")
    assert (page.status, page.location) == (302, "/signin/")
    assert "You are signed out." in user.follow(page).words
    assert "notejam_session" not in user.cookies
    assert user.get("/").status == 302


def test_signed_out_session_is_dead_for_a_kept_cookie(user):
    thief = Browser(user.url)
    thief.cookies = dict(user.cookies)
    assert thief.get("/").status == 200
    user.submit("/signout/")
    assert thief.get("/").status == 302


@pytest.mark.parametrize("fields, message", [
    ({"email": ""}, "This field is required."),
    ({"email": "nobody"}, "This is not an e-mail address."),
    ({"email": "a" * 250 + "@example.com"}, "This is not an e-mail address."),
    ({"password": ""}, "This field is required."),
    ({"password": "short"}, "Use at least 6 characters."),
    ({"password": "x" * 73}, "Use at most 72 bytes."),
    ({"repeat_password": "different"}, "The passwords are not the same."),
])
def test_faulty_sign_up(anonymous, fields, message):
    values = {"email": "person@example.com", "password": PASSWORD, "repeat_password": PASSWORD, **fields}
    page = anonymous.submit("/signup/", **values)
    assert page.status == 422 and message in page.words
    assert page.form().fields["email"] == values["email"]
    assert page.form().fields["password"] == "", "a password is never sent back"


def test_an_address_signs_up_once(anonymous, user):
    page = anonymous.submit("/signup/", email=user.email.upper(), password=PASSWORD, repeat_password=PASSWORD)
    assert page.status == 422 and "There is an account with this address already." in page.words


def test_sign_in_ignores_case_and_blanks_of_the_address(anonymous, user):
    page = anonymous.sign_in(f" {user.email.upper()} ")
    assert page.status == 302
    assert user.email in anonymous.follow(page).words


@pytest.mark.parametrize("known", [True, False])
def test_wrong_sign_in_does_not_tell_which_part_is_wrong(anonymous, user, known):
    email = user.email if known else "nobody-" + user.email
    page = anonymous.sign_in(email, "wrong password")
    assert page.status == 422 and "Wrong e-mail address or password." in page.words
    assert page.form().fields["email"] == email
    assert anonymous.get("/").status == 302


def test_change_of_password(user):
    other_device = Browser(user.url)
    assert other_device.sign_in(user.email).status == 302
    new = "battery staple"
    page = user.submit("/settings/", old_password=PASSWORD, new_password=new, repeat_new_password=new)
    assert (page.status, page.location) == (302, "/")
    assert user.get("/").status == 200, "this device stays signed in"
    assert other_device.get("/").status == 302, "other devices are signed out"
    assert other_device.sign_in(user.email, PASSWORD).status == 422
    assert other_device.sign_in(user.email, new).status == 302


@pytest.mark.parametrize("fields, message", [
    ({"old_password": "wrong"}, "This is not your password."),
    ({"new_password": "short", "repeat_new_password": "short"}, "Use at least 6 characters."),
    ({"repeat_new_password": "different"}, "The passwords are not the same."),
])
def test_faulty_change_of_password(user, fields, message):
    values = {"old_password": PASSWORD, "new_password": "battery staple", "repeat_new_password": "battery staple"}
    page = user.submit("/settings/", **{**values, **fields})
    assert page.status == 422 and message in page.words
    assert Browser(user.url).sign_in(user.email).status == 302, "the old password still works"
