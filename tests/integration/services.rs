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
    dpm.settle();
    let before = dpm.memory_kib("RssAnon");
    wire.command(com::QUERY, b"rows 20000");
    // Nobody reads; 20 MB are not made in advance.
    wire.wait_for_data();
    dpm.settle();
    let after = dpm.memory_kib("RssAnon");
    assert!(after < before + 10_000, "{before} -> {after}");
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

/// What clients and frameworks send by themselves, in the forms in which they do; and the first value of the answer,
/// "OK" for an OK, a number for an error.
const PROBES: &[(&str, &str)] = &[
    // MySQL's and MariaDB's command-line clients
    ("select @@version_comment limit 1", "dpm"),
    ("select $$", "1054"),
    ("select DATABASE(), USER() limit 1", "NULL"),
    ("SELECT CURRENT_USER", "happy@%"),
    ("SELECT CURRENT_USER()", "happy@%"),
    ("select current_user ;", "happy@%"),
    // Connections are checked
    ("SELECT 1", "1"),
    ("select 1;", "1"),
    ("/* ping */ SELECT 1", "1"),
    ("SELECT 1 FROM DUAL", "1"),
    ("SELECT 1 AS ok /* a */ LIMIT 1 -- b", "1"),
    ("SELECT\n\t1\n;\n;", "1"),
    ("SELECT TRUE", "1"),
    // Connector/J, with and without its comment
    (
        "/* mysql-connector-j-9.1.0 (Revision: x) */SELECT  @@session.auto_increment_increment AS auto_increment_increment, \
      @@character_set_client AS character_set_client, @@collation_connection AS collation_connection, \
      @@init_connect AS init_connect, @@license AS license, @@lower_case_table_names AS lower_case_table_names, \
      @@max_allowed_packet AS max_allowed_packet, @@net_write_timeout AS net_write_timeout, \
      @@performance_schema AS performance_schema, @@sql_mode AS sql_mode, @@system_time_zone AS system_time_zone, \
      @@time_zone AS time_zone, @@transaction_isolation AS transaction_isolation, @@wait_timeout AS wait_timeout",
        "1",
    ),
    ("SET character_set_results = NULL", "OK"),
    ("SELECT @@session.transaction_read_only", "0"),
    ("select @@session.tx_read_only", "0"),
    (
        "SHOW VARIABLES WHERE Variable_name ='license' OR Variable_name = 'wait_timeout'",
        "license",
    ),
    (
        "SHOW VARIABLES WHERE Variable_name in ('version')",
        "version",
    ),
    ("SHOW COLLATION", "binary"),
    (
        "SHOW COLLATION WHERE Charset = 'utf8mb4' and Id = 45",
        "utf8mb4_general_ci",
    ),
    ("SHOW CHARACTER SET WHERE Charset = 'utf8mb4'", "utf8mb4"),
    (
        "set autocommit=1, session_track_schema=1, sql_mode = concat(@@sql_mode,',STRICT_TRANS_TABLES')",
        "OK",
    ),
    ("SELECT @@max_allowed_packet , @@wait_timeout", "16777216"),
    // .NET
    (
        "SELECT @@max_allowed_packet, @@character_set_client, @@character_set_connection, @@license, @@sql_mode, \
      @@lower_case_table_names, @@autocommit;",
        "16777216",
    ),
    ("SELECT VERSION(), CONNECTION_ID();", "8.0.0-dpm"),
    // Python: SQLAlchemy, Django, mysqlclient
    ("SELECT VERSION()", "8.0.0-dpm"),
    ("SELECT @@transaction_isolation", "REPEATABLE-READ"),
    ("SELECT @@sql_mode", ""),
    ("SET SQL_AUTO_IS_NULL = 0", "OK"),
    ("SELECT @@SQL_AUTO_IS_NULL", "0"),
    (
        "SELECT VERSION(), @@sql_mode, @@default_storage_engine, @@sql_auto_is_null, @@lower_case_table_names, \
          CONVERT_TZ('2001-01-01 01:00:00', 'UTC', 'UTC') IS NOT NULL",
        "8.0.0-dpm",
    ),
    ("SAVEPOINT `s1_x2`", "OK"),
    ("RELEASE SAVEPOINT `s1_x2`", "OK"),
    ("ROLLBACK TO SAVEPOINT `s1_x2`", "OK"),
    (
        "set session transaction isolation level read committed",
        "OK",
    ),
    // PHP, Ruby, Go, tools
    ("SET NAMES 'utf8mb4' COLLATE 'utf8mb4_unicode_ci'", "OK"),
    (
        "SET  @@SESSION.sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), @@SESSION.wait_timeout = 2147483",
        "OK",
    ),
    ("/*!40101 SET NAMES utf8 */;", "OK"),
    ("/*!40103 SET TIME_ZONE='+00:00' */", "OK"),
    ("SELECT /*!40001 SQL_NO_CACHE */ @@version_comment", "dpm"),
    ("SHOW VARIABLES LIKE 'gtid\\_mode'", "gtid_mode"),
    (
        "SHOW /*!50002 GLOBAL */ VARIABLES LIKE 'gtid_mode'",
        "gtid_mode",
    ),
    (
        "SHOW SESSION VARIABLES LIKE \"lower_case_table_names\"",
        "lower_case_table_names",
    ),
    (
        "SELECT @@GLOBAL.`character_set_server`, @@GLOBAL.collation_server",
        "utf8mb4",
    ),
    ("SHOW WARNINGS LIMIT 10", ""),
    ("SHOW COUNT(*) WARNINGS", "0"),
    // Comments of all kinds, in front, behind, within, and several
    ("COMMIT /* a */", "OK"),
    ("COMMIT AND NO CHAIN", "OK"),
    ("BEGIN -- a", "OK"),
    ("BEGIN WORK # a", "OK"),
    ("-- a\nROLLBACK", "OK"),
    ("# a\nROLLBACK", "OK"),
    ("--\tcomment\n-- another\n  SET autocommit = 0", "OK"),
    ("/* a */ /* b */ START /* c */ TRANSACTION READ ONLY", "OK"),
    ("/* a; b */ commit;", "OK"),
    ("SHOW VARIABLES LIKE 'version' /* a */", "version"),
    (
        "SHOW VARIABLES /* a */ WHERE `Variable_name` = 'version'",
        "version",
    ),
    (
        "show variables where (variable_name like 'vers%' and value = 'dpm')",
        "version_comment",
    ),
    ("SHOW VARIABLES WHERE NOT 1", "script"),
    ("USE `te``st` /* a */", "OK"),
    ("SELECT DATABASE()", "te`st"),
    ("use\n/* a */ test ;", "OK"),
    ("SELECT schema() AS `a` FROM dual LIMIT 0, 1", "test"),
    ("SELECT DATABASE() LIMIT 0", ""),
    // Several at once
    ("SET NAMES utf8mb4; SELECT @@autocommit;", "OK"),
    // What is not about the session is the script's
    ("SELECT DATABASE() FROM t", "script"),
    ("SELECT 1 FROM t", "script"),
    ("SELECT 1, 2", "script"),
    ("SELECT 1 + 1", "script"),
    ("SELECT @@nothing", "script"),
    ("SELECT VERSION(1)", "script"),
    ("SELECT 1 UNION SELECT 2", "script"),
    ("SET NAMES utf8mb4; DELETE FROM t", "script"),
    ("SET x = 'unfinished", "script"),
    ("BEGIN NOT ATOMIC SELECT 1; END", "script"),
    ("START SLAVE", "script"),
    ("USE", "script"),
    ("USE a b", "script"),
    ("SHOW TABLES", "script"),
    ("USER()", "script"),
    ("/* only a comment */", "script"),
    ("", "script"),
];

#[test]
fn what_clients_send_by_themselves_is_recognised_by_its_tokens() {
    let dpm = serve(
        "new_command = function() return { columns = { 'by' }, rows = { { 'script' } } } end",
    );
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    for (sql, expected) in PROBES {
        let mut answer = wire.query(sql);
        let mut said = Vec::new();
        loop {
            let status = match &answer {
                Answer::Ok(packet) => {
                    said.push("OK".to_owned());
                    u16::from_le_bytes([packet[3], packet[4]])
                }
                Answer::Err(number, ..) => {
                    said.push(number.to_string());
                    0
                }
                Answer::Rows { rows, status, .. } => {
                    let first = rows.first().map(|row| row[0].clone());
                    let shown = |value: Option<Vec<u8>>| {
                        value.map_or("NULL".to_owned(), |v| String::from_utf8(v).unwrap())
                    };
                    said.push(first.map_or(String::new(), shown));
                    *status
                }
            };
            if status & 8 == 0 {
                break;
            }
            answer = wire.answer();
        }
        assert_eq!(said[0], *expected, "{sql}");
        assert_eq!(
            said.len(),
            if sql.contains("; SELECT @@") { 2 } else { 1 },
            "{sql}"
        );
    }
    assert_eq!(
        wire.rows("SELECT TIMEDIFF(NOW(), UTC_TIMESTAMP())")[0][0].len(),
        8
    );
    // Prepared, they are answered as well, but a parameter's value is the script's business.
    let mut conn = connect(dpm.port());
    assert_eq!(conn.exec_first("SELECT 1", ()).unwrap(), Some(1));
    assert_eq!(
        conn.exec_first("SELECT ?", (1,)).unwrap(),
        Some("script".to_owned())
    );
    dpm.assert_no_errors();
}

#[test]
fn the_time_that_a_probe_takes_grows_with_its_length_at_most() {
    let dpm = serve(
        "new_command = function() return { columns = { 'by' }, rows = { { 'script' } } } end",
    );
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    for (head, piece, tail) in [
        ("SELECT 1", " ", "x"),
        ("USE a", " ", "b"),
        ("SHOW VARIABLES LIKE '", "%", "'"),
        ("SHOW VARIABLES LIKE '", "\\", "'"),
        ("", "/* a */", "COMMIT nothing of that kind (1)"),
        ("SELECT ", "(", "1"),
        ("SHOW VARIABLES WHERE ", "(", "Value = 1"),
        ("SELECT '", "''", "' FROM t"),
        ("SHOW WARNINGS", "-- \n", "LIKE"),
        ("help '", "a ", "'"),
    ] {
        let sql = format!("{head}{}{tail}", piece.repeat(200_000 / piece.len()));
        let begun = std::time::Instant::now();
        wire.command(com::QUERY, sql.as_bytes());
        let _ = wire.answer();
        let took = begun.elapsed();
        assert!(took.as_secs() < 5, "{head}{piece}…{tail} took {took:?}");
    }
    dpm.assert_no_errors();
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
        "its handler has no server: ERROR 2003 (HY000): Can't connect to server on '127.0.0.1:1'",
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

/// The example of doc/DPML.md: a service that answers one query, and forwards all else. `{like}` stands for how its
/// connection is made.
const FORWARDS: &str = "handler = function(session)
   local db = dpml.connect { host = arg[1], port = tonumber(arg[2]), user = 'happy', password = 'wheefun' {like} }
   for cmd in session:commands() do
     if cmd:argument():lower() == 'hello' then
       session:send_resultset { columns = { 'hello' }, rows = { { session.user } } }
     else
       local status, err = session:forward(cmd, db)
       print('outcome', status and status.server_status, status and status.in_transaction, status and status.affected_rows,
         status and status.insert_id, status and status.warning_count, err and err.errnum)
     end
   end
   db:close()
 end";

/// The same, on this server, with or without `like`.
fn forward_to(server: &Server, like: bool) -> Dpm {
    let like = if like { ", like = session.auth" } else { "" };
    serve_before(server, &FORWARDS.replace("{like}", like))
}

/// The server's status flags in an OK or at the end of rows.
fn status_of(answer: &Answer) -> u16 {
    match answer {
        Answer::Ok(packet) => {
            assert!(packet[1] < 251 && packet[2] < 251);
            u16::from_le_bytes([packet[3], packet[4]])
        }
        Answer::Rows { status, .. } => *status,
        Answer::Err(..) => panic!("{answer:?}"),
    }
}

const IN_TRANSACTION: u16 = 1;
const AUTOCOMMIT: u16 = 2;

both! {
    fn a_session_that_is_forwarded_is_that_of_the_server(server) {
        let base = server.database();
        server.sql(&format!("CREATE TABLE {base}.t (id INT AUTO_INCREMENT PRIMARY KEY, n INT) ENGINE = InnoDB"));
        for like in [true, false] {
            let dpm = forward_to(server, like);
            let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
            // Before anything has been forwarded, and behind it.
            for _ in 0..2 {
                wire.query("SET NAMES latin1 /* a */, @x = 5");
                assert!(matches!(wire.query(&format!("USE `{base}` -- here")), Answer::Ok(_)));
                wire.query("START /* a */ TRANSACTION");
                wire.query("INSERT INTO t (n) VALUES (1)");
                let counted = wire.query("SELECT COUNT(*), @x, @@character_set_client FROM t");
                assert_eq!(status_of(&counted) & (IN_TRANSACTION | AUTOCOMMIT), IN_TRANSACTION | AUTOCOMMIT);
                let Answer::Rows { rows, .. } = counted else { unreachable!() };
                let values: Vec<_> = rows[0].iter().map(|v| String::from_utf8(v.clone().unwrap()).unwrap()).collect();
                assert_eq!(values, ["1", "5", "latin1"]);
                let ended = wire.query("ROLLBACK /* a */");
                assert_eq!(status_of(&ended) & (IN_TRANSACTION | AUTOCOMMIT), AUTOCOMMIT);
                assert_eq!(wire.rows("SELECT COUNT(*) FROM t"), [["0"]]);
            }
            assert_eq!(status_of(&wire.query("SET autocommit = 0")) & AUTOCOMMIT, 0);
            assert_eq!(wire.rows("SELECT @@autocommit, DATABASE()"), [["0", base.as_str()]]);
            wire.query("SET autocommit = 1");
            assert_eq!(wire.rows("hello"), [[USER]]);
            // What is not there is not there, whoever asks.
            assert!(matches!(wire.query("USE nowhere"), Answer::Err(1049, ..)));
            assert!(matches!(wire.query("SET nonsense = 1"), Answer::Err(1193, ..)));
            assert_eq!(wire.rows("SELECT DATABASE()"), [[base.as_str()]]);
            let version = wire.rows("SELECT VERSION()");
            assert_eq!(format!("{}\n", version[0][0]), server.sql("SELECT VERSION()"));
            // Commands other than queries.
            assert!(matches!(crate::support::wire::error(&wire.exchange(com::INIT_DB, b"nowhere")[0]), Answer::Err(1049, ..)));
            assert_eq!(wire.exchange(com::INIT_DB, b"mysql")[0][0], 0);
            assert_eq!(wire.rows("SELECT DATABASE()"), [["mysql"]]);
            assert_eq!(wire.exchange(com::PING, b"")[0][0], 0);
            assert!(String::from_utf8_lossy(&wire.exchange(com::STATISTICS, b"")[0]).contains("Queries per second"));
            wire.query("SET @x = 6");
            assert_eq!(wire.exchange(com::RESET_CONNECTION, b"")[0][0], 0);
            assert_eq!(wire.rows("SELECT @x"), [["NULL"]]);
            // The caller is told how an answer has ended.
            wire.query(&format!("INSERT INTO {base}.t (n) VALUES (1), (2)"));
            wire.query("SELECT 1 / 0, UNHEX('FFFF') = 'x'");
            assert!(matches!(wire.query("SELEKT"), Answer::Err(1064, ..)));
            drop(wire);
            dpm.wait_until_idle();
            let said = dpm.lines("outcome");
            assert!(said.iter().any(|line| line.contains("\tfalse\t2\t")), "{said:?}");
            assert!(said.last().unwrap().contains("1064"), "{said:?}");
            server.sql(&format!("TRUNCATE TABLE {base}.t"));
            dpm.assert_no_errors();
        }
    }
}

both! {
    fn the_logins_database_is_that_of_the_session_which_is_forwarded(server) {
        let base = server.database();
        for like in [true, false] {
            let dpm = forward_to(server, like);
            let login = |name: &str| mysql::Conn::new(options(dpm.port()).user(Some(USER)).pass(Some(PASSWORD)).db_name(Some(name))).unwrap();
            let mut conn = login(&base);
            for _ in 0..2 {
                assert_eq!(conn.query_first("SELECT CONCAT(DATABASE())").unwrap(), Some(base.clone()));
            }
            // One that does not exist is an error of the first command, until there is another one.
            let mut conn = login("nowhere");
            for _ in 0..2 {
                let err = conn.query_first::<String, _>("SELECT CONCAT(DATABASE())").unwrap_err().to_string();
                assert!(err.contains("1049"), "{err}");
            }
            conn.query_drop(format!("USE {base}")).unwrap();
            assert_eq!(conn.query_first("SELECT CONCAT(DATABASE())").unwrap(), Some(base.clone()));
            // Another user's session is another one.
            conn.query_drop("SET @x = 1").unwrap();
            conn.change_user(mysql::ChangeUserOpts::new().with_user(Some(USER.into())).with_pass(Some(PASSWORD.into()))
                .with_db_name(Some("mysql".into()))).unwrap();
            let row: Option<(Option<i64>, String)> = conn.query_first("SELECT @x, CONCAT(DATABASE())").unwrap();
            assert_eq!(row, Some((None, "mysql".to_owned())));
            dpm.assert_no_errors();
        }
    }
}

both! {
    fn prepared_statements_that_are_forwarded_are_answered_by_what_the_server_prepares(server) {
        let base = server.database();
        server.sql(&format!("CREATE TABLE {base}.t (id INT PRIMARY KEY, d DECIMAL(5,2), b BLOB, at DATETIME(3), f DOUBLE)"));
        for like in [true, false] {
            let dpm = forward_to(server, like);
            let mut conn = connect(dpm.port());
            let insert = conn.prep(format!("INSERT INTO {base}.t VALUES (?, ?, ?, ?, ?)")).unwrap();
            let blob = vec![0u8, 255, 39, 92, 10];
            for id in 0..3 {
                conn.exec_drop(&insert, (id, "1.50", &blob, "2024-02-03 04:05:06.789", 0.1)).unwrap();
                assert_eq!(conn.affected_rows(), 1);
            }
            conn.close(insert).unwrap();
            let select = conn.prep(format!("SELECT id, d, b, at, f, NULL AS n FROM {base}.t WHERE id >= ? ORDER BY id")).unwrap();
            if like {
                let names: Vec<_> = select.columns().iter().map(|column| column.name_str().into_owned()).collect();
                assert_eq!(names, ["id", "d", "b", "at", "f", "n"]);
            }
            for from in [1, 2] {
                let rows: Vec<mysql::Row> = conn.exec(&select, (from,)).unwrap();
                assert_eq!(rows.len(), 3 - from);
                let row = rows.into_iter().next().unwrap();
                use mysql::Value;
                assert_eq!(row.columns_ref()[1].column_type(), mysql::consts::ColumnType::MYSQL_TYPE_NEWDECIMAL);
                assert_eq!(row.unwrap(), [
                    Value::Int(from as i64), Value::Bytes(b"1.50".to_vec()), Value::Bytes(blob.clone()),
                    Value::Date(2024, 2, 3, 4, 5, 6, 789_000), Value::Double(0.1), Value::NULL,
                ]);
            }
            // The service's own answer, and an error.
            assert_eq!(conn.exec_first("hello", ()).unwrap(), Some(USER.to_owned()));
            let err = conn.exec_drop("SELECT * FROM nowhere.at_all", ()).unwrap_err();
            assert!(matches!(&err, mysql::Error::MySqlError(err) if [1049, 1146].contains(&err.code)), "{err}");
            let long = "x".repeat(3_000_000);
            assert_eq!(conn.exec_first("SELECT LENGTH(?), ? IS NULL", (&long, Option::<i32>::None)).unwrap(), Some((long.len(), 1)));
            drop(conn);
            dpm.wait_until_idle();
            server.sql(&format!("TRUNCATE TABLE {base}.t"));
            dpm.assert_no_errors();
        }
    }
}

both! {
    fn what_one_client_sets_is_not_anothers(server) {
        let dpm = serve_before(server, "handler = function(session)
           shared = shared or dpml.connect { host = arg[1], port = tonumber(arg[2]), user = 'happy', password = 'wheefun' }
           for cmd in session:commands() do
             session:forward(cmd, shared)
           end
         end");
        let mut first = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
        first.query("SET @secret = 42");
        assert_eq!(first.rows("SELECT @secret"), [["42"]]);
        let mut second = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
        match second.query("SELECT @secret") {
            Answer::Err(1105, _, message) => assert!(message.contains("connect one for each client"), "{message}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(first.rows("SELECT @secret"), [["42"]]);
        drop(first);
        assert!(matches!(second.query("SELECT @secret"), Answer::Err(1105, ..)));
        dpm.assert_no_errors();
    }
}

#[test]
fn several_results_files_and_large_packets_are_forwarded() {
    let server = mariadb();
    let dpm = forward_to(server, true);
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    let first = wire.query("SELECT 1 + 1; DO 1; SELECT 2 + 1");
    assert_eq!(status_of(&first) & 8, 8);
    assert!(matches!(wire.answer(), Answer::Ok(_)));
    assert!(matches!(wire.answer(), Answer::Rows { .. }));
    let large = "x".repeat(17_000_000);
    assert_eq!(
        wire.rows(&format!("SELECT '{large}'"))[0][0].len(),
        large.len()
    );
    // A file: from a client that sends files, and from one that does not.
    let base = server.database();
    server.sql(&format!("CREATE TABLE {base}.t (n INT)"));
    let load = format!("LOAD DATA LOCAL INFILE 'x' INTO TABLE {base}.t");
    assert!(matches!(wire.query(&load), Answer::Err(..)));
    assert_eq!(wire.rows("SELECT 1 + 1"), [["2"]], "and it goes on");
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN | caps::LOCAL_FILES);
    wire.command(com::QUERY, load.as_bytes());
    assert_eq!(wire.read(), b"\xFBx");
    wire.write(b"1\n2\n3\n");
    wire.write(b"");
    assert!(matches!(wire.answer(), Answer::Ok(_)));
    assert_eq!(
        wire.rows(&format!("SELECT COUNT(*) FROM {base}.t")),
        [["3"]]
    );
    dpm.assert_no_errors();
}

#[test]
fn the_death_of_the_server_behind_a_session_is_told_and_ends_it() {
    let server = Server::start_own(Flavour::MariaDb, &[]);
    let dpm = forward_to(&server, true);
    let gone = |answer: Answer| match answer {
        Answer::Err(number, state, message) => {
            assert_eq!((number, state.as_str()), (1105, "08S01"), "{message}");
        }
        other => panic!("{other:?}"),
    };
    let mut waiting = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    let mut idle = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    let mut fresh = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    assert_eq!(idle.rows("SELECT 1 + 1"), [["2"]]);
    let latch = server.latch();
    waiting.command(com::QUERY, latch.query.as_bytes());
    eventually("it waits at the server", || {
        server.running(&latch.query) == 1
    });
    server.kill();
    gone(waiting.answer());
    assert!(waiting.closed());
    gone(idle.query("SELECT 1 + 1"));
    assert!(idle.closed());
    gone(fresh.query("SET NAMES latin1"));
    assert!(fresh.closed());
    // Nor does a script send one of the numbers that are the clients' own.
    let dpm = serve(
        "new_command = function(cmd, client) dpml.send_error(client, 'HY000', 2013, 'Lost it') end",
    );
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    gone(wire.query("anything"));
}

#[test]
fn each_command_is_answered_in_its_form_whatever_the_script_answers() {
    let rows = "{ columns = { 'by' }, rows = { { 'script' } } }";
    for script in [
        format!("new_command = function() return {rows} end"),
        format!("all_commands = true, new_command = function() return {rows} end"),
        format!("handler = function(session) for _ in session:commands() do session:send_resultset {rows} end end"),
        format!("all_commands = true, handler = function(session) for _ in session:commands() do session:send_resultset {rows} end end"),
        "all_commands = true, new_command = function() return {} end".to_owned(),
        "all_commands = true, handler = function(session) for _ in session:commands() do session:send_ok() end end".to_owned(),
    ] {
        let dpm = serve(&script);
        let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
        for (command, argument) in [
            (com::QUERY, &b"select $$"[..]),
            (com::FIELD_LIST, b"t\0%"),
            (com::STATISTICS, b""),
            (com::PING, b""),
            (com::INIT_DB, b"d"),
            (com::SET_OPTION, b"\0\0"),
            (com::RESET_CONNECTION, b""),
            (com::STMT_PREPARE, b"SELECT ?"),
            (com::STMT_RESET, b"\x01\0\0\0"),
            (com::STMT_EXECUTE, b"\x01\0\0\0\0\x01\0\0\0\0\x01\x08\0\x07\0\0\0\0\0\0\0"),
            (com::STMT_FETCH, b"\x01\0\0\0\x01\0\0\0"),
            (com::STMT_CLOSE, b"\x01\0\0\0"),
            (com::STMT_SEND_LONG_DATA, b"\x01\0\0\0\0\0xyz"),
            (com::PROCESS_INFO, b""),
            (com::PROCESS_KILL, b"\x01\0\0\0"),
            (com::DEBUG, b""),
            (com::REFRESH, b"\x01"),
            (com::CREATE_DB, b"d"),
            (com::DROP_DB, b"d"),
            (com::REGISTER_SLAVE, b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            (com::QUERY, b"anything"),
        ] {
            if [com::STMT_CLOSE, com::STMT_SEND_LONG_DATA].contains(&command) {
                wire.command(command, argument);
                continue;
            }
            let answer = wire.exchange(command, argument);
            let head = answer[0][0];
            let all_rows = script.contains("'script'");
            let emulates = !script.contains("all_commands");
            let what = format!("{script}: {command}: {}", answer[0].escape_ascii());
            match command {
                com::QUERY if emulates && argument.starts_with(b"select") => assert_eq!(head, 0xFF, "{what}"),
                com::QUERY | com::STMT_EXECUTE => assert_eq!(head, u8::from(all_rows), "{what}"),
                com::STATISTICS if emulates => assert_eq!(head, b'U', "{what}"),
                com::FIELD_LIST | com::STATISTICS | com::STMT_FETCH => assert_eq!(head, 0xFF, "{what}"),
                com::STMT_PREPARE => assert_eq!(head, if emulates { 0 } else { 0xFF }, "{what}"),
                com::PROCESS_INFO => assert!(head < 2, "{what}"),
                com::SET_OPTION if emulates => assert_eq!(head, 0xFE, "{what}"),
                com::PING | com::INIT_DB | com::RESET_CONNECTION | com::STMT_RESET if emulates => assert_eq!(head, 0, "{what}"),
                _ => assert_eq!(head, if all_rows { 0xFF } else { 0 }, "{what}"),
            }
        }
        assert_eq!(wire.exchange(com::QUERY, b"last")[0][0], u8::from(script.contains("'script'")), "{script}");
        dpm.assert_no_errors();
        assert!(!dpm.wrote("has failed"), "{script}");
    }
}

#[test]
fn the_clients_stay_in_step_with_a_service_that_answers_rows_only() {
    let dpm = serve(
        "new_command = function(cmd) return { columns = { 'query' }, rows = { { 'got ' .. cmd:argument() } } } end",
    );
    for flavour in [Flavour::MariaDb, Flavour::MySql, Flavour::MariaDb11] {
        if flavour.available() {
            let said = Cli::interactive(flavour, dpm.port())
                .stdin("first;\nuse somewhere;\nsecond;\n\\s\nthird;\n")
                .ok();
            for part in [
                "got first",
                "got second",
                "got third",
                "somewhere",
                "Uptime",
            ] {
                assert!(said.contains(part), "{flavour:?} {part}: {said}");
            }
        }
    }
}

#[test]
fn what_is_no_utf8_is_not_sent_as_text() {
    let dpm = serve(
        "new_command = function(cmd, client)
           local what = cmd:argument()
           if what == 'rows' then
             return { columns = { 'n\\233me', 'text', 'bytes', 'mixed', 'late' },
               rows = { { 'a', 'é', 'caf\\233', 1, 'a' }, { 'b', 'ü', nil, '\\255\\254', '\\200' } } }
           elseif what == 'stream' or what == 'late' then
             local n = 0
             return { columns = { 'bytes', 'text' }, rows = function()
               n = n + 1
               if n <= 3 then return { '\\233', what == 'late' and n == 3 and '\\233' or 'é' } end
             end }
           elseif what == 'ok' then
             return { message = 'caf\\233' }
           elseif what == 'error' then
             error(dpml.new_error('42000', 1064, 'near caf\\233'))
           end
           dpml.send_error(client, '42000', 1064, 'near caf\\233 é')
         end",
    );
    let mut conn = connect(dpm.port());
    let rows: Vec<mysql::Row> = conn.query("rows").unwrap();
    let columns = rows[0].columns_ref();
    assert_eq!(columns[0].name_ref(), br"n\xE9me");
    let charsets: Vec<u16> = columns.iter().map(mysql::Column::character_set).collect();
    assert_eq!(charsets, [45, 45, 63, 63, 63]);
    assert_eq!(rows[0].get::<Vec<u8>, _>(2).unwrap(), b"caf\xE9");
    assert_eq!(rows[1].get::<Vec<u8>, _>(3).unwrap(), b"\xFF\xFE");
    let rows: Vec<mysql::Row> = conn.exec("rows", ()).unwrap();
    assert_eq!(rows[1].get::<Vec<u8>, _>(4).unwrap(), b"\xC8");
    assert_eq!(
        conn.query::<(Vec<u8>, String), _>("stream").unwrap().len(),
        3
    );
    let err = conn
        .query::<(Vec<u8>, String), _>("late")
        .unwrap_err()
        .to_string();
    assert!(err.contains("no UTF-8"), "{err}");
    conn.query_drop("ok").unwrap();
    assert_eq!(conn.info_str(), r"caf\xE9");
    for (what, message) in [("error", r"near caf\xE9"), ("else", r"near caf\xE9 é")] {
        match conn.query_drop(what).unwrap_err() {
            mysql::Error::MySqlError(err) => assert_eq!(err.message, message),
            other => panic!("{other}"),
        }
    }
    // Drivers that decode strictly read it, too.
    let said = python(
        dpm.port(),
        "with connect() as conn, conn.cursor() as cursor:\n\
         \x20   cursor.execute('rows'); print(ascii(cursor.fetchall()[0]))\n",
    );
    assert_eq!(said, "('a', '\\xe9', b'caf\\xe9', b'1', b'a')\n");
}

both! {
    fn clients_of_any_form_and_character_set_are_forwarded(server) {
        let base = server.database();
        server.sql(&format!("CREATE TABLE {base}.t (v VARCHAR(10) CHARACTER SET utf8mb4)"));
        for like in [true, false] {
            let dpm = forward_to(server, like);
            for capabilities in [caps::BASE, caps::BASE | caps::DEPRECATE_EOF, MODERN, MODERN | caps::SESSION_TRACK | caps::QUERY_ATTRIBUTES] {
                let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, capabilities);
                if !like && capabilities & caps::MULTI == 0 {
                    let Answer::Err(1105, _, message) = wire.query("SELECT 1 + 1") else { panic!("no error") };
                    assert!(message.contains("like = session.auth"), "{message}");
                    continue;
                }
                assert_eq!(wire.rows("SELECT 1 + 1"), [["2"]]);
                assert!(matches!(wire.query("BEGIN"), Answer::Ok(_)));
                assert_eq!(status_of(&wire.query("SELECT 2")) & IN_TRANSACTION, IN_TRANSACTION);
                assert!(matches!(wire.query("SELEKT"), Answer::Err(1064, ..)));
                assert!(matches!(wire.query("ROLLBACK"), Answer::Ok(_)));
            }
            // Another user, with no database as before; and then with one that would be left.
            let mut conn = connect(dpm.port());
            let again = || mysql::ChangeUserOpts::new().with_user(Some(USER.into())).with_pass(Some(PASSWORD.into())).with_db_name(None);
            conn.query_drop("SET @x = 1").unwrap();
            conn.change_user(again()).unwrap();
            let row: Option<(Option<i64>, Option<String>)> = conn.query_first("SELECT @x, CONCAT(DATABASE())").unwrap();
            assert_eq!(row, Some((None, None)));
            conn.query_drop(format!("USE {base}")).unwrap();
            conn.change_user(again()).unwrap();
            let err = conn.query_first::<String, _>("SELECT CONCAT(DATABASE())").unwrap_err().to_string();
            assert!(err.contains("connect again"), "{err}");
            dpm.assert_no_errors();
        }
        // A client that logged in with latin1 writes and reads latin1.
        let dpm = forward_to(server, true);
        let mut wire = Wire::login_in(dpm.port(), USER, PASSWORD, MODERN, 8);
        wire.query(&format!("USE {base}"));
        wire.command(com::QUERY, b"INSERT INTO t VALUES ('caf\xE9')");
        assert!(matches!(wire.answer(), Answer::Ok(_)));
        assert_eq!(server.sql(&format!("SELECT HEX(v) FROM {base}.t")), "636166C3A9\n");
        let Answer::Rows { rows, .. } = wire.query("SELECT v FROM t") else { panic!("no rows") };
        assert_eq!(rows[0][0].as_deref(), Some(&b"caf\xE9"[..]));
    }
}

#[test]
fn the_status_flags_of_a_service_are_those_of_its_session() {
    let dpm = serve(
        "new_command = function() return { columns = { 'by' }, rows = { { 'script' } } } end",
    );
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    const NONE: u16 = 0;
    for (sql, expected) in [
        ("x", AUTOCOMMIT),
        ("BEGIN /* a */", AUTOCOMMIT | IN_TRANSACTION),
        ("x", AUTOCOMMIT | IN_TRANSACTION),
        ("SAVEPOINT a", AUTOCOMMIT | IN_TRANSACTION),
        ("ROLLBACK TO a", AUTOCOMMIT | IN_TRANSACTION),
        ("COMMIT AND CHAIN", AUTOCOMMIT | IN_TRANSACTION),
        ("COMMIT AND NO CHAIN", AUTOCOMMIT),
        ("START TRANSACTION READ ONLY", AUTOCOMMIT | IN_TRANSACTION),
        ("ROLLBACK", AUTOCOMMIT),
        ("SET NAMES utf8mb4, @@session.autocommit := OFF", NONE),
        ("x", NONE),
        ("BEGIN", IN_TRANSACTION),
        ("set autocommit=1, sql_mode = ''", AUTOCOMMIT),
        ("SET autocommit = 0; BEGIN", IN_TRANSACTION),
    ] {
        let mut answer = wire.query(sql);
        while status_of(&answer) & 8 != 0 {
            answer = wire.answer();
        }
        assert_eq!(
            status_of(&answer) & (AUTOCOMMIT | IN_TRANSACTION),
            expected,
            "{sql}"
        );
    }
    assert_eq!(wire.rows("SELECT @@autocommit"), [["0"]]);
    assert_eq!(
        wire.rows("SHOW VARIABLES LIKE 'autocommit'"),
        [["autocommit", "0"]]
    );
    wire.exchange(com::RESET_CONNECTION, b"");
    assert_eq!(
        status_of(&wire.query("x")) & (AUTOCOMMIT | IN_TRANSACTION),
        AUTOCOMMIT
    );
    assert_eq!(wire.rows("SELECT @@autocommit"), [["1"]]);
    dpm.assert_no_errors();
}

both! {
    fn a_handler_may_forward_another_query_than_the_clients(server) {
        let dpm = serve_before(server, "handler = function(session)
           local db = dpml.connect { host = arg[1], port = tonumber(arg[2]), user = 'happy', password = 'wheefun', like = session.auth }
           for cmd in session:commands() do
             if cmd:argument():find('in place') then
               cmd:argument((cmd:argument():gsub('in place', '3 + 4')))
             elseif cmd:argument():find('another') then
               local other = dpm.new_cmd_pkt()
               other:command(dpm.COM_QUERY)
               other:argument((cmd:argument():gsub([['another']], '5 + 6')))
               cmd = other
             elseif cmd:argument():find('own') then
               session:send_resultset { columns = { 'own' }, rows = { { 8 } } }
               cmd = nil
             end
             if cmd then session:forward(cmd, db) end
           end
         end");
        let mut conn = connect(dpm.port());
        for _ in 0..2 {
            for (sql, expected) in [("SELECT in place AS n", 7), ("SELECT 'another' AS n", 11), ("own", 8), ("SELECT 1 + 1 AS n", 2)] {
                assert_eq!(conn.query_first(sql).unwrap(), Some(expected), "{sql}");
                assert_eq!(conn.exec_first(sql, ()).unwrap(), Some(expected), "{sql}");
            }
        }
        assert!(conn.exec_drop("SELECT 'another' FROM nowhere", ()).is_err());
        // What the handler answers has the session's flags, too.
        let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
        wire.query("BEGIN");
        assert_eq!(status_of(&wire.query("own")) & IN_TRANSACTION, IN_TRANSACTION);
        wire.query("ROLLBACK");
        assert_eq!(status_of(&wire.query("own")) & IN_TRANSACTION, 0);
        dpm.assert_no_errors();
    }
}

both! {
    fn real_clients_work_through_the_example(server) {
        let base = server.database();
        server.sql(&format!("CREATE TABLE {base}.t (n INT) ENGINE = InnoDB"));
        let dpm = forward_to(server, true);
        for flavour in [Flavour::MariaDb, Flavour::MySql, Flavour::MariaDb11] {
            if !flavour.available() {
                continue;
            }
            let said = Cli::interactive(flavour, dpm.port()).arg("-t").stdin(format!(
                "use {base}\n-- a comment\nBEGIN; INSERT INTO t VALUES (1);\nSELECT COUNT(*) AS within FROM t;\nROLLBACK /* now */;\n\
                 SELECT CONCAT('after ', COUNT(*)) AS after FROM t;\nselect concat('in ', database());\nhello;\n\\s\n\
                 SELECT 1/0;\nSHOW WARNINGS;\nDESCRIBE t;\n"
            )).ok();
            for part in ["| within |", "|      1 |", "after 0", &format!("in {base}"), "| happy |", "Uptime", "Field"] {
                assert!(said.contains(part), "{flavour:?} {part}: {said}");
            }
        }
        let said = python(dpm.port(), &format!(
            "with connect(database='{base}') as conn, conn.cursor() as cursor:\n\
             \x20   cursor.execute('INSERT INTO t VALUES (%s)', (2,)); conn.rollback()\n\
             \x20   cursor.execute('SELECT COUNT(*) FROM t'); print(cursor.fetchall())\n\
             \x20   cursor.execute('INSERT INTO t VALUES (%s), (%s)', (3, 4)); print(cursor.rowcount); conn.commit()\n\
             \x20   conn.autocommit(True); conn.ping(); conn.select_db('mysql')\n\
             \x20   cursor.execute('SELECT DATABASE(), @@autocommit'); print(cursor.fetchall())\n\
             \x20   conn.select_db('{base}'); cursor.execute('SELECT n FROM t ORDER BY n'); print(cursor.fetchall())\n"
        ));
        assert_eq!(said, "((0,),)\n2\n(('mysql', 1),)\n((3,), (4,))\n");
        dpm.assert_no_errors();
    }
}

#[test]
fn a_handler_that_fails_at_once_or_ends_early_leaves_nobody_without_an_answer() {
    let dpm = serve("handler = function(session) error('a bug with a secret') end");
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    wire.command(com::STMT_CLOSE, &7u32.to_le_bytes());
    match wire.query("SELECT 1") {
        Answer::Err(1105, _, message) => assert!(!message.contains("secret"), "{message}"),
        other => panic!("{other:?}"),
    }
    assert!(wire.closed());
    dpm.line("its handler has failed");
    // One that ends while a command waits.
    let dpm = serve(
        "handler = function(session)
           for cmd in session:commands() do
             if cmd:argument() == 'end' then return end
             session:send_ok()
           end
         end",
    );
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    assert!(matches!(wire.query("first"), Answer::Ok(_)));
    match wire.query("end") {
        Answer::Err(1105, state, message) => {
            assert_eq!(state, "08S01");
            assert!(message.contains("has ended this session"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert!(wire.closed());
    dpm.wait_until_idle();
}
