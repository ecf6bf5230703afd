//! `dpml.http_request`: real servers, and such that mean no good.

use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::dpml::run;
use crate::support::pki;
use crate::support::web::{PythonWeb, Web, fine};

/// Runs a task in which `ask { … }` prints an answer, or the error without the address.
#[track_caller]
fn ask(port: u16, body: &str) -> Vec<String> {
    let script = format!(
        "base = 'http://127.0.0.1:{port}'
         function ask(options)
           if type(options) == 'string' then options = {{ url = options }} end
           options.url = options.url:find('^http') and options.url or base .. options.url
           local ok, answer = pcall(dpml.http_request, options)
           if ok then
             print(answer.status, answer.body)
             return answer
           end
           print((tostring(answer):gsub('http[s]?://[^ ]+: ', ''):gsub('^.-dpml.http_request: ', '')))
         end
         dpml.spawn(function() {body} dpm.exit(0) end)"
    );
    run(&script, &[])
}

#[test]
fn a_request_has_what_the_script_says() {
    let web = Web::serve(|asked| {
        Some(match asked.line.split(' ').nth(1) {
            Some("/json") => {
                b"HTTP/1.1 201 Created\r\nX-Two: a\r\nX-Two: b\r\ncontent-length: 2\r\n\r\n{}"
                    .to_vec()
            }
            Some("/chunks") => {
                b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"
                    .to_vec()
            }
            _ => fine("fine"),
        })
    });
    let lines = ask(
        web.port,
        "local answer = ask { url = '/json', headers = { ['Content-Type'] = 'application/json', ['X-N'] = 7 }, body = '{\"a\":1}' }
         print(answer.headers['x-two'], answer.url == base .. '/json')
         ask { url = '/chunks', method = 'DELETE' }
         ask('/a?b=c#d')
         ask { url = '/', method = 'HEAD' }",
    );
    assert_eq!(
        lines[..4],
        ["201\t{}", "a, b\ttrue", "404\tno", "200\tfine"]
    );
    let asked = web.asked();
    assert_eq!(asked[0].line, "POST /json HTTP/1.1");
    assert_eq!(asked[0].body, b"{\"a\":1}");
    assert_eq!(asked[0].header("content-type"), "application/json");
    assert_eq!(asked[0].header("x-n"), "7");
    assert_eq!(asked[0].header("host"), format!("127.0.0.1:{}", web.port));
    assert_eq!(asked[1].line, "DELETE /chunks HTTP/1.1");
    assert_eq!(asked[2].line, "GET /a?b=c HTTP/1.1");
    // One connection has had them all.
    assert!(asked.iter().all(|asked| asked.connection == 1));
}

#[test]
fn nothing_can_be_smuggled_into_a_request() {
    let web = Web::serve(|_| Some(fine("")));
    let lines = ask(
        web.port,
        r"ask('/ HTTP/1.1\r\nX: y')
          ask { url = '/', method = 'GET / HTTP/1.1\r\nX: y\r\n\r\nGET' }
          ask { url = '/', headers = { ['X: y\r\nZ'] = 'z' } }
          ask { url = '/', headers = { X = 'y\r\nZ: z' } }
          ask { url = '/', headers = { ['Content-Length'] = '100' } }
          ask { url = '/', headers = { Host = 'elsewhere' } }
          ask { url = 'http://me:secret@127.0.0.1/' }
          ask { url = 'https+x://127.0.0.1/' }
          ask { url = '/', redirect = 1 }
          ask { url = '/', timeout = 0 }
          ask { url = '/', max_size = -1 }",
    );
    for (line, part) in lines.iter().zip([
        "url: it has spaces or control characters",
        "method: expected a word",
        "cannot be a header's name",
        "the value of X has control characters",
        "Content-Length is set by the request itself",
        "Host is set by the request itself",
        "give a header Authorization instead",
        "expected http or https",
        "there is no option redirect",
        "timeout: expected seconds",
        "max_size: expected an integer",
    ]) {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(lines.len(), 11);
    assert!(web.asked().is_empty());
}

#[test]
fn a_real_server() {
    let web = PythonWeb::start(
        "import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = sys.argv[1]
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(200)
        if sys.argv[1] == 'HTTP/1.1':
            self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(server.server_port)
server.serve_forever()",
        &["HTTP/1.1"],
    );
    let lines = ask(
        web.port,
        "ask { url = '/', body = 'abc' }
         local big = ask { url = '/', body = ('x'):rep(3000000) .. 'y', max_size = 4000000 }
         print(#big.body, big.body:sub(1, 2))
         ask { url = ('http://localhost:%d/'):format(base:match(':(%d+)$')), body = 'by name' }
         ask { url = '/', method = 'PATCH', body = 'x' }",
    );
    assert_eq!(lines[0], "200\tcba");
    assert_eq!(lines[2], "3000001\tyx");
    assert_eq!(lines[3], "200\teman yb");
    assert!(lines[4].starts_with("501"), "{}", lines[4]);
}

#[test]
fn a_real_server_with_tls() {
    let pki = pki::shared();
    let web = PythonWeb::start(
        "import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '6')
        self.end_headers()
        self.wfile.write(b'secret')
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_port)
server.serve_forever()",
        &[&pki.file("server.pem"), &pki.file("server.key")],
    );
    let lines = ask(
        web.port,
        &format!(
            "local url, ca = base:gsub('^http', 'https') .. '/', '{}'
             ask(url)
             ask {{ url = url, tls = {{ ca = ca }} }}
             ask {{ url = url, tls = {{ ca = ca }} }}
             ask {{ url = url:gsub('127.0.0.1', 'localhost'), tls = {{ ca = ca }} }}
             ask {{ url = url, tls = {{ ca = ca, server_name = 'elsewhere.test' }} }}
             ask {{ url = url, tls = {{ mode = 'required' }} }}
             ask {{ url = url, tls = {{ mode = 'preferred' }} }}
             ask {{ url = base, timeout = 5 }}",
            pki.file("ca.pem")
        ),
    );
    assert!(lines[0].contains("certificate"), "{}", lines[0]);
    assert_eq!(lines[1..4], ["200\tsecret", "200\tsecret", "200\tsecret"]);
    assert!(lines[4].contains("elsewhere.test"), "{}", lines[4]);
    assert_eq!(lines[5], "200\tsecret");
    assert!(
        lines[6].contains("https has no connection without TLS"),
        "{}",
        lines[6]
    );
    // Plain HTTP to a port of TLS.
    assert!(!lines[7].starts_with("200"), "{}", lines[7]);
}

#[test]
fn servers_that_mean_no_good() {
    let web = Web::serve_raw(|socket, asked| {
        let path = asked.line.split(' ').nth(1).unwrap_or_default();
        let endless = |socket: &mut std::net::TcpStream, head: &[u8], piece: &[u8]| {
            let _ = socket.write_all(head);
            while socket.write_all(piece).is_ok() {}
        };
        match path {
            "/headers" => endless(socket, b"HTTP/1.1 200 OK\r\n", b"X-Again: and again\r\n"),
            "/line" => endless(socket, b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; 1000]),
            "/body" => endless(socket, b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 1000]),
            "/chunks" => endless(
                socket,
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"5\r\nhello\r\n",
            ),
            "/hints" => endless(socket, b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            "/stall" => {
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
                // Until the proxy gives up.
                let _ = std::io::Read::read(socket, &mut [0]);
            }
            "/large" => {
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n");
                return true;
            }
            "/ssh" => {
                let _ = socket.write_all(b"SSH-2.0-OpenSSH_9\r\n\r\n");
            }
            _ => {}
        }
        false
    });
    let lines = ask(
        web.port,
        "for _, path in ipairs { 'headers', 'line', 'body', 'chunks', 'hints', 'large', 'ssh', 'nothing' } do
           ask { url = '/' .. path, max_size = 100000 }
         end
         ask { url = '/stall', timeout = 0.2 }",
    );
    for (line, part) in lines.iter().zip([
        "its head is too large",
        "its head is too large",
        "more than 100000 bytes",
        "more than 100000 bytes",
        "a head after the other",
        "more than 100000 bytes; the option max_size allows more",
        "does the port speak HTTP?",
        "closed the connection before its answer was complete",
        "no complete answer in time; the option timeout allows it more",
    ]) {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn nobody_there() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let silent = format!("http://127.0.0.1:{port}/");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed_port = closed.local_addr().unwrap().port();
    drop(closed);
    let begun = Instant::now();
    let lines = ask(
        closed_port,
        &format!(
            "ask('/')
             ask('http://no-such-host.invalid/')
             ask {{ url = '{silent}', timeout = 0.1 }}
             local task = dpml.spawn(dpml.http_request, {{ url = '{silent}' }})
             dpml.sleep_ms(20)
             task:cancel()
             print(select(2, pcall(task.wait, task)))
             print(select(2, pcall(dpml.with_timeout_ms, 20, dpml.http_request, {{ url = '{silent}' }})))"
        ),
    );
    assert!(lines[0].contains("cannot connect: "), "{}", lines[0]);
    assert!(
        lines[1].contains("no address for no-such-host.invalid"),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].contains("no complete answer in time"),
        "{}",
        lines[2]
    );
    assert!(lines[3].contains("ERROR 1317"), "{}", lines[3]);
    assert!(lines[4].contains("ERROR 3024"), "{}", lines[4]);
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn redirects_are_followed_if_told_so() {
    let other = Web::serve(|_| Some(fine("other")));
    let port = other.port;
    let web = Web::serve(move |asked| {
        let to = |status: u16, place: &str| {
            Some(
                format!(
                    "HTTP/1.1 {status} Moved\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
                )
                .into_bytes(),
            )
        };
        match asked.line.split(' ').nth(1).unwrap_or_default() {
            "/302" => to(302, "here?x"),
            "/307" => to(307, "/here"),
            "/away" => to(308, &format!("http://127.0.0.1:{port}/there")),
            "/file" => to(302, "file:///etc/passwd"),
            "/round" => to(302, "/round"),
            _ => Some(fine("here")),
        }
    });
    let lines = ask(
        web.port,
        "ask('/302')
         local secret = { Authorization = 'Bearer x', ['X-Mine'] = 'y', ['Content-Type'] = 'text/plain' }
         ask { url = '/302', redirects = 1, headers = secret, body = 'b' }
         ask { url = '/307', redirects = 1, headers = secret, body = 'b' }
         ask { url = '/away', redirects = 1, headers = secret, body = 'b' }
         ask { url = '/file', redirects = 1 }
         ask { url = '/round', redirects = 3 }",
    );
    assert_eq!(
        lines[..4],
        ["302\t", "200\there", "200\there", "200\tother"]
    );
    assert!(
        lines[4].contains("it redirects to what cannot be asked for"),
        "{}",
        lines[4]
    );
    assert_eq!(lines[5], "302\t");
    let asked = web.asked();
    assert_eq!(asked[2].line, "GET /here?x HTTP/1.1");
    assert_eq!(asked[2].header("authorization"), "Bearer x");
    assert_eq!(
        (asked[2].header("content-type"), asked[2].body.len()),
        ("", 0)
    );
    assert_eq!(asked[4].line, "POST /here HTTP/1.1");
    assert_eq!(asked[4].body, b"b");
    let there = &other.asked()[0];
    assert_eq!(there.line, "POST /there HTTP/1.1");
    assert_eq!(
        (there.header("authorization"), there.header("x-mine")),
        ("", "y")
    );
}

#[test]
fn connections_are_kept_and_bounded() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let web = Web::serve(|asked| {
        // The second request of a connection finds it closed, though the first answer did not say so.
        let count = SEEN.fetch_add(1, Ordering::SeqCst);
        match asked.line.contains("/fragile") && count % 2 == 1 {
            true => None,
            false => Some(fine("fine")),
        }
    });
    let lines = ask(
        web.port,
        "local many = {}
         for i = 1, 40 do many[i] = function() return dpml.http_request({ url = base .. '/' .. i }).status end end
         print(select('#', dpml.wait_all(many)))
         for i = 1, 20 do dpml.http_request { url = base .. '/again' } end
         local too_many = {}
         for i = 1, 300 do
           too_many[i] = function() return (pcall(dpml.http_request, { url = base .. '/x' })) end
         end
         local ok = 0
         for _, each in ipairs { dpml.wait_all(too_many) } do ok = ok + (each and 1 or 0) end
         print(ok)",
    );
    assert_eq!(lines, ["40", "256"]);
    let asked = web.asked();
    let again = asked.iter().filter(|asked| asked.line.contains("/again"));
    let used: std::collections::BTreeSet<_> = again.map(|asked| asked.connection).collect();
    assert_eq!(used.len(), 1, "{used:?}");
}

#[test]
fn a_connection_that_has_just_closed_is_no_failure() {
    let web = Web::serve(|asked| {
        // Each connection answers once, says nothing of its end, and ends at the second request.
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let fresh = LAST.swap(asked.connection, Ordering::SeqCst) != asked.connection;
        fresh.then(|| fine("fine"))
    });
    let lines = ask(
        web.port,
        "ask('/1') ask('/2') ask('/3') ask { url = '/4', body = 'not twice' }",
    );
    assert_eq!(lines[..3], ["200\tfine", "200\tfine", "200\tfine"]);
    assert!(lines[3].contains("closed the connection"), "{}", lines[3]);
}

#[test]
fn a_program_ends_although_a_connection_was_kept() {
    let web = Web::serve(|_| Some(fine("fine")));
    let lines = run(
        "dpml.spawn(function() print(dpml.http_request({ url = arg[1] }).body) end)",
        &[&format!("http://127.0.0.1:{}/", web.port)],
    );
    assert_eq!(lines, ["fine"]);
}
