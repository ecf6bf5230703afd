//! The capabilities that are offered to clients and asked of servers: the one place that computes
//! them.
//!
//! Most bits are *end to end*: client and server agree on them, without those that the proxy does
//! not [understand](Capabilities::FOLLOWED). A few, for TLS and compression, belong to one *leg*,
//! since they say how its bytes are transported rather than what they mean. These are removed from
//! packets that pass from one leg to the other, also for hooks, and added for each leg according to
//! its options and its far end.

use crate::proxy::options::Options;
use crate::proxy::table::received::Refusal;
use crate::session::ServerSession;
use crate::wire::compressed::Algorithm;
use crate::wire::{Auth, Capabilities, ErrPacket, Handshake};

/// The bits that belong to one leg.
pub(crate) const LEG: Capabilities = Capabilities::SSL
    .union(Capabilities::COMPRESS)
    .union(Capabilities::ZSTD_COMPRESSION)
    .union(Capabilities::SSL_VERIFY_SERVER_CERT);

/// What the bits of a server's leg depend on.
pub(crate) struct ServerLeg<'a> {
    /// The options of the connect.
    pub options: &'a Options,
    /// Whether to use TLS.
    pub tls: bool,
}

/// Those of these capabilities that pass from one leg to the other.
pub(crate) fn end_to_end(capabilities: Capabilities) -> Capabilities {
    capabilities & Capabilities::FOLLOWED & !LEG
}

/// The leg's own bits that a client is offered.
pub(crate) fn client_leg(options: &Options) -> Capabilities {
    let offered: &[Algorithm] = match &options.compression {
        Some(compression) => &compression.algorithms,
        None => &Algorithm::ALL,
    };
    let mut bits = offered
        .iter()
        .fold(Capabilities::empty(), |all, one| all | one.flag());
    bits.set(Capabilities::SSL, options.tls_server.is_some());
    bits
}

/// The leg's own bits that a server is asked for, of those that it really offers.
fn server_leg(leg: &ServerLeg<'_>, offered: Capabilities) -> Capabilities {
    let wanted = leg.options.compression.iter();
    let mut asked = wanted
        .flat_map(|compression| &compression.algorithms)
        .map(|algorithm| algorithm.flag())
        .find(|flag| offered.contains(*flag))
        .unwrap_or_default();
    if leg.tls {
        asked |= offered & Capabilities::SSL;
    }
    asked
}

/// The handshake for a client, forwarded or a script's, with the bits of its leg.
pub(crate) fn offer(handshake: &mut Handshake, options: &Options) {
    handshake.capabilities = (end_to_end(handshake.capabilities) | client_leg(options)).sendable();
}

/// The auth packet for a server, forwarded or a script's, with the bits of its leg.
pub(crate) fn ask(auth: &mut Auth, session: &ServerSession, leg: &ServerLeg<'_>) {
    let asked = auth.capabilities & (session.capabilities() | Capabilities::WISHES);
    let asked = asked & !LEG | server_leg(leg, session.really_offered());
    auth.capabilities = asked.sendable();
    let level = leg
        .options
        .compression
        .as_ref()
        .and_then(|wanted| wanted.level);
    auth.zstd_level = level.or(Some(Algorithm::Zstd.default_level()));
}

/// A server's handshake in the form for hooks and the other leg: without bits that the proxy does
/// not understand, and without those of this leg.
pub(crate) struct Offer {
    /// What the server offers.
    pub really: Capabilities,
    /// The bits that are left.
    pub followed: Capabilities,
    /// The payload with these bits.
    pub payload: Vec<u8>,
}

/// Reads a server's handshake.
pub(crate) fn read_handshake(payload: &[u8]) -> Result<Offer, Refusal> {
    let mut handshake = Handshake::decode(payload).map_err(|error| error.to_string())?;
    let really = handshake.capabilities;
    if !really.contains(Capabilities::PROTOCOL_41) {
        return Err("the server speaks the protocol of before MySQL 4.1"
            .to_string()
            .into());
    }
    handshake.capabilities = end_to_end(really);
    let mut masked = Vec::with_capacity(payload.len());
    handshake.encode(&mut masked);
    Ok(Offer {
        really,
        followed: handshake.capabilities,
        payload: masked,
    })
}

/// A client's auth packet in the form for hooks and the other leg.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The offered bits that it asks for, including those of its leg.
    pub capabilities: Capabilities,
    /// The level of compression that it asks for.
    pub zstd_level: Option<u8>,
    /// The method of authentication that it names.
    pub plugin: Option<Vec<u8>>,
    /// The user that it wants to be.
    pub user: Vec<u8>,
    /// The payload without these.
    pub payload: Vec<u8>,
}

/// Reads a client's auth packet, without bits that were not offered.
pub(crate) fn read_auth(payload: &[u8], offered: Capabilities) -> Result<Asked, Refusal> {
    let mut auth = Auth::decode(payload).map_err(|error| bad_handshake(error.to_string()))?;
    if !auth.capabilities.contains(Capabilities::PROTOCOL_41) {
        let why = "the client speaks the protocol of before MySQL 4.1";
        return Err(bad_handshake(why.into()));
    }
    // These change the very next byte. Other bits that were not offered are ignored, since client
    // libraries ask for many without needing them.
    let changes_bytes = Capabilities::SSL | Capabilities::COMPRESS | Capabilities::ZSTD_COMPRESSION;
    let unoffered = auth.capabilities & changes_bytes & !offered;
    if !unoffered.is_empty() {
        return Err(bad_handshake(format!(
            "the client asks for what it was not offered: {unoffered:?}"
        )));
    }
    let asked = auth.capabilities & (offered | Capabilities::WISHES);
    auth.capabilities = asked & !LEG;
    let mut masked = Vec::with_capacity(payload.len());
    auth.encode(&mut masked);
    Ok(Asked {
        capabilities: asked,
        zstd_level: auth.zstd_level,
        plugin: auth.auth_plugin,
        user: auth.user,
        payload: masked,
    })
}

/// The error for a client that breaks the protocol before it is logged in.
pub(crate) fn bad_handshake(reason: String) -> Refusal {
    Refusal {
        reason,
        answer: Some(ErrPacket::new(1043, b"08S01", "Bad handshake".into())),
        by_server: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legs_bits_do_not_pass() {
        let server = Handshake {
            capabilities: Capabilities::USUAL | LEG,
            ..Handshake::default()
        };
        let mut payload = Vec::new();
        server.encode(&mut payload);
        let offer = read_handshake(&payload).ok().unwrap();
        assert_eq!(offer.really, Capabilities::USUAL | LEG);
        assert_eq!(offer.followed, Capabilities::USUAL);
        let masked = Handshake::decode(&offer.payload).unwrap();
        assert_eq!(masked.capabilities, Capabilities::USUAL);
        assert_eq!(masked.scramble, server.scramble);
    }

    #[test]
    fn a_clients_leg_is_its_own() {
        let auth = Auth {
            capabilities: Auth::default().capabilities | LEG,
            ..Auth::default()
        };
        let mut payload = Vec::new();
        auth.encode(&mut payload);
        assert!(read_auth(&payload, Capabilities::USUAL).is_err());
        let asked = read_auth(&payload, Capabilities::USUAL | LEG).ok().unwrap();
        assert_eq!(asked.capabilities & LEG, LEG);
        let masked = Auth::decode(&asked.payload).unwrap();
        assert_eq!(masked.capabilities, Auth::default().capabilities);
    }
}
