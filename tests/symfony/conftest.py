"""Symfony applications behind httpd, mod_demo and two or three pods on this machine, with hand-overs between them."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pod import Debian  # noqa: E402


@pytest.fixture(scope="session")
def debian():
    if not os.environ.get("DEMO_DEBIAN_ROOT"):
        pytest.skip("DEMO_DEBIAN_ROOT names no Debian 13 with Symfony's packages: scripts/test symfony makes one (tests/apps/make-root FOLDER)")
    root = Path(os.environ["DEMO_DEBIAN_ROOT"])
    if os.geteuid() != 0:
        pytest.skip("root is needed, for chroot and mount namespaces")
    if not any(root.glob("usr/sbin/php-fpm[0-9]*")) or not (root / "usr/share/php/Symfony/Bundle/FrameworkBundle").is_dir():
        pytest.skip(f"DEMO_DEBIAN_ROOT={root} has no php-fpm or no php-symfony-framework-bundle")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("mount namespaces cannot be made here (unshare --mount)")
    return Debian(root)
