//! Traces: spans of queries, read by OpenTelemetry's own schema.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::collector::Collector;
use crate::support::dpm::Launch;
use crate::support::http::Http;
use crate::support::web::{Web, fine};
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{Dpm, PATIENCE, Server, both, eventually, let_time_pass, mariadb, mysql};

/// A startfile that traces; on HUP it sends what waits, and tells what it has counted; with `is_patient` it only tells.
fn script(port: u16, options: &str, clients: &str) -> String {
    format!(
        "local dpml = require 'dpml'
         traces = dpml.tracing {{ endpoint = 'http://127.0.0.1:{port}/v1/traces', interval = 0.05, {options} }}
         listener = require('harness').listen(function() end)
         {clients}
         local function tell()
           local it = dpm.stats('traces')
           print(('counted recorded=%d sent=%d dropped=%d failed=%d waiting=%d joined=%d invalid=%d'):format(it.recorded,
             it.sent, it.dropped, it.failed, it.waiting, it.joined, it.invalid))
         end
         dpm.on_signal('HUP', function()
           dpml.spawn(function()
             if not is_patient then traces:flush() end
             tell()
           end)
         end)"
    )
}

const PASSTHROUGH: &str =
    "dpml.passthrough_new_clients(listener, {}, { arg[1], tonumber(arg[2]) })";

fn passthrough(server: &Server, collector: &Collector, options: &str) -> Dpm {
    Launch::script(&script(collector.port, options, PASSTHROUGH))
        .server(server)
        .start()
}

#[track_caller]
fn counted(dpm: &Dpm) -> String {
    let before = dpm.count("counted");
    dpm.signal("HUP");
    eventually("it tells what it has counted", || {
        dpm.count("counted") > before
    });
    dpm.lines("counted").pop().unwrap()
}

/// The only span of this name.
#[track_caller]
fn named<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    let mut found = spans.iter().filter(|span| span["name"] == name);
    let span = found.next();
    let span = span.unwrap_or_else(|| panic!("no span {name}: {spans:#?}"));
    assert!(found.next().is_none(), "several spans {name}");
    span
}

fn prepare(wire: &mut Wire, sql: &str) -> u32 {
    wire.command(com::STMT_PREPARE, sql.as_bytes());
    let head = wire.read();
    assert_eq!(head[0], 0, "{sql}: {head:?}");
    for count in [&head[7..9], &head[5..7]] {
        let count = u16::from_le_bytes([count[0], count[1]]);
        for _ in 0..count {
            wire.read();
        }
        if count > 0 {
            wire.read();
        }
    }
    u32::from_le_bytes([head[1], head[2], head[3], head[4]])
}

/// Executes a statement, with these flags, and reads its result up to the end of the columns, or of the rows.
fn execute(wire: &mut Wire, id: u32, flags: u8) {
    let mut argument = id.to_le_bytes().to_vec();
    argument.extend_from_slice(&[flags, 1, 0, 0, 0]);
    wire.command(com::STMT_EXECUTE, &argument);
    let mut ends = 0;
    while ends < if flags == 0 { 2 } else { 1 } {
        let packet = wire.read();
        assert_ne!(packet[0], 0xFF, "{packet:?}");
        ends += usize::from(packet[0] == 0xFE && packet.len() < 9);
    }
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

both! {
    fn a_query_is_a_span(server) {
        let collector = Collector::start();
        let dpm = passthrough(server, &collector, "sample = 1, service_name = 'shop', attributes = { ['deployment.environment.name'] = 'test' }");
        server.sql("CREATE TABLE IF NOT EXISTS test.traced (a INT); TRUNCATE TABLE test.traced");
        let mut wire = Wire::login_empty(dpm.port(), caps::BASE | caps::MULTI);
        wire.rows("SELECT 'secret', 7 FROM (SELECT 1 UNION SELECT 2) t");
        assert!(matches!(wire.query("SELECT 'secret' FROM test.nowhere"), Answer::Err(1146, ..)));
        assert!(matches!(wire.query("USE test"), Answer::Ok(_)));
        assert!(matches!(wire.query("INSERT INTO traced VALUES (1), (2)"), Answer::Ok(_)));
        wire.rows("SELECT 1 FROM traced LIMIT 1; SELECT 2 FROM traced");
        let Answer::Rows { .. } = wire.answer() else { panic!("two results") };
        wire.command(com::PING, b"");
        wire.read();
        let spans = collector.wait_for(5);
        assert_eq!(spans.len(), 5, "a ping is no query: {spans:#?}");
        assert!(!format!("{spans:?}").contains("secret"), "{spans:#?}");

        let first = named(&spans, "SELECT SELECT SELECT");
        assert_eq!(first["db.query.text"], "SELECT ?, ... FROM (SELECT ? UNION SELECT ?) t");
        assert_eq!(first["db.response.returned_rows"], 2);
        assert_eq!(first["user.name"], "empty");
        assert_eq!(first["client.address"], "127.0.0.1");
        assert_eq!(first["server.port"], server.port);
        assert_eq!(first["server.address"], "127.0.0.1");
        assert_eq!(first["db.system.name"], if server.flavour.is_mariadb() { "mariadb" } else { "mysql" });
        assert_eq!(first["service"]["service.name"], "shop");
        assert_eq!(first["service"]["deployment.environment.name"], "test");
        assert_eq!((&first["kind"], &first["status"], &first["parent"]), (&3.into(), &0.into(), &"".into()));
        assert!(first.get("db.namespace").is_none());
        assert!(first["dpm.response.bytes"].as_u64().unwrap() > 20, "{first}");
        let in_server = first["dpm.server.duration"].as_f64().unwrap();
        assert!(in_server > 0.0 && in_server * 1e6 <= first["us"].as_f64().unwrap() + 2.0, "{first}");

        let failed = named(&spans, "SELECT test.nowhere");
        assert_eq!(failed["status"], 2);
        assert_eq!(failed["error.type"], "1146");
        assert_eq!(failed["db.response.status_code"], "1146");
        // The message may have values in it.
        assert_eq!(failed["message"], "");

        let inserted = named(&spans, "INSERT traced");
        assert_eq!((&inserted["db.namespace"], &inserted["dpm.affected_rows"]), (&"test".into(), &2.into()));
        let both = named(&spans, "SELECT traced SELECT traced");
        assert_eq!(both["db.response.returned_rows"], 3);
        assert_eq!(both["db.query.text"], "SELECT ? FROM traced LIMIT ?; SELECT ? FROM traced");
        let traces: std::collections::BTreeSet<_> = spans.iter().map(|span| span["trace"].to_string()).collect();
        assert_eq!(traces.len(), 5);
        assert!(counted(&dpm).contains("recorded=5 sent=5 dropped=0 failed=0 waiting=0 joined=0 invalid=0"));
        dpm.assert_no_errors();
    }
}

both! {
    fn an_application_s_trace_goes_on(server) {
        let collector = Collector::start();
        let dpm = passthrough(server, &collector, "sample = 0");
        let mut wire = Wire::login_empty(dpm.port(), caps::BASE);
        let comment = |flags: &str| format!("/*db_driver='x',traceparent='00-{TRACE}-{PARENT}-{flags}'*/");
        wire.rows(&format!("SELECT 1 AS a {}", comment("01")));
        wire.rows(&format!("SELECT 1 AS unsampled {}", comment("00")));
        wire.rows(&format!("SELECT 1 AS invalid {}", comment("0x")));
        wire.rows("SELECT 1 AS without");
        // What is prepared is executed first as a part of that trace, and afterwards as part of nobody knows what.
        let id = prepare(&mut wire, &format!("SELECT 2 AS b FROM mysql.user LIMIT 0 {}", comment("01")));
        execute(&mut wire, id, 0);
        execute(&mut wire, id, 0);
        assert!(counted(&dpm).contains("recorded=2 sent=2 dropped=0 failed=0 waiting=0 joined=3 invalid=1"), "{}", counted(&dpm));
        let spans = collector.spans();
        for name in ["SELECT", "SELECT mysql.user"] {
            let span = named(&spans, name);
            assert_eq!((&span["trace"], &span["parent"]), (&TRACE.into(), &PARENT.into()));
            assert_eq!(span["flags"], 0x301);
        }
        assert_eq!(spans.len(), 2);
        dpm.assert_no_errors();
    }
}

#[test]
fn a_trace_in_a_query_s_attributes() {
    let Some(server) = mysql() else { return };
    let collector = Collector::start();
    let dpm = passthrough(server, &collector, "sample = 0");
    let mut wire = Wire::login_empty(dpm.port(), caps::BASE | caps::QUERY_ATTRIBUTES);
    let attribute = |value: &str| {
        let mut bytes = b"\x01\x01\0\x01\xfe\0\x0btraceparent".to_vec();
        bytes.push(value.len() as u8);
        bytes.extend_from_slice(value.as_bytes());
        bytes
    };
    let mut query = |value: &str, sql: &str| {
        wire.seq = 0;
        let payload = [&[com::QUERY][..], &attribute(value), sql.as_bytes()].concat();
        wire.write(&payload);
        assert!(matches!(wire.answer(), Answer::Rows { .. }));
    };
    query(&format!("00-{TRACE}-{PARENT}-01"), "SELECT 1");
    query(&format!("00-{TRACE}-{PARENT}-00"), "SELECT 2");
    query("'*/ DROP TABLE students; --", "SELECT 3");
    // The same of an execution: a parameter, then the attribute.
    let id = prepare(&mut wire, "SELECT ? AS executed FROM mysql.user LIMIT 0");
    let mut argument = id.to_le_bytes().to_vec();
    let value = format!("00-{TRACE}-{PARENT}-01");
    argument.extend_from_slice(&[8, 1, 0, 0, 0, 2, 0, 1, 0xFE, 0, 0, 0xFE, 0, 11]);
    argument.extend_from_slice(b"traceparent\x01x");
    argument.push(value.len() as u8);
    argument.extend_from_slice(value.as_bytes());
    wire.seq = 0;
    wire.write(&[&[com::STMT_EXECUTE][..], &argument].concat());
    let mut ends = 0;
    while ends < 2 {
        let packet = wire.read();
        assert_ne!(packet[0], 0xFF, "{packet:?}");
        ends += usize::from(packet[0] == 0xFE && packet.len() < 9);
    }
    let told = counted(&dpm);
    assert!(
        told.contains("recorded=2 sent=2") && told.contains("joined=3 invalid=1"),
        "{told}"
    );
    for span in collector.spans() {
        assert_eq!(
            (&span["trace"], &span["parent"]),
            (&TRACE.into(), &PARENT.into())
        );
    }
    dpm.assert_no_errors();
}

both! {
    fn slow_queries_are_recorded(server) {
        let collector = Collector::start();
        let dpm = passthrough(server, &collector, "slower_than = 1");
        let mut wire = Wire::login_empty(dpm.port(), caps::BASE);
        for _ in 0..5 {
            wire.rows("SELECT 1");
        }
        wire.rows("SELECT SLEEP(1.1)");
        let spans = collector.wait_for(1);
        assert_eq!(spans[0]["db.query.text"], "SELECT SLEEP(?)");
        assert!(spans[0]["us"].as_u64().unwrap() >= 1_100_000);
        assert!(counted(&dpm).contains("recorded=1 sent=1"));
        dpm.assert_no_errors();
    }
}

both! {
    fn the_time_that_a_pooled_client_waits(server) {
        let collector = Collector::start();
        let pool = "dpml.pool(listener, { size = 1, servers = { { host = arg[1], port = tonumber(arg[2]) } },
            users = { empty = { password = '' } } })";
        let dpm = Launch::script(&script(collector.port, "sample = 1, comment = true", pool)).server(server).start();
        let mut wires = [(); 2].map(|()| Wire::login_empty(dpm.port(), caps::BASE));
        let [slow, waits] = &mut wires;
        slow.rows("SELECT 'warm'");
        waits.rows("SELECT 'warm'");
        slow.command(com::QUERY, b"SELECT SLEEP(0.4) AS slow FROM (SELECT 1) t");
        let_time_pass(Duration::from_millis(100));
        waits.rows("SELECT 1 AS waits FROM (SELECT 1) t UNION SELECT 2");
        slow.answer();
        // Prepared statements are shared by their texts, so that they have no comment.
        for wire in &mut wires {
            let id = prepare(wire, "SELECT 5 AS prepared FROM mysql.user LIMIT 0");
            execute(wire, id, 0);
            // The pool keeps it, and does not forward this.
            wire.command(com::STMT_CLOSE, &id.to_le_bytes());
            wire.rows("SELECT 'afterwards'");
        }
        assert!(counted(&dpm).contains("recorded=8 sent=8"), "the pool's own commands have no spans: {}", counted(&dpm));
        let spans = collector.spans();
        let of = |part: &str| spans.iter().find(|span| span["db.query.text"].as_str().unwrap().contains(part)).unwrap();
        let seconds = |span: &Value, name: &str| span[name].as_f64().unwrap();
        let (slow, waits) = (of("SLEEP"), of("waits"));
        assert!(seconds(slow, "dpm.server.duration") >= 0.39, "{slow}");
        assert!(seconds(slow, "dpm.wait.duration") < 0.2, "{slow}");
        assert!(seconds(waits, "dpm.wait.duration") >= 0.2, "{waits}");
        assert!(seconds(waits, "dpm.server.duration") < 0.2, "{waits}");
        assert_eq!(waits["db.response.returned_rows"], 2);
        assert_eq!(spans.iter().filter(|span| span["name"] == "SELECT mysql.user").count(), 2);
        dpm.assert_no_errors();
    }
}

both! {
    fn the_server_is_told_of_the_trace(server) {
        let collector = Collector::start();
        let dpm = passthrough(server, &collector, "sample = 1, comment = true");
        let mut wire = Wire::login_empty(dpm.port(), caps::BASE | caps::MULTI);
        let seen = "SELECT info FROM information_schema.processlist WHERE id = CONNECTION_ID()";
        let info = wire.rows(seen)[0][0].clone();
        let spans = collector.wait_for(1);
        let (trace, span) = (spans[0]["trace"].as_str().unwrap(), spans[0]["span"].as_str().unwrap());
        assert_eq!(info, format!("/*traceparent='00-{trace}-{span}-01'*/ {seen}"));
        // The rest of several statements is as it was.
        let told = wire.rows(&format!("SELECT 1; {seen}"));
        assert_eq!(told, [["1"]]);
        let Answer::Rows { rows, .. } = wire.answer() else { panic!("two results") };
        assert!(!String::from_utf8_lossy(rows[0][0].as_ref().unwrap()).contains("traceparent"));
        for versioned in [format!("/*!50000 {seen} */"), format!("  /*!50000 {seen} */")] {
            assert!(!wire.rows(&versioned)[0][0].contains("traceparent"));
        }
        let commented = format!("/* mine */ {seen}");
        assert!(wire.rows(&commented)[0][0].ends_with(&commented));
        // Nobody else sees it.
        assert!(!format!("{:?}", collector.wait_for(5)).contains("/*"));
        dpm.assert_no_errors();
    }
}

both! {
    fn texts_and_messages_if_told_so(server) {
        let collector = Collector::start();
        let dpm = passthrough(server, &collector, "sample = 1, statements = 'text', max_text = 60");
        let mut wire = Wire::login_empty(dpm.port(), caps::BASE);
        wire.rows("SELECT 'secret'");
        assert!(matches!(wire.query("SELECT 1 FROM test.nowhere"), Answer::Err(1146, ..)));
        wire.rows(&format!("SELECT '{}'", "x".repeat(1000)));
        let id = prepare(&mut wire, "SELECT 'prepared secret'");
        execute(&mut wire, id, 0);
        let spans = collector.wait_for(4);
        let texts: Vec<_> = spans.iter().map(|span| span["db.query.text"].as_str().unwrap()).collect();
        assert_eq!(texts[0], "SELECT 'secret'");
        assert_eq!(texts[2].len(), 60);
        assert_eq!(texts[3], "SELECT 'prepared secret'");
        assert!(spans[1]["message"].as_str().unwrap().contains("doesn't exist"), "{}", spans[1]);
        dpm.assert_no_errors();
    }
}

both! {
    fn cursors_files_and_clients_that_leave(server) {
        let collector = Collector::start();
        let dpm = passthrough(server, &collector, "sample = 1");
        server.sql("CREATE TABLE IF NOT EXISTS test.loaded (a INT); TRUNCATE TABLE test.loaded; SET GLOBAL local_infile = 1");
        let mut wire = Wire::login_empty(dpm.port(), caps::BASE | caps::LOCAL_FILES);
        let id = prepare(&mut wire, "SELECT 1 AS a UNION ALL SELECT 2 UNION ALL SELECT 3");
        execute(&mut wire, id, 1);
        wire.command(com::STMT_FETCH, &[&id.to_le_bytes()[..], &2u32.to_le_bytes()].concat());
        for _ in 0..3 {
            wire.read();
        }
        wire.command(com::QUERY, b"LOAD DATA LOCAL INFILE 'any' INTO TABLE test.loaded");
        assert_eq!(wire.read()[0], 0xFB);
        wire.write(b"1\n2\n3\n");
        wire.write(b"");
        assert_eq!(wire.read()[0], 0);
        let spans = collector.wait_for(3);
        let execution = named(&spans, "SELECT SELECT SELECT");
        let fetched = named(&spans, "FETCH SELECT SELECT SELECT");
        assert_eq!((&fetched["trace"], &fetched["parent"]), (&execution["trace"], &execution["span"]));
        assert_eq!(fetched["db.response.returned_rows"], 2, "{fetched}");
        assert_eq!(named(&spans, "LOAD DATA test.loaded")["dpm.affected_rows"], 3);

        wire.command(com::QUERY, b"SELECT SLEEP(3) FROM test.loaded");
        let_time_pass(Duration::from_millis(50));
        // (Who only ends his side gets his answer.)
        socket2::SockRef::from(&*wire.stream()).set_linger(Some(Duration::ZERO)).unwrap();
        drop(wire);
        let spans = collector.wait_for(4);
        let left = named(&spans, "SELECT test.loaded");
        assert_eq!((&left["status"], &left["error.type"]), (&2.into(), &"connection_closed".into()));
    }
}

#[test]
fn a_script_s_answers_have_spans() {
    let collector = Collector::start();
    let clients = "dpml.accept_clients(listener, { users = { me = { password = 'x' } }, new_command = function(cmd)
        if cmd:argument():find('fail') then error(dpml.new_error('45000', 1644, 'no')) end
        return { columns = { 'a' }, rows = { { '1' }, { '2' } } }
      end })";
    let dpm = Launch::script(&script(collector.port, "sample = 1", clients)).start();
    let mut wire = Wire::login_as(dpm.port(), "me", "x", caps::BASE);
    wire.query("SELECT rows");
    wire.query("SELECT fail");
    let spans = collector.wait_for(2);
    assert_eq!(spans[0]["kind"], 1, "internal: {spans:#?}");
    assert!(spans[0].get("server.address").is_none());
    assert!(
        spans.iter().any(|span| span["error.type"] == "1644"),
        "{spans:#?}"
    );
}

/// A passthrough that traces into this server of HTTP.
fn traced_into(web: &Web, options: &str) -> (Dpm, Wire) {
    let dpm = Launch::script(&script(web.port, options, PASSTHROUGH))
        .server(mariadb())
        .start();
    let wire = Wire::login_empty(dpm.port(), caps::BASE);
    (dpm, wire)
}

#[test]
fn a_collector_that_is_busy_is_asked_again() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let web = Web::serve(|_| {
        Some(match ASKED.fetch_add(1, Ordering::SeqCst) {
            0 => b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n".to_vec(),
            1 => b"HTTP/1.1 429 Slow\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n".to_vec(),
            2 => fine(r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}"#),
            _ => b"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nno!".to_vec(),
        })
    });
    let (dpm, mut wire) = traced_into(&web, "sample = 1, interval = 3600, batch = 3");
    for _ in 0..3 {
        wire.rows("SELECT 1");
    }
    eventually("the batch is sent", || ASKED.load(Ordering::SeqCst) >= 3);
    dpm.line("has not taken 2 of 3 spans: too old");
    let told = counted(&dpm);
    assert!(
        told.contains("recorded=3 sent=1 dropped=0 failed=2"),
        "{told}"
    );
    let asked = web.asked();
    assert_eq!(asked[0].body, asked[2].body);
    // What is refused is not sent again.
    wire.rows("SELECT 1");
    let told = counted(&dpm);
    assert!(
        told.contains("recorded=4 sent=1 dropped=0 failed=3"),
        "{told}"
    );
    assert_eq!(ASKED.load(Ordering::SeqCst), 4);
    dpm.line("1 spans were not sent: ");
}

#[test]
fn a_collector_that_does_not_answer_costs_spans_and_nothing_else() {
    let web = Web::serve_raw(|socket, _| {
        let _ = std::io::Read::read(socket, &mut [0]);
        false
    });
    let (dpm, mut wire) = traced_into(
        &web,
        "sample = 1, interval = 3600, batch = 10, queue = 25, retries = 0, timeout = 60 } is_patient = { true",
    );
    for _ in 0..100 {
        wire.rows("SELECT 1");
    }
    // Ten are under way, and 25 wait.
    let told = counted(&dpm);
    assert!(
        told.contains("recorded=100 sent=0 dropped=65 failed=0 waiting=25"),
        "{told}"
    );
}

#[test]
fn a_dead_collector_is_noticed_and_a_living_one_found_again() {
    let web = Web::serve(|_| None);
    let (dpm, mut wire) = traced_into(
        &web,
        "sample = 1, interval = 3600, batch = 10, queue = 10, retries = 0",
    );
    for _ in 0..5 {
        wire.rows("SELECT 1");
    }
    let told = counted(&dpm);
    assert!(
        told.contains("recorded=5 sent=0 dropped=0 failed=5 waiting=0"),
        "{told}"
    );
    dpm.line("5 spans were not sent: ");
}

#[test]
fn what_waits_is_sent_at_the_end() {
    let collector = Collector::start();
    let mut dpm = Launch::script(&script(
        collector.port,
        "sample = 1, interval = 3600",
        PASSTHROUGH,
    ))
    .server(mariadb())
    .start();
    let mut wire = Wire::login_empty(dpm.port(), caps::BASE);
    wire.rows("SELECT 'last words'");
    assert!(collector.spans().is_empty());
    assert!(dpm.stop().success());
    assert_eq!(collector.wait_for(1).len(), 1);
}

#[test]
fn figures_and_wrong_options() {
    let collector = Collector::start();
    let metrics = "http = dpm.http_listener(nil, 0)
        dpml.metrics(http)
        print('metrics ' .. http:port())
        for _, options in ipairs { { sample = 2 }, { sample = 0 / 0 }, { statements = 'all' }, { endpoint = 'tcp://x' },
            { queue = 0 }, { interval = 0 }, { attributes = { a = {} } }, { samples = 1 }, { retries = 100 } } do
          print((tostring(select(2, pcall(dpml.tracing, options))):gsub('^.-: ', '')))
        end";
    let clients = format!("{PASSTHROUGH} {metrics}");
    let dpm = Launch::script(&script(collector.port, "sample = 1", &clients))
        .server(mariadb())
        .start();
    for part in [
        "sample: expected a number from 0 to 1, got 2",
        "sample: expected a number from 0 to 1",
        "statements: expected \"digest\", \"text\"",
        "expected http or https, got tcp",
        "queue: expected an integer from 1",
        "interval: expected seconds, more than 0",
        "attributes: expected names with strings",
        "there is no option samples",
        "retries: expected an integer from 0 to 20",
    ] {
        dpm.line(part);
    }
    let mut wire = Wire::login_empty(dpm.port(), caps::BASE);
    wire.rows("SELECT 1");
    collector.wait_for(1);
    let port = dpm.wait_for(PATIENCE, "the port", |line| {
        line.strip_prefix("metrics ")?.parse::<u16>().ok()
    });
    let text = Http::connect(port).get("/metrics").body;
    for line in [
        "dpm_traces_recorded_total 1.0",
        "dpm_traces_sent_total 1.0",
        "dpm_traces_dropped_total 0.0",
    ] {
        assert!(text.lines().any(|its| its == line), "{line}: {text}");
    }
    dpm.assert_no_errors();
}
