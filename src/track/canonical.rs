//! The value that a server makes of the literal that a system variable is set to, where that is
//! certain.

/// `ON` and `OFF` in all their spellings.
const BOOLEANS: &[&str] = &[
    "check_constraint_checks",
    "foreign_key_checks",
    "sql_auto_is_null",
    "sql_big_selects",
    "sql_notes",
    "sql_quote_show_create",
    "sql_safe_updates",
    "sql_warnings",
    "unique_checks",
];

/// Not `utf8`, whose meaning differs.
const CHARSETS: &[&str] = &[
    "ascii", "big5", "binary", "cp1250", "cp1251", "cp932", "euckr", "gb2312", "gbk", "latin1",
    "latin2", "sjis", "ujis", "utf8mb3", "utf8mb4",
];

const LEVELS: &[&str] = &[
    "READ-UNCOMMITTED",
    "READ-COMMITTED",
    "REPEATABLE-READ",
    "SERIALIZABLE",
];

/// A variable's value after it was set to this literal. `None`: it is not certain.
pub(super) fn value(name: &str, literal: &[u8]) -> Option<Option<Vec<u8>>> {
    let text = std::str::from_utf8(literal).ok()?;
    let lower = text.to_ascii_lowercase();
    let is_null = lower == "null";
    let known = |text: &str| Some(Some(text.as_bytes().to_vec()));
    match name {
        "character_set_results" if is_null => Some(None),
        "character_set_client" | "character_set_connection" | "character_set_results" => {
            known(charset(&lower)?)
        }
        "collation_connection" => known(collation(&lower)?),
        "time_zone" if lower == "system" => known("SYSTEM"),
        "time_zone" => is_offset(literal).then(|| Some(literal.to_vec())),
        "transaction_isolation" => {
            let upper = text.to_ascii_uppercase();
            known(LEVELS.iter().find(|level| **level == upper)?)
        }
        _ if BOOLEANS.contains(&name) => match &*lower {
            "0" | "off" | "false" => known("OFF"),
            "1" | "on" | "true" => known("ON"),
            _ => None,
        },
        _ => None,
    }
}

/// The name of a character set, if it has no other.
pub(super) fn charset(lower: &str) -> Option<&'static str> {
    CHARSETS.iter().find(|known| **known == lower).copied()
}

/// The name of a collation, if it begins with the name of its character set, and that has no other
/// name.
fn collation(lower: &str) -> Option<&str> {
    let of = charset(lower.split('_').next()?)?;
    // `utf8mb4_uca1400_ai_ci` and similar, but not their aliases.
    (lower == "binary" || lower.len() > of.len()).then_some(lower)
}

/// The character set of a collation that is named after it.
pub(super) fn charset_of(collation: &[u8]) -> Option<&'static str> {
    let lower = std::str::from_utf8(collation).ok()?.to_ascii_lowercase();
    charset(lower.split('_').next()?)
}

/// The character set and, if all servers agree on it, the collation that a login asks for by number.
/// If the default collation of a character set is asked for, servers may use another default.
pub(super) fn of_login(id: u8, is_mariadb: bool) -> Option<(&'static str, Option<&'static str>)> {
    let exact = |collation| (!is_mariadb).then_some(collation);
    Some(match id {
        8 => ("latin1", exact("latin1_swedish_ci")),
        11 => ("ascii", exact("ascii_general_ci")),
        33 => ("utf8mb3", exact("utf8mb3_general_ci")),
        45 => ("utf8mb4", exact("utf8mb4_general_ci")),
        46 => ("utf8mb4", Some("utf8mb4_bin")),
        47 => ("latin1", Some("latin1_bin")),
        48 => ("latin1", Some("latin1_general_ci")),
        63 => ("binary", Some("binary")),
        83 => ("utf8mb3", Some("utf8mb3_bin")),
        192 => ("utf8mb3", Some("utf8mb3_unicode_ci")),
        224 => ("utf8mb4", Some("utf8mb4_unicode_ci")),
        255 if !is_mariadb => ("utf8mb4", Some("utf8mb4_0900_ai_ci")),
        _ => return None,
    })
}

/// `+02:00`, but not `-00:00`, which is another.
fn is_offset(text: &[u8]) -> bool {
    match text {
        b"-00:00" => false,
        [b'+' | b'-', a, b, b':', c, d] => [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_certain_and_what_is_not() {
        let value = |name, literal: &str| {
            let made = value(name, literal.as_bytes())?;
            Some(made.map(|made| String::from_utf8(made).unwrap()))
        };
        let known = |text: &str| Some(Some(text.to_string()));
        assert_eq!(value("time_zone", "+02:00"), known("+02:00"));
        assert_eq!(value("time_zone", "system"), known("SYSTEM"));
        assert_eq!(value("time_zone", "+2:00"), None);
        assert_eq!(value("time_zone", "-00:00"), None);
        assert_eq!(value("time_zone", "Europe/Berlin"), None);
        assert_eq!(value("foreign_key_checks", "0"), known("OFF"));
        assert_eq!(value("unique_checks", "On"), known("ON"));
        assert_eq!(value("character_set_client", "UTF8MB4"), known("utf8mb4"));
        assert_eq!(value("character_set_client", "utf8"), None);
        assert_eq!(value("character_set_results", "NULL"), Some(None));
        assert_eq!(
            value("collation_connection", "utf8mb4_BIN"),
            known("utf8mb4_bin")
        );
        assert_eq!(value("collation_connection", "utf8_bin"), None);
        assert_eq!(value("collation_connection", "uca1400_ai_ci"), None);
        assert_eq!(
            value("transaction_isolation", "read-committed"),
            known("READ-COMMITTED")
        );
        assert_eq!(value("sql_mode", "ANSI"), None);
        assert_eq!(charset_of(b"latin1_swedish_ci"), Some("latin1"));
    }
}
