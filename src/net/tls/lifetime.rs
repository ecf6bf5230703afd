//! The time in which our own certificates are valid. Nothing else would tell of its end before
//! clients or servers refuse them.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use super::certificate;

const DAY: i64 = 86_400;

/// For how many days before its end a certificate is warned about.
const NOTICE_DAYS: i64 = 14;

/// From when until when a certificate is valid.
#[derive(Debug, Clone)]
pub(super) struct Lifetime {
    /// Its file and subject.
    name: String,
    not_before: ASN1Time,
    not_after: ASN1Time,
}

impl Lifetime {
    /// Those of a certificate and its intermediate certificates: each of them ends the chain.
    pub fn of_chain(file: &str, chain: &[CertificateDer<'_>]) -> Vec<Lifetime> {
        let lifetime = |der: &CertificateDer<'_>| {
            let (_, parsed) = X509Certificate::from_der(der).ok()?;
            Some(Lifetime {
                name: format!("{file} ({})", certificate::subject(der)),
                not_before: parsed.validity().not_before,
                not_after: parsed.validity().not_after,
            })
        };
        chain.iter().filter_map(lifetime).collect()
    }

    /// What is wrong with it at this time, in seconds since 1970.
    fn warning(&self, now: i64) -> Option<String> {
        let Lifetime {
            name,
            not_before,
            not_after,
        } = self;
        let left = not_after.timestamp() - now;
        if left < 0 {
            return Some(format!(
                "the certificate {name} has expired: it was valid until {not_after}"
            ));
        }
        if not_before.timestamp() > now {
            return Some(format!(
                "the certificate {name} is not valid yet: it will be from {not_before} on"
            ));
        }
        (left < NOTICE_DAYS * DAY).then(|| match left / DAY {
            0 => format!("the certificate {name} expires within a day, on {not_after}"),
            1 => format!("the certificate {name} expires in 1 day, on {not_after}"),
            days => format!("the certificate {name} expires in {days} days, on {not_after}"),
        })
    }
}

/// What is wrong with these now.
pub(super) fn warnings(lifetimes: &[Lifetime]) -> impl Iterator<Item = String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs().cast_signed());
    lifetimes.iter().filter_map(move |one| one.warning(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_soon_is_told_before() {
        let at = |seconds| ASN1Time::from_timestamp(seconds).unwrap();
        let lifetime = Lifetime {
            name: "server.pem (/CN=db)".into(),
            not_before: at(1000 * DAY),
            not_after: at(1100 * DAY),
        };
        let told = |now: i64| lifetime.warning(now).unwrap_or_default();
        assert!(told(999 * DAY).contains("is not valid yet"));
        assert_eq!(told(1000 * DAY), "");
        assert_eq!(told(1086 * DAY), "");
        assert!(told(1086 * DAY + 1).contains("server.pem (/CN=db) expires in 13 days, on "));
        assert!(told(1098 * DAY + 1).contains("expires in 1 day, on "));
        assert!(told(1100 * DAY).contains("expires within a day"));
        assert!(told(1100 * DAY + 1).contains("has expired"));
    }
}
