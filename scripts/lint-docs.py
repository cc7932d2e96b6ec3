#!/usr/bin/python3
"""lint-docs.py: what the documents say there is, is there.

docs/nat-conformance.md: each requirement of the four RFCs stands in its table exactly once, with a test that exists, or words why it
has none; whatever else the page names as a test exists as well. Manual pages: every command of `sluice --help` has its place in
sluice(8), with each of its words, and the page has no words there that the command does not know; every option of `sluice` and
`sluiced` stands in theirs.

B=build: where the programs are. Prints every offence; exits 1 when there was one.
"""
import glob
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, os.environ.get("B", "build"))
PAGE = "docs/nat-conformance.md"
REQUIREMENTS = {"RFC 4787": range(1, 15), "RFC 5382": range(1, 11), "RFC 5508": range(1, 12), "RFC 6888": range(1, 16)}
bad = []


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def sources(pattern):
    return "\n".join(read(os.path.relpath(p, ROOT)) for p in sorted(glob.glob(os.path.join(ROOT, pattern))))


def offence(where, what):
    bad.append(f"{where}: {what}")


# ---- conformance

class Tests:
    """What tests there are: functions, and rows of tests/prog by their titles."""

    def __init__(self):
        self.text = sources("tests/*/test_*.py") + sources("tests/prog/*.py") + sources("tests/unit/*_test.c")
        self.functions = set(re.findall(r"^def (?:test_)?(\w+)", self.text, re.M)) | set(re.findall(r"^static void (\w+)\(", self.text, re.M))
        self.not_tests = set(re.findall(r'"(\w+)"', read("include/sluice/drop.h") + read("include/sluice/abi.h")))

    def file(self, kind, name):
        return next((p for p in (f"tests/{kind}/{name}.py", f"tests/{kind}/{name}.c", f"tests/{kind}/{name}_test.c")
                     if os.path.exists(os.path.join(ROOT, p))), None)

    def knows(self, words):
        """A function, or a row's title; `…` stands for anything."""
        if re.fullmatch(r"[a-z0-9_…]+", words):
            return any(re.fullmatch(words.replace("…", r"\w*"), f) for f in self.functions)
        return re.search(r"[^\n]{0,120}".join(re.escape(w.strip()) for w in words.split("…")), self.text)


def named_as_test(words):
    """Is it meant as a test? Keys of the configuration and drop reasons stand in the same quotes."""
    return re.fullmatch(r"[a-z0-9]+(_[a-z0-9…]*)+", words) or re.match(r"RFC |REQ-|SNAT|DNAT|static: |error |reply |… ", words)


def check_names(tests, n, line):
    """How many tests the line names."""
    count, where = 0, f"{PAGE}:{n}"
    for kind, name in re.findall(r"(?<![\w`])(?:tests/)?(prog|net|unit)/(\w+)", line):
        count += 1
        if not tests.file(kind, name):
            offence(where, f"there is no {kind}/{name}")
    for words in re.findall(r"`([^`]+)`", line):
        if not named_as_test(words) or words in tests.not_tests:
            continue
        count += 1
        if not tests.knows(words):
            offence(where, f"there is no test `{words}`")
    # `a`, `b` behind a file's name are that file's.
    for kind, name, names in re.findall(r"(?<![\w`])(prog|net|unit)/(\w+): ((?:`[a-z0-9_…]+`(?:, | and )?)+)", line):
        text = read(tests.file(kind, name)) if tests.file(kind, name) else ""
        for words in re.findall(r"`([^`]+)`", names):
            if "_" in words and not re.search(rf"\b(?:test_)?{words.replace('…', '[a-z0-9_]*')}\(", text):
                offence(where, f"`{words}` is not in {kind}/{name}")
    return count


def check_conformance():
    tests, section, seen = Tests(), None, {}
    for n, line in enumerate(read(PAGE).split("\n"), 1):
        if line.startswith("## "):
            section = re.match(r"## (?:(RFC \d+))?", line)[1]
        named = check_names(tests, n, line)
        cells = [c.strip() for c in line.strip("|").split("|")] if line.startswith("| ") else []
        if section not in REQUIREMENTS or len(cells) != 3 or cells[0] in ("REQ", ""):
            continue
        m = re.match(r"(\d+)(,? [a-z](?=[, ]))?", cells[0])
        if not m:
            offence(f"{PAGE}:{n}", "a row begins with the requirement's number")
            continue
        if not m[2]:
            seen.setdefault((section, int(m[1])), []).append(n)
        if cells[1] not in ("Yes", "By rule", "In part", "No"):
            offence(f"{PAGE}:{n}", f"'{cells[1]}' is not Yes, By rule, In part or No")
        if not cells[2] or (cells[1] == "By rule" and not named):
            offence(f"{PAGE}:{n}", "neither a test nor a reason")
    for rfc, numbers in REQUIREMENTS.items():
        for number in numbers:
            lines = seen.pop((rfc, number), [])
            if len(lines) != 1:
                offence(PAGE, f"{rfc} REQ-{number} stands there {len(lines)} times: {lines}")
    for rfc, number in seen:
        offence(PAGE, f"{rfc} has no REQ-{number}")


# ---- manual pages

def usage(program, *words):
    return subprocess.run([f"{BUILD}/{program}", *words, "--help"], capture_output=True, text=True, check=True).stdout


def man_commands():
    """command: its synopses in sluice(8). `*a*|*b*` are alternatives."""
    found = {}
    for line in read("docs/man/sluice.8.scd").split("\n"):
        if not line.startswith("*sluice "):
            continue
        head = line[1:].split("*")[0].split()[1:]
        rest = line[1 + len(line[1:].split("*")[0]):]
        verbs = [head[-1], *re.match(r"\*((?:\|\*\w+\*)*)", rest)[1].replace("|", "").strip("*").split("**")] if head else []
        for verb in filter(None, verbs):
            found.setdefault(" ".join([*head[:-1], verb]), []).append(line)
    return found


def synopsis_words(lines):
    """Keys, choices and values of these synopses, each by itself."""
    return {word for line in lines for part in re.findall(r"\*([^*]+)\*|_([^_]+)_", re.sub(r"^\*sluice [^*]*\*(\|\*\w+\*)*", "", line))
            for word in re.findall(r"[\w.-]+", part[0] or part[1])}


def check_man():
    page, synopses, of_all = read("docs/man/sluice.8.scd"), man_commands(), set()
    text = usage("sluice")
    commands = [c.strip() for c in re.findall(r"^  ([a-z][a-z ]*?)  +\S", text, re.M)]
    for name, program, said in (("sluice", "sluice", page), ("sluiced", "sluiced", read("docs/man/sluiced.8.scd"))):
        for option in re.findall(r"(?<![\w-])--?[a-z][\w-]*", re.sub(r"^(usage|      ).*", "", usage(program), flags=re.M)):
            if option not in re.findall(r"--?[a-z][\w-]*", said.replace("\\", "")):
                offence(f"docs/man/{name}.8.scd", f"{option} of `{program} --help` is missing")
    for option in re.findall(r"^\*(--[\w-]+)\*", page, re.M):
        of_all.add(option)
    for command in commands:
        lines = synopses.get(command)
        if not lines:
            offence("docs/man/sluice.8.scd", f"`sluice {command}` is missing")
            continue
        said = usage("sluice", *command.split())
        for word in synopsis_words(lines):
            if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", said):
                offence("docs/man/sluice.8.scd", f"`sluice {command}`: its --help has no {word}")
        for key in re.findall(r"^  ((?:--)?[a-z][\w-]*)", said, re.M):
            if key not in of_all and not any(re.search(rf"(?<![\w-]){key}(?![\w-])", line) for line in lines):
                offence("docs/man/sluice.8.scd", f"`sluice {command}`: its {key} is missing")


check_conformance()
check_man()
print("\n".join(bad), file=sys.stderr, end="\n" if bad else "")
sys.exit(1 if bad else 0)
