use proptest::prelude::*;

use super::*;
use crate::pool::statements::{
    ClientStatements, ConnectionStatements, Dialect, Form, Limits, Setting, SharedStatements,
    Sharing,
};
use crate::wire::PrepareOk;

/// What a client is greeted with and has set, as far as others can set it.
fn settings(schema: &str, zone: &str) -> Settings {
    let at_login = Settings::at_login(Some(schema.as_bytes()), "utf8mb4", "utf8mb4_bin");
    let text = zone.as_bytes();
    at_login.with(
        Some(schema.as_bytes()),
        &[("time_zone", text), ("wait_timeout", b"28")],
    )
}

/// A client with a statement that it has prepared and executed with two parameters.
fn prepared(shared: &mut SharedStatements) -> ClientStatements {
    let setting = shared.setting(Setting {
        schema: Some(b"shop".to_vec()),
        sql_mode: b"ANSI_QUOTES".to_vec(),
        charset: b"utf8mb4".to_vec(),
        collation: b"utf8mb4_bin".to_vec(),
    });
    let mut statements = ClientStatements::new(1, Dialect::MySql);
    let mut connection = ConnectionStatements::new(8);
    for text in [b"SELECT ?, ?".as_slice(), b"SELECT 1"] {
        let present = (&setting, Sharing::Anyone);
        statements
            .begin_prepare(text, present, shared, Limits::default())
            .unwrap();
        let head = PrepareOk {
            statement_id: 7,
            params: if text.contains(&b'?') { 2 } else { 0 },
            ..PrepareOk::default()
        };
        statements.prepared(&head, &mut connection).unwrap();
    }
    // Types: an unsigned LONGLONG, and VAR_STRING.
    let mut execute = vec![0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 8, 0x80, 253, 0];
    execute.extend_from_slice(&5_u64.to_le_bytes());
    execute.extend_from_slice(b"\x01x");
    let form = Form {
        present: &setting,
        client: Capabilities::empty(),
        server: Capabilities::empty(),
    };
    let sending = statements.send(&execute, &mut connection, form, &mut Vec::new());
    assert!(
        matches!(sending, crate::pool::statements::Sending::Ready),
        "{sending:?}"
    );
    statements
}

fn whole() -> LogicalSession {
    let mut shared = SharedStatements::new(1 << 20);
    let mut diagnostics = Diagnostics::new();
    diagnostics.refused(&crate::wire::ErrPacket::new(
        1146,
        b"42S02",
        "No such table".into(),
    ));
    LogicalSession {
        flavour: Some(Flavour::MySql),
        user: "ann".into(),
        account: "app".into(),
        party: Some("shop".into()),
        capabilities: Capabilities::FOUND_ROWS | Capabilities::MULTI_STATEMENTS,
        multi_statements: true,
        initial: Rc::new(settings("shop", "SYSTEM")),
        settings: Rc::new(settings("other", "+05:00")),
        last_insert_id: u64::MAX,
        diagnostics,
        statements: Some(prepared(&mut shared).to_portable()),
        trackers: None,
        last_write: LastWrite::Seen(b"0-1-7".as_slice().into()),
        before: Some(*b"sixteen bytes of"),
        wait_timeout: Some(300),
        held: Some(Hold {
            reason: Reason::TemporaryTable,
            statement: b"CREATE TEMPORARY TABLE t (a INT)".to_vec(),
        }),
    }
}

#[test]
fn a_session_is_read_as_it_was_written() {
    let session = whole();
    let read = LogicalSession::read(&session.write().unwrap()).unwrap();
    assert_eq!(read, session);
    assert_eq!(
        read.stays().map(|hold| hold.reason),
        Some(Reason::TemporaryTable)
    );
    let nearly_empty = LogicalSession {
        account: "app".into(),
        ..LogicalSession::default()
    };
    let read = LogicalSession::read(&nearly_empty.write().unwrap()).unwrap();
    assert_eq!(read, nearly_empty);
    assert!(read.stays().is_none());
}

#[test]
fn statements_keep_their_ids_and_types() {
    let portable = whole().statements.unwrap();
    let mut shared = SharedStatements::new(1 << 20);
    let mut statements =
        ClientStatements::of_portable(&portable, (2, Dialect::MySql), &mut shared).unwrap();
    assert_eq!(statements.to_portable(), portable);
    assert_eq!(
        statements.statement(1).map(|one| one.text().to_vec()),
        Some(b"SELECT ?, ?".to_vec())
    );
    let present = statements.statement(1).unwrap().setting().clone();
    // The types are left out: they are put in for a connection that has never seen them.
    let mut connection = ConnectionStatements::new(8);
    connection.prepared(&statements.statement(1).unwrap().clone(), 30);
    let mut execute = vec![0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    execute.extend_from_slice(&5_u64.to_le_bytes());
    execute.extend_from_slice(b"\x01x");
    let form = Form {
        present: &present,
        client: Capabilities::empty(),
        server: Capabilities::empty(),
    };
    let mut out = Vec::new();
    statements.send(&execute, &mut connection, form, &mut out);
    assert_eq!(out.get(1..5), Some(&30_u32.to_le_bytes()[..]));
    assert_eq!(out.get(11..16), Some(&[1, 8, 0x80, 253, 0][..]));
    // There is no room for them.
    let mut full = SharedStatements::new(1);
    assert!(ClientStatements::of_portable(&portable, (3, Dialect::MySql), &mut full).is_none());
}

#[test]
fn fields_of_a_newer_program_are_skipped() {
    let session = whole();
    let mut bytes = session.write().unwrap();
    bytes.extend_from_slice(&[200, 3, 0, 0, 0, b'n', b'e', b'w']);
    assert_eq!(LogicalSession::read(&bytes), Ok(session));
}

#[test]
fn what_is_newer_is_refused_clearly() {
    let mut bytes = whole().write().unwrap();
    bytes[MARK.len()] = VERSION + 1;
    let refusal = LogicalSession::read(&bytes).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "this session was written by a newer program, as version 2: version 1 is the newest that is understood here"
    );
    assert_eq!(LogicalSession::read(b"SELECT 1"), Err(Unreadable::Other));
    assert_eq!(LogicalSession::read(MARK), Err(Unreadable::Malformed));
}

#[test]
fn names_and_characteristics_cannot_become_other_statements() {
    let written = |fill: &dyn Fn(&mut Writer)| {
        let mut out = Writer::default();
        out.bytes(ACCOUNT, b"app");
        out.record(INITIAL, fill);
        [MARK, &[VERSION], &out.finish().unwrap()].concat()
    };
    let named = |name: &'static str| {
        written(&move |out: &mut Writer| out.record(2, |out| out.bytes(1, name.as_bytes())))
    };
    assert!(LogicalSession::read(&named("sql_mode")).is_ok());
    for name in ["", "sql_mode='', @@global.x", "a b"] {
        assert_eq!(
            LogicalSession::read(&named(name)),
            Err(Unreadable::Malformed),
            "{name}"
        );
    }
    let begun =
        |text: &'static str| written(&move |out: &mut Writer| out.bytes(3, text.as_bytes()));
    assert!(LogicalSession::read(&begun("START TRANSACTION READ ONLY;")).is_ok());
    assert_eq!(
        LogicalSession::read(&begun("DROP TABLE t")),
        Err(Unreadable::Malformed)
    );
}

proptest! {
    /// Nothing that somebody may write makes the reader panic, or keep much more than there was.
    #[test]
    fn hostile_bytes_are_refused(at in 0..2000_usize, with in prop::collection::vec(any::<u8>(), 0..12)) {
        let mut bytes = whole().write().unwrap();
        let at = at % bytes.len();
        let end = (at + with.len()).min(bytes.len());
        bytes.splice(at..end, with);
        if let Ok(session) = LogicalSession::read(&bytes) {
            let written = session.write().unwrap();
            prop_assert_eq!(LogicalSession::read(&written), Ok(session));
        }
    }

    #[test]
    fn any_record_is_read_or_refused(record in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = LogicalSession::read(&[MARK, &[VERSION], &record].concat());
    }
}

/// What the fuzz target begins with can be read.
#[test]
fn the_seeds_are_sessions() {
    let seeds = include_str!("../../../fuzz/corpus/sessions.txt");
    for line in seeds.lines() {
        let digits: Vec<u8> = line.bytes().collect();
        let pairs = digits
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes: Vec<u8> = pairs
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect();
        let session = LogicalSession::read(&bytes);
        assert!(session.is_ok(), "{line}: {session:?}");
    }
}
