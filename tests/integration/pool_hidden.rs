//! What routines, views and triggers hide keeps a pool's connection for its client, and nothing else does.

use crate::pool::value;
use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps};
use crate::support::{Dpm, Server, all, eventually};

/// A pool of one connection, which clients wait for only shortly.
fn pool(server: &Server, options: &str) -> Dpm {
    server.sql(
        "CREATE USER IF NOT EXISTS hidden@'%' IDENTIFIED BY 'b'; GRANT ALL ON *.* TO hidden@'%'",
    );
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local l = require('harness').listen(function() end)
         pool = dpml.pool(l, {{
           servers = {{ {{ host = '127.0.0.1', port = tonumber(arg[1]) }} }},
           users = {{ ann = {{ password = 'p' }} }}, backend = {{ user = 'hidden', password = 'b' }},
           size = 1, queue_timeout = 2, {options} }})"
    ))
    .arg(server.port)
    .start()
}

/// A client whose schema is this one.
fn login(dpm: &Dpm, schema: &str) -> Wire {
    let mut wire = Wire::login_as(dpm.port(), "ann", "p", caps::BASE | caps::MULTI);
    done(&mut wire, &format!("USE {schema}"));
    wire
}

#[track_caller]
fn done(wire: &mut Wire, sql: &str) {
    if let Answer::Err(_, _, message) = wire.query(sql) {
        panic!("{sql}: {message}");
    }
}

/// Whether another client gets the connection.
fn is_shared(other: &mut Wire) -> bool {
    match other.query("DO 0") {
        Answer::Err(1040, ..) => false,
        Answer::Err(_, _, message) => panic!("{message}"),
        _ => true,
    }
}

/// A schema with what hides something, and what does not.
fn schema(server: &Server) -> String {
    let schema = server.database();
    let lock = "GET_LOCK(CONCAT('hidden ', CONNECTION_ID()), 1)";
    server.sql(&format!(
        "USE {schema};
         CREATE TABLE t (a INT);
         CREATE TABLE logged (a INT);
         INSERT INTO t VALUES (1);
         CREATE FUNCTION plain(x INT) RETURNS INT DETERMINISTIC RETURN x + 1;
         CREATE FUNCTION takes_lock(x INT) RETURNS INT NO SQL RETURN {lock};
         CREATE VIEW locking AS SELECT takes_lock(a) AS a FROM t;
         CREATE VIEW simple AS SELECT plain(a) AS a FROM t;
         CREATE TRIGGER r BEFORE INSERT ON logged FOR EACH ROW SET @seen = 'by a trigger';
         CREATE PROCEDURE dynamic() EXECUTE s"
    ));
    schema
}

all! {
    fn what_is_hidden_holds(server) {
        let schema = schema(server);
        let dpm = pool(server, "");
        let (mut one, mut two) = (login(&dpm, &schema), login(&dpm, &schema));
        for sql in ["SELECT plain(1)", "SELECT * FROM simple", "INSERT INTO t VALUES (2)", "SELECT * FROM logged"] {
            done(&mut one, sql);
            assert!(is_shared(&mut two), "{sql}");
        }
        for sql in ["SELECT takes_lock(1)", "SELECT * FROM locking"] {
            done(&mut one, sql);
            assert!(!is_shared(&mut two), "{sql}");
            done(&mut one, "SELECT RELEASE_ALL_LOCKS()");
            assert!(is_shared(&mut two), "after {sql}");
        }
        done(&mut one, "INSERT INTO logged VALUES (1)");
        assert!(!is_shared(&mut two), "a trigger");
        drop(one);
        // The connection is reset for others.
        eventually("the connection is free", || is_shared(&mut two));
        match two.query("SELECT @seen") {
            Answer::Rows { rows, .. } => assert_eq!(rows[0][0], None),
            other => panic!("{other:?}"),
        }
    }
}

all! {
    fn what_cannot_be_judged_holds_unless_it_is_harmless(server) {
        let schema = schema(server);
        let call = format!("CALL {schema}.dynamic()");
        // With an error, too: it may have done something before.
        let run = |dpm: &Dpm| {
            let (mut one, mut two) = (login(dpm, &schema), login(dpm, &schema));
            one.query("PREPARE s FROM 'SET @left = 1'");
            done(&mut one, &call);
            one.query("DEALLOCATE PREPARE s");
            let shared = is_shared(&mut two);
            let left = match shared {
                true => two.query("SELECT @left"),
                false => return (false, None),
            };
            match left {
                Answer::Rows { rows, .. } => (true, Some(rows[0][0].clone())),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(run(&pool(server, "")), (false, None));
        // Nobody sees what was left, if it is not kept either.
        assert_eq!(run(&pool(server, "hold_opaque = false")), (true, Some(None)));
        let harmless = format!("harmless = {{ '{schema}.dynamic' }}");
        let (shared, _) = run(&pool(server, &harmless));
        assert!(shared);
    }
}

all! {
    fn definitions_that_pass_by_are_noticed(server) {
        let schema = schema(server);
        let dpm = pool(server, "");
        let (mut one, mut two) = (login(&dpm, &schema), login(&dpm, &schema));
        done(&mut one, "CREATE VIEW late AS SELECT takes_lock(a) AS a FROM t");
        assert!(is_shared(&mut two));
        done(&mut one, "SELECT * FROM late");
        assert!(!is_shared(&mut two));
    }
}

all! {
    fn lastval_is_refused_where_nobody_asks_for_it(server) {
        let schema = schema(server);
        let dpm = pool(server, "lastval = false");
        let mut one = login(&dpm, &schema);
        match one.query("SELECT LASTVAL(s)") {
            Answer::Err(code, _, message) => {
                assert_eq!(code, 1105);
                assert!(message.starts_with("sequence: "), "{message}");
            }
            other => panic!("{other:?}"),
        }
        done(&mut one, "SELECT 1");
    }
}

all! {
    /// What a routine has set without a report (MariaDB does not report `SET @@x`) is read whatever else the session has
    /// set: how many rows it gets, in which character set, and how many it may look at.
    fn what_was_not_reported_is_read_in_any_session(server) {
        let schema = server.database();
        server.sql(&format!("CREATE PROCEDURE {schema}.quietly(n INT) SET @@div_precision_increment = n"));
        let dpm = pool(server, "");
        let (mut one, mut two) = (login(&dpm, &schema), login(&dpm, &schema));
        for (set, back) in [
            ("sql_select_limit = 1", "sql_select_limit = DEFAULT"),
            ("character_set_results = utf16", "character_set_results = utf8mb4"),
            ("max_join_size = 1", "max_join_size = DEFAULT, sql_big_selects = 1"),
        ] {
            done(&mut one, &format!("SET {set}"));
            done(&mut one, "CALL quietly(7)");
            let seen = |wire: &mut Wire| value(wire, "SELECT @@div_precision_increment");
            assert_eq!(seen(&mut two), "4", "another's, after {set}");
            done(&mut one, &format!("SET {back}"));
            assert_eq!(seen(&mut one), "7", "after {set}");
            done(&mut one, "SET div_precision_increment = 4");
        }
    }
}
