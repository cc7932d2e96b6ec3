"""echo.py: pings from a namespace of a Lab, counted to the last one.

iputils' ping ends when its last echo request is twice the longest time unanswered that an answer has taken so far (and an interval, at
least): on a busy machine the last answer comes later than that, and counts as lost. Here all answers have the same time.
"""
import os
import random
import select
import socket
import struct
import time

IP_MTU_DISCOVER, IP_PMTUDISC_DONT, SO_RCVBUFFORCE = 10, 0, 33
# After the last request: while nothing was answered at all, and when something was, so that the others are under way.
NOBODY_S, OTHERS_S = 2, 5


def _checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1])) + (data[-1] << 8 if len(data) & 1 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Echoes:
    """Echo requests of one identifier to one target, and the answers to them."""

    def __init__(self, ns, target, size=56, ident=None, ttl=None, pattern=None, source=None, cut=False):
        """`source`: an address or a netdev. `pattern`: fills the payload. `cut`: routers may cut the packets (no DF)."""
        self.v6 = ":" in target
        self.ident = random.randrange(1 << 16) if ident is None else ident
        self.payload = (pattern * size)[:size] if pattern else os.urandom(size)
        self.sent, self.answered = 0, set()
        family, proto = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if self.v6 else (socket.AF_INET, socket.IPPROTO_ICMP)
        with ns.entered():
            self.to = socket.getaddrinfo(target, 0, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)[0][4]
        self.s = ns.socket(family, socket.SOCK_RAW, proto)
        try:
            with ns.socket(family, socket.SOCK_DGRAM) as probe:
                for s in (self.s, probe):
                    self._set(s, ttl, source, cut)
                probe.connect((self.to[0], 1025, *self.to[2:]))  # says so when there is no way at all
        except OSError:
            self.s.close()
            raise
        self.s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)

    def _set(self, s, ttl, source, cut):
        if source and (":" in source or "." in source):
            s.bind((source, 0))
        elif source:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, source.encode())
        if ttl:
            s.setsockopt(*(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if self.v6 else (socket.IPPROTO_IP, socket.IP_TTL), ttl)
        if cut:
            s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)

    def send(self):
        """What the kernel refuses to send is sent, and lost."""
        head = struct.pack("!BBHHH", 128 if self.v6 else 8, 0, 0, self.ident, self.sent & 0xFFFF)
        if not self.v6:  # of ICMPv6 the kernel does it
            head = head[:2] + struct.pack("!H", _checksum(head + self.payload)) + head[4:]
        self.sent += 1
        try:
            self.s.sendto(head + self.payload, self.to)
        except OSError:
            pass

    def take(self, until):
        """Answers that come until then; returns early when all have."""
        while len(self.answered) < self.sent:
            left = until - time.monotonic()
            if not select.select([self.s], [], [], max(left, 0))[0]:
                return
            data = self.s.recv(65535)
            data = data if self.v6 else data[(data[0] & 15) * 4 :]
            kind, _, _, ident, seq = struct.unpack_from("!BBHHH", data)
            whole = data[8:] == self.payload and (self.v6 or not _checksum(data))
            if (kind, ident) == (129 if self.v6 else 0, self.ident) and whole:
                self.answered.add(seq)


def ping(ns, target, count, interval, **options):
    """(sent, answered with the same content)."""
    e = Echoes(ns, target, **options)
    with e.s:
        for _ in range(count):
            began = time.monotonic()
            e.send()
            if e.sent < count:
                e.take(began + interval)
                time.sleep(max(0, began + interval - time.monotonic()))
        last = time.monotonic()
        e.take(last + NOBODY_S)
        if e.answered:
            e.take(last + OTHERS_S)
    return e.sent, len(e.answered)
