"""Every way in which pods come and go, under writers of unique ids. The order is that of the file: each case leaves
the site as the next one expects it, one Ready pod of php-fpm that is primary."""
from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from pathlib import Path

import cluster
import pytest
from cluster import kubectl, pod_exec, pods, ready_seconds, run, settled, until

VALUES = str(cluster.HERE / "values.yaml")
CHART = str(cluster.TOP / "kubernetes" / "chart")
GAP_MS = 500
SECOND_IMAGE = os.environ.get("E2E_SECOND_IMAGE", "")
CTR_DIR = os.environ.get("E2E_CTR_DIR", "")     # the test cluster's folder: containers can be killed there


def helm(*args: str, **kw) -> str:
    return run("helm", "-n", cluster.NAMESPACE, *args, timeout=400, **kw)


def install(*sets: str) -> None:
    if os.environ.get("E2E_TAG"):
        sets = (f"httpd.image.tag={os.environ['E2E_TAG']}", f"phpFpm.image.tag={os.environ['E2E_TAG']}", *sets)
    helm("upgrade", "--install", "mod-demo", CHART, "-f", VALUES, *(f"--set={s}" for s in sets))


def image() -> str:
    return cluster.get("deployment", "php-fpm")["spec"]["template"]["spec"]["containers"][0]["image"]


def primaries() -> list[str]:
    return [p["metadata"]["name"] for p in pods("php-fpm") if cluster.sidecar_status(p)["state"].upper() == "PRIMARY"]


def one_primary() -> None:
    until(lambda: len(primaries()) == 1, 60, "one primary")


def integrity() -> None:
    """PHP's own SQLite finds the database in order."""
    said = pod_exec(next(p for p in pods("php-fpm") if p["metadata"]["name"] in primaries()), "php-fpm", "php", "-r",
                    'echo (new PDO("sqlite:/app/data/database.sqlite"))->query("PRAGMA integrity_check")->fetchColumn();')
    assert said == "ok", said


def change_image(to: str) -> None:
    kubectl("set", "image", "deployment/php-fpm", f"fcgi-sidecar={to}", f"php-fpm={to}")


# -- the beginning ------------------------------------------------------------------------
@pytest.mark.short
def test_plain_manifests_are_accepted():
    said = run("kubectl", "apply", "--dry-run=server", "-f", str(cluster.TOP / "kubernetes"))
    assert said.count("(server dry run)") >= 20, said


@pytest.mark.short
def test_every_choice_is_accepted():
    """The API server judges what is off by default too."""
    have = run("kubectl", "api-resources", "-o", "name")
    choices = {"ingress.enabled": "ingresses.networking.k8s.io", "httpRoute.enabled": "httproutes.gateway.networking.k8s.io",
               "monitoring.podMonitor.enabled": "podmonitors.monitoring.coreos.com",
               "monitoring.prometheusRule.enabled": "prometheusrules.monitoring.coreos.com",
               "phpFpm.verticalAutoscaling.enabled": "verticalpodautoscalers.autoscaling.k8s.io"}
    sets = [f"--set={name}={str(kind in have).lower()}" for name, kind in choices.items()]
    rendered = run("helm", "template", "mod-demo", CHART, "-n", cluster.NAMESPACE, "--kube-version=1.34.0", "--api-versions=autoscaling.k8s.io/v1",
                   "--set=monitoring.dashboard.enabled=true", *sets)
    said = kubectl("apply", "--dry-run=server", "-f", "-", stdin=rendered)
    assert said.count("(server dry run)") >= 25, said


@pytest.mark.short
def test_first_deployment(table):
    began = time.time()
    install()
    pod = settled("php-fpm", 1)[0]
    settled("httpd-server")
    row = cluster.Row("first deployment", seconds=round(time.time() - began, 1), ready_s=ready_seconds(pod))
    page = cluster.client("get", cluster.site_url() + cluster.SIGN_IN)
    table.add(row)
    assert page.startswith("200\n") and "Sign in" in page, page[:500]
    one_primary()


@pytest.mark.short
def test_helm_test():
    assert "Phase:          Succeeded" in helm("test", "mod-demo", "--timeout=120s")


def test_health_and_metrics():
    assert cluster.client("get", cluster.site_url() + "/readyz?verbose").startswith("200\n")
    pod = pods("httpd-server")[0]["status"]["podIP"]
    assert "demo_requests_total" in cluster.client("get", f"http://{pod}:9117/metrics")
    pod = pods("php-fpm")[0]["status"]["podIP"]
    assert cluster.client("get", f"http://{pod}:9180/metrics").startswith("200\n")


def test_port_forward():
    with subprocess.Popen(["kubectl", "-n", cluster.NAMESPACE, "port-forward", "svc/httpd-server", ":80"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as forward:
        try:
            port = forward.stdout.readline().split("127.0.0.1:")[1].split()[0]
            said = run("/usr/bin/python3", str(cluster.HERE / "client.py"), "get", f"http://127.0.0.1:{port}{cluster.SIGN_IN}")
        finally:
            forward.terminate()
    assert said.startswith("200\n") and "Sign in" in said


# -- rollouts -----------------------------------------------------------------------------
@pytest.mark.short
def test_rollout_restart_twice(writing, out):
    jar = out / "user.jar"
    jar.unlink(missing_ok=True)
    cluster.client("sign-up", cluster.site_url(), str(jar))
    load = writing("rollout restart, twice")
    for _ in range(2):
        kubectl("rollout", "restart", "deployment/php-fpm")
        pod = settled("php-fpm", 1)[0]
        load.row.ready_s = ready_seconds(pod)
    load.finish(gap_ms=GAP_MS)
    one_primary()
    integrity()
    assert json.loads(cluster.client("who", cluster.site_url(), str(jar))) == {"signed_in": True, "note": True}


@pytest.mark.short
def test_image_change(writing):
    if not SECOND_IMAGE:
        pytest.skip("E2E_SECOND_IMAGE is not set: no other image to change to")
    load = writing("image change")
    change_image(SECOND_IMAGE)
    settled("php-fpm", 1)
    load.finish(gap_ms=GAP_MS)
    assert image() == SECOND_IMAGE


@pytest.mark.short
def test_rollback(writing):
    if image() != SECOND_IMAGE:
        pytest.skip("the image was not changed")
    load = writing("rollback")
    kubectl("rollout", "undo", "deployment/php-fpm")
    settled("php-fpm", 1)
    load.finish(gap_ms=GAP_MS)
    one_primary()


def test_failed_rollout(writing):
    """The new pod's php-fpm never gets Ready: the primary stays where it is."""
    before = primaries()
    old = image()
    load = writing("failed rollout")
    kubectl("set", "image", "deployment/php-fpm", f"php-fpm={old.replace('php-fpm', 'httpd')}")
    until(lambda: any(c.get("restartCount", 0) > 0 for p in pods("php-fpm") for c in p["status"].get("containerStatuses", [])),
          120, "the new pod to fail")
    time.sleep(5)
    assert primaries() == before
    kubectl("rollout", "undo", "deployment/php-fpm")
    settled("php-fpm", 1)
    load.finish(gap_ms=GAP_MS)
    assert primaries() == before


def test_rollout_with_100_mib(writing):
    """Ready within 10 s of being scheduled."""
    pod = pods("php-fpm")[0]
    pod_exec(pod, "php-fpm", "php", "-r", '$db = new PDO("sqlite:/app/data/database.sqlite"); $db->exec("PRAGMA busy_timeout=20000");'
             '$db->exec("CREATE TABLE IF NOT EXISTS filler (b BLOB)"); for ($i = 0; $i < 100; $i++) $db->exec("INSERT INTO filler VALUES (randomblob(1048576))");')
    load = writing("rollout restart, 100 MiB")
    kubectl("rollout", "restart", "deployment/php-fpm")
    load.row.ready_s = ready_seconds(settled("php-fpm", 1)[0])
    ready = load.row.ready_s
    load.finish(gap_ms=GAP_MS)
    integrity()
    assert ready <= 10, f"Ready {ready} s after it was scheduled"


def test_scale_up_and_back(writing):
    load = writing("scale to 3 and back")
    kubectl("scale", "deployment/php-fpm", "--replicas=3")
    settled("php-fpm", 3)
    one_primary()
    kubectl("scale", "deployment/php-fpm", "--replicas=1")
    settled("php-fpm", 1)
    load.finish()
    one_primary()


def test_httpd_rollout(writing):
    load = writing("httpd rollout")
    kubectl("rollout", "restart", "deployment/httpd-server")
    settled("httpd-server")
    load.finish(gap_ms=GAP_MS)


def test_restart_of_everything(writing):
    load = writing("restart of everything")
    kubectl("rollout", "restart", "deployment")
    settled("php-fpm", 1)
    settled("httpd-server")
    load.finish(gap_ms=GAP_MS)
    one_primary()


# -- pods that go without a successor -----------------------------------------------------
@pytest.mark.short
def test_delete_pod(writing):
    load = writing("delete pod")
    kubectl("delete", "pod", primaries()[0], "--wait=false")
    settled("php-fpm", 1)
    load.finish()
    one_primary()


def test_delete_all_pods(writing):
    """Both Deployments at once: the old pods serve until the new ones do."""
    load = writing("delete all pods")
    kubectl("delete", "pods", "--all", "--wait=false")
    settled("php-fpm", 1)
    settled("httpd-server")
    load.finish()
    one_primary()


def test_eviction(writing):
    load = writing("eviction")
    name = primaries()[0]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": cluster.NAMESPACE}}
    run("kubectl", "create", "--raw", f"/api/v1/namespaces/{cluster.NAMESPACE}/pods/{name}/eviction", "-f", "-", stdin=json.dumps(body))
    until(lambda: name not in [p["metadata"]["name"] for p in pods("php-fpm")], 300, "the evicted pod to go")
    settled("php-fpm", 1)
    load.finish()
    one_primary()


@pytest.mark.short
def test_drain(writing):
    node = pods("php-fpm")[0]["spec"]["nodeName"]
    # What the node port's traffic enters by may be drained too: only pods leave, the node forwards on.
    load = writing("drain of the node")
    try:
        run("kubectl", "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=300s", timeout=320)
        assert settled("php-fpm", 1)[0]["spec"]["nodeName"] != node
        settled("httpd-server")
    finally:
        run("kubectl", "uncordon", node)
    load.finish()
    one_primary()


# -- crashes ------------------------------------------------------------------------------
def crash(pod: dict, container: str) -> None:
    """SIGKILL for the container's first process, as the kernel's out-of-memory killer sends it."""
    status = next(c for kind in ("initContainerStatuses", "containerStatuses") for c in pod["status"].get(kind, []) if c["name"] == container)
    run("ctr", "--address", f"{CTR_DIR}/{pod['spec']['nodeName']}/containerd.sock", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL",
        status["containerID"].split("//")[1])

    def restarted():
        now = cluster.get("pod", pod["metadata"]["name"])
        new = next(c for kind in ("initContainerStatuses", "containerStatuses") for c in now["status"].get(kind, []) if c["name"] == container)
        return new["restartCount"] > status["restartCount"] and is_up(now)
    until(restarted, 120, f"{container} to come back")


def is_up(pod: dict) -> bool:
    return cluster.is_ready(pod)


@pytest.mark.parametrize("name, container", [("php-fpm", "php-fpm"), ("php-fpm", "fcgi-sidecar"), ("httpd-server", "httpd")])
def test_crash(writing, seconds, name, container):
    if not CTR_DIR:
        pytest.skip("containers can be killed on the test cluster only")
    load = writing(f"crash of {container}")
    crash(pods(name)[0], container)
    load.finish(failed=None, at_least=seconds / 2, note="requests of the killed process fail")
    one_primary()
    integrity()


# -- autoscaling --------------------------------------------------------------------------
def test_horizontal_autoscaling(table):
    """Under load httpd gets further pods, which serve; after it they go, and no request fails in either."""
    row = cluster.Row("HPA up and down")
    start = cluster.get("hpa", "httpd-server")["spec"]["minReplicas"]
    # The writers of the cases before may have been load enough for one more.
    until(lambda: len(settled("httpd-server")) == start, 120, "httpd to be as small as it gets", 2)
    began = time.monotonic()
    with subprocess.Popen([*os.environ.get("E2E_NET", "").split(), "/usr/bin/python3", str(cluster.HERE / "client.py"), "load",
                           cluster.site_url() + "/livez", "--seconds", "120", "--threads", "8"], stdout=subprocess.PIPE, text=True) as load:
        until(lambda: sum(cluster.is_ready(p) for p in pods("httpd-server")) > start, 110, "a further httpd under load", 1)
        up = time.monotonic() - began
        time.sleep(5)
        load.terminate()
        said = json.loads(load.communicate(timeout=120)[0])
    ended = time.monotonic()
    most = len(pods("httpd-server"))
    until(lambda: len(pods("httpd-server")) == start, 300, "httpd to be scaled down again", 2)
    row.seconds, row.failed, row.ok = round(time.monotonic() - began, 1), said["failed"], said["failed"] == 0
    row.note = f"{start} to {most} pods, the first after {up:.0f} s; {start} again {time.monotonic() - ended:.0f} s after the load; {said['answered']} GETs"
    table.add(row)
    assert said["failed"] == 0 and said["answered"] > 0, said


def test_vertical_autoscaling(writing, seconds):
    """A recommendation outside of what the pod has reaches the one pod that there is."""
    if "verticalpodautoscalers" not in run("kubectl", "api-resources", "-o", "name"):
        pytest.skip("the cluster has no VerticalPodAutoscaler")

    def cpu() -> str:
        return pods("php-fpm")[0]["spec"]["containers"][0]["resources"]["requests"]["cpu"]
    assert cpu() == "250m"

    def patch(mode: str, minimum: str) -> None:
        kubectl("patch", "vpa", "php-fpm", "--type=json",
                "-p", json.dumps([{"op": "replace", "path": "/spec/resourcePolicy/containerPolicies/0/minAllowed/cpu", "value": minimum},
                                  {"op": "replace", "path": "/spec/updatePolicy/updateMode", "value": mode}]))
    load = writing("VPA raises the CPU request")
    try:
        patch("InPlaceOrRecreate", "400m")
        until(lambda: cpu() == "400m", 180, "the pod's CPU request to change", 1)
    finally:
        patch("Off", "100m")
    settled("php-fpm", 1)
    load.finish(at_least=seconds / 2)
    one_primary()


# -- rights -------------------------------------------------------------------------------
@pytest.mark.short
def test_the_token_can_do_nothing_else():
    account = f"system:serviceaccount:{cluster.NAMESPACE}:php-fpm"

    def can(verb: str, what: str) -> bool:
        return kubectl("auth", "can-i", verb, what, f"--as={account}", check=False).strip() == "yes"
    # All of it: what every account may do to ask about itself, and the Lease.
    review = run("kubectl", "create", "--validate=false", f"--as={account}", "-f", "-", "-o", "json", stdin=json.dumps(
        {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": cluster.NAMESPACE}}))
    rules = [r for r in json.loads(review)["status"]["resourceRules"] if not r["apiGroups"][0].startswith(("authorization.", "authentication."))]
    assert rules == [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["php-fpm"], "verbs": ["get", "update"]}]
    assert can("get", "leases/php-fpm") and can("update", "leases/php-fpm")
    for verb, what in (("create", "leases"), ("list", "leases"), ("delete", "leases/php-fpm"), ("update", "leases/other"), ("get", "secrets"),
                       ("get", "pods"), ("create", "pods/exec"), ("list", "configmaps"), ("patch", "deployments")):
        assert not can(verb, what), f"{account} can {verb} {what}"
    for other in ("httpd-server", "default"):
        assert kubectl("auth", "can-i", "get", "leases/php-fpm", f"--as=system:serviceaccount:{cluster.NAMESPACE}:{other}", check=False).strip() == "no"


@pytest.mark.short
def test_only_the_sidecar_has_a_token():
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert pod_exec(settled("php-fpm", 1)[0], "php-fpm", "sh", "-c", f"test -e {token} && echo there || echo absent").strip() == "absent"
    assert pod_exec(pods("httpd-server")[0], "httpd", "sh", "-c", f"test -e {token} && echo there || echo absent").strip() == "absent"


@pytest.mark.short
def test_network_policies_are_stored():
    names = {p["metadata"]["name"] for p in cluster.get("networkpolicies")["items"]}
    assert {"mod-demo-default-deny", "mod-demo-dns", "httpd-server", "php-fpm"} <= names


def secrets() -> dict[str, str]:
    return {name: cluster.get("secret", name)["data"]["secret"] for name in ("php-fpm-handover", "php-fpm-app")}


def app_secret() -> str:
    """APP_SECRET as a script under php-fpm finds it, in base64 as in the Secret."""
    said = pod_exec(pods("php-fpm")[0], "php-fpm", "sh", "-c", """echo '<?php echo "[", base64_encode(getenv("APP_SECRET")), "]";' >/tmp/secret.php
        env -i REQUEST_METHOD=GET SCRIPT_NAME=/secret.php SCRIPT_FILENAME=/tmp/secret.php cgi-fcgi -bind -connect "$PHP_FPM_LISTEN"; rm /tmp/secret.php""")
    return said[said.index("[") + 1:said.rindex("]")]


def test_upgrade_keeps_the_keys_and_the_lease():
    keys = secrets()
    assert len(set(keys.values())) == 2 and app_secret() == keys["php-fpm-app"]
    holder = cluster.get("lease", "php-fpm")
    install("httpd.logLevel=info")
    settled("httpd-server")
    settled("php-fpm", 1)
    assert secrets() == keys and app_secret() == keys["php-fpm-app"]
    assert cluster.get("lease", "php-fpm")["metadata"]["uid"] == holder["metadata"]["uid"]
    one_primary()


def test_a_wrong_backend_is_loud():
    """httpd refuses to start and names the directive and the variable; the old pods go on."""
    kubectl("set", "env", "deployment/httpd-server", "BACKEND_URL=http://php-fpm")
    try:
        def said():
            states = [c.get("lastState", {}).get("terminated") or c.get("state", {}).get("terminated") or {}
                      for p in pods("httpd-server") for c in p["status"].get("containerStatuses", [])]
            return next((s["message"] for s in states if "BACKEND_URL" in s.get("message", "")), None)
        message = until(said, 60, "a termination message that names BACKEND_URL")
        assert "DemoBackend" in message
        assert cluster.client("get", cluster.site_url() + "/livez").startswith("200\n")
    finally:
        kubectl("rollout", "undo", "deployment/httpd-server")
        settled("httpd-server")


def test_uninstall_does_not_wait_for_a_successor():
    """The last pod sees that its service account is gone and ends; the keys are kept for the next install."""
    keys = secrets()
    helm("uninstall", "mod-demo")
    until(lambda: not pods("php-fpm"), 150, "the pod of php-fpm to end", 2)
    assert secrets() == keys
    install()
    settled("php-fpm", 1)
    settled("httpd-server")
    assert secrets() == keys
    one_primary()
