//! Clients' statements on connections, without servers; `model` has servers made up.

mod binding;
mod limits;
mod model;
mod pending;

use std::rc::Rc;

use super::*;
use crate::wire::{Capabilities, Column, ColumnType, Com, ErrPacket, ParamType, PrepareOk, Status};

const INT: ParamType = ParamType::new(ColumnType::LONGLONG);
const DOUBLE: ParamType = ParamType::new(ColumnType::DOUBLE);
const TEXT: ParamType = ParamType::new(ColumnType::VAR_STRING);

fn setting(sql_mode: &str, charset: &str) -> Setting {
    Setting {
        schema: Some(b"test".to_vec()),
        sql_mode: sql_mode.into(),
        charset: charset.into(),
        collation: [charset, "_general_ci"].concat().into(),
    }
}

/// A client that has prepared statements on a connection, and may go on with another.
struct Case {
    shared: SharedStatements,
    present: Rc<Setting>,
    dialect: Dialect,
    out: Vec<u8>,
}

impl Case {
    fn new(dialect: Dialect) -> Case {
        let mut shared = SharedStatements::new(1 << 20);
        Case {
            present: shared.setting(setting("", "utf8mb4")),
            shared,
            dialect,
            out: Vec::new(),
        }
    }

    fn client(&self, number: u64) -> ClientStatements {
        ClientStatements::new(number, self.dialect)
    }

    fn prepare(
        &mut self,
        client: &mut ClientStatements,
        connection: &mut ConnectionStatements,
        text: &str,
        on_server: u32,
    ) -> u32 {
        assert_eq!(
            client.command(&[b"\x16", text.as_bytes()].concat()),
            Action::Prepare
        );
        let begun = client.begin_prepare(
            text.as_bytes(),
            (&self.present, Sharing::Anyone),
            &mut self.shared,
            Limits::default(),
        );
        assert_eq!(begun, Ok(()));
        let (answer, _) = client.prepared(&head(on_server, text), connection).unwrap();
        define(client, text);
        answer.statement_id
    }

    fn form(&self) -> Form<'_> {
        Form {
            present: &self.present,
            client: Capabilities::empty(),
            server: Capabilities::empty(),
        }
    }

    /// What the server gets.
    fn send(
        &mut self,
        client: &mut ClientStatements,
        connection: &mut ConnectionStatements,
        payload: &[u8],
    ) -> Sending {
        let mut out = std::mem::take(&mut self.out);
        let sending = client.send(payload, connection, self.form(), &mut out);
        self.out = out;
        sending
    }

    /// The statement on the server that an execute with these types goes to, and whether the types are
    /// in the packet.
    fn execute(
        &mut self,
        client: &mut ClientStatements,
        connection: &mut ConnectionStatements,
        id: u32,
        types: Option<&[ParamType]>,
        params: usize,
    ) -> Result<(u32, bool), Sending> {
        let payload = execute(id, types, params);
        assert!(matches!(client.command(&payload), Action::WithStatement(_)));
        match self.send(client, connection, &payload) {
            Sending::Ready => {}
            other => return Err(other),
        }
        assert_eq!(client.ended(OK, connection), Then::Done);
        let sent = crate::wire::ExecuteHead::read(&self.out[1..], params as u16, NONE).unwrap();
        Ok((sent.statement_id, sent.types_sent()))
    }
}

const NONE: Capabilities = Capabilities::empty();
const OK: Outcome = Outcome::Ok(Status::AUTOCOMMIT);

/// The head of an answer: as many parameters as the text has question marks.
fn head(id: u32, text: &str) -> PrepareOk {
    PrepareOk {
        statement_id: id,
        columns: 1,
        params: text.matches('?').count() as u16,
        ..PrepareOk::default()
    }
}

/// An execute, all of whose values are zero.
fn execute(id: u32, types: Option<&[ParamType]>, params: usize) -> Vec<u8> {
    let mut payload = vec![Com::STMT_EXECUTE.0];
    payload.extend(id.to_le_bytes());
    payload.extend([0, 1, 0, 0, 0]);
    if params == 0 {
        return payload;
    }
    payload.resize(payload.len() + params.div_ceil(8), 0);
    payload.push(types.is_some().into());
    for one in types.unwrap_or_default() {
        payload.extend([one.column_type.0, u8::from(one.unsigned) << 7]);
    }
    payload.resize(payload.len() + params * 8, 0);
    payload
}

/// The server tells of the parameters of what was prepared: it takes all of them for texts.
fn define(client: &mut ClientStatements, text: &str) {
    for _ in 0..text.matches('?').count() {
        client.defines(Column {
            column_type: ColumnType::VAR_STRING,
            ..Column::default()
        });
    }
}

fn about(com: Com, id: u32, more: &[u8]) -> Vec<u8> {
    [&[com.0], &id.to_le_bytes()[..], more].concat()
}

fn error(action: Action) -> (u16, String) {
    match action {
        Action::Answer(err) => text_of(err),
        other => panic!("no error but {other:?}"),
    }
}

fn text_of(err: ErrPacket) -> (u16, String) {
    (err.errnum, String::from_utf8(err.message).unwrap())
}

#[test]
fn ids_are_the_clients_own() {
    let mut case = Case::new(Dialect::MariaDb);
    let mut connection = ConnectionStatements::new(10);
    let (mut one, mut other) = (case.client(1), case.client(2));
    assert_eq!(case.prepare(&mut one, &mut connection, "SELECT ?", 41), 1);
    assert_eq!(case.prepare(&mut one, &mut connection, "SELECT 2", 42), 2);
    assert_eq!(case.prepare(&mut other, &mut connection, "SELECT 3", 43), 1);
    let sent = case.execute(&mut one, &mut connection, 1, Some(&[INT]), 1);
    assert_eq!(sent.unwrap(), (41, true));
    assert_eq!(
        case.execute(&mut other, &mut connection, 1, None, 0)
            .unwrap(),
        (43, false)
    );
    // They are never given again.
    assert_eq!(one.command(&about(Com::STMT_CLOSE, 2, b"")), Action::Closed);
    assert!(one.closed(Some(&mut connection)).is_empty());
    assert_eq!(case.prepare(&mut one, &mut connection, "SELECT 2", 44), 3);
    one.prepare_failed();
    one.clear();
    assert!(one.is_empty());
    assert_eq!(case.prepare(&mut one, &mut connection, "SELECT 2", 45), 5);
}

#[test]
fn what_is_not_prepared_on_a_connection_is() {
    let mut case = Case::new(Dialect::MariaDb);
    let (mut here, mut there) = (ConnectionStatements::new(10), ConnectionStatements::new(10));
    let mut client = case.client(1);
    let id = case.prepare(&mut client, &mut here, "SELECT ?", 7);
    let missing = case.execute(&mut client, &mut there, id, Some(&[INT]), 1);
    let Err(Sending::Prepare(statement)) = missing else {
        panic!("{missing:?}");
    };
    assert_eq!(statement.text(), b"SELECT ?");
    assert_eq!(statement.setting(), &case.present);
    there.prepared(&statement, 9);
    let sent = case.execute(&mut client, &mut there, id, Some(&[INT]), 1);
    assert_eq!(sent.unwrap(), (9, true));
    // Here, nothing was bound yet.
    assert_eq!(
        case.execute(&mut client, &mut here, id, None, 1).unwrap(),
        (7, true)
    );
    assert_eq!(
        case.execute(&mut client, &mut here, id, None, 1).unwrap(),
        (7, false)
    );
    // After a reset it is not there any more.
    here.clear();
    let missing = case.execute(&mut client, &mut here, id, None, 1);
    assert!(matches!(missing, Err(Sending::Prepare(_))));
}
