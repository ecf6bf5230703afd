//! Random clients on random connections to a server that is made up: whatever they do, each execute
//! runs the client's text with the types that the client means.

use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::wire::{Com, ExecuteHead, ParamType, Status};

const TEXTS: [&str; 3] = ["SELECT ?", "SELECT ?, ?", "SELECT 1"];
const TYPES: [ParamType; 3] = [INT, DOUBLE, TEXT];

/// A server's statement.
#[derive(Default)]
struct OnServer {
    text: Vec<u8>,
    bound: Vec<ParamType>,
    /// What the first parameter is resolved as, if there is one.
    resolved: Option<ParamType>,
    /// Whose cursor or long data is there: the client, and its statement.
    cursor: Option<(usize, u32)>,
    long_data: Option<(usize, u32)>,
}

/// A statement's text, the types that were bound last, and what the first parameter is resolved as.
type Known = (Vec<u8>, Vec<ParamType>, Option<ParamType>);

/// What MySQL makes of a parameter for a value of this type, if these are all types that there are.
fn resolved(before: Option<ParamType>, value: ParamType) -> Option<ParamType> {
    match (before, value) {
        (Some(DOUBLE), _) => before,
        (_, TEXT) => before,
        _ => Some(value),
    }
}

struct OfClient {
    statements: ClientStatements,
    known: BTreeMap<u32, Known>,
    on: usize,
    present: Rc<Setting>,
}

struct Connection {
    statements: ConnectionStatements,
    on_server: BTreeMap<u32, OnServer>,
    newest: u32,
}

struct World {
    shared: SharedStatements,
    dialect: Dialect,
    clients: Vec<OfClient>,
    connections: Vec<Connection>,
    settings: Vec<Rc<Setting>>,
}

impl Connection {
    fn prepare(&mut self, text: &[u8]) -> u32 {
        self.newest += 1;
        let statement = OnServer {
            text: text.to_vec(),
            ..OnServer::default()
        };
        self.on_server.insert(self.newest, statement);
        self.newest
    }

    fn close(&mut self, id: u32) {
        let closed = self.on_server.remove(&id);
        assert!(closed.is_some(), "{id} is closed, but not there");
    }
}

impl World {
    fn new(dialect: Dialect) -> World {
        let mut shared = SharedStatements::new(1 << 20);
        let settings: Vec<_> = [("", "utf8mb4"), ("ANSI_QUOTES", "utf8mb4"), ("", "latin1")]
            .map(|(sql_mode, charset)| shared.setting(setting(sql_mode, charset)))
            .into();
        let clients = (0..3).map(|number| OfClient {
            statements: ClientStatements::new(number, dialect),
            known: BTreeMap::new(),
            on: number as usize % 2,
            present: settings[0].clone(),
        });
        let connections = (0..2).map(|_| Connection {
            statements: ConnectionStatements::new(3),
            on_server: BTreeMap::new(),
            newest: 0,
        });
        World {
            shared,
            dialect,
            clients: clients.collect(),
            connections: connections.collect(),
            settings,
        }
    }

    /// The client takes its connection, or another if nobody holds that.
    fn borrow(&mut self, number: usize, other: bool) -> bool {
        let client = &self.clients[number];
        let held = client.statements.has_cursor() || client.statements.has_long_data();
        let on = match other && !held {
            true => 1 - client.on,
            false => client.on,
        };
        let holds = |other: &OfClient| {
            other.on == on && (other.statements.has_cursor() || other.statements.has_long_data())
        };
        let mut others = self.clients.iter().enumerate();
        if others.any(|(at, other)| at != number && holds(other)) {
            return false;
        }
        self.clients[number].on = on;
        true
    }

    fn prepare(&mut self, number: usize, text: &str) {
        let client = &mut self.clients[number];
        let connection = &mut self.connections[client.on];
        let (present, shared) = ((&client.present, Sharing::Anyone), &mut self.shared);
        let begun =
            (client.statements).begin_prepare(text.as_bytes(), present, shared, Limits::default());
        assert_eq!(begun, Ok(()));
        while let Some(id) = connection.statements.make_room() {
            connection.close(id);
        }
        let id = connection.prepare(text.as_bytes());
        let prepared = (client.statements).prepared(&head(id, text), &mut connection.statements);
        let (answer, superseded) = prepared.unwrap();
        define(&mut client.statements, text);
        for id in superseded {
            connection.close(id);
        }
        let known = (text.as_bytes().to_vec(), Vec::new(), None);
        let before = client.known.insert(answer.statement_id, known);
        assert!(before.is_none(), "an id was given twice");
    }

    /// Sends a command; the bytes that the server gets, unless it is answered otherwise.
    fn send(&mut self, number: usize, payload: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for _ in 0..2 {
            let client = &mut self.clients[number];
            let connection = &mut self.connections[client.on];
            let form = Form {
                present: &client.present,
                client: NONE,
                server: NONE,
            };
            let statements = &mut connection.statements;
            let missing = client.statements.missing(payload, statements, form);
            match client.statements.send(payload, statements, form, &mut out) {
                Sending::Ready => return Some(out),
                Sending::Prepare(statement) => {
                    let (_, setting) = missing.expect("what is to be prepared");
                    while let Some(id) = connection.statements.make_room() {
                        connection.close(id);
                    }
                    let id = connection.prepare(statement.text());
                    (connection.statements).prepared_in(&setting, &statement, id);
                }
                Sending::Ping | Sending::Answer(_) => return None,
            }
        }
        panic!("it is prepared, but not found");
    }

    fn execute(&mut self, number: usize, id: u32, types: Option<&[ParamType]>, cursor: bool) {
        let client = &mut self.clients[number];
        let (text, bound, mut own) = client.known[&id].clone();
        let params = text.iter().filter(|byte| **byte == b'?').count();
        let types = types.map(|types| &types[..params]);
        let mut payload = execute(id, types, params);
        payload[5] = cursor.into();
        if client.statements.command(&payload) != Action::WithStatement(id) {
            return;
        }
        let Some(sent) = self.send(number, &payload) else {
            return;
        };
        let client = &mut self.clients[number];
        let connection = &mut self.connections[client.on];
        let head = ExecuteHead::read(&sent[1..], params as u16, NONE).unwrap();
        let on_server = connection.on_server.get_mut(&head.statement_id);
        let on_server = on_server.expect("a statement that the server has");
        assert_eq!(on_server.text, text, "the client's text");
        assert!(on_server.cursor.is_none_or(|owner| owner == (number, id)));
        assert!(
            on_server
                .long_data
                .is_none_or(|owner| owner == (number, id))
        );
        if head.types_sent() {
            on_server.bound = head.types().map(|(one, _)| one).collect();
        }
        let meant = types.map_or(bound, <[_]>::to_vec);
        if let Some(first) = meant.first() {
            on_server.resolved = resolved(on_server.resolved, on_server.bound[0]);
            own = resolved(own, *first);
        }
        // An integer is sent as a DOUBLE where the client's own server would make one of it.
        let is_converted = self.dialect == Dialect::MySql
            && own == Some(DOUBLE)
            && on_server.bound.iter().all(|one| *one == DOUBLE);
        assert!(
            on_server.bound == meant || is_converted,
            "the client's types"
        );
        if self.dialect == Dialect::MySql {
            assert_eq!(on_server.resolved, own, "as on a connection of its own");
        }
        client.known.insert(id, (text, meant, own));
        on_server.long_data = None;
        on_server.cursor = cursor.then_some((number, id));
        let status = match cursor {
            true => Status::CURSOR_EXISTS,
            false => Status::empty(),
        };
        let then = (client.statements).ended(Outcome::Ok(status), &mut connection.statements);
        assert_eq!(then, Then::Done);
    }

    fn long_data(&mut self, number: usize, id: u32) {
        let payload = about(Com::STMT_SEND_LONG_DATA, id, b"\0\0abc");
        let action = self.clients[number].statements.command(&payload);
        if action != Action::WithStatement(id) {
            return;
        }
        let sent = self.send(number, &payload).expect("it is sent");
        let client = &self.clients[number];
        let connection = &mut self.connections[client.on];
        let on_server = u32::from_le_bytes(sent[1..5].try_into().unwrap());
        let statement = connection.on_server.get_mut(&on_server).unwrap();
        assert_eq!(statement.text, client.known[&id].0);
        assert!(statement.cursor.is_none_or(|owner| owner == (number, id)));
        assert!(
            statement
                .long_data
                .is_none_or(|owner| owner == (number, id))
        );
        statement.long_data = Some((number, id));
    }

    fn reset(&mut self, number: usize, id: u32) {
        let payload = about(Com::STMT_RESET, id, b"");
        match self.clients[number].statements.command(&payload) {
            Action::Ping => return,
            Action::WithStatement(_) => {}
            other => panic!("{other:?}"),
        }
        let sent = self.send(number, &payload);
        let client = &mut self.clients[number];
        let connection = &mut self.connections[client.on];
        let owned = |one: &OnServer| [one.cursor, one.long_data].contains(&Some((number, id)));
        let Some(sent) = sent else {
            let pending = connection.on_server.values().any(owned);
            return assert!(!pending, "it has to be reset on the server");
        };
        let on_server = u32::from_le_bytes(sent[1..5].try_into().unwrap());
        let statement = connection.on_server.get_mut(&on_server).unwrap();
        (statement.cursor, statement.long_data) = (None, None);
        client.statements.ended(OK, &mut connection.statements);
    }

    fn close(&mut self, number: usize, id: u32) {
        let client = &mut self.clients[number];
        let connection = &mut self.connections[client.on];
        let payload = about(Com::STMT_CLOSE, id, b"");
        assert_eq!(client.statements.command(&payload), Action::Closed);
        for id in client.statements.closed(Some(&mut connection.statements)) {
            connection.close(id);
        }
        client.known.remove(&id);
        let left = connection.on_server.values();
        for one in left {
            assert!(one.cursor != Some((number, id)) && one.long_data != Some((number, id)));
        }
    }

    fn step(&mut self, (what, who, which, how): (u8, u8, u8, u8)) {
        let number = usize::from(who) % self.clients.len();
        if what % 16 == 0 {
            let settings = &self.settings;
            self.clients[number].present = settings[usize::from(how) % settings.len()].clone();
            return;
        }
        if !self.borrow(number, how % 4 == 0) {
            return;
        }
        let ids: Vec<u32> = self.clients[number].known.keys().copied().collect();
        let types = [TYPES[usize::from(how) % 3]; 2];
        let Some(id) = ids.get(usize::from(which) % ids.len().max(1)).copied() else {
            return self.prepare(number, TEXTS[usize::from(which) % TEXTS.len()]);
        };
        match what % 16 {
            1 | 2 => self.prepare(number, TEXTS[usize::from(how) % TEXTS.len()]),
            3 => self.close(number, id),
            4 => self.reset(number, id),
            5 => self.long_data(number, id),
            6 => self.execute(number, id, Some(&types), true),
            7..=10 => self.execute(number, id, None, false),
            _ => self.execute(number, id, Some(&types), false),
        }
    }
}

proptest! {
    #[test]
    fn each_execute_is_the_clients_own(
        steps in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 0..200),
        mysql in any::<bool>(),
    ) {
        let mut world = World::new(if mysql { Dialect::MySql } else { Dialect::MariaDb });
        for step in steps {
            world.step(step);
        }
        for connection in &world.connections {
            let on_server = connection.on_server.len();
            prop_assert_eq!(connection.statements.len(), on_server, "none is forgotten");
            prop_assert!(on_server <= 8);
        }
    }

    /// Whatever a client sends is answered, and never a panic.
    #[test]
    fn hostile_commands(
        com in prop::sample::select(vec![0x16u8, 0x17, 0x18, 0x19, 0x1A, 0x1C, 0xFA]),
        id in prop::sample::select(vec![0u32, 1, 2, 3, 99, u32::MAX]),
        argument in prop::collection::vec(any::<u8>(), 0..60),
        cut in 0usize..12,
        capabilities in prop::sample::select(vec![NONE, Capabilities::QUERY_ATTRIBUTES]),
        server in prop::sample::select(vec![NONE, Capabilities::QUERY_ATTRIBUTES]),
        mysql in any::<bool>(),
    ) {
        let mut case = Case::new(if mysql { Dialect::MySql } else { Dialect::MariaDb });
        let mut connection = ConnectionStatements::new(3);
        let mut client = case.client(1);
        for (at, text) in TEXTS.iter().enumerate() {
            case.prepare(&mut client, &mut connection, text, 10 + at as u32);
        }
        case.execute(&mut client, &mut connection, 1, Some(&[INT]), 1).unwrap();
        let mut payload = about(Com(com), id, &argument);
        payload.truncate(payload.len().saturating_sub(cut));
        let present = case.present.clone();
        let form = Form { present: &present, client: capabilities, server };
        let mut out = Vec::new();
        let _ = client.command(&payload);
        if let Sending::Ready = client.send(&payload, &mut connection, form, &mut out) {
            prop_assert!(out.len() >= 5);
            client.ended(OK, &mut connection);
        }
    }
}
