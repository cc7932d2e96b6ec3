"""doc.py: the tables of docs/performance.md from build/bench/*.json: `python3 bench/doc.py` after `make bench`.

Between `<!-- bench:PART -->` and `<!-- /bench -->` everything is replaced; a part that was not measured keeps its table.
"""
import json
import os
import re
import sys

import goals
import kit

DOC = os.path.join(kit.ROOT, "docs", "performance.md")


def _cell(result):
    return f"{kit.round_up(result['median'])} ±{kit.round_up(result['spread'])}" if result else ""


def _table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows])


def _pivot(results, corner, transposed=False):
    """Series down, points across; or the other way round."""
    key = (lambda r: (r["point"], r["series"])) if transposed else (lambda r: (r["series"], r["point"]))
    cells = {key(r): r for r in results}
    down, across = (list(dict.fromkeys(k[i] for k in cells)) for i in (0, 1))
    if not transposed:
        across.sort(key=lambda point: int(re.sub(r"\D", "", point) or 0))
    return _table([corner, *across], [[d, *(_cell(cells.get((d, a))) for a in across)] for d in down])


def _datapath(data):
    results = [r for r in data["results"] if r["series"] not in ("generator", "verified instructions")]
    random = [r for r in results if "random" in r["point"]]
    by_count = [dict(r, point="1" if r["point"] == "1 flows" else r["point"]) for r in results if r not in random]
    return "\n\n".join((_pivot(by_count, "ns, by flows or destinations"), _pivot(random, "ns")))


def _goals(parts):
    """Of all parts that were measured."""
    return _table(goals.TABLE, [list(map(str, row)) for data in parts for row in data["facts"].get("goals", [])])


def _forward(data):
    return _pivot([r for r in data["results"] if not r["point"].endswith(")")], "ns of CPU", transposed=True)


def _tcp(data):
    cells = {(r["series"], r["point"]): r for r in data["results"]}
    names = list(dict.fromkeys(p for _, p in cells))
    rows = []
    for series in dict.fromkeys(s for s, _ in cells):
        pair = [cells[(series, n)] for n in names]
        rows.append([series, pair[0]["unit"], *map(_cell, pair), f"{kit.ratio(*(r['samples'] for r in pair)):.2f}"])
    return _table(["what", "unit", *names, "ratio"], rows)


def _tables(data):
    memory = [[n, f"{m['entries']:,}", f"{m['bytes'] / 2**20:.1f}", f"{m['bytes_per_entry']:.0f}"] for n, m in data["facts"].get("memory", {}).items()]
    return "\n\n".join((_table(["table", "entries", "MiB", "bytes an entry"], memory), _list(data),
                        "```\n" + "\n".join(data["facts"].get("fib", [])) + "\n```"))  # fmt: skip


def _list(data):
    return _table(["what", "", "median", "unit"], [[r["series"], r["point"], _cell(r), r["unit"]] for r in data["results"]])


def _flows(data):
    """By the programs alone; through namespaces, the last of the devices being the one to compare with."""
    names = data["facts"].get("devices", [])
    alone = dict(data, results=[r for r in data["results"] if r["point"] not in names and r["series"] != "generator"])
    cells = {(r["series"], r["point"]): r for r in data["results"] if r["point"] in names}
    rows = []
    for series in dict.fromkeys(s for s, _ in cells):
        row = [cells[(series, n)] for n in names]
        rows.append([series, row[0]["unit"], *map(_cell, row), *(f"{row[-1]['median'] / r['median']:.1f}" for r in row[:-1])])
    ratios = [f"nftables ÷ {n}" for n in names[:-1]]
    return _list(alone) + ("\n\n" + _table(["through namespaces", "unit", *names, *ratios], rows) if rows else "")


def _change(data):
    lost = {r["series"]: r for r in data["results"] if r["point"] == "lost"}
    sent = {r["series"]: r for r in data["results"] if r["point"] == "sent"}
    return _table(["change", "sent", "lost at most"], [[s, _cell(sent[s]), f"{max(r['samples']):,}"] for s, r in lost.items()])


def _cost(data):
    """The programs by hook; through namespaces by device, without the bare redirect of the same job."""
    n = {r["series"]: r["median"] for r in data["results"]}
    cases = list(dict.fromkeys(i.split("-", 1)[1] for i in n if i.startswith(("xdp-", "tc-"))))
    cells = [[c, *(f"{n[f'{hook}-{c}']:,.0f}" if f"{hook}-{c}" in n else "" for hook in ("xdp", "tc"))] for c in cases]
    got = _table(["instructions a packet", "XDP", "tc"], cells)
    ends = ("bare-redirect", "sluice-xdp", "sluice-tc", "linux-bridge", "ip-forward", "nftables-masquerade", "nftables-masquerade-flowtable")
    tcp = list(dict.fromkeys(i.split("-")[1] for i in n if i.startswith("tcp-")))
    if tcp:
        sides = [[n.get(f"tcp-{t}-{side}", 0) for side in ("sluice", "linux-bridge")] for t in tcp]
        cells = [[t, *(f"{x:,.0f}" for x in pair), f"{pair[0] / pair[1]:.2f}" if all(pair) else ""] for t, pair in zip(tcp, sides)]
        got += "\n\n" + _table(["TCP between containers", "sluice", "Linux bridge", "ratio"], cells)
    kinds = [i.removesuffix("-bare-redirect") for i in n if i.endswith("-bare-redirect")]
    if not kinds:
        return got
    rows = [[e, *(f"{n[f'{k}-{e}'] - n[f'{k}-bare-redirect']:,.0f}" if f"{k}-{e}" in n else "" for k in kinds)] for e in ends[1:]]
    return got + "\n\n" + _table(["without the bare redirect", *(k.removeprefix("line-") for k in kinds)], rows)


def _about(data):
    m, made_of = data["machine"], data["facts"].get("made_of")
    if made_of:
        return f"Commit {m['commit']}; in the virtual machine Linux {made_of['kernel']}, programs by clang {made_of['clang']}; qemu {made_of['qemu']}."
    return f"Commit {m['commit']}, Linux {m['kernel']}, {m['cpus']} × {m['cpu']}, load {m['load'][0]:.1f}."


SECTIONS = {"datapath": _datapath, "flows": _flows, "ageing": _list, "forward": _forward, "tcp": _tcp, "tables": _tables, "change": _change, "cost": _cost}


def _measured(part):
    """What a part has written; None: it was not measured."""
    path = os.path.join(kit.OUT, part + ".json")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as f:
        data = json.load(f)
    return data if data["results"] else None


def _put(text, part, body):
    made = f"<!-- bench:{part} -->\n{body}\n<!-- /bench -->"
    text, n = re.subn(rf"<!-- bench:{part} -->.*?<!-- /bench -->", lambda _: made, text, flags=re.S)
    if n != 1:
        sys.exit(f"{DOC}: no place for {part}")
    return text


def main():
    with open(DOC, encoding="utf-8") as f:
        text = f.read()
    measured = {part: data for part in SECTIONS if (data := _measured(part))}
    for part, data in measured.items():
        text = _put(text, part, f"{_about(data)}\n\n{SECTIONS[part](data)}")
    text = _put(text, "goals", _goals(measured.values()))
    with open(DOC, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()
