//! The `mysql` crate as a client.

use std::time::Duration;

use mysql::{Conn, OptsBuilder};

use super::{PASSWORD, USER};

/// How the tests connect: TCP, as [`USER`], no endless reads.
pub fn options(port: u16) -> OptsBuilder {
    OptsBuilder::new()
        .ip_or_hostname(Some("127.0.0.1"))
        .tcp_port(port)
        .user(Some(USER))
        .pass(Some(PASSWORD))
        // Or it would reconnect over the server's unix socket, bypassing the proxy.
        .prefer_socket(false)
        .max_allowed_packet(Some(1 << 30))
        .read_timeout(Some(Duration::from_secs(30)))
        .write_timeout(Some(Duration::from_secs(30)))
        .tcp_connect_timeout(Some(Duration::from_secs(10)))
}

/// A logged-in connection.
#[track_caller]
pub fn connect(port: u16) -> Conn {
    Conn::new(options(port)).unwrap_or_else(|error| panic!("no login on port {port}: {error}"))
}

/// A login with other credentials, which may fail.
pub fn connect_as(port: u16, user: &str, password: &str) -> mysql::Result<Conn> {
    Conn::new(options(port).user(Some(user)).pass(Some(password)))
}
