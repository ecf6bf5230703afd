# shellcheck shell=bash
# Newer servers and clients for the tests. Debian 12 has no MySQL and only MariaDB 10.11; Debian sid
# has MySQL 9.7, MariaDB 11.8 and MySQL Router. So a minimal sid is bootstrapped into a folder of
# its own in the cache, once. Its programs run from there with sid's dynamic loader, without chroot,
# so that paths and sockets are the usual ones. MariaDB's packages conflict with MySQL's, so they
# are only unpacked, into a folder `mariadb` of that sid. Sourced, after setup.sh.

SID_LANE=${DPM_TEST_SID:-${XDG_CACHE_HOME:-$HOME/.cache}/dpm/sid}

# The mirror that this machine uses for its own release.
apt_mirror() {
    local codename
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    # The format is apt's, not the shell's. awk must not exit early, or SIGPIPE would end apt-get.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' |
        awk -v codename="$codename" '$2 == codename && $3 == "main" && !found { print $1; found = 1 }'
}

sid_bootstrap() {
    local mirror fresh=$SID_LANE.new
    mirror=$(apt_mirror)
    [ -n "$mirror" ] || {
        note "  no Debian mirror found in this machine's apt sources"
        return 1
    }
    need debootstrap debootstrap
    rm -rf "$fresh"
    step "bootstrapping Debian sid with MySQL (about a minute and 700 MB, once)" \
        debootstrap --variant=minbase --include=mysql-server-core,mysql-client-core sid "$fresh" "$mirror" ||
        return 1
    rm -rf "$fresh"/var/cache/apt/archives/*.deb "$fresh"/usr/share/doc
    rm -rf "$SID_LANE"
    mv "$fresh" "$SID_LANE"
}

# sid_apt ARGUMENT…: sid's own apt-get, within sid.
sid_apt() {
    # A mirror's release file may have expired; debootstrap ignores that, too.
    DEBIAN_FRONTEND=noninteractive chroot "$SID_LANE" \
        apt-get -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root -y "$@"
}

# The package lists of an earlier bootstrap may be older than the mirror's packages.
sid_lists() {
    [ -n "${SID_LISTS_FRESH:-}" ] && return
    step "refreshing sid's package lists" sid_apt update || return 1
    SID_LISTS_FRESH=1
}

sid_mariadb() {
    local fresh=$SID_LANE/mariadb.new package
    sid_lists || return 1
    # The dependencies of the packages below, except on each other.
    step "installing what MariaDB needs into sid" sid_apt install --no-install-recommends \
        libmariadb3 libaio1t64 libedit2 libncurses6 libnuma1 libpcre2-8-0 libsystemd0 liburing2 || return 1
    rm -rf "$fresh"
    mkdir -p "$fresh"
    # The server's package has the authentication plugins, the client's the tools.
    step "downloading sid's MariaDB" chroot "$SID_LANE" sh -c \
        'cd /mariadb.new && apt-get -o APT::Sandbox::User=root download \
            mariadb-server-core mariadb-server mariadb-client-core mariadb-client' || return 1
    for package in "$fresh"/*.deb; do
        dpkg-deb -x "$package" "$fresh" && rm -f "$package" || return 1
    done
    rm -rf "$fresh/usr/share/doc" "$fresh/usr/share/man" "$SID_LANE/mariadb"
    mv "$fresh" "$SID_LANE/mariadb"
}

sid_router() {
    sid_lists || return 1
    step "installing MySQL Router into sid" sid_apt install --no-install-recommends mysql-router
}

# sid_wrapper PROGRAM FOLDER…: writes a script in dpm-bin that runs the program, so that tests only
# need to know that folder.
sid_wrapper() {
    local program=$1 bin=$SID_LANE/dpm-bin libs loader folder
    shift
    libs=$(echo "$SID_LANE"/usr/lib/*-linux-gnu)
    loader=$(echo "$libs"/ld-linux-*.so.*)
    [ -x "$loader" ] || return 1
    mkdir -p "$bin"
    for folder in "$@"; do
        [ -x "$SID_LANE/$folder/$program" ] || continue
        # MySQL Router has libraries of its own, which its plugins look for.
        printf '#!/bin/sh\nexec "%s" --library-path "%s:%s" "%s" "$@"\n' \
            "$loader" "$libs" "$SID_LANE/usr/lib/mysql-router" "$SID_LANE/$folder/$program" >"$bin/$program.$$"
        chmod +x "$bin/$program.$$"
        mv "$bin/$program.$$" "$bin/$program"
        return 0
    done
    return 1
}

# mariadb-install-db is a shell script that runs other programs below its base folder, which would
# use the wrong loader. So it gets a tree of links as its base folder, in which those programs are
# the wrappers.
sid_wrap_install_db() {
    local bin=$SID_LANE/dpm-bin base=$SID_LANE/mariadb/wrapped program
    mkdir -p "$base/bin" "$base/sbin" "$base/lib"
    ln -sfn ../usr/share "$base/share"
    ln -sfn ../../usr/lib/mysql "$base/lib/mysql"
    for program in my_print_defaults resolveip; do ln -sfn "$bin/$program" "$base/bin/$program"; done
    ln -sfn "$bin/mariadbd" "$base/sbin/mariadbd"
    printf '#!/bin/sh\nexec sh "%s" "$@" --basedir="%s"\n' \
        "$SID_LANE/mariadb/usr/bin/mariadb-install-db" "$base" >"$bin/mariadb-install-db.$$"
    chmod +x "$bin/mariadb-install-db.$$"
    mv "$bin/mariadb-install-db.$$" "$bin/mariadb-install-db"
}

# The wrappers are rewritten each time, since the cache may be from an older version of this script.
mysql_works() {
    local program
    for program in mysqld mysql mysqladmin mysqldump mysqlbinlog; do
        sid_wrapper "$program" usr/sbin usr/bin || return 1
    done
    "$SID_LANE/dpm-bin/mysqld" --version >/dev/null 2>&1
}

mariadb11_works() {
    local program
    for program in mariadbd mariadb mariadb-admin mariadb-dump mariadb-binlog my_print_defaults resolveip; do
        sid_wrapper "$program" mariadb/usr/sbin mariadb/usr/bin || return 1
    done
    sid_wrap_install_db || return 1
    [ -e "$SID_LANE/mariadb/usr/lib/mysql/plugin/auth_parsec.so" ] || return 1
    for program in mariadbd mariadb mariadb-dump; do
        "$SID_LANE/dpm-bin/$program" --version >/dev/null 2>&1 || return 1
    done
}

router_works() {
    sid_wrapper mysqlrouter usr/sbin usr/bin && "$SID_LANE/dpm-bin/mysqlrouter" --version >/dev/null 2>&1
}

# sid_has WHAT: checks for mysql, mariadb11 or router, and installs it if it is missing.
sid_has() {
    local root=0
    [ "$(id -u)" -ne 0 ] || root=1
    if ! "$1"_works; then
        [ "$root" -eq 1 ] || return 1
        case $1 in
        mysql) return 1 ;;
        mariadb11) sid_mariadb || return 1 ;;
        router) sid_router || return 1 ;;
        esac
        "$1"_works
    fi
}

# need_sid WHAT…: true if all that are asked for of mysql, mariadb11 and router are installed, or
# could be. Simultaneous runs wait for each other.
need_sid() {
    local try what whole=1
    mkdir -p "$(dirname "$SID_LANE")"
    exec 9>"$SID_LANE.lock"
    flock -n 9 || {
        note "waiting for another run that prepares sid …"
        flock 9
    }
    for try in 1 2 3; do
        whole=1
        [ -d "$SID_LANE" ] || whole=0
        # All of them each time; a newly bootstrapped sid has only MySQL.
        for what in mysql "$@"; do
            [ "$whole" -eq 0 ] || sid_has "$what" || whole=0
        done
        [ "$whole" -eq 0 ] || break
        { [ "$(id -u)" -eq 0 ] && [ "$try" -lt 3 ]; } || break
        # Its libraries may be too old for the mirror's packages: then bootstrapping again helps.
        unset SID_LISTS_FRESH
        sid_bootstrap || note "  attempt $try to bootstrap sid failed"
    done
    exec 9>&-
    [ "$whole" -eq 1 ]
}

# The version of a program of sid.
sid_version() { "$SID_LANE/dpm-bin/$1" --version | sed -nE "1{s/.*(Ver|from) ([0-9][^ ,]*).*/\2/;p;}"; }
