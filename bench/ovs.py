"""ovs.py: an Open vSwitch of its own in a namespace: database, sockets and logs in a private directory, the userspace datapath.

Its links are `system` (AF_PACKET), served by its main thread, or `afxdp`, served by a thread that polls them on a CPU of its own, as
it is meant to be run. ip_forward stays 0 there: the kernel would forward AF_PACKET's packets a second time.
"""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import kit
import session

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class OpenVswitch:
    def __init__(self, ns, kind, cpu):
        self.ns, self.kind, self.cpu = ns, kind, cpu
        self.dir = tempfile.mkdtemp(prefix=session.name("ovs-"))
        self.env = dict(os.environ, **{k: self.dir for k in ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR")})
        self._first = self._rate = None
        self.db, self.processes = f"unix:{self.dir}/db.sock", []
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        ns = self.ns
        ns.sysctl("net.ipv4.ip_forward", 0)
        subprocess.run(["ovsdb-tool", "create", f"{self.dir}/conf.db", SCHEMA], env=self.env, check=True, capture_output=True)
        self._spawn("ovsdb-server", f"--remote=p{self.db}", f"{self.dir}/conf.db")
        for _ in range(100):
            if os.path.exists(f"{self.dir}/db.sock"):
                break
            time.sleep(0.05)
        self.ctl("--no-wait", "init")
        self._spawn(*([] if self.kind == "afxdp" else ["taskset", "-c", str(self.cpu)]), "ovs-vswitchd", self.db)
        if self.kind == "afxdp":
            self.ctl("set", "Open_vSwitch", ".", f"other_config:pmd-cpu-mask={1 << (self.cpu ^ 1):x}")
        self.ctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")

    def _spawn(self, *argv):
        with open(f"{self.dir}/log", "ab") as log:
            p = subprocess.Popen(self.ns.argv(list(argv)), env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(p)

    def ctl(self, *argv):
        return self._tool("ovs-vsctl", f"--db={self.db}", "--timeout=20", *argv)

    def _tool(self, *argv):
        done = subprocess.run(self.ns.argv(list(argv)), env=self.env, capture_output=True, text=True, check=False, timeout=30)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
        return done.stdout

    def ports(self, *links):
        for i, link in enumerate(links, 1):
            more = ["type=afxdp", "options:xdp-mode=best-effort"] if self.kind == "afxdp" else []
            self.ctl("add-port", "br0", link, "--", "set", "interface", link, f"ofport_request={i}", *more)

    def flows(self, *lines):
        self._tool("ovs-ofctl", "-O", "OpenFlow15", "del-flows", "br0")
        for line in lines:
            self._tool("ovs-ofctl", "-O", "OpenFlow15", "add-flow", "br0", line)

    def cpu_ns(self):
        """What packets have cost it: CPU time of its process, or of its polling thread what was not idle."""
        if self.kind == "afxdp":
            return self._polling_ns()
        return kit.cpu_ns(self.processes[-1].pid)

    def _polling_ns(self):
        text = self._tool("ovs-appctl", "-t", f"{self.dir}/ovs-vswitchd.{self.processes[-1].pid}.ctl", "dpif-netdev/pmd-stats-show")
        text = text[text.index("pmd thread") :].split("main thread")[0]
        idle, busy = (int(re.search(rf"{kind} cycles: (\d+)", text)[1]) for kind in ("idle", "processing"))
        return busy * self._ns_per_cycle(idle + busy)

    def _ns_per_cycle(self, cycles):
        """The thread always polls: its cycles are the wall's time."""
        now = time.monotonic_ns()
        if self._first is None:
            self._first = (now, cycles)
            time.sleep(0.2)
            self._polling_ns()
        elif self._rate is None:
            self._rate = (now - self._first[0]) / (cycles - self._first[1])
        return self._rate

    def urgent(self, on):
        """The polling thread is not to wait for other work while it is measured: its cycles run on meanwhile."""
        pid = self.processes[-1].pid
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as f:
                if f.read().startswith("pmd-"):
                    os.sched_setscheduler(int(task), os.SCHED_FIFO if on else os.SCHED_OTHER, os.sched_param(int(on)))

    def close(self):
        for p in reversed(self.processes):
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
                try:
                    p.wait(5)
                except subprocess.TimeoutExpired:
                    p.kill()
                    p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
