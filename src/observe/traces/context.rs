//! The context of a trace, as programs hand it on: W3C's `traceparent`.
//!
//! A client gives it in a comment of its query, in the form of sqlcommenter (`/*traceparent='00-…-01'*/`), or as an attribute of
//! the query. It is the client's text: what is not exactly a context is no context, and only its bits are ever used again.

use memchr::memmem;

use crate::sql::{self, Mode};

/// The name of a comment's key and of an attribute.
pub(super) const NAME: &[u8] = b"traceparent";

/// How long a context is as text in the version that is known, and in what later ones begin with.
const LEN: usize = 55;

/// Beyond this many bytes of a text no context is looked for.
const LOOKED_AT: usize = 1 << 20;

/// A trace, and a span of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Context {
    pub trace: [u8; 16],
    pub span: [u8; 8],
    /// Whether the trace is recorded.
    pub sampled: bool,
}

/// What a query says of the trace that it is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    Nothing,
    /// Something that is no context.
    Invalid,
    Parent(Context),
}

impl Context {
    /// Reads `00-<trace>-<span>-<flags>`, all in small hexadecimal digits.
    pub fn parse(text: &[u8]) -> Option<Context> {
        let (known, rest) = text.split_at_checked(LEN)?;
        let [v0, v1, b'-', ids @ .., b'-', f0, f1] = known else {
            return None;
        };
        let version = byte(*v0, *v1)?;
        // Later versions may have more behind it.
        let is_whole = match version {
            0 => rest.is_empty(),
            0xFF => false,
            _ => rest.first().is_none_or(|next| *next == b'-'),
        };
        let (trace, span) = ids.split_at_checked(32)?;
        let context = Context {
            trace: hex(trace)?,
            span: hex(span.strip_prefix(b"-")?)?,
            sampled: byte(*f0, *f1)? & 1 == 1,
        };
        let is_something = context.trace != [0; 16] && context.span != [0; 8];
        (is_whole && is_something).then_some(context)
    }

    /// Appends it as text.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"00-");
        write_hex(&self.trace, out);
        out.push(b'-');
        write_hex(&self.span, out);
        out.extend_from_slice(if self.sampled { b"-01" } else { b"-00" });
    }
}

/// What the comments of a text say. Of several contexts the last one counts, as who is nearest to the server has added his at
/// the end.
pub(super) fn in_comments(text: &[u8]) -> Given {
    let mut given = Given::Nothing;
    if text.len() > LOOKED_AT || memmem::find(text, NAME).is_none() {
        return given;
    }
    for comment in sql::comments(text, Mode::default()) {
        for pair in comment.split(|byte| *byte == b',') {
            let pair = pair.trim_ascii();
            let Some(value) = pair.strip_prefix(NAME) else {
                continue;
            };
            let Some(value) = value.trim_ascii_start().strip_prefix(b"=") else {
                continue;
            };
            let value = value.trim_ascii();
            let quoted = value
                .strip_prefix(b"'")
                .and_then(|rest| rest.strip_suffix(b"'"));
            given = of_value(quoted.unwrap_or(value));
        }
    }
    given
}

/// What a value says.
pub(super) fn of_value(value: &[u8]) -> Given {
    Context::parse(value).map_or(Given::Invalid, Given::Parent)
}

/// Whether the name occurs in what is before the text of a command.
pub(super) fn is_mentioned(bytes: &[u8]) -> bool {
    bytes.len() <= LOOKED_AT && memmem::find(bytes, NAME).is_some()
}

fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (to, [high, low]) in bytes.iter_mut().zip(pairs) {
        *to = byte(*high, *low)?;
    }
    Some(bytes)
}

fn byte(high: u8, low: u8) -> Option<u8> {
    Some(digit(high)? << 4 | digit(low)?)
}

fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Appends bytes in hexadecimal digits.
pub(super) fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.extend(DIGITS.get(usize::from(digit)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn context() -> Context {
        Context::parse(GOOD.as_bytes()).unwrap()
    }

    #[test]
    fn contexts_are_read_and_written() {
        let context = context();
        assert_eq!(context.trace[..2], [0x0a, 0xf7]);
        assert!(context.sampled);
        let mut text = Vec::new();
        context.write(&mut text);
        assert_eq!(text, GOOD.as_bytes());
        // Of the flags only one bit is known.
        let flags = GOOD.replace("-01", "-ff");
        assert!(Context::parse(flags.as_bytes()).unwrap().sampled);
        // Later versions may say more.
        for more in ["", "-x"] {
            let later = format!("cc{}{more}", &GOOD[2..]);
            assert_eq!(Context::parse(later.as_bytes()), Some(context));
        }
    }

    #[test]
    fn what_is_no_context() {
        for text in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            "00-0af7651916cd43dd8448eb211c80319c*/b7ad6b7169203331-1",
        ] {
            assert_eq!(Context::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn comments_are_looked_at() {
        let parent = Given::Parent(context());
        for (sql, given) in [
            ("SELECT 1 /*traceparent='GOOD'*/".to_string(), parent),
            (
                "SELECT 1 /*db_driver='x',traceparent='GOOD',tracestate='a%3Db'*/".into(),
                parent,
            ),
            ("/* traceparent=GOOD */ SELECT 1".into(), parent),
            ("SELECT 1 -- traceparent='GOOD'".into(), parent),
            ("SELECT 1".into(), Given::Nothing),
            ("SELECT '/*traceparent=\\'GOOD\\'*/'".into(), Given::Nothing),
            (
                "SELECT traceparent FROM t /* none */".into(),
                Given::Nothing,
            ),
            ("SELECT 1 /*xtraceparent='GOOD'*/".into(), Given::Nothing),
            ("SELECT 1 /*traceparent='GOOD*/".into(), Given::Invalid),
            ("SELECT 1 /*traceparent='00-zz'*/".into(), Given::Invalid),
            (
                "/*traceparent='00-zz'*/ SELECT 1 /*traceparent='GOOD'*/".into(),
                parent,
            ),
        ] {
            let sql = sql.replace("GOOD", GOOD);
            assert_eq!(in_comments(sql.as_bytes()), given, "{sql}");
        }
    }

    #[test]
    fn hostile_texts_take_linear_time() {
        let begun = Instant::now();
        for piece in [
            "/*traceparent='*/",
            "/*traceparent=",
            "traceparent",
            "/*",
            ",traceparent",
        ] {
            let sql = piece.repeat(LOOKED_AT / piece.len());
            in_comments(sql.as_bytes());
            in_comments(format!("/*{sql}*/").as_bytes());
        }
        // (Debug builds take a fraction of a second; what is not linear takes minutes.)
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Context::parse(&text);
            let _ = in_comments(&[b"/*traceparent=", &text[..], b"*/"].concat());
        }

        #[test]
        fn what_is_read_is_what_was_written(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), sampled in any::<bool>()) {
            let context = Context { trace, span, sampled };
            let mut text = Vec::new();
            context.write(&mut text);
            let is_something = trace != [0; 16] && span != [0; 8];
            prop_assert_eq!(Context::parse(&text), is_something.then_some(context));
        }
    }
}
