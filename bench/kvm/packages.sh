#!/bin/sh
# SPDX-License-Identifier: MIT
# Unpack KVM's modules, for the kernel that the default guest boots.
#
#   packages.sh GUEST OUT
#
# GUEST is the folder of the default guest (guests/guest.sh has filled it); OUT gets
# kvm.ko, kvm-amd.ko and irqbypass.ko. Does nothing when they are there. No root is needed.
set -eu

guest=$1
out=$2
modules="kvm.ko kvm-amd.ko irqbypass.ko"

say() {
	echo "bench: $*" >&2
}

package=$(cat "$guest/vmlinuz.package")
if [ "$(cat "$out/package" 2>/dev/null || true)" = "$package" ]; then
	exit 0
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/unfinished.XXXXXX")
trap 'status=$?; rm -rf "$work"; exit $status' EXIT
trap 'exit 130' INT TERM HUP

options="-oAcquire::Retries=3 -oAcquire::http::Timeout=60 -oAcquire::https::Timeout=60"
[ "$(id -u)" -ne 0 ] || options="$options -oAPT::Sandbox::User=root"
if ! apt-cache $options show "$package" >/dev/null 2>&1; then
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
	options="$options -oDir::State::Lists=$work/lists -oDir::Cache=$work/cache"
	say "fetching Debian's package lists"
	apt-get $options -qq update >&2
fi
say "downloading KVM's modules: $package"
if ! (cd "$work" && apt-get $options -qq download "$package" >&2); then
	say "$package could not be downloaded; remove $guest/vmlinuz to move to a newer kernel"
	exit 1
fi
dpkg-deb --fsys-tarfile "$work"/*.deb | tar -x -C "$work" --wildcards '*/kvm.ko' '*/kvm-amd.ko' '*/irqbypass.ko'
for module in $modules; do
	find "$work" -name "$module" -exec cp {} "$out/$module" \;
	[ -s "$out/$module" ] || {
		say "$package has no $module"
		exit 1
	}
done
echo "$package" >"$out/package"
