#!/usr/bin/env bash
# run.sh [KERNEL...]: the data plane on other kernels than the one that runs here: programs are verified, attached (clsact where
# there is no tcx), and carry packets. KERNEL: a release series of Debian's cloud kernels, 6.1 and 6.12 unless named. Packages are
# fetched into build/kernels once.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit

kernels=("$@")
[ ${#kernels[@]} -gt 0 ] || kernels=(6.1 6.12)
tests=${KERNEL_TESTS:-tests/prog/test_verifier.py tests/prog/test_l2.py tests/prog/test_nat.py tests/net/test_vlan.py tests/net/vrf_device.py}

failed=0 passed=0
for k in "${kernels[@]}"; do
	echo "== kernel $k"
	tests/kernels/fetch.sh "$k" || { failed=$((failed + 1)); continue; }
	# About one boot in twenty under TCG ends early: 125, once more.
	for attempt in 1 2; do
		VM_SECONDS=${VM_SECONDS:-1500} bash tests/kernels/vm.sh "build/kernels/$k" \
			"uname -r; READY_S=300 /usr/bin/python3 -m pytest -q -p no:cacheprovider $tests 2>&1 | tail -n 40; exit \${PIPESTATUS[0]}"
		status=$?
		if [ "$status" -ne 125 ] || [ "$attempt" -eq 2 ]; then break; fi
	done
	if [ "$status" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "kernels: $passed passed, $failed failed"
[ $failed -eq 0 ]
