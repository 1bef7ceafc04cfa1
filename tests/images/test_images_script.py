"""scripts/images: its command line, the choice of a builder, and what it asks of each. The builders are stand-ins."""
from __future__ import annotations

import os
import re
import subprocess

import pytest

import imagefile
from imagefile import TOP

BUILDERS = ("buildah", "podman", "docker")


@pytest.fixture
def run(tmp):
    """run(*args, builders=…): scripts/images with nothing on PATH but these builders, which write down how they are called."""
    tools = tmp / "tools"
    tools.mkdir()
    for name in ("bash", "sh", "cat", "sed", "grep", "tr", "tail", "head", "cut", "mktemp", "cp", "rm", "mv", "mkdir", "chmod", "dirname", "git",
                 "tar", "uname", "env", "find"):
        for folder in ("/usr/bin", "/bin"):
            if os.path.exists(f"{folder}/{name}") and not (tools / name).exists():
                (tools / name).symlink_to(f"{folder}/{name}")
    calls = tmp / "calls"

    def go(*args, builders=("buildah",), broken=()):
        for old in BUILDERS:
            (tools / old).unlink(missing_ok=True)
        calls.write_text("")
        for name in (*builders, *broken):
            program = tools / name
            program.write_text(f"#!/bin/sh\ncase $1 in\ninfo) {'echo cannot reach it >&2; exit 1' if name in broken else 'exit 0'} ;;\n"
                               f"version) echo 20.10.24; exit 0 ;;\nesac\necho {name} \"$@\" >> {calls}\n"
                               "case \"$*\" in *docker-archive:*) a=${*##*docker-archive:}; : > \"${a%%:*}\" ;; esac\n"
                               "[ \"$1\" != save ] || { shift; while [ \"$1\" != -o ]; do shift; done; : > \"$2\"; }\n")
            program.chmod(0o755)
        done = subprocess.run([str(TOP / "scripts/images"), *args], env={"PATH": str(tools), "HOME": str(tmp)}, cwd=tmp,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        done.calls = calls.read_text().splitlines()
        return done
    return go


def test_help(run):
    done = run("--help")
    assert done.returncode == 0
    for word in ("--app", "--base", "--build-base", "--platform", "--builder", "--save", "--composer-auth", "--composer-config", "--symfony-demo-version", "Exit:"):
        assert word in done.stdout


@pytest.mark.parametrize("args, said", [
    (["--nonsense", "x"], "--nonsense"), (["--builder", "make"], "make"), (["--only", "mysql"], "mysql"), (["--app"], "--app"),
    (["--platform", "arm64"], "linux/arm64"), (["--app-sessions", "cookies"], "cookies")])
def test_usage(run, args, said):
    done = run(*args)
    assert done.returncode == 2 and said in done.stderr and not done.calls


@pytest.mark.parametrize("args, said", [
    (["--app", "/nonexistent"], "neither notejam, symfony-demo nor a directory"), (["--app", "/"], "public/"),
    (["--composer-auth", "/nonexistent"], "/nonexistent"), (["--composer-config", "/nonexistent"], "/nonexistent")])
def test_bad_input(run, args, said):
    done = run(*args)
    assert done.returncode == 1 and said in done.stderr and not done.calls


def test_without_a_builder_it_says_what_to_install(run):
    done = run(builders=())
    assert done.returncode == 77
    assert all(f"apt-get install {p}" in done.stderr for p in ("buildah", "podman", "docker.io"))


def test_a_builder_that_does_not_work_is_passed_over_and_named_when_asked_for(run):
    done = run("--only", "httpd", builders=("docker",), broken=("buildah", "podman"))
    assert done.returncode == 0 and done.calls[0].startswith("docker build ")
    done = run("--builder", "docker", builders=("buildah",), broken=("docker",))
    assert done.returncode == 1 and "daemon does not answer" in done.stderr
    done = run("--builder", "podman", builders=("buildah",))
    assert done.returncode == 1 and "apt-get install podman" in done.stderr


@pytest.mark.parametrize("builder", BUILDERS)
def test_what_a_builder_is_asked_for(run, tmp, builder):
    secret = tmp / "auth.json"
    secret.write_text("{}")
    done = run("--builder", builder, "--base", "debian:bookworm-slim", "--save", "out", "--composer-auth", str(secret), builders=BUILDERS)
    assert done.returncode == 0, done.stderr
    builds = [c for c in done.calls if " bud " in c or " build " in c]
    assert len(builds) == 2 and all(c.split()[0] == builder for c in done.calls)
    for part, call in zip(("httpd", "php-fpm"), builds):
        assert f"-t docker.io/mod-demo/{part}:{imagefile.version()}" in call and f"docker/{part}/Dockerfile" in call
        assert "BASE=docker.io/library/debian:bookworm-slim" in call and f"VERSION={imagefile.version()}" in call
        assert f"--secret id=composer-auth,src={secret}" in call
        arguments = {w.split("=")[0] for w, before in zip(call.split()[1:], call.split()) if before == "--build-arg"}
        assert arguments <= imagefile.read(part).args
    assert sorted(p.name for p in (tmp / "out").iterdir()) == ["httpd.tar", "php-fpm.tar"], "complete archives alone"


def test_a_directory_becomes_part_of_the_context_and_leaves_it(run, tmp):
    app = tmp / "application"
    for folder in ("public", "var/cache/prod", ".git", "vendor"):
        (app / folder).mkdir(parents=True)
    (app / "debian-packages").write_text("# what it needs\nphp-gd\nphp-redis\n")
    done = run("--app", str(app), "--only", "php-fpm")
    assert done.returncode == 0, done.stderr
    assert "APP=directory" in done.calls[0] and "php-gd php-redis" in done.calls[0] and "APP_DIR=docker/.app-" in done.calls[0]
    own = re.search(r"APP_DIR=(docker/\.app-\w+)", done.calls[0])[1]     # another test's may be there
    assert not (TOP / own).exists()


@pytest.mark.parametrize("builder", BUILDERS)
def test_for_another_platform_compilers_run_on_this_one(run, builder):
    """For this machine's own, since an emulator for another is not everywhere: the arguments are the same."""
    here = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    done = run("--builder", builder, "--platform", f"linux/{here}", "--base", "example.org/base:arm", "--build-base", "debian:bookworm-slim", builders=BUILDERS)
    assert done.returncode == 0, done.stderr
    for call in (c for c in done.calls if " bud " in c or " build " in c):
        assert f"--platform linux/{here}" in call and "BASE=example.org/base:arm" in call and "BUILD_BASE=docker.io/library/debian:bookworm-slim" in call
        # BuildKit defines these by itself.
        assert (f"BUILDPLATFORM=linux/{here}" in call) is (builder != "docker") is (f"TARGETPLATFORM=linux/{here}" in call)


def test_another_platform_needs_an_emulator(run):
    done = run("--platform", "linux/mips64le", "--only", "httpd")
    if done.returncode:
        assert "qemu-user-static" in done.stderr and not done.calls
    else:
        assert "--platform linux/mips64le" in done.calls[0]
