#!/bin/sh
# Makes a folder with a small aarch64 Debian, Python, NumPy and TFLite runtimes, in which
# qemu-aarch64 runs files as a 64-bit Raspberry Pi OS would:
#
#     ./aarch64-root.sh FOLDER
#
# Needs (Debian, Ubuntu): apt install debootstrap fakeroot qemu-user, and pip for Python 3.11
# wheels. Downloads about 120 MB, takes one or two minutes. Nothing is installed outside FOLDER, and
# nothing aarch64 is run.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 1; }
root=$1
pretend=
[ "$(id -u)" = 0 ] || pretend=fakeroot  # debootstrap asks for root, and then needs none of it
[ ! -e "$root" ] || { echo "$root exists: choose another folder." >&2; exit 1; }
for program in debootstrap dpkg-deb $pretend; do
  command -v $program >/dev/null || {
    echo "$program is missing: apt install debootstrap fakeroot" >&2
    exit 1
  }
done
draft=$(mktemp -d "$root.XXXXXX")
trap 'rm -rf "$draft"' EXIT
trap 'exit 1' HUP INT TERM

$pretend debootstrap --foreign --arch=arm64 --variant=minbase \
  --include=python3-minimal,python3,libpython3.11-stdlib,libgomp1,libstdc++6 \
  bookworm "$draft/root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
# The second stage of debootstrap would run aarch64 programs as root; unpacking is enough.
for package in "$draft"/root/var/cache/apt/archives/*.deb; do
  dpkg-deb -x "$package" "$draft/root"
done
rm -f "$draft"/root/var/cache/apt/archives/*.deb

fetch() {
  python3 -m pip download -q --only-binary=:all: --no-deps --python-version 311 \
    --implementation cp --abi cp311 --dest "$draft/wheels" "$@"
}
# ai-edge-litert 2.x crashes under qemu before version 10.
fetch --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
  numpy==1.26.4 ai-edge-litert==1.4.0
fetch --platform manylinux_2_34_aarch64 tflite-runtime==2.14.0
for wheel in "$draft"/wheels/*.whl; do
  name=$(basename "$wheel" | cut -d- -f1)
  python3 -m zipfile -e "$wheel" "$draft/root/wheels/$name"
done
mv "$draft/root" "$root"
echo "$root"
