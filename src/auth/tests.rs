//! Exchanges recorded from real servers and their own clients, with the password "secret": MySQL
//! 9.7.4 and MariaDB 11.8.9. What depends on a server's key or on chance is not compared.

use super::*;

const NATIVE_NONCE: &[u8] = b"j1S18clt%U`aFzW!?Vtg";
const NATIVE_ANSWER: &[u8] = b"\x1A$\x8F\xF4|\x8F\xE1\x0F\xE5A\xC2\x85r\xB1\xDD\xB2\x87\x06n\x0F";
const ED25519_NONCE: &[u8] = b"\x1F:Om\xA1\x998f\xA8S\x0B(T\x11\x11B\x01\x12\xBD\x86:\x9E\x8E\xEF\x13\xD8K\xE7\xA4\xE3\x89\xCC";
const ED25519_ANSWER: &[u8] = b"?\x00\xE3!\xBAQ\xDFu\x1F\xE2\xFF\x97\xAE\xCE\xFD\xAB\xC1\x87*\xC6\xAAO\x0A\xFA\x7F\xE4\xD8\x10\xF6\xF0\xF2\xB7R\xC3\xF5&V\xBC\xAB\x9C\x14\xBD\x1A9O\xA4\xACn\xE4\x08\xC9cK7\xE5\xBFb/\x87Z\xE4e\xFE\x05";
const PARSEC_NONCE: &[u8] = b"\xB2\x95\x965\xFD\xC2\xEAy\xBA\x87\x91\xB7\xBE\xE2\xF9\xFE\x15(@X\xA3\x9A\x5C\xF8\x7F\x7Fm%\xEE\xEB\xD8\x81";
const PARSEC_SALT: &[u8] = b"P\x002f\xFC\xE5\xC7n%\xEC\xAA\x0Ef\xBD\xB9\xAC\xE2C7H";
const PARSEC_ANSWER: &[u8] = b"\x94\xB1\xA5[\xE77\xE1\x5C\xE5\xF2b]\xDDwP\xC2\xAB\x04\x1B=\xDB\x92\xB3:\xD6i/h\xB0\xD2\xD3\xB0}v\xA4t}\x95\xA5*r\xAA$}\xAAM\xC4W\xA9\x09xdeyv\xFA\x976\xFB\x8D\xF6T)\xC6\xE3\xD9\x89\x98\x8D\xFA\xCA\xD6\x1At\x84\xDE\x22\xC0\xA8\x03\x83z\x03\xC6\xCA\xDA7\x0C\x0B\xB6L*\x8D\xE5u\x0F";
const SHA2_NONCE: &[u8] = b"\x0CT\x14''c\x09l\x0E+\x01!\x03zN\x1EI/R-";
const SHA2_ANSWER: &[u8] = b"\x83\xC5A\xB6\x87\x13\xE8\x19(\xB0\x88u\xE4d\x0C\xFDr\xBD\xD5\xE3\xA7/\x01\xF3\xA6\x850\xC9\x99\xC5<\xAA";
const SHA2_FAST_NONCE: &[u8] = b" S\x15+C~ivHvr&y9Lle\x0Ann";
const SHA2_FAST_ANSWER: &[u8] = b"1\xFB]rD?\x05\xF4\x0F\xDC!fGU\x02\x99\x0F\x18\x1A\x02\x11\xEF\x16<\x85\x93\x9B\xC3\x17R\xA5\xE8";
const SHA256_NONCE: &[u8] = b"YGJcI%KW\x1F\x06\x13V\x1C\x0AHyP^\x1EB\x00";
const MARIADB_SHA2_NONCE: &[u8] = b")Jm=<e4^HUv<EVdL8:k[\x00";
const MARIADB_SHA2_ANSWER: &[u8] = b"\xDAF\xB3\xCE`\xDB\x5C\x01\xD3\x04\x99\xC7\x8D\xFE\xD2Ks\xF9\xC1\x89h\xB4\x94[\xDF\x07B\xB3h\xAD>\x9A";

/// The public key of that MySQL.
const KEY: &[u8] = b"\
-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA2ID3p4l9l3nv7BHIMSQa\n\
AlER0cmKIOrZ3N2LOcR37sl03cMk2YiPBmaFSwpALbysYdaFcSuXtZtOHuu/Y9d5\n\
P6Xd2YtkPo2fMovgQzP+dCuCKWccYxLQKglJ1d70Yrgfh09JJysAbImTwN51304J\n\
abnZ4TmD6KCdf71/bdvR+kaJLhAisdpUprpUs+m5KSbOGB/Pzym55QJIXQud/ZZi\n\
Z6Q8+dxxPH5GWvtuWWc3YUV3MtnGWRUYuqJVM3kofYKagDtViQqyqQi5wUOkMo7G\n\
Afmhcq+gbYNY14lBfwo8BX+mCz0luoYtIvFylLBpYOOcvpHRE0ls541Z+ZKyERa0\n\
DwIDAQAB\n\
-----END PUBLIC KEY-----\n\
";

const PASSWORD: &[u8] = b"secret";
const NOTHING: &[u8] = b"";

fn login(nonce: &'static [u8]) -> Login<'static> {
    Login {
        password: PASSWORD,
        nonce,
        secure: false,
        tls: false,
        server_key: None,
        allow_cleartext: false,
    }
}

fn secure(nonce: &'static [u8]) -> Login<'static> {
    let login = login(nonce);
    Login {
        secure: true,
        tls: true,
        ..login
    }
}

#[test]
fn names_find_their_methods() {
    for name in [
        "mysql_native_password",
        "caching_sha2_password",
        "sha256_password",
        "mysql_clear_password",
        "client_ed25519",
        "parsec",
    ] {
        assert_eq!(plugin(name.as_bytes()).unwrap().name(), name);
    }
    let error = plugin(b"authentication_fido_client").unwrap_err();
    let wanted = "authentication plugin 'authentication_fido_client' is not supported";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn native_password() {
    let plugin = plugin(b"mysql_native_password").unwrap();
    let answer = plugin.answer(&login(NATIVE_NONCE)).unwrap();
    assert_eq!(answer, NATIVE_ANSWER);
    for (credential, granted) in [
        (Credential::native(PASSWORD), true),
        (Credential::password(PASSWORD), true),
        (Credential::native(b"Secret"), false),
        (Credential::password(b""), false),
        (Credential::sha2(PASSWORD), false),
    ] {
        let claim = claim(&credential, NATIVE_NONCE);
        let check = plugin.check(&claim, NOTHING, NATIVE_ANSWER).unwrap();
        assert_eq!(check, Check::of(granted), "{credential:?}");
    }
}

#[test]
fn ed25519_signs() {
    let plugin = plugin(b"client_ed25519").unwrap();
    let answer = plugin.answer(&login(ED25519_NONCE)).unwrap();
    assert_eq!(answer, ED25519_ANSWER);
    assert!(plugin.answer(&login(NATIVE_NONCE)).is_err());
}

#[test]
fn parsec_signs_both_challenges() {
    let plugin = plugin(b"parsec").unwrap();
    let login = login(PARSEC_NONCE);
    assert_eq!(
        plugin.answer(&login).unwrap(),
        NOTHING,
        "it asks for the salt"
    );
    let own = PARSEC_ANSWER.first_chunk().unwrap();
    let signed = parsec::sign(&login, PARSEC_SALT[1], &PARSEC_SALT[2..], own);
    assert_eq!(signed.unwrap(), PARSEC_ANSWER);

    let answer = plugin.more(&login, NOTHING, PARSEC_SALT).unwrap().unwrap();
    assert_eq!(answer.len(), PARSEC_ANSWER.len());
    assert_ne!(answer, PARSEC_ANSWER, "a challenge of our own each time");
    assert!(plugin.more(&login, &answer, PARSEC_SALT).is_err());
    for wrong in [
        &b""[..],
        b"P",
        b"P\x02",
        b"P\xFFsalt",
        b"Q\x02salt",
        &[b'P'; 300],
    ] {
        assert!(plugin.more(&login, NOTHING, wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn caching_sha2_fast() {
    let plugin = plugin(b"caching_sha2_password").unwrap();
    let login = login(SHA2_FAST_NONCE);
    assert_eq!(plugin.answer(&login).unwrap(), SHA2_FAST_ANSWER);
    assert_eq!(plugin.more(&login, SHA2_FAST_ANSWER, &[3]), Ok(None));

    let done = Check::Granted(Some(vec![3]));
    for (credential, expected) in [
        (Credential::password(PASSWORD), done.clone()),
        (Credential::sha2_double(PASSWORD), done),
        (Credential::sha2(PASSWORD), Check::More(vec![4])),
        (Credential::native(PASSWORD), Check::More(vec![4])),
        (Credential::sha2_double(b"Secret"), Check::More(vec![4])),
        (Credential::password(b"Secret"), Check::More(vec![4])),
        (Credential::password(b""), Check::Refused),
    ] {
        let claim = claim(&credential, SHA2_FAST_NONCE);
        let check = plugin.check(&claim, NOTHING, SHA2_FAST_ANSWER);
        assert_eq!(check, Ok(expected), "{credential:?}");
    }
}

#[test]
fn caching_sha2_in_full() {
    let plugin = plugin(b"caching_sha2_password").unwrap();
    let clear = login(SHA2_NONCE);
    let answer = plugin.answer(&clear).unwrap();
    assert_eq!(answer, SHA2_ANSWER);
    let ask = plugin.more(&clear, &answer, &[4]).unwrap().unwrap();
    assert_eq!(ask, [2]);
    let sent = plugin.more(&clear, &ask, KEY).unwrap().unwrap();
    assert_eq!(sent.len(), 256);
    let pinned = Login {
        server_key: Some(KEY),
        ..clear
    };
    let sent = plugin.more(&pinned, &answer, &[4]).unwrap().unwrap();
    assert_eq!(sent.len(), 256);
    let sent = plugin.more(&secure(SHA2_NONCE), &answer, &[4]).unwrap();
    assert_eq!(sent.as_deref(), Some(&b"secret\0"[..]));

    // The password is not sent encrypted to a server that was not asked for a key, or sends none.
    for (login, said, data) in [
        (clear, &answer, KEY),
        (clear, &ask, b"no key"),
        (secure(SHA2_NONCE), &ask, KEY),
        (clear, &answer, b""),
        (clear, &answer, &[5]),
    ] {
        assert!(plugin.more(&login, said, data).is_err(), "{data:?}");
    }
    let answer = plugin.answer(&login(MARIADB_SHA2_NONCE));
    assert_eq!(answer.unwrap(), MARIADB_SHA2_ANSWER);
}

#[test]
fn caching_sha2_verified_in_full() {
    let plugin = plugin(b"caching_sha2_password").unwrap();
    let credential = Credential::sha2(PASSWORD);
    let clear = claim(&credential, SHA2_NONCE);
    let check = |claim: &Claim<'_>, said: &[u8], data: &[u8]| plugin.check(claim, said, data);
    let Ok(Check::More(key)) = check(&clear, &[4], &[2]) else {
        panic!("no key");
    };
    let encrypted = |password: &[u8]| rsa::encrypt(&key, password, SHA2_NONCE).unwrap();
    assert_eq!(
        check(&clear, &key, &encrypted(b"Secret")),
        Ok(Check::Refused)
    );
    assert_eq!(check(&clear, &key, &encrypted(b"")), Ok(Check::Refused));
    assert_eq!(check(&clear, &key, &[0; 256]), Ok(Check::Refused));
    assert_eq!(check(&clear, &key, &[2]), Ok(Check::Refused));
    assert_eq!(
        check(&clear, &[4], b"secret\0"),
        Ok(Check::Refused),
        "in clear"
    );
    assert_eq!(
        check(&clear, NOTHING, SHA2_ANSWER),
        Ok(Check::More(vec![4])),
        "nothing has been learnt"
    );
    assert_eq!(
        check(&clear, &key, &encrypted(PASSWORD)),
        Ok(Check::Granted(None))
    );
    // From now on the fast path works, with every copy of the credential.
    let copy = credential.clone();
    let again = claim(&copy, SHA2_NONCE);
    assert_eq!(
        check(&again, NOTHING, SHA2_ANSWER),
        Ok(Check::Granted(Some(vec![3])))
    );

    let fresh = Credential::sha2(PASSWORD);
    let secure = Claim {
        secure: true,
        ..claim(&fresh, SHA2_NONCE)
    };
    assert_eq!(
        check(&secure, &[4], b"secret"),
        Ok(Check::Refused),
        "no NUL"
    );
    assert_eq!(check(&secure, &[4], b"secret\0"), Ok(Check::Granted(None)));
    // A client that does not trust a unix socket asks for a key there, too.
    assert_eq!(check(&secure, &[4], &[2]), Ok(Check::More(key.clone())));
    assert_eq!(
        check(&secure, &key, &encrypted(PASSWORD)),
        Ok(Check::Granted(None))
    );
}

#[test]
fn a_password_that_another_judges() {
    let shown = |password: &[u8]| Ok(Check::Shown(Secret::new(password.to_vec())));
    let method = &caching_sha2::CachingSha2;
    let key = rsa::own_key().unwrap().public_pem().to_vec();
    let unknown = Credential::Shown { known: None };
    let claim_of = |credential| claim(credential, SHA2_NONCE);
    let full = Ok(Check::More(vec![4]));
    assert_eq!(
        method.check(&claim_of(&unknown), NOTHING, SHA2_ANSWER),
        full
    );
    assert_eq!(
        method.check(&claim_of(&unknown), NOTHING, b"\0"),
        shown(b"")
    );
    let encrypted = rsa::encrypt(&key, PASSWORD, SHA2_NONCE).unwrap();
    assert_eq!(
        method.check(&claim_of(&unknown), &key, &encrypted),
        shown(PASSWORD)
    );
    // In clear over a connection that others can read: it is not the proxy that has asked for that.
    assert_eq!(
        method.check(&claim_of(&unknown), &[4], b"secret\0"),
        Ok(Check::Refused)
    );
    let secure = Claim {
        secure: true,
        ..claim_of(&unknown)
    };
    assert_eq!(method.check(&secure, &[4], b"secret\0"), shown(b"secret"));
    let long = [&[b'x'; 257][..], b"\0"].concat();
    assert_eq!(method.check(&secure, &[4], &long), Ok(Check::Refused));
    // What was right before can be proven.
    let known = Credential::Shown {
        known: Some(Secret::new(PASSWORD.to_vec())),
    };
    let proven = Ok(Check::Granted(Some(vec![3])));
    assert_eq!(
        method.check(&claim_of(&known), NOTHING, SHA2_ANSWER),
        proven
    );
    assert_eq!(method.check(&claim_of(&known), NOTHING, &[7; 32]), full);
    // And the method that has nothing but clear text.
    assert_eq!(
        clear::Clear.check(&secure, NOTHING, b"secret\0"),
        shown(b"secret")
    );
    assert!(
        clear::Clear
            .check(&claim_of(&unknown), NOTHING, b"secret\0")
            .is_err()
    );
    assert_eq!(format!("{known:?}"), "Shown(..)");
    assert!(!known.is_password(PASSWORD), "that is not for us to say");
}

#[test]
fn the_empty_password_has_no_rounds() {
    let empty = Credential::password(b"");
    for name in [&b"mysql_native_password"[..], b"caching_sha2_password"] {
        let plugin = plugin(name).unwrap();
        let check = |said: &[u8]| plugin.check(&claim(&empty, SHA2_NONCE), NOTHING, said);
        assert_eq!(check(b""), Ok(Check::Granted(None)));
        assert_eq!(check(SHA2_ANSWER), Ok(Check::Refused));
        let without = Login {
            password: b"",
            ..login(SHA2_NONCE)
        };
        assert_eq!(plugin.answer(&without), Ok(Vec::new()));
    }
}

#[test]
fn sha256_password() {
    let plugin = plugin(b"sha256_password").unwrap();
    let clear = login(SHA256_NONCE);
    assert_eq!(plugin.answer(&clear).unwrap(), [1]);
    assert_eq!(plugin.more(&clear, &[1], KEY).unwrap().unwrap().len(), 256);
    let pinned = Login {
        server_key: Some(KEY),
        ..clear
    };
    assert_eq!(plugin.answer(&pinned).unwrap().len(), 256);
    assert!(plugin.more(&pinned, b"", KEY).is_err());
    assert_eq!(plugin.answer(&secure(SHA256_NONCE)).unwrap(), b"secret\0");
    assert!(plugin.more(&secure(SHA256_NONCE), &[1], KEY).is_err());
    let unix = Login {
        secure: true,
        ..clear
    };
    assert_eq!(plugin.answer(&unix).unwrap(), [1]);
    assert_eq!(plugin.more(&unix, &[1], KEY).unwrap().unwrap().len(), 256);
}

#[test]
fn cleartext_needs_permission_and_privacy() {
    let plugin = plugin(b"mysql_clear_password").unwrap();
    for (secure, allow_cleartext) in [(false, false), (true, false), (false, true)] {
        let login = Login {
            secure,
            allow_cleartext,
            ..login(b"")
        };
        let error = plugin.answer(&login).unwrap_err().to_string();
        assert!(error.starts_with("mysql_clear_password: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let login = Login {
        secure: true,
        allow_cleartext: true,
        ..login(b"")
    };
    assert_eq!(plugin.answer(&login).unwrap(), b"secret\0");
}

#[test]
fn clients_are_verified_by_two_methods_only() {
    let credential = Credential::password(PASSWORD);
    for plugin in PLUGINS {
        let verifies = plugin
            .check(&claim(&credential, SHA2_NONCE), NOTHING, b"x")
            .is_ok();
        let expected = ["mysql_native_password", "caching_sha2_password"];
        assert_eq!(verifies, expected.contains(&plugin.name()), "{plugin:?}");
        assert_eq!(plugin.verifies(), verifies);
    }
}

#[test]
fn nothing_shows_a_secret() {
    let shown = format!("{:?}", secure(SHA2_NONCE));
    assert_eq!(shown, "Login { secure: true, allow_cleartext: false, .. }");
    let credential = Credential::password(PASSWORD);
    let shown = format!("{:?}", claim(&credential, SHA2_NONCE));
    assert_eq!(
        shown,
        "Claim { credential: Password(..), secure: false, .. }"
    );
    let shown = format!("{:?}", Check::More(PASSWORD.to_vec()));
    assert_eq!(shown, "More");
}

fn claim<'a>(credential: &'a Credential, nonce: &'a [u8]) -> Claim<'a> {
    Claim {
        credential,
        nonce,
        secure: false,
        key: None,
    }
}
