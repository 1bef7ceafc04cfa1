"""scripts/soak, short: every request is answered, whatever is restarted meanwhile."""
import json
import subprocess
import sys

from tools import paths


def test_restarts_of_both_sides_lose_nothing(tmp):
    for tool in ("apache2", "php-fpm", "mod_demo.so", "gcc"):
        paths.require(tool)
    r = subprocess.run([sys.executable, paths.TOP / "scripts" / "soak", "--minutes", "0.15", "--every", "2", "--connections", "16",
                        "--workers", "5", "--settle", "1", "--config", "DemoTimeout queue=60s connect=30s", "--out", tmp],
                       capture_output=True, text=True, timeout=400)
    assert r.returncode in (0, 1), r.stdout + r.stderr
    doc = json.loads((tmp / "soak.json").read_text())
    assert doc["restarts"]["httpd"] and doc["restarts"]["php-fpm"], r.stdout
    assert sum(s["answered"] for s in doc["sums"].values()) > 100, r.stdout
    # A few seconds tell nothing about memory.
    assert not [x for x in doc["bad"] if not x.startswith("memory ")], r.stdout
