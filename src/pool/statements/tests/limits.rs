//! How many statements there may be.

use super::*;

#[test]
fn the_least_recently_used_goes() {
    let mut case = Case::new(Dialect::MariaDb);
    let mut connection = ConnectionStatements::new(3);
    let mut client = case.client(1);
    let ids: Vec<u32> = (0..3)
        .map(|i| {
            assert_eq!(connection.make_room(), None);
            case.prepare(&mut client, &mut connection, &format!("SELECT {i}"), 10 + i)
        })
        .collect();
    case.execute(&mut client, &mut connection, ids[0], None, 0)
        .unwrap();
    assert_eq!(connection.make_room(), Some(11));
    assert_eq!(connection.make_room(), None);
    // First those that nobody has any more.
    client.command(&about(Com::STMT_CLOSE, ids[0], b""));
    client.closed(Some(&mut connection));
    connection.prepared(client.statement(ids[1]).unwrap(), 13);
    assert_eq!(connection.make_room(), Some(10));
    assert_eq!(connection.unused(), None);
    client.command(&about(Com::STMT_CLOSE, ids[2], b""));
    client.closed(Some(&mut connection));
    assert_eq!(connection.unused(), Some(12));
    assert_eq!(connection.evict(), Some(13));
    assert_eq!(connection.evict(), None);
    // Never those in use.
    connection.prepared(client.statement(ids[1]).unwrap(), 14);
    case.send(&mut client, &mut connection, &execute(ids[1], None, 0));
    client.ended(Outcome::Ok(Status::CURSOR_EXISTS), &mut connection);
    assert_eq!(connection.evict(), None);
    connection.set_limit(1);
    assert_eq!(connection.make_room(), None);
    assert_eq!(limit_per_connection(256, 16_382, 20), 256);
    assert_eq!(limit_per_connection(256, 1000, 20), 25);
    assert_eq!(limit_per_connection(256, 0, 0), 1);
}

#[test]
fn a_client_has_no_more_than_its_share() {
    let mut case = Case::new(Dialect::MariaDb);
    let mut connection = ConnectionStatements::new(3);
    let mut client = case.client(1);
    let limits = Limits {
        statements: 2,
        bytes: 20,
    };
    case.prepare(&mut client, &mut connection, "SELECT 1", 1);
    let (present, shared) = ((&case.present, Sharing::Anyone), &mut case.shared);
    let long = client.begin_prepare(b"SELECT 1234567", present, shared, limits);
    let message = "Can't create more than max_prepared_stmt_count statements (current value: 1)";
    assert_eq!(text_of(long.unwrap_err()), (1461, message.into()));
    assert_eq!(
        client.begin_prepare(b"SELECT 2", present, shared, limits),
        Ok(())
    );
    client.prepared(&head(2, ""), &mut connection).unwrap();
    let third = client.begin_prepare(b"DO 1", present, shared, limits);
    assert_eq!(third.unwrap_err().errnum, 1461);
    client.command(&about(Com::STMT_CLOSE, 1, b""));
    assert_eq!(
        client.begin_prepare(b"DO 1", present, shared, limits),
        Ok(())
    );
    // All clients together have a limit, too.
    let mut few = SharedStatements::new(2000);
    let longer = |n: usize| format!("SELECT {n:0500}").into_bytes();
    let mut clients: Vec<_> = (0..3).map(|number| case.client(number)).collect();
    let begun: Vec<_> = (clients.iter_mut().enumerate())
        .map(|(n, client)| client.begin_prepare(&longer(n), present, &mut few, Limits::default()))
        .map(|begun| begun.is_ok())
        .collect();
    assert_eq!(begun, [true, true, false]);
    clients.remove(0);
    let begun = clients[1].begin_prepare(&longer(2), present, &mut few, Limits::default());
    assert_eq!(begun, Ok(()), "what nobody needs makes room");
}

#[test]
fn many_clients_share_all_that_they_can() {
    let mut case = Case::new(Dialect::MySql);
    let mut connection = ConnectionStatements::new(100);
    let mut clients: Vec<_> = (0..5000).map(|number| case.client(number)).collect();
    for client in &mut clients {
        for text in ["SELECT ?", "UPDATE t SET a = ?"] {
            let id = case.prepare(client, &mut connection, text, 1);
            case.execute(client, &mut connection, id, Some(&[INT]), 1)
                .unwrap();
        }
    }
    assert_eq!((case.shared.len(), connection.len()), (2, 2));
    assert_eq!(clients[0].statement(1).unwrap().users(), 5000);
    assert!(Rc::ptr_eq(
        clients[1].statement(1).unwrap(),
        clients[4999].statement(1).unwrap()
    ));
    drop(clients);
    assert_eq!(connection.unused(), Some(1));
    assert_eq!(connection.unused(), Some(1));
    for n in 0..1000 {
        let text = format!("SELECT {n}");
        case.shared
            .statement(text.as_bytes(), &case.present.clone())
            .unwrap();
    }
    assert!(case.shared.len() <= 512, "{}", case.shared.len());
}
