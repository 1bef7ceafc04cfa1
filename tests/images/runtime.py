"""Containers of the images of a tag, with podman or docker, as a pod has them: read-only root, no rights, one network."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

#: What a container may be given where a runtime is itself in a container with little.
PODMAN = ["--ulimit", "nofile=1024:4096", "--ulimit", "nproc=1000:2000"]


#: The tag of the images that are looked at; scripts/test images builds them.
TAG = os.environ.get("DEMO_IMAGES", "")


def need_tag() -> None:
    if not TAG:
        pytest.skip("DEMO_IMAGES names no tag: scripts/test images builds them")


def need_tool() -> str:
    """podman or docker, whichever has mod-demo/httpd of the tag; skips when neither."""
    need_tag()
    for name in ("podman", "docker"):
        if shutil.which(name) and subprocess.run([name, "image", "inspect", f"mod-demo/httpd:{TAG}"], capture_output=True).returncode == 0:
            return name
    pytest.skip(f"neither podman nor docker has mod-demo/httpd:{TAG}")


class Runtime:
    """run() starts a container, end() stops and removes all of them."""

    def __init__(self, tool: str, tag: str):
        self.tool, self.tag = tool, tag
        self.started: list[str] = []
        self.network = ""
        self.extra = list(PODMAN) if tool == "podman" else []
        if tool == "podman" and not shutil.which("crun") and shutil.which("runc"):
            self.extra += ["--runtime", shutil.which("runc")]

    def call(self, *args: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess:
        done = subprocess.run([self.tool, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        assert not check or done.returncode == 0, f"{self.tool} {' '.join(args)}: {done.stderr[-2000:]}{done.stdout[-2000:]}"
        return done

    def run(self, image: str, name: str, *command: str, env: dict[str, str] | None = None, volumes: dict[Path, str] | None = None,
            wait: bool = False) -> subprocess.CompletedProcess | str:
        """A container beside the others, in the network of the first. wait: until it ends."""
        options = ["--name", f"mod-demo-{os.getpid()}-{name}", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        options += ["--network", f"container:{self.network}" if self.network else "none"]
        options += ["--tmpfs", "/tmp:rw,mode=1777"]
        for key, value in (env or {}).items():
            options += ["--env", f"{key}={value}"]
        for host, inside in (volumes or {}).items():
            options += ["--volume", f"{host}:{inside}"]
        started = self.call("run", *([] if wait else ["--detach"]), *self.extra, *options, f"mod-demo/{image}:{self.tag}", *command, check=False)
        self.started.append(f"mod-demo-{os.getpid()}-{name}")
        if wait:
            return started
        assert started.returncode == 0, started.stderr[-2000:]
        self.network = self.network or self.started[-1]
        return self.started[-1]

    def inside(self, container: str, *command: str, check: bool = True) -> str:
        return self.call("exec", container, *command, check=check).stdout

    def logs(self, container: str) -> str:
        done = self.call("logs", container, check=False)
        return done.stdout + done.stderr

    def state(self, container: str, what: str) -> str:
        return self.call("inspect", "--format", "{{.State.%s}}" % what, container).stdout.strip()

    def end(self) -> None:
        for container in reversed(self.started):
            self.call("rm", "--force", "--volumes", container, check=False)
