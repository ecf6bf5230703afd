//! A proxy that the test controls step by step, by running pieces of Lua in it.

use super::dpm::{Dpm, Launch};
use super::wire::{Answer, Wire, caps, lenenc};

/// A proxy with `h` (the harness), `clients` and `servers` as global variables of its script.
pub struct Stage {
    /// The proxy. It accepts every login, and links clients to nothing.
    pub dpm: Dpm,
    admin: Wire,
    clients: usize,
    servers: usize,
}

impl Stage {
    /// A stage in front of the server at this port.
    #[track_caller]
    pub fn before(port: u16) -> Stage {
        Stage::with("h.serve()", port)
    }

    /// The same with another startfile, after the lines that define `h`.
    #[track_caller]
    pub fn with(script: &str, port: u16) -> Stage {
        let dpm = Launch::script(&format!("h = require('harness') h.admin() {script}"))
            .arg("127.0.0.1")
            .arg(port)
            .start();
        let line = dpm.line("admin ");
        let port = line.trim_start_matches("admin ").parse().expect("a port");
        Stage {
            dpm,
            admin: Wire::login(port, caps::BASE),
            clients: 0,
            servers: 0,
        }
    }

    /// Runs a chunk of Lua, and returns its results, tab-separated.
    #[track_caller]
    pub fn lua(&mut self, chunk: &str) -> String {
        match self.admin.query(chunk) {
            Answer::Ok(packet) => match packet.get(7..) {
                Some(message) if !message.is_empty() => {
                    String::from_utf8_lossy(&message[lenenc(message).1..]).into_owned()
                }
                _ => String::new(),
            },
            other => panic!("{chunk}: {other:?}"),
        }
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn until(&mut self, condition: &str) {
        super::eventually(condition, || {
            self.lua(&format!("return {condition}")) == "true"
        });
    }

    /// Logs a client in: the script knows it as `clients[n]`, counted from 1.
    #[track_caller]
    pub fn client(&mut self, capabilities: u32) -> Wire {
        let wire = Wire::login_empty(self.dpm.port(), capabilities);
        self.clients += 1;
        let n = self.clients;
        self.until(&format!("clients[{n}] ~= nil"));
        wire
    }

    /// The same if the script has already made this many clients.
    #[track_caller]
    pub fn client_from(&mut self, clients: usize, capabilities: u32) -> Wire {
        self.clients = clients;
        self.client(capabilities)
    }

    /// Has the script log in at a real server: `servers[n]`, counted from 1.
    #[track_caller]
    pub fn server(&mut self) {
        self.server_without("");
    }

    /// The same without some capabilities, in Lua.
    #[track_caller]
    pub fn server_without(&mut self, capabilities: &str) {
        self.begin_server(capabilities);
        self.ready();
    }

    /// Begins to log in. A mock server has to answer.
    #[track_caller]
    pub fn begin_server(&mut self, capabilities: &str) {
        self.servers += 1;
        self.lua(&format!("h.server(nil, {{ {capabilities} }})"));
    }

    /// Waits for the end of the login.
    #[track_caller]
    pub fn ready(&mut self) {
        let n = self.servers;
        self.until(&format!("servers[{n}]:state() == dpm.MYS_WAIT_CMD"));
    }

    /// Links a client and a server, by their numbers.
    #[track_caller]
    pub fn link(&mut self, client: usize, server: usize) {
        self.lua(&format!(
            "dpm.proxy_connect(clients[{client}], servers[{server}])"
        ));
    }

    /// The error with which linking them is refused.
    #[track_caller]
    pub fn refused(&mut self, client: &str, server: &str) -> String {
        let answer = self.lua(&format!(
            "return pcall(dpm.proxy_connect, {client}, {server})"
        ));
        let refusal = answer.strip_prefix("false\t");
        refusal
            .unwrap_or_else(|| panic!("{client} and {server} were linked"))
            .to_owned()
    }

    /// Logs the states of a connection, of those that match a pattern, as lines "NAME STATE".
    #[track_caller]
    pub fn trace(&mut self, conn: &str, pattern: &str) {
        self.lua(&format!(
            "for value, name in pairs(h.names) do
               if name:match('{pattern}') then
                 {conn}:register(value, function() print('{conn} ' .. name) end)
               end
             end"
        ));
    }
}
