"""scripts/demo rollout: the running database moves to a new instance while clients write."""
from __future__ import annotations

import contextlib
import sys
import time

from process import Failed, alive, tail, until
from stack import TOP, Instance, Stack

sys.path.insert(0, str(TOP / "tests"))
from tools.writers import Writers, integrity, stored  # noqa: E402

PRE_STOP_LIMIT = 90      # seconds; a pod's grace period is longer


class Rollout:
    def __init__(self, stack: Stack, say, step, writers: int):
        self.stack, self.say, self.step, self.n = stack, say, step, writers
        self.old = Instance(stack, stack.state["active"])
        self.new = Instance.new(stack)
        self.copy_began = 0.0
        self.roll_back = True    # the new instance holds nothing that the old one has not

    def run(self) -> bool:
        """True when nothing was lost."""
        self.say(f"Rolling out: {self.old.name} -> {self.new.name}, {self.n} writers of unique ids on {self.stack.url}api/writes")
        writers = Writers(self.stack.port, self.n, pause=0.002)
        try:
            with self.step(f"{self.n} writers at work"):
                writers.start()
                if not until(lambda: len(writers.acknowledged()) >= 20 * self.n, 60):
                    first = next(iter(writers.failed() + writers.unknown()), None)
                    raise Failed(f"the writers get no answer: {first.status if first else 'none'} {first.error if first else ''}")
            self._bring_up()
            self._cut_over()
            self._switch()
            done = len(writers.acknowledged())
            with self.step("writers go on at the new instance"):
                until(lambda: len(writers.acknowledged()) >= done + 20 * self.n, 60)
        except BaseException:
            if self.roll_back:
                with contextlib.suppress(OSError):
                    self.new.forget()
                self.say(f"  {self.old.name} goes on serving; {self.new.name} was removed.")
            else:
                self.say(f"  {self.new.name} may hold writes that {self.old.name} does not: both are left as they are.")
            raise
        finally:
            writers.stop()
        self._end_old()
        lost_nothing = self._report(writers)
        if lost_nothing:
            self.old.forget()
        return lost_nothing

    def _bring_up(self) -> None:
        self.new.prepare()
        with self.step(f"fcgi-sidecar of {self.new.name}"):
            self.new.start_sidecar()
        self.copy_began = time.monotonic()
        with self.step("post-start: the database is copied from the old one"):
            self.new.post_start()
        with self.step(f"php-fpm of {self.new.name}"):
            self.new.start_php_fpm()

    def _cut_over(self) -> None:
        with self.step(f"pre-stop of {self.old.name}: the cut-over"):
            self.roll_back = False
            r = self.old.hook("pre-stop", PRE_STOP_LIMIT)
            if not self._is_primary(self.new):
                self.roll_back = self._is_primary(self.old)
                words = (r.stderr.strip() or r.stdout.strip()).splitlines()
                raise Failed(f"pre-stop of {self.old.name} exits with {r.returncode}, and {self.new.name} is not primary: "
                             f"{words[-1] if words else 'no reason given'}\n{tail(self.old.dir / 'sidecar.log')}")
            self.stack.state["active"] = self.new.name
            self.stack.save()

    @staticmethod
    def _is_primary(instance: Instance) -> bool:
        return instance.status().get("primary") is True

    def _switch(self) -> None:
        with self.step("httpd is switched over"):
            self.stack.switch_httpd(self.new)

            def answers():
                return self.stack.ask("/signin/")[2].get("X-Instance") == self.new.name
            # Where httpd is restarted its old children finish what they have; a few answers in a row mean that they are gone.
            if not until(lambda: all(answers() for _ in range(5)), 60):
                raise Failed(f"httpd does not reach {self.new.name}; see scripts/demo status and {self.stack.httpd_log()}")

    def _end_old(self) -> None:
        with self.step(f"php-fpm and fcgi-sidecar of {self.old.name} end"):
            self.old.end_php_fpm()
            if alive(self.old.data.get("sidecar")) and not self.old.end_sidecar():
                self.say(f"  note: fcgi-sidecar of {self.old.name} had to be killed")

    def _report(self, writers: Writers) -> bool:
        ids = stored(self.new.database)
        acknowledged = writers.acknowledged()
        before = writers.acknowledged(self.copy_began)
        lost_before = writers.lost(ids, self.copy_began)
        lost = writers.lost(ids)
        failed, unknown = writers.failed(), writers.unknown()
        say = self.say
        say("")
        say("Result")
        say(f"  acknowledged                 {len(acknowledged):7d}   (before the copy began: {len(before)})")
        say(f"  lost                         {len(lost):7d}   (of those before the copy began: {len(lost_before)})")
        say(f"  refused or failed            {len(failed) + len(unknown):7d}   (answered with an error: {len(failed)}, no answer: {len(unknown)})")
        say(f"  stored twice                 {len(ids) - len(set(ids)):7d}")
        say(f"  longest gap between writes   {writers.gap() * 1000:7.0f} ms")
        say(f"  integrity_check              {integrity(self.new.database):>7}")
        for w in (failed + unknown)[:3]:
            say(f"  for example: {w.status or 'no answer'} {w.error[:120]}")
        say(f"  now serving: {self.new.name}   {self.stack.url}")
        say("")
        say("Not covered: requests that still run in the old php-fpm longer than it takes to end (10 s) are cut;")
        say("  a crash of the whole machine during the cut-over is not part of this demonstration.")
        return not lost and len(ids) == len(set(ids))
