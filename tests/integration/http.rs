//! `dpm.http_listener`: what scripts answer, and clients that mean no good.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::support::dpm::{Dpm, Launch};
use crate::support::http::Http;
use crate::support::{eventually, let_time_pass, process};

/// A script with `http`, a listener that has these options and this handler.
fn serve(options: &str, handler: &str) -> Dpm {
    Launch::script(&format!(
        "http = dpm.http_listener(nil, 0, function(request, exchange) {handler} end, {{ {options} }})
         print('port ' .. http:port())"
    ))
    .start()
}

#[test]
fn a_script_answers() {
    let dpm = serve(
        "",
        "return 201, { ['Content-Type'] = 'application/json', ['X-Two'] = { 'a', 'b' } }, dpm.json_encode(request)",
    );
    let mut http = Http::connect(dpm.port());
    http.send(
        "PUT /a%20b?x=1&y=a+b HTTP/1.1\r\nHost: localhost\r\nX-One: 1\r\nX-One: 2\r\nContent-Length: 4\r\n\r\nbody",
    );
    let answer = http.answer();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), "application/json");
    let twice = answer.headers.iter().filter(|(name, _)| name == "x-two");
    assert_eq!(twice.count(), 2);
    assert!(answer.header("date").ends_with("GMT"), "{answer:?}");
    for part in [
        r#""method":"PUT""#,
        r#""path":"/a b""#,
        r#""target":"/a%20b?x=1&y=a+b""#,
        r#""query":{"x":"1","y":"a b"}"#,
        r#""x-one":"1, 2""#,
        r#""body":"body""#,
        r#""peer":"127.0.0.1""#,
    ] {
        assert!(answer.body.contains(part), "{part}: {}", answer.body);
    }

    // Several requests at once are answered in their order, and a half-closed connection gets its answers.
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    http.send(format!("{}{}", get("/1"), get("/2")));
    http.socket().shutdown(Shutdown::Write).unwrap();
    assert!(http.answer().body.contains(r#""path":"/1""#));
    assert!(http.answer().body.contains(r#""path":"/2""#));
    assert!(http.ended());
    dpm.assert_no_errors();
}

#[test]
fn a_handler_that_fails_is_a_500_and_a_line_in_the_log() {
    let dpm = serve(
        "",
        "if request.path == '/error' then error('oops') end
         if request.path == '/header' then return 200, { X = 'a\\r\\nY: b' } end
         if request.path == '/status' then return 'yes' end
         return 200, nil, 'fine'",
    );
    let mut http = Http::connect(dpm.port());
    for path in ["/error", "/header", "/status"] {
        let answer = http.get(path);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (500, "the script failed\n")
        );
    }
    assert_eq!(http.get("/").body, "fine");
    let line = dpm.line("oops");
    assert!(line.contains("for GET /error"), "{line}");
    assert!(dpm.wrote("the value of X has control characters"));
    assert!(dpm.wrote("status: expected an integer"));
    assert_eq!(dpm.stat("callback_errors"), 3.0);
}

#[test]
fn answers_may_come_later() {
    let dpm = serve(
        "answer_timeout = 1",
        "if request.path == '/lost' then collectgarbage() return end
         if request.path == '/kept' then kept = exchange return end
         if request.path == '/twice' then
             assert(exchange:answer(200, nil, 'once') and not exchange:answer(200, nil, 'twice'))
             assert(not exchange:is_open() and not exchange:start(200) and exchange:send('x') == nil)
             return
         end
         require('dpml').spawn(function()
             dpml.sleep_ms(20)
             exchange:answer(200, nil, 'later')
         end)",
    );
    let mut http = Http::connect(dpm.port());
    assert_eq!(http.get("/").body, "later");
    assert_eq!(http.get("/twice").body, "once");
    let late = http.get("/kept");
    assert_eq!(
        (late.status, late.body.as_str()),
        (503, "the answer took too long\n")
    );
    assert!(http.ended());

    // Nobody has the exchange any more: the collector finds out, sooner or later.
    let mut http = Http::connect(dpm.port());
    let lost = http.get("/lost");
    assert!([500, 503].contains(&lost.status), "{lost:?}");
    dpm.assert_no_errors();
}

const STREAM: &str = "
    local n = tonumber(request.query.n) or 0
    local stream, times = exchange, 0
    assert(stream:start(200, { ['Content-Type'] = 'text/event-stream' }))
    stream:on_close(function() print('left ' .. request.path) end)
    for i = 1, n do
        if not stream:send(('data: %d\\n\\n'):format(i)) then print('full after ' .. i) break end
    end
    if request.path == '/ends' then stream:close() else streams[#streams + 1] = stream end";

#[test]
fn streams_are_sent_as_they_come() {
    let dpm = Launch::script(&format!(
        "streams = {{}}
         http = dpm.http_listener(nil, 0, function(request, exchange) {STREAM} end)
         dpm.new_timer():schedule(0, 20, function() for _, each in ipairs(streams) do each:send('tick') end end)
         print('port ' .. http:port())"
    ))
    .start();
    let mut http = Http::connect(dpm.port());
    let whole = http.get("/ends?n=2");
    assert_eq!(whole.header("transfer-encoding"), "chunked");
    assert_eq!(whole.body, "data: 1\n\ndata: 2\n\n");
    assert_eq!(http.get("/ends").body, "", "the connection is still there");

    http.send("GET /stays HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(http.head().header("content-type"), "text/event-stream");
    for _ in 0..3 {
        assert_eq!(http.chunk().as_deref(), Some("tick"));
    }
    drop(http);
    dpm.line("left /stays");
    assert!(!dpm.wrote("left /ends"));
    dpm.assert_no_errors();
}

#[test]
fn a_client_that_does_not_read_a_stream_is_bounded_and_leaves() {
    let dpm = Launch::script(
        "http = dpm.http_listener(nil, 0, function(request, exchange)
             exchange:start(200)
             exchange:on_close(function() print('left') end)
             local count, text = 0, ('x'):rep(10000)
             dpm.new_timer():schedule(0, 1, function(timer)
                 local sent = exchange:send(text)
                 count = count + 1
                 if sent == false and text then
                     assert(exchange:pending() < 1100000)
                     print('full after ' .. count)
                     text = 'x'
                 elseif sent == nil then
                     timer:cancel()
                 end
             end)
         end, { answer_timeout = 1 })
         print('port ' .. http:port())",
    )
    .start();
    let mut http = Http::connect(dpm.port());
    http.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    dpm.line("full after ");
    dpm.line("left");
    dpm.assert_no_errors();
}

#[test]
fn who_takes_too_long_is_closed() {
    let dpm = serve(
        "request_timeout = 0.4, idle_timeout = 0.8",
        "return 200, nil, request.body",
    );
    let port = dpm.port();
    let begun = Instant::now();
    let mut silent = Http::connect(port);
    let mut slow = Http::connect(port);
    let mut unfinished = Http::connect(port);
    unfinished.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nb");
    let mut idle = Http::connect(port);
    assert_eq!(idle.get("/").status, 200);
    // However busy it is: what counts is when the request is complete.
    for byte in b"GET / HTTP/1.1\r\nX: and so on" {
        if slow.socket().write_all(&[*byte]).is_err() {
            break;
        }
        let_time_pass(Duration::from_millis(25));
    }
    assert!(silent.ended());
    assert_eq!(slow.answer().status, 408);
    assert!(slow.ended());
    assert_eq!(unfinished.answer().status, 408);
    assert!(idle.ended());
    assert!(begun.elapsed() >= Duration::from_millis(800));
    assert_eq!(Http::connect(port).get("/").status, 200);
}

#[test]
fn there_are_limits() {
    let dpm = serve(
        "max_clients = 2, max_body = 10",
        "return 200, nil, request.body",
    );
    let port = dpm.port();
    let mut http = Http::connect(port);
    http.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\n12345678901");
    assert_eq!(http.answer().status, 413);
    assert!(http.ended());
    drop(http);
    dpm.settle();

    let mut first = Http::connect(port);
    assert_eq!(first.get("/").status, 200);
    let mut second = Http::connect(port);
    assert_eq!(second.get("/").status, 200);
    let mut third = Http::connect(port);
    assert_eq!(third.answer().status, 503);
    assert!(third.ended());
    drop(first);
    dpm.settle();
    assert_eq!(Http::connect(port).get("/").status, 200);
    assert_eq!(second.get("/").status, 200);
    dpm.assert_no_errors();
}

#[test]
fn a_listener_that_others_can_reach_is_guarded() {
    let script = |options: &str| {
        format!(
            "http = dpm.http_listener(dpm.INADDR_ANY, 0, function() return 200, nil, 'secret' end, {{ {options} }})
             print('port ' .. http:port())"
        )
    };
    let mut open = Launch::script(&script("")).start();
    assert_eq!(open.wait_for_end().code(), Some(1));
    assert!(open.wrote("give a token, or a user and a password, or say open = true"));
    let mut short = Launch::script(&script("token = 'short'")).start();
    assert_eq!(short.wait_for_end().code(), Some(1));
    assert!(short.wrote("token: needs at least 8 characters"));

    let guarded =
        "token = 'the-token', user = 'ann', password = 'ann-s-password', open = { '/healthz' }";
    let dpm = Launch::script(&script(guarded)).start();
    let port = dpm.port();
    // Basic: ann:ann-s-password, x:the-token, ann:wrong, bob:ann-s-password
    for (authorization, status) in [
        ("", 401),
        ("Authorization: Bearer the-token\r\n", 200),
        ("Authorization: bearer the-token\r\n", 200),
        ("Authorization: Bearer the-tokem\r\n", 401),
        ("Authorization: Bearer\r\n", 401),
        ("Authorization: Bearer \r\n", 401),
        ("Authorization: Basic YW5uOmFubi1zLXBhc3N3b3Jk\r\n", 200),
        ("Authorization: Basic eDp0aGUtdG9rZW4=\r\n", 200),
        ("Authorization: Basic YW5uOndyb25n\r\n", 401),
        ("Authorization: Basic Ym9iOmFubi1zLXBhc3N3b3Jk\r\n", 401),
        ("Authorization: Basic !\r\n", 401),
        ("Authorization: Digest the-token\r\n", 401),
    ] {
        let mut http = Http::connect(port);
        let answer = http.get_with("/", authorization);
        assert_eq!(answer.status, status, "{authorization}");
        let asks = answer.header("www-authenticate").starts_with("Basic ");
        assert_eq!(asks, status == 401);
        assert_eq!(answer.body == "secret", status == 200);
    }
    assert_eq!(Http::connect(port).get("/healthz").status, 200);
    assert_eq!(Http::connect(port).get("/healthz/").status, 401);
    assert_eq!(dpm.count("wrong credentials from 127.0.0.1"), 1);
}

#[test]
fn a_page_of_another_name_gets_nothing() {
    let dpm = serve("", "return 200");
    let port = dpm.port();
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:9104", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:1", 200),
        ("evil.example", 421),
        ("evil.example:9104", 421),
        ("127.0.0.1.evil.example", 421),
        ("[evil]", 421),
    ] {
        let mut http = Http::connect(port);
        http.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(http.answer().status, status, "{host}");
    }
}

#[test]
fn a_closed_listener_ends_its_streams_and_lets_the_program_end() {
    let mut dpm = Launch::script(
        "http = dpm.http_listener('127.0.0.1', 0, function(request, exchange)
             exchange:start(200)
             exchange:send('first')
             http:close()
             assert(not http:is_open() and http:handler() == nil)
             streams = exchange
         end)
         assert(http:address() == '127.0.0.1' and http:clients() == 0 and type(http:handler()) == 'function')
         print('port ' .. http:port())",
    )
    .start();
    let mut http = Http::connect(dpm.port());
    assert_eq!(http.get("/").body, "first");
    assert!(http.ended());
    assert_eq!(dpm.wait_for_end().code(), Some(0));
}

#[test]
fn a_listener_that_a_script_has_lost_stops_listening() {
    let mut dpm = Launch::script(
        "local http = dpm.http_listener(nil, 0, function() return 200 end)
         print('port ' .. http:port())
         http = nil
         local timer = dpm.new_timer()
         timer:schedule(0, 10, function() collectgarbage() end)
         dpm.on_signal('USR2', function() timer:cancel() end)",
    )
    .start();
    let port = dpm.port();
    eventually("it stops", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    dpm.signal("USR2");
    assert_eq!(dpm.wait_for_end().code(), Some(0));
}

/// Python's client for HTTPS, which does not know the certificate's issuer.
const HTTPS: &str = "
import ssl, sys, urllib.request
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with urllib.request.urlopen('https://127.0.0.1:%s/' % sys.argv[1], context=context) as answer:
    body = answer.read()
    print(answer.status, len(body), body[:3])";

#[test]
fn it_speaks_https() {
    let dpm = serve("tls = true", "return 200, nil, ('abc'):rep(1000000)");
    let mut python = process::command("/usr/bin/python3");
    python.arg("-c").arg(HTTPS).arg(dpm.port().to_string());
    let done = process::run(python, Vec::new(), Duration::from_secs(20));
    assert_eq!(done.out(), "200 3000000 b'abc'\n", "{}", done.err());

    // Who does not speak it gets nothing, and harms nobody.
    let mut plain = Http::connect(dpm.port());
    plain.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut plain.socket(), &mut rest);
    assert!(!rest.starts_with(b"HTTP"));
    dpm.assert_no_errors();
}
