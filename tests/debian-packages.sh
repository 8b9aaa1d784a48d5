#!/bin/sh
# Installs the Debian packages that the tests drive, without starting or enabling their services.
#
# Usage: debian-packages.sh [--needed] PACKAGE...
# When it cannot install them it says what to do; with --needed it then fails, otherwise the tests
# that need them are skipped.

set -eu

needed=false
if [ "$1" = --needed ]; then
    needed=true
    shift
fi

missing=
for package in "$@"; do
    status=$(dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>/dev/null || true)
    case $status in
    ii*) ;;
    *) missing="$missing $package" ;;
    esac
done

if [ "$(id -u)" != 0 ] && ! $needed; then
    echo "Not root: tests that need root are skipped (each says so below)."
fi
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    if $needed; then
        echo "Missing:$missing. Install it as root: apt-get install$missing" >&2
        exit 1
    fi
    echo "Missing:$missing. Tests that drive it are skipped; as root: apt-get install$missing"
    exit 0
fi

# invoke-rc.d and deb-systemd-invoke ask this file whether they may start a service.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

echo "Installing$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# shellcheck disable=SC2086 # a list of words
if ! { apt-get update && apt-get install --yes --no-install-recommends $missing; } >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    exit 1
fi
rm -f "$log"

if command -v systemctl >/dev/null; then
    for package in $missing; do
        for unit in $(dpkg -L "$package" | sed -n 's|.*/systemd/system/\([^/]*\.service\)$|\1|p'); do
            systemctl --quiet disable "$unit" >/dev/null 2>&1 || true
        done
    done
fi
