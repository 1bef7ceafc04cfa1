"""scripts/lib/packages.sh: what keeps services from starting while packages are installed goes with the run, however it ends."""
import os
import signal
import subprocess

import pytest

from tools import paths, wait

MARK = "# Of the scripts of mod_demo"


@pytest.fixture
def shell(tmp):
    """shell(what apt-get install does, missing=…): starts packages_install with stand-ins, in a process group of its own."""
    (tmp / "bin").mkdir()
    policy, started = tmp / "policy-rc.d", []

    def make(install="exit 0", missing="apache2-bin"):
        programs = {"apt-get": f'echo "$*" >>{tmp}/calls\ncase "$*" in *" install "*) {install} ;; esac', "sudo": 'shift; exec "$@"',
                    "dpkg-query": "echo 'ii |coreutils, '", "dpkg": "exit 0"}
        for name, code in programs.items():
            (tmp / "bin" / name).unlink(missing_ok=True)
            (tmp / "bin" / name).write_text(f"#!/bin/sh\n{code}\n")
            (tmp / "bin" / name).chmod(0o755)
        # The traps of the caller have to be there afterwards, and nothing of ours.
        code = (f". {paths.TOP}/scripts/lib/common.sh; . {paths.TOP}/scripts/lib/packages.sh; trap 'echo caller ended' EXIT; "
                f"packages_install {tmp}/log {missing}; trap; echo installed")
        started.append(subprocess.Popen(["bash", "-euo", "pipefail", "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, start_new_session=True,
                                        env={**os.environ, "PATH": f"{tmp}/bin:{os.environ['PATH']}", "PACKAGES_POLICY": str(policy)}))
        return started[-1], policy
    yield make
    for p in started:
        if p.poll() is None:
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()


def test_services_do_not_start_while_it_installs(shell, tmp):
    p, policy = shell(f"cp {tmp}/policy-rc.d {tmp}/seen")
    out = p.communicate(timeout=60)[0]
    assert p.returncode == 0 and "installed" in out and "caller ended" in out, out
    assert "trap -- 'echo caller ended' EXIT" in out and out.count("trap --") == 1
    assert (tmp / "seen").read_text().splitlines()[::2] == ["#!/bin/sh", "exit 101"] and os.access(tmp / "seen", os.X_OK)
    assert not policy.exists()


@pytest.mark.parametrize("name", ("SIGINT", "SIGTERM", "SIGHUP"))
def test_a_run_that_is_broken_off_leaves_nothing(shell, tmp, name):
    p, policy = shell("exec sleep 60")
    wait.until(lambda: (tmp / "calls").exists() and " install " in (tmp / "calls").read_text(), what="the installation")
    assert MARK in policy.read_text()
    os.killpg(p.pid, getattr(signal, name))
    out = p.communicate(timeout=60)[0]
    assert p.returncode != 0 and "installed" not in out, out
    wait.until(lambda: not policy.exists(), what="the file to be removed")


def test_a_failure_leaves_nothing(shell):
    p, policy = shell("exit 100")
    assert "did not install" in p.communicate(timeout=60)[0] and p.returncode == 1 and not policy.exists()


@pytest.mark.parametrize("missing", ("apache2-bin", "coreutils"))
def test_what_a_killed_run_left_is_removed(shell, tmp, missing):
    p, policy = shell("exec sleep 60")
    wait.until(lambda: (tmp / "calls").exists() and " install " in (tmp / "calls").read_text(), what="the installation")
    assert MARK in policy.read_text()
    os.killpg(p.pid, signal.SIGKILL)
    p.wait()
    assert policy.exists()
    p, _ = shell(missing=missing)
    out = p.communicate(timeout=60)[0]
    assert p.returncode == 0 and not policy.exists(), out


@pytest.mark.parametrize("missing", ("apache2-bin", "coreutils"))
def test_somebody_elses_stays(shell, tmp, missing):
    (tmp / "policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    p, policy = shell(missing=missing)
    out = p.communicate(timeout=60)[0]
    assert p.returncode == 0 and policy.read_text() == "#!/bin/sh\nexit 101\n", out
