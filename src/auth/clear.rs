//! `mysql_clear_password`: the password as it is, for servers that hand it on to PAM or LDAP.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_authentication_methods_clear_text_password.html>

use super::{AuthError, Check, Claim, Login, Plugin, Secret};

/// The method's name on the wire.
pub const NAME: &str = "mysql_clear_password";

/// `mysql_clear_password`.
#[derive(Debug)]
pub struct Clear;

impl Plugin for Clear {
    fn name(&self) -> &'static str {
        NAME
    }

    fn answer(&self, login: &Login<'_>) -> Result<Vec<u8>, AuthError> {
        let refused = |why| Err(AuthError::Refused { plugin: NAME, why });
        if !login.allow_cleartext {
            return refused(
                "the server asks for the password in clear, which only allow_cleartext permits",
            );
        }
        if !login.secure {
            return refused(
                "the server asks for the password in clear over a connection that is neither TLS nor \
                 a unix socket",
            );
        }
        Ok(login.cleartext())
    }

    fn check(&self, claim: &Claim<'_>, _said: &[u8], data: &[u8]) -> Result<Check, AuthError> {
        if !claim.secure {
            return Err(AuthError::Refused {
                plugin: NAME,
                why: "no client is asked for it over a connection that is neither TLS nor a unix socket",
            });
        }
        let password = data.strip_suffix(b"\0");
        Ok(claim.judge(password.map(|password| Secret::new(password.to_vec()))))
    }
}
