"""scripts/test's own way with pytest: what it counts, and the second try of what failed beside others."""
import subprocess
import textwrap

import pytest

from tools import paths

RUN = """
set -euo pipefail
. {top}/scripts/lib/common.sh
. {top}/scripts/lib/build.sh
. {top}/scripts/lib/pytest.sh
TOP={tmp} LOG={tmp}/log pytest_options=() passed=0 failed=0 skipped=0 broken=() unstable=()
broke() {{ broken+=("$1"); failed=$((failed + 1)); }}
run_pytest {name} 120 suite
printf 'unstable: %s\\n' "${{unstable[@]}}"
printf 'broken: %s\\n' "${{broken[@]}}"
echo "$passed passed, $failed failed, $skipped skipped"
"""


@pytest.fixture
def run(tmp):
    """run(code of a test file, suite's name) -> what scripts/test says at its end, as lines."""
    (tmp / "suite").mkdir()
    (tmp / "tests").symlink_to(paths.TOP / "tests")
    (tmp / "pytest.ini").write_text("[pytest]\n")

    def make(code, name="integration"):
        (tmp / "suite" / "test_it.py").write_text(f"from pathlib import Path\nMARK = Path('{tmp}') / 'mark'\n"
                                                  "def first():\n    if MARK.exists():\n        return False\n"
                                                  "    MARK.touch()\n    return True\n" + textwrap.dedent(code))
        r = subprocess.run(["bash", "-c", RUN.format(top=paths.TOP, tmp=tmp, name=name)], capture_output=True, text=True,
                           timeout=120, stdin=subprocess.DEVNULL)
        assert r.returncode == 0, r.stdout + r.stderr
        out = [x for x in r.stdout.splitlines() if x.startswith(("unstable: ", "broken: ")) and x.split(": ", 1)[1]]
        return out, r.stdout.splitlines()[-1]
    return make


def test_a_run_that_is_cut_names_what_had_failed(run, tmp):
    told, counts = run(f"""
        import os, signal, time
        FAILURES = Path("{tmp}/log/integration.json.failures")
        def test_bad(): assert 1 == 2
        def test_good(): pass
        def test_that_ends_it_all():
            while not FAILURES.exists() or "1 == 2" not in FAILURES.read_text():
                time.sleep(0.01)
            os.kill(os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid(), signal.SIGKILL)
            os._exit(1)
    """)
    assert told == ["broken: integration (pytest ended with 137)",
                    f"broken: before that, see {tmp}/log/integration.json.failures: suite/test_it.py::test_bad (call)"]
    assert counts == "0 passed, 1 failed, 0 skipped"


def test_what_passes_alone_is_passed_and_named(run, tmp):
    told, counts = run("""
        import pytest
        def test_good(): pass
        def test_skipped(): pytest.skip("no tool")
        @pytest.mark.parametrize("x", ["a b", "[c]"])
        def test_once(x): assert x == "a b" or not first(), "the first failure"
        """)
    assert counts == "3 passed, 0 failed, 1 skipped"
    assert len(told) == 1 and told[0] == "unstable: suite/test_it.py::test_once[[c]]: failed once in parallel, passed alone"
    assert "the first failure" in (tmp / "log" / "integration.log").read_text()


def test_what_fails_twice_has_failed(run):
    told, counts = run("def test_good(): pass\ndef test_bad(): assert 0\ndef test_once(): assert not first()\n")
    assert counts == "2 passed, 1 failed, 0 skipped"
    assert [x.split(":")[0] for x in told] == ["unstable", "broken"] and "test_bad" in told[1]


def test_a_tear_down_that_fails_once(run):
    told, counts = run("""
        import pytest
        @pytest.fixture
        def thing():
            yield
            assert not first()
        def test_it(thing): pass
        """)
    assert counts == "1 passed, 0 failed, 0 skipped" and len(told) == 1


def test_more_than_ten_are_no_accident(run):
    told, counts = run("""
        import pytest
        @pytest.mark.parametrize("n", range(11))
        def test_it(n):
            assert (MARK.parent / str(n)).exists() or (MARK.parent / str(n)).touch()
        """)
    assert counts == "0 passed, 11 failed, 0 skipped" and told == ["broken: integration"]


def test_a_file_that_cannot_be_read_is_no_test_that_failed(run):
    told, counts = run("import no_such_module\n")
    assert counts == "0 passed, 1 failed, 0 skipped" and told[0].startswith("broken: integration (pytest ended with")


def test_of_e2e_the_whole_file_is_run_again(run):
    told, counts = run("""
        started = []
        def test_start(): started.append(1)
        def test_then(): assert started and not first()
        """, "e2e")
    assert counts == "2 passed, 0 failed, 0 skipped"
    assert len(told) == 1 and told[0].endswith("failed once, its file passed the second time")
