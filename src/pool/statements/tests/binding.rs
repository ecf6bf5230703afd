//! What clients bind to their statements, and in which setting.

use super::*;

#[test]
fn clients_share_a_text_but_not_what_they_bind() {
    for dialect in [Dialect::MariaDb, Dialect::MySql] {
        let mut case = Case::new(dialect);
        let mut connection = ConnectionStatements::new(10);
        let (mut one, mut other) = (case.client(1), case.client(2));
        let first = case.prepare(&mut one, &mut connection, "SELECT ?", 1);
        let second = case.prepare(&mut other, &mut connection, "SELECT ?", 2);
        assert_eq!(case.shared.len(), 1);
        // The later one serves both, the earlier is closed.
        assert_eq!(connection.len(), 1);
        let sent = case.execute(&mut one, &mut connection, first, Some(&[INT]), 1);
        assert_eq!(sent.unwrap(), (2, true));
        let unbound = case.execute(&mut other, &mut connection, second, None, 1);
        let Err(Sending::Answer(err)) = unbound else {
            panic!("{unbound:?}");
        };
        assert_eq!(err.errnum, 1210, "it has bound nothing itself");
        let sent = case.execute(&mut other, &mut connection, second, Some(&[INT]), 1);
        assert_eq!(sent.unwrap(), (2, true));
        assert_eq!(
            case.execute(&mut one, &mut connection, first, None, 1)
                .unwrap(),
            (2, false)
        );
    }
}

#[test]
fn mysql_resolves_types_for_each_client() {
    let mut case = Case::new(Dialect::MySql);
    let mut connection = ConnectionStatements::new(10);
    let (mut one, mut other) = (case.client(1), case.client(2));
    let first = case.prepare(&mut one, &mut connection, "SELECT ?", 1);
    let second = case.prepare(&mut other, &mut connection, "SELECT ?", 2);
    let sent = case.execute(&mut one, &mut connection, first, Some(&[DOUBLE]), 1);
    assert_eq!(sent.unwrap(), (2, true));
    // 5 would be 5.0 there.
    let sent = case.execute(&mut other, &mut connection, second, Some(&[INT]), 1);
    let Err(Sending::Prepare(statement)) = sent else {
        panic!("{sent:?}");
    };
    connection.prepared(&statement, 3);
    let sent = case.execute(&mut other, &mut connection, second, Some(&[INT]), 1);
    assert_eq!(sent.unwrap(), (3, true));
    // For the client that has bound a DOUBLE before, it is 5.0 on a connection of its own, too.
    let sent = case.execute(&mut one, &mut connection, first, Some(&[INT]), 1);
    assert_eq!(sent.unwrap(), (2, true));
    let sent = case.execute(&mut one, &mut connection, first, Some(&[TEXT]), 1);
    assert_eq!(sent.unwrap(), (2, true));
    // Nobody else gets that.
    let mut third = case.client(3);
    let id = case.prepare(&mut third, &mut connection, "SELECT ?", 4);
    assert_eq!(connection.len(), 2, "what is not private was closed");
    let sent = case.execute(&mut third, &mut connection, id, Some(&[DOUBLE]), 1);
    assert_eq!(sent.unwrap(), (4, true));
    assert_eq!(connection.forget_client(1), [2]);
}

#[test]
fn mariadb_resolves_types_each_time() {
    let mut case = Case::new(Dialect::MariaDb);
    let mut connection = ConnectionStatements::new(10);
    let (mut one, mut other) = (case.client(1), case.client(2));
    let first = case.prepare(&mut one, &mut connection, "SELECT ?", 1);
    let second = case.prepare(&mut other, &mut connection, "SELECT ?", 2);
    let mut clients = [(one, first), (other, second)];
    for (at, one_type) in [(0, DOUBLE), (1, INT), (0, TEXT)] {
        let (client, id) = &mut clients[at];
        let sent = case.execute(client, &mut connection, *id, Some(&[one_type]), 1);
        assert_eq!(sent.unwrap(), (2, true));
    }
    let [_, (mut other, second)] = clients;
    let sent = case.execute(&mut other, &mut connection, second, None, 1);
    assert_eq!(sent.unwrap(), (2, true), "its own type, not the other's");
    assert_eq!(case.out, execute(2, Some(&[INT]), 1));
}

#[test]
fn a_null_fits_every_class() {
    let mut case = Case::new(Dialect::MySql);
    let mut connection = ConnectionStatements::new(10);
    let (mut one, mut other) = (case.client(1), case.client(2));
    let first = case.prepare(&mut one, &mut connection, "SELECT ?, ?", 1);
    let second = case.prepare(&mut other, &mut connection, "SELECT ?, ?", 2);
    let sent = case.execute(&mut one, &mut connection, first, Some(&[INT, INT]), 2);
    assert_eq!(sent.unwrap(), (2, true));
    let mut null = execute(second, Some(&[TEXT, INT]), 2);
    null[10] = 1;
    let sending = case.send(&mut other, &mut connection, &null);
    assert!(matches!(sending, Sending::Ready), "{sending:?}");
    assert_eq!(case.out[1], 2);
    other.ended(OK, &mut connection);
    let sent = case.execute(&mut other, &mut connection, second, Some(&[INT, INT]), 2);
    assert_eq!(sent.unwrap(), (2, true));
}

#[test]
fn another_mode_than_that_of_the_prepare() {
    let mut case = Case::new(Dialect::MySql);
    let mut connection = ConnectionStatements::new(10);
    let (mut one, mut other) = (case.client(1), case.client(2));
    let first = case.prepare(&mut one, &mut connection, "SELECT \"a\"", 1);
    let ansi = case.shared.setting(setting("ANSI_QUOTES", "utf8mb4"));
    let usual = std::mem::replace(&mut case.present, ansi);
    // After ALTER the server would parse it in this mode.
    assert_eq!(
        case.execute(&mut one, &mut connection, first, None, 0)
            .unwrap(),
        (1, false)
    );
    case.present = usual;
    let second = case.prepare(&mut other, &mut connection, "SELECT \"a\"", 2);
    assert_eq!(case.shared.len(), 1);
    assert_eq!(
        case.execute(&mut other, &mut connection, second, None, 0)
            .unwrap(),
        (2, false)
    );
    assert_eq!(
        case.execute(&mut one, &mut connection, first, None, 0)
            .unwrap(),
        (1, false)
    );
    // Another schema is none: servers remember the statement's.
    let elsewhere = Setting {
        schema: None,
        ..(*case.present).clone()
    };
    case.present = case.shared.setting(elsewhere);
    assert_eq!(
        case.execute(&mut other, &mut connection, second, None, 0)
            .unwrap(),
        (2, false)
    );
    let third = case.prepare(&mut other, &mut connection, "SELECT \"a\"", 3);
    assert_eq!(case.shared.len(), 2);
    assert_eq!(
        case.execute(&mut other, &mut connection, third, None, 0)
            .unwrap(),
        (3, false)
    );
}

#[test]
fn types_stay_bound_in_their_character_set() {
    let mut case = Case::new(Dialect::MariaDb);
    let (mut here, mut there) = (ConnectionStatements::new(10), ConnectionStatements::new(10));
    let mut client = case.client(1);
    let id = case.prepare(&mut client, &mut here, "SELECT ?", 1);
    let sent = case.execute(&mut client, &mut here, id, Some(&[TEXT]), 1);
    assert_eq!(sent.unwrap(), (1, true));
    let latin1 = case.shared.setting(setting("", "latin1"));
    let usual = std::mem::replace(&mut case.present, latin1);
    // The server goes on in utf8mb4.
    assert_eq!(
        case.execute(&mut client, &mut here, id, None, 1).unwrap(),
        (1, false)
    );
    let Err(Sending::Prepare(statement)) = case.execute(&mut client, &mut there, id, None, 1)
    else {
        panic!("it is not prepared there");
    };
    there.prepared(&statement, 2);
    let Err(Sending::Answer(err)) = case.execute(&mut client, &mut there, id, None, 1) else {
        panic!("it would be read in latin1");
    };
    assert!(text_of(err).1.starts_with("not-restorable: "));
    let sent = case.execute(&mut client, &mut there, id, Some(&[TEXT]), 1);
    assert_eq!(sent.unwrap(), (2, true));
    case.present = usual;
    assert_eq!(
        case.execute(&mut client, &mut there, id, None, 1).unwrap(),
        (2, false)
    );
}

#[test]
fn attributes_come_and_go() {
    let mut case = Case::new(Dialect::MySql);
    let mut connection = ConnectionStatements::new(3);
    let mut client = case.client(1);
    let id = case.prepare(&mut client, &mut connection, "SELECT ?", 7);
    let with = Capabilities::QUERY_ATTRIBUTES;
    let plain = execute(id, Some(&[INT]), 1);
    let counted = crate::wire::execute_form::with_count(&plain, 1).unwrap();
    let present = case.present.clone();
    let form = |client, server| Form {
        present: &present,
        client,
        server,
    };
    let mut out = Vec::new();
    let expected = |payload: &[u8]| {
        let mut payload = payload.to_vec();
        payload[1] = 7;
        payload
    };
    for (payload, from, to, sent) in [
        (&plain, NONE, with, &counted),
        (&counted, with, NONE, &plain),
        (&counted, with, with, &counted),
    ] {
        let sending = client.send(payload, &mut connection, form(from, to), &mut out);
        assert!(matches!(sending, Sending::Ready), "{sending:?}");
        assert_eq!(out, expected(sent));
        client.ended(OK, &mut connection);
    }
    // Left out, and unknown to another connection.
    let mut other = ConnectionStatements::new(3);
    other.prepared(client.statement(id).unwrap(), 7);
    let bare = crate::wire::execute_form::with_count(&execute(id, None, 1), 1).unwrap();
    let sending = client.send(&bare, &mut other, form(with, with), &mut out);
    assert!(matches!(sending, Sending::Ready), "{sending:?}");
    assert_eq!(out, expected(&counted));
    // An attribute whose type was left out, too.
    let mut third = ConnectionStatements::new(3);
    third.prepared(client.statement(id).unwrap(), 7);
    let mut two = bare.clone();
    two[10] = 2;
    let sending = client.send(&two, &mut third, form(with, with), &mut out);
    assert!(matches!(sending, Sending::Answer(err) if err.errnum == 1835));
}

#[test]
fn bulk_executes() {
    let mut case = Case::new(Dialect::MariaDb);
    let mut connection = ConnectionStatements::new(3);
    let mut client = case.client(1);
    let id = case.prepare(&mut client, &mut connection, "INSERT INTO t VALUES (?)", 7);
    let bare = about(Com::STMT_BULK_EXECUTE, id, &[64, 0, 0, 1, 65]);
    let typed = |id| about(Com::STMT_BULK_EXECUTE, id, &[192, 0, 253, 0, 0, 1, 65]);
    let unbound = case.send(&mut client, &mut connection, &bare);
    assert!(matches!(unbound, Sending::Answer(err) if err.errnum == 1210));
    assert!(matches!(
        case.send(&mut client, &mut connection, &typed(id)),
        Sending::Ready
    ));
    assert_eq!(case.out, typed(7));
    client.ended(OK, &mut connection);
    assert!(matches!(
        case.send(&mut client, &mut connection, &bare),
        Sending::Ready
    ));
    assert_eq!(
        case.out,
        about(Com::STMT_BULK_EXECUTE, 7, &[64, 0, 0, 1, 65])
    );
    client.ended(OK, &mut connection);
    // Bulk and other executes know each other's types.
    assert_eq!(
        case.execute(&mut client, &mut connection, id, None, 1)
            .unwrap(),
        (7, false)
    );
    let mut other = ConnectionStatements::new(3);
    other.prepared(client.statement(id).unwrap(), 8);
    assert!(matches!(
        case.send(&mut client, &mut other, &bare),
        Sending::Ready
    ));
    assert_eq!(case.out, typed(8));
    // MySQL says that it has no such command.
    let mut client = ClientStatements::new(2, Dialect::MySql);
    assert_eq!(client.command(&bare), Action::Forward);
}
