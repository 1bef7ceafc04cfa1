"""Where the products and the tools are."""
from __future__ import annotations

import glob
import grp
import os
import pwd
import re
import shutil
import stat
import subprocess
from functools import lru_cache
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("DEMO_BUILD") or TOP / "build").resolve()
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")
SANITIZE = os.environ.get("DEMO_SANITIZE", "") not in ("", "0")
#: Which checker it is, see tools/sanitize.py; "" without.
CHECKER = {"": "", "0": "", "1": "address"}.get(os.environ.get("DEMO_SANITIZE", ""), os.environ.get("DEMO_SANITIZE", ""))
#: Debian's folders of daemons, which are not on every user's PATH.
SEARCH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"

#: tool -> Debian package, for the message of a skip.
PACKAGES = {
    "apache2": "apache2", "php-fpm": "php-fpm", "php": "php-cli", "mod_demo.so": "(make)",
    "fcgi-sidecar": "(make)", "promtool": "prometheus", "chromium": "chromium",
    "chromedriver": "chromium-driver", "sqlite3": "sqlite3", "openssl": "openssl", "curl": "curl",
    "nginx": "nginx", "valgrind": "valgrind", "prlimit": "util-linux",
}


class Missing(Exception):
    """A tool is not there; the text names it and the package that holds it."""


def is_ubuntu() -> bool:
    """Ubuntu has Chromium only as a snap."""
    try:
        return "\nID=ubuntu\n" in "\n" + Path("/etc/os-release").read_text()
    except OSError:
        return False


def missing(tool: str):
    """Skip the test and name what is missing; in CI nothing may be missing that the system has a package of: fail."""
    import pytest
    text = f"missing: {tool} (Debian package: {PACKAGES.get(tool, tool)})"
    if IN_CI and not (tool in ("chromium", "chromedriver") and is_ubuntu()):
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def which(tool: str) -> str | None:
    return shutil.which(tool, path=SEARCH)


def require(tool: str) -> str:
    """The path of a program; skips (in CI: fails) the test when it is absent."""
    found = {"apache2": httpd_binary, "httpd": httpd_binary, "php-fpm": php_fpm_binary,
             "mod_demo.so": mod_demo, "fcgi-sidecar": sidecar_binary,
             "chromedriver": lambda: which("chromedriver"),
             "chromium": lambda: which("chromium") or which("chromium-browser") or which("google-chrome"),
             }.get(tool, lambda: which(tool))()
    if not found:
        missing(tool)
    return str(found)


def mod_demo() -> Path | None:
    p = BUILD / "mod_demo" / ".libs" / "mod_demo.so"
    return p if p.exists() else None


def sidecar_binary() -> Path | None:
    p = BUILD / "fcgi-sidecar" / "fcgi-sidecar"
    return p if os.access(p, os.X_OK) else None


def faults_binary() -> Path:
    """The one that fails where SIDECAR_FAULT says (sc_fault.h)."""
    import pytest
    p = BUILD / "fcgi-sidecar" / "fcgi-sidecar-faults"
    if not os.access(p, os.X_OK):
        pytest.skip(f"{p} is missing (make check builds it)")
    return p


def httpd_binary() -> str | None:
    return os.environ.get("DEMO_HTTPD") or which("apache2") or which("httpd")


def php_fpm_binary() -> str | None:
    """php-fpm of the newest version: Debian has the version in the name."""
    if os.environ.get("DEMO_PHP_FPM"):
        return os.environ["DEMO_PHP_FPM"]
    found = {p for d in SEARCH.split(":") if d for p in glob.glob(d + "/php-fpm[0-9]*") if os.access(p, os.X_OK)}

    def version(p: str):
        m = re.search(r"php-fpm(\d+)(?:\.(\d+))?$", p)
        return (int(m.group(1)), int(m.group(2) or 0)) if m else (0, 0)
    return max(found, key=version) if found else which("php-fpm")


@lru_cache(None)
def httpd_modules() -> Path:
    """The folder of httpd's own shared modules."""
    for apxs in ("apxs", "apxs2"):
        if which(apxs):
            out = subprocess.run([which(apxs), "-q", "LIBEXECDIR"], capture_output=True, text=True)
            if out.returncode == 0 and Path(out.stdout.strip()).is_dir():
                return Path(out.stdout.strip())
    for d in ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/local/apache2/modules"):
        if Path(d).is_dir():
            return Path(d)
    raise Missing("the folder of httpd's modules")


@lru_cache(None)
def httpd_static_modules() -> frozenset[str]:
    """Names (without mod_ and .c) of what is linked into httpd."""
    out = subprocess.run([httpd_binary(), "-l"], capture_output=True, text=True).stdout
    return frozenset(re.findall(r"^\s+(?:mod_)?(\w+)\.c$", out, re.M))


@lru_cache(None)
def unprivileged() -> tuple[str, str] | None:
    """(user, group) that servers run as when root started the tests, else None."""
    if os.geteuid() != 0:
        return None
    for user in ("www-data", "nobody"):
        try:
            pw = pwd.getpwnam(user)
        except KeyError:
            continue
        return user, grp.getgrgid(pw.pw_gid).gr_name
    return None


def popen_user() -> dict:
    """Arguments of subprocess.Popen that start a program as the unprivileged user."""
    who = unprivileged()
    return {"user": who[0], "group": who[1], "extra_groups": []} if who else {}


def give(path: Path | str) -> None:
    """Make a file or folder, and all under it, the unprivileged user's own."""
    who = unprivileged()
    if not who:
        return
    pw, gr = pwd.getpwnam(who[0]), grp.getgrnam(who[1])
    os.chown(path, pw.pw_uid, gr.gr_gid)
    if os.path.isdir(path):
        for root, dirs, files in os.walk(path):
            for name in dirs + files:
                os.chown(os.path.join(root, name), pw.pw_uid, gr.gr_gid, follow_symlinks=False)


def world_reachable(path: Path | str) -> bool:
    """May everybody read (and if a folder or program: enter, run) path and enter all above it?"""
    path = Path(path).resolve()
    if not os.stat(path).st_mode & stat.S_IROTH:
        return False
    return all(os.stat(p).st_mode & stat.S_IXOTH for p in path.parents)


def staged(path: Path | str, folder: Path | str) -> Path:
    """path itself, or a copy under folder where the unprivileged user cannot reach path."""
    path = Path(path)
    if unprivileged() is None or world_reachable(path):
        return path
    to = Path(folder) / path.name
    if path.is_dir():
        shutil.copytree(path, to, dirs_exist_ok=True)
    elif not to.exists():
        shutil.copy2(path, to)
    for p in [to, *to.rglob("*")] if to.is_dir() else [to]:
        os.chmod(p, 0o755 if p.is_dir() or os.access(p, os.X_OK) else 0o644)
    return to


def base_env(extra: dict[str, str] | None = None) -> dict[str, str]:
    """A small environment that does not depend on who runs the tests."""
    env = {"PATH": SEARCH, "LANG": "C", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    for key in ("TMPDIR", "LD_LIBRARY_PATH"):
        if key in os.environ:
            env[key] = os.environ[key]
    env.update(extra or {})
    return env
