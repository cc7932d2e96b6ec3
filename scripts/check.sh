#!/usr/bin/env bash
# check.sh unit|prog|net …: runs the test suites and closes with what their runners said at the end.
#
# Stands between `make check` and the runners (cmocka for unit, pytest for prog and net). All suites run even when one
# fails. A suite that ran no test has failed. Exit code 0: all passed. B: the build directory, PYTHON: the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
B=${B:-build}
PYTHON=${PYTHON:-/usr/bin/python3}
export B
logs=$B/check
mkdir -p "$logs"

failed=()
closing=()

unit() {
	local t log line n=0
	for t in "$B"/tests/*_test; do
		[ -x "$t" ] || continue
		log=$logs/$(basename "$t").log
		echo "== unit: $(basename "$t")"
		timeout 300 "$t" >"$log" 2>&1 || failed+=("unit/$(basename "$t")")
		cat "$log"
		while read -r line; do
			closing+=("$line unit $(basename "$t")")
		done < <(grep -E '^\[  (PASSED|FAILED)  \] [0-9]+ test' "$log")
		grep -qE '^\[  PASSED  \] [1-9]' "$log" || failed+=("unit/$(basename "$t"): no test passed")
		n=$((n + 1))
	done
	[ "$n" -gt 0 ] || failed+=("unit: there is no test")
}

with_pytest() { # 1: suite; 2: what to call this run of it; from 3 on: pytest's arguments
	local suite=$1 name=$2 log=$logs/${2// /-}.log
	shift 2
	if [ "$(id -u)" -ne 0 ]; then
		failed+=("$name: needs root (sudo make check)")
		closing+=("$name: not run: needs root")
		return
	fi
	echo "== $name"
	timeout 1800 "$PYTHON" -m pytest -p no:cacheprovider -q --tb=short --durations=5 "$@" "tests/$suite" 2>&1 | tee "$log" || failed+=("$name")
	closing+=("$name:")
	mapfile -O ${#closing[@]} -t closing < <(grep -E '^(verified instructions|measured: )' "$log")
	closing+=("$(grep -E '(passed|failed|error|no tests ran).* in [0-9.]+s' "$log" | tail -1)")
}

for suite in "$@"; do
	case $suite in
	unit) unit ;;
	prog) with_pytest prog prog ;;
	net) # a third waits: three files at once on two CPUs; then, on a quiet machine, what judges how long something takes
		with_pytest net net -n 3 --dist loadfile -m 'not alone'
		with_pytest net 'net alone' -m alone
		;;
	*)
		echo "check: unknown suite '$suite': unit, prog, net" >&2
		exit 2
		;;
	esac
done
# What sudo built belongs to who asked for it.
if [ -n "${SUDO_UID:-}" ]; then
	chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$B"
fi

echo
echo "== what the runners said"
printf '%s\n' "${closing[@]}"
if [ ${#failed[@]} -gt 0 ]; then
	printf 'FAILED: %s\n' "${failed[@]}"
	exit 1
fi
