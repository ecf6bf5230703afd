//! Sessions whose servers report every change.

use super::*;

/// With a server's initial values.
fn talk(version: &[u8]) -> Talk {
    let mut talk = Talk::with(version, Hidden::Reported);
    let initial = [
        ("time_zone", "SYSTEM"),
        ("sql_mode", "STRICT,ANSI_QUOTES"),
        ("character_set_client", "utf8mb4"),
        ("foreign_key_checks", "ON"),
        ("collation_connection", "utf8mb4_bin"),
    ];
    let initial = initial.map(|(name, value)| (name.to_string(), Some(value.as_bytes().to_vec())));
    talk.0.begin_reports(Rc::new(initial.into_iter().collect()));
    talk
}

fn traces(talk: &Talk) -> Traces {
    talk.0.may_be_left().0
}

#[test]
fn what_is_not_reported_has_not_changed() {
    for version in [MYSQL, MARIADB] {
        let mut talk = talk(version);
        assert!(talk.0.reports() && talk.0.others_are_initial());
        assert_eq!(traces(&talk), Traces::empty());
        for sql in [
            "SELECT f()",
            "CALL p()",
            "SELECT * FROM t",
            "INSERT INTO t VALUES (1)",
            "EXECUTE s",
        ] {
            talk.query(sql, "");
            assert_eq!(talk.var("time_zone"), is("SYSTEM"), "{sql}");
            assert_eq!(talk.schema(), is("test"), "{sql}");
            assert_eq!(talk.next(), Fact::Known(""), "{sql}");
        }
        // But routines may have left what is not reported.
        assert_eq!(talk.0.last_insert_id(), unknown(Doubt::Routine));
        assert!(traces(&talk).contains(Traces::NAMED_LOCKS));
    }
    let mut plain = talk(MYSQL);
    plain
        .query("SELECT * FROM t", "")
        .query("UPDATE t SET a = 1", "");
    assert_eq!(traces(&plain), Traces::empty());
    assert_eq!(
        plain.inserted("INSERT INTO t (a) VALUES (1)", 7),
        Fact::Known(7)
    );
    plain.query("CALL p()", "VAR:time_zone=+01:00 SCHEMA:other STATE:1");
    assert_eq!(plain.var("time_zone"), is("+01:00"));
    assert_eq!(plain.schema(), is("other"));
    // Servers differ in what a list after GLOBAL is about, and say so.
    plain.query("SET GLOBAL a = 1, time_zone = '+05:00'", "");
    assert_eq!(plain.var("time_zone"), is("+01:00"));
}

#[test]
fn after_an_error_nothing_is_known_until_a_report() {
    let mut talk = talk(MYSQL);
    talk.query("SET time_zone = '+01:00'", "VAR:time_zone=+01:00");
    for sql in [
        "CALL p()",
        "SELECT f()",
        "INSERT INTO t VALUES (1)",
        "SELECT * FROM v",
        "SET a = 1",
        "BEGIN",
    ] {
        talk.fails(sql, 1644);
        assert!(talk.0.is_unsettled(), "{sql}");
        assert_eq!(talk.var("time_zone"), unknown(Doubt::Error), "{sql}");
        assert_eq!(talk.schema(), unknown(Doubt::Error), "{sql}");
        assert_eq!(talk.next(), unknown(Doubt::Error), "{sql}");
        // MySQL makes up for it with any answer.
        talk.query("DO 1", "");
        assert_eq!(talk.var("time_zone"), is("+01:00"), "{sql}");
    }
    for (sql, errno) in [
        ("SELECT 1 + ", 1064),
        ("nonsense", 1064),
        ("USE nosuch", 1049),
        ("DO 1", 1317),
    ] {
        talk.fails(sql, errno);
        assert!(!talk.0.is_unsettled(), "{sql}");
    }
    // Of an error in a list no assignment remains, but for those that are reported then.
    talk.fails("SET last_insert_id = 3, time_zone = 'x'", 1298);
    assert_eq!(talk.0.last_insert_id(), unknown(Doubt::Error));
    talk.query("DO 1", "VAR:sql_mode=x");
    assert_eq!(talk.var("sql_mode"), is("x"));
}

#[test]
fn mariadb_reports_the_past_only_with_something_else() {
    let mut talk = talk(MARIADB);
    talk.fails("CALL p()", 1644).query("DO 1", "");
    assert_eq!(talk.var("time_zone"), unknown(Doubt::Error));
    talk.query("SET a = 1", "VAR:a=1 VAR:time_zone=+02:00 STATE:1");
    assert_eq!(talk.var("time_zone"), is("+02:00"));
    assert_eq!(talk.schema(), is("test"));
}

#[test]
fn only_new_mariadbs_share_names() {
    for (version, mixes) in [
        (MARIADB, true),
        (b"5.5.5-10.11.19-MariaDB", false),
        (MYSQL, false),
    ] {
        let mut talk = talk(version);
        talk.query("CALL p()", "VAR:autocommit=ON STATE:1");
        let expected = if mixes {
            unknown(Doubt::Coupled)
        } else {
            is("ON")
        };
        assert_eq!(talk.var("foreign_key_checks"), expected);
        // It was another one, and counts as not mentioned any more.
        talk.0.learn_variable("foreign_key_checks", Some(b"ON"));
        assert_eq!(talk.var("foreign_key_checks"), is("ON"));
        let mentioned = talk
            .0
            .mentioned()
            .any(|(name, _)| name == "foreign_key_checks");
        assert_eq!(mentioned, !mixes);
    }
}

#[test]
fn without_its_trackers_it_is_doubted() {
    for (sql, blocks) in [
        ("SET session_track_schema = 0", ""),
        ("SET session_track_system_variables = ''", ""),
        ("CALL p()", "VAR:session_track_transaction_info=OFF"),
    ] {
        let mut talk = talk(MYSQL);
        talk.query(
            "SET session_track_schema = 1",
            "VAR:session_track_schema=ON",
        );
        assert!(talk.0.reports());
        talk.query(sql, blocks);
        assert!(!talk.0.reports());
        assert_eq!(talk.var("time_zone"), unknown(Doubt::Routine));
        talk.query("SELECT * FROM t", "");
        assert!(traces(&talk).contains(Traces::NAMED_LOCKS | Traces::USER_VARIABLES));
    }
    let mut talk = talk(MYSQL);
    talk.0.command(Com::RESET_CONNECTION, b"");
    talk.ok("");
    assert!(!talk.0.reports() && !talk.0.others_are_initial());
    assert_eq!(talk.var("time_zone"), unknown(Doubt::Reset));
}

#[test]
fn the_revision_changes_with_what_can_be_restored() {
    let mut talk = talk(MYSQL);
    let mut last = talk.0.revision();
    let mut changes = |talk: &Talk| std::mem::replace(&mut last, talk.0.revision()) != last;
    for (sql, blocks, expected) in [
        ("SELECT * FROM t", "", false),
        ("SET time_zone = '+01:00'", "VAR:time_zone=+01:00", true),
        ("SET time_zone = '+01:00'", "VAR:time_zone=+01:00", false),
        ("USE test", "SCHEMA:test", false),
        ("USE other", "SCHEMA:other", true),
        (
            "SET TRANSACTION READ ONLY",
            "CHAR:SET_TRANSACTION_READ_ONLY;",
            true,
        ),
        ("INSERT INTO t (a) VALUES (1)", "CHAR:", true),
        ("SET timestamp = 1", "VAR:timestamp=1", false),
        ("CALL p()", "", true),
        ("CALL p()", "", false),
    ] {
        talk.query(sql, blocks);
        assert_eq!(changes(&talk), expected, "{sql}");
    }
    talk.0.learn_last_insert_id(5);
    assert!(changes(&talk));
    assert_eq!(
        talk.inserted("INSERT INTO t (a) VALUES (1)", 7),
        Fact::Known(7)
    );
    assert!(!changes(&talk));
    talk.with_status("SET autocommit = 0", Status::empty(), "");
    assert!(changes(&talk));
    talk.fails("CALL p()", 1644);
    assert!(changes(&talk));
}

#[test]
fn a_transaction_is_unused_until_a_table_is() {
    let open = Status::AUTOCOMMIT | Status::IN_TRANS;
    let mut talk = talk(MYSQL);
    let state = |talk: &mut Talk, sql: &str, state: &str| {
        talk.0.command(Com::QUERY, sql.as_bytes());
        let changes = [SessionChange {
            change_type: change_type::TRANSACTION_STATE,
            name: None,
            value: state.as_bytes().to_vec(),
        }];
        let changes = session_changes::encode(&changes);
        let ending = Ending::Ok {
            status: open,
            insert_id: 0,
            warnings: 0,
            changes: (!state.is_empty()).then_some(changes.as_slice()),
        };
        talk.0.result(ending, true);
        talk.0.is_unused()
    };
    assert!(state(&mut talk, "BEGIN", "T_______"));
    assert!(state(&mut talk, "SELECT 1", "T____sS_"));
    assert!(state(&mut talk, "USE other", ""));
    for used in [
        "Tr____S_", "T_R_____", "T__w____", "T___W___", "T______L", "I_______", "________", "",
    ] {
        assert!(state(&mut talk, "BEGIN", "T_______"));
        let is_unused = state(&mut talk, "CREATE TEMPORARY TABLE u (a INT)", used);
        assert_eq!(is_unused, used.is_empty(), "{used}");
    }
    state(&mut talk, "BEGIN", "T_______");
    talk.fails("INSERT INTO t VALUES (1)", 1062);
    assert!(!state(&mut talk, "DO 1", ""));
    state(&mut talk, "BEGIN", "T_______");
    talk.with_status(
        "SET SESSION TRANSACTION READ ONLY",
        open,
        "VAR:transaction_read_only=ON",
    );
    assert!(!talk.0.is_unused());
    state(&mut talk, "BEGIN", "T_______");
    talk.query("COMMIT", "");
    assert!(!talk.0.is_unused());
}
