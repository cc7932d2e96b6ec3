"""part_change.py: packets lost while the switch is changed: sluiced killed and started again, a configuration applied, programs
swapped for others.

A stream with SNAT runs through sluice all the while (the topology of part_forward.py), as fast as one CPU makes, forwards and counts
it; what was sent and what has arrived is compared. With no change as well: nothing may be lost there.
"""
import signal
import threading
import time

import kit
import session
from gen import Bench, Ether
from netlab import Lab
from part_forward import CPU, Line, Sluice, SluiceTc, jobs

ROUNDS, BURST, MIN_SECONDS = 3, 16384, 0.5


class Stream:
    """Frames, from entering to leaving the context, out of g0."""

    def __init__(self, bench, device):
        self.bench, self.device = bench, device

    def _send(self):
        with self.device.gen.entered(), kit.Quiet(CPU, urgent=False):
            while not self.stop:
                self.bench.live(self.device.ifindex, BURST)
                self.sent += BURST

    def during(self, change):
        """(sent, lost) from before the change until after it."""
        self.sent, self.stop = 0, False
        before, began = self.bench.map("received").sum(0)[0], time.monotonic()
        thread = threading.Thread(target=self._send)
        thread.start()
        try:
            time.sleep(0.1)
            change()
            time.sleep(max(0.1, began + MIN_SECONDS - time.monotonic()))
        finally:
            self.stop = True
            thread.join()
        time.sleep(0.1)
        return self.sent, self.sent - (self.bench.map("received").sum(0)[0] - before)


class Changes:
    def __init__(self, device):
        self.device, self.switch = device, device.switch
        with open(device.path, encoding="ascii") as f:
            self.text = f.read()

    def _apply(self, text):
        path = self.device.path + ".new"
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        self.switch.cli(["apply", path])

    def nothing(self):
        time.sleep(0.3)

    def killed(self):
        self.switch.stop(signal.SIGKILL)
        self.switch.start()

    def restarted(self):
        self.switch.stop()
        self.switch.start()

    def route_added(self):
        self._apply(self.text.replace("routes: [", "routes: [{to: 203.0.113.0/24, via: 192.0.2.2}, "))
        self._apply(self.text)

    def programs_swapped(self):
        """The first NAT rule needs programs that know NAT."""
        before = self.programs()
        self._apply(self.text + "nat: [{name: none, type: snat, source: 10.9.9.9/32, to: none}]\n")
        kit.need(self.programs() != before, "the programs are the same ones")

    def anew(self):
        self.switch.destroy()
        self.switch.start()
        self.switch.attached("d0", "d1")

    def programs(self):
        return [p["id"] for p in self.switch.json("status")["datapath"]]


def measure(report, stream, name, change):
    sent, lost = stream.during(change)
    kit.need(sent > 10000, f"only {sent} frames were sent")
    report.add(name, "lost", lost, "packets")
    report.add(name, "sent", sent, "packets")


def with_snat(report, stream, changes, name):
    for _ in range(ROUNDS):
        for what, change in (("no change", changes.nothing), ("kill -9, start", changes.killed), ("stop, start", changes.restarted),
                             ("route added and taken away", changes.route_added)):  # fmt: skip
            measure(report, stream, f"{name}, SNAT: {what}", change)


def without_nat(report, stream, changes, name):
    for _ in range(ROUNDS):
        changes.anew()
        measure(report, stream, f"{name}, routing: programs swapped", changes.programs_swapped)


def run(report):
    bench, lab = Bench("xdp", session.name("ch")), Lab(session.name("ch"))
    devices = []
    try:
        for i, (job_name, kind, all_changes) in enumerate((("SNAT, 1 flow", Sluice, with_snat), ("SNAT, 1 flow", SluiceTc, with_snat),
                                                           ("route", Sluice, without_nat), ("route", SluiceTc, without_nat))):  # fmt: skip
            report.step(f"{kind.name}, {job_name}")
            job = next(j for j in jobs() if j.name == job_name)
            devices.append(kind(lab, f"{i}", job, bench))
            stream, changes = Stream(bench, devices[-1]), Changes(devices[-1])
            line = Line(bench, job)
            stream.during(changes.nothing)
            all_changes(report, stream, changes, kind.name)
            raw = line.sample()[-1] + bytes(2)
            kit.need(job.check(Ether(raw)), f"{kind.name}: {Ether(raw).summary()}")
            report.packet(f"{kind.name}, {job_name}", raw)
    finally:
        for device in devices:
            device.close()
        lab.close()
        bench.close()
    rows = [(s, report.cell(s, "sent"), f"{max(v):,}") for (s, p), v in report.samples.items() if p == "lost"]
    kit.table("Packets lost", ("change", "sent", "lost at most"), rows)
