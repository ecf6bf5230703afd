//! PROXY protocol headers: read before a client's own bytes, if its listener trusts the address
//! that it comes from, and sent first to a server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use crate::net::ProxyHeader;
use crate::proxy::Proxy;
use crate::proxy::id::ConnId;
use crate::proxy::info::{Address, ConnInfo, ConnKind};
use crate::proxy::options::{Options, Trusted};
use crate::proxy::table::conn::Socket;
use crate::proxy::table::core::Core;

/// How much is read at once. Headers are rarely longer.
const READ: usize = 512;

/// The result of reading a header.
enum Read {
    /// It is not complete yet.
    Partly,
    /// The connection was closed without a byte, such as by a port check.
    Nothing,
    /// It is complete: the script can be told of the client.
    Whole {
        listener: Rc<ConnInfo>,
        client: Rc<ConnInfo>,
    },
}

/// Whether a client from this address must send a header. (`None`: over a unix socket).
pub(crate) fn is_wanted(options: &Options, ip: Option<IpAddr>) -> bool {
    options.trusted.iter().any(|trusted| match trusted {
        Trusted::Unix => ip.is_none(),
        Trusted::Net(net) => ip.is_some_and(|ip| net.contains(&ip)),
    })
}

impl Proxy {
    /// Reads the header that has to come first from a client. The script is told of the client only
    /// after that.
    pub(crate) fn read_header(&self, id: ConnId) {
        let read = self.core().read_header(id);
        match read {
            Ok(Read::Partly) => {}
            Ok(Read::Nothing) => {
                self.close_for(id, "the client closed the connection");
            }
            Ok(Read::Whole { listener, client }) => {
                self.introduce(&listener, &client);
                // Process what came after the header, and what comes next.
                self.core().schedule(id);
            }
            Err(reason) => self.broken(id, &reason),
        }
    }
}

impl Core {
    fn read_header(&mut self, id: ConnId) -> Result<Read, String> {
        let mut space = [0; READ];
        loop {
            let Some(conn) = self.open_mut(id) else {
                return Ok(Read::Partly);
            };
            let header = conn.login.as_mut().and_then(|login| login.header.as_mut());
            let (Some(header), Socket::Open(channel)) = (header, &mut conn.socket) else {
                return Ok(Read::Partly);
            };
            if !conn.read.readable {
                return Ok(Read::Partly);
            }
            match channel.stream.read(&mut space) {
                Ok(0) if header.is_empty() => return Ok(Read::Nothing),
                Ok(0) => return Err("closed before its PROXY header was complete".into()),
                Ok(n) => header.extend_from_slice(space.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    conn.read.readable = false;
                    return Ok(Read::Partly);
                }
                Err(error) => return Err(format!("read: {error}")),
            }
            if let Some((found, len)) = ProxyHeader::parse(header)? {
                conn.read.input.push(header.get(len..).unwrap_or_default());
                if let Some(login) = &mut conn.login {
                    login.header = None;
                }
                return self.apply(id, found);
            }
        }
    }

    /// Applies the header's address to the client.
    fn apply(&mut self, id: ConnId, header: ProxyHeader) -> Result<Read, String> {
        let gone = || "its listener is gone".to_string();
        let conn = self.open_mut(id).ok_or_else(gone)?;
        let client = conn.info.clone();
        if let Some((from, to)) = header.addresses {
            log::debug!(
                "connection {}: from {} by way of {}",
                id.serial,
                from,
                client.address()
            );
            client.set_address(Address::Ip(from.ip().to_canonical()), from.port());
            // Even if the load balancer is on this machine, the client need not be.
            client.secure.set(false);
            client.set_destination(to);
        }
        let listener = conn.listener().ok_or_else(gone)?;
        let admitted = self.count_address(listener, &client);
        let listener = self.open(listener).ok_or_else(gone)?.info.clone();
        if !admitted {
            self.turn_away(&client);
            return Ok(Read::Partly);
        }
        Ok(Read::Whole { listener, client })
    }

    /// The header to send first to a new server.
    pub(crate) fn header_to_send(&self, options: &Options) -> Vec<u8> {
        let Some((version, client)) = options.proxy_header else {
            return Vec::new();
        };
        let addresses = client.and_then(|client| self.addresses_of(client));
        ProxyHeader { addresses }.encode(version)
    }

    /// A client's address and the address it connected to. `None` on a unix socket.
    fn addresses_of(&self, client: ConnId) -> Option<(SocketAddr, SocketAddr)> {
        let conn = self.get(client)?;
        if conn.info.kind != ConnKind::Client {
            return None;
        }
        let ip = conn.info.address().ip()?;
        let local = match &conn.socket {
            Socket::Open(channel) => channel.stream.local_addr(),
            _ => None,
        };
        let unknown = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let to = conn.info.destination().or(local).unwrap_or(unknown);
        Some((SocketAddr::new(ip, conn.info.port.get()), to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_listed_is_believed() {
        let options = |list: &[&str]| Options {
            trusted: list.iter().map(|text| text.parse().unwrap()).collect(),
            ..Options::default()
        };
        let some = options(&["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]);
        for (address, wanted) in [
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("2001:db8::7", true),
            ("::1", false),
        ] {
            let ip = Some(address.parse().unwrap());
            assert_eq!(is_wanted(&some, ip), wanted, "{address}");
        }
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        assert!(!is_wanted(&some, None));
        assert!(is_wanted(&options(&["unix"]), None));
        assert!(!is_wanted(&options(&["unix"]), here));
        assert!(!is_wanted(&options(&[]), here));
        for wrong in ["localhost", "10.0.0.0/33", "", "127.0.0.1:3306"] {
            wrong.parse::<Trusted>().unwrap_err();
        }
    }
}
