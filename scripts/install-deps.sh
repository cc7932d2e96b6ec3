#!/usr/bin/env bash
# install-deps.sh [build] [run] [test] [lint] [fuzz] [kernels] [bench]: installs what this machine lacks for that.
#
# Stands between the Makefile and the distribution's package manager. Every need is tested first (a program that runs, a
# library that pkg-config knows, a Python module); apt is asked only when something is missing, so a second run costs
# nothing, needs no root and no network. Knows Debian 12 and 13 and Ubuntu 24.04. Without arguments: all groups but `fuzz`,
# `kernels` and `bench`.
set -euo pipefail

groups=("$@")
[ ${#groups[@]} -gt 0 ] || groups=(build run test lint)
PATH=$PATH:/usr/sbin:/sbin
python=/usr/bin/python3

die() {
	printf 'install-deps: %s\n' "$*" >&2
	exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Ubuntu's /usr/sbin/bpftool is a wrapper that only runs when the tools of the very kernel are there.
have_bpftool() {
	local t
	for t in /usr/lib/linux-tools/*/bpftool /usr/lib/linux-tools-*/bpftool bpftool; do
		"$t" version >/dev/null 2>&1 && return 0
	done
	return 1
}

have_versioned() {
	local v
	for v in 19 21 20 18 17 16; do
		have "$1-$v" && return 0
	done
	return 1
}

# libFuzzer comes in a package beside the compiler.
have_fuzzer() {
	local v
	for v in 19 21 20 18 17 16; do
		have "clang-$v" || continue
		echo 'int LLVMFuzzerTestOneInput(const char *p, long n) { return 0; }' |
			"clang-$v" -fsanitize=fuzzer -x c - -o /dev/null 2>/dev/null
		return
	done
	return 1
}

# One line per need: group, how to test for it, its packages on Debian, on Ubuntu ("=": the same; "@clang", "@rt": of newest_clang).
needs() {
	cat <<-'END'
	build cmd:gcc              gcc                   =
	build file:/usr/include/stdio.h libc6-dev        =
	build cmd:make             make                  =
	build cmd:pkg-config       pkg-config            =
	build versioned:clang      @clang                =
	build bpftool              bpftool               linux-tools-common,linux-tools-generic
	build pc:libbpf            libbpf-dev            =
	build pc:libelf            libelf-dev            =
	build pc:zlib              zlib1g-dev            =
	build pc:libevent          libevent-dev          =
	build pc:libmnl            libmnl-dev            =
	build pc:yaml-0.1          libyaml-dev           =
	build pc:jansson           libjansson-dev        =
	build pc:libcurl           libcurl4-openssl-dev  =
	build pc:libcap            libcap-dev            =
	build pc:libsystemd        libsystemd-dev        =
	build cmd:scdoc            scdoc                 =
	run   cmd:ip               iproute2              =
	run   cmd:nsenter          util-linux            =
	run   cmd:ping             iputils-ping          =
	run   cmd:traceroute       traceroute            =
	test  cmd:tracepath        iputils-tracepath     =
	test  cmd:mtr              mtr-tiny              =
	run   cmd:ethtool          ethtool               =
	run   cmd:iperf3           iperf3                =
	run   cmd:nft              nftables              =
	run   cmd:curl             curl                  =
	run   file:/usr/bin/python3 python3              =
	test  pc:cmocka            libcmocka-dev         =
	test  cmd:tcpdump          tcpdump               =
	test  file:/usr/lib/frr/bgpd frr               =
	test  cmd:vtysh            frr                   =
	test  cmd:bird             bird2                 =
	test  py:pytest            python3-pytest        =
	test  py:xdist             python3-pytest-xdist  =
	test  py:scapy             python3-scapy         =
	test  py:yaml              python3-yaml          =
	bench cmd:gnuplot          gnuplot-nox           =
	bench cmd:conntrack        conntrack             =
	bench cmd:ovs-vswitchd     openvswitch-switch    =
	lint  versioned:clang-format @clang-format       =
	lint  cmd:shellcheck       shellcheck            =
	lint  py:pyflakes          python3-pyflakes      =
	fuzz  fuzzer               @rt                   =
	kernels cmd:qemu-system-x86_64 qemu-system-x86   =
	kernels file:/usr/lib/qemu/virtiofsd qemu-system-common virtiofsd
	kernels cmd:busybox        busybox-static        =
	kernels cmd:modprobe       kmod                  =
	kernels cmd:cpio           cpio                  =
	kernels cmd:zstd           zstd                  =
	kernels cmd:xz             xz-utils              =
	END
}

present() {
	case $1 in
	cmd:*) have "${1#cmd:}" ;;
	file:*) [ -e "${1#file:}" ] ;;
	pc:*) have pkg-config && pkg-config --exists "${1#pc:}" ;;
	py:*) "$python" -c "import ${1#py:}" >/dev/null 2>&1 ;;
	versioned:*) have_versioned "${1#versioned:}" ;;
	bpftool) have_bpftool ;;
	fuzzer) have_fuzzer ;;
	*) die "no test for '$1'" ;;
	esac
}

distribution() {
	[ -r /etc/os-release ] || return 0
	# shellcheck disable=SC1091
	(. /etc/os-release && echo "${ID:-} ${ID_LIKE:-}")
}

missing() { # 1: "debian" or "ubuntu"; prints the packages of all needs that are not met
	local group test debian ubuntu
	needs | while read -r group test debian ubuntu; do
		case " ${groups[*]} " in *" $group "*) ;; *) continue ;; esac
		present "$test" && continue
		[ "$1" = ubuntu ] && [ "$ubuntu" != = ] && debian=$ubuntu
		printf '%s\n' "${debian//,/$'\n'}"
	done
}

newest_clang() { # 1: "clang" or "clang-format": 19 where there is one, else the newest that apt knows
	local v
	for v in 19 21 20 18 17 16; do
		if apt-cache show "$1-$v" >/dev/null 2>&1; then
			echo "$1-$v"
			return
		fi
	done
	die "this distribution has no $1 between 16 and 21: install one and put it on PATH"
}

for g in "${groups[@]}"; do
	case $g in build | run | test | lint | fuzz | kernels | bench) ;; *) die "unknown group '$g': build, run, test, lint, fuzz, kernels, bench" ;; esac
done

family=debian
case " $(distribution) " in *' ubuntu '*) family=ubuntu ;; esac
list=$(missing "$family")
if [ -z "$list" ]; then
	exit 0
fi
# shellcheck disable=SC2086
set -- $list
case " $(distribution) " in
*' debian '* | *' ubuntu '*) ;;
*) die "this is neither Debian nor Ubuntu: please install what these Debian packages hold: $*" ;;
esac
if [ "$(id -u)" -ne 0 ]; then
	die "missing: $*
install-deps: to install them root is needed: run 'sudo $0 ${groups[*]}' (or 'sudo make deps'), then try again"
fi

echo "install-deps: missing: $*"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || echo "install-deps: apt-get update failed: trying with the package lists at hand" >&2
packages=()
for p in "$@"; do
	case $p in
	@rt) p=lib$(newest_clang clang) p=${p/clang/clang-rt}-dev ;;
	@*) p=$(newest_clang "${p#@}") ;;
	esac
	packages+=("$p")
done
apt-get install -y -qq --no-install-recommends "${packages[@]}" ||
	die "apt-get could not install: ${packages[*]}"
left=$(missing "$family")
[ -z "$left" ] || die "installed, but still not usable: $(echo "$left" | tr '\n' ' ')"
echo "install-deps: all there"
