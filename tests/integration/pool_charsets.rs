//! The character sets that a session begins with, by the number of the collation that its client asks for.

use crate::pool::{login, pool, value};
use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Greeting, Wire, auth_packet, caps, error};
use crate::support::{Server, all, both, mariadb11};

const READ: &str = "SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection";

/// Collations of all kinds: usual ones, those that only one kind of server has, those for which a login has no
/// room, those that no server has, and one that no client can use.
const NUMBERS: [u16; 22] = [
    0, 7, 8, 33, 35, 45, 46, 63, 83, 192, 224, 246, 248, 250, 255, 256, 303, 309, 576, 608, 2048,
    65535,
];

/// How a session begins for a client that logs in directly.
fn direct(port: u16, number: u16) -> String {
    let mut wire = Wire::connect(port);
    let greeting = Greeting::parse(&wire.read());
    wire.capabilities = caps::BASE & greeting.capabilities;
    let mut packet = auth_packet(&greeting.nonce, "empty", "", caps::BASE);
    let near = u8::try_from(number).unwrap_or(45);
    packet[8] = near;
    wire.write(&packet);
    let mut answer = wire.read();
    if answer[0] == 0xFE {
        wire.write(b"");
        answer = wire.read();
    }
    if answer[0] == 0 && u16::from(near) != number {
        let mut argument = b"empty\0\0\0".to_vec();
        argument.extend_from_slice(&number.to_le_bytes());
        argument.extend_from_slice(b"mysql_native_password\0");
        wire.command(0x11, &argument);
        answer = wire.read();
        while answer[0] == 0xFE {
            wire.write(b"");
            answer = wire.read();
        }
    }
    if answer[0] != 0 {
        return format!("{:?}", error(&answer));
    }
    match wire.query(READ) {
        Answer::Rows { rows, .. } => {
            let shown = rows[0].iter().map(|value| {
                let value = value.as_deref().unwrap_or(b"NULL");
                String::from_utf8_lossy(value).into_owned()
            });
            shown.collect::<Vec<_>>().join(" ")
        }
        other => format!("{other:?}"),
    }
}

/// What the pool says of all of them, twice.
fn told(server: &Server) -> Vec<String> {
    let numbers: Vec<String> = NUMBERS.iter().map(ToString::to_string).collect();
    let mut dpm = Launch::script(&format!(
        "local dpml, charsets = require 'dpml', require('dpml.pool.charsets').new()
         local options = {{ host = '127.0.0.1', port = tonumber(arg[1]), user = 'empty' }}
         local function show(number)
           local ok, got = pcall(charsets.of, charsets, options, 'empty', number)
           if not ok then return print('told ' .. number .. ' ' .. tostring(got)) end
           got = got.settings
           print('told', number, got.character_set_client .. ' ' .. got.character_set_connection .. ' '
             .. (got.character_set_results or 'NULL') .. ' ' .. got.collation_connection)
         end
         dpml.spawn(function()
           for _, number in ipairs {{ {} }} do show(number) end
           print('over')
           dpm.exit(0)
         end)",
        numbers.join(", ")
    ))
    .arg(server.port)
    .start();
    dpm.line("over");
    dpm.wait_for_end();
    dpm.lines("told")
}

fn begins_as_directly(server: &Server) {
    let told = told(server);
    assert_eq!(told.len(), NUMBERS.len());
    for (number, told) in NUMBERS.into_iter().zip(told) {
        let direct = direct(server.port, number);
        match direct.strip_prefix("Err(") {
            Some(rest) => {
                let errnum = rest.split(',').next().unwrap();
                assert!(
                    told.contains(&format!("ERROR {errnum}")),
                    "{number}: {told}"
                );
            }
            None => assert!(
                told.ends_with(&format!("{number}\t{direct}")),
                "{told}, and not {direct}"
            ),
        }
    }
}

both! {
    fn sessions_begin_as_they_do_directly(server) {
        begins_as_directly(server);
    }
}

#[test]
fn sessions_begin_as_they_do_directly_at_mariadb_11() {
    if let Some(server) = mariadb11() {
        begins_as_directly(server);
    }
}

both! {
    /// Servers that have other ideas than their clients.
    fn servers_decide(server) {
        let init = "--init-connect=SET NAMES latin1";
        let latin = ["--character-set-server=latin1", "--collation-server=latin1_general_ci"];
        let ignore = "--skip-character-set-client-handshake";
        for options in [&latin[..], &[latin[0], latin[1], ignore], &[init]] {
            if options.contains(&ignore) && !server.flavour.is_mariadb() {
                continue; // MySQL has this option no more
            }
            let own = Server::start_own(server.flavour, options);
            if options == [init] {
                own.sql("REVOKE ALL ON *.* FROM 'empty'@'%'");
            }
            begins_as_directly(&own);
        }
    }
}

all! {
    /// The schema's character set, which sessions can set, cannot be restored: it keeps its connection until another
    /// schema is chosen.
    fn the_schemas_charset_keeps_its_connection(server) {
        let dpm = pool(server, 1, "queue_timeout = 2,");
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        one.query("USE test");
        assert_eq!(value(&mut two, "SELECT 1"), "1");
        for sql in ["SET character_set_database = latin2", "SET collation_database = latin2_bin"] {
            one.query(sql);
            let refused = two.query("SELECT 1");
            assert!(matches!(refused, Answer::Err(1040, ..)), "{sql}: {refused:?}");
            assert_eq!(value(&mut one, "SELECT @@character_set_database"), "latin2");
            one.query("USE test");
            assert_eq!(value(&mut two, "SELECT @@character_set_database <> 'latin2'"), "1");
            assert_eq!(value(&mut one, "SELECT @@character_set_database <> 'latin2'"), "1");
        }
    }
}
