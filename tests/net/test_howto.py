"""The how-tos (docs/how-to-*.md) and the README, run as they stand: the commands of each page, in order, in namespaces built for it.

A page's commands stand in fenced blocks called `console`. A line `NAME# COMMAND` (or `$ COMMAND`) is run in the namespace of that
name, by a shell; what follows it is what it prints. A block of another name (`text`, `yaml`) is only shown. A command ends with 0,
unless what it is shown to print begins with `sluice: `, an error.

What is printed is compared line by line. Words must be the same; digits stand for any digits, spaces for any spaces, and a line
`...` for any lines. Below a heading in capitals the rows of a table may come in any order. A comment behind a command says what to look for. What shows a state that takes time (`show` in the command)
is asked again, for 20 s at most.

A block that begins `console not-run: WHY` needs what is not here. Those are named in NOT_RUN, with what the test does instead.
"""
import collections
import contextlib
import os
import re
import shutil
import subprocess
import time

import pytest

import netlab
import routers
import talk
from test_bgp import PEER, RFC8950, prefixes
from test_move import OUTSIDE, Pair, say, serve_words

DOCS = os.path.join(netlab.ROOT, "docs")
PAGES = sorted(f for f in os.listdir(DOCS) if f.startswith("how-to-"))
# page: [(why, its commands)]
NOT_RUN = {
    "how-to-bird.md": [("package archive", ["apt-get install bird2"]), ("systemd", ["systemctl restart bird"])],
    "how-to-frr.md": [("package archive", ["apt-get install frr"]), ("systemd", ["systemctl restart frr"])],
    "README.md": [],
}


class Command:
    def __init__(self, page, line, host, text):
        self.page, self.line, self.host, self.text, self.output = page, line, host, text, []

    def __str__(self):
        return f"{self.page}:{self.line}: {self.text}"

    def prints(self, text):
        """Is this what the page shows?"""
        def plain(lines):
            return [" ".join(re.sub(r"\d+", "0", line).split()) for line in lines]
        shown, got = plain(self.output), plain(text.rstrip("\n").split("\n"))
        if not shown:
            return True
        if shown[0] == got[0] == shown[0].upper():  # a table
            shown[1:], got[1:] = sorted(shown[1:]), sorted(got[1:])
            if "..." in shown:
                return not collections.Counter(x for x in shown if x != "...") - collections.Counter(got)
        pattern = "".join("(?:.*\n)*?" if x == "..." else re.escape(x) + "\n" for x in shown)
        return re.fullmatch(pattern, "\n".join(got) + "\n")


class Page:
    """Its console blocks: [(why it is not run or "", [Command])]."""

    def __init__(self, name, path):
        self.name, self.blocks, self.kinds = name, [], []
        inside = why = None
        with open(path, encoding="utf-8") as f:
            lines = f.read().split("\n")
        for n, line in enumerate(lines, 1):
            if line.startswith("```"):
                if inside is None:
                    inside, _, why = line[3:].partition(" not-run: ")
                    self.kinds.append((n, inside))
                    if inside == "console":
                        self.blocks.append((why, []))
                else:
                    inside = None
            elif inside == "console":
                self.take(n, line)
        assert inside is None, f"{name}: a block without an end"

    def take(self, n, line):
        commands = self.blocks[-1][1]
        m = re.match(r"(?:(\w+)# |\$ )(.*)", line)
        if m:
            commands.append(Command(self.name, n, m[1] or "", re.sub(r"\s+# .*", "", m[2])))
        elif commands:
            commands[-1].output.append(line)
        else:
            assert line.strip() in ("", "..."), f"{self.name}:{n}: output without a command"
        if commands and not line.strip():  # an empty line separates commands
            while commands[-1].output and not commands[-1].output[-1].strip():
                commands[-1].output.pop()


class Hosts:
    """Where a page's commands run: namespaces by their names, each with a directory; `shims` come before the system's commands."""

    def __init__(self, world, hosts, mounts=()):
        self.world, self.hosts, self.mounts = world, hosts, mounts
        for name, (_, switch) in hosts.items():
            os.makedirs(self.dir(name), exist_ok=True)
            self.shim(name, "sluice", f'exec {netlab.BUILD}/sluice -i {switch.instance} "$@"')
        with contextlib.suppress(FileExistsError):
            os.symlink(os.path.join(netlab.ROOT, "examples"), os.path.join(self.dir(next(iter(hosts))), "examples"))

    def dir(self, name):
        return os.path.join(self.world.directory, f"host-{name}")

    def shim(self, host, name, text):
        os.makedirs(os.path.join(self.dir(host), ".bin"), exist_ok=True)
        path = os.path.join(self.dir(host), ".bin", name)
        with open(path, "w") as f:
            f.write(f"#!/bin/sh\n{text}\n")
        os.chmod(path, 0o755)

    def run(self, command):
        ns = self.hosts[command.host][0]
        binds = "".join(f"mount --bind {there} {here} && " for there, here in self.mounts)
        script = f'{binds}cd {self.dir(command.host)} && PATH="{self.dir(command.host)}/.bin:$PATH" && {{ {command.text}\n}} 2>&1'
        return ns.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script], check=False)

    def check(self, command):
        end = time.monotonic() + 20
        status = 1 if command.output and command.output[0].startswith("sluice: ") else 0
        while True:
            p = self.run(command)
            fits = command.prints(p.stdout)
            if fits and p.returncode == status:
                return
            if not re.search(r"\bshow\b", command.text) or time.monotonic() > end:
                raise netlab.Failure(f"{command}\nends with {p.returncode} and prints\n{p.stdout}" + (
                    "" if fits else "instead of\n" + "\n".join(command.output)))
            time.sleep(0.3)

    def follow(self, page, instead=None):
        """All of the page. `instead`: command that is not run -> what is done in its place."""
        left = [(why, [c.text for c in commands]) for why, commands in page.blocks if why]
        assert left == NOT_RUN.get(page.name, []), f"{page.name}: what is not run is to be named in NOT_RUN"
        for why, commands in page.blocks:
            for c in commands:
                if not why:
                    self.check(c)
                elif instead and c.text in instead:
                    instead[c.text]()


def page(name):
    return Page(name, os.path.join(DOCS if name.startswith("how-to") else netlab.ROOT, name))


@pytest.mark.parametrize("name", PAGES)
def test_every_block_says_what_it_is(name):
    p = page(name)
    assert p.blocks, "a how-to without commands"
    assert not [(n, kind) for n, kind in p.kinds if kind not in ("console", "text", "yaml")]
    assert f"def test_{name[:-3].replace('-', '_')}(" in open(__file__, encoding="utf-8").read(), "nobody follows this page"


@contextlib.contextmanager
def mount_points(*paths):
    """Directories that commands shall find in a place of the system: made where they are missing, and removed again."""
    made = [p for p in paths if not os.path.isdir(p)]
    try:
        for p in made:
            os.mkdir(p)
        yield
    finally:
        for p in made:
            os.rmdir(p)


def test_readme(gateway):
    """What it shows of the demo's gateway, with traffic of the same kinds as the demo's."""
    w = gateway
    hosts = Hosts(w, {"": (w.gw.ns, w.gw)})
    with open(netlab.GATEWAY_YAML) as f:
        text = f.read()
    for name, old, new in (("new.yaml", "h2: {mode: access, vlan: 10}", "h2: {mode: access, vlan: 20}"),
                           ("bad.yaml", "h1: {mode: access, vlan: 10}", "h1: {mode: access, vlan: 4095}")):
        assert old in text
        with open(os.path.join(hosts.dir(""), name), "w") as f:
            f.write(text.replace(old, new))
    w.inet.iperf3_server()
    w.h2.iperf3(netlab.INET4)
    w.h1.ping(netlab.INET4)
    same, _ = talk.tcp_transfer(w.inet, w.h1, "203.0.113.1", port=8080, size=1 << 16, listen=80)
    assert same
    w.h1.run(f"ping -c 2 -t 1 -W 1 {netlab.INET4}", check=False)  # dropped: their TTL runs out
    hosts.follow(page("README.md"))


@pytest.fixture(scope="module")
def bgp(gateway):
    """BIRDs on both upstream routers of the example's network, which announce some networks."""
    w = gateway
    many = w.write("many.conf", "".join(f"route {p} blackhole;\n" for p in prefixes(10)))
    for n in (1, 2):
        routers.Bird(getattr(w, f"r{n}"), w.directory, w.write(f"r{n}.conf", PEER.format(
            n=n, id=4 * n - 2, gw=4 * n - 3, many=many, rfc8950=RFC8950)))
    return w


def test_how_to_bird(bgp, tmp_path):
    etc, run, ours = tmp_path / "etc", tmp_path / "run", []
    etc.mkdir()
    run.mkdir()
    (run / "bird.ctl").symlink_to(f"{bgp.gw.ns.name}.ctl")

    def start():
        ours.append(routers.Bird(bgp.gw.ns, str(run), str(etc / "bird.conf")))

    with mount_points("/etc/bird", "/run/bird"):
        hosts = Hosts(bgp, {"gw": (bgp.gw.ns, bgp.gw)}, [(etc, "/etc/bird"), (run, "/run/bird")])
        hosts.follow(page("how-to-bird.md"), {"systemctl restart bird": start})
    ours[0].ask("down")  # which takes its routes back
    assert ours[0].process.wait(10) == 0


def test_how_to_frr(bgp, tmp_path):
    etc, run, ours = tmp_path / "etc", routers.Frr.directory(), []
    shutil.copytree("/etc/frr", etc)

    def start():
        daemons = (etc / "daemons").read_text()
        ours.append(routers.Frr(bgp.gw.ns, str(etc / "frr.conf"), run, [
            "zebra", "staticd", *(d for d in ("bfdd", "bgpd") if f"\n{d}=yes\n" in daemons)]))

    try:
        with mount_points("/etc/frr", "/run/frr"):
            hosts = Hosts(bgp, {"gw": (bgp.gw.ns, bgp.gw)}, [(etc, "/etc/frr"), (run, "/run/frr")])
            hosts.follow(page("how-to-frr.md"), {"systemctl restart frr": start})
    finally:
        for frr in ours:
            frr.close()
        shutil.rmtree(run, ignore_errors=True)


def test_how_to_move(world):
    """Two gateways; a connection lasts through the move. There is no ssh between the namespaces: scp is a copy."""
    pair = Pair(world)
    pair.up(1)
    pair.gws[2].ns.run("ip link set lan down")
    pair.gws[2].ns.run("ip link set wan down")
    hosts = Hosts(world, {f"gw{i}": (gw.ns, gw) for i, gw in pair.gws.items()})
    hosts.shim("gw1", "scp", 'cp "$1" "../host-${2%:}/"')
    server = talk.tcp_server(pair.outside, netlab.socket.AF_INET, 9000, serve_words)
    with talk.tcp_connect(pair.inside, OUTSIDE, 9000) as tcp:
        say(tcp, b"one.")
        for ns in (pair.inside, pair.outside):
            ns.run("ip link set gw2 up")
        hosts.follow(page("how-to-move.md"))
        pair.down(1)
        say(tcp, b"two.")
    assert server.join()[0].startswith("203.0.113.")


def test_the_smallest_switch_of_the_readme(tmp_path):
    with open(os.path.join(netlab.ROOT, "README.md"), encoding="utf-8") as f:
        text = re.search(r"```yaml\n(.*?)```", f.read(), re.S)[1]
    (tmp_path / "sluice.yaml").write_text(text)
    p = subprocess.run([f"{netlab.BUILD}/sluice", "check", "sluice.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert p.returncode == 0, p.stderr
