"""The verifier is a user too: what it has to walk through stays far below its limit, so that older kernels take it as well."""
import os
import struct
import subprocess

import pytest

import bpf
from harness import HOOKS
from topo import BPFFS, BUILD

LIMIT = 1_000_000 // 4


@pytest.mark.parametrize("hook", HOOKS)
def test_verified_instructions(switch, hook):
    count = getattr(switch, hook).verified_insns()
    assert 0 < count <= LIMIT


def switched(elf, **switches):
    """An object file with other values of its feature switches (bpf/config.h)."""
    elf = bytearray(elf)
    (sections,) = struct.unpack_from("<Q", elf, 40)
    size, count = struct.unpack_from("<HH", elf, 58)
    heads = [struct.unpack_from("<IIQQQQIIQQ", elf, sections + i * size) for i in range(count)]
    symbols = next(h for h in heads if h[1] == 2)  # SHT_SYMTAB
    names = heads[symbols[6]][4]
    for at in range(symbols[4], symbols[4] + symbols[5], 24):
        name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", elf, at)
        text = elf[names + name : elf.index(0, names + name)].decode()
        if text in switches:
            elf[heads[section][4] + value] = switches.pop(text)
    assert not switches, f"no such switches: {switches}"
    return elf


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("switches", [{"cfg_resize": 1}, {"cfg_resize": 1, "cfg_nat_log": 1, "cfg_trace": 1}], ids=["resize", "all"])
def test_programs_for_two_sizes_of_tables(tmp_path, hook, switches):
    """Those that are in force while the tables change their size: they look into the former ones and the next, and have more maps."""
    path, pin = tmp_path / f"{hook}.o", BPFFS / f"sluice-verify-{os.getpid()}"
    path.write_bytes(switched((BUILD / f"{hook}.bpf.o").read_bytes(), **switches))
    done = subprocess.run(["bpftool", "prog", "load", path, pin], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    try:
        count = bpf.Prog(pin).verified_insns()
        print(f"{hook}, {switches}: {count} instructions")
        assert 0 < count <= LIMIT
    finally:
        pin.unlink()
