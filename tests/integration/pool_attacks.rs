//! What a stranger would try on a pool of one connection: to see, to keep or to change what belongs to another client.

use std::time::{Duration, Instant};

use super::pool::{login, pool, value};
use crate::support::outcome::Outcome;
use crate::support::wire::{Answer, Wire, caps, com, frames};
use crate::support::{Dpm, all, let_time_pass};

fn number(answer: &Answer) -> u16 {
    match answer {
        Answer::Err(number, ..) => *number,
        _ => 0,
    }
}

fn login_multi(dpm: &Dpm) -> Wire {
    Wire::login_as(dpm.port(), "ann", "p", caps::BASE | caps::MULTI)
}

/// What another client finds of `@leak` on the only connection; it may also be told that there is no connection.
fn leaked(dpm: &Dpm) -> Option<String> {
    let mut other = login(dpm);
    match other.query("SELECT @leak") {
        Answer::Rows { rows, .. } => rows[0][0]
            .as_ref()
            .map(|value| value.escape_ascii().to_string()),
        Answer::Err(1040, ..) => None,
        answer => panic!("{answer:?}"),
    }
}

all! {
    /// Each text sets a variable where one would not look for it.
    fn no_text_hides_a_variable(server) {
        let schema = server.database();
        server.sql(&format!(
            "USE {schema}; CREATE TABLE t (a INT); CREATE PROCEDURE sets() SET @leak = 1;
             CREATE TRIGGER sets_as_well BEFORE INSERT ON t FOR EACH ROW SET @leak = 3"
        ));
        // Its body has a semicolon.
        let mut admin = Wire::login_empty(server.port, caps::BASE);
        for sql in [
            format!("CREATE FUNCTION {schema}.sets_too() RETURNS INT NO SQL BEGIN SET @leak = 2; RETURN 1; END"),
            format!("CREATE VIEW {schema}.v AS SELECT {schema}.sets_too() AS a"),
        ] {
            let answer = admin.query(&sql);
            assert!(matches!(answer, Answer::Ok(_)), "{sql}: {answer:?}");
        }
        let dpm = pool(server, 1, "queue_timeout = 1");
        for sql in [
            "SELECT 1 /*!50000 , @leak := 4 */".to_owned(),
            "SELECT /* /*! */ @leak := 5 -- */".to_owned(),
            "SET @leak = (SELECT 6)".to_owned(),
            "SET sql_mode = (SELECT '' FROM (SELECT @leak := 7) x)".to_owned(),
            "SELECT 8 INTO @`leak`".to_owned(),
            "DO 1; SET @'leak' = 9".to_owned(),
            format!("CALL {schema}.sets()"),
            format!("SELECT {schema}.sets_too()"),
            format!("INSERT INTO {schema}.t VALUES (1)"),
            format!("SELECT * FROM {schema}.v"),
            format!("EXPLAIN SELECT * FROM (SELECT {schema}.sets_too()) x"),
            "PREPARE p FROM 'SET @leak = 10'; EXECUTE p".to_owned(),
            "BEGIN; SET @leak = 11; ROLLBACK".to_owned(),
            "SET @leak = 12, no_such_variable = 1".to_owned(),
        ] {
            let mut one = login_multi(&dpm);
            one.outcomes(com::QUERY, sql.as_bytes());
            assert_eq!(leaked(&dpm), None, "while its client is there: {sql}");
            drop(one);
            assert_eq!(leaked(&dpm), None, "afterwards: {sql}");
        }
    }
}

all! {
    /// In GBK, BF 5C is one character: what looks like an escaped quote ends the text.
    fn no_character_set_hides_a_variable(server) {
        let dpm = pool(server, 1, "queue_timeout = 1");
        for charset in ["gbk", "sjis", "big5"] {
            for set in ["SET NAMES {}", "SET character_set_client = {}", "/*!50000 SET NAMES {} */"] {
                let mut one = login(&dpm);
                one.query(&set.replace("{}", charset));
                one.outcomes(com::QUERY, b"SELECT '\xBF\\', @leak := 7 -- '");
                assert_eq!(leaked(&dpm), None, "{set} {charset}");
                // Its settings move to another connection and back.
                let mut other = login(&dpm);
                other.query("SELECT 1");
                let answer = one.outcomes(com::QUERY, b"SELECT '\xBF\\', 1 -- '");
                assert!(!matches!(answer[0], Outcome::Ok(_)), "{set} {charset}: {answer:?}");
            }
        }
    }
}

all! {
    /// The numbers of prepared statements are the proxy's: nobody has those of others.
    fn statements_of_others_are_not_there(server) {
        let dpm = pool(server, 1, "");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        let Outcome::Prepared { statement, .. } = one.outcomes(com::STMT_PREPARE, b"SELECT 'own'").remove(0) else {
            panic!("prepared");
        };
        let execute = |id: u32| [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
        for id in [statement, 0, 1, 2, 3, u32::MAX - 1] {
            let answer = two.outcomes(com::STMT_EXECUTE, &execute(id)).remove(0);
            assert!(matches!(answer, Outcome::Err(1243, ..)), "{id}: {answer:?}");
            two.outcomes(com::STMT_CLOSE, &id.to_le_bytes());
        }
        let answer = one.outcomes(com::STMT_EXECUTE, &execute(statement)).remove(0);
        assert!(matches!(answer, Outcome::Rows { .. }), "{answer:?}");
    }
}

all! {
    /// Commands sent at once are answered one after another, whoever has the connection in between.
    fn commands_sent_at_once_are_the_senders(server) {
        let dpm = pool(server, 1, "queue_timeout = 20");
        let mut other = login(&dpm);
        for round in 0..20 {
            let mut one = login(&dpm);
            let zone = format!("+0{}:00", round % 10);
            let texts = [
                format!("SET time_zone = '{zone}'"),
                "SELECT @@time_zone".to_owned(),
                "SELECT LAST_INSERT_ID(77)".to_owned(),
                "SELECT @@time_zone".to_owned(),
                "SELECT LAST_INSERT_ID()".to_owned(),
            ];
            let bytes: Vec<u8> = texts
                .iter()
                .flat_map(|sql| frames(&[&[com::QUERY], sql.as_bytes()].concat(), &mut 0))
                .collect();
            other.command(com::QUERY, b"SELECT @@time_zone, LAST_INSERT_ID()");
            one.raw(&bytes);
            let mut told = || {
                // Each command is an exchange of its own.
                one.seq = 1;
                one.answer()
            };
            assert!(matches!(told(), Answer::Ok(_)));
            let mut told = || match told() {
                Answer::Rows { rows, .. } => String::from_utf8_lossy(rows[0][0].as_ref().expect("a value")).into_owned(),
                answer => panic!("{answer:?}"),
            };
            assert_eq!([told(), told(), told(), told()], [zone.as_str(), "77", &zone, "77"]);
            let Answer::Rows { rows, .. } = other.answer() else {
                panic!("an answer");
            };
            assert_eq!(rows[0], [Some(b"SYSTEM".to_vec()), Some(b"0".to_vec())]);
        }
    }
}

all! {
    /// Half a command, and a client that is gone in the middle of a hand-over.
    fn half_commands_stay_with_their_clients(server) {
        let dpm = pool(server, 1, "queue_timeout = 20");
        let mut other = login(&dpm);
        value(&mut other, "SELECT 1");
        for length in [1, 3, 4, 5, 9, 20] {
            let mut one = login(&dpm);
            let whole = frames(&[&[com::QUERY][..], b"SET time_zone = '+07:00'"].concat(), &mut 0);
            // It takes the connection, and begins another command.
            one.command(com::QUERY, b"SET time_zone = '+05:00'");
            one.raw(&whole[..length]);
            drop(one);
            assert_eq!(value(&mut other, "SELECT @@time_zone"), "SYSTEM", "{length}");
        }
    }
}

all! {
    /// One who prepares without end takes nothing from others.
    fn very_many_statements_are_their_clients_matter(server) {
        let dpm = pool(server, 1, "max_prepared = 20, queue_timeout = 20");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        let Outcome::Prepared { statement, .. } = two.outcomes(com::STMT_PREPARE, b"SELECT 'mine'").remove(0) else {
            panic!("prepared");
        };
        for n in 0..500 {
            one.outcomes(com::STMT_PREPARE, format!("SELECT {n}").as_bytes());
        }
        let argument = [&statement.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
        let answer = two.outcomes(com::STMT_EXECUTE, &argument).remove(0);
        assert!(matches!(answer, Outcome::Rows { .. }), "{answer:?}");
        // On this connection; other tests have theirs.
        let Answer::Rows { rows, .. } = login(&dpm).query("SHOW SESSION STATUS LIKE 'Com_stmt_close'") else {
            panic!("a status");
        };
        let closed = String::from_utf8_lossy(rows[0][1].as_ref().expect("a value")).into_owned();
        assert!(closed.parse::<u32>().expect("a number") >= 480, "{closed}");
    }
}

all! {
    /// Who fails to become somebody else is gone, and what was held by it, too.
    fn another_user_is_nobody_with_a_wrong_password(server) {
        let dpm = pool(server, 1, "queue_timeout = 20");
        let mut one = login(&dpm);
        one.query("SET @leak = 1");
        let answer = one.change_user("root", "");
        assert_eq!(answer[0], 0xFF, "{}", answer.escape_ascii());
        assert_eq!(leaked(&dpm), None);
    }
}

all! {
    /// Whoever is killed inside a transaction gives its locks back within a second, and nobody else is ever inside it.
    fn the_transaction_of_a_dead_client_is_nobodys(server) {
        let schema = server.database();
        server.sql(&format!("CREATE TABLE {schema}.t (id INT PRIMARY KEY, n INT) ENGINE=InnoDB; INSERT INTO {schema}.t VALUES (1, 0)"));
        let dpm = pool(server, 2, "queue_timeout = 20");
        let mut other = login(&dpm);
        other.query("SET SESSION innodb_lock_wait_timeout = 20");
        for how in ["idle", "running", "sending"] {
            let mut one = login(&dpm);
            one.query("BEGIN");
            one.query(&format!("UPDATE {schema}.t SET n = 1000 WHERE id = 1"));
            match how {
                "running" => one.command(com::QUERY, b"SELECT SLEEP(30)"),
                "sending" => one.raw(&[100, 0, 0]),
                _ => {}
            }
            let_time_pass(Duration::from_millis(50));
            drop(one);
            let begun = Instant::now();
            let answer = other.query(&format!("UPDATE {schema}.t SET n = n + 1 WHERE id = 1"));
            assert_eq!(number(&answer), 0, "{how}: {answer:?}");
            assert!(begun.elapsed() < Duration::from_secs(1), "{how}: {:?}", begun.elapsed());
            // Two connections at most: one of them was the dead client's.
            let mut all: Vec<Wire> = (0..2).map(|_| login(&dpm)).collect();
            for client in &mut all {
                let Answer::Ok(_) = client.query("BEGIN") else {
                    panic!("{how}: a transaction");
                };
                let n = value(client, &format!("SELECT n FROM {schema}.t"));
                assert!(n.parse::<u32>().expect("a number") < 1000, "{how}: {n}");
            }
        }
    }
}
