"""Composer's credentials reach composer in the build and are in no layer, neither of the image nor of the stage before it.

Builds the php-fpm image of a small application with scripts/images. The stage that compiles is the one that
`scripts/test images` has built already, where the builder keeps layers.
"""
from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import subprocess
import tarfile
import time

import pytest

from imagefile import TOP
from runtime import TAG, need_tool

PASSWORD = secrets.token_hex(24)       # this file itself is in the stage that compiles

#: Tells, by a file that goes into the image, whether composer had the credentials.
PLUGIN = """<?php
namespace Acme;
use Composer\\Composer;
use Composer\\IO\\IOInterface;
final class Teller implements \\Composer\\Plugin\\PluginInterface {
    public function activate(Composer $composer, IOInterface $io): void {
        $auth = $composer->getConfig()->get('http-basic')['repo.example.org'] ?? [];
        file_put_contents('/app/public/digest.txt', hash('sha256', $auth['password'] ?? ''));
    }
    public function deactivate(Composer $composer, IOInterface $io): void {}
    public function uninstall(Composer $composer, IOInterface $io): void {}
}
"""


@pytest.fixture(scope="module")
def built(module_tmp):
    tool = need_tool()
    app = module_tmp / "application"
    (app / "public").mkdir(parents=True)
    (app / "public/index.php").write_text("<?php echo 'composed';\n")
    plugin = app / "packages/teller"
    (plugin / "src").mkdir(parents=True)
    (plugin / "src/Teller.php").write_text(PLUGIN)
    (plugin / "composer.json").write_text(json.dumps({
        "name": "acme/teller", "version": "1.0.0", "type": "composer-plugin", "require": {"composer-plugin-api": "^2"},
        "extra": {"class": "Acme\\Teller"}, "autoload": {"psr-4": {"Acme\\": "src/"}}}))
    (app / "composer.json").write_text(json.dumps({
        "name": "acme/application", "require": {"acme/teller": "^1"}, "config": {"allow-plugins": {"acme/teller": True}},
        "repositories": [{"type": "path", "url": "packages/*", "options": {"symlink": False}}, {"packagist.org": False}]}))
    auth = module_tmp / "auth.json"
    auth.write_text(json.dumps({"http-basic": {"repo.example.org": {"username": "me", "password": PASSWORD}}}))
    tag = f"{TAG}-secrets"
    base = subprocess.run([tool, "image", "inspect", "--format", '{{index .Config.Labels "org.opencontainers.image.base.name"}}', f"mod-demo/php-fpm:{TAG}"],
                          capture_output=True, text=True).stdout.strip()
    builder = ["--builder", "docker"] if tool == "docker" else []
    began = time.time()
    done = subprocess.run([str(TOP / "scripts/images"), "--app", str(app), "--only", "php-fpm", "--tag", tag, "--composer-auth", str(auth), *builder,
                           *(["--base", base] if base else [])], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert PASSWORD not in done.stdout + done.stderr, "nor is it in the builder's log"
    try:
        yield tool, f"docker.io/mod-demo/php-fpm:{tag}", began
    finally:
        subprocess.run([tool, "rmi", f"docker.io/mod-demo/php-fpm:{tag}"], capture_output=True)


def layers(tool: str, image: str, folder):
    """(name of the layer's archive, its files) of each, and the image's own description."""
    archive = folder / "image.tar"
    subprocess.run([tool, "save", *(["--format", "docker-archive"] if tool == "podman" else []), "-o", str(archive), image],
                   check=True, capture_output=True, timeout=600)
    with tarfile.open(archive) as outer:
        for member in outer.getmembers():
            if member.isfile():
                yield member.name, outer.extractfile(member).read()
    archive.unlink()


def test_composer_had_them_and_no_layer_has(built, module_tmp):
    tool, image, _ = built
    needle, digest = PASSWORD.encode(), b""
    seen = 0
    for name, data in layers(tool, image, module_tmp):
        assert needle not in data, name
        if name.endswith((".tar", "/layer.tar")) or data[257:262] == b"ustar":
            seen += 1
            with tarfile.open(fileobj=io.BytesIO(data)) as layer:
                for entry in layer:
                    assert not entry.name.startswith("run/secrets/composer") and not entry.name.endswith(("auth.json", ".composer")), entry.name
                    if entry.name.lstrip("./") == "app/public/digest.txt":
                        digest = layer.extractfile(entry).read()
    assert seen >= 2
    assert digest.decode() == hashlib.sha256(needle).hexdigest(), "composer saw the credentials while it installed"


def test_nor_is_it_in_what_the_builder_keeps(built):
    """The stages before the last one stay in the builder's storage, for the next build."""
    tool, _, began = built
    if tool != "podman" or os.geteuid() != 0:
        pytest.skip("the storage of podman and buildah can be looked into as root")
    root = subprocess.run(["podman", "info", "--format", "{{.Store.GraphRoot}}"], capture_output=True, text=True).stdout.strip()
    if not os.path.isdir(os.path.join(root, "overlay")):
        pytest.skip(f"{root} is not kept by the driver overlay")
    made = [diff for n in os.listdir(os.path.join(root, "overlay"))
            if os.path.isdir(diff := os.path.join(root, "overlay", n, "diff")) and os.stat(os.path.join(root, "overlay", n)).st_mtime >= began - 1]
    assert made, "the build has made layers"
    found = subprocess.run(["grep", "-rlF", PASSWORD, "--", *made], capture_output=True, text=True, timeout=900).stdout
    assert not found, found
