# shellcheck shell=bash
# Installs the clients of the matrix into the cache, once, in the versions that the files beside the
# clients name. What cannot be installed is reported, and its cells are marked as missing. Sourced,
# after setup.sh and sid.sh.

MATRIX_HOME=${DPM_MATRIX_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/dpm/matrix}
MATRIX_CLIENTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/clients
FRAMEWORKS=$(cd "$(dirname "${BASH_SOURCE[0]}")/../frameworks" && pwd)
HIBERNATE_JARS=(HikariCP antlr commons-collections3 dom4j geronimo-jpa_2.0_spec geronimo-jta-1.2-spec
    hibernate-commons-annotations hibernate-core mariadb-java-client slf4j-api slf4j-nop javassist)

# matrix_part NAME STAMP-FILE COMMAND…: runs the command, which installs into $MATRIX_HOME/NAME,
# unless that was done before for the same contents of the file.
matrix_part() {
    local name=$1 wanted
    # The tools' own versions are part of the stamp: a module that was compiled for one Python does
    # not work with another.
    wanted=$(cat "$2" <(/usr/bin/python3 --version; node --version 2>/dev/null; go version 2>/dev/null) | sha256sum)
    [ "$(cat "$MATRIX_HOME/$name.stamp" 2>/dev/null)" != "$wanted" ] || return 0
    rm -rf "${MATRIX_HOME:?}/$name" "$MATRIX_HOME/$name.stamp"
    mkdir -p "$MATRIX_HOME/$name"
    shift 2
    if step "installing the matrix's clients: $name" "$@"; then
        printf '%s\n' "$wanted" >"$MATRIX_HOME/$name.stamp"
    else
        printf '\n!!!! Cannot be installed, so not in the matrix: the clients in %s. !!!!\n' "$name"
    fi
}

# In a subshell, because `need_packages` ends the shell if it fails.
matrix_packages() {
    (need_packages "$@") || printf '\n!!!! Cannot be installed, so not in the matrix: clients that need %s. !!!!\n' "$*"
}

matrix_python() {
    local pip=$MATRIX_HOME/python/bin/pip package
    /usr/bin/python3 -m venv "$MATRIX_HOME/python" || return 1
    "$pip" install --disable-pip-version-check -r "$MATRIX_CLIENTS/python/requirements.txt" && return 0
    # If one of them does not compile, the others are still installed.
    while read -r package; do
        "$pip" install --disable-pip-version-check "$package" || echo "without $package"
    done <"$MATRIX_CLIENTS/python/requirements.txt"
}

matrix_node() {
    cp "$MATRIX_CLIENTS/node/package.json" "$MATRIX_HOME/node/"
    npm install --prefix "$MATRIX_HOME/node" --no-package-lock --no-audit --no-fund --no-progress
}

matrix_java() {
    javac -cp /usr/share/java/mariadb-java-client.jar -d "$MATRIX_HOME/java" "$MATRIX_CLIENTS/java/Client.java" "$MATRIX_CLIENTS/java/Json.java"
}

matrix_hibernate() {
    local jars
    jars=$(printf ':/usr/share/java/%s.jar' "${HIBERNATE_JARS[@]}")
    javac -nowarn -cp "${jars#:}" -d "$MATRIX_HOME/hibernate" "$FRAMEWORKS/WithHibernate.java" &&
        printf '%s\n' "${jars#:}" >"$MATRIX_HOME/hibernate/jars"
}

matrix_go() {
    go_program "$MATRIX_CLIENTS/go" client && go_program "$FRAMEWORKS/go" application
}

go_program() {
    (cd "$1" && GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$MATRIX_HOME/go-build \
        go build -o "$MATRIX_HOME/go/$2" .)
}

# Built with dpm's Rust, but as a package of its own, so that its dependencies are not dpm's.
matrix_rust() {
    cp -r "$MATRIX_CLIENTS/rust/." "$MATRIX_HOME/rust/" &&
        cargo build --quiet --manifest-path "$MATRIX_HOME/rust/Cargo.toml" --target-dir "$MATRIX_HOME/rust-target"
}

need_matrix() {
    local wanted=()
    mkdir -p "$MATRIX_HOME"
    exec 8>"$MATRIX_HOME.lock"
    flock -n 8 || {
        note "waiting for another run that prepares the matrix's clients …"
        flock 8
    }
    command -v node >/dev/null || wanted+=(nodejs)
    command -v npm >/dev/null || wanted+=(npm)
    command -v php >/dev/null || wanted+=(php-cli)
    php -m 2>/dev/null | grep -qx mysqli || wanted+=(php-mysql)
    perl -MDBD::mysql -e 1 2>/dev/null || wanted+=(libdbd-mysql-perl)
    perl -MDBD::MariaDB -e 1 2>/dev/null || wanted+=(libdbd-mariadb-perl)
    perl -MJSON::PP -e 1 2>/dev/null || wanted+=(perl)
    command -v javac >/dev/null || wanted+=(default-jdk-headless)
    [ -e /usr/share/java/mariadb-java-client.jar ] || wanted+=(libmariadb-java)
    [ -e /usr/share/java/hibernate-core.jar ] || wanted+=(libhibernate3-java)
    [ -e /usr/share/java/HikariCP.jar ] || wanted+=(libhikaricp-java)
    [ -e /usr/share/php/Illuminate/Database/autoload.php ] || wanted+=(php-illuminate-database)
    command -v go >/dev/null || wanted+=(golang-go)
    [ -d /usr/share/gocode/src/github.com/go-sql-driver/mysql ] ||
        wanted+=(golang-github-go-sql-driver-mysql-dev)
    /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || wanted+=(python3-venv)
    [ -e /usr/include/python3.11/Python.h ] || wanted+=(python3-dev)
    { command -v pkg-config && pkg-config --exists libmariadb; } >/dev/null 2>&1 ||
        wanted+=(pkg-config libmariadb-dev)
    if [ "${#wanted[@]}" -gt 0 ]; then
        (need_packages "${wanted[@]}") || for package in "${wanted[@]}"; do matrix_packages "$package"; done
    fi
    matrix_part python "$MATRIX_CLIENTS/python/requirements.txt" matrix_python
    matrix_part node "$MATRIX_CLIENTS/node/package.json" matrix_node
    matrix_part java <(cat "$MATRIX_CLIENTS"/java/*.java) matrix_java
    matrix_part hibernate "$FRAMEWORKS/WithHibernate.java" matrix_hibernate
    matrix_part go <(cat "$MATRIX_CLIENTS"/go/*.go "$FRAMEWORKS"/go/*.go) matrix_go
    matrix_part rust <(cat "$MATRIX_CLIENTS"/rust/Cargo.* "$MATRIX_CLIENTS"/rust/src/*.rs "$MATRIX_CLIENTS"/rust/src/bin/*.rs) matrix_rust
    export DPM_MATRIX_HOME=$MATRIX_HOME
    exec 8>&-
}

# The sources of the drivers' own tests, beside what the matrix has. PyMySQL's packages of later versions have none.
matrix_suites() {
    local suites=$MATRIX_HOME/suites pip=$MATRIX_HOME/python/bin/pip crate
    "$pip" install --disable-pip-version-check pytest &&
        "$pip" download --disable-pip-version-check --no-deps --no-binary :all: -d "$suites" PyMySQL==0.10.1 mysqlclient==2.3.1 ||
        return 1
    mkdir "$suites/pymysql" "$suites/mysqlclient" &&
        tar xzf "$suites"/PyMySQL-*.tar.gz --strip-components 1 -C "$suites/pymysql" &&
        tar xzf "$suites"/mysqlclient-*.tar.gz --strip-components 1 -C "$suites/mysqlclient" || return 1
    # Not beside the tests, which are to use the driver that is installed.
    rm -rf "$suites/mysqlclient/src"
    GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$MATRIX_HOME/go-build \
        go test -c -o "$suites/go-tests" github.com/go-sql-driver/mysql || return 1
    crate=$(cargo metadata --format-version 1 --manifest-path "$MATRIX_HOME/rust/Cargo.toml" | /usr/bin/python3 -c '
import json, os, sys
print(next(os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"] == "mysql"))') || return 1
    # Its package lacks a public key that one of its tests reads.
    cp -r "$crate" "$suites/mysql-crate" && chmod -R u+w "$suites/mysql-crate" &&
        mkdir -p "$suites/mysql-crate/tests/fixtures" &&
        openssl genrsa 2048 | openssl rsa -pubout -out "$suites/mysql-crate/tests/fixtures/server-public-key.pem" &&
        cargo test --manifest-path "$suites/mysql-crate/Cargo.toml" --target-dir "$MATRIX_HOME/suites-target" \
            --lib --no-run --no-default-features --features minimal-rust &&
        cp "$(find "$MATRIX_HOME/suites-target/debug/deps" -name 'mysql-*' -type f -executable -printf '%T@ %p\n' |
            sort -n | tail -n 1 | cut -d ' ' -f 2)" "$suites/mysql-crate-tests"
}

need_suites() {
    need_matrix
    matrix_part suites <(declare -f matrix_suites) matrix_suites
}
