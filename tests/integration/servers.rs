//! The basis of the other tests: both servers start and answer, through every client.

use mysql::prelude::Queryable;

use crate::support::{self, Cli, Flavour, PASSWORD, Server, USER, both, mariadb, mysql, python};

both! {
    fn answers_its_own_client(server) {
        let said = Cli::query(server.flavour, server.port, "SELECT CONCAT('2', '+', 2), @@port");
        assert_eq!(said, format!("2+2\t{}\n", server.port));
    }
}

both! {
    fn answers_the_mysql_crate(server) {
        let mut conn = support::connect(server.port);
        let sum: Option<i64> = conn.query_first("SELECT 1 + 1").unwrap();
        assert_eq!(sum, Some(2));
        assert!(support::connect_as(server.port, USER, "wrong").is_err());
    }
}

both! {
    fn answers_python(server) {
        let said = python(server.port, "
with connect() as conn, conn.cursor() as cursor:
    cursor.execute('SELECT 6 * 7')
    print(cursor.fetchone()[0])
");
        assert_eq!(said, "42\n");
    }
}

#[test]
fn accounts_are_of_the_kind_the_tests_count_on() {
    let plugin = format!("SELECT plugin FROM mysql.user WHERE user = '{USER}'");
    assert_eq!(mariadb().sql(&plugin), "mysql_native_password\n");
    let hash = mariadb().sql(&format!("SELECT PASSWORD('{PASSWORD}')"));
    assert!(hash.starts_with('*'));
}

#[test]
fn accounts_on_mysql_are_of_the_kind_the_tests_count_on() {
    let plugin = format!("SELECT plugin FROM mysql.user WHERE user = '{USER}'");
    if let Some(server) = mysql() {
        assert_eq!(server.sql(&plugin), "caching_sha2_password\n");
        assert!(server.sql("SELECT VERSION()").starts_with("9.7"));
    }
}

#[test]
fn own_servers_can_be_killed_and_restarted() {
    let server = Server::start_own(Flavour::MariaDb, &["--wait-timeout=77"]);
    assert_eq!(server.sql("SELECT @@global.wait_timeout"), "77\n");
    server.kill();
    assert!(std::net::TcpStream::connect((server.host(), server.port)).is_err());
    server.restart(&[]);
    assert_eq!(server.sql("SELECT @@global.max_connections"), "1500\n");
}

#[test]
fn the_byte_level_client_logs_in() {
    use support::wire::{Answer, Wire, caps};
    for capabilities in [caps::BASE, caps::BASE | caps::DEPRECATE_EOF | caps::MULTI] {
        let mut wire = Wire::login(mariadb().port, capabilities);
        assert_eq!(wire.rows("SELECT 'a', NULL"), [["a", "NULL"]]);
        assert!(matches!(
            wire.query("SELECT nothing"),
            Answer::Err(1054, ..)
        ));
    }
}

both! {
    fn accounts_without_a_password_need_no_exchange(server) {
        let mut wire = support::Wire::login_empty(server.port, support::wire::caps::BASE);
        assert_eq!(wire.rows("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)"), [["empty"]]);
    }
}

/// The third lane: a server, its client, and the ways to log in that only it has.
#[test]
fn mariadb_11_logs_in_with_its_own_plugins() {
    let Some(server) = support::mariadb11() else {
        return;
    };
    for plugin in ["ed25519", "parsec"] {
        server.sql(&format!(
            "CREATE USER '{plugin}'@'%' IDENTIFIED VIA {plugin} USING PASSWORD('s3cret')"
        ));
        let who = Cli::client(Flavour::MariaDb11, server.port)
            .args(["-u", plugin, "-ps3cret", "-e", "SELECT CURRENT_USER()"])
            .ok();
        assert_eq!(who, format!("{plugin}@%\n"));
    }
    server.sql("DROP USER ed25519, parsec");
}

#[test]
fn mariadb_10_has_ed25519() {
    let server = mariadb();
    server.sql("CREATE USER edith@'%' IDENTIFIED VIA ed25519 USING PASSWORD('s3cret')");
    let who = Cli::client(Flavour::MariaDb, server.port)
        .args(["-u", "edith", "-ps3cret", "-e", "SELECT CURRENT_USER()"])
        .ok();
    assert_eq!(who, "edith@%\n");
    server.sql("DROP USER edith");
}
