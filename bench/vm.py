"""vm.py: a virtual machine whose clock counts instructions: qemu without KVM, one CPU, `-icount shift=0`.

One guest instruction is one ns of the guest's time, and its time stamp counter counts them. Nothing else reaches it: no disk, no
network, no random numbers from outside, no clock of the host's. Its root is a RAM disk made here of the programs that it needs,
so one boot goes like another. Kernels are unpacked Debian packages (tests/kernels/fetch.sh).
"""
import glob
import os
import re
import shutil
import subprocess
import tempfile

import kit

MEMORY_MIB = 3072
# A machine as all versions of qemu have it; without what brings random numbers, or instructions that copy any length at once.
CPU = "Haswell-v4"
CPU_WITHOUT = ("rdrand", "rdseed", "erms", "tsc-deadline", "pcid", "x2apic", "invpcid")
KERNEL_ARGUMENTS = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=off tsc=reliable"
MODULES = ("veth", "sch_ingress", "cls_bpf")
TOOLS = ("busybox", "nsenter", "ip", "bridge", "ethtool", "nft", "bpftool")


def kernel(directory):
    """(image, version) of an unpacked package."""
    images = glob.glob(os.path.join(directory, "boot", "vmlinuz-*"))
    kit.need(images, f"no kernel in {directory}")
    return images[0], os.path.basename(images[0]).removeprefix("vmlinuz-")


def _libraries(program):
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return re.findall(r"(?:=> )?(/\S+) \(0x", done.stdout)


def _modules(directory, version, names):
    """Files of the modules and of what they need, in order."""
    top = f"{directory}/lib/modules/{version}"
    if not os.path.exists(f"{top}/modules.dep"):
        subprocess.run(["depmod", "-b", directory, version], check=True)
    got = []
    for name in names:
        done = subprocess.run(["modprobe", "-d", directory, "-S", version, "--show-depends", name], capture_output=True, text=True, check=False)
        got += [f for f in re.findall(r"^insmod (\S+)", done.stdout, re.M) if f not in got]
    return got


def _module(path, to):
    how = {".xz": ["xz", "-dc"], ".zst": ["zstd", "-qdc"]}.get(os.path.splitext(path)[1], ["cat"])
    with open(to, "wb") as f:
        subprocess.run([*how, path], stdout=f, check=True)


class Disk:
    """The RAM disk being made, in a directory of its own."""

    def __init__(self, root):
        self.root = root
        for d in ("bin", "tools", "cost", "modules", "proc", "sys", "dev", "run", "tmp", "etc", "root"):
            os.makedirs(f"{root}/{d}")

    def program(self, path, name=None):
        self.file(path, "tools/" + (name or os.path.basename(path)))
        for lib in _libraries(path):
            self.file(os.path.realpath(lib), lib[1:])

    def file(self, path, to):
        to = f"{self.root}/{to}"
        if not os.path.exists(to):
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copy(path, to)

    def write(self, to, content):
        with open(f"{self.root}/{to}", "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())

    def pack(self, to):
        with open(to, "wb") as f:
            for path in glob.glob(self.root + "/**", recursive=True):
                os.utime(path, (0, 0), follow_symlinks=False)
            names = sorted(os.path.relpath(os.path.join(d, n), self.root) for d, ds, fs in os.walk(self.root) for n in ds + fs)
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "--reproducible"], cwd=self.root,
                           input="".join(n + "\n" for n in names).encode(), check=True, stdout=f)  # fmt: skip


INIT = """#!/tools/busybox sh
/tools/busybox --install -s /bin 2>/dev/null
export PATH=/tools:/bin:/usr/bin HOME=/root
ip() { /tools/ip "$@"; } # busybox has its own, and its shell and nsenter would take that
nsenter() { /tools/nsenter "$@"; }
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs run /run; mount -t tmpfs tmp /tmp
mount -t bpf bpf /sys/fs/bpf
for m in /modules/*; do insmod $m; done
ip link set lo up
( . /cost/main ) >/dev/ttyS1 2>&1
echo "status $?" >/dev/ttyS1
poweroff -f
"""


def run(kernel_dir, files, main, *, programs=(), modules=(), seconds=900, plugin=None):
    """Boots, runs the shell script `main` with `files` (name -> bytes, below /cost) and `programs`; what it printed. `plugin`: of qemu, with its arguments."""
    image, version = kernel(kernel_dir)
    with tempfile.TemporaryDirectory(prefix="sluice-cost.", dir=os.environ.get("TMPDIR", "/var/tmp")) as work:
        disk = Disk(f"{work}/root")
        for name in TOOLS:
            path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
            kit.need(path, f"no {name} here")
            disk.program(path)
        for path in programs:
            disk.program(path)
        for i, path in enumerate(_modules(os.path.realpath(kernel_dir), version, MODULES + modules)):
            _module(path, f"{disk.root}/modules/{i:03}.ko")
        for name, content in files.items():
            disk.write(f"cost/{name}", content)
        disk.write("cost/main", main)
        disk.write("init", INIT)
        os.chmod(f"{disk.root}/init", 0o755)
        disk.pack(f"{work}/initrd")
        argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-machine", "q35", "-accel", "tcg,thread=single",
                "-icount", "shift=0,sleep=off", "-cpu", ",".join([CPU, *(f"-{x}" for x in CPU_WITHOUT)]), "-smp", "1", "-seed", "1", "-m", str(MEMORY_MIB),
                "-rtc", "base=2026-01-01T00:00:00,clock=vm", "-kernel", image, "-initrd", f"{work}/initrd", "-append", KERNEL_ARGUMENTS,
                "-display", "none", "-no-reboot", "-serial", f"file:{work}/console", "-serial", f"file:{work}/out", *(["-plugin", plugin] if plugin else [])]  # fmt: skip
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=seconds)
            said = done.stderr
        except subprocess.TimeoutExpired:
            said = f"no end after {seconds} s"
        out, console = (_read(f"{work}/{n}") for n in ("out", "console"))
    status = re.search(r"^status (\d+)$", out, re.M)
    kit.need(status and status[1] == "0", f"the virtual machine ({version}): {said}\n{out[-3000:]}\n{console[-2000:]}")
    return out


def _read(path):
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read().replace("\r", "")
