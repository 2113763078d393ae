#!/bin/sh
# SPDX-License-Identifier: MIT
# Make the default guest: Debian's cloud kernel and an initramfs around vmmu-guest.
#
#   default-guest.sh PARTS OUT
#
# PARTS holds `init` and `vmmu-guest`; OUT gets `vmlinuz` and `initrd.cpio`. What is there already
# and newer than its parts is kept, so a second call does nothing and needs no network. No root is
# needed: the Debian packages are downloaded and unpacked, not installed.
set -eu

parts=$1
out=$2
release=bookworm

say() {
	echo "vmmu: $*" >&2
}

fail() {
	say "$*"
	exit 1
}

# The network may be slow, but never silent for ever.
apt_options="-oAcquire::Retries=3 -oAcquire::http::Timeout=60 -oAcquire::https::Timeout=60"
[ "$(id -u)" -ne 0 ] || apt_options="$apt_options -oAPT::Sandbox::User=root"

# Use the package lists of the machine; without them make private ones below OUT.
find_lists() {
	if apt-cache $apt_options show busybox-static >/dev/null 2>&1 &&
		apt-cache $apt_options show linux-image-cloud-amd64 >/dev/null 2>&1; then
		return
	fi
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
	apt_options="$apt_options -oDir::State::Lists=$work/lists -oDir::Cache=$work/cache"
	say "fetching Debian's package lists"
	apt-get $apt_options -qq update >&2 ||
		fail "the package lists could not be fetched; is there a network?"
}

# fetch PACKAGE: unpack it into $work/PACKAGE
fetch() {
	mkdir -p "$work/$1" "$work/deb"
	(cd "$work/deb" && apt-get $apt_options -qq download "$1" >&2) ||
		fail "the Debian package $1 could not be downloaded; is there a network, and $release in the package sources?"
	dpkg -x "$work"/deb/"$1"_*.deb "$work/$1"
}

make_kernel() {
	[ -s "$out/vmlinuz" ] && return
	start_work
	package=$(apt-cache $apt_options depends linux-image-cloud-amd64 |
		sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
	[ -n "$package" ] || fail "Debian's linux-image-cloud-amd64 names no kernel package"
	say "downloading the guest kernel: $package"
	fetch "$package"
	cp "$work/$package"/boot/vmlinuz-* "$work/vmlinuz"
	echo "$package" >"$out/vmlinuz.package"
	mv "$work/vmlinuz" "$out/vmlinuz"
}

make_busybox() {
	[ -s "$out/busybox" ] && return
	start_work
	say "downloading busybox-static for the guest"
	fetch busybox-static
	mv "$work/busybox-static/bin/busybox" "$out/busybox"
}

is_newer_than_parts() {
	[ -s "$1" ] || return 1
	for part in "$parts/init" "$parts/vmmu-guest" "$out/busybox"; do
		[ ! "$part" -nt "$1" ] || return 1
	done
}

make_initrd() {
	is_newer_than_parts "$out/initrd.cpio" && return
	start_work
	say "packing the guest's initramfs"
	root=$work/root
	mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp"
	cp "$parts/init" "$root/init"
	cp "$parts/vmmu-guest" "$root/bin/vmmu-guest"
	cp "$out/busybox" "$root/bin/busybox"
	chmod 755 "$root/init" "$root/bin/vmmu-guest" "$root/bin/busybox"
	(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 --reproducible) >"$work/initrd.cpio"
	mv "$work/initrd.cpio" "$out/initrd.cpio"
}

# A folder for half-done things, so that an interrupted call leaves nothing that looks finished.
start_work() {
	[ -z "$work" ] || return 0
	work=$(mktemp -d "$out/unfinished.XXXXXX")
	[ -s "$out/vmlinuz" ] && [ -s "$out/busybox" ] || find_lists
}

for part in "$parts/init" "$parts/vmmu-guest"; do
	[ -s "$part" ] || fail "$part is missing; build the project first"
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=
trap 'status=$?; [ -z "$work" ] || rm -rf "$work"; exit $status' EXIT
trap 'exit 130' INT TERM HUP
exec 9>"$out/lock"
flock 9
make_kernel
make_busybox
make_initrd
