"""goals.py: what is to be reached, as it was asked for, and the same on the scale of this machine's memory.

The goals are ns on another machine, on which one look-up in the kernel's hash (bench/bpf/gen_xdp.bpf.c: gen_lookup) took what THERE
says; of a million flows is known that a cold look-up takes 200 to 300 there, and 300 is taken, which asks more of us. Beside each goal
stands goal × look-up here ÷ look-up there, with as many flows, measured in the same run. Where nothing is known of that machine nothing
is scaled. What goes through namespaces is scaled by the bare redirect, of which is known
what it cost there.

All goals stand in one table, by `note`: whatever is to be reached, a ratio of at most 1 says that it is.
"""
import math

import kit

SWAP_THERE = 9  # a program that parses and swaps MACs
THERE = {1: 25, 1024: 30, 65536: 74, 1 << 20: 300}
ESTABLISHED = {1: 50, 16384: 75, 65536: 110, 1 << 20: 220}  # a packet of so many flows
FIRST_PACKET, NEW_FLOWS = 400, 1_000_000  # ns; a second
REDIRECT_THERE = 233  # the bare redirect through namespaces
VERIFIED = 250_000  # instructions
HEAD = ("to reach", "ratio", "to reach, scaled", "ratio")


def look_up_there(flows):
    """ns with so many flows; between two that are known on the line between them, by the logarithm; None: not known."""
    sizes = list(THERE)
    for a, b in zip(sizes, sizes[1:]):
        if a <= flows <= b:
            return THERE[a] + (THERE[b] - THERE[a]) * math.log(flows / a) / math.log(b / a)
    return None


def scaled(goal, flows, look_up_here):
    there = look_up_there(flows)
    return goal * look_up_here / there if there and look_up_here else None


def cells(ns, goal, flows, look_up_here):
    """For HEAD."""
    if not goal:
        return ("",) * len(HEAD)
    here = scaled(goal, flows, look_up_here)
    return (goal, f"{ns / goal:.2f}", kit.round_up(here) if here else "", f"{ns / here:.2f}" if here else "")


TABLE = ("goal", "of", "measured", *HEAD)


def note(report, what, where, measured, goal, unit="ns", *, here=None, least=False, ratio=None):
    """`here`: the goal as scaled; `least`: to be reached is as much, not as little; `ratio`: where it is known better than by these."""
    if measured is None or not goal:
        return
    of_goal, of_here = (x and (x / measured if least else measured / x) for x in (goal, here))
    report.facts.setdefault("goals", []).append(
        (what, where, f"{kit.round_up(measured)} {unit}", ("≥ " if least else "≤ ") + kit.round_up(goal), f"{ratio or of_goal:.2f}",
         kit.round_up(here) if here else "", f"{of_here:.2f}" if here else "")
    )  # fmt: skip


def show(reports):
    """Of all parts: rows for TABLE, each the `facts` of a part."""
    rows = [row for facts in reports for row in facts.get("goals", [])]
    if rows:
        kit.table("Goals: a ratio of at most 1 is one that is reached", TABLE, rows)
