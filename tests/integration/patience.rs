//! Time limits fit into one another: a server that answers nothing, or nothing more, leads to the next one, or
//! to an error for the client, before the client's own time is over.

use std::time::{Duration, Instant};

use crate::support::wire::{Answer, DeadServer, Greeting, MockServer, Wire, caps, error, greeting};
use crate::support::{Dpm, PASSWORD, USER, let_time_pass, mariadb};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// What the clients' listener gives them, in seconds.
const TIME: u64 = 6;

/// Servers at which no login succeeds.
struct Bad {
    dead: DeadServer,
    mute: MockServer,
}

impl Bad {
    fn new() -> Bad {
        Bad {
            dead: DeadServer::new(),
            // The system accepts connections for it.
            mute: MockServer::new(),
        }
    }

    fn ports(&self) -> [u16; 2] {
        [self.dead.port, self.mute.port]
    }
}

/// A listener whose clients have that much time, for the rest of the script. `{}` are lists of servers in Lua.
fn start(rest: &str) -> Dpm {
    Dpm::start(
        &format!(
            "local dpml = require('dpml')
             local real = {{ host = arg[1], port = tonumber(arg[2]), user = 'happy', password = 'wheefun' }}
             local function at(port)
                 return {{ host = '127.0.0.1', port = port, user = 'happy', password = 'wheefun' }}
             end
             local users = {{ happy = {{ password = 'wheefun' }} }}
             local listener = dpm.listener('127.0.0.1', 0, {{ handshake_timeout = {TIME} }})
             {rest}
             print('port ' .. listener:socket_port())"
        ),
        mariadb(),
    )
}

/// A list without the options of a login, which passthrough does not take.
const WITHOUT_LOGIN: &str =
    "for _, each in ipairs(list) do each.user, each.password = nil, nil end";

#[test]
fn the_next_server_of_a_list_is_tried_in_time() {
    let bad = Bad::new();
    let [dead, mute] = bad.ports();
    for rest in [
        format!(
            "local list = {{ at({dead}), at({mute}), real }} {WITHOUT_LOGIN}
             dpml.passthrough_new_clients(listener, {{}}, list)"
        ),
        format!(
            "dpml.proxy_new_clients(listener, {{}}, {{
                 users = users, backend = {{ at({mute}), at({dead}), real }} }})"
        ),
        format!(
            "dpml.proxy_new_clients(listener, {{}}, {{
                 users = users, backend = function() return {{ at({dead}), at({mute}), real }} end }})"
        ),
    ] {
        let dpm = start(&rest);
        let begun = Instant::now();
        assert_eq!(Wire::login(dpm.port(), PLAIN).rows("SELECT 1"), [["1"]], "{rest}");
        assert!(begun.elapsed() < Duration::from_secs(TIME), "{rest}");
        assert!(dpm.wrote("trying the next server"), "{rest}");
    }
}

/// The error that a client gets, with or without a greeting before it.
fn error_of(dpm: &Dpm) -> (u16, String) {
    let begun = Instant::now();
    let mut client = Wire::connect(dpm.port());
    let mut packet = client.read();
    if packet[0] == 10 {
        client.authenticate(&Greeting::parse(&packet), USER, PASSWORD, PLAIN);
        packet = client.read();
    }
    let Answer::Err(number, _, message) = error(&packet) else {
        panic!("no error: {packet:?}");
    };
    assert!(client.closed());
    assert!(begun.elapsed() < Duration::from_secs(TIME + 2));
    (number, message)
}

#[test]
fn without_another_server_there_is_an_error_in_time() {
    let bad = Bad::new();
    for port in bad.ports() {
        for rest in [
            format!("dpml.passthrough_new_clients(listener, {{}}, '127.0.0.1', {port})"),
            format!(
                "dpml.passthrough_new_clients(listener, {{}}, {{ {{ '127.0.0.1', {port} }}, {{ '127.0.0.1', {port} }} }})"
            ),
            format!(
                "dpml.proxy_new_clients(listener, {{}}, {{ users = users, backend = at({port}) }})"
            ),
            // An account that is looked up at such a server.
            format!(
                "dpml.accept_clients(listener, {{
                     authenticate = function(user, client)
                         dpml.connect(at({port}))
                         return {{ password = 'wheefun' }}
                     end,
                     new_command = function() end }})"
            ),
        ] {
            let dpm = start(&rest);
            let (number, message) = error_of(&dpm);
            assert!(
                [1105, 2003, 2013].contains(&number),
                "{rest}: {number} {message}"
            );
            assert!(dpm.wrote("WARN") || dpm.wrote("ERROR"), "{rest}");
        }
    }
}

/// A script that does it all by itself learns of the server's failure while there still is a client.
#[test]
fn a_server_gives_up_before_the_client_that_is_linked_to_it() {
    let bad = Bad::new();
    for port in bad.ports() {
        let dpm = start(&format!(
            "kept = {{}}
             listener:register(dpm.MYC_CONNECT, function(client)
                 kept.client = client
                 local server = dpm.connect('127.0.0.1', {port})
                 server:on_close(function() print('client left: ' .. tostring(not client:close_reason())) end)
                 dpm.proxy_connect(client, server)
             end)
             kept.listener = listener"
        ));
        let mut client = Wire::connect(dpm.port());
        dpm.line("client left: true");
        dpm.line("the time that was left for it");
        while client.try_read().is_ok() {}
    }
}

/// A server that greets, and then does not answer the proxy's login.
#[test]
fn a_login_that_is_not_answered_leads_to_the_next_server() {
    let server = MockServer::new();
    let dpm = start(&format!(
        "dpml.proxy_new_clients(listener, {{}}, {{ users = users, backend = {{ at({}), real }} }})",
        server.port
    ));
    let port = dpm.port();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        // The first asks only what the server greets with.
        for _ in 0..2 {
            let mut wire = server.accept();
            wire.write(&greeting(PLAIN));
            open.push(wire);
        }
        // Open for as long as the test runs.
        std::thread::park();
    });
    assert_eq!(Wire::login(port, PLAIN).rows("SELECT 1"), [["1"]]);
}

/// Once a server has greeted, the client has the time that it always had.
#[test]
fn a_client_that_takes_its_time_for_the_password_still_has_it() {
    let dpm = start(
        "local list = { real } real.user, real.password = nil, nil
         dpml.passthrough_new_clients(listener, {}, list)",
    );
    let mut client = Wire::connect(dpm.port());
    let greeting = Greeting::parse(&client.read());
    let_time_pass(Duration::from_secs(TIME - 1));
    client.authenticate(&greeting, USER, PASSWORD, PLAIN);
    assert_eq!(client.read().first(), Some(&0));
    assert_eq!(client.rows("SELECT 1"), [["1"]]);
}

/// With the times that are usual if nobody says anything.
#[test]
fn the_usual_limits_fit_into_one_another() {
    let bad = Bad::new();
    let [dead, mute] = bad.ports();
    let dpm = Dpm::start(
        &format!(
            "local listener = dpm.listener('127.0.0.1', 0)
             require('dpml').passthrough_new_clients(listener, {{}}, {{
                 {{ '127.0.0.1', {dead} }}, {{ '127.0.0.1', {mute} }}, {{ arg[1], tonumber(arg[2]) }} }})
             print('port ' .. listener:socket_port())"
        ),
        mariadb(),
    );
    assert_eq!(Wire::login(dpm.port(), PLAIN).rows("SELECT 1"), [["1"]]);
}
