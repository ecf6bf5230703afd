//! Services that speak MySQL without a database: `dpml.accept_clients`.

use mysql::prelude::Queryable as _;

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{
    Cli, Dpm, Flavour, PASSWORD, Server, USER, both, connect, connect_as, eventually, mariadb,
    options, python,
};

const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// A service that lets [`USER`] in; `more` goes among the options.
fn serve(more: &str) -> Dpm {
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local listener = require('harness').listen(function() end, {{ tls = true }})
         dpml.accept_clients(listener, {{ users = {{ {USER} = {{ password = '{PASSWORD}' }} }}, {more} }})"
    ))
    .server(mariadb())
    .start()
}

const ANSWERS: &str = "
    new_command = function(cmd, client, session)
      local sql = cmd:argument()
      if sql == 'types' then
        return { fields = { 'i', 'd', 's', 'b', 'n', 'big', 'mixed' },
          rows = { { 1, 1.5, 'one', true, nil, '18446744073709551615', 1 }, { 2, 2, 'two', false, dpm.NULL, nil, 0.5 } } }
      elseif sql == 'ok' then
        return { affected_rows = 3, insert_id = 7, message = 'done', warning_count = 2 }
      elseif sql == 'two' then
        return { fields = { 'a' }, rows = { { 1 } }, next = { fields = { 'b' }, rows = {} } }
      elseif sql == 'by hand' then
        return dpml.send_ok(client, { affected_rows = 9 })
      elseif sql == 'twice' then
        dpml.send_ok(client)
        error(dpml.new_error('42000', 1064, 'too late'))
      elseif sql == 'slow' then
        dpml.sleep(50)
        return { fields = { 'slept' }, rows = { { 50 } } }
      elseif sql == 'refused' then
        error(dpml.new_error('42000', 1142, 'Not for ' .. session.user))
      elseif sql == 'broken' then
        error('a bug with a secret')
      elseif sql == 'who' then
        return { fields = { 'user', 'db' }, rows = { { session.user, session.database } } }
      elseif sql:match('^rows %d+$') then
        local n, last = 0, tonumber(sql:match('%d+'))
        return { fields = { 'n', 'pad' }, rows = function()
          n = n + 1
          if n <= last then return { n, ('x'):rep(1000) } end
        end }
      elseif sql == 'half' then
        local n = 0
        return { fields = { 'n' }, rows = function()
          n = n + 1
          if n == 1000 then error(dpml.new_error('HY000', 1028, 'No more rows')) end
          return { n }
        end }
      end
      error(dpml.new_error('42000', 1064, 'What is ' .. sql .. '?'))
    end";

#[test]
fn commands_are_answered_by_what_is_returned() {
    let dpm = serve(ANSWERS);
    let port = dpm.port();
    let mut wire = Wire::login_as(port, USER, PASSWORD, MODERN);
    assert_eq!(
        wire.rows("types"),
        [
            ["1", "1.5", "one", "1", "NULL", "18446744073709551615", "1"],
            ["2", "2", "two", "0", "NULL", "NULL", "0.5"],
        ]
    );
    assert!(matches!(wire.query("ok"), Answer::Ok(_)));
    assert!(matches!(wire.query("by hand"), Answer::Ok(_)));
    assert_eq!(wire.rows("slow"), [["50"]]);
    for (sql, errnum, says) in [
        ("refused", 1142, "Not for happy"),
        ("nonsense", 1064, "What is nonsense?"),
        ("broken", 1105, "The proxy's script has failed"),
    ] {
        match wire.query(sql) {
            Answer::Err(number, _, message) => {
                assert_eq!(number, errnum);
                assert!(message.contains(says), "{message}");
                assert!(!message.contains("secret"));
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
    dpm.line("its command has failed: ");
    assert_eq!(wire.rows("slow"), [["50"]], "it goes on");
    // After an incomplete answer, or one too many, the client is closed.
    assert!(matches!(wire.query("twice"), Answer::Ok(_)));
    assert!(wire.closed());
    dpm.line("cannot be told of ERROR 1064 (42000): too late, and is closed");
    // A driver sees the types.
    let mut conn = connect(port);
    let row: mysql::Row = conn.query_first("types").unwrap().unwrap();
    use mysql::consts::ColumnType::*;
    let types: Vec<_> = row.columns_ref().iter().map(|c| c.column_type()).collect();
    assert_eq!(
        types,
        [
            MYSQL_TYPE_LONGLONG,
            MYSQL_TYPE_DOUBLE,
            MYSQL_TYPE_VAR_STRING,
            MYSQL_TYPE_TINY,
            MYSQL_TYPE_VAR_STRING,
            MYSQL_TYPE_VAR_STRING,
            MYSQL_TYPE_DOUBLE,
        ]
    );
    let result = conn.query_iter("ok").unwrap();
    assert_eq!(
        (
            result.affected_rows(),
            result.last_insert_id(),
            result.warnings()
        ),
        (3, Some(7), 2)
    );
    drop(result);
    let mut result = conn.query_iter("two").unwrap();
    let mut sets = 0;
    while let Some(set) = result.iter() {
        sets += 1;
        assert_eq!(set.count(), 2 - sets);
    }
    assert_eq!(sets, 2);
}

#[test]
fn rows_are_made_as_they_are_taken() {
    let mut dpm = serve(ANSWERS);
    let port = dpm.port();
    let mut wire = Wire::login_as(port, USER, PASSWORD, MODERN);
    wire.command(com::QUERY, b"rows 20000");
    // Nobody reads; 20 MB are not made in advance.
    wire.wait_for_data();
    dpm.settle();
    assert!(
        dpm.memory_kib("VmRSS") < 40_000,
        "{}",
        dpm.memory_kib("VmRSS")
    );
    let mut others = Wire::login_as(port, USER, PASSWORD, MODERN);
    assert_eq!(others.rows("who"), [["happy", "NULL"]]);
    let mut packets = 0;
    loop {
        let packet = wire.read();
        if packet[0] == 0xFE && packet.len() < 16 {
            break;
        }
        packets += 1;
    }
    assert_eq!(packets, 1 + 2 + 20_000);
    assert_eq!(wire.rows("who"), [["happy", "NULL"]], "and goes on");
    // One that leaves in the middle.
    wire.command(com::QUERY, b"rows 20000");
    wire.read();
    drop(wire);
    // An iterator that fails ends the rows with its error.
    let Answer::Err(1028, ..) = others.query("half") else {
        panic!("no error");
    };
    assert_eq!(others.rows("who"), [["happy", "NULL"]]);
    drop(others);
    dpm.wait_until_idle();
    assert!(dpm.runs());
}

#[test]
fn what_clients_ask_by_themselves_is_answered() {
    let dpm = serve(&format!("version_comment = 'a service', {ANSWERS}"));
    let port = dpm.port();
    for flavour in [Flavour::MariaDb, Flavour::MySql, Flavour::MariaDb11] {
        if !flavour.available() {
            continue;
        }
        let said = Cli::interactive(flavour, port)
            .args(["-t"])
            .stdin("\\s\nuse somewhere;\nwho;\n")
            .ok();
        for part in [
            "Current user:",
            "a service",
            "Uptime:",
            "| happy | somewhere |",
        ] {
            assert!(said.contains(part), "{flavour:?} {part}: {said}");
        }
    }
    let mut wire = Wire::login_as(port, USER, PASSWORD, MODERN);
    for (sql, expected) in [
        ("SELECT @@version_comment LIMIT 1", "a service"),
        (
            "select @@max_allowed_packet, @@session.wait_timeout",
            "16777216",
        ),
        (
            "/* mysql-connector-j-9.1.0 */SELECT  @@session.auto_increment_increment AS auto_increment_increment, @@character_set_client AS character_set_client",
            "1",
        ),
        ("SELECT DATABASE()", "NULL"),
    ] {
        assert_eq!(wire.rows(sql)[0][0], expected, "{sql}");
    }
    for sql in [
        "SET NAMES utf8mb4",
        "SET autocommit=1",
        "BEGIN",
        "ROLLBACK",
        "START TRANSACTION",
    ] {
        assert!(matches!(wire.query(sql), Answer::Ok(_)), "{sql}");
    }
    // What is not about the session is the script's.
    for sql in [
        "SELECT 1",
        "SELECT @@nothing",
        "SELECT DATABASE() FROM t",
        "SHOW TABLES",
    ] {
        assert!(matches!(wire.query(sql), Answer::Err(1064, ..)), "{sql}");
    }
    for (command, argument) in [
        (com::PING, &b""[..]),
        (com::INIT_DB, b"here"),
        (com::RESET_CONNECTION, b""),
        (com::SET_OPTION, b"\0\0"),
        (com::STATISTICS, b""),
    ] {
        assert_ne!(wire.exchange(command, argument)[0][0], 0xFF, "{command}");
    }
    assert_eq!(
        wire.rows("SELECT DATABASE(), USER()"),
        [["here", "happy@127.0.0.1"]]
    );
    assert_eq!(wire.rows("who"), [["happy", "here"]]);
    wire.command(com::QUIT, b"");
    assert!(wire.closed());
    let said = python(
        port,
        "with connect(database='x') as conn, conn.cursor() as cursor:\n\
         \x20   conn.ping(); conn.commit()\n\
         \x20   cursor.execute('who'); print(cursor.fetchall())\n\
         \x20   cursor.execute('types'); print(cursor.fetchall())",
    );
    assert_eq!(
        said,
        "(('happy', 'x'),)\n((1, 1.5, 'one', 1, None, '18446744073709551615', 1.0), (2, 2.0, 'two', 0, None, None, 0.5))\n"
    );
    dpm.wait_until_idle();
    dpm.assert_no_errors();
}

#[test]
fn accounts_may_be_looked_up_elsewhere() {
    let dpm = Launch::script(&format!(
        "local dpml = require 'dpml'
         local listener = require('harness').listen(function() end)
         dpml.accept_clients(listener, {{
           authenticate = function(user, client)
             if user == 'broken' then error('no such file') end
             local db = dpml.connect {{ host = arg[1], port = tonumber(arg[2]), user = '{USER}', pass = '{PASSWORD}' }}
             local password = db:query('SELECT ? AS p', {{ 'pw of ' .. user }}).rows[1].p
             db:close()
             return {{ password = password }}
           end,
           new_client = function(client, session)
             if session.user == 'banned' then return dpml.new_error('HY000', 1130, 'Not you') end
             session.greeting = 'hello ' .. session.user
           end,
           use_database = function(name)
             if name ~= 'known' then return dpml.new_error('42000', 1049, 'Unknown database') end
           end,
           new_command = function(cmd, client, session)
             return {{ fields = {{ 'greeting', 'db' }}, rows = {{ {{ session.greeting, session.database }} }} }}
           end,
           closing = function(client, session) print('closing ' .. session.user) end,
         }})"
    ))
    .server(mariadb())
    .start();
    let port = dpm.port();
    let mut conn = connect_as(port, "ann", "pw of ann").unwrap();
    let row: Option<(String, Option<String>)> = conn.query_first("x").unwrap();
    assert_eq!(row, Some(("hello ann".into(), None)));
    conn.query_drop("USE known").unwrap();
    assert!(
        conn.query_drop("USE other")
            .unwrap_err()
            .to_string()
            .contains("1049")
    );
    let row: Option<(String, String)> = conn.query_first("x").unwrap();
    assert_eq!(row, Some(("hello ann".into(), "known".into())));
    conn.change_user(
        mysql::ChangeUserOpts::new()
            .with_user(Some("bob".into()))
            .with_pass(Some("pw of bob".into()))
            .with_db_name(Some("known".into())),
    )
    .unwrap();
    let row: Option<(String, String)> = conn.query_first("x").unwrap();
    assert_eq!(row, Some(("hello bob".into(), "known".into())));
    drop(conn);
    dpm.line("closing bob");
    for (user, password, number) in [
        ("ann", "pw of bob", "1045"),
        ("banned", "pw of banned", "1130"),
        ("broken", "x", ""),
    ] {
        let refused = connect_as(port, user, password).unwrap_err().to_string();
        assert!(refused.contains(number), "{user}: {refused}");
    }
    let unknown = mysql::Conn::new(
        options(port)
            .user(Some("ann"))
            .pass(Some("pw of ann"))
            .db_name(Some("other")),
    );
    assert!(unknown.unwrap_err().to_string().contains("1049"));
    dpm.wait_until_idle();
}

#[test]
fn a_whole_client_is_one_task() {
    let dpm = serve(&format!(
        "handler = function(session)
           local db = dpml.connect {{ host = arg[1], port = tonumber(arg[2]), user = '{USER}', pass = '{PASSWORD}',
             like = session.auth }}
           local count = 0
           for cmd in session:commands() do
             count = count + 1
             local sql = cmd:argument()
             if sql == 'count' then
               session:send_resultset {{ fields = {{ 'n' }}, rows = {{ {{ count }} }} }}
             elseif sql == 'forget' then
               -- no answer
             elseif sql == 'leave' then
               session:send_ok()
               break
             elseif sql == 'broken' then
               error('a bug')
             elseif sql == 'refused' then
               session:send_error('42000', 1142, 'no')
             elseif sql == 'asked' then
               session:send_resultset(db:query('SELECT 5 AS five'))
             else
               session:forward(cmd, db)
             end
           end
           print('handler of ' .. session.user .. ' ends after ' .. count)
           if db:is_open() then
             print(session.user .. ' reads ' .. db:query('SELECT 1 + 5 AS six').rows[1].six)
           end
           db:close()
         end"
    ));
    let port = dpm.port();
    let mut wire = Wire::login_as(port, USER, PASSWORD, MODERN);
    assert_eq!(wire.rows("count"), [["1"]]);
    assert_eq!(wire.rows("SELECT 1 + 1"), [["2"]]);
    assert_eq!(wire.rows("asked"), [["5"]]);
    assert!(matches!(wire.query("SELEKT"), Answer::Err(1064, ..)));
    assert!(matches!(wire.query("refused"), Answer::Err(1142, ..)));
    let many = wire.rows("SELECT REPEAT('x', 100000) FROM information_schema.collations");
    assert!(many.len() > 100);
    assert!(matches!(wire.query("forget"), Answer::Err(1105, ..)));
    assert_eq!(wire.rows("count"), [["8"]]);
    assert!(matches!(wire.query("leave"), Answer::Ok(_)));
    assert!(wire.closed());
    dpm.line("handler of happy ends after 9");
    let mut wire = Wire::login_as(port, USER, PASSWORD, MODERN);
    assert_eq!(wire.rows("count"), [["1"]]);
    drop(wire);
    dpm.line("handler of happy ends after 1");
    let mut wire = Wire::login_as(port, USER, PASSWORD, MODERN);
    assert!(matches!(wire.query("broken"), Answer::Err(1105, ..)));
    assert!(wire.closed());
    // One that leaves in the middle of an answer: what is left of it is nobody else's.
    let mut wire = Wire::login_as(port, USER, PASSWORD, MODERN);
    wire.command(
        com::QUERY,
        b"SELECT 'left', REPEAT('x', 100000) FROM information_schema.collations",
    );
    wire.read();
    drop(wire);
    eventually("each handler reads its own", || {
        dpm.lines("happy reads 6").len() == 3
    });
    // Its server dies under it.
    let mut wire = Wire::login_as(port, USER, PASSWORD, MODERN);
    let _ = wire.query("KILL CONNECTION_ID()");
    match wire.query("SELECT 1") {
        Answer::Err(..) => {}
        other => panic!("{other:?}"),
    }
    drop(wire);
    dpm.wait_until_idle();
}

#[test]
fn prepared_statements_are_queries_with_values() {
    let dpm = serve(
        "new_command = function(cmd)
           if cmd:argument() == 'numbers' then
             return { fields = { 'i', 'd', 's', 'n' }, rows = { { 7, 1.5, 'text', nil } } }
           end
           return { fields = { 'query' }, rows = { { cmd:argument() } } }
         end",
    );
    let port = dpm.port();
    let mut conn = connect(port);
    let query: Option<String> = conn
        .exec_first(
            "SELECT ?, ?, ?, '?', `?`, ? /* ? */",
            (1, "it's \\ \n", Option::<i32>::None, 2.5),
        )
        .unwrap();
    assert_eq!(
        query.unwrap(),
        r"SELECT 1, 'it''s \\ \n', NULL, '?', `?`, 2.5 /* ? */"
    );
    let row: Option<(i64, f64, String, Option<String>)> = conn.exec_first("numbers", ()).unwrap();
    assert_eq!(row, Some((7, 1.5, "text".into(), None)));
    // What clients ask by themselves, too.
    let version: Option<String> = conn.exec_first("SELECT @@version_comment", ()).unwrap();
    assert_eq!(version, Some("dpm".into()));
    let statement = conn.prep("SELECT ?").unwrap();
    for n in 0..3 {
        let query: Option<String> = conn.exec_first(&statement, (n,)).unwrap();
        assert_eq!(query.unwrap(), format!("SELECT {n}"));
    }
    let long = "x".repeat(5_000_000);
    let query: Option<String> = conn.exec_first(&statement, (&long,)).unwrap();
    assert_eq!(query.unwrap().len(), long.len() + "SELECT ''".len());
    let mut wire = Wire::login_as(port, USER, PASSWORD, MODERN);
    for _ in 0..1024 {
        wire.prepare("SELECT ?");
    }
    assert!(matches!(
        crate::support::wire::error(&wire.exchange(com::STMT_PREPARE, b"SELECT 1")[0]),
        Answer::Err(1461, ..)
    ));
    wire.exchange(com::STMT_CLOSE, &7u32.to_le_bytes());
    let id = wire.prepare("SELECT ?");
    assert_eq!(id, 1025);
    dpm.assert_no_errors();
}

#[test]
fn what_a_service_must_be_told() {
    let lines = crate::dpml::run(
        "local listener = dpm.listener('127.0.0.1', 0)
         local function complaint(options) print(select(2, pcall(dpml.accept_clients, listener, options))) end
         complaint { new_command = print }
         complaint { users = {}, authenticate = print, new_command = print }
         complaint { users = {} }
         complaint { users = {}, new_command = print, handler = print }
         complaint { users = {}, new_comand = print }
         dpm.exit(0)",
        &[],
    );
    for (line, part) in lines.iter().zip([
        "who may log in?",
        "who may log in?",
        "who answers?",
        "who answers?",
        "there is no option new_comand",
    ]) {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(lines.len(), 5);
}

/// A handler that forwards to the server whose port is an argument, and takes a while to begin.
const SLOW_TO_CONNECT: &str = "handler = function(session)
   dpml.sleep_ms(20)
   local db = dpml.connect { host = arg[1], port = tonumber(arg[2]), user = 'happy', password = 'wheefun', like = session.auth }
   for cmd in session:commands() do
     session:forward(cmd, db)
   end
   db:close()
 end";

/// A service with these options, in front of this server.
fn serve_before(server: &Server, more: &str) -> Dpm {
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local listener = require('harness').listen(function() end, {{ tls = true }})
         dpml.accept_clients(listener, {{ users = {{ {USER} = {{ password = '{PASSWORD}' }} }}, {more} }})"
    ))
    .server(server)
    .start()
}

both! {
    fn what_was_received_is_executed_though_its_client_has_left(server) {
        let base = server.database();
        server.sql(&format!("CREATE TABLE {base}.t (n INT)"));
        for all_commands in [false, true] {
            let dpm = serve_before(server, &format!("all_commands = {all_commands}, {SLOW_TO_CONNECT}"));
            for n in 0..20 {
                let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
                wire.command(com::QUERY, format!("INSERT INTO {base}.t VALUES ({n})").as_bytes());
                if n % 2 == 1 {
                    wire.command(com::QUIT, b"");
                }
            }
            eventually("all of them are executed", || {
                server.sql(&format!("SELECT COUNT(*) FROM {base}.t")).contains("20")
            });
            server.sql(&format!("DELETE FROM {base}.t"));
            dpm.wait_until_idle();
            dpm.assert_no_errors();
        }
    }
}

#[test]
fn a_handler_that_has_failed_is_told_of_whenever_a_command_comes() {
    let dpm = serve(
        "handler = function(session)
           if session.user == 'happy' then
             dpml.connect { host = '127.0.0.1', port = 1, user = 'u' }
           end
         end",
    );
    let says = |answer: Answer| match answer {
        Answer::Err(1105, state, message) => {
            assert_eq!(state, "08S01");
            assert!(message.contains("Can't connect to server"), "{message}");
        }
        other => panic!("{other:?}"),
    };
    // The handler has failed before the command comes.
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    dpm.line(
        "its handler has failed: ERROR 2003 (HY000): Can't connect to server on '127.0.0.1:1'",
    );
    says(wire.query("SELECT 7"));
    assert!(wire.closed());
    // A driver hears of it, too.
    for _ in 0..5 {
        let mut conn = connect(dpm.port());
        let err = conn.query_drop("SELECT 7").unwrap_err().to_string();
        assert!(err.contains("Can't connect to server"), "{err}");
    }
    // What nobody could be told of is in the log.
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    wire.command(com::QUERY, b"INSERT INTO t VALUES (1)");
    drop(wire);
    dpm.wait_until_idle();
    dpm.assert_no_errors();
}
