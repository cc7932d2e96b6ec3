"""gen.py: drives bench/bpf/gen_*.bpf.c: the frame and its variations are described here by a scapy packet and fields; runs are
BPF_PROG_RUN with repeat, timed by the CPU time of this thread.
"""
import array
import ctypes
import functools
import mmap
import os
import random
import struct
import subprocess
import time

import kit
import bpf
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

HEAD, SEQ, FRAME = 96, 1 << 20, 98
F_TAG, F_IP6, F_TCP, F_DST_HIGH6 = 1, 2, 4, 8
TAG = 1 << 31
LINES = 5 << 19  # of lines_xdp.bpf.c
BARE, REAL, FLOOR, TAGGING, LOOKUP, SWAP, FIRST_PLAIN, FIRST_LRU, KNOWN, LOAD, PACKED = range(11)
LIVE_FRAMES = 2  # BPF_F_TEST_XDP_LIVE_FRAMES


class Field(ctypes.Structure):
    _fields_ = [("base", ctypes.c_uint32), ("shift", ctypes.c_uint32), ("mask", ctypes.c_uint32)]


class Gen(ctypes.Structure):
    _fields_ = [
        ("flags", ctypes.c_uint32), ("target", ctypes.c_uint32), ("next", ctypes.c_uint32), ("mask", ctypes.c_uint32),
        ("l3_sum", ctypes.c_uint64), ("l4_sum", ctypes.c_uint64),
        ("dmac", Field), ("smac", Field), ("saddr", Field), ("daddr", Field), ("sport", Field), ("dport", Field),
        ("frame_len", ctypes.c_uint32), ("tag", ctypes.c_uint32), ("head", ctypes.c_uint8 * HEAD),
    ]  # fmt: skip


TURNS, STAMPS, PAUSE = 8, 1 << 17, 50  # GEN_TURNS, GEN_STAMPS, GEN_PAUSE


class Turn(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("target", "packets", "back")]


class Turns(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_uint32) for name in ("count", "next", "left", "done", "runs", "target")), ("turn", Turn * TURNS)]


class Sequence:
    """Which values come, in which order. `values`: all of them; `make(count)`: an endless-looking order of them."""

    _rng = random.Random(1)

    def __init__(self, name, values, zipf=0.0):
        self.name, self.values = name, values
        n = len(values)
        if n == 1:
            self.order = array.array("Q", [values[0]])
        elif zipf:
            weights, total = [], 0.0
            for i in range(n):
                total += 1 / (i + 1) ** zipf
                weights.append(total)
            shuffled = list(values)
            self._rng.shuffle(shuffled)
            self.order = array.array("Q", self._rng.choices(shuffled, cum_weights=weights, k=SEQ))
        else:
            self.order = array.array("Q", self._rng.choices(values, k=SEQ))

    def all(self):
        """Each value once, padded to a power of two by repetition."""
        n = 1
        while n < len(self.values):
            n *= 2
        return array.array("Q", (list(self.values) * 2)[:n])


@functools.cache
def flows(n, zipf=0.0):
    return Sequence(f"{n:,} flows" + (" Zipf" if zipf else ""), range(n), zipf)


def _sum16(data):
    return sum(struct.unpack(f"<{len(data) // 2}H", data))


def template(packet, hook="xdp", **fields):
    """A struct Gen of a scapy packet (Ether[/Dot1Q]/IP|IPv6/TCP|UDP); lengths and checksums are made to fit FRAME bytes,
    the payload is zeroes. For tc a tag stands beside the data, as the kernel would have it.
    `fields`: name -> (shift, mask): these bits of the value are added to the field; `dst_high6`: see gen.h."""
    high6 = fields.pop("dst_high6", False)
    p, tag = packet.copy(), 0
    if hook == "tc" and Dot1Q in p:
        tag = TAG | p[Dot1Q].vlan
        p = Ether(src=p.src, dst=p.dst) / p[Dot1Q].payload
    l4 = p.getlayer(TCP) or p.getlayer(UDP)
    l4.remove_payload()
    head = len(bytes(p))
    p = p / Raw(bytes(FRAME - head))
    raw = bytes(p.__class__(bytes(p)))
    g = Gen(frame_len=FRAME, tag=tag)
    l3 = 18 if Dot1Q in p else 14
    v6 = IPv6 in p
    l4off = l3 + (40 if v6 else 20)
    g.flags = (F_TAG if Dot1Q in p else 0) | (F_IP6 if v6 else 0) | (F_TCP if TCP in p else 0) | (F_DST_HIGH6 if high6 else 0)
    ctypes.memmove(g.head, raw, HEAD)
    base = {"dmac": raw[2:6], "smac": raw[8:12], "saddr": raw[l3 + 20 : l3 + 24] if v6 else raw[l3 + 12 : l3 + 16],
            "daddr": raw[l3 + 36 : l3 + 40] if v6 else raw[l3 + 16 : l3 + 20],
            "sport": raw[l4off : l4off + 2], "dport": raw[l4off + 2 : l4off + 4]}  # fmt: skip
    for name, octets in base.items():
        shift, mask = fields.get(name, (0, 0))
        setattr(g, name, Field(int.from_bytes(octets, "big"), shift, mask))
    if not v6:
        ip = bytearray(raw[l3 : l3 + 20])
        ip[10:20] = bytes(10)
        g.l3_sum = _sum16(bytes(ip))
    g.l4_sum = _l4_sum(raw, l3, l4off, v6, TCP in p, high6)
    return g


def _l4_sum(raw, l3, l4off, v6, tcp, high6):
    """Pseudo header but for the varying words, layer 4 without ports and checksum, payload."""
    length = FRAME - l4off
    total = _sum16(struct.pack("!HH", 6 if tcp else 17, length))
    if v6:
        high = bytes(8) if high6 else raw[l3 + 24 : l3 + 32]
        total += _sum16(raw[l3 + 8 : l3 + 20] + high + raw[l3 + 32 : l3 + 36])
    l4 = bytearray(raw[l4off:FRAME])
    l4[0:4] = bytes(4)
    at = 16 if tcp else 6
    l4[at : at + 2] = bytes(2)
    return total + _sum16(bytes(l4) + bytes(len(l4) & 1))


class Bench:
    """The loaded objects of one hook ("xdp", "tc"): generator, targets."""

    def __init__(self, hook, name):
        self.hook, self.pins = hook, f"/sys/fs/bpf/{name}-{hook}"
        subprocess.run(["rm", "-rf", self.pins], check=True)
        self._load(f"gen_{hook}", self.pins)
        self.progs, self._maps = {}, {}
        gen_map = bpf.obj_get(self.pins + "/maps/gen")
        self._gen_mem = mmap.mmap(gen_map, 4096)
        self.gen = Gen.from_buffer(self._gen_mem)
        self.seq = mmap.mmap(bpf.obj_get(self.pins + "/maps/seq"), SEQ * 8)
        self._turns_mem = mmap.mmap(bpf.obj_get(self.pins + "/maps/turns"), 4096)
        self._turns = Turns.from_buffer(self._turns_mem)
        self._stamps = mmap.mmap(bpf.obj_get(self.pins + "/maps/stamps"), STAMPS * 8)
        self.target(BARE, self.prog("gen_bare"))
        self.target(KNOWN, self.prog("gen_known"))
        self.target(FLOOR, self.prog("gen_floor"))
        self.target(TAGGING, self.prog("gen_untag" if hook == "xdp" else "gen_tag"))
        if hook == "xdp":
            self.target(LOOKUP, self.prog("gen_lookup"))
            self.target(SWAP, self.prog("gen_swap"))

    def _load(self, name, pins):
        os.makedirs(pins + "/maps")
        done = subprocess.run(
            ["bpftool", "prog", "loadall", f"{kit.OUT}/{name}.bpf.o", pins + "/progs", "pinmaps", pins + "/maps"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        kit.need(done.returncode == 0, f"{name}.bpf.o does not load:\n{done.stdout}{done.stderr}")

    def _more(self, name, targets, ifindex):
        """Targets in an object of their own, whose tables are large; they send to this netdev."""
        pins = f"{self.pins}/{name}"
        self._load(name, pins)
        bpf.Map(f"{pins}/maps/out").update(0, struct.pack("=Ii", ifindex, 0))
        for slot, prog in targets.items():
            self.target(slot, bpf.Prog(f"{pins}/progs/{prog}"))

    def first_packets(self, ifindex):
        self._more("first_xdp", {FIRST_PLAIN: "first_plain", FIRST_LRU: "first_lru"}, ifindex)

    def memory(self, ifindex):
        self._more("lines_xdp", {LOAD: "line_destination", PACKED: "line_flow"}, ifindex)

    def prog(self, name):
        if name not in self.progs:
            self.progs[name] = bpf.Prog(f"{self.pins}/progs/{name}")
        return self.progs[name]

    def lines(self):
        """How many lines line_flow() has counted in since the last time."""
        with mmap.mmap(bpf.obj_get(self.pins + "/lines_xdp/maps/lines"), LINES * 64) as m:
            with memoryview(m) as octets, octets.cast("I") as words, words[1::16] as packets:
                used = sum(map(bool, packets))
            m[:] = bytes(len(m))
        return used

    def map(self, name):
        if name not in self._maps:
            self._maps[name] = bpf.Map(f"{self.pins}/maps/{name}")
        return self._maps[name]

    def target(self, slot, prog):
        self.map("targets").update(slot, struct.pack("=I", prog.fd))

    def way_out(self, ifindex):
        """Where gen_floor and gen_redirect send to; of the calling thread's namespace."""
        self.map("out").update(0, struct.pack("=Ii", ifindex, 0))

    def set(self, template_):
        ctypes.memmove(ctypes.addressof(self.gen), ctypes.addressof(template_), ctypes.sizeof(Gen))

    def order(self, values):
        """`values`: array of a power of two."""
        octets = values.tobytes()
        self.seq[: len(octets)] = octets
        self.gen.mask, self.gen.next = len(values) - 1, 0

    def _context(self, ifindex):
        if self.hook == "xdp":
            return bpf.XDP_MD.pack(0, FRAME, 0, ifindex, 0, 0)
        context = bytearray(bpf.SKB_SIZE)
        struct.pack_into("=II", context, bpf.SKB_INGRESS_IFINDEX, ifindex, ifindex)
        return bytes(context)

    def once(self, target, ifindex):
        """One run; what came out."""
        self.gen.target = target
        return self.prog("gen_run").run(bytes(FRAME), self._context(ifindex))

    def run(self, target, ifindex, n):
        """n runs: ns of CPU time for one."""
        self.gen.target = target
        return self._repeat("gen_run", self._context(ifindex), n) / n

    def _take_turns(self, turns):
        t = self._turns
        for name in ("next", "left", "done", "runs"):
            setattr(t, name, 0)
        t.count, t.turn[: len(turns)] = len(turns), [Turn(*x) for x in turns]
        return t

    def turns(self, ifindex, turns, times):
        """`turns`: (target, packets, positions to go back before), so many times one after the other within one system call. What a
        packet of each turn took, in ns on the wall: a list for each time."""
        n = times * len(turns)
        kit.need(n < STAMPS and len(turns) <= TURNS, f"{times} times {len(turns)} turns")
        t = self._take_turns(turns)
        # One packet more: with it the last turn ends.
        self._repeat("gen_run_turns", self._context(ifindex), times * sum(x[1] for x in turns) + 1, done=lambda: t.runs)
        kit.need(t.done == n + 1, f"{t.done} turns of {n}")
        at = array.array("Q", self._stamps[: 8 * (n + 1)])
        each = [(b - a) / turns[i % len(turns)][1] for i, (a, b) in enumerate(zip(at, at[1:]))]
        return [each[i : i + len(turns)] for i in range(0, n, len(turns))]

    def live(self, ifindex, n, batch=64):
        """n frames out of a netdev of this thread's namespace: ns of CPU time."""
        return self._repeat("gen_send", bpf.XDP_MD.pack(0, FRAME, 0, ifindex, 0, 0), n, LIVE_FRAMES, batch)

    def live_turns(self, ifindex, turns, packets, batch=64):
        """Live frames in so many turns of `packets`, a multiple of `batch`, with known work between; one frame more ends the last turn.
        [ns of known work before, ns a packet on the wall, ns of known work after] for each turn."""
        t = self._take_turns([(0, packets, 0)])
        self._repeat("gen_send", bpf.XDP_MD.pack(0, FRAME, 0, ifindex, 0, 0), turns * packets + 1, LIVE_FRAMES, batch, done=lambda: t.runs)
        t.count = 0
        kit.need(t.done == 2 * turns + 2, f"{t.done} stamps of {turns} turns")
        at = array.array("Q", self._stamps[: 8 * t.done])
        known = [(b - a) / PAUSE for a, b in zip(at[::2], at[1::2])]
        return [[known[i], (at[2 * i + 2] - at[2 * i + 1]) / packets, known[i + 1]] for i in range(turns)]

    def _repeat(self, prog, context, n, flags=0, batch=0, done=None):
        """BPF_PROG_RUN of n packets; this thread's CPU time in ns. What interrupts it (a machine that is frozen for a moment does) is
        not the benchmark's: the generator's position, or `done`, tells how many are left."""
        data = ctypes.create_string_buffer(FRAME)
        ctx = ctypes.create_string_buffer(context, len(context))
        fd, first, left = self.prog(prog).fd, self.gen.next, n
        began = time.thread_time_ns()
        while left:
            # prog_fd, retval, data_size_in, data_size_out, data_in, data_out, repeat, duration, ctx sizes, ctx_in, ctx_out, flags, cpu, batch
            attr = struct.pack("=IIIIQQIIIIQQIII4x", fd, 0, FRAME, 0, ctypes.addressof(data), 0, left, 0, len(context), 0,
                               ctypes.addressof(ctx), 0, flags, 0, batch)  # fmt: skip
            try:
                bpf._bpf(bpf.PROG_TEST_RUN, attr)
                left = 0
            except InterruptedError:
                left = n - (done() if done else (self.gen.next - first) & 0xFFFFFFFF)
        return time.thread_time_ns() - began

    def close(self):
        subprocess.run(["rm", "-rf", self.pins], check=False)


def bare_frame(bench, ifindex):
    """The frame that comes next, as the generator makes it, with its tag in the data; the position stays."""
    at = bench.gen.next
    made = bench.once(BARE, ifindex).data
    bench.gen.next = at
    if bench.gen.tag:
        made = made[:12] + struct.pack("!HH", 0x8100, bench.gen.tag & 0xFFFF) + made[12:]
    return made


def ether(raw):
    return Ether(bytes(raw))


__all__ = ["Dot1Q", "Ether", "IP", "IPv6", "TCP", "UDP"]
