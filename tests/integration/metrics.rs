//! `dpml.metrics`: what Prometheus scrapes, what probes are told, and the live page in a browser.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use mysql::prelude::Queryable;

use crate::support::browser::Browser;
use crate::support::dpm::{Dpm, Launch};
use crate::support::http::Http;
use crate::support::{Server, connect, eventually, let_time_pass, mariadb, process, server};

/// A proxy before a server, with `dpml.metrics`; the port of HTTP is printed.
const START: &str = "
    local dpml = require 'dpml'
    require('harness').passthrough()
    http = dpm.http_listener(nil, 0, function(request)
        return request.path == '/own' and 200 or 404, nil, 'mine'
    end)
    dpml.metrics(http)
    print('http ' .. http:port())";

fn start(script: &str, server: &Server) -> (Dpm, u16) {
    let dpm = Launch::script(script).server(server).start();
    let line = dpm.line("http ");
    let port = line.trim_start_matches("http ").parse().unwrap();
    (dpm, port)
}

fn program(name: &str) -> PathBuf {
    server::cache().join("prometheus").join(name)
}

/// The value of a series in the older format.
fn value(text: &str, series: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
    line.parse().unwrap()
}

#[test]
fn prometheus_is_told_what_was_done() {
    let (dpm, port) = start(START, mariadb());
    let mut client = connect(dpm.port());
    let mut http = Http::connect(port);
    let before = value(&http.get("/metrics").body, "dpm_commands_total");
    for _ in 0..7 {
        client.query_drop("SELECT 1").unwrap();
    }
    let answer = http.get("/metrics");
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(value(&answer.body, "dpm_commands_total") - before, 7.0);
    assert_eq!(value(&answer.body, "dpm_clients"), 1.0);
    assert!(value(&answer.body, "dpm_lua_memory_bytes") > 1000.0);
    assert!(value(&answer.body, "dpm_loop_lag_max_seconds") < 60.0);

    let accept =
        "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n";
    let open = http.get_with("/metrics", accept);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), content_type);
    assert!(open.body.contains("# TYPE dpm_commands counter\n"));
    assert!(open.body.ends_with("# EOF\n"));

    // What the listener has answered before it still answers.
    assert_eq!(http.get("/own").body, "mine");
    assert_eq!(http.get("/none").status, 404);
    http.send("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(http.answer().status, 405);
    dpm.assert_no_errors();
}

/// Figures of a script with whatever users may be called.
const HOSTILE: &str = r#"
    local users = { 'plain', 'quo"te', 'back\\slash', 'new\nline', '{le="1"} 5', '\255\254', ('long'):rep(500), '', 'é' }
    dpml.declare_figures {
        name = "guests", help = 'who "came"\\\n', columns = {
            { name = "guest" },
            { name = "visits", kind = "counter", help = "Visits." },
            { name = "stay", kind = "histogram", unit = "seconds", help = "How long they stayed." },
        },
        entries = function()
            local entries = {}
            for i, user in ipairs(users) do
                entries[i] = { guest = user, visits = i, stay = { { 0.5, i }, { 1, i }, { math.huge, i + 1 }, sum = 3.5 } }
            end
            return entries
        end,
    }"#;

#[test]
fn promtool_finds_nothing_wrong() {
    let (dpm, port) = start(&format!("{START}\n{HOSTILE}"), mariadb());
    let text = Http::connect(port).get("/metrics").body;
    assert_eq!(
        value(&text, r#"dpm_guests_visits_total{guest="quo\"te"}"#),
        2.0
    );
    assert_eq!(
        value(&text, r#"dpm_guests_visits_total{guest="new\nline"}"#),
        4.0
    );
    let mut promtool = process::command(program("promtool"));
    promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut promtool = process::spawn(promtool);
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let read = |stream: Box<dyn std::io::Read>| std::io::read_to_string(stream).unwrap();
    let said = read(Box::new(promtool.stderr.take().unwrap()));
    assert!(
        promtool.wait().unwrap().success() && said.is_empty(),
        "{said}\n{text}"
    );
    dpm.assert_no_errors();
}

/// Starts Prometheus, which scrapes a port each second. Returns its own port.
fn prometheus(port: u16) -> (process::Process, u16) {
    let folder = process::folder("prometheus");
    let configuration = format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs:\n- job_name: dpm\n  static_configs:\n  - targets: ['127.0.0.1:{port}']\n"
    );
    std::fs::write(folder.join("prometheus.yml"), configuration).unwrap();
    let mut command = process::command(program("prometheus"));
    command
        .arg(format!(
            "--config.file={}",
            folder.join("prometheus.yml").display()
        ))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ))
        .arg("--web.listen-address=127.0.0.1:0")
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut process = process::spawn(command);
    let lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("\"Listening on\" address=127.0.0.1:") {
                let _ = send.send(rest.trim().parse().unwrap());
            }
        }
    });
    let port = receive
        .recv_timeout(crate::support::PATIENCE)
        .expect("Prometheus' port");
    (process, port)
}

#[test]
fn a_real_prometheus_scrapes_it() {
    let watched = "
        local answer = http:handler()
        http:handler(function(request, exchange)
            print('scraped as ' .. tostring(request.headers.accept))
            return answer(request, exchange)
        end)";
    let (dpm, port) = start(&format!("{START}\n{HOSTILE}\n{watched}"), mariadb());
    let mut client = connect(dpm.port());
    client.query_drop("SELECT 1").unwrap();
    let (_prometheus, its_port) = prometheus(port);
    let ask = |query: &str| {
        let answer = Http::connect(its_port).get(&format!("/api/v1/query?query={query}"));
        // (While it starts it answers otherwise.)
        let answer: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let value = answer["data"]["result"][0]["value"][1].as_str();
        value.and_then(|value| value.parse::<f64>().ok())
    };
    eventually("it is scraped", || {
        ask("up") == Some(1.0) && ask("dpm_clients") == Some(1.0)
    });
    assert!(ask("dpm_commands_total").unwrap() >= 1.0);
    assert_eq!(ask("count(dpm_guests_visits_total)"), Some(9.0));
    assert_eq!(ask("sum(dpm_guests_stay_seconds_count)"), Some(54.0));
    // It has asked for OpenMetrics, and so read that.
    assert!(
        dpm.line("scraped as")
            .contains("application/openmetrics-text")
    );
    let targets = Http::connect(its_port).get("/api/v1/targets").body;
    assert!(targets.contains(r#""lastError":"""#), "{targets}");
}

#[test]
fn probes_are_told_whether_to_send_clients() {
    let script = START.replace(
        "dpml.metrics(http)",
        "welcome = true
         dpml.metrics(http, { page = false, ready = function() return welcome, 'not now' end })
         dpm.on_signal('USR2', function() welcome = false end)",
    );
    let (mut dpm, port) = start(&script, mariadb());
    let mut http = Http::connect(port);
    let mut ask = |path: &str| {
        let answer = http.get(path);
        (answer.status, answer.body)
    };
    assert_eq!(ask("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(ask("/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(ask("/").0, 404, "there is no page");
    dpm.signal("USR2");
    eventually("it is not ready", || {
        ask("/readyz") == (503, "not now\n".to_owned())
    });

    // While it waits for a client it still says that it is about to go.
    let mut client = connect(dpm.port());
    let waiting = std::thread::spawn(move || client.query_drop("SELECT SLEEP(1)"));
    eventually("the client waits", || dpm.stat("commands") >= 1.0);
    let_time_pass(Duration::from_millis(100));
    dpm.signal("TERM");
    eventually("it stops", || {
        ask("/readyz") == (503, "stopping\n".to_owned())
    });
    assert_eq!(ask("/healthz").0, 200);
    waiting.join().unwrap().unwrap();
    assert_eq!(dpm.wait_for_end().code(), Some(0));
}

/// The text of a tile of the page.
fn tile(name: &str, part: &str) -> String {
    format!("(document.querySelector(\".tile[data-name='{name}'] .{part}\") || {{}}).textContent")
}

#[test]
fn a_browser_shows_what_is_done() {
    let evil = "
        dpml.declare_figures {
            name = 'workers', columns = { { name = 'worker' }, { name = 'clients', kind = 'gauge' } },
            entries = function() return { { worker = '<img src=x onerror=alert(1)><script>document.title = 1</script>', clients = 5 } } end,
        }";
    let (mut dpm, port) = start(&format!("{START}\n{evil}\ndpml.digests()"), mariadb());
    let mut browser = Browser::start();
    browser.open(&format!("http://127.0.0.1:{port}/"));
    browser.until("document.getElementById('state').textContent == 'Live'");
    assert_eq!(browser.value(&tile("Clients", "figure")), "0");

    let mut clients: Vec<_> = (0..3).map(|_| connect(dpm.port())).collect();
    browser.until(&format!("{} == '3'", tile("Clients", "figure")));
    for _ in 0..50 {
        clients[0].query_drop("SELECT 1").unwrap();
    }
    // The statement is shown, with its calls, and so is how long such take. (Something goes on until the page has seen it.)
    let shown = "document.querySelector('#digests td.sql').textContent.includes('<script>alert(1)</script>')";
    eventually("the statement is shown", || {
        let statement = "SELECT 1 AS `<script>alert(1)</script>`";
        (0..20).for_each(|_| clients[1].query_drop(statement).unwrap());
        let latency = browser.value(&tile("Latency", "unit"));
        browser.value(&format!(
            "(() => {{ try {{ return {shown} }} catch {{ return false }} }})()"
        )) == true
            && (latency == "µs" || latency == "ms")
    });
    let commands = dpm.stat("commands");
    browser.until(&format!(
        "{}.replaceAll(',', '') == '{commands} so far'",
        tile("Commands", "note")
    ));

    // What it is told is text, whatever it looks like.
    browser.until(
        "document.querySelector('#workers td.first').textContent.startsWith('<img src=x onerror')",
    );
    let elements = "document.querySelectorAll('img, main script, iframe').length";
    assert_eq!(browser.value(elements), 0);
    assert_eq!(
        browser.value("document.querySelector('#workers td.number').textContent"),
        "5"
    );
    // Its policy forbids whatever else could get into it.
    let injected = "{ const script = document.createElement('script'); script.textContent = 'window.hacked = true';
        document.body.append(script); window.hacked === undefined }";
    assert_eq!(browser.value(injected), true);
    let blocked = std::mem::take(&mut browser.complaints);
    assert!(
        blocked.len() == 1 && blocked[0].contains("Content Security Policy"),
        "{blocked:?}"
    );

    // It fits on a phone, and is dark where that is wanted.
    browser.appear(360, 740, "dark");
    browser.until("document.documentElement.scrollWidth <= 360");
    browser.until("getComputedStyle(document.body).backgroundColor == 'rgb(15, 18, 21)'");
    browser.appear(1280, 900, "light");
    browser.until("getComputedStyle(document.body).backgroundColor == 'rgb(246, 247, 248)'");

    assert_eq!(browser.complaints, Vec::<String>::new());
    drop(clients);
    dpm.stop();
    browser.until("document.getElementById('state').textContent.startsWith('Not connected')");
}

#[test]
fn all_workers_are_told_of_by_one() {
    let script = "
        local dpml = require 'dpml'
        dpm.config { workers = 3 }
        require('harness').passthrough()
        http = dpm.http_listener(nil, 0)
        dpml.metrics(http)
        assert(http:port() > 0)
        if dpm.worker() == 3 then print('http ' .. http:port()) end";
    let (dpm, port) = start(&format!("{script}\n{HOSTILE}"), mariadb());
    let mut clients: Vec<_> = (0..6).map(|_| connect(dpm.port())).collect();
    for client in &mut clients {
        client.query_drop("SELECT 1").unwrap();
    }
    let text = Http::connect(port).get("/metrics").body;
    let of = |name: &str| {
        [1, 2, 3].map(|worker| value(&text, &format!("{name}{{worker=\"{worker}\"}}")))
    };
    assert_eq!(of("dpm_clients").iter().sum::<f64>(), 6.0);
    assert_eq!(of("dpm_clients"), [2.0; 3]);
    assert!(of("dpm_commands_total").iter().sum::<f64>() >= 6.0);
    let stay = r#"dpm_guests_stay_seconds_bucket{worker="2",guest="plain",le="+Inf"}"#;
    assert_eq!(value(&text, stay), 2.0);

    let mut browser = Browser::start();
    browser.open(&format!("http://127.0.0.1:{port}/"));
    browser.until(&format!("{} == '6'", tile("Clients", "figure")));
    browser.until("document.querySelectorAll('#workers tbody tr').length == 3");
    assert_eq!(browser.complaints, Vec::<String>::new());
    dpm.assert_no_errors();
}

#[test]
fn the_demo_shows_a_page() {
    let dpm = Launch::demo("metrics", mariadb()).arg(0).start();
    let line = dpm.line("dpm: metrics: http://127.0.0.1:");
    let port = line.rsplit(':').next().unwrap().trim_end_matches('/');
    let mut client = connect(dpm.listening());
    client.query_drop("SELECT 1").unwrap();
    let mut http = Http::connect(port.parse().unwrap());
    assert!(http.get("/").body.starts_with("<!doctype html>"));
    assert!(value(&http.get("/metrics").body, "dpm_commands_total") >= 1.0);
    assert_eq!(http.get("/readyz").status, 200);
}

/// Rules and a dashboard ask for figures that there are.
#[test]
fn what_is_packaged_asks_for_what_there_is() {
    const POOL: &str = "
        local dpml = require 'dpml'
        dpml.digests {}
        dpml.pool(require('harness').listen(function() end), {
            servers = { { host = '127.0.0.1', port = tonumber(arg[2]) } }, users = { ann = { password = 'p' } },
        })
        http = dpm.http_listener(nil, 0)
        dpml.metrics(http)
        print('http ' .. http:port())";
    let (_dpm, port) = start(POOL, mariadb());
    let text = Http::connect(port).get("/metrics").body;
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let rules = folder.join("prometheus-rules.yaml");
    let dashboard = std::fs::read_to_string(folder.join("grafana-dashboard.json")).unwrap();
    let asked = std::fs::read_to_string(&rules).unwrap() + &dashboard;
    let names = asked.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut count = 0;
    for name in names.filter(|name| name.starts_with("dpm_")) {
        let family = name.trim_end_matches("_bucket");
        assert!(text.contains(&format!("# HELP {family} ")), "{name}");
        count += 1;
    }
    assert!(count > 30, "{count}");
    let panels: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(panels["panels"].as_array().unwrap().len() > 10);
    let mut promtool = process::command(program("promtool"));
    promtool.args(["check", "rules"]).arg(rules);
    let done = process::run(promtool, Vec::new(), Duration::from_secs(20));
    assert_eq!(done.code, 0, "{}", String::from_utf8_lossy(&done.stderr));
}
