#!/usr/bin/env bash
# run.sh: the fuzz harnesses of this folder by libFuzzer, with the address and undefined-behaviour sanitizers; FUZZ_S seconds each.
#
# What is found stays in B/fuzz/NAME-crash-*: `B/fuzz/NAME FILE` shows it again. Interesting inputs are kept in B/fuzz/NAME.corpus.
set -euo pipefail
cd "$(dirname "$0")/../.."
B=${B:-build}
CLANG=${CLANG:-clang-19}
FUZZ_S=${FUZZ_S:-60}
out=$B/fuzz
mkdir -p "$out"

declare -A sources=(
	[model]='user/err.c user/text.c user/parse.c user/globs.c user/model*.c -lyaml -ljansson'
	[flow_file]='user/err.c user/text.c user/flow_file.c -ljansson'
	[flow_filter]='user/err.c user/text.c user/flow_filter*.c user/flow_state.c'
)

seeds() { # 1: harness; 2: where to
	case $1 in
	model) cp examples/*.yaml "$2" ;;
	flow_file) cp tests/fuzz/seeds/flows.jsonl "$2" ;;
	flow_filter) grep -o '{"[^"]*", [tf]' tests/unit/flow_filter_test.c | cut -d'"' -f2 | split -l 1 - "$2/seed-" ;;
	esac
}

failed=()
for name in model flow_file flow_filter; do
	corpus=$out/$name.corpus
	mkdir -p "$corpus"
	seeds "$name" "$corpus"
	# shellcheck disable=SC2086 # a list of files and libraries
	"$CLANG" -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -std=gnu11 -Iinclude -Iuser "tests/fuzz/${name}_fuzz.c" \
		${sources[$name]} -o "$out/$name"
	log=$out/$name.log
	if "$out/$name" -max_total_time="$FUZZ_S" -artifact_prefix="$out/$name-" "$corpus" >"$log" 2>&1; then
		echo "fuzz: $name: $(tail -1 "$log")"
	else
		tail -40 "$log"
		failed+=("$name")
	fi
done
[ ${#failed[@]} -eq 0 ] || { echo "fuzz: FAILED: ${failed[*]}" && exit 1; }
