#!/bin/bash
# Measures dpm against HAProxy, MySQL Router and a direct connection, on a private MariaDB.
# Options go to the driver: benches/run.sh --help lists them.
set -eu
cd "$(dirname "$0")/.."

TMPDIR=$(mktemp -d)
export TMPDIR
policy=
trap 'rm -rf "$TMPDIR" $policy' EXIT
trap 'exit 130' INT TERM

missing=()
command -v haproxy >/dev/null || missing+=(haproxy)
{ command -v mariadbd && command -v mariadb-install-db; } >/dev/null || missing+=(mariadb-server)
{ command -v taskset && command -v setpriv; } >/dev/null || missing+=(util-linux)
if [ ${#missing[@]} -gt 0 ]; then
    # Debian starts the services it installs; only the programs are wanted.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
fi

# MySQL and its Router are in Debian sid only, in the folder that the tests keep them in.
if [[ " $* " != *" --targets "* || " $* " == *router* ]]; then
    # shellcheck source=tests/setup.sh
    . tests/setup.sh
    # shellcheck source=tests/sid.sh
    . tests/sid.sh
    if need_sid router; then
        export DPM_BENCH_ROUTER=$SID_LANE/dpm-bin/mysqlrouter DPM_BENCH_MYSQL=$SID_LANE/dpm-bin/mysqld
        DPM_BENCH_ROUTER_PLUGINS=$(dirname "$(find "$SID_LANE/usr/lib" -path '*router*' -name io.so | head -n 1)")
        export DPM_BENCH_ROUTER_PLUGINS
    else
        echo "warning: MySQL Router is not available: (g) and (h) are measured without it, and not (j)" >&2
        set -- "$@" --targets direct,haproxy,dpm
    fi
fi

# A thousand clients are two thousand descriptors in the proxy.
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge 8192 ] ||
    echo "warning: only $(ulimit -n) open files allowed; 8192 are needed" >&2

cargo bench --bench proxies -- "$@"
