//! Rust's source text as words and paths, as far as rules about files need it.

/// Blanks what is not code; lines stay where they are.
pub fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' | 'b' | 'c' if !after_word => raw_string(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (literal, behind) = rest.split_at(skipped);
        code.push(' ');
        code.extend(literal.chars().filter(|c| *c == '\n'));
        rest = behind;
    }
    code
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let bytes = rest.as_bytes();
    let mut at = 0;
    while let Some(pair) = bytes.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `r"…"`, `br#"…"#` and the like; 0 if it is none.
fn raw_string(rest: &str) -> usize {
    let prefix = rest.len() - rest.trim_start_matches(['b', 'c']).len();
    let Some(behind) = rest[prefix..].strip_prefix('r') else {
        return 0;
    };
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let Some(body) = behind[hashes..].strip_prefix('"') else {
        return 0;
    };
    let end = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - body.len();
    body.find(&end)
        .map_or(rest.len(), |at| start + at + end.len())
}

/// `'x'` or `'\n'`; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    let Some((_, first)) = chars.next() else {
        return 0;
    };
    if first == '\\' {
        return rest[3..].find('\'').map_or(0, |at| 3 + at + 1);
    }
    match chars.next() {
        Some((at, '\'')) => at + 1,
        _ => 0,
    }
}

#[derive(Clone, Copy)]
pub struct Token<'a> {
    pub line: usize,
    pub text: &'a str,
}

/// Words, `::`, and each other character by itself.
pub fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (text, behind) = rest.split_at(len);
            tokens.push(Token {
                line: number + 1,
                text,
            });
            rest = behind.trim_start();
        }
    }
    tokens
}

/// Every path in the code with its line, `a::{b, c::d}` written out. A lone word is one, too.
pub fn paths(tokens: &[Token<'_>]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = path(tokens, at, "", &mut found);
    }
    found
}

/// Takes the path that begins at `at`, inside of `prefix`; returns where it ends.
fn path(
    tokens: &[Token<'_>],
    mut at: usize,
    prefix: &str,
    found: &mut Vec<(usize, String)>,
) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let is_word = |at: usize| text(at).starts_with(|c: char| c.is_alphanumeric() || c == '_');
    if !is_word(at) {
        return at + 1;
    }
    let line = tokens[at].line;
    let mut whole = format!("{prefix}{}", text(at));
    at += 1;
    while text(at) == "::" {
        if is_word(at + 1) {
            whole = format!("{whole}::{}", text(at + 1));
            at += 2;
            continue;
        }
        if text(at + 1) != "{" {
            break;
        }
        at += 2;
        while at < tokens.len() && text(at) != "}" {
            at = path(tokens, at, &format!("{whole}::"), found);
            while at < tokens.len() && !matches!(text(at), "," | "}") {
                at += 1;
            }
            if text(at) == "," {
                at += 1;
            }
        }
        return at + 1;
    }
    found.push((line, whole));
    at
}

/// What a `use` declaration brings in.
pub struct Import {
    pub path: String,
    pub name: String,
    /// Handed on: `pub use`.
    pub exported: bool,
}

/// All that the `use` declarations bring in, `*` apart.
pub fn imports(tokens: &[Token<'_>]) -> Vec<Import> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.text == "use" {
            let before = at.checked_sub(1).and_then(|at| tokens.get(at));
            let exported = before.is_some_and(|before| matches!(before.text, "pub" | ")"));
            use_tree(tokens, at + 1, "", exported, &mut found);
        }
    }
    found
}

/// Takes the part of a `use` declaration that begins at `at`, inside of `prefix`; returns where it ends.
fn use_tree(
    tokens: &[Token<'_>],
    mut at: usize,
    prefix: &str,
    exported: bool,
    found: &mut Vec<Import>,
) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut path = prefix.to_string();
    loop {
        match text(at) {
            "{" => {
                at += 1;
                while !matches!(text(at), "}" | "") {
                    at = use_tree(tokens, at, &path, exported, found);
                    at += usize::from(text(at) == ",");
                }
                return at + 1;
            }
            "*" | "" => return at + 1,
            "self" if !path.is_empty() => {}
            word if path.is_empty() => path = word.to_string(),
            word => path = format!("{path}::{word}"),
        }
        at += 1;
        if text(at) != "::" {
            break;
        }
        at += 1;
    }
    let mut name = path.rsplit("::").next().unwrap_or_default();
    if text(at) == "as" {
        name = text(at + 1);
        at += 2;
    }
    found.push(Import {
        name: name.to_string(),
        path,
        exported,
    });
    at
}

/// Leaves out each item under `#[cfg(test)]`; the modules among them that have files of their own are named.
pub fn without_tests(tokens: Vec<Token<'_>>) -> (Vec<Token<'_>>, Vec<&str>) {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut kept = Vec::new();
    let mut modules = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !(0..MARK.len()).all(|offset| text(at + offset) == MARK[offset]) {
            kept.push(tokens[at]);
            at += 1;
            continue;
        }
        at += MARK.len();
        let mut depth = 0_usize;
        while at < tokens.len() {
            match text(at) {
                "mod" if depth == 0 && text(at + 2) == ";" => modules.push(text(at + 1)),
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            at += 1;
            if depth == 0 && matches!(text(at - 1), ";" | "}") {
                break;
            }
        }
    }
    (kept, modules)
}

#[test]
fn the_scan_sees_code_and_nothing_else() {
    let text = r##"
//! [doc](crate::doc)
use crate::{
    net::{Poller, Stream as S},
    wire, /* crate::comment /* nested */ crate::still */
};
fn f<'a>(x: &'a str) -> char {
    let _ = ("crate::string \" crate::quoted", r#"crate::raw "#, b'"', '\'', br"crate::bytes");
    std::io::stdout().lock(); // crate::line
    'b'
}
"##;
    let code = without_comments_and_literals(text);
    assert_eq!(code.lines().count(), text.lines().count());
    let found = paths(&tokens(&code));
    let crate_paths: Vec<_> = found
        .iter()
        .filter(|(_, path)| path.starts_with("crate"))
        .map(|(line, path)| (*line, path.as_str()))
        .collect();
    assert_eq!(
        crate_paths,
        [
            (4, "crate::net::Poller"),
            (4, "crate::net::Stream"),
            (5, "crate::wire"),
        ]
    );
    assert!(found.contains(&(9, "std::io::stdout".to_string())));
}
