//! Programs in Rust that embed the proxy.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::support::dpm::{Launch, example};
use crate::support::wire::{Wire, caps};
use crate::support::{Flavour, Server, both, eventually, process};

const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

both! {
    /// Rust counts, Lua shows and steers.
    fn the_demo_in_both_languages(server) {
        let base = server.database();
        server.sql(&format!("CREATE TABLE {base}.one (a INT); CREATE TABLE {base}.two (a INT)"));
        let dpm = Launch::embedding_demo("table_counter", server).start();
        let port = dpm.listening();
        let mut wire = Wire::login_empty(port, MODERN);
        wire.rows(&format!("SELECT * FROM {base}.one"));
        wire.rows(&format!("SELECT * FROM `{base}`.`one` JOIN {base}.two USING (a)"));
        wire.rows(&format!("SELECT 1 FROM {base}.two"));
        wire.prepare(&format!("SELECT a FROM {base}.two"));
        let counts = [[format!("{base}.one"), "2".into()], [format!("{base}.two"), "3".into()]];
        assert_eq!(wire.rows("SHOW TABLE COUNTS"), counts);
        let busiest = wire.rows("SHOW BUSIEST CLIENT");
        let mut other = Wire::login_empty(port, MODERN);
        other.query("STOP COUNTING");
        for _ in 0..20 {
            other.rows(&format!("SELECT * FROM {base}.one"));
        }
        assert_eq!(other.rows("SHOW TABLE COUNTS"), counts, "they are not counted");
        assert_eq!(other.rows("SHOW BUSIEST CLIENT")[0][0], busiest[0][0]);
        drop(wire);
        eventually("the busiest has left", || other.rows("SHOW BUSIEST CLIENT").is_empty());
    }
}

#[test]
fn a_client_is_not_left_without_its_server() {
    let server = Server::start_own(Flavour::MariaDb, &[]);
    let mut command = process::command(example("embed"));
    command.args([server.host(), &server.port.to_string(), "0"]);
    let mut program = process::spawn({
        command.stdout(Stdio::piped());
        command
    });
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let port = line.rsplit_once(':').unwrap().1.parse().unwrap();
    let mut wire = Wire::login_empty(port, caps::BASE);
    assert_eq!(wire.rows("SELECT 7"), [["7"]]);
    server.kill();
    assert!(wire.closed());
}
