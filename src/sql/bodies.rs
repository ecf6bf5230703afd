//! Stored routines and triggers: where the body begins in what SHOW CREATE shows, and the statements and
//! expressions in a body. MariaDB's Oracle mode is not among what is understood.

use super::tokens::{Kind, Token, Tokens};
use super::{Mode, words};

/// The most parts of one body that are examined.
const MAX_PARTS: usize = 20_000;

/// A piece of a body.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A statement as a client could send it, but that names may be local variables, or columns of NEW.
    Statement(&'a [u8]),
    /// An expression, or what contains some: of IF, RETURN, DECLARE … DEFAULT.
    Expression(&'a [u8]),
}

/// A token that is code, with its text.
#[derive(Copy, Clone, Debug)]
struct Item<'a> {
    token: Token,
    text: &'a [u8],
}

impl Item<'_> {
    fn is(&self, word: &str) -> bool {
        self.token.kind == Kind::Word && self.text.eq_ignore_ascii_case(word.as_bytes())
    }

    fn is_one(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    fn is_operator(&self, operator: &str) -> bool {
        self.token.kind == Kind::Operator && self.text == operator.as_bytes()
    }
}

/// The tokens of a text; `None` if servers may read it in different ways.
fn items(sql: &[u8], mode: Mode) -> Option<Vec<Item<'_>>> {
    let mut tokens = Tokens::new(sql, mode);
    let mut items = Vec::new();
    for token in tokens.by_ref() {
        if token.unterminated {
            return None;
        }
        if token.kind.is_code() {
            let text = sql.get(token.from..token.to)?;
            items.push(Item { token, text });
        }
    }
    let is_certain = !mode.is_in_doubt(tokens.doubts()) && !tokens.in_version_comment();
    is_certain.then_some(items)
}

/// The body in what SHOW CREATE PROCEDURE, FUNCTION or TRIGGER shows.
pub fn body(create: &[u8], mode: Mode) -> Option<&[u8]> {
    let items = items(create, mode)?;
    let kind = |item: &Item<'_>| item.is_one(&["PROCEDURE", "FUNCTION", "TRIGGER"]);
    let place = items.iter().position(kind)?;
    let is_trigger = items.get(place)?.is("TRIGGER");
    let rest = items.get(place + 1..)?;
    let rest = match is_trigger {
        true => after_each_row(rest)?,
        false => after_characteristics(after_parameters(rest)?)?,
    };
    create.get(rest.first()?.token.from..)
}

fn after_each_row<'a, 'b>(items: &'b [Item<'a>]) -> Option<&'b [Item<'a>]> {
    let row = items.windows(3).position(|three| {
        matches!(three, [one, two, row] if one.is("FOR") && two.is("EACH") && row.is("ROW"))
    })?;
    let rest = items.get(row + 3..)?;
    match rest {
        [order, _, rest @ ..] if order.is_one(&["FOLLOWS", "PRECEDES"]) => Some(rest),
        _ => Some(rest),
    }
}

/// What follows the parentheses.
fn after_parameters<'a, 'b>(items: &'b [Item<'a>]) -> Option<&'b [Item<'a>]> {
    let open = items.iter().position(|item| item.is_operator("("))?;
    let close = closing(items.get(open..)?)?;
    items.get(open + close + 1..)
}

/// The place of the parenthesis that closes the one at the beginning.
fn closing(items: &[Item<'_>]) -> Option<usize> {
    let mut depth = 0_usize;
    items.iter().position(|item| {
        if item.is_operator("(") {
            depth += 1;
        } else if item.is_operator(")") {
            depth = depth.saturating_sub(1);
            return depth == 0;
        }
        false
    })
}

/// What follows the type and the characteristics of a routine.
fn after_characteristics<'a, 'b>(mut items: &'b [Item<'a>]) -> Option<&'b [Item<'a>]> {
    if let [returns, _, rest @ ..] = items
        && returns.is("RETURNS")
    {
        items = rest;
        if items.first().is_some_and(|item| item.is_operator("(")) {
            items = items.get(closing(items)? + 1..)?;
        }
        const OF_TYPE: &[&str] = &[
            "UNSIGNED",
            "ZEROFILL",
            "SIGNED",
            "BINARY",
            "PRECISION",
            "VARYING",
        ];
        loop {
            items = match items {
                [word, rest @ ..] if word.is_one(OF_TYPE) => rest,
                [word, _, rest @ ..] if word.is_one(&["CHARSET", "COLLATE"]) => rest,
                [character, set, _, rest @ ..] if character.is("CHARACTER") && set.is("SET") => {
                    rest
                }
                _ => break,
            };
        }
    }
    loop {
        items = match items {
            [word, _, rest @ ..] if word.is_one(&["COMMENT", "LANGUAGE"]) => rest,
            [not, word, rest @ ..] if not.is("NOT") && word.is("DETERMINISTIC") => rest,
            [word, rest @ ..] if word.is("DETERMINISTIC") => rest,
            [sql, security, _, rest @ ..] if sql.is("SQL") && security.is("SECURITY") => rest,
            [word, sql, data, rest @ ..]
                if word.is_one(&["READS", "MODIFIES"]) && sql.is("SQL") && data.is("DATA") =>
            {
                rest
            }
            [word, sql, rest @ ..] if word.is_one(&["CONTAINS", "NO"]) && sql.is("SQL") => rest,
            _ => return Some(items),
        };
    }
}

/// The statements and expressions of a body; `None` if it is not understood.
pub fn parts(body: &[u8], mode: Mode) -> Option<Vec<Part<'_>>> {
    let items = items(body, mode)?;
    let mut reader = Reader {
        body,
        items: &items,
        at: 0,
        parts: Vec::new(),
    };
    while reader.at < items.len() {
        reader.start()?;
        if reader.parts.len() > MAX_PARTS {
            return None;
        }
    }
    Some(reader.parts)
}

struct Reader<'a, 'b> {
    body: &'a [u8],
    items: &'b [Item<'a>],
    at: usize,
    parts: Vec<Part<'a>>,
}

impl<'a> Reader<'a, '_> {
    fn peek(&self, ahead: usize) -> Option<&Item<'_>> {
        self.items.get(self.at + ahead)
    }

    fn is_next(&self, word: &str) -> bool {
        self.peek(0).is_some_and(|item| item.is(word))
    }

    /// Reads from where a statement may begin.
    fn start(&mut self) -> Option<()> {
        let item = *self.items.get(self.at)?;
        let is_label = matches!(item.token.kind, Kind::Word | Kind::Quoted)
            && self.peek(1).is_some_and(|next| next.is_operator(":"));
        if is_label {
            self.at += 2;
            return Some(());
        }
        if item.is_operator(";") {
            self.at += 1;
            return Some(());
        }
        let word = match item.token.kind {
            Kind::Word => words::lookup(item.text).map_or("", |known| known.name),
            _ => "",
        };
        match word {
            "BEGIN" => {
                self.at += 1;
                if self.is_next("NOT") {
                    self.at += 2;
                }
            }
            "LOOP" | "REPEAT" | "ELSE" => self.at += 1,
            "IF" | "ELSEIF" | "WHEN" => self.expression(&["THEN"])?,
            "CASE" => self.expression(&["WHEN"])?,
            "WHILE" | "FOR" => self.expression(&["DO"])?,
            "UNTIL" => self.expression(&["END"])?,
            "END" => self.skip_to_semicolon(),
            "DECLARE" => self.declare()?,
            "CLOSE" | "FETCH" | "ITERATE" | "LEAVE" | "OPEN" | "RESIGNAL" | "RETURN" | "SIGNAL" => {
                self.expression(&[])?;
            }
            "" => return None,
            _ => self.statement(),
        }
        Some(())
    }

    fn skip_to_semicolon(&mut self) {
        while self.peek(0).is_some_and(|item| !item.is_operator(";")) {
            self.at += 1;
        }
    }

    fn statement(&mut self) {
        let from = self.at;
        self.skip_to_semicolon();
        self.parts.extend(self.text(from).map(Part::Statement));
    }

    /// The text from an item up to the one that is next.
    fn text(&self, from: usize) -> Option<&'a [u8]> {
        let first = self.items.get(from..self.at)?.first()?;
        let last = self.items.get(self.at.checked_sub(1)?)?;
        self.body.get(first.token.from..last.token.to)
    }

    /// Behind the word that is next: an expression up to one of these words, which is taken if another part
    /// follows it, or up to the semicolon.
    fn expression(&mut self, ends: &[&str]) -> Option<()> {
        self.at += 1;
        let from = self.at;
        let mut cases = 0_usize;
        while let Some(item) = self.peek(0) {
            if item.is_operator(";") || cases == 0 && item.is_one(ends) {
                break;
            }
            if item.is("CASE") {
                cases += 1;
            } else if item.is("END") {
                cases = cases.saturating_sub(1);
            }
            self.at += 1;
        }
        self.parts.extend(self.text(from).map(Part::Expression));
        let end = self.peek(0);
        match end {
            // WHEN and END begin something themselves.
            Some(end) if end.is_one(&["THEN", "DO"]) => self.at += 1,
            Some(end) if !ends.is_empty() && end.is_operator(";") => return None,
            None if !ends.is_empty() => return None,
            _ => {}
        }
        Some(())
    }

    /// A variable with its default, a cursor with its query, a handler with its statement, a condition.
    fn declare(&mut self) -> Option<()> {
        self.at += 1;
        let is_handler = self.peek(1).is_some_and(|item| item.is("HANDLER"));
        if is_handler {
            self.at += 2;
            return self.conditions();
        }
        let is_cursor = self.peek(1).is_some_and(|item| item.is("CURSOR"));
        loop {
            let item = *self.items.get(self.at)?;
            if item.is_operator(";") {
                return Some(());
            }
            if is_cursor && item.is("FOR") {
                self.at += 1;
                self.statement();
                return Some(());
            }
            if !is_cursor && item.is("DEFAULT") {
                return self.expression(&[]);
            }
            self.at += 1;
        }
    }

    /// `FOR SQLSTATE '23000', NOT FOUND`, behind which the statement of a handler begins.
    fn conditions(&mut self) -> Option<()> {
        if !self.is_next("FOR") {
            return None;
        }
        self.at += 1;
        loop {
            match self.peek(0)? {
                item if item.is("SQLSTATE") => {
                    self.at += 1;
                    if self.is_next("VALUE") {
                        self.at += 1;
                    }
                    self.at += 1;
                }
                item if item.is("NOT") => self.at += 2,
                _ => self.at += 1,
            }
            if !self.peek(0)?.is_operator(",") {
                return Some(());
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body's parts as text: expressions in parentheses.
    fn of(body: &str) -> Option<String> {
        let parts = parts(body.as_bytes(), Mode::default())?;
        let text = |part: &Part<'_>| match part {
            Part::Statement(text) => String::from_utf8_lossy(text).into_owned(),
            Part::Expression(text) => format!("({})", String::from_utf8_lossy(text)),
        };
        Some(parts.iter().map(text).collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn bodies_are_taken_apart() {
        for (body, parts) in [
            ("SELECT 1", "SELECT 1"),
            ("RETURN f(1)", "(f(1))"),
            ("BEGIN END", ""),
            ("BEGIN SET @a = 1; CALL p(); END", "SET @a = 1|CALL p()"),
            ("BEGIN NOT ATOMIC SELECT ';'; END", "SELECT ';'"),
            (
                "x: BEGIN DECLARE a, b INT DEFAULT f(1); DECLARE c CURSOR FOR SELECT 1; END x",
                "(f(1))|SELECT 1",
            ),
            (
                "BEGIN DECLARE CONTINUE HANDLER FOR SQLSTATE VALUE '23000', NOT FOUND SET d = 1;
                 DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; END;
                 DECLARE e CONDITION FOR 1234; DECLARE EXIT HANDLER FOR e, 5 DO f(); END",
                "SET d = 1|ROLLBACK|DO f()",
            ),
            (
                "IF a > f(1) THEN SET @a = 1; ELSEIF b THEN BEGIN END; ELSE SELECT 1; END IF",
                "(a > f(1))|SET @a = 1|(b)|SELECT 1",
            ),
            (
                "IF CASE a WHEN 1 THEN 2 ELSE 3 END THEN SELECT 1; END IF",
                "(CASE a WHEN 1 THEN 2 ELSE 3 END)|SELECT 1",
            ),
            (
                "CASE a + 1 WHEN 1 THEN SELECT 1; WHEN f(2) THEN SELECT 2; ELSE SELECT 3; END CASE",
                "(a + 1)|(1)|SELECT 1|(f(2))|SELECT 2|SELECT 3",
            ),
            ("CASE WHEN a THEN SELECT 1; END CASE", "(a)|SELECT 1"),
            (
                "l: LOOP FETCH c INTO a; IF d THEN LEAVE l; END IF; END LOOP l",
                "(c INTO a)|(d)|(l)",
            ),
            (
                "BEGIN WHILE a < 5 DO SET a = a + 1; END WHILE; REPEAT SELECT 1; UNTIL f() END REPEAT; END",
                "(a < 5)|SET a = a + 1|SELECT 1|(f())",
            ),
            (
                "FOR r IN (SELECT f(1)) DO SELECT 2; END FOR",
                "(r IN (SELECT f(1)))|SELECT 2",
            ),
            (
                "SELECT IF(a, 1, 2), REPEAT('x', 2) /* ; */",
                "SELECT IF(a, 1, 2), REPEAT('x', 2)",
            ),
            (
                "SET NEW.a = CASE WHEN b THEN 1 END",
                "SET NEW.a = CASE WHEN b THEN 1 END",
            ),
        ] {
            assert_eq!(of(body).as_deref(), Some(parts), "{body}");
        }
    }

    #[test]
    fn what_is_not_understood() {
        for body in [
            "BEGIN a := 1; END",
            "BEGIN p(1); END",
            "IF a SET @a = 1; END IF",
            "BEGIN SELECT 'x; END",
            "BEGIN SELECT 'it\\'s; GET_LOCK(1); '; END",
            "BEGIN /*!99999 SET @a = 1 */; END",
            "DECLARE CONTINUE HANDLER",
            "`x` 1",
        ] {
            assert_eq!(of(body), None, "{body}");
        }
        let many = "SELECT 1;".repeat(100_000);
        assert_eq!(of(&many), None);
    }

    #[test]
    fn where_bodies_begin() {
        let known = Mode {
            no_backslash_escapes: Some(false),
            ansi_quotes: Some(false),
            plain_charset: true,
        };
        for (create, wanted) in [
            ("CREATE DEFINER=`a`@`b` PROCEDURE `p`()\nBEGIN END", "BEGIN END"),
            (
                "CREATE DEFINER=`a`@`%` PROCEDURE `procedure ()`(IN a DECIMAL(10, 2), OUT b INT)
                 MODIFIES SQL DATA SQL SECURITY INVOKER COMMENT 'BEGIN' SELECT 1",
                "SELECT 1",
            ),
            (
                "CREATE DEFINER=`a`@`%` FUNCTION `f`(x INT) RETURNS varchar(20) CHARSET utf8mb4 COLLATE utf8mb4_bin
                 READS SQL DATA DETERMINISTIC RETURN x",
                "RETURN x",
            ),
            ("CREATE AGGREGATE FUNCTION f(x INT) RETURNS int(11) unsigned NO SQL NOT DETERMINISTIC BEGIN END", "BEGIN END"),
            (
                "CREATE DEFINER=`a`@`%` TRIGGER `t` BEFORE INSERT ON `u` FOR EACH ROW SET NEW.a = 1",
                "SET NEW.a = 1",
            ),
            (
                "CREATE TRIGGER t AFTER UPDATE ON u FOR EACH ROW FOLLOWS `v` BEGIN END",
                "BEGIN END",
            ),
        ] {
            let found = body(create.as_bytes(), known).map(String::from_utf8_lossy);
            assert_eq!(found.as_deref(), Some(wanted), "{create}");
        }
        for create in [
            "",
            "CREATE VIEW v AS SELECT 1",
            "CREATE PROCEDURE p(",
            "CREATE TRIGGER t",
        ] {
            assert_eq!(body(create.as_bytes(), known), None, "{create}");
        }
    }
}
