#!/usr/bin/env bash
# lint-includes.sh: who may include whom. The rules are those of docs/architecture.md ("The house rules"); this holds them.
#
# Prints every offence as file:line and the rule it breaks; exits 1 when there was one.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/.."

bad=0
offence() { # 1: rule; stdin: file:line:text
	local line
	while IFS= read -r line; do
		printf '%s\n    rule: %s\n' "$line" "$1" >&2
		bad=1
	done
}
# grep that takes "no match" and "no file" for an answer.
search() { grep -nHE "$@" /dev/null 2>/dev/null || true; }

# ---- include/: layouts only
offence "include/ has no maps and no logic: only types, constants and tables of names" < <(
	search 'SEC\(|__uint\(|__type\(|\b(static|extern)\b.*\(.*\)|\b(return|if|for|while)\b *[(;]' include/sluice/*.h |
		grep -vE '^[^:]*:[0-9]+:[[:space:]]*(/?\*|.*/\*.*\b(return|if|for|while)\b)' | grep -v 'X(' || true)
offence "include/ includes nothing but <linux/types.h> and its own" < <(
	search '^#include' include/sluice/*.h | grep -vE '<linux/types\.h>|<sluice/|"[a-z]+\.h"' || true)

# ---- user/: libbpf stays behind datapath and table
# The datapath's parts are those that include datapath_priv.h.
mapfile -t datapath < <(grep -l '#include "datapath_priv.h"' user/*.c /dev/null || true)
datapath+=(user/datapath_priv.h user/datapath.c user/table.c)
offence "only datapath, its parts and table know libbpf and the skeletons" < <(
	search '#include *[<"](bpf/|.*\.skel\.h)' user/*.[ch] user/*/*.[ch] | grep -vFf <(printf '%s:\n' "${datapath[@]}") || true)
offence "a header of user/ that others include takes no kernel header: those stay with who speaks to the kernel" < <(
	search '#include *<(linux|asm)/' user/*.h user/*/*.h | grep -vE '<linux/types\.h>|^user/[a-z]+_(priv|impl)\.h:' || true)
offence "user/ does not include the data plane" < <(search '#include *"(\.\./)*bpf/' user/*.[ch] user/*/*.[ch])
offence "the CLI speaks to sluiced by its API alone" < <(
	search '#include *[<"](sw|datapath|table|mirror|netlink|commit)\.h' user/cli/*.[ch])

# ---- bpf/: a stage knows the packet and its own tables
stages='acl arp egress fdb flow fragment iface icmp mss nat neighbor port route tunnel urpf vlan'
# "stage>stage": the exceptions. Ports, VLANs, stations and interfaces are where a packet can go: what sends one needs them. A
# VLAN's rules stand in its port. The neighbour of a nexthop may be known to the nexthop. A flow pair is NAT's memory. A reverse path is a route.
allowed=' vlan>port egress>port egress>vlan egress>fdb egress>iface icmp>iface icmp>egress route>iface neighbor>iface neighbor>route
 urpf>iface urpf>route mss>iface mss>route nat>iface flow>iface flow>nat flow>port '
for s in $stages; do
	[ -f "bpf/$s.h" ] || continue
	for o in $stages; do
		[ "$s" = "$o" ] && continue
		case $allowed in *" $s>$o "* | *" $s>$o"$'\n'*) continue ;; esac
		offence "a stage includes no other stage: only pipeline.h knows them all" < <(search "#include *\"$o\\.h\"" "bpf/$s.h")
	done
done
offence "the data plane includes nothing of user/" < <(search '#include *"(\.\./)*user/' bpf/*.[ch])
offence "kernel headers of the data plane are UAPI ones, or vmlinux.h in an object of its own" < <(
	search '#include *<(net|sys|stdio|stdlib|string)' bpf/*.[ch])

# ---- docs/architecture.md has a line for every file of the product
unnamed() {
	local f n
	for f in include/sluice/*.h bpf/*.[ch] user/*.[ch] user/*/*.[ch]; do
		n=$(basename "$f")
		grep -qE "(^|[^a-z0-9_])${n%%.*}([^a-z0-9_]|$)" docs/architecture.md || printf '%s:1:\n' "$f"
	done
}
offence "docs/architecture.md has a line for every file" < <(unnamed)

# ---- everywhere
if git rev-parse --git-dir >/dev/null 2>&1; then
	mapfile -t files < <(git ls-files -co --exclude-standard | grep -v '^scripts/lint-includes\.sh$')
else
	mapfile -t files < <(find . -path ./build -prune -o -path ./build-san -prune -o -path ./.git -prune -o -type f -print | sed 's|^\./||' |
		grep -v '^scripts/lint-includes\.sh$')
fi
offence "no path of somebody's machine" < <(search '(^|[^A-Za-z0-9_.-])/(work|home|root|Users)/' "${files[@]}")
offence "no line of code that waits for later: do it or leave it" < <(search '\b(TODO|FIXME|XXX)\b' "${files[@]}" | grep -v '^docs/' || true)
offence "generated files are built, not committed" < <(
	printf '%s\n' "${files[@]}" | grep -E '\.skel\.h$|(^|/)vmlinux\.h$|\.o$' || true)

exit $bad
