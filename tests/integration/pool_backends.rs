//! Which account at the servers a client of a pool has: the options `users`, `authenticate`, `accounts` and `backend`.

use crate::support::Dpm;
use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Greeting, Wire, caps, error};

/// What the library says to these options when it starts.
fn problem(options: &str) -> String {
    let mut dpm = Launch::script(&format!(
        "local backends = require 'dpml.pool.backends'
         print(select(2, pcall(backends.new, 'the pool', {{ {options} }}, {{}})))
         dpm.exit(0)"
    ))
    .start();
    let said = dpm.line("the pool: ");
    dpm.wait_for_end();
    said
}

#[test]
fn options_that_do_not_go_together() {
    for (options, told) in [
        (
            "",
            "who may log in? One of users, authenticate and accounts must be given",
        ),
        (
            "users = {}, accounts = 'server'",
            "who may log in? One of users, authenticate and accounts must be given",
        ),
        (
            "accounts = 'sever'",
            "accounts: expected \"server\", got sever",
        ),
        (
            "accounts = 'server', backend = { user = 'x' }",
            "backend: with accounts = \"server\" each client has its own account at the servers",
        ),
        (
            "users = { ann = dpm.hash_pass('secret') }",
            "users: ann needs a password, and not a hash of it",
        ),
        (
            "users = {}, backend = { password = 'secret' }",
            "backend: user: expected a string, got nil",
        ),
        (
            "users = {}, backend = { user = 'x', host = 'y' }",
            "there is no option host",
        ),
    ] {
        let said = problem(options);
        assert!(said.contains(told), "{options}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

/// A proxy that answers each query with the key of the client's account, the user and the password there, and the
/// generation; a statement REFUSED says that the servers have refused that.
fn proxy(options: &str) -> Dpm {
    Launch::script(&format!(
        "local dpml, h = require 'dpml', require 'harness'
         local logins, backends, tasks = require 'dpml.logins', require 'dpml.pool.backends', require 'dpml.tasks'
         local seen, accounts = {{}}, {{}}
         local pool = backends.new('the pool', {{ {options} }}, {{ changed = function(account) print('changed ' .. account.key) end }})
         h.listen(function() end)
         logins.begin('the pool', h.listener, {{
           new_client = function(client, auth, ok, granted)
             tasks.spawn(function()
               local account, err = pool:of(auth:user(), granted)
               if err then return dpml.send_error(client, err.sqlstate, err.errnum, err.message) end
               accounts[client:id()] = account
               dpm.wire_packet(client, ok)
             end)
             return dpm.DPM_NOPROXY
           end,
           new_command = function(cmd, id, client)
             tasks.spawn(function()
               local account = accounts[id]
               local login, generation = account:login()
               if cmd:argument() == 'REFUSED' then account:refused(generation) end
               if cmd:argument() == 'CHANGE' then secret = 'x2' end
               local told = ('%s %s %s %d'):format(account.key, login.user, login.password, generation)
               dpml.send_resultset(client, {{ fields = {{ 'account' }}, rows = {{ {{ told }} }} }})
             end)
             return dpm.DPM_NOPROXY
           end,
         }}, pool.lookup)"
    ))
    .start()
}

fn account(port: u16, user: &str, password: &str) -> String {
    let mut wire = Wire::login_as(port, user, password, caps::BASE);
    ask(&mut wire, "which")
}

fn ask(wire: &mut Wire, sql: &str) -> String {
    match wire.query(sql) {
        Answer::Rows { rows, .. } => {
            let told = rows[0][0].clone().unwrap_or_default();
            String::from_utf8_lossy(&told).into_owned()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_user_has_its_account() {
    let dpm =
        proxy("users = { ann = { password = 'a' }, ['j\\246 b'] = { password = 'j' }, none = '' }");
    let port = dpm.port();
    assert_eq!(account(port, "ann", "a"), "ann ann a 1");
    assert_eq!(account(port, "none", ""), "none none  1");
    // A user's name may have any bytes, a key has not.
    let dpm = proxy("authenticate = function(user) return { password = 'p' .. user } end");
    assert_eq!(
        account(dpm.port(), "a b%", "pa b%"),
        "a%20b%25 a b% pa b% 1"
    );
    dpm.assert_no_errors();
}

#[test]
fn the_servers_know_another_name() {
    let dpm =
        proxy("users = { ann = dpm.hash_pass('a') }, backend = { user = 'app', password = 'x' }");
    assert_eq!(account(dpm.port(), "ann", "a"), "app app x 1");
    let dpm = proxy(
        "users = { ann = dpm.hash_pass('a'), bob = { password = 'b' }, eve = '' },
         backend = function(user)
           require('dpml.tasks').sleep(1)
           if user ~= 'eve' then return { user = 'app_' .. user, password = secret or 'x1' } end
         end",
    );
    let port = dpm.port();
    assert_eq!(account(port, "ann", "a"), "app_ann app_ann x1 1");
    let mut bob = Wire::login_as(port, "bob", "b", caps::BASE);
    assert_eq!(ask(&mut bob, "which"), "app_bob app_bob x1 1");
    // The function is asked again once a password was refused.
    ask(&mut bob, "REFUSED");
    assert_eq!(ask(&mut bob, "which"), "app_bob app_bob x1 1");
    ask(&mut bob, "CHANGE");
    assert_eq!(ask(&mut bob, "which"), "app_bob app_bob x1 1");
    assert_eq!(dpm.count("changed"), 0);
    ask(&mut bob, "REFUSED");
    assert_eq!(ask(&mut bob, "which"), "app_bob app_bob x2 2");
    dpm.line("changed app_bob");
    assert_eq!(account(port, "bob", "b"), "app_bob app_bob x2 2");
    let mut eve = Wire::connect(port);
    let greeting = Greeting::parse(&eve.read());
    eve.authenticate(&greeting, "eve", "", caps::BASE);
    assert!(matches!(error(&eve.read()), Answer::Err(1045, ..)));
    dpm.assert_no_errors();
}

#[test]
fn a_hash_is_not_enough_for_the_servers() {
    let dpm = proxy("authenticate = function() return dpm.hash_pass('a') end");
    let mut wire = Wire::connect(dpm.port());
    let greeting = Greeting::parse(&wire.read());
    wire.authenticate(&greeting, "ann", "a", caps::BASE);
    let told = error(&wire.read());
    assert!(matches!(told, Answer::Err(1105, ..)), "{told:?}");
    dpm.line("authenticate: 'ann' needs a password, and not a hash of it");
}
