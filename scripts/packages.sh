#!/bin/sh
# packages.sh: installs the Debian packages that are missing. `packages.sh build` for building, `packages.sh test` for the tests too,
# `packages.sh arm` for `make neon`.
set -eu

build="gcc libc6-dev make pkg-config libyaml-dev zlib1g-dev libutf8proc-dev libjansson-dev"
arm="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
test="g++ libcmocka-dev python3 python3-pytest"

case "${1:-build}" in
build) wanted=$build ;;
test) wanted="$build $test" ;;
arm) wanted="$build $arm" ;;
*) echo "packages.sh: \"$1\" is none of build, test and arm" >&2; exit 2 ;;
esac

missing=
for package in $wanted; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "packages.sh: as root, or with sudo, install:$missing" >&2; exit 1; }
    as_root=sudo
fi
echo "installing:$missing" >&2
$as_root apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
