//! Whether two settings make a difference to a text.

use super::shared::Setting;

/// Whether a text means the same if it is parsed in either of two settings. (In the schema it is: servers remember that of a
/// statement.)
pub(super) fn parses_same(text: &[u8], one: &Setting, other: &Setting) -> bool {
    if one.parses_like(other) {
        return true;
    }
    if !one.reads_like(other) {
        // Literals and parameters have the connection's character set and collation.
        return false;
    }
    let has = |of: &Setting, mode: &[u8]| {
        of.sql_mode
            .split(|byte| *byte == b',')
            .any(|one| one == mode)
    };
    let modes = [&one.sql_mode, &other.sql_mode].into_iter();
    let mut differing = modes
        .flat_map(|modes| modes.split(|byte| *byte == b','))
        .filter(|mode| has(one, mode) != has(other, mode));
    differing.all(|mode| !matters(text, mode))
}

/// Whether a mode may make a difference to a text.
fn matters(text: &[u8], mode: &[u8]) -> bool {
    let has = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    match mode {
        b"" => false,
        b"ANSI_QUOTES" => has(b"\""),
        b"NO_BACKSLASH_ESCAPES" => has(b"\\"),
        b"PIPES_AS_CONCAT" => has(b"||"),
        b"NO_UNSIGNED_SUBTRACTION" => has(b"-"),
        b"IGNORE_SPACE" => has(b" ("),
        // These stand for others, which are listed, too.
        b"ANSI" | b"TRADITIONAL" => false,
        // These are looked at when a row is written, or apply to other literals than parameters.
        b"NO_AUTO_VALUE_ON_ZERO" | b"NO_ENGINE_SUBSTITUTION" | b"PAD_CHAR_TO_FULL_LENGTH" => false,
        // A function or an expression may be resolved otherwise: what can be NULL in a strict mode, which columns may be
        // selected in a group.
        _ => has(b"(") || has(b"'") || has(b"\"") || has(b"/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(text: &str, one: &str, other: &str) -> bool {
        let of = |sql_mode: &str| Setting {
            sql_mode: sql_mode.into(),
            ..Setting::default()
        };
        parses_same(text.as_bytes(), &of(one), &of(other))
    }

    #[test]
    fn what_modes_make_of_texts() {
        assert!(same(
            "SELECT a FROM t WHERE b = ?",
            "",
            "ANSI_QUOTES,STRICT_ALL_TABLES"
        ));
        assert!(!same("SELECT \"a\"", "", "ANSI_QUOTES"));
        assert!(same(
            "SELECT \"a\"",
            "ANSI_QUOTES",
            "IGNORE_SPACE,ANSI_QUOTES"
        ));
        assert!(!same("SELECT a || ?", "PIPES_AS_CONCAT", ""));
        assert!(!same("SELECT CHARSET(?)", "STRICT_ALL_TABLES", ""));
        assert!(!same("SELECT COUNT (*)", "IGNORE_SPACE", ""));
    }

    #[test]
    fn character_sets_always_make_a_difference() {
        let latin1 = Setting {
            charset: "latin1".into(),
            ..Setting::default()
        };
        assert!(!parses_same(b"SELECT 1", &latin1, &Setting::default()));
    }
}
