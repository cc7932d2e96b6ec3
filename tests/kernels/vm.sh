#!/usr/bin/env bash
# vm.sh KERNEL_DIR COMMAND: boots an unpacked Debian kernel package under qemu (no KVM needed), with this machine's file system as
# root (read-only by virtiofs, with a writable layer that is thrown away), runs COMMAND in the current directory, prints its output and
# returns its status; 125: there was no result. Environment: VM_SECONDS (300), VM_MEMORY in MiB (2048).
set -uo pipefail

kernel_dir=$1 command=$2
image=$(find "$kernel_dir/boot" -name 'vmlinuz-*' | head -n 1)
version=${image##*/vmlinuz-}
modules=$(readlink -f "$kernel_dir")/lib/modules/$version
memory=${VM_MEMORY:-2048}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/sluice-vm.XXXXXX")
server=
trap 'kill $server 2>/dev/null; rm -rf "$work"' EXIT

[ -f "$modules/modules.dep" ] || depmod -b "$kernel_dir" "$version"

# The initial RAM disk: busybox, the modules that the root needs, and a script that builds the root and goes there.
make_initrd() {
	local root=$work/initrd n=10 file
	mkdir -p "$root"/{bin,proc,sys,dev,host,rw,new,modules}
	cp /bin/busybox "$root/bin/"
	for m in virtio_pci virtiofs overlay; do
		modprobe -d "$kernel_dir" -S "$version" --show-depends "$m" 2>/dev/null
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' >"$work/modules"
	while read -r file; do
		case $file in
		*.xz) xz -dc "$file" >"$root/modules/$n.ko" ;;
		*.zst) zstd -qdc "$file" >"$root/modules/$n.ko" ;;
		*) cp "$file" "$root/modules/$n.ko" ;;
		esac
		n=$((n + 1))
	done <"$work/modules"
	cat >"$root/init" <<-'INIT'
		#!/bin/busybox sh
		b=/bin/busybox
		$b mount -t proc p /proc; $b mount -t sysfs s /sys; $b mount -t devtmpfs d /dev
		for m in /modules/*.ko; do $b insmod $m; done
		$b mount -t virtiofs -o ro host /host || $b poweroff -f
		$b mount -t tmpfs t /rw; $b mkdir /rw/up /rw/work
		$b mount -t overlay -o lowerdir=/host,upperdir=/rw/up,workdir=/rw/work o /new || $b poweroff -f
		for v in $($b cat /proc/cmdline); do case $v in vm_*) eval "$v" ;; esac; done
		for d in proc sys dev; do $b mount --move /$d /new/$d; done
		$b mount -t tmpfs t /new/run; $b mkdir -p /new/run/netns /new/dev/shm; $b mount -t tmpfs t /new/dev/shm
		$b mkdir -p /new/lib/modules/$($b uname -r)
		$b mount --bind /host$vm_modules /new/lib/modules/$($b uname -r)
		exec $b switch_root /new /bin/bash $vm_work/run
	INIT
	chmod +x "$root/init"
	(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd.gz"
}

make_initrd
cat >"$work/run" <<RUN
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
mount -t tracefs t /sys/kernel/tracing 2>/dev/null
mount -t cgroup2 c /sys/fs/cgroup 2>/dev/null
ip link set lo up
for m in veth vrf sch_ingress cls_bpf tun bridge nf_tables nft_chain_nat nft_masq; do modprobe \$m 2>/dev/null; done
cd '$PWD' || exit
( $command ) >/dev/ttyS1 2>&1
echo "status \$?" >/dev/ttyS2
echo o >/proc/sysrq-trigger
sleep 5
RUN

/usr/lib/qemu/virtiofsd --socket-path="$work/fs" -o source=/ -o cache=always -o sandbox=chroot --rlimit-nofile=20000 >"$work/fs.log" 2>&1 &
server=$!
for _ in $(seq 100); do
	[ -S "$work/fs" ] && break
	sleep 0.05
done
timeout "${VM_SECONDS:-300}" qemu-system-x86_64 -nodefaults -no-user-config -machine q35 -accel tcg,thread=multi -cpu max,-cx16 -smp 2 \
	-m "$memory" -object "memory-backend-memfd,id=m,size=${memory}M,share=on" -numa node,memdev=m \
	-chardev "socket,id=c,path=$work/fs" -device vhost-user-fs-pci,chardev=c,tag=host,queue-size=1024 \
	-kernel "$image" -initrd "$work/initrd.gz" \
	-append "console=ttyS0 quiet panic=-1 mitigations=off vm_modules=$modules vm_work=$work" \
	-display none -no-reboot -serial "file:$work/console" -serial "file:$work/out" -serial "file:$work/status" >"$work/qemu.log" 2>&1
tr -d '\r' <"$work/out"
status=$(tr -d '\r' <"$work/status" | sed -n 's/^status //p')
if [ -n "$status" ]; then
	exit "$status"
fi
echo "vm.sh: $version gave no result in ${VM_SECONDS:-300} s; the end of its console:" >&2
tail -n 20 "$work/console" "$work/qemu.log" >&2
exit 125
