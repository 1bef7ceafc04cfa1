"""scripts/lib/cluster.sh with a kubectl that only says what it was asked: what is applied, and why there are no images."""
import os
import subprocess

import pytest

from tools import paths


@pytest.fixture
def run(tmp):
    """run(shell, what kubectl does) -> its status and output, in a tree of its own."""
    (tmp / "bin").mkdir()
    (tmp / "scripts").mkdir()
    (tmp / "kubernetes").mkdir()
    for path in (paths.TOP / "kubernetes").glob("*.yaml"):
        (tmp / "kubernetes" / path.name).touch()

    def make(shell, kubectl="", images=""):
        for path, code in ((tmp / "bin" / "kubectl", kubectl), (tmp / "scripts" / "images", images)):
            path.write_text(f"#!/bin/sh\n{code}\n")
            path.chmod(0o755)
        code = f". {paths.TOP}/scripts/lib/common.sh; TOP={tmp}; . {paths.TOP}/scripts/lib/cluster.sh; {shell}"
        r = subprocess.run(["bash", "-euo", "pipefail", "-c", code], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                           env={**os.environ, "PATH": f"{tmp}/bin:{os.environ['PATH']}"})
        return r.returncode, r.stdout + r.stderr
    return make


@pytest.mark.parametrize("there", (True, False))
def test_the_autoscaler_is_applied_where_its_kind_is_known(run, tmp, there):
    rc, out = run("cluster_apply", f'[ "$1" = apply ] && echo "$@" > {tmp}/applied && exit; exit {int(not there)}')
    assert rc == 0, out
    applied = (tmp / "applied").read_text().split()
    names = [a.split("/")[-1] for a in applied[2::2]]
    assert names == ["httpd-deployment.yaml", "namespace.yaml", "php-fpm-deployment.yaml"] + ["php-fpm-vpa.yaml"] * there
    assert set(applied[1::2]) == {"-f"}
    assert ("kubernetes/php-fpm-vpa.yaml is left out" in out) != there


def test_without_a_builder_the_reason_is_told(run):
    rc, out = run("cluster_images", images="echo 'buildah is not installed: apt-get install buildah' >&2; exit 77")
    assert rc == 1 and "skipped" in out and "apt-get install buildah" in out
