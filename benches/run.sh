#!/bin/sh
# Measures dpm against HAProxy and a direct connection, on a private MariaDB.
# Options go to the driver: benches/run.sh --help lists them.
set -eu
cd "$(dirname "$0")/.."

missing=
command -v haproxy >/dev/null || missing="$missing haproxy"
command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null || missing="$missing mariadb-server"
command -v taskset >/dev/null && command -v setpriv >/dev/null || missing="$missing util-linux"
if [ -n "$missing" ]; then
    # Debian starts what it installs; these are wanted as programs only.
    [ -e /usr/sbin/policy-rc.d ] || {
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    }
    apt-get update -q
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing
    rm -f /usr/sbin/policy-rc.d
fi

# A thousand clients through a proxy are two thousand descriptors in it.
ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge 8192 ] ||
    echo "warning: only $(ulimit -n) descriptors may be open; 8192 are needed" >&2

TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT TERM

cargo bench --quiet --bench proxies -- "$@"
