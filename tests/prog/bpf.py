"""bpf.py: the few bpf(2) commands the packet tests need, by ctypes.

Stands between the rows' harness and the kernel: pinned objects are opened by path, maps are read and written as bytes, and a
packet is put through a program by BPF_PROG_TEST_RUN. Layouts are those of the kernel's include/uapi/linux/bpf.h.
"""
import ctypes
import errno
import mmap
import os
import platform
import struct
from dataclasses import dataclass

SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361}[platform.machine()]

MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM, MAP_GET_NEXT_KEY = 1, 2, 3, 4
OBJ_GET, PROG_TEST_RUN, OBJ_GET_INFO_BY_FD = 7, 10, 15

PERCPU_TYPES = {5, 6, 10, 21}  # PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH, PERCPU_CGROUP_STORAGE
DATA_OUT_MAX = 1 << 16

XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = range(5)
TC_ACT_OK, TC_ACT_SHOT, TC_ACT_REDIRECT = 0, 2, 7
TC_ACT_UNSPEC = 0xFFFFFFFF

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command, attr):
    buf = ctypes.create_string_buffer(bytes(attr), len(attr))
    ret = _libc.syscall(SYS_BPF, command, buf, len(attr))
    if ret < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return ret, buf.raw


def _address(buf):
    return ctypes.addressof(buf)


def obj_get(path):
    """File descriptor of a pinned map or program."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    try:
        return _bpf(OBJ_GET, struct.pack("=QII", _address(name), 0, 0))[0]
    except OSError as e:
        raise OSError(e.errno, f"{path}: {e.strerror}") from None


def info(fd, size=256):
    """struct bpf_prog_info or bpf_map_info, as far as this kernel fills it."""
    buf = ctypes.create_string_buffer(size)
    _bpf(OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, size, _address(buf)))
    return buf.raw


def possible_cpus():
    """How many values an element of a per-CPU map has."""
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as f:
        return int(f.read().strip().split(",")[-1].split("-")[-1]) + 1


class Map:
    """A pinned map. Keys and values are bytes; of a per-CPU map a value is a list of bytes, one a CPU."""

    def __init__(self, path):
        self.fd = obj_get(path)
        (self.type, _, self.key_size, self.value_size, self.max_entries) = struct.unpack_from("=5I", info(self.fd))
        self.percpu = self.type in PERCPU_TYPES
        self._stride = (self.value_size + 7) // 8 * 8
        size = self._stride * possible_cpus() if self.percpu else self.value_size
        self._key = ctypes.create_string_buffer(self.key_size)
        self._next = ctypes.create_string_buffer(self.key_size)
        self._value = ctypes.create_string_buffer(size)
        self._mapped = None

    def _elem(self, command, key):
        if isinstance(key, int):
            key = struct.pack("=I", key)
        ctypes.memmove(self._key, key, self.key_size)
        value = 0 if command == MAP_DELETE_ELEM else _address(self._value)
        _bpf(command, struct.pack("=IIQQQ", self.fd, 0, _address(self._key), value, 0))

    def lookup(self, key):
        """The value, or None when there is no such element."""
        try:
            self._elem(MAP_LOOKUP_ELEM, key)
        except OSError as e:
            if e.errno == errno.ENOENT:
                return None
            raise
        raw = self._value.raw
        if not self.percpu:
            return raw
        return [raw[i : i + self.value_size] for i in range(0, len(raw), self._stride)]

    def sum(self, key):
        """Per-CPU map of __u64 fields: their sums over the CPUs."""
        words = f"={self.value_size // 8}Q"
        return [sum(column) for column in zip(*(struct.unpack(words, v) for v in self.lookup(key)))]

    def update(self, key, value):
        """Insert or replace. Of a per-CPU map every CPU gets `value`."""
        if self.percpu:
            value = value.ljust(self._stride, b"\0") * possible_cpus()
        ctypes.memmove(self._value, value, len(self._value))
        self._elem(MAP_UPDATE_ELEM, key)

    def delete(self, key):
        """Remove; an absent element is no error."""
        try:
            self._elem(MAP_DELETE_ELEM, key)
        except OSError as e:
            if e.errno != errno.ENOENT:
                raise

    def memory(self):
        """Of an mmap-able array. It stays mapped: most of the time would go into its pages, each time."""
        if not self._mapped:
            self._mapped = mmap.mmap(self.fd, self._stride * self.max_entries)
        return self._mapped

    def zero(self):
        """All elements of an mmap-able array become zero."""
        at = ctypes.c_char.from_buffer(self.memory())
        ctypes.memset(ctypes.addressof(at), 0, len(self._mapped))

    def keys(self):
        """All keys, gathered first, so that elements may be deleted while walking."""
        found, previous = [], 0
        while True:
            try:
                _bpf(MAP_GET_NEXT_KEY, struct.pack("=IIQQQ", self.fd, 0, previous, _address(self._next), 0))
            except OSError as e:
                if e.errno == errno.ENOENT:
                    return found
                raise
            found.append(self._next.raw)
            ctypes.memmove(self._key, self._next, self.key_size)
            previous = _address(self._key)

    def close(self):
        if self._mapped:
            self._mapped.close()
        os.close(self.fd)


@dataclass
class Run:
    """What one run of a program left behind."""

    retval: int
    data: bytes
    context: bytes


class Ring:
    """A pinned ring buffer: what is written from now on, also when its reader has taken it away already."""

    _PAGE, _HEAD = mmap.PAGESIZE, 8

    def __init__(self, path):
        self.fd = obj_get(path)
        self.size = struct.unpack_from("=5I", info(self.fd))[4]
        # A page with what was read up to, one with what was written up to, the data.
        self._memory = mmap.mmap(self.fd, self._PAGE + self.size, prot=mmap.PROT_READ, offset=self._PAGE)
        self._at = self._written()

    def _written(self):
        return struct.unpack_from("=Q", self._memory, 0)[0]

    def records(self):
        """Since the last time: bytes, whole records."""
        found, data = [], self._memory[self._PAGE :] * 2
        while self._at < self._written():
            at = self._at % self.size
            (head,) = struct.unpack_from("=I", data, at)
            length = head & ~(3 << 30)
            if not head & 1 << 30:  # thrown away
                found.append(data[at + self._HEAD : at + self._HEAD + length])
            self._at += (length + self._HEAD + 7) // 8 * 8
        return found

    def close(self):
        self._memory.close()
        os.close(self.fd)


class Prog:
    """A pinned program."""

    _ATTR = struct.Struct("=IIIIQQIIIIQQIII4x")
    _in, _out = ctypes.create_string_buffer(DATA_OUT_MAX), ctypes.create_string_buffer(DATA_OUT_MAX)
    _ctx_in, _ctx_out = ctypes.create_string_buffer(DATA_OUT_MAX), ctypes.create_string_buffer(DATA_OUT_MAX)
    _attr = ctypes.create_string_buffer(_ATTR.size)

    def __init__(self, path):
        self.fd = obj_get(path)

    def verified_insns(self):
        """Instructions the verifier walked through (bpf_prog_info.verified_insns)."""
        return struct.unpack_from("=I", info(self.fd), 216)[0]

    def run(self, data, context):
        """BPF_PROG_TEST_RUN, once, in the calling thread's network namespace."""
        ctypes.memmove(self._in, bytes(data), len(data))
        ctypes.memmove(self._ctx_in, bytes(context), len(context))
        head = self.fd, 0, len(data), DATA_OUT_MAX, _address(self._in), _address(self._out), 1, 0, len(context), len(context)
        self._ATTR.pack_into(self._attr, 0, *head, _address(self._ctx_in), _address(self._ctx_out), 0, 0, 0)
        if _libc.syscall(SYS_BPF, PROG_TEST_RUN, self._attr, self._ATTR.size) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        _, retval, _, size_out = struct.unpack_from("=4I", self._attr)
        return Run(retval, self._out[:size_out], self._ctx_out[: len(context)])

    def close(self):
        os.close(self.fd)


class Batch:
    """Many packets of one size through one program, as fast as the system call goes. `send` gives the first bytes of what came
    out, or None of a packet that is not to leave by another port."""

    def __init__(self, prog, size, ifindex, xdp, head=12):
        context = XDP_MD.pack(0, size, 0, ifindex, 0, 0) if xdp else bytearray(SKB_SIZE)
        if not xdp:
            struct.pack_into("=II", context, SKB_INGRESS_IFINDEX, ifindex, ifindex)
        self._in = ctypes.create_string_buffer(size)
        self._out = ctypes.create_string_buffer(size + 64)
        self._context = ctypes.create_string_buffer(bytes(context), len(context))
        self._attr = ctypes.create_string_buffer(
            struct.pack(
                "=IIIIQQIIIIQQIII4x",
                prog.fd,
                0,
                size,
                size + 64,
                _address(self._in),
                _address(self._out),
                1,
                0,
                len(context),
                0,
                _address(self._context),
                0,
                0,
                0,
                0,
            )
        )
        self._fresh, self._size, self._head, self._redirect = self._attr.raw, size, head, XDP_REDIRECT if xdp else TC_ACT_REDIRECT

    def send(self, frame):
        assert len(frame) == self._size
        ctypes.memmove(self._in, frame, self._size)
        ctypes.memmove(self._attr, self._fresh, len(self._fresh))
        if _libc.syscall(SYS_BPF, PROG_TEST_RUN, self._attr, len(self._fresh)) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        (verdict,) = struct.unpack_from("=I", self._attr, 4)
        return self._out[: self._head] if verdict == self._redirect else None


XDP_MD = struct.Struct("=6I")  # data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
SKB_SIZE = 192  # struct __sk_buff up to hwtstamp
SKB_INGRESS_IFINDEX, SKB_CB = 36, 48
SKB_GSO_SEGS, SKB_GSO_SIZE = 164, 176


def run_xdp(prog, frame, ifindex):
    """A frame through an XDP program as if received on `ifindex`. The kernel refuses frames below 14 bytes."""
    return prog.run(frame, XDP_MD.pack(0, len(frame), 0, ifindex, 0, 0))


def run_tc(prog, frame, ifindex, gso=(0, 0)):
    """A frame through a tc program as if received on `ifindex`; `gso`: (segments, bytes a segment). Tags stay in
    the data. The kernel refuses an untagged frame whose IP header is cut: such rows come in tagged."""
    context = bytearray(SKB_SIZE)
    struct.pack_into("=II", context, SKB_INGRESS_IFINDEX, ifindex, ifindex)
    struct.pack_into("=I", context, SKB_GSO_SEGS, gso[0])
    struct.pack_into("=I", context, SKB_GSO_SIZE, gso[1])
    return prog.run(frame, context)


def skb_cb(run):
    """skb->cb[0..4] after a run of a tc program."""
    return struct.unpack_from("=5I", run.context, SKB_CB)
