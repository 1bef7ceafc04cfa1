"""Dashboard and alert rules: they use names that a live httpd really exposes, and they fire when they should."""
import json
import re
import subprocess

import pytest

from tools import http, metrics, paths, wait
from tools.httpd import METRICS_PAGE, PHP
from tools.sidecar import Sidecar, secret_file

MONITORING = paths.TOP / "kubernetes" / "monitoring"
NAME = re.compile(r"\b(?:demo|apache|phpfpm|sidecar)_[a-z0-9_]+")
LABELS = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
#: Added by Prometheus, by an aggregation or by Grafana.
FOREIGN = {"job", "instance", "namespace", "le"}


def expressions() -> dict[str, str]:
    """Where -> expression, of each panel, variable and rule."""
    board = json.loads((MONITORING / "dashboard.json").read_text())
    out = {f"panel {p['id']} {p['title']!r} {t['refId']}": t["expr"] for p in board["panels"] for t in p.get("targets", [])}
    out |= {f"variable {v['name']}": v["definition"] for v in board["templating"]["list"] if "definition" in v}
    yaml = pytest.importorskip("yaml")
    for g in yaml.safe_load((MONITORING / "rules.yaml").read_text())["groups"]:
        out |= {f"rule {r['alert']}": r["expr"] for r in g["rules"]}
    return out


@pytest.fixture(autouse=True)
def _localhost_may_be_ipv6_too(request):
    """php-fpm listens on 127.0.0.1 alone."""
    yield
    for h in request.getfixturevalue("_module_httpds"):
        h.error_log.claim(r"DM0231: .*\[::1\]", optional=True)


@pytest.fixture(scope="module")
def live(module_tmp, module_httpd, module_php_fpm):
    """What httpd and sidecar expose, after a little of everything."""
    f = module_php_fpm().start()
    h = module_httpd(f"""
DemoBackend fcgi://localhost:{f.port}
DemoStatus {f.status_url}
DocumentRoot {f.docroot}
""" + PHP + METRICS_PAGE).start()
    wait.until(lambda: metrics.scrape(h).sum("demo_backend_up") == 1, 5)
    http.get(h, "/params.php")
    out = metrics.scrape(h)
    sidecar = Sidecar(module_tmp, "a", f"file://{module_tmp}/authority.json", secret_file(module_tmp), f.url)
    sidecar.start()
    try:
        other = metrics.scrape(sidecar.http_port)
    finally:
        sidecar.stop()
    out.samples.update(other.samples)
    out.types.update(other.types)
    return out


def test_names_exist(live):
    used = {name for e in expressions().values() for name in NAME.findall(e)}
    assert len(used) > 30
    assert used - live.names == set()


def test_each_family_is_on_the_dashboard_or_alerted_on(live):
    used = " ".join(expressions().values())
    left = {n for n in live.types if n.startswith("demo_") and n not in used}
    assert left <= {"demo_start_time_seconds", "demo_stderr_lines_total"}


def test_labels_exist(live):
    known = {label for _, have in live.samples for label, _ in have} | FOREIGN
    for where, e in expressions().items():
        for selector in re.findall(r"\{([^}]*)\}", e):
            assert set(LABELS.findall(selector)) <= known, where
        for by in re.findall(r"\b(?:by|without|ignoring|on) \(([^)]*)\)", e):
            assert {x.strip() for x in by.split(",")} <= known, where


def test_panels_do_not_overlap():
    board = json.loads((MONITORING / "dashboard.json").read_text())
    taken = set()
    for p in board["panels"]:
        g = p["gridPos"]
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        assert not cells & taken and g["x"] + g["w"] <= 24, p["title"]
        taken |= cells
    assert len({p["id"] for p in board["panels"]}) == len(board["panels"])


@pytest.mark.parametrize("args", [("check", "rules", "rules.yaml"), ("test", "rules", "rules_test.yaml")])
def test_promtool(args):
    r = subprocess.run([paths.require("promtool"), *args], cwd=MONITORING, capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr


def test_every_rule_is_tested():
    rules = re.findall(r"- alert: (\w+)", (MONITORING / "rules.yaml").read_text())
    tested = set(re.findall(r"alertname: (\w+)", (MONITORING / "rules_test.yaml").read_text()))
    assert set(rules) == tested


def test_operator_has_the_same_rules():
    yaml = pytest.importorskip("yaml")
    plain = yaml.safe_load((MONITORING / "rules.yaml").read_text())
    operator = yaml.safe_load((MONITORING / "prometheusrule.yaml").read_text())
    assert operator["spec"] == plain and operator["kind"] == "PrometheusRule"
