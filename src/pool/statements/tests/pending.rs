//! Cursors, long data, and ids that mean nothing.

use super::*;

#[test]
fn a_cursor_is_its_clients() {
    let mut case = Case::new(Dialect::MariaDb);
    let mut connection = ConnectionStatements::new(10);
    let mut client = case.client(1);
    let id = case.prepare(&mut client, &mut connection, "SELECT 1", 5);
    let fetch = about(Com::STMT_FETCH, id, &[1, 0, 0, 0]);
    let none = error(client.command(&fetch));
    assert_eq!(none, (1421, "The statement (1) has no open cursor".into()));
    let mut asks = execute(id, None, 0);
    asks[5] = 1;
    assert!(matches!(
        case.send(&mut client, &mut connection, &asks),
        Sending::Ready
    ));
    assert!(!client.has_cursor());
    let open = Status::CURSOR_EXISTS | Status::AUTOCOMMIT;
    assert_eq!(client.ended(Outcome::Ok(open), &mut connection), Then::Done);
    assert!(client.has_cursor());
    // Another of the same text does not close it.
    let second = case.prepare(&mut client, &mut connection, "SELECT 1", 6);
    assert_eq!(
        case.execute(&mut client, &mut connection, second, None, 0)
            .unwrap(),
        (6, false)
    );
    assert_eq!(client.command(&fetch), Action::WithStatement(id));
    assert!(matches!(
        case.send(&mut client, &mut connection, &fetch),
        Sending::Ready
    ));
    assert_eq!(case.out, about(Com::STMT_FETCH, 5, &[1, 0, 0, 0]));
    client.ended(Outcome::Ok(open), &mut connection);
    assert!(client.has_cursor());
    case.send(&mut client, &mut connection, &fetch);
    client.ended(Outcome::Ok(Status::LAST_ROW_SENT), &mut connection);
    assert!(!client.has_cursor());
    assert_eq!(error(client.command(&fetch)).0, 1421);
    // A reset closes it, too, and otherwise is nothing but a ping.
    let reset = about(Com::STMT_RESET, id, b"");
    assert_eq!(client.command(&reset), Action::Ping);
    case.send(&mut client, &mut connection, &asks);
    client.ended(Outcome::Ok(open), &mut connection);
    assert_eq!(client.command(&reset), Action::WithStatement(id));
    assert!(matches!(
        case.send(&mut client, &mut connection, &reset),
        Sending::Ready
    ));
    client.ended(OK, &mut connection);
    assert!(!client.has_cursor());
    // So does a close, of the server's statement as well.
    case.send(&mut client, &mut connection, &asks);
    client.ended(Outcome::Ok(open), &mut connection);
    let on_server = u32::from_le_bytes(case.out[1..5].try_into().unwrap());
    assert_eq!(
        client.command(&about(Com::STMT_CLOSE, id, b"")),
        Action::Closed
    );
    assert_eq!(client.closed(Some(&mut connection)), [on_server]);
    assert!(!client.has_cursor());
    // A cursor that was asked for, but not opened.
    asks[1] = second as u8;
    case.send(&mut client, &mut connection, &asks);
    client.ended(OK, &mut connection);
    assert!(!client.has_cursor());
}

#[test]
fn long_data_is_for_the_next_execute() {
    let mut case = Case::new(Dialect::MySql);
    let mut connection = ConnectionStatements::new(10);
    let mut client = case.client(1);
    let id = case.prepare(&mut client, &mut connection, "SELECT ?", 5);
    let data = about(Com::STMT_SEND_LONG_DATA, id, b"\0\0abc");
    let wrong = about(Com::STMT_SEND_LONG_DATA, id, b"\x01\0abc");
    let run = execute(id, Some(&[TEXT]), 1);
    let reset = about(Com::STMT_RESET, id, b"");
    assert_eq!(client.command(&data), Action::WithStatement(id));
    assert!(matches!(
        case.send(&mut client, &mut connection, &data),
        Sending::Ready
    ));
    assert_eq!(case.out, about(Com::STMT_SEND_LONG_DATA, 5, b"\0\0abc"));
    assert!(client.has_long_data());
    let second = case.prepare(&mut client, &mut connection, "SELECT ?", 6);
    let sent = case.execute(&mut client, &mut connection, second, Some(&[TEXT]), 1);
    assert_eq!(sent.unwrap(), (6, true));
    assert!(client.has_long_data());
    assert!(matches!(
        case.send(&mut client, &mut connection, &run),
        Sending::Ready
    ));
    assert_eq!(case.out[1], 5);
    client.ended(OK, &mut connection);
    assert!(!client.has_long_data());
    // After an error the server's statement may be unusable.
    case.send(&mut client, &mut connection, &data);
    let on_server = u32::from_le_bytes(case.out[1..5].try_into().unwrap());
    case.send(&mut client, &mut connection, &run);
    let then = client.ended(Outcome::Err(1153), &mut connection);
    assert_eq!(then, Then::Close(on_server));
    assert!(!client.has_long_data());
    // A parameter that does not exist: nothing helps but a reset.
    assert_eq!(client.command(&wrong), Action::Nothing);
    let refused = (
        1210,
        "Incorrect arguments to mysql_stmt_precheck".to_owned(),
    );
    assert_eq!(error(client.command(&run)), refused);
    assert_eq!(error(client.command(&run)), refused);
    assert_eq!(client.command(&reset), Action::WithStatement(id));
    assert!(matches!(
        case.send(&mut client, &mut connection, &reset),
        Sending::Ping
    ));
    assert_eq!(client.command(&run), Action::WithStatement(id));
    // It could not be sent: one execute fails.
    client.long_data_failed(id, ErrPacket::new(1146, b"42S02", "gone".into()));
    assert!(!client.has_long_data());
    assert_eq!(error(client.command(&run)), (1146, "gone".into()));
    assert_eq!(client.command(&run), Action::WithStatement(id));
    // Nobody hears of it if there is no such statement.
    assert_eq!(
        client.command(&about(Com::STMT_SEND_LONG_DATA, 99, b"\0\0")),
        Action::Nothing
    );
    assert_eq!(
        client.command(&about(Com::STMT_CLOSE, 99, b"")),
        Action::Nothing
    );
}

#[test]
fn mariadbs_id_of_the_last_statement() {
    let mut case = Case::new(Dialect::MariaDb);
    let mut connection = ConnectionStatements::new(10);
    let mut client = case.client(1);
    let last = u32::MAX;
    let unknown = "Unknown prepared statement handler (4294967295) given to mysqld_stmt_execute";
    let run = execute(last, None, 0);
    assert_eq!(error(client.command(&run)), (1243, unknown.into()));
    let first = case.prepare(&mut client, &mut connection, "SELECT 1", 8);
    let second = case.prepare(&mut client, &mut connection, "SELECT 2", 9);
    assert_eq!(client.command(&run), Action::WithStatement(second));
    assert_eq!(
        case.execute(&mut client, &mut connection, last, None, 0)
            .unwrap(),
        (9, false)
    );
    client.command(&about(Com::STMT_CLOSE, first, b""));
    assert_eq!(client.command(&run), Action::WithStatement(second));
    // A prepare that fails leaves none.
    let (present, shared) = ((&case.present, Sharing::Anyone), &mut case.shared);
    client
        .begin_prepare(b"SELECT FROM", present, shared, Limits::default())
        .unwrap();
    client.prepare_failed();
    assert_eq!(error(client.command(&run)).0, 1243);
    let third = case.prepare(&mut client, &mut connection, "SELECT 3", 10);
    assert_eq!(client.command(&run), Action::WithStatement(third));
    client.command(&about(Com::STMT_CLOSE, last, b""));
    assert_eq!(error(client.command(&run)).0, 1243);
    assert_eq!(client.len(), 1);
    // MySQL has no such thing.
    let mut case = Case::new(Dialect::MySql);
    let mut client = case.client(1);
    case.prepare(&mut client, &mut connection, "SELECT 1", 11);
    let unknown = "Unknown prepared statement handler (4294967295) given to mysql_stmt_precheck";
    assert_eq!(error(client.command(&run)), (1243, unknown.into()));
}

#[test]
fn a_statement_that_the_server_has_lost() {
    let mut case = Case::new(Dialect::MariaDb);
    let mut connection = ConnectionStatements::new(10);
    let mut client = case.client(1);
    let id = case.prepare(&mut client, &mut connection, "SELECT 1", 8);
    case.send(&mut client, &mut connection, &execute(id, None, 0));
    assert_eq!(
        client.ended(Outcome::Err(1243), &mut connection),
        Then::Again
    );
    let again = case.execute(&mut client, &mut connection, id, None, 0);
    assert!(matches!(again, Err(Sending::Prepare(_))));
    // An error of another kind changes nothing.
    connection.prepared(client.statement(id).unwrap(), 9);
    case.send(&mut client, &mut connection, &execute(id, None, 0));
    assert_eq!(
        client.ended(Outcome::Err(1062), &mut connection),
        Then::Done
    );
    assert_eq!(
        case.execute(&mut client, &mut connection, id, None, 0)
            .unwrap(),
        (9, false)
    );
}

#[test]
fn other_commands_pass() {
    let mut client = ClientStatements::new(1, Dialect::MariaDb);
    for payload in [&b""[..], b"\x03SELECT 1", b"\x0e", b"\x1f", b"\x80"] {
        assert_eq!(client.command(payload), Action::Forward);
    }
    for (com, action) in [
        (Com::STMT_CLOSE, Action::Nothing),
        (Com::STMT_SEND_LONG_DATA, Action::Nothing),
        (
            Com::STMT_EXECUTE,
            Action::Answer(Dialect::MariaDb.malformed()),
        ),
        (
            Com::STMT_FETCH,
            Action::Answer(Dialect::MariaDb.malformed()),
        ),
    ] {
        assert_eq!(client.command(&[com.0, 1, 0]), action);
    }
}
