"""The API of acknowledged writes."""

import concurrent.futures
import json
import uuid

import pytest


@pytest.fixture
def api(anonymous):
    if anonymous.get("/api/writes/count").status == 404:
        pytest.skip("NOTEJAM_WRITES_API is not 1 at APP_URL")
    return anonymous


def unique():
    return uuid.uuid4().hex


def test_write_is_acknowledged_once(api):
    name = unique()
    page = api.request("POST", "/api/writes", {"id": name})
    assert page.status == 201
    assert json.loads(page.text) == {"id": name, "instance": page.headers["X-Instance"]}
    page = api.request("POST", "/api/writes", {"id": name})
    assert page.status == 409 and name in json.loads(page.text)["error"]


def test_list_goes_on_after_a_row(api):
    start = json.loads(api.get("/api/writes/count").text)["last"]
    names = [unique() for _ in range(5)]
    for name in names:
        assert api.request("POST", "/api/writes", {"id": name}).status == 201
    found, after = [], start
    while True:
        answer = json.loads(api.get(f"/api/writes?after={after}&limit=2").text)
        if not answer["writes"]:
            assert answer["next"] == after
            break
        assert len(answer["writes"]) <= 2
        assert all(set(row) == {"rowid", "id", "at", "instance"} for row in answer["writes"])
        found += [row["id"] for row in answer["writes"]]
        after = answer["next"]
    assert set(names) <= set(found)


def test_count(api):
    before = json.loads(api.get("/api/writes/count").text)
    api.request("POST", "/api/writes", {"id": unique()})
    after = json.loads(api.get("/api/writes/count").text)
    assert after["count"] > before["count"] and after["last"] > before["last"]


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "ü", "a\n", "<b>"])
def test_faulty_id(api, name):
    page = api.request("POST", "/api/writes", {"id": name})
    assert page.status == 422 and "id" in json.loads(page.text)["error"]


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=10001", "limit=1.5", "after=99999999999999999999"])
def test_faulty_query(api, query):
    assert api.get("/api/writes?" + query).status == 422


def test_wrong_method(api):
    page = api.request("DELETE", "/api/writes")
    assert page.status == 405 and page.headers["Allow"] == "GET, HEAD, POST"
    assert page.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("value", ["", "0", "yes"])
def test_off_unless_switched_on(servers, value):
    browser = servers(NOTEJAM_WRITES_API=value).create_database().start().browser()
    assert browser.get("/api/writes").status == 404
    assert browser.get("/api/writes/count").status == 404
    assert browser.request("POST", "/api/writes", {"id": "x"}).status == 404


def test_many_writers_lose_nothing(servers):
    server = servers(PHP_CLI_SERVER_WORKERS="4").create_database().start()
    names = [unique() for _ in range(200)]

    def write(name):
        return server.browser().request("POST", "/api/writes", {"id": name}).status

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write, names)) == {201}
    assert {row[0] for row in server.sql("SELECT id FROM writes")} == set(names)
