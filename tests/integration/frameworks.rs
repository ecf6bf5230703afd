//! Applications made with frameworks share one connection with a stranger whose settings differ. They keep it within
//! their transactions only.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::dpm::Launch;
use crate::support::{Dpm, PASSWORD, Server, USER, both, process};

/// An application needs a while where much else runs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A pool of one connection, and its administrative port.
fn pool(server: &Server) -> (Dpm, String) {
    let dpm = Launch::script(&format!(
        "local dpml = require 'dpml'
         local users = {{ {USER} = {{ password = '{PASSWORD}' }} }}
         local listener = require('harness').listen(function() end)
         local servers = {{ {{ host = arg[1], port = tonumber(arg[2]) }} }}
         local pool = dpml.pool(listener, {{ servers = servers, users = users, size = 1 }})
         local admin = dpm.listener('127.0.0.1', 0)
         pool:admin(admin, {{ users = users }})
         print('admin ' .. admin:socket_port())"
    ))
    .server(server)
    .start();
    let admin = dpm.line("admin ")["admin ".len()..].to_owned();
    (dpm, admin)
}

fn application(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/frameworks")
        .join(name)
}

/// What the application says at the end of each of its phases: who is held.
#[track_caller]
fn run(server: &Server, program: &str, args: &[&str]) -> Vec<String> {
    let (dpm, admin) = pool(server);
    let mut command = process::command(program);
    command
        .args(args)
        .args(["127.0.0.1", &dpm.port().to_string(), USER, PASSWORD])
        .args([server.database(), admin]);
    let done = process::run(command, Vec::new(), PATIENCE);
    assert_eq!(done.code, 0, "{program}:\n{}\n{}", done.out(), done.err());
    done.out().lines().map(str::to_owned).collect()
}

/// Nobody is held after any of the phases but these.
#[track_caller]
fn check_held(said: &[String], in_transactions: &[&str]) {
    assert!(said.len() > 5, "{said:?}");
    for line in said {
        let (phase, held) = line.split_once(": ").expect("a phase");
        let expected = match in_transactions.contains(&phase) {
            true => "transaction",
            false => "nobody",
        };
        assert_eq!(held, expected, "{phase} of {said:?}");
    }
}

both! {
    fn django_is_held_in_its_transactions_only(server) {
        let file = application("with_django.py").display().to_string();
        check_held(&run(server, "/usr/bin/python3", &["-B", &file]), &["transaction"]);
    }
}

both! {
    fn sqlalchemy_is_held_in_its_transactions_only(server) {
        let file = application("with_sqlalchemy.py").display().to_string();
        check_held(&run(server, "/usr/bin/python3", &["-B", &file]), &["reading", "transaction"]);
    }
}
