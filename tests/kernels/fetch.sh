#!/usr/bin/env bash
# fetch.sh SERIES: Debian's cloud kernel of a release series (6.1) unpacked into build/kernels/SERIES, once.
set -euo pipefail
cd "$(dirname "$0")/../.."

dir=build/kernels/$1
[ ! -d "$dir/boot" ] || exit 0
# The newest package of the series that apt knows.
package=$(apt-cache pkgnames linux-image- | grep -E "^linux-image-${1//./\\.}[.][0-9]+(-[0-9]+|[+]deb[0-9]+)-cloud-amd64\$" | sort -V | tail -n 1 || true)
if [ -z "$package" ]; then
	echo "no cloud kernel $1 in the package lists: run 'apt-get update', and add backports for a newer series" >&2
	exit 1
fi
mkdir -p "$dir.part"
(cd "$dir.part" && apt-get download -q "$package" >/dev/null && dpkg-deb -x "$package"_*.deb . && rm -f ./*.deb)
mv "$dir.part" "$dir"
