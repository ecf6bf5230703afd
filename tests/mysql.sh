# shellcheck shell=bash
# MySQL 9.7 for the tests. Debian 12 does not have it, Debian sid does: so a minimal sid is
# bootstrapped into a folder of its own in the cache, once, and its programs run from there by its
# own dynamic loader, without chroot: paths and sockets are the usual ones. Sourced, after setup.sh.

MYSQL_LANE=${DPM_TEST_MYSQL:-${XDG_CACHE_HOME:-$HOME/.cache}/dpm/sid}

# The mirror this machine itself uses for its own release.
apt_mirror() {
    local codename
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    # The format is apt's own, not the shell's. No early exit in awk: apt-get would die of SIGPIPE.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' |
        awk -v codename="$codename" '$2 == codename && $3 == "main" && !found { print $1; found = 1 }'
}

mysql_bootstrap() {
    local mirror fresh=$MYSQL_LANE.new
    mirror=$(apt_mirror)
    [ -n "$mirror" ] || {
        note "  no Debian mirror found in this machine's apt sources"
        return 1
    }
    rm -rf "$fresh"
    step "bootstrapping Debian sid with MySQL (about a minute and 700 MB, once)" \
        debootstrap --variant=minbase --include=mysql-server-core,mysql-client-core sid "$fresh" "$mirror" ||
        return 1
    rm -rf "$fresh"/var/cache/apt/archives/*.deb "$fresh"/usr/share/doc
    rm -rf "$MYSQL_LANE"
    mv "$fresh" "$MYSQL_LANE"
}

# One wrapper per program, so that the tests need to know nothing but a folder.
mysql_wrappers() {
    local bin=$MYSQL_LANE/dpm-bin libs loader program path
    libs=$(echo "$MYSQL_LANE"/usr/lib/*-linux-gnu)
    loader=$(echo "$libs"/ld-linux-*.so.*)
    [ -x "$loader" ] || return 1
    mkdir -p "$bin"
    for program in mysqld mysql mysqladmin mysqldump mysqlbinlog; do
        for path in "$MYSQL_LANE/usr/sbin/$program" "$MYSQL_LANE/usr/bin/$program"; do
            [ -x "$path" ] || continue
            printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' "$loader" "$libs" "$path" \
                >"$bin/$program.$$"
            chmod +x "$bin/$program.$$"
            mv "$bin/$program.$$" "$bin/$program"
        done
    done
    [ -x "$bin/mysqld" ] && [ -x "$bin/mysql" ] && "$bin/mysqld" --version >/dev/null
}

# need_mysql: true if MySQL is there or could be had. Several runs at once take turns.
need_mysql() {
    local try
    mkdir -p "$(dirname "$MYSQL_LANE")"
    exec 9>"$MYSQL_LANE.lock"
    flock -n 9 || {
        note "waiting for another run that prepares MySQL …"
        flock 9
    }
    for try in 1 2; do
        if [ -d "$MYSQL_LANE" ] && mysql_wrappers; then
            note "MySQL: $("$MYSQL_LANE/dpm-bin/mysqld" --version | sed 's/.*Ver //') in $MYSQL_LANE"
            exec 9>&-
            return 0
        fi
        [ "$(id -u)" -eq 0 ] || break
        need debootstrap debootstrap
        mysql_bootstrap || note "  attempt $try to bootstrap sid failed"
    done
    exec 9>&-
    return 1
}
