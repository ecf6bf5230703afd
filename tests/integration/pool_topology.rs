//! The servers of a pool: how they are listed, looked after and judged. Clusters are in `pool_cluster`.

use std::fmt::Write as _;

use crate::pool;
use crate::support::cluster::{self, Cluster};
use crate::support::dpm::Launch;
use crate::support::{Flavour, PASSWORD, Server, Stage, USER, eventually, mariadb, process};

/// A program that looks after the servers of a cluster, by the names "a", "b" and "c".
pub struct Watcher(Stage);

impl Watcher {
    /// Of a whole cluster.
    pub fn new(cluster: &Cluster) -> Watcher {
        let mut servers = String::new();
        for (name, port) in ["a", "b", "c"].iter().zip(cluster.ports()) {
            let _ = write!(servers, "{{ '127.0.0.1', {port}, name = '{name}' }}, ");
        }
        Watcher::of(cluster.ports()[0], &format!("{{ {servers} }}"))
    }

    /// The same with the option `servers` in Lua.
    fn of(port: u16, servers: &str) -> Watcher {
        Watcher(Stage::with(
            &format!(
                "h.serve()
                 watched = require('dpml.pool.topology').new {{
                     servers = {servers},
                     account = {{ user = '{USER}', password = '{PASSWORD}' }},
                     interval = 0.5, refresh = 0.1,
                     on_change = function(name, view) print('changed', name, view and view.role) end,
                 }}
                 watched:start()
                 function shown(name)
                     local view = watched:view(name)
                     if not view then return 'unknown' end
                     return view.usable and view.role or view.why
                 end"
            ),
            port,
        ))
    }

    /// A server's role, or why it cannot be used.
    #[track_caller]
    pub fn shown(&mut self, name: &str) -> String {
        self.0.lua(&format!("return shown('{name}')"))
    }

    /// Waits until each server has this role, or is out for a reason that begins so.
    #[track_caller]
    pub fn until(&mut self, expected: &[(&str, &str)]) {
        for (name, what) in expected {
            let mut last = String::new();
            cluster::until(&format!("{name} is {what}"), || {
                last = self.shown(name);
                last.starts_with(what)
            });
        }
    }

    /// How many seconds a replica is late.
    #[track_caller]
    pub fn lag(&mut self, name: &str) -> f64 {
        let lag = self
            .0
            .lua(&format!("return watched:view('{name}').lag or -1"));
        lag.parse().expect("a number")
    }
}

#[test]
fn declared_roles_stay_and_what_cannot_be_written_to_is_out() {
    let server = mariadb();
    let mut watcher = Watcher::of(
        server.port,
        &format!(
            "{{ {{ '127.0.0.1', {0}, name = 'a', role = 'replica' }}, {{ '127.0.0.1', {0}, name = 'b' }} }}",
            server.port
        ),
    );
    watcher.until(&[("a", "replica"), ("b", "primary")]);
}

#[test]
fn lists_are_asked_for_again_and_names_are_looked_up() {
    let port = mariadb().port;
    let mut watcher = Watcher::of(
        port,
        &format!(
            "function() local list = {{ {{ '127.0.0.1', {port}, name = 'a' }} }}
                 if wanted == 'both' then list[2] = {{ 'localhost', {port}, name = 'b', role = 'replica' }} end
                 if wanted == 'none' then error('no list today') end
                 return list
             end"
        ),
    );
    watcher.until(&[("a", "primary"), ("b", "unknown")]);
    watcher.0.lua("wanted = 'both'");
    watcher.until(&[("b", "replica")]);
    watcher.0.lua("wanted = 'none'");
    watcher.0.dpm.line("no list today");
    assert_eq!(watcher.shown("b"), "replica");
    watcher.0.lua("wanted = nil");
    watcher.until(&[("b", "unknown")]);
    assert!(watcher.0.dpm.line("changed\tb\tnil").ends_with("nil"));

    let mut watcher = Watcher::of(port, &format!("'localhost:{port}'"));
    watcher.until(&[(&format!("127.0.0.1:{port}"), "primary")]);
}

#[test]
fn a_server_that_is_not_there_or_answers_wrongly_is_out_until_it_is_well() {
    let port = process::free_port();
    let mut watcher = Watcher::of(
        mariadb().port,
        &format!(
            "{{ {{ '127.0.0.1', {port}, name = 'a' }}, {{ '127.0.0.1', {}, name = 'b' }} }}",
            mariadb().port
        ),
    );
    watcher.until(&[("a", "Can't connect"), ("b", "primary")]);
    // Something that is not as a server would be, and then is one that can only be read from.
    watcher.0.lua(&format!(
        "listener = dpm.listener('127.0.0.1', {port})
         require('dpml').accept_clients(listener, {{
             users = {{ {USER} = {{ password = '{PASSWORD}' }} }}, server_version = '8.4.0', all_commands = true,
             new_command = function(cmd)
                 local sql = cmd:argument()
                 if is_well and sql:find('read_only', 1, true) then
                     return {{ columns = {{ 'read_only', 'id' }}, rows = {{ {{ '1', '77' }} }} }}
                 elseif is_well and sql:find('REPLICA', 1, true) then
                     return {{
                         columns = {{ 'Source_UUID', 'Replica_SQL_Running', 'Replica_IO_Running', 'Seconds_Behind_Source' }},
                         rows = {{ {{ '1', 'Yes', 'Yes', '3' }} }},
                     }}
                 elseif is_well then
                     return {{ columns = {{ 'x' }}, rows = {{}} }}
                 end
                 return {{ columns = {{ 'what' }}, rows = {{ {{ 'nonsense' }} }} }}
             end,
         }})"
    ));
    watcher.until(&[("a", "its answer to the health query is not understood")]);
    watcher.0.lua("is_well = true");
    watcher.until(&[("a", "replica")]);
    assert_eq!(watcher.lag("a"), 3.0);
    assert!(!watcher.0.dpm.wrote(PASSWORD), "the log names a password");
}

#[test]
fn without_an_account_servers_are_taken_for_usable_until_a_connection_fails() {
    let mut stage = Stage::with(
        "h.serve()
         watched = require('dpml.pool.topology').new {
             servers = { { '127.0.0.1', 1, name = 'a' }, { '127.0.0.1', 2, name = 'b', role = 'replica' } },
             on_change = function() end,
         }
         watched:start()
         function shown(name) local view = watched:view(name) return view.usable and view.role or view.why end",
        mariadb().port,
    );
    assert_eq!(stage.lua("return shown('a')"), "primary");
    assert_eq!(stage.lua("return shown('b')"), "replica");
    stage.lua("watched:look_again('b')");
    assert_eq!(
        stage.lua("return shown('b')"),
        "a connection to it has failed"
    );
    stage.until("shown('b') == 'replica'");
    assert_eq!(stage.lua("return shown('a')"), "primary");
}

#[test]
fn what_is_wrong_with_a_list_is_said() {
    let mut stage = Stage::with("h.serve()", mariadb().port);
    for (servers, problem) in [
        ("{}", "the list is empty"),
        (
            "{ { 'x', role = 'chief' } }",
            "role: expected \"primary\", \"replica\" or nil",
        ),
        ("{ 'x', 'x' }", "there are two of the name x:3306"),
        (
            "{ { 'x', weight = -1 } }",
            "weight: expected a number that is not negative",
        ),
        ("{ { 'x', wait = 1 } }", "there is no option wait"),
        (
            "7",
            "servers: expected an array, a function or a string, got number",
        ),
    ] {
        let answer = stage.lua(&format!(
            "return pcall(require('dpml.pool.topology').new, {{ servers = {servers}, on_change = print }})"
        ));
        assert!(answer.contains(problem), "{servers}: {answer}");
    }
}

#[test]
fn a_name_has_all_its_addresses() {
    let mut stage = Stage::with("h.serve()", mariadb().port);
    stage.lua("dpm.resolve('LocalHost', function(list) found = list end)");
    stage.until("found ~= nil");
    assert!(
        stage
            .lua("return table.concat(found, ' ')")
            .contains("127.0.0.1")
    );
    stage.lua("dpm.resolve('no\\0name', function(list, reason) found, why = list, reason end)");
    stage.until("why ~= nil");
    assert_eq!(stage.lua("return found"), "nil");
    stage.lua("dpm.resolve('127.0.0.1', function() error('as planned') end)");
    stage.dpm.line("as planned");
    let refused = stage.lua("return pcall(dpm.resolve, 'x')");
    assert!(refused.contains("fn"), "{refused}");
    // What is looked up is waited for, and then nothing is left to do.
    let done =
        Launch::script("dpm.resolve('localhost', function(list) print('found', list ~= nil) end)");
    let mut done = done.start();
    done.line("found\ttrue");
    assert!(done.wait_for_end().success());
}

#[test]
fn servers_are_asked_as_often_as_is_said() {
    let server = Server::start_own(Flavour::MariaDb, &[]);
    server.sql("CREATE USER watcher@'%' IDENTIFIED BY 'w'; GRANT ALL ON *.* TO watcher@'%'");
    let monitor = "monitor = { user = 'watcher', password = 'w' }, health_interval = 3600,";
    let dpm = pool::pool(&server, 1, monitor);
    assert_eq!(pool::value(&mut pool::login(&dpm), "SELECT 1"), "1");
    eventually("nobody asks for three seconds", || {
        let sql =
            "SELECT MIN(time) >= 3 FROM information_schema.processlist WHERE user = 'watcher'";
        server.sql(sql).trim() == "1"
    });
}
