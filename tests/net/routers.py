"""routers.py: real routing daemons (FRR, BIRD) in the namespaces of a Lab, each with directories of its own."""
import os
import shutil
import tempfile

import netlab

FRR = "/usr/lib/frr"
# A switch with two uplinks, by which routes may lead.
UPLINKS = """ports:
  up1: {mode: routed}
  up2: {mode: routed}
interfaces:
  up1: {port: up1, addresses: [192.0.2.1/24, '2001:db8:f1::1/64']}
  up2: {port: up2, addresses: [198.51.100.1/24]}
"""


class Bird:
    """One BIRD with a configuration file."""

    def __init__(self, ns, directory, config):
        self.ns, self.control = ns, os.path.join(directory, f"{ns.name}.ctl")
        self.log = os.path.join(directory, f"{ns.name}-bird.log")
        with open(self.log, "wb") as log:
            self.process = ns.spawn(["bird", "-f", "-c", config, "-s", self.control], stdout=log)
        netlab.wait_for(f"BIRD of {ns.name} answers", self.answers, timeout=20)

    def answers(self):
        if self.process.poll() is not None:
            with open(self.log) as log:
                raise netlab.Failure(f"BIRD of {self.ns.name} ended: {log.read()}")
        return self.ask("show status").returncode == 0

    def ask(self, command):
        return netlab.sh(["birdc", "-s", self.control, command], check=False)

    def established(self, *protocols):
        netlab.wait_for(f"{self.ns.name}: sessions are established: {protocols}", lambda: all(
            "Established" in self.ask(f"show protocols {p}").stdout for p in protocols), timeout=30)

    def bfd_sessions(self):
        """How many are up."""
        return self.ask("show bfd sessions").stdout.count(" Up ")

    def kill(self):
        self.process.kill()
        self.process.wait()


class Frr:
    """zebra, bgpd, bfdd and staticd, with the configuration read by vtysh as a whole."""

    @staticmethod
    def directory():
        """For their sockets: of the user frr, whom pytest's directories are closed to."""
        path = tempfile.mkdtemp(prefix="sluice-frr-")
        shutil.chown(path, "frr", "frr")
        return path

    def __init__(self, ns, config, directory=None, daemons=("zebra", "staticd", "bfdd", "bgpd")):
        self.ns = ns
        self.dir = directory or self.directory()
        self.processes = {}
        try:
            for name in daemons:
                self.daemon(name)
            netlab.wait_for("vtysh reads the configuration", lambda: self.vtysh("-f", config).returncode == 0, timeout=20)
        except Exception:
            self.close()
            raise

    def daemon(self, name):
        extra = {"bfdd": ["--bfdctl", f"{self.dir}/bfdd.ctl"], "bgpd": ["-p", "179"]}.get(name, [])
        self.processes[name] = self.ns.spawn(
            [f"{FRR}/{name}", "-f", "/dev/null", "-z", f"{self.dir}/zserv", "-i", f"{self.dir}/{name}.pid", "--vty_socket", self.dir,
             "-P", "0", *extra])
        netlab.wait_for(f"{name} listens", lambda: os.path.exists(f"{self.dir}/{name}.vty"), timeout=20)

    def vtysh(self, *args):
        return self.ns.run(["vtysh", "--vty_socket", self.dir, *args], check=False)

    def established(self, *neighbors):
        netlab.wait_for(f"sessions are established: {neighbors}", lambda: all(
            "BGP state = Established" in self.vtysh("-c", f"show bgp neighbors {n}").stdout for n in neighbors), timeout=40, every=0.3)

    def bfd_sessions(self):
        return len([line for line in self.vtysh("-c", "show bfd peers brief").stdout.split("\n") if line.rstrip().endswith(" up")])

    def close(self):
        for p in self.processes.values():
            p.kill()
            p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
