//! What must hold for each text of SQL.

use dpm::sql::effects::{Action, effects};
use dpm::sql::{Kind, Mode, Tokens, digest, statement, tables};

/// The tokens cover the text, one after the other, with nothing but white space between them.
pub fn tokens(sql: &[u8], mode: Mode) {
    let is_space = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b' ' | 9..=13));
    let mut at = 0;
    let mut tokens = Tokens::new(sql, mode);
    for token in &mut tokens {
        assert!(token.from >= at && token.to > token.from && token.to <= sql.len());
        assert!(is_space(&sql[at..token.from]));
        assert!(!token.unterminated || token.to == sql.len());
        at = token.to;
    }
    assert!(is_space(&sql[at..]));
}

/// A digest is its own digest.
pub fn digests(sql: &[u8], mode: Mode) {
    let once = digest(sql, mode);
    let twice = digest(&once.text, mode);
    assert_eq!((&once.text, once.hash), (&twice.text, twice.hash));
}

/// What is proven of a text without knowing the session's modes holds in each of them, and nothing proves
/// that a text with a DELETE in it only reads.
pub fn proofs(sql: &[u8], mode: Mode) {
    let known = statement(sql, mode);
    if let (Some(unknown), Some(known)) = (statement(sql, Mode::default()), known) {
        let fails = Tokens::new(sql, mode).any(|token| token.unterminated);
        assert!(!unknown.read_only || known.read_only || fails);
        assert!(!unknown.explainable || known.explainable || fails);
    }
    if let Some(known) = known {
        assert!(known.main_from <= sql.len());
    }
    let last = Tokens::new(sql, mode).last();
    let is_open = last.is_some_and(|last| last.unterminated || last.kind == Kind::Comment);
    if !is_open {
        let sql = [sql, b"\n;\nDELETE FROM t"].concat();
        assert!(!statement(&sql, mode).is_some_and(|found| found.read_only));
    }
}

/// What a text does to its session.
pub fn effect(sql: &[u8], mode: Mode) {
    let found = effects(sql, mode);
    // What may have several results ends the list, but for what may not be understood: anything follows that.
    let rest = found
        .iter()
        .skip_while(|one| !one.action.may_be_anything())
        .skip(1);
    assert!(rest.clone().all(|one| one.action == Action::Opaque) && rest.count() <= 1);
    assert!(found.iter().map(|one| one.size()).sum::<usize>() <= 4096 + 512 * sql.len());
}

/// No table is missing: that of a statement behind the text is found, or it is said why it may not be.
pub fn found_tables(sql: &[u8], mode: Mode) {
    let last = Tokens::new(sql, mode).last();
    let is_open = last.is_some_and(|last| last.unterminated || last.kind == Kind::Comment);
    let sql = [sql, b"\n;\nSELECT * FROM a, (b JOIN secret)"].concat();
    let found = tables(&sql, mode);
    let names = found.tables.iter().any(|(name, _)| name.name == b"secret");
    assert!(is_open || names || found.unknown.is_some());
}

/// All of it.
pub fn all(sql: &[u8], mode: Mode) {
    tokens(sql, mode);
    digests(sql, mode);
    proofs(sql, mode);
    effect(sql, mode);
    found_tables(sql, mode);
}
