use super::*;

const ESCAPES: Mode = Mode {
    no_backslash_escapes: Some(false),
    ansi_quotes: Some(false),
    plain_charset: true,
};
const NO_ESCAPES: Mode = Mode {
    no_backslash_escapes: Some(true),
    ..ESCAPES
};
const ANSI: Mode = Mode {
    ansi_quotes: Some(true),
    ..ESCAPES
};

/// Each token as its kind's letter and its text; `!` behind one that is unterminated.
fn show(sql: &str, mode: Mode) -> String {
    let tokens = Tokens::new(sql.as_bytes(), mode).map(|token| {
        let letter = match token.kind {
            Kind::Word => 'w',
            Kind::Quoted => 'q',
            Kind::String => 's',
            Kind::Number => 'n',
            Kind::Placeholder => 'p',
            Kind::Variable => 'v',
            Kind::Operator => 'o',
            Kind::Comment => 'c',
            Kind::VersionComment => '!',
        };
        let mark = if token.unterminated { "…" } else { "" };
        format!("{letter}{}{mark}", &sql[token.from..token.to])
    });
    tokens.collect::<Vec<_>>().join(" | ")
}

#[track_caller]
fn check(mode: Mode, cases: &[(&str, &str)]) {
    for (sql, wanted) in cases {
        assert_eq!(show(sql, mode), *wanted, "{sql}");
    }
}

#[test]
fn strings_end_where_their_mode_has_it() {
    check(
        ESCAPES,
        &[
            ("'x' y", "s'x' | wy"),
            ("'it''s' y", "s'it''s' | wy"),
            (r"'a\'b' y", r"s'a\'b' | wy"),
            (r"'a\\' y", r"s'a\\' | wy"),
            (r"'a\\\' y", r"s'a\\\' y…"),
            (r#""a\"b""c" y"#, r#"s"a\"b""c" | wy"#),
            ("'a' 'b'", "s'a' | s'b'"),
            ("'a''", "s'a''…"),
            ("'", "s'…"),
            (r"'\", r"s'\…"),
            ("'a\nb\0c'", "s'a\nb\0c'"),
            ("'-- /* # ;'", "s'-- /* # ;'"),
            (
                "_utf8mb4'x' N'x' n'x' x'AB' X'ab' b'01'",
                "w_utf8mb4 | s'x' | sN'x' | sn'x' | sx'AB' | sX'ab' | sb'01'",
            ),
            ("x 'AB' xx'AB'", "wx | s'AB' | wxx | s'AB'"),
        ],
    );
    check(
        NO_ESCAPES,
        &[
            (r"'a\' y", r"s'a\' | wy"),
            (r"'a\'' y", r"s'a\'' y…"),
            (r#""a\" y"#, r#"s"a\" | wy"#),
            (r"'\\' y", r"s'\\' | wy"),
        ],
    );
    check(
        ANSI,
        &[
            (r#""x" 'y'"#, r#"q"x" | s'y'"#),
            (r#""a""b\" y"#, r#"q"a""b\" | wy"#),
            (r#"'a\'b' y"#, r"s'a\'b' | wy"),
            (r#"@"x" y"#, r#"v@"x" | wy"#),
        ],
    );
}

#[test]
fn names_and_variables() {
    check(
        ESCAPES,
        &[
            ("`a` `a``b` `", "q`a` | q`a``b` | q`…"),
            (r"`a\` b", r"q`a\` | wb"),
            ("`a'b` '", "q`a'b` | s'…"),
            ("größe $x _y a$b", "wgröße | w$x | w_y | wa$b"),
            ("t.a `t`.a", "wt | o. | wa | q`t` | o. | wa"),
            ("t.select.1a.5", "wt | o. | wselect | o. | w1a | o. | w5"),
            ("t.x'AB'", "wt | o. | wx | s'AB'"),
            (
                "1a 1e 0x 0xg 0XAB 1_",
                "w1a | w1e | w0x | w0xg | w0XAB | w1_",
            ),
            (
                "@x @X.y @`a b` @'a b' @$",
                "v@x | v@X.y | v@`a b` | v@'a b' | v@$",
            ),
            (
                "@@x @@global.x @@`x` @@global.`x`",
                "v@@x | v@@global.x | v@@`x` | v@@global.`x`",
            ),
            ("@ x @", "o@ | wx | o@"),
            ("'u'@'h' u@localhost", "s'u' | v@'h' | wu | v@localhost"),
            (r"\N \n", r"w\N | o\ | wn"),
        ],
    );
}

#[test]
fn numbers() {
    check(
        ESCAPES,
        &[
            (
                "1 1.5 .5 1. 1e10 1e+10 1E-10 1.5e3",
                "n1 | n1.5 | n.5 | n1. | n1e10 | n1e+10 | n1E-10 | n1.5e3",
            ),
            ("0xAB 0b01 0b2", "n0xAB | n0b01 | w0b2"),
            ("-1 +1 1-1", "o- | n1 | o+ | n1 | n1 | o- | n1"),
            ("1e5a 1.5a 1.a", "n1e5 | wa | n1.5 | wa | n1. | wa"),
            ("1e+ 1.e+", "w1e | o+ | n1. | we | o+"),
            ("1..5 t .5", "n1 | o. | n.5 | wt | n.5"),
            ("(1)", "o( | n1 | o)"),
        ],
    );
}

#[test]
fn comments() {
    check(
        ESCAPES,
        &[
            ("a -- b\nc", "wa | c-- b | wc"),
            ("a --\tb\nc", "wa | c--\tb | wc"),
            ("a --", "wa | c--"),
            ("a --\u{1}b", "wa | c--\u{1}b"),
            ("a --b", "wa | o- | o- | wb"),
            ("1--1", "n1 | o- | o- | n1"),
            ("a # b\nc", "wa | c# b | wc"),
            ("a # b\r c", "wa | c# b\r c"),
            ("a # b\0c", "wa | c# b | o\0 | wc"),
            ("a /* b */ c", "wa | c/* b */ | wc"),
            ("a/**/c", "wa | c/**/ | wc"),
            ("/*/ a */ b", "c/*/ a */ | wb"),
            ("/* /* */ */", "c/* /* */ | o* | o/"),
            ("/* ' */ b", "c/* ' */ | wb"),
            ("/*", "c/*…"),
            ("a /* *", "wa | c/* *…"),
            ("select /*+ x(t) */ 1", "wselect | c/*+ x(t) */ | n1"),
        ],
    );
}

#[test]
fn contents_of_version_comments_are_code() {
    check(
        ESCAPES,
        &[
            ("/*! a */ b", "!/*! | wa | !*/ | wb"),
            ("/*!50000 a*/b", "!/*!50000 | wa | !*/ | wb"),
            ("/*!50000a */", "!/*!50000 | wa | !*/"),
            ("/*!100100 a */", "!/*!100100 | wa | !*/"),
            ("/*!1001000 a */", "!/*!100100 | n0 | wa | !*/"),
            ("/*!1234 a */", "!/*! | n1234 | wa | !*/"),
            ("/*M! a */", "!/*M! | wa | !*/"),
            ("/*M!100100 a */", "!/*M!100100 | wa | !*/"),
            ("/*m! a */", "c/*m! a */"),
            (
                "/*! a /* b */ c */ d",
                "!/*! | wa | c/* b */ | wc | !*/ | wd",
            ),
            ("/*! '*/' */ d", "!/*! | s'*/' | !*/ | wd"),
            ("/*! 2*/ 3", "!/*! | n2 | !*/ | n3"),
            ("2 */ 3", "n2 | o* | o/ | n3"),
        ],
    );
    let mut tokens = Tokens::new(b"/*! a", ESCAPES);
    tokens.by_ref().for_each(drop);
    assert!(tokens.in_version_comment());
}

#[test]
fn operators() {
    check(
        ESCAPES,
        &[
            (
                "a<=>b<=c>=d<>e!=f",
                "wa | o<=> | wb | o<= | wc | o>= | wd | o<> | we | o!= | wf",
            ),
            (
                "a<<1>>2&&b||c",
                "wa | o<< | n1 | o>> | n2 | o&& | wb | o|| | wc",
            ),
            ("a->'$.x'->>'$.y'", "wa | o-> | s'$.x' | o->> | s'$.y'"),
            ("@a:=1", "v@a | o:= | n1"),
            (
                "a=?,!~^%|&",
                "wa | o= | p? | o, | o! | o~ | o^ | o% | o| | o&",
            ),
            ("a;b", "wa | o; | wb"),
            ("...", "o..."),
        ],
    );
}

#[test]
fn doubts() {
    let unknown = Mode::default();
    for (sql, wanted) in [
        (
            &b"select 'it''s', 'a\\n', `b`, x from t where y > -1 -- z"[..],
            Doubts::empty(),
        ),
        (b"'a\\'b'", Doubts::ESCAPED_QUOTE),
        (b"'a\\\"b'", Doubts::empty()),
        (b"'a\"b'", Doubts::empty()),
        (b"\"a\"", Doubts::DOUBLE_QUOTE),
        (b"/*! a */ /*!50600 b */", Doubts::empty()),
        (b"/*!50601 a */", Doubts::CONDITIONAL),
        (b"/*!050000 a */", Doubts::CONDITIONAL),
        (b"/*M! a */", Doubts::CONDITIONAL),
        (b"'\xBF\\'", Doubts::CHARSET | Doubts::ESCAPED_QUOTE),
        (b"'\xBF\\n'", Doubts::CHARSET),
        (b"`\xBF`", Doubts::CHARSET),
        (b"a\xBF`b`", Doubts::CHARSET),
        (b"--\xA0", Doubts::CHARSET),
        ("'größe', größe, `größe` -- ö".as_bytes(), Doubts::empty()),
        (b"a\0", Doubts::ODD),
        (b"'a\0' -- b", Doubts::empty()),
        (b"1.e(", Doubts::ODD),
        (b"[a]", Doubts::ODD),
        (b"/*+ qb_name(`*/`) */", Doubts::ODD),
        (b"/*+ qb_name(x) */", Doubts::empty()),
    ] {
        let mut tokens = Tokens::new(sql, unknown);
        tokens.by_ref().for_each(drop);
        assert_eq!(tokens.doubts(), wanted, "{}", sql.escape_ascii());
    }
}

/// Each of these would take minutes if something began anew at each of its bytes.
#[test]
fn hostile_texts_take_linear_time() {
    for piece in [
        "(", "'", "\\'", "/*", "/*!", "`", "``", "--", "@", "@@a.", "a.", "...", "1.", "- ",
        "(1),", "\u{e9}`", "\"\\\"'",
    ] {
        let sql = piece.repeat(100_000);
        let begun = std::time::Instant::now();
        super::super::digest(sql.as_bytes(), Mode::default());
        super::super::statement(sql.as_bytes(), Mode::default());
        assert!(begun.elapsed().as_secs() < 10, "{piece}");
    }
}

#[test]
fn texts_are_trimmed_to_their_statements() {
    for (sql, wanted) in [
        ("", ""),
        (" -- nothing", ""),
        (";; /* a */ ;", ""),
        (" SELECT 1 ;\n", "SELECT 1"),
        ("/* a */ -- b\n# c\nCOMMIT /* d */; -- e", "COMMIT"),
        (
            "SELECT 1; /* a */ SELECT ';' -- b",
            "SELECT 1; /* a */ SELECT ';'",
        ),
        ("/*!40101 SET NAMES utf8 */;", "/*!40101 SET NAMES utf8 */"),
        ("SELECT '-- a", "SELECT '-- a"),
    ] {
        assert_eq!(trim(sql.as_bytes(), ESCAPES), wanted.as_bytes(), "{sql}");
    }
}
