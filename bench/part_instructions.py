"""part_instructions.py: a small form of `make bench-cost` (cost.py), which any two commits can be compared by: instructions of the
programs with one flow, and of a packet routed through namespaces beside the kernel's own forwarding, in the virtual machine.

What else the machine does changes nothing here, so run.py has it done beside a part that mostly waits. Where there is no kernel to boot
or no qemu, it says so and counts nothing.
"""
import shutil

import cost
import cost_base
import cost_forward
import cost_prog
import kit
import part_forward as pf

DEVICES = (pf.Device, pf.Sluice, pf.Forward)


def missing():
    """Why nothing can be counted here, or None."""
    try:
        cost.vm.kernel(cost.KERNEL)
    except kit.Wrong as e:
        return f"{e}: `make cost-ready` fetches one"
    return None if shutil.which("qemu-system-x86_64") else "no qemu-system-x86_64 here"


def run(report):
    why = missing()
    if why:
        report.facts["not counted"] = why
        kit.say(f"NOT COUNTED: {why}")
        return
    report.facts["made_of"] = cost_base.made_of(cost.KERNEL)
    base = cost_base.Base()
    for kind, jobs in (
        (cost_prog, [j for j in cost_prog.jobs() if j.small]),
        (cost_forward, [j for j in cost_forward.jobs() if j.job.kind() == "route" and j.device in DEVICES]),
    ):
        report.step(f"{len(jobs)} jobs in a virtual machine")
        got = kind.judge(report, jobs, cost.boot(kind, jobs))
        kind.show(got, lambda i, n=got: base.cells(i, n[i]), report, jobs)
