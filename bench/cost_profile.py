"""cost_profile.py: where a packet's instructions are executed: by function, by file and by line of the data plane.

A plugin of qemu (bench/cost/cost_plugin.c) counts every instruction in two phases: the generator alone, and with the program behind it.
Their difference is set against the virtual machine's symbols and the line information of its BPF programs.
"""
import base64
import bisect
import gzip
import re

import kit

PACKETS = 1024  # PROFILED of cost_guest.c
BEGIN, END = "symbols:\n", "\n:symbols"
BEFORE = "export COST_PROFILE=1\n"
AFTER = f"echo '{BEGIN.strip()}'; {{ cost_symbols; grep -i ' t ' /proc/kallsyms; }} | gzip -c | base64; echo '{END.strip()}'\n"


def counted(path):
    """Executions per packet by address: with the program less without."""
    got = {}
    with open(path, encoding="ascii") as f:
        for line in f:
            at, alone, both = line.split()
            at = int(at, 16)
            got[at] = got.get(at, 0) + (int(both) - int(alone)) / PACKETS
    return {at: n for at, n in got.items() if n}


def _places(out):
    """(functions, lines) of what AFTER printed: sorted addresses and their names."""
    text = gzip.decompress(base64.b64decode(out[out.index(BEGIN) + len(BEGIN) : out.index(END)])).decode()
    lines = sorted((int(a, 16), where) for a, where in re.findall(r"^line (\w+) (\S+)$", text, re.M))
    functions = sorted((int(a, 16), name) for a, name in re.findall(r"^(\w+) \w (\S+)", text, re.M))
    return functions, lines


def _find(table, at):
    i = bisect.bisect_right(table, (at, "\x7f")) - 1
    return table[i][1] if i >= 0 else "?"


def _sums(counts, name):
    got = {}
    for at, n in counts.items():
        got[name(at)] = got.get(name(at), 0) + n
    return sorted(((n, k) for k, n in got.items() if abs(n) >= 0.5), reverse=True)


def show(job, out, path, rows=40):
    functions, lines = _places(out)
    counts = counted(path)
    total = sum(counts.values())

    def function(at):
        return re.sub(r"^bpf_prog_[0-9a-f]{16}_", "bpf: ", _find(functions, at))

    called = {}  # not by a tail call, as the program itself is: that goes past the first instruction
    for at in {at for at, _ in functions}:
        called[function(at)] = called.get(function(at), 0) + counts.get(at, 0)
    rows_of = [(k, f"{n:,.1f}", f"{100 * n / total:.1f} %", f"{called.get(k, 0):,.1f}") for n, k in _sums(counts, function)[:rows]]
    kit.table(f"{job}: {total:,.1f} instructions a packet by function", ("where", "instructions", "share", "calls"), rows_of)
    ours = {at: n for at, n in counts.items() if _find(functions, at).startswith("bpf_prog_")}
    for title, sums in (
        ("by file of the data plane, functions of the kernel left out", _sums(ours, lambda at: _find(lines, at).split(":")[0])),
        ("by line", _sums(ours, lambda at: _find(lines, at))),
    ):
        kit.table(f"{job}: {total:,.1f} instructions a packet {title}", ("where", "instructions", "share"),
                  [(k, f"{n:,.1f}", f"{100 * n / total:.1f} %") for n, k in sums[:rows]])  # fmt: skip
