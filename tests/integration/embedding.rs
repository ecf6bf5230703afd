//! Programs in Rust that embed the proxy.

use crate::support::dpm::Launch;
use crate::support::wire::{Wire, caps};
use crate::support::{both, eventually};

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
