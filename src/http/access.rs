//! Who may ask.
//!
//! Nobody but this machine's users can connect to a loopback address, so such a listener needs no authentication.
//! Their browsers can, though, on behalf of any page: a page whose own name is suddenly said to have the address 127.0.0.1
//! could read what is here (DNS rebinding). The `Host` header gives that away.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::request::Request;
use crate::auth::Secret;

/// A user and a password, for basic authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// What is answered without authentication.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Open {
    /// Nothing.
    #[default]
    Nothing,
    /// These paths.
    Paths(Vec<String>),
    /// Everything: the handler judges by itself.
    Everything,
}

/// Who may ask.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Accepted as a bearer token, and as the password of basic authentication, for browsers.
    pub token: Option<Secret>,
    /// Accepted by basic authentication.
    pub account: Option<Account>,
    /// What needs neither.
    pub open: Open,
}

/// May this request be answered?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    Granted,
    /// It has no credentials, or wrong ones.
    Unauthorized,
    /// It is for another host.
    Misdirected,
}

impl Access {
    /// Whether anything has to be known to be answered.
    pub(super) fn is_guarded(&self) -> bool {
        self.token.is_some() || self.account.is_some()
    }

    pub(super) fn judge(&self, request: &Request) -> Judgement {
        let is_open = match &self.open {
            Open::Everything => true,
            Open::Paths(paths) => paths.iter().any(|path| path.as_bytes() == request.path),
            Open::Nothing => false,
        };
        if is_open {
            return Judgement::Granted;
        }
        if self.is_guarded() {
            return match self.accepts(request) {
                true => Judgement::Granted,
                false => Judgement::Unauthorized,
            };
        }
        match request.header("host").is_none_or(is_this_machine) {
            true => Judgement::Granted,
            false => Judgement::Misdirected,
        }
    }

    fn accepts(&self, request: &Request) -> bool {
        let Some(value) = request.header("authorization") else {
            return false;
        };
        let mut words = value.splitn(2, |byte| *byte == b' ');
        let (scheme, rest) = (words.next().unwrap_or_default(), words.next());
        let credentials = rest.unwrap_or_default().trim_ascii();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return self.token.as_ref() == Some(&Secret::new(credentials.to_vec()));
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return false;
        }
        let Ok(pair) = STANDARD.decode(credentials) else {
            return false;
        };
        let pair = Secret::new(pair);
        let Some(colon) = memchr::memchr(b':', pair.bytes()) else {
            return false;
        };
        let (user, password) = pair.bytes().split_at(colon);
        let password = Secret::new(password.get(1..).unwrap_or_default().to_vec());
        // All are compared, so that the time does not tell which of them is wrong.
        let is_token = self.token.as_ref() == Some(&password);
        let is_account = self.account.as_ref().is_some_and(|account| {
            let is_user =
                Secret::new(account.user.clone().into_bytes()) == Secret::new(user.to_vec());
            let is_password = account.password == password;
            is_user & is_password
        });
        is_token | is_account
    }
}

/// Whether a `Host` is an address or localhost, which no other page can have as its name.
fn is_this_machine(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']').unwrap_or((rest, ""));
        return address.parse::<IpAddr>().is_ok() && (port.is_empty() || port.starts_with(':'));
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}
