"""plot.py: build/bench/*.json as pictures (SVG, by gnuplot): what a packet costs by number of flows, and beside other devices."""
import json
import os
import re
import subprocess

import goals
import kit

HEAD = "set terminal svg noenhanced size 860,600 font 'sans,13' background '#ffffff'\nset output '{out}'\nset grid ytics\nset key below maxcols 2\n"


def _results(part):
    path = os.path.join(kit.OUT, part + ".json")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as f:
        return json.load(f)["results"]


def _gnuplot(name, text):
    path = os.path.join(kit.OUT, name + ".svg")
    done = subprocess.run(["gnuplot"], input=HEAD.format(out=path) + text, text=True, capture_output=True, check=False)
    kit.need(done.returncode == 0, f"gnuplot: {done.stderr}")
    kit.say(path.removeprefix(kit.ROOT + "/"))


def by_flows():
    """Established flows: ns over the number of flows, with the spread."""
    series = {}
    for r in _results("datapath"):
        n = re.fullmatch(r"([0-9,]+) flows", r["point"])
        if n and re.search(r"(SNAT|DNAT|one look-up)", r["series"]):
            series.setdefault(r["series"], []).append((int(n[1].replace(",", "")), r["median"], r["spread"]))
    if not series:
        return
    text = "set logscale x 2\nset xlabel 'flows, uniform'\nset ylabel 'ns a packet, generator subtracted'\nset yrange [0:*]\n"
    text += "set format x '%.0f'\nset xtics (1, '1k' 1024, '16k' 16384, '64k' 65536, '1M' 1048576)\n"
    plots = []
    for i, (name, points) in enumerate(series.items()):
        text += f"$d{i} << EOD\n" + "".join(f"{x} {y} {s}\n" for x, y, s in sorted(points)) + "EOD\n"
        plots.append(f'$d{i} using 1:2:3 with yerrorlines title "{name}" pt {i + 4}')
    text += "$goal << EOD\n" + "".join(f"{n} {ns}\n" for n, ns in goals.ESTABLISHED.items()) + "EOD\n"
    plots.append("$goal using 1:2 with lines dashtype 2 lc rgb '#888888' title 'to reach'")
    look_up = {n: ns for name, points in series.items() if "one look-up" in name for n, ns, _ in points}
    here = {n: goals.scaled(ns, n, look_up.get(n)) for n, ns in goals.ESTABLISHED.items()}
    if any(here.values()):
        text += "$scaled << EOD\n" + "".join(f"{n} {ns}\n" for n, ns in here.items() if ns) + "EOD\n"
        plots.append("$scaled using 1:2 with lines dashtype 3 lc rgb '#888888' title 'to reach, scaled'")
    _gnuplot("datapath", text + "plot " + ", ".join(plots) + "\n")


def beside_others():
    """Through namespaces: the same job by each device."""
    results = [r for r in _results("forward") if not r["point"].endswith(")")]
    if not results:
        return
    jobs = list(dict.fromkeys(r["series"] for r in results))
    devices = list(dict.fromkeys(r["point"] for r in results))
    ns = {(r["series"], r["point"]): r["median"] for r in results}
    text = "set style data histograms\nset style histogram clustered gap 1\nset style fill solid 0.8\nset logscale y\n"
    text += "set ylabel 'ns of CPU a packet, bare redirect subtracted'\nset xtics rotate by -15\n$d << EOD\n"
    for j in jobs:
        text += f'"{j}" ' + " ".join(str(max(ns[(j, d)], 1)) if (j, d) in ns else "NaN" for d in devices) + "\n"
    text += "EOD\nplot " + ", ".join(f"$d using {i + 2}:xtic(1) title '{d}'" for i, d in enumerate(devices)) + "\n"
    _gnuplot("forward", text)


def tcp():
    """Ratios to the kernel's own forwarding, per quantity."""
    samples = {(r["series"], r["point"]): r["samples"] for r in _results("tcp")}
    series = list(dict.fromkeys(s for s, _ in samples))
    if not series:
        return
    text = "set style data histograms\nset style fill solid 0.8\nset yrange [0:*]\nset ylabel 'sluice : kernel'\nset xtics rotate by -30\nunset key\n$d << EOD\n"
    for s in series:
        ratio = kit.ratio(samples[(s, "sluice")], samples[(s, "bridge, ip_forward")])
        text += f'"{s.replace("container to ", "to ").replace("request and response", "latency")}" {ratio}\n'
    _gnuplot("tcp", text + "EOD\nplot $d using 2:xtic(1), 1 with lines lc rgb '#888888'\n")


PLOTS = {"datapath": by_flows, "forward": beside_others, "tcp": tcp}


def run(parts):
    """Of what has been measured."""
    for part in parts:
        if part in PLOTS:
            PLOTS[part]()
