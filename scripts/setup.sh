#!/bin/sh
# SPDX-License-Identifier: MIT
# Install the Debian packages that building, running and testing need, where they are missing.
# As root or through sudo; where neither is possible, print the one command to type and stop with
# status 2. Nothing is done, and nothing printed, when all are there.
set -eu

packages="
	meson ninja-build pkg-config
	gcc gcc-multilib libc6-dev clang lld libclang-rt-14-dev clang-format clang-tidy
	libjansson-dev libcmocka-dev liblz4-dev libzydis-dev
	qemu-system-x86 cpio python3 spin
"
# Only benchmarks draw charts and count instructions of programs.
[ "${1:-}" != bench ] || packages="$packages gnuplot-nox valgrind"

say() {
	echo "setup: $*" >&2
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	say "this is not a Debian system; please install what these packages contain, then use meson:"
	say $packages
	exit 2
fi

missing=
for package in $packages; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
	as_root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
	as_root="sudo -n"
elif command -v sudo >/dev/null && [ -t 0 ] && [ -t 2 ]; then
	as_root=sudo
else
	say "some Debian packages are missing; please install them as root with this command:"
	echo "apt-get update && apt-get install -y --no-install-recommends$missing" >&2
	exit 2
fi

say "installing Debian packages:$missing"

run_apt() {
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -oAcquire::Retries=3 \
		-oDPkg::Lock::Timeout=120 "$@" >&2
}

install() {
	run_apt install -y -q --no-install-recommends $missing
}

# Lists that know every package may still be too old to fetch it: then they are renewed as well.
if apt-cache show $missing >/dev/null 2>&1 && install; then
	exit 0
fi
say "fetching the package lists"
run_apt update -q
install
