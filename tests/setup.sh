# shellcheck shell=bash
# What tests/run.sh and demos/quickstart.sh share: installing what is missing, with progress shown.
# Sourced, never run.

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
note() { printf '   %s\n' "$*"; }
fail() {
    printf '\n!! %s\n' "$*" >&2
    exit 1
}

# step WHAT COMMAND…: runs the command without showing its output, says every ten seconds that it
# still runs, and shows the end of the output if it fails.
step() {
    local what=$1 log status=0 begun=$SECONDS ticker
    shift
    log=$(mktemp)
    note "$what …"
    (
        # Its last sleep outlives it, and must not keep a lock that this shell may hold on
        # descriptor 8 or 9.
        exec 8>&- 9>&-
        while sleep 10; do note "  still busy: $what ($((SECONDS - begun)) s)"; done
    ) &
    ticker=$!
    "$@" >"$log" 2>&1 </dev/null || status=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    if [ "$status" -ne 0 ]; then
        note "  failed with status $status; its last lines:"
        tail -n 25 "$log" | sed 's/^/   | /'
    fi
    rm -f "$log"
    return "$status"
}

# need_packages PACKAGE…: installs them by apt-get; refreshes the package lists once in each run.
need_packages() {
    [ "$(id -u)" -eq 0 ] || fail "missing: $*. Install them, or run this as root."
    command -v apt-get >/dev/null || fail "missing: $*, and there is no apt-get here to install them with."
    if [ -z "${APT_LISTS_FRESH:-}" ]; then
        step "refreshing the package lists" apt-get update || note "  continuing with the existing lists"
        APT_LISTS_FRESH=1
    fi
    step "installing $*" env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" ||
        fail "could not install $*"
}

# need COMMAND PACKAGE…: installs the packages if the command is not there.
need() {
    local command=$1
    shift
    command -v "$command" >/dev/null || need_packages "$@"
}

need_rust() {
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
    fi
    command -v cargo >/dev/null || fail "cargo is not installed. Install Rust (1.88 or newer), then run this again."
}

# The vendored LuaJIT is built with make and a C compiler.
need_build_tools() {
    need_rust
    need cc gcc libc6-dev
    need make make
}

# The core packages have only the programs: they start no service and use no port.
need_mariadb() {
    need mariadbd mariadb-server-core
    need mariadb mariadb-client-core
    need setpriv util-linux
    need_mariadb_plugins
}

# Clusters of Galera's consist of MariaDB's servers with this library, which is no service.
need_galera() {
    [ -e /usr/lib/galera/libgalera_smm.so ] || need_packages galera-4
}

# The authentication plugins are in a package that would start a service. So it is only unpacked,
# into the cache, and the tests' servers get that folder as an option.
need_mariadb_plugins() {
    local version folder=${XDG_CACHE_HOME:-$HOME/.cache}/dpm/mariadb-plugins
    [ ! -e /usr/lib/mysql/plugin/auth_ed25519.so ] || return 0
    version=$(dpkg-query -W -f '${Version}' mariadb-server-core)
    [ "$(cat "$folder/version" 2>/dev/null)" != "$version" ] || return 0
    rm -rf "$folder.$$"
    mkdir -p "$folder.$$"
    step "downloading MariaDB's plugins" sh -c \
        'cd "$1" && apt-get -o APT::Sandbox::User=root download "mariadb-server=$2" && dpkg-deb -x ./*.deb .' \
        plugins "$folder.$$" "$version" || fail "no plugins for MariaDB $version"
    mv "$folder.$$/usr/lib/mysql/plugin" "$folder.$$/plugin"
    rm -rf "$folder.$$/usr" "$folder.$$"/*.deb "$folder"
    printf '%s\n' "$version" >"$folder.$$/version"
    mv "$folder.$$" "$folder" || [ -e "$folder/version" ]
}

# Its package would start a service. Where that cannot be prevented, the service has nothing
# configured.
need_haproxy() {
    command -v haproxy >/dev/null && return
    local policy=
    if [ "$(id -u)" -eq 0 ] && [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    need haproxy haproxy
    if [ -n "$policy" ]; then rm -f "$policy"; fi
}

# Prometheus and its promtool, two programs in one package that would start a service. So it is only unpacked, into the cache.
need_prometheus() {
    local folder=${XDG_CACHE_HOME:-$HOME/.cache}/dpm/prometheus
    [ ! -x "$folder/promtool" ] || return 0
    rm -rf "$folder.$$"
    mkdir -p "$folder.$$"
    step "downloading Prometheus" sh -c \
        'cd "$1" && apt-get -o APT::Sandbox::User=root download prometheus && dpkg-deb -x ./*.deb .' \
        prometheus "$folder.$$" || fail "no Prometheus"
    mv "$folder.$$/usr/bin" "$folder.$$/programs"
    rm -rf "$folder"
    mv "$folder.$$/programs" "$folder" || [ -x "$folder/promtool" ]
    rm -rf "$folder.$$"
}

# OpenTelemetry's own schema of what a collector takes, by which tests read what is sent.
need_otlp() {
    local folder=${XDG_CACHE_HOME:-$HOME/.cache}/dpm/otlp
    [ ! -e "$folder/complete" ] || return 0
    /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || need_packages python3-venv
    rm -rf "$folder"
    mkdir -p "$(dirname "$folder")"
    /usr/bin/python3 -m venv "$folder" || fail "no Python environment for OpenTelemetry's schema"
    step "downloading OpenTelemetry's schema" "$folder/bin/pip" install --disable-pip-version-check \
        'opentelemetry-proto>=1.30,<2' || fail "no opentelemetry-proto"
    touch "$folder/complete"
}

# A browser without a window, for the live page.
need_browser() {
    need chromium-headless-shell chromium-headless-shell fonts-dejavu-core
}
