//! Conversations without sockets.

use proptest::prelude::*;

use super::conversation::{Conversation, Next, Sent};
use super::request::Request;
use super::response::{Head, Response};

fn head(status: u64) -> Head {
    Head::new(status, Vec::new()).unwrap()
}

/// What a conversation makes of bytes that come in pieces of these sizes, each request being answered at once: the requests,
/// and the statuses that were sent.
fn dialogue(bytes: &[u8], sizes: &[usize]) -> (Vec<Request>, Vec<u16>) {
    let mut talk = Conversation::new(1000);
    let mut rest = bytes;
    let (mut requests, mut sent) = (Vec::new(), Vec::new());
    let mut sizes = sizes.iter().cycle();
    loop {
        sent.extend_from_slice(talk.output());
        talk.sent(usize::MAX);
        match talk.go_on() {
            Next::Request(request) => {
                requests.push(request);
                assert!(talk.answer(&Response::new(head(200), b"yes".to_vec())));
            }
            Next::Input if !rest.is_empty() => {
                let size = *sizes.next().unwrap();
                let size = size.min(talk.room()).min(rest.len());
                assert!(size > 0, "it wants more, and has no room");
                let (piece, others) = rest.split_at(size);
                talk.received(piece);
                rest = others;
            }
            Next::Input | Next::Nothing => break,
            other => panic!("{other:?}"),
        }
    }
    sent.extend_from_slice(talk.output());
    (requests, statuses(&sent))
}

fn statuses(sent: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(sent);
    let lines = text.match_indices("HTTP/1.1 ");
    lines
        .map(|(at, _)| text[at + 9..at + 12].parse().unwrap())
        .collect()
}

fn refused(request: &str) -> Vec<u16> {
    let (requests, statuses) = dialogue(request.as_bytes(), &[usize::MAX]);
    assert!(requests.is_empty(), "{request:?} was taken: {requests:?}");
    let (requests, one_by_one) = dialogue(request.as_bytes(), &[1]);
    assert!(requests.is_empty());
    assert_eq!(statuses, one_by_one, "{request:?}");
    statuses
}

fn taken(request: &str) -> Request {
    for sizes in [usize::MAX, 1] {
        let (mut requests, statuses) = dialogue(request.as_bytes(), &[sizes]);
        assert_eq!(requests.len(), 1, "{request:?}: {statuses:?}");
        if sizes == 1 {
            return requests.remove(0);
        }
    }
    unreachable!()
}

#[test]
fn a_request_is_read() {
    let request = taken("GET /a%20b?x=1+2&y=%41&&z HTTP/1.1\r\nHost: h\r\nX-Y: v\r\n\r\n");
    assert_eq!(
        (request.method.as_str(), &request.path[..]),
        ("GET", &b"/a b"[..])
    );
    assert_eq!(request.target, "/a%20b?x=1+2&y=%41&&z");
    let pairs = [("x", "1 2"), ("y", "A"), ("z", "")];
    let pairs = pairs.map(|(name, value)| (name.into(), value.into()));
    assert_eq!(request.query, pairs);
    assert_eq!(request.header("x-y"), Some(&b"v"[..]));
    // What clients send to proxies, a request of HTTP/1.0, an empty line after the body of a request before.
    assert_eq!(
        taken("GET http://h/p?q HTTP/1.1\r\nHost: h\r\n\r\n").path,
        b"/p"
    );
    assert_eq!(taken("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n").path, b"/");
    assert_eq!(taken("GET /p HTTP/1.0\r\n\r\n").path, b"/p");
    assert_eq!(taken("\r\nGET /p HTTP/1.1\r\nHost: h\r\n\r\n").path, b"/p");
}

#[test]
fn bodies_are_read() {
    let body = |rest: &str| taken(&format!("POST / HTTP/1.1\r\nHost: h\r\n{rest}")).body;
    assert_eq!(body("Content-Length: 3\r\n\r\nabc"), b"abc");
    assert_eq!(body("Content-Length: 0\r\n\r\n"), b"");
    let chunks = "3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";
    let chunked = format!("Transfer-Encoding: Chunked\r\n\r\n{chunks}");
    assert_eq!(body(&chunked), b"abc0123456789");
}

#[test]
fn what_could_be_understood_in_two_ways_is_refused() {
    let post = |rest: &str| refused(&format!("POST / HTTP/1.1\r\nHost: h\r\n{rest}"));
    for rest in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "Content-Length: 3, 3\r\n\r\nabc",
        "Content-Length: +3\r\n\r\nabc",
        "Content-Length: 0x3\r\n\r\nabc",
        "Content-Length:\r\n\r\n",
        "Content-Length : 3\r\n\r\nabc",
        "Content-Length: 99999999999999999999\r\n\r\n",
        "X: a\r\n folded\r\n\r\n",
        "X: a\r\n\tfolded\r\n\r\n",
        " X: a\r\n\r\n",
        "X: a\nContent-Length: 3\r\n\r\nabc",
        "X: a\r\rY: b\r\n\r\n",
        "X: a\0b\r\n\r\n",
        "Host: again\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF1\r\n",
    ] {
        assert_eq!(post(rest), [400], "{rest:?}");
    }
    assert_eq!(post("Transfer-Encoding: gzip, chunked\r\n\r\n"), [501]);
    assert_eq!(post("Transfer-Encoding: chunked, identity\r\n\r\n"), [501]);
    assert_eq!(post("Expect: the-unexpected\r\n\r\n"), [417]);
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
        "GET relative HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /%0a HTTP/1.1\r\nHost: h\r\n\r\n",
        "G@T / HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\r\n\r\n",
    ] {
        assert_eq!(refused(request), [400], "{request:?}");
    }
    assert_eq!(refused("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), [505]);
    assert_eq!(refused("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"), [501]);
}

#[test]
fn what_is_too_large_is_refused() {
    let long = "x".repeat(20_000);
    assert_eq!(refused(&format!("GET /{long}")), [431]);
    assert_eq!(refused(&long), [431]);
    assert_eq!(refused(&"\r\n".repeat(10_000)), [431]);
    let many = "X: y\r\n".repeat(65);
    assert_eq!(
        refused(&format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n")),
        [431]
    );
    let post = |rest: &str| refused(&format!("POST / HTTP/1.1\r\nHost: h\r\n{rest}"));
    assert_eq!(post("Content-Length: 1001\r\n\r\n"), [413]);
    // A client that waits to be told is told at once.
    assert_eq!(
        post("Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n"),
        [413]
    );
    assert_eq!(post("Transfer-Encoding: chunked\r\n\r\n3e9\r\n"), [413]);
    let chunks = "1\r\nx\r\n".repeat(1001);
    assert_eq!(
        post(&format!("Transfer-Encoding: chunked\r\n\r\n{chunks}")),
        [413]
    );
    let extension = "x".repeat(300);
    assert_eq!(
        post(&format!("Transfer-Encoding: chunked\r\n\r\n1;{extension}")),
        [400]
    );
    let trailers = "A: b\r\n".repeat(10_000);
    let endless = format!("Transfer-Encoding: chunked\r\n\r\n0\r\n{trailers}");
    assert_eq!(post(&endless), [413]);
}

#[test]
fn requests_that_follow_each_other_are_answered_in_their_order() {
    let many = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n\
                POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
                POST /3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n\
                GET /4 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n\
                GET /never HTTP/1.1\r\nHost: h\r\n\r\n";
    for sizes in [&[usize::MAX][..], &[1], &[3, 50]] {
        let (requests, statuses) = dialogue(many.as_bytes(), sizes);
        let paths: Vec<_> = requests.iter().map(|request| &request.path[..]).collect();
        assert_eq!(paths, [b"/1", b"/2", b"/3", b"/4"]);
        assert_eq!(statuses, [200; 4]);
    }
}

/// A conversation after this request, and what it has sent until then.
fn asked(request: &str) -> (Conversation, Vec<u8>) {
    let mut talk = Conversation::new(1000);
    talk.received(request.as_bytes());
    let next = talk.go_on();
    assert!(matches!(next, Next::Request(_)), "{next:?}");
    let sent = talk.output().to_vec();
    talk.sent(usize::MAX);
    (talk, sent)
}

fn sent(talk: &mut Conversation) -> String {
    let text = String::from_utf8(talk.output().to_vec()).unwrap();
    talk.sent(usize::MAX);
    let lines = text.lines().filter(|line| !line.starts_with("Date: "));
    lines.collect::<Vec<_>>().join("|")
}

#[test]
fn answers_look_as_they_should() {
    let yes = Response::new(head(200), b"yes".to_vec());
    let (mut talk, _) = asked("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(talk.answer(&yes));
    assert!(!talk.answer(&yes), "only once");
    let plain = "Content-Type: text/plain; charset=utf-8";
    let whole = format!("HTTP/1.1 200 OK|Content-Length: 3|{plain}||yes");
    assert_eq!(sent(&mut talk), whole);
    assert!(matches!(talk.go_on(), Next::Input));

    // No body for HEAD, nor for certain statuses, and the connection's end where it ends.
    let (mut talk, _) = asked("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(talk.answer(&yes));
    assert_eq!(
        sent(&mut talk),
        format!("HTTP/1.1 200 OK|Content-Length: 3|{plain}|")
    );
    let (mut talk, _) = asked("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n");
    assert!(talk.answer(&Response::new(head(204), Vec::new())));
    assert_eq!(
        sent(&mut talk),
        "HTTP/1.1 204 No Content|Connection: close|"
    );
    assert!(matches!(talk.go_on(), Next::Nothing));
    let (mut talk, _) = asked("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(talk.answer(&Response::new(head(404), Vec::new())));
    let kept = "HTTP/1.1 404 Not Found|Content-Length: 0|Connection: keep-alive|";
    assert_eq!(sent(&mut talk), kept);
}

#[test]
fn a_client_that_waits_is_told_to_send_its_body() {
    let mut talk = Conversation::new(1000);
    talk.received(
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
    );
    assert!(matches!(talk.go_on(), Next::Input));
    assert_eq!(sent(&mut talk), "HTTP/1.1 100 Continue|");
    talk.received(b"abc");
    assert!(matches!(talk.go_on(), Next::Request(request) if request.body == b"abc"));
}

#[test]
fn streams_are_sent_in_chunks() {
    let (mut talk, _) = asked("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(talk.send(b"too early"), Sent::Gone);
    assert!(talk.start(&head(200)));
    assert!(!talk.start(&head(200)) && !talk.answer(&Response::new(head(200), Vec::new())));
    assert_eq!(talk.send(b"abc"), Sent::Taken);
    assert_eq!(talk.send(b""), Sent::Taken);
    talk.finish();
    assert_eq!(talk.send(b"too late"), Sent::Gone);
    let whole = "HTTP/1.1 200 OK|Transfer-Encoding: chunked||3|abc|0|";
    assert_eq!(sent(&mut talk), whole);
    assert!(matches!(talk.go_on(), Next::Input));

    let (mut talk, _) = asked("GET / HTTP/1.0\r\n\r\n");
    assert!(talk.start(&head(200)));
    talk.send(b"abc");
    talk.finish();
    assert_eq!(sent(&mut talk), "HTTP/1.1 200 OK|Connection: close||abc");
    assert!(matches!(talk.go_on(), Next::Nothing));

    let (mut talk, _) = asked("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(talk.start(&head(200)));
    assert_eq!(talk.send(b"abc"), Sent::Gone);
    assert_eq!(
        sent(&mut talk),
        "HTTP/1.1 200 OK|Transfer-Encoding: chunked|"
    );
}

#[test]
fn a_client_that_does_not_read_holds_back_what_follows() {
    let (mut talk, _) = asked("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(talk.start(&head(200)));
    let part = vec![b'x'; 100_000];
    let taken = (0..100).take_while(|_| talk.send(&part) == Sent::Taken);
    let taken = taken.count();
    assert!((10..13).contains(&taken), "{taken}");
    assert_eq!(talk.send(b"x"), Sent::Full);
    talk.finish();

    talk.received(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(matches!(talk.go_on(), Next::Output));
    talk.sent(usize::MAX);
    assert!(matches!(talk.go_on(), Next::Request(_)));
    // While a request is being answered, little more is read.
    while talk.room() > 0 {
        talk.received(&vec![b'x'; talk.room().min(1000)]);
    }
    assert!(matches!(talk.go_on(), Next::Answer));
}

#[test]
fn headers_that_would_break_the_answer_are_refused() {
    let refused = |name: &str, value: &str| {
        Head::new(200, vec![(name.to_owned(), value.as_bytes().to_vec())])
            .unwrap_err()
            .to_string()
    };
    assert!(refused("X", "a\r\nSet-Cookie: b").contains("control characters"));
    assert!(refused("X", "a\nb").contains("control characters"));
    assert!(refused("X: y", "a").contains("cannot be a header's name"));
    assert!(refused("", "a").contains("cannot be a header's name"));
    assert!(
        refused("content-LENGTH", "1").contains("by itself")
            || refused("content-LENGTH", "1").contains("itself")
    );
    for status in [0, 100, 199, 600, 1 << 20] {
        assert!(Head::new(status, Vec::new()).is_err(), "{status}");
    }
}

/// Bytes that look like requests, more or less.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just("GET / HTTP/1.1\r\n"),
        Just("POST /a?b=c HTTP/1.1\r\n"),
        Just("Host: h\r\n"),
        Just("Content-Length: 5\r\n"),
        Just("Transfer-Encoding: chunked\r\n"),
        Just("Expect: 100-continue\r\n"),
        Just("Connection: close\r\n"),
        Just("\r\n"),
        Just("5\r\nabcde\r\n"),
        Just("0\r\n\r\n"),
        Just("\n"),
        Just("x"),
        Just(" "),
    ];
    prop::collection::vec(part, 0..30).prop_map(|parts| parts.concat().into_bytes())
}

proptest! {
    /// However they arrive, the same bytes are understood in the same way.
    #[test]
    fn pieces_do_not_matter(
        bytes in prop_oneof![requests(), prop::collection::vec(any::<u8>(), 0..300)],
        sizes in prop::collection::vec(1usize..40, 1..10),
    ) {
        let without_interim = |(requests, mut statuses): (Vec<Request>, Vec<u16>)| {
            // Whether a client has to be told to go on depends on what it has sent already.
            statuses.retain(|status| *status != 100);
            (requests, statuses)
        };
        let whole = without_interim(dialogue(&bytes, &[usize::MAX]));
        prop_assert_eq!(whole, without_interim(dialogue(&bytes, &sizes)));
    }
}
