"""cost_base.py: bench/cost-baseline.json, what a packet cost when somebody last said that it may.

It holds the counts, what they were counted with, and the reasons for which it was renewed. Counts under another series of kernels or
another clang are others without anybody's doing: then nothing is compared, and that is said.
"""
import json
import os
import re
import subprocess
import time

import kit
import vm

PATH = os.path.join(kit.ROOT, "bench", "cost-baseline.json")
LIMIT = 5  # per cent


def _version(*argv):
    try:
        said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
    found = re.search(r"version (\d+\.\d+\.\d+)", said)
    return found[1] if found else ""


def made_of(kernel):
    return {
        "kernel": vm.kernel(kernel)[1],
        "clang": _version(os.environ.get("CLANG", "clang"), "--version"),
        "qemu": _version("qemu-system-x86_64", "--version"),
    }


def other(base, now):
    """Why counts of these two cannot be compared, or None. The release of a kernel and of clang count, not their patches."""
    for what, part in (("kernel", r"\d+\.\d+"), ("clang", r"\d+")):
        a, b = (re.match(part, m.get(what, "")) for m in (base, now))
        if not a or not b or a[0] != b[0]:
            return f"the baseline was counted with {what} {base.get(what) or '?'}, this with {now.get(what) or '?'}"
    return None


class Base:
    """The committed counts."""

    def __init__(self):
        self.data = {"made_of": {}, "instructions": {}, "reasons": []}
        if os.path.exists(PATH):
            with open(PATH, encoding="utf-8") as f:
                self.data = json.load(f)
        self.counts = self.data["instructions"]

    def cells(self, job, n):
        """Of a table: what it was, and the change."""
        was = self.counts.get(job)
        return (f"{was:,.1f}", f"{100 * (n / was - 1):+.1f} %") if was else ("-", "")

    def check(self, got, made_of_now):
        """0, or 1: somewhere it is more than LIMIT per cent above the baseline."""
        why = other(self.data["made_of"], made_of_now)
        if why:
            kit.say(f"cost-check: NOT COMPARED: {why}")
            return 0
        bad = [f'{i}: no baseline: make cost-baseline REASON="..."' for i in got if i not in self.counts]
        for i, n in got.items():
            was = self.counts.get(i, n)
            if n > was * (1 + LIMIT / 100):
                bad.append(f"{i}: {n:,.1f} instructions, the baseline has {was:,.1f}: {100 * (n / was - 1):+.1f} %")
        for words in bad:
            kit.say(f"cost-check: FAILED: {words}")
        if not bad:
            kit.say(f"cost-check: {len(got)} jobs, none more than {LIMIT} % above the baseline")
        return 1 if bad else 0

    def renew(self, got, made_of_now, reason):
        """Jobs that were not counted keep their numbers, unless those are of another kernel or compiler."""
        kit.need(reason.strip(), 'a baseline is renewed for a reason: REASON="..."')
        kept = {} if other(self.data["made_of"], made_of_now) else self.counts
        why = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": kit.machine()["commit"], "reason": reason.strip()}
        self.counts = {i: round(n, 1) for i, n in {**kept, **got}.items()}
        self.data = {"made_of": made_of_now, "instructions": self.counts, "reasons": [why, *self.data["reasons"]]}
        with open(PATH, "w", encoding="utf-8") as f:
            json.dump(self.data, f, indent=1)
            f.write("\n")
        kit.say(f"{PATH.removeprefix(kit.ROOT + '/')}: {len(got)} jobs renewed, {len(self.counts)} in all")
