#!/usr/bin/env bash
# The Debian package: builds it, lets lintian look at it, and installs, starts, upgrades and purges it in a clean
# Debian. What is there without systemd is tested: the units are verified by systemd's own tool, and the command
# of the unit is run by hand, with systemd's protocol. tests/package.sh [PROFILE of cargo: release without one].
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh
# shellcheck source=tests/sid.sh
. tests/sid.sh

profile=${1:-release}
tools=${XDG_CACHE_HOME:-$HOME/.cache}/dpm/tools
work=$(mktemp -d "${TMPDIR:-/tmp}/dpm-package-XXXXXX")
root=$work/debian
served=
cleanup() {
    [ -z "$served" ] || kill "$served" 2>/dev/null || true
    umount "$root/proc" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

passed=0
# ok WHAT COMMAND…: a test.
ok() {
    local what=$1
    shift
    "$@" >"$work/log" 2>&1 || {
        sed 's/^/   | /' "$work/log"
        fail "$what"
    }
    note "ok: $what"
    passed=$((passed + 1))
}
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
not() { ! "$@"; }

say "what the tests need"
need_build_tools
need lintian lintian
need debootstrap debootstrap
need_mariadb
need socat socat
PATH=$tools/bin:$PATH
command -v cargo-deb >/dev/null ||
    step "building cargo-deb (a minute, once)" cargo install cargo-deb --version 3.8.0 --locked --root "$tools"
[ -x "$tools/kubernetes/bin/kubernetes-validate" ] || {
    need_packages python3-venv
    step "installing kubernetes-validate" sh -c \
        '/usr/bin/python3 -m venv "$1" && "$1/bin/pip" install --quiet kubernetes-validate==1.37.0' venv "$tools/kubernetes"
}

say "the Kubernetes manifest"
ok "it is valid" "$tools/kubernetes/bin/kubernetes-validate" --strict packaging/kubernetes.yaml

say "the package"
for revision in 1 2; do
    packaging/build.sh "$profile" --deb-revision "$revision" --output "$work/dpm-$revision.deb"
done
ok "lintian has nothing to say" lintian --fail-on error,warning "$work/dpm-1.deb"

say "a clean Debian"
codename=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
step "bootstrapping it" debootstrap --variant=minbase --include=adduser,systemd,logrotate \
    "$codename" "$root" "$(apt_mirror)" || fail "no Debian"
mount -t proc proc "$root/proc" 2>/dev/null || note "  without /proc"
cp "$work"/dpm-*.deb "$root/"
find "$root" -xdev \( -type f -o -type l \) -not -path "$root/var/*" -not -path "$root/run/*" | sort >"$work/before"

say "installed"
ok "it installs" inside dpkg --install /dpm-1.deb
ok "it has a user without a shell" sh -c "grep -q '^dpm:.*:/usr/sbin/nologin$' '$root/etc/passwd'"
ok "the program runs" inside dpm --version
ok "the script is in order" inside dpm --check /etc/dpm/dpm.lua
ok "the service is enabled" test -L "$root/etc/systemd/system/multi-user.target.wants/dpm.service"
ok "the socket is not" not test -e "$root/etc/systemd/system/sockets.target.wants/dpm.socket"
ok "systemd understands the units" inside systemd-analyze verify --man=no dpm.service dpm.socket
ok "logrotate understands its file" inside logrotate --debug /etc/logrotate.d/dpm
ok "bash completes" inside bash -c '. /usr/share/bash-completion/completions/dpm && complete -p dpm'

say "serving"
# As the unit does, with its user, command and protocol, on an edited script.
cat >"$root/etc/dpm/dpm.lua" <<'LUA'
local dpml = require "dpml"
local listener = dpm.listener_unix("/run/dpm/test.sock", "0777")
dpml.accept_clients(listener, {
    users = { me = { password = "x" } },
    handler = function(session)
        for _ in session:commands() do session:send_resultset { columns = { "answer" }, rows = { { "from the package" } } } end
    end,
})
LUA
install -d -o "$(stat -c %u "$root/etc/dpm")" "$root/run/dpm"
inside chown dpm:dpm /run/dpm
socat -u UNIX-RECV:"$root/run/notify" CREATE:"$work/notified" &
listener=$!
for _ in $(seq 50); do [ ! -S "$root/run/notify" ] || break; sleep 0.1; done
chmod 777 "$root/run/notify"
command=$(sed -n 's/^ExecStart=//p' "$root/usr/lib/systemd/system/dpm.service" | sed 's/\$DPM_OPTIONS//')
# shellcheck disable=SC2086
chroot --userspec=dpm:dpm "$root" env -i NOTIFY_SOCKET=/run/notify $command 2>"$work/stderr" &
served=$!
for _ in $(seq 100); do ! grep -q READY=1 "$work/notified" 2>/dev/null || break; sleep 0.1; done
ok "it tells that it is ready" grep -q READY=1 "$work/notified"
query() { mariadb --no-defaults -S "$root/run/dpm/test.sock" -ume -px -N -e "WHO"; }
ok "it serves" sh -c "$(declare -f query); root='$root'; query | grep -q 'from the package'"

say "upgraded"
ok "it installs over the old one, and keeps the edited script" sh -c \
    "chroot '$root' env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin dpkg --force-confold --install /dpm-2.deb &&
     grep -q 'from the package' '$root/etc/dpm/dpm.lua'"
ok "the version is the new one" sh -c "chroot '$root' dpkg-query -W dpm-proxy | grep -q -- '-2$'"
ok "the running one still serves" sh -c "$(declare -f query); root='$root'; query | grep -q 'from the package'"
kill "$served"
ok "it ends in order" wait "$served"
served=
kill "$listener" 2>/dev/null || true
ok "it told that it stops" grep -q STOPPING=1 "$work/notified"

say "removed and purged"
ok "it is removed, and its configuration stays" sh -c \
    "chroot '$root' env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin dpkg --remove dpm-proxy &&
     test -e '$root/etc/dpm/dpm.lua' && ! test -e '$root/usr/bin/dpm'"
ok "it is purged" inside dpkg --purge dpm-proxy
find "$root" -xdev \( -type f -o -type l \) -not -path "$root/var/*" -not -path "$root/run/*" | sort >"$work/after"
# adduser's own files, with their copies of before, are the account, which stays.
ok "nothing of it is left" sh -c \
    "diff '$work/before' '$work/after' | grep '^[<>]' | grep -Ev '/etc/(passwd|group|shadow|gshadow)-$' && exit 1 || exit 0"
ok "nor of its folders" not test -e "$root/etc/dpm" -o -e "$root/var/log/dpm" -o -e "$root/var/lib/dpm"

printf '%d passed, 0 failed\n' "$passed"
