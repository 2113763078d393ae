#!/bin/sh
# SPDX-License-Identifier: MIT
# Make a guest of `vmmu run --guest NAME` from Debian packages.
#
#   guest.sh PARTS OUT [NAME]
#
# PARTS holds `init`, `vmmu-guest`, `vmmu-mediator` and `vmmu-guest-i386`; OUT gets what NAME
# (default: linux) boots:
#
#   linux, linux-la57, mediator
#                      vmlinuz, initrd.cpio             linux-image-cloud-amd64, busybox-static
#   linux-pae          vmlinuz-pae, initrd-i386.cpio    linux-image-686-pae, busybox-static (i386)
#   linux-i386         vmlinuz-i386, initrd-i386.cpio   linux-image-686, busybox-static (i386)
#   memtest            memtest.bin                      memtest86+
#   mach               gnumach.elf                      gnumach-image-1.8-486 (i386)
#
# What is there already and newer than its parts is kept, so a second call does nothing and needs no
# network. No root is needed: packages are downloaded and unpacked, not installed. Those for i386
# have package lists of their own in OUT; the system's architectures stay as they are.
set -eu

parts=$1
out=$2
name=${3:-linux}
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

# private_lists FOLDER [OPTION...]: fetch package lists into FOLDER and use them from now on.
private_lists() {
	mkdir -p "$1/lists/partial" "$1/cache/archives/partial"
	lists="-oDir::State::Lists=$1/lists -oDir::Cache=$1/cache"
	shift
	lists="$lists $*"
	say "fetching Debian's package lists${*:+ for i386}"
	# A list that is missing shows when its package is asked for.
	apt-get $apt_options $lists -qq update >&2 ||
		say "not every package list could be fetched"
}

# Use the package lists of the machine; without them, private ones.
lists_amd64() {
	[ -z "$listed_amd64" ] || return 0
	listed_amd64=yes
	for package in busybox-static linux-image-cloud-amd64 memtest86+; do
		apt-cache $apt_options show "$package" >/dev/null 2>&1 && continue
		private_lists "$work"
		options_amd64="$apt_options $lists"
		return
	done
	options_amd64=$apt_options
}

lists_i386() {
	[ -z "$listed_i386" ] || return 0
	listed_i386=yes
	private_lists "$out/apt-i386" -oAPT::Architecture=i386 -oAPT::Architectures=i386
	options_i386="$apt_options $lists"
}

# use ARCHITECTURE: set $options for apt.
use() {
	start_work
	"lists_$1"
	[ "$1" = i386 ] && options=$options_i386 || options=$options_amd64
}

# fetch ARCHITECTURE PACKAGE WHAT: unpack it into $work/unpacked
fetch() {
	use "$1"
	bytes=$(apt-cache $options show --no-all-versions "$2" 2>/dev/null |
		sed -n 's/^Size: //p' | head -n 1)
	say "downloading $3: $2${bytes:+, $((bytes / 1000000)) MB}"
	rm -rf "$work/unpacked" "$work/deb"
	mkdir -p "$work/unpacked" "$work/deb"
	(cd "$work/deb" && apt-get $options -qq download "$2" >&2) ||
		fail "the Debian package $2 ($1) could not be downloaded; is there a network, and $release in the package sources?"
	dpkg -x "$work"/deb/"$2"_*.deb "$work/unpacked"
}

# make_kernel ARCHITECTURE META FILE: the kernel that the package META depends on now.
make_kernel() {
	[ ! -s "$out/$3" ] || return 0
	use "$1"
	package=$(apt-cache $options depends "$2" |
		sed -n 's/^ *Depends: \(linux-image-[0-9][^:]*\).*$/\1/p' | head -n 1)
	[ -n "$package" ] || fail "Debian's $2 names no kernel package"
	fetch "$1" "$package" "the guest kernel"
	mv "$work"/unpacked/boot/vmlinuz-* "$work/vmlinuz"
	echo "$package" >"$out/$3.package"
	mv "$work/vmlinuz" "$out/$3"
}

# make_busybox ARCHITECTURE FILE
make_busybox() {
	[ ! -s "$out/$2" ] || return 0
	fetch "$1" busybox-static "the guest's busybox"
	mv "$work/unpacked/bin/busybox" "$out/$2"
}

is_newer_than() {
	target=$1
	shift
	[ -s "$target" ] || return 1
	for part in "$@"; do
		[ ! "$part" -nt "$target" ] || return 1
	done
}

# make_initrd FILE BUSYBOX VMMU-GUEST [PROGRAM...]
make_initrd() {
	initrd=$1
	busybox=$2
	guest=$3
	shift 3
	made=yes
	for part in init "$guest" "$@"; do
		is_newer_than "$out/$initrd" "$parts/$part" "$out/$busybox" || made=
	done
	[ -z "$made" ] || return 0
	start_work
	say "packing the guest's initramfs"
	root=$work/root
	mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp"
	cp "$parts/init" "$root/init"
	cp "$parts/$guest" "$root/bin/vmmu-guest"
	cp "$out/$busybox" "$root/bin/busybox"
	for program in "$@"; do
		cp "$parts/$program" "$root/bin/$program"
	done
	chmod 755 "$root/init" "$root"/bin/*
	(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 --reproducible) >"$work/initrd.cpio"
	mv "$work/initrd.cpio" "$out/$initrd"
}

make_linux() {
	need_parts init vmmu-guest vmmu-mediator
	make_kernel amd64 linux-image-cloud-amd64 vmlinuz
	make_busybox amd64 busybox
	make_initrd initrd.cpio busybox vmmu-guest vmmu-mediator
}

# make_linux32 META FILE
make_linux32() {
	[ -s "$parts/vmmu-guest-i386" ] ||
		fail "vmmu-guest-i386 was not built: the compiler made no 32-bit programs; install gcc-multilib, then run meson setup --wipe and build"
	need_parts init
	make_kernel i386 "$1" "$2"
	make_busybox i386 busybox-i386
	make_initrd initrd-i386.cpio busybox-i386 vmmu-guest-i386
}

make_memtest() {
	[ ! -s "$out/memtest.bin" ] || return 0
	fetch amd64 memtest86+ "the guest"
	mv "$work/unpacked/boot/memtest86+x64.bin" "$out/memtest.bin"
}

# The amd64 package of the same name holds a 64-bit ELF file, which is not multiboot.
make_mach() {
	[ ! -s "$out/gnumach.elf" ] || return 0
	fetch i386 gnumach-image-1.8-486 "the guest kernel"
	gzip -dc "$work/unpacked/boot/gnumach-1.8-486.gz" >"$work/gnumach.elf"
	mv "$work/gnumach.elf" "$out/gnumach.elf"
}

need_parts() {
	for part in "$@"; do
		[ -s "$parts/$part" ] || fail "$parts/$part is missing; build the project first"
	done
}

# A folder for half-done things, so that an interrupted call leaves nothing that looks finished.
start_work() {
	[ -n "$work" ] || work=$(mktemp -d "$out/unfinished.XXXXXX")
}

mkdir -p "$out"
out=$(cd "$out" && pwd)
work=
listed_amd64=
listed_i386=
trap 'status=$?; [ -z "$work" ] || rm -rf "$work"; exit $status' EXIT
trap 'exit 130' INT TERM HUP
exec 9>"$out/lock"
flock 9
case $name in
linux | linux-la57 | mediator) make_linux ;;
linux-pae) make_linux32 linux-image-686-pae vmlinuz-pae ;;
linux-i386) make_linux32 linux-image-686 vmlinuz-i386 ;;
memtest) make_memtest ;;
mach) make_mach ;;
*) fail "no guest is called $name" ;;
esac
