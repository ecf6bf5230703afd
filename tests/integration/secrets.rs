//! At the most detailed log level, and with errors of every kind, no log line has a password, a
//! hash, a challenge or an answer.

use std::fmt::Write as _;

use crate::support::dpm::Launch;
use crate::support::secrets::Secrets;
use crate::support::wire::{Greeting, Wire, caps};
use crate::support::{
    self, Cli, Dpm, Flavour, Server, Tap, both, eventually, mariadb, process, python,
};

/// An account of its own, whose password is long enough to be found.
const KEEPER: &str = "keeper";
const SECRET: &str = "Kr0kodil im Weiher!";
/// A wrong password.
const WRONG: &str = "Seer0se im Teich??";

/// Every way in which a script can take part in a login: not at all, reading everything, verifying,
/// logging in itself, and making every mistake.
const STARTFILE: &str = r#"
local h, dpml = require('harness'), require('dpml')
local host, port, user, pass, wrong = arg[1], tonumber(arg[2]), arg[3], arg[4], arg[5]

listeners = {}
local function keep(listener) listeners[#listeners + 1] = listener end

-- 1: nobody looks.
keep(h.passthrough())

-- 2: every packet is looked at, and printed as far as Lua does that.
local secrets = io.open(arg[6], 'w')
local function secret(text)
    secrets:write((text:gsub('.', function(c) return ('%02x'):format(c:byte()) end)), '\n')
    secrets:flush()
end
local function show(packet, ...)
    -- What no tap can see, for the test's eyes only.
    for _, method in ipairs{ 'scramble_buff', 'data', 'auth_response' } do
        local ok, text = pcall(function() return packet[method](packet) end)
        if ok and type(text) == 'string' then secret(text) end
    end
    print(tostring(packet), ...)
    print(pcall(function() return packet .. '' end))
    print(pcall(function() return packet:nothing() end))
    dpm.log('trace', 'seen: ' .. tostring(packet))
end
local function all(pattern)
    local callbacks = {}
    for value, name in pairs(h.names) do
        if name:match(pattern) then callbacks[value] = show end
    end
    return callbacks
end
keep(h.passthrough(all('^MYC_'), all('^MYS_')))

-- 3: callbacks fail in the middle of a login.
local rounds = 0
keep(h.passthrough(nil, {
    [dpm.MYS_SENDING_AUTH] = function(packet) error(packet) end,
    [dpm.MYS_WAIT_AUTH] = function(packet)
        rounds = rounds + 1
        if rounds % 2 == 0 then local x = packet + 1 end
    end,
}))

-- 4: the script checks the password; "hash" is what the server has stored.
keep(h.listen(function(c)
    local handshake = dpm.new_handshake_pkt()
    c:register(dpm.MYC_WAITING, function(auth, id, client)
        client:register(dpm.MYC_WAITING, nil)
        show(auth); show(handshake)
        if dpm.check_pass(auth, handshake, dpm.hash_pass(pass)) == 0 then
            dpm.wire_packet(client, dpm.new_ok_pkt())
        else
            dpml.send_error(client, "28000", 1045, "Access denied")
        end
        return dpm.DPM_NOPROXY
    end)
    clients[#clients + 1] = c
    dpm.wire_packet(c, handshake)
end))

-- 5: the library does, with credentials of each kind.
local hashes = { dpm.hash_pass(pass), dpm.hash_pass(pass, 'caching_sha2_password'), dpm.hash_pass(pass, 'sha256d') }
for _, hash in ipairs(hashes) do secret(hash) end
local accounts = setmetatable({}, { __index = function(_, name)
    return name:find('native') and hashes[1] or name:find('caching') and hashes[2] or { password = pass }
end })
local own = dpm.listener('127.0.0.1', 0, { tls = true })
dpml.authenticate_new_clients(own, {}, accounts)
print('port ' .. own:socket_port())
keep(own)

-- 6, 7: TLS on one leg or both; where the server alone has it, the proxy learns the password.
keep(h.passthrough(all('^MYC_'), all('^MYS_'), { tls = true }))
keep(h.passthrough(nil, nil, { server_tls = arg[7] }))
keep(h.passthrough(all('^MYC_'), all('^MYS_'), { server_tls = arg[7] }))

-- The proxy's own logins.
for _, try in ipairs({ pass, wrong }) do
    local server = dpml.connect_mysql_server{ host = host, port = port, user = user, pass = try,
        callback = function(server, err) print('OWN', server, err and err.message or err) end }
    servers[#servers + 1] = server
end

-- Mistakes: what does the error quote?
local auth, handshake = dpm.new_auth_pkt(), dpm.new_handshake_pkt()
local mistakes = {
    function() dpm.crypt_pass(auth, handshake, { pass }) end,
    function() dpm.crypt_pass(handshake, auth, pass) end,
    function() dpm.crypt_pass(pass, handshake, auth) end,
    function() dpm.check_pass(auth, handshake, pass) end,
    function() dpm.check_pass(auth, pass, pass) end,
    function() dpm.check_pass(auth, handshake, '*' .. pass) end,
    function() dpm.check_pass(auth, handshake, dpm.hash_pass(pass):sub(1, 30)) end,
    function() dpm.hash_pass({ pass }) end,
    function() dpm.hash_pass(pass, pass) end,
    function() dpml.connect_mysql_server{ host = host, port = port, user = user, pass = { pass }, callback = print } end,
    function() dpml.connect_mysql_server{ host = {}, user = user, pass = pass } end,
    function() dpml.connect_mysql_server{ port = port, passwd = pass, user = user } end,
    function() dpm.wire_packet(clients, auth) end,
    function() dpm.wire_packet(h.listener, auth) end,
    function() handshake:scramble_buff(pass) end,
    function() auth:client_flags(pass) end,
    function() dpm.new_login{ user = user, pass = { pass } } end,
    function() dpm.new_login{ user = user, pass = pass, password = pass } end,
    function() dpm.new_login{ user = user, pass = pass, server_public_key = '-----BEGIN ' .. pass } end,
    function() print(dpm.new_login{ user = user, pass = pass }:answer(handshake, auth)) end,
    function() print(dpm.new_login{ user = user, pass = pass }:answer(pass, servers[1])) end,
    function() print(dpm.new_login{ user = user, pass = pass }) end,
    function() dpm.new_verifier(handshake, { rsa_key = '-----BEGIN RSA ' .. pass }) end,
    function() dpm.new_verifier(handshake, pass) end,
    function() print(dpm.new_verifier(handshake)) end,
    function() dpm.new_verifier(handshake):step(auth, servers[1], pass) end,
    function() dpm.verify_auth(auth, handshake, pass) end,
    function() dpm.verify_auth(auth, handshake, '0x' .. pass) end,
    function() dpm.verify_auth(auth, handshake, hashes[2]:sub(1, -3)) end,
    function() dpm.verify_auth(auth, handshake, hashes[2] .. '00') end,
    function() dpm.verify_auth(auth, handshake, { password = { pass } }) end,
    function() dpm.verify_auth(auth, handshake, { pass }) end,
    function() dpm.verify_auth(auth, handshake, { hash = pass }) end,
    function() dpm.hash_pass(pass, pass) end,
    function() dpm.hash_pass(pass, 'client_ed25519') end,
}
for _, mistake in ipairs(mistakes) do
    print('MISTAKE', xpcall(mistake, debug.traceback))
end
print('READY')
"#;

/// The hashes on the way from a password to what servers store, as MariaDB computes them (MySQL 9
/// has lost SHA1).
fn stored(secrets: &mut Secrets, password: &str) {
    secrets.add("the password", password.as_bytes());
    let mut once = password.as_bytes().to_vec();
    for name in ["SHA1(p)", "SHA1(SHA1(p))"] {
        once = unhex(&mariadb().sql(&format!("SELECT SHA1(UNHEX('{}'))", hex(&once))));
        secrets.add(name, &once);
    }
    let mut once = password.as_bytes().to_vec();
    for name in ["SHA256(p)", "SHA256(SHA256(p))"] {
        once = unhex(&mariadb().sql(&format!("SELECT SHA2(UNHEX('{}'), 256)", hex(&once))));
        secrets.add(name, &once);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let text = text.trim();
    (0..text.len() / 2)
        .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).expect("hexadecimal"))
        .collect()
}

/// The account with every plugin that the server has: they are its users' names, but for the first.
fn accounts(server: &Server) -> Vec<String> {
    let plugins: &[&str] = match server.flavour {
        Flavour::MariaDb => &["mysql_native_password", "ed25519"],
        Flavour::MariaDb11 => &["mysql_native_password", "ed25519", "parsec"],
        Flavour::MySql => &["caching_sha2_password", "sha256_password"],
    };
    if server.flavour.is_mariadb() {
        let ask = "SELECT COUNT(*) FROM information_schema.plugins WHERE plugin_name = 'ed25519'";
        if server.sql(ask) == "0\n" {
            server.sql("INSTALL SONAME 'auth_ed25519'");
        }
    }
    plugins
        .iter()
        .map(|plugin| {
            let user = format!("{KEEPER}_{plugin}");
            let how = match server.flavour.is_mariadb() {
                true => format!("VIA {plugin} USING PASSWORD('{SECRET}')"),
                false => format!("WITH {plugin} BY '{SECRET}'"),
            };
            server.sql(&format!(
                "DROP USER IF EXISTS '{user}'@'%'; CREATE USER '{user}'@'%' IDENTIFIED {how}; \
                 GRANT SELECT ON *.* TO '{user}'@'%'"
            ));
            user
        })
        .collect()
}

/// Sends what is no login, cut and bent, with real answers in it.
fn malformed(port: u16, user: &str) {
    for bend in 0..6 {
        let mut wire = Wire::connect(port);
        wire.lenient = true;
        // A script may have failed before it, or has no server.
        let Ok(greeting) = wire.try_read() else {
            continue;
        };
        if greeting.first() == Some(&0xFF) {
            continue;
        }
        let greeting = Greeting::parse(&greeting);
        let mut packet = support::wire::auth_packet(&greeting.nonce, user, SECRET, caps::BASE);
        let at = 32 + user.len() + 1;
        match bend {
            0 => packet.truncate(at + 10),
            1 => packet[at] = 250,
            2 => packet[at] = 3,
            3 => packet.extend_from_slice(SECRET.as_bytes()),
            4 => {
                packet.drain(..30);
            }
            _ => packet.splice(at.., [255; 40]).for_each(drop),
        }
        let framed = support::wire::frames(&packet, &mut 1);
        let _ = std::io::Write::write_all(wire.stream(), &framed);
        let _ = wire.stream().shutdown(std::net::Shutdown::Write);
        wire.closed();
    }
}

/// Every login that a client of the server's kind can try on a port.
fn logins(server: &Server, port: u16, users: &[String]) {
    for user in users {
        for password in [SECRET, WRONG] {
            for _ in 0..2 {
                // What it says matters to others' tests.
                let _ = Cli::login(server.flavour, "mysql", port)
                    .arg(format!("-u{user}"))
                    .arg(format!("-p{password}"))
                    .args(["-e", "SELECT 1"])
                    .run();
            }
            if user.ends_with("_password") {
                let _ = support::connect_as(port, user, password);
            }
        }
    }
    malformed(port, &users[0]);
}

#[track_caller]
fn assert_silent(dpm: &Dpm, secrets: &Secrets) {
    dpm.count("");
    let output = dpm.output();
    let leaks = secrets.leaks(&output);
    assert!(leaks.is_empty(), "{leaks:#?}");
}

both! {
    fn no_log_has_a_secret(server) {
        let users = accounts(server);
        let back = Tap::before(server.port);
        let told = process::folder("secrets").join("told");
        let dpm = Launch::script(STARTFILE)
            .arg("127.0.0.1")
            .arg(back.port)
            .arg(&users[0])
            .arg(SECRET)
            .arg(WRONG)
            .arg(told.display())
            // This MariaDB has no certificate.
            .arg(if server.flavour.is_mariadb() { "preferred" } else { "required" })
            .option("-vvv")
            .env("RUST_LOG", "trace")
            .start();
        dpm.line("READY");
        let ports: Vec<u16> = dpm.lines("port ").iter().map(|p| p.parse().expect("a port")).collect();
        assert_eq!(ports.len(), 8);
        let mut secrets = Secrets::default();
        let mut fronts = Vec::new();
        for port in ports {
            server.sql("FLUSH PRIVILEGES");
            let front = Tap::before(port);
            logins(server, front.port, &users);
            fronts.push(front);
        }
        // The account changes hands.
        let said = python(fronts[1].port, &format!("
import struct
conn = connect(user={:?}, password={SECRET:?})
with conn.cursor() as cursor:
    cursor.execute('SELECT 1')
from pymysql.constants import COMMAND
import pymysql._auth as auth
answer = auth.scramble_native_password({SECRET:?}.encode(), conn.salt)
conn._execute_command(COMMAND.COM_CHANGE_USER, {:?}.encode() + b'\\0' + bytes([len(answer)]) + answer
    + b'\\0' + b'\\x2d\\x00' + b'mysql_native_password\\0')
try:
    packet = conn._read_packet()
    if packet.is_auth_switch_request():
        packet.read_uint8(); packet.read_string(); salt = packet.read_all()
        conn.write_packet(auth.scramble_native_password({SECRET:?}.encode(), salt[:-1]))
        conn._read_packet()
except Exception as error:
    pass
print('changed')
", users[0], users[0]));
        assert_eq!(said, "changed\n");
        eventually("the proxy's own logins end", || dpm.count("OWN") >= 2);
        stored(&mut secrets, SECRET);
        stored(&mut secrets, WRONG);
        for tap in fronts.iter().chain([&back]) {
            for (said, heard) in tap.recordings() {
                secrets.of_recording(&said, &heard);
            }
        }
        for line in std::fs::read_to_string(&told).expect("what the script tells").lines() {
            let bytes = unhex(line);
            // A switch.
            let bytes = bytes.strip_prefix(&[0xFE]).unwrap_or(&bytes);
            // The name of a plugin, or of a kind of hash, is none.
            let name = bytes.iter().take(40).position(|&b| b == 0 || b == b':');
            let bare = match name {
                Some(at) if bytes[..at].is_ascii() => &bytes[at + 1..],
                _ => bytes,
            };
            secrets.add("what the script saw", bare);
            if let Some(hex) = bytes.strip_prefix(b"0x") {
                secrets.add("a stored hash", &unhex(&String::from_utf8_lossy(hex)));
            }
        }
        println!("{} secrets", secrets.len());
        assert!(secrets.named("greeting") > 20 && secrets.named("answer") > 10, "{}", secrets.len());
        eventually("it was talkative", || dpm.output().len() > 10_000);
        assert_silent(&dpm, &secrets);
    }
}
