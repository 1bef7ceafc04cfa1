"""kubectl, the clients, and the table of what each case cost."""
from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
NAMESPACE = "testing"
#: The page where users sign in, of the application that E2E_APP names.
SIGN_IN = {"notejam": "/signin/", "symfony": "/en/login"}[os.environ.get("E2E_APP", "notejam")]


class Failed(Exception):
    pass


def run(*command: str, timeout: float = 120, stdin: str | None = None, check: bool = True) -> str:
    """A command's stdout; Failed with what it said otherwise."""
    done = subprocess.run(command, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def kubectl(*args: str, **kw) -> str:
    return run("kubectl", "-n", NAMESPACE, *args, **kw)


def get(*what: str) -> dict:
    return json.loads(kubectl("get", *what, "-o", "json"))


def pods(name: str) -> list[dict]:
    return get("pods", "-l", f"app.kubernetes.io/name={name}")["items"]


def until(cond, timeout: float, what: str, every: float = 0.5):
    end = time.monotonic() + timeout
    while True:
        got = cond()
        if got:
            return got
        if time.monotonic() > end:
            raise Failed(f"waited {timeout:g} s in vain for {what}\n" + kubectl("get", "pods", "-o", "wide", check=False))
        time.sleep(every)


def is_ready(pod: dict) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and any(
        c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def settled(name: str, count: int | None = None, timeout: float = 300) -> list[dict]:
    """Until every pod of the Deployment is of the newest template, Ready, and no old one is left; those pods."""
    def cond():
        deployment = get("deployment", name)
        spec, status = deployment["spec"], deployment["status"]
        if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
            return None
        found = pods(name)
        want = spec["replicas"] if count is None else count
        done = len(found) == want == status.get("updatedReplicas", 0) and all(is_ready(p) for p in found)
        return (found or True) if done else None
    got = until(cond, timeout, f"the pods of {name} to settle")
    return got if isinstance(got, list) else []


def pod_exec(pod: dict, container: str, *command: str, **kw) -> str:
    return kubectl("exec", pod["metadata"]["name"], "-c", container, "--", *command, **kw)


def sidecar_status(pod: dict) -> dict:
    return json.loads(pod_exec(pod, "fcgi-sidecar", "fcgi-sidecar", "status", "--json"))


# -- clients in the cluster's network ------------------------------------------------------
def client(*args: str, timeout: float = 120) -> str:
    return run(*shlex.split(os.environ.get("E2E_NET", "")), sys.executable, str(HERE / "client.py"), *args, timeout=timeout)


def site_url() -> str:
    """E2E_URL, or the node port on the first node."""
    if os.environ.get("E2E_URL"):
        return os.environ["E2E_URL"]
    node = json.loads(run("kubectl", "get", "nodes", "-o", "json"))["items"][0]
    address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    return f"http://{address}:{get('service', 'httpd-server')['spec']['ports'][0]['nodePort']}"


def stored(after: int = 0) -> list[list]:
    return json.loads(client("list", site_url(), "--after", str(after)))


@dataclass
class Row:
    case: str
    seconds: float = 0.0
    acknowledged: int = 0
    rate: float = 0.0
    lost: int = 0
    duplicated: int = 0
    failed: int = 0
    gap_ms: float = 0.0         # longest time between two acknowledged writes, without what the machine stood still in it
    stall_ms: float = 0.0       # longest time in which the clients themselves did not run
    p99_ms: float = 0.0         # of an acknowledged write
    ready_s: float | None = None    # a new pod: scheduled to Ready
    ok: bool = True
    note: str = ""
    errors: dict[str, int] = field(default_factory=dict)


def stood_still(stalls: list[list[float]], begin: float, end: float) -> float:
    """Seconds between begin and end in which the clients' process did not run."""
    return sum(max(0.0, min(b, end) - max(a, begin)) for a, b in stalls)


# -- why a gap was there -------------------------------------------------------------------
class PodLogs:
    """Keeps the logs of all pods on the test cluster's nodes, those too whose pods are gone: a link to each file."""

    def __init__(self, folder: Path):
        self.folder, self.nodes, self.ended = folder, os.environ.get("E2E_CTR_DIR", ""), threading.Event()
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.log"):
            old.unlink()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while self.nodes and not self.ended.wait(0.5):
            self.keep()

    def end(self) -> None:
        self.ended.set()
        self.keep()

    def keep(self) -> None:
        for file in Path(self.nodes or os.devnull).glob(f"node*/pod-logs/{NAMESPACE}_*/*/*.log"):
            pod, container = file.parts[-3].split("_")[1], file.parts[-2]
            try:
                os.link(file, self.folder / f"{pod}.{container}.{file.name}")
            except OSError:     # it is here already, or gone just now, or that is another file system
                pass

    def between(self, begin: float, end: float) -> list[str]:
        """The lines of these seconds, in order; of httpd what is no access log."""
        lines = []
        for file in self.folder.glob("*.log"):
            for line in file.read_text(errors="replace").splitlines():
                at, stream, _, text = (line.split(" ", 3) + ["", "", ""])[:4]
                try:
                    when = datetime.fromisoformat(at[:26] + "+00:00").timestamp()
                except ValueError:
                    continue
                if begin <= when <= end and not (stream == "stdout" and ".httpd." in file.name) and '"GET /' not in text:
                    lines.append((when, f"{at[11:23]} {file.name[:-4]}: {text}"))
        return [text for _, text in sorted(lines)]


GAPS = 3        # of each case, the longest ones, have their lines written down
AROUND = 2.0    # s before and after


def clock(when: float) -> str:
    return datetime.utcfromtimestamp(when).isoformat(timespec="milliseconds")[11:]


def timeline(logs: PodLogs, done: list[float], stalls: list[list[float]]) -> str:
    """What the pods said around the longest gaps between two acknowledged writes."""
    gaps = sorted(((b - a - stood_still(stalls, a, b), a, b) for a, b in zip(done, done[1:])), reverse=True)[:GAPS]
    said = []
    for length, a, b in gaps:
        said.append(f"== {1000 * length:.0f} ms without an acknowledged write: {clock(a)} to {clock(b)}")
        said += logs.between(a - AROUND, b + AROUND) + [""]
    return "\n".join(said)


class Writers:
    """Unique-id writers around a case; row tells what it cost them."""

    seen = 0    # the last row of the table of writes that was listed

    def __init__(self, case: str, folder: Path, rate: float):
        self.row = Row(case)
        self.file = folder / (case.replace(" ", "-").replace("/", "-") + ".jsonl")
        self.logs = PodLogs(self.file.with_suffix(".logs"))
        self.rate = rate
        self.base = Writers.seen = max((row for row, _ in stored(Writers.seen)), default=Writers.seen)
        self.file.unlink(missing_ok=True)
        self.began = time.time()
        self.proc = subprocess.Popen([*shlex.split(os.environ.get("E2E_NET", "")), sys.executable, str(HERE / "client.py"), "write",
                                      site_url(), str(self.file), "--rate", str(rate)], stdin=subprocess.DEVNULL)
        until(lambda: self.file.exists() and self.file.stat().st_size > 2000, 30, "the writers' first answers", 0.1)

    def run_until(self, seconds: float, after_action: float = 5.0) -> None:
        """The load lasts at least so long, and some seconds beyond the action."""
        time.sleep(max(after_action, self.began + seconds - time.time()))

    def stop(self) -> Row:
        self.proc.send_signal(signal.SIGTERM)
        self.proc.wait(90)
        self.logs.end()
        lines = [json.loads(line) for line in self.file.read_text().splitlines()]
        writes = [w for w in lines if isinstance(w, list)]
        stalls = [w["stalled"] for w in lines if isinstance(w, dict)]
        good = [w for w in writes if 200 <= w[3] < 300]
        have = {ident for _, ident in stored(self.base)}
        row = self.row
        done = sorted(w[2] for w in good)
        row.seconds = round(max(w[2] for w in writes) - min(w[1] for w in writes), 1)
        row.acknowledged = len(good)
        row.rate = round(len(good) / max(row.seconds, 0.1), 1)
        row.lost = sum(w[0] not in have for w in good)
        # Nobody sends an id twice: "it is there already" means that a request was executed twice.
        row.duplicated = sum(w[3] == 409 for w in writes)
        row.failed = len(writes) - len(good)
        row.gap_ms = round(1000 * max((b - a - stood_still(stalls, a, b) for a, b in zip(done, done[1:])), default=0.0), 1)
        self.file.with_suffix(".timeline").write_text(timeline(self.logs, done, stalls))
        row.stall_ms = round(1000 * max((b - a for a, b in stalls), default=0.0), 1)
        times = sorted(w[2] - w[1] for w in good)
        row.p99_ms = round(1000 * times[int(len(times) * 0.99)], 1) if times else 0.0
        for w in writes:
            if not 200 <= w[3] < 300:
                key = f"{w[3]} {w[4]}"[:160].replace("\n", " ")
                row.errors[key] = row.errors.get(key, 0) + 1
        return row


class Table:
    """results.json and results.md, written anew after each case."""

    def __init__(self, folder: Path):
        self.folder, self.rows = folder, []

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self._write("results.json", json.dumps([asdict(r) for r in self.rows], indent=1) + "\n")
        lines = ["| case | writes/s | acknowledged | lost | twice | failed | longest gap ms | p99 ms | Ready s | machine stood still ms | |",
                 "|---|---|---|---|---|---|---|---|---|---|---|"]
        for r in self.rows:
            ready = "" if r.ready_s is None else f"{r.ready_s:g}"
            lines.append(f"| {r.case} | {r.rate:g} | {r.acknowledged} | {r.lost} | {r.duplicated} | {r.failed} | {r.gap_ms:g} | {r.p99_ms:g} "
                         f"| {ready} | {r.stall_ms:g} | {'' if r.ok else 'FAILED '}{r.note} |")
        self._write("results.md", "\n".join(lines) + "\n")

    def _write(self, name: str, text: str) -> None:
        part = self.folder / (name + ".part")
        part.write_text(text)
        part.replace(self.folder / name)


def ready_seconds(pod: dict) -> float:
    """Scheduled to Ready, in the whole seconds that the API keeps."""
    when = {c["type"]: time.mktime(time.strptime(c["lastTransitionTime"], "%Y-%m-%dT%H:%M:%SZ"))
            for c in pod["status"]["conditions"]}
    return when["Ready"] - when["PodScheduled"]
