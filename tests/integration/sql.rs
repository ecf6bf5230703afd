//! `dpm.tokenize`, `dpm.digest` and `dpm.statement_kind`: through their Lua functions, compared
//! with real servers' results for the same text.

use dpm::sql::{Mode, digest, statement};

use crate::support::wire::{Answer, Wire, caps, com, lenenc};
use crate::support::{Server, Stage, both, mariadb, mysql};

/// A stage whose Lua has `fails(wanted, f, …)`, `equal(a, b)` and `list(tokens)`.
fn stage() -> Stage {
    let mut stage = Stage::before(mariadb().port);
    stage.lua(
        "function fails(wanted, f, ...)
           local ok, message = pcall(f, ...)
           if ok then error('no error, wanted: ' .. wanted, 2) end
           if not tostring(message):find(wanted, 1, true) then
             error(tostring(message) .. ' does not have: ' .. wanted, 2)
           end
         end
         function equal(a, b)
           if a ~= b then error(('%s is not %s'):format(tostring(a), tostring(b)), 2) end
         end
         function list(tokens)
           local parts = {}
           for i, t in ipairs(tokens) do parts[i] = t.kind .. ':' .. t.text .. (t.unterminated and '!' or '') end
           return table.concat(parts, ' ')
         end",
    );
    stage
}

#[test]
fn scripts_take_sql_apart() {
    stage().lua(
        r#"equal(list(dpm.tokenize('SELECT `a`, \'x\', 1.5, ?, @v -- c')),
             "word:SELECT quoted:`a` operator:, string:'x' operator:, number:1.5 operator:, placeholder:? operator:, variable:@v comment:-- c")
           equal(list(dpm.tokenize('/*!50000 a */ /* b')), 'version_comment:/*!50000 word:a version_comment:*/ comment:/* b!')
           equal(list(dpm.tokenize('/*! a')), 'version_comment:/*!! word:a')
           equal(list(dpm.tokenize("'a\\' c'")), "string:'a\\' c'")
           equal(list(dpm.tokenize("'a\\' c'", { no_backslash_escapes = true })), "string:'a\\' word:c string:'!")
           equal(list(dpm.tokenize('"a"')), 'string:"a"')
           equal(list(dpm.tokenize('"a"', { ansi_quotes = true })), 'quoted:"a"')
           equal(#dpm.tokenize(''), 0)
           -- The text is all there: tokens and what is between them.
           local sql = " SELECT\t'\255\0' /* x */ FROM t;\n"
           local parts, at = {}, 1
           for _, token in ipairs(dpm.tokenize(sql)) do
             parts[#parts + 1] = sql:sub(at, token.from - 1) .. token.text
             equal(sql:sub(token.from, token.to), token.text)
             equal(token.unterminated, nil)
             at = token.to + 1
           end
           equal(table.concat(parts) .. sql:sub(at), sql)"#,
    );
}

#[test]
fn scripts_learn_which_tables_are_used() {
    stage().lua(
        r#"local info = dpm.tables('insert into a (x) select f(y), @v from b.c as d where z = (select 1 from `e e`)')
           equal(#info, 3)
           equal(info[1].name, 'a') equal(info[1].schema, nil) equal(info[1].read, false) equal(info[1].write, true)
           equal(info[2].name, 'c') equal(info[2].schema, 'b') equal(info[2].read, true) equal(info[2].write, false)
           equal(info[3].name, 'e e')
           equal(info.routines[1].name, 'f') equal(#info.routines, 1)
           equal(info.variables[1].name, 'v') equal(info.variables[1].is, 'read')
           equal(info.unknown, nil) equal(info.stores, true) equal(info.anything, false) equal(info.statements, 1)
           info = dpm.tables("update t set a = b; select 1")
           equal(info.copies[1].from, 'b') equal(info.copies[1].to, 'a') equal(info.statements, 2)
           info = dpm.tables("prepare s from 'select 1'")
           equal(info.prepares.name, 's') equal(info.prepares.sql, 'select 1')
           equal(dpm.tables('execute s').executes, 's')
           info = dpm.tables('begin not atomic select 1; end')
           equal(type(info.unknown), 'string') equal(info.anything, true)
           equal(dpm.tables('select * from "t"')[1].name, 't')
           equal(#dpm.tables('select "t" from dual', { ansi_quotes = false }), 0)
           equal(#dpm.tables(''), 0)"#,
    );
}

/// A table of each token of a large text would be hundreds of megabytes.
#[test]
fn texts_with_too_many_tokens_are_refused_whole() {
    stage().lua(
        r#"local most = 'select ' .. (','):rep(99999)
           equal(#dpm.tokenize(most), 100000)
           fails('dpm.tokenize: the text has more than 100000 tokens', dpm.tokenize, most .. ',')
           fails('more than 100000 tokens', dpm.tokenize, 'select ' .. (','):rep(24000000))
           fails('more than 100000 tokens', dpm.tokenize, ('?'):rep(100001), { kind = 'placeholder' })
           equal(#dpm.tokenize(most .. ',', { limit = 100000 }), 100000)
           equal(#dpm.tokenize(most .. ',', { kind = 'word' }), 1)
           fails('limit: expected an integer', dpm.tokenize, 'x', { limit = 100001 })"#,
    );
}

#[test]
fn scripts_look_for_words() {
    stage().lua(
        r#"local words = { UUID = true, RAND = 1 }
           equal(dpm.find_word('select uuid()', words), 'UUID')
           equal(dpm.find_word("select 'uuid', 5 /* rand */", words), nil)
           equal(dpm.find_word('select a.`Rand`', words), 'RAND')
           equal(dpm.find_word('select "rand"', words), 'RAND')
           equal(dpm.find_word('select "rand"', words, { ansi_quotes = false }), nil)
           equal(dpm.find_word('select /*!99999 rand() */', words), 'RAND')
           equal(dpm.find_word((','):rep(1000000) .. 'rand', words), 'RAND')
           fails('dpm.find_word: words: expected a table', dpm.find_word, 'x')
           fails('words: expected a table whose keys are words', dpm.find_word, 'x', { 'UUID' })"#,
    );
}

#[test]
fn scripts_follow_how_texts_are_read() {
    stage().lua(
        r#"equal(dpm.trim_sql(' /* a */ -- b\nSELECT 1 /* c */ ;; '), 'SELECT 1')
           equal(dpm.trim_sql('/* a */'), '')
           local mode = { no_backslash_escapes = false, ansi_quotes = false, charset = 'latin1' }
           local after = dpm.mode_after("SET NAMES gbk, sql_mode = 'ANSI'", mode)
           equal(after.charset, nil)
           equal(after.ansi_quotes, true)
           equal(after.no_backslash_escapes, false)
           equal(dpm.mode_after('SET NAMES utf8', after).charset, 'utf8mb4')
           equal(next(dpm.mode_after('EXECUTE p', mode)), nil)
           local _, one = dpm.digest('SELECT /*+ a */ 1', { hints = true })
           local _, other = dpm.digest('SELECT 1', { hints = true })
           local _, plain = dpm.digest('SELECT /*+ a */ 1')
           equal(other, plain)
           if one == other then error('no hints') end
           local text, exact = dpm.digest("SELECT 'a'", { exact = true })
           equal(text, 'SELECT ?')
           if exact == select(2, dpm.digest("SELECT 'b'", { exact = true })) then error('not exact') end"#,
    );
}

#[test]
fn scripts_get_digests() {
    stage().lua(
        r#"local text, hash, ambiguous = dpm.digest("select * from t where id = 5")
           equal(text, 'SELECT * FROM t WHERE id = ?')
           equal(hash, '1ae0d1a5e20680b89c28f603d7a1fd3d')
           equal(ambiguous, false)
           equal(select(2, dpm.digest("SELECT *\nFROM t WHERE id='x' -- y")), hash)
           equal(select(3, dpm.digest('select "a"')), true)
           equal(select(3, dpm.digest('select "a"', { ansi_quotes = false })), false)
           equal(dpm.digest('select "a"', { ansi_quotes = true }), 'SELECT a')
           equal(dpm.digest("insert into `t` (a, b) values (1, 'x'), (-2, NULL)"), 'INSERT INTO t(a, b) VALUES (...), ...')
           equal(dpm.digest('select count(*), User.a from User where a in (1, 2) limit 10, 20;'),
             'SELECT COUNT(*), User.a FROM User WHERE a IN (...) LIMIT ?, ...')
           local long = 'select ' .. ('a, '):rep(5000) .. 'b'
           equal(#dpm.digest(long), 4096)
           equal(#dpm.digest(long, { max_length = 100000 }), 15008)
           equal(dpm.digest(long, { max_length = 6 }), 'SELECT')
           local _, one = dpm.digest(long)
           equal(select(2, dpm.digest(long, { max_length = 1 })), one)
           assert(select(2, dpm.digest(long .. 'c')) ~= one)"#,
    );
}

#[test]
fn scripts_learn_what_a_statement_is() {
    stage().lua(
        r#"local kind, info = dpm.statement_kind(' SELECT 1')
           equal(kind, 'SELECT')
           local wanted = { read_only = true, locking = false, into = false, selects_into = false, assigns = false, has_select = false, multi = 1,
             explainable = true, main_from = 2, ambiguous = false }
           for key, value in pairs(wanted) do equal(info[key], value) end
           for key in pairs(info) do assert(wanted[key] ~= nil, key) end
           equal(dpm.statement_kind('-- nothing ; '), nil)
           equal(dpm.statement_kind(''), nil)
           kind, info = dpm.statement_kind('SELECT 1 INTO @x; DROP TABLE t')
           equal(info.read_only, false) equal(info.multi, 2) equal(info.into, true) equal(info.explainable, false)
           local sql = "SELECT 'a\\'; DROP TABLE t; -- '"
           kind, info = dpm.statement_kind(sql)
           equal(info.read_only, false) equal(info.ambiguous, true)
           kind, info = dpm.statement_kind(sql, { no_backslash_escapes = false })
           equal(info.read_only, true) equal(info.multi, 1)
           kind, info = dpm.statement_kind(sql, { no_backslash_escapes = true })
           equal(info.read_only, false) equal(info.multi, 2)
           local name = 'SELECT `caf\195\169`'
           equal(select(2, dpm.statement_kind(name)).read_only, false)
           equal(select(2, dpm.statement_kind(name, { charset = 'utf8mb4' })).read_only, true)
           equal(select(2, dpm.statement_kind(name, { charset = 'gbk' })).read_only, false)"#,
    );
}

#[test]
fn arguments_are_checked() {
    stage().lua(
        "for _, name in ipairs { 'tokenize', 'digest', 'statement_kind', 'tables' } do
           local f, path = dpm[name], 'dpm.' .. name
           for _, wrong in ipairs { 5, true, {}, dpm.NULL } do fails(path .. ': sql: expected a string', f, wrong) end
           fails(path .. ': sql: expected a string, got nil', f)
           fails(path .. ': options: expected a table', f, 'x', 5)
           fails('there is no option nope, only no_backslash_escapes', f, 'x', { nope = 1 })
           fails('there is no option 1', f, 'x', { 1 })
           fails('ansi_quotes: expected true or false, got 1', f, 'x', { ansi_quotes = 1 })
           fails('no_backslash_escapes: expected true or false', f, 'x', { no_backslash_escapes = 'x' })
           fails('charset: expected the name of a character set', f, 'x', { charset = 'klingon' })
           fails('charset: expected the name of a character set', f, 'x', { charset = 5 })
           f('x', {})
         end
         fails('there is no option max_length', dpm.tokenize, 'x', { max_length = 5 })
         for _, wrong in ipairs { 0, -1, 1.5, 'x', {}, 2^31 } do
           fails('dpm.digest: max_length: expected an integer', dpm.digest, 'x', { max_length = wrong })
         end",
    );
}

/// Whether two statements have the same digest in MySQL, and in ours.
#[derive(Debug, PartialEq)]
enum Pair {
    Same,
    Different,
    /// MySQL tells them apart, and we do not.
    OnlyTheirs,
    /// We tell them apart, and MySQL does not.
    OnlyOurs,
}

use Pair::{Different, OnlyOurs, OnlyTheirs, Same};

const PAIRS: &[(&str, &str, Pair)] = &[
    ("select 1", "SELECT 2", Same),
    ("select 1", "select 'x'", Same),
    ("select 1", "select 1.5e10", Same),
    ("select 1", "select x'AB'", Same),
    ("select 1", "select 0xAB", Same),
    ("select 1", "select N'x'", Same),
    ("select 1", "select -1", Same),
    ("select 1", "select - + -1", Same),
    ("select 1", "select null", Same),
    ("select 1", "select 1;", Same),
    ("select 1", "select 1 -- x", Same),
    ("select 1", "/* x */ select # y\n 1", Same),
    ("select 1", "select\t\n1", Same),
    ("select 1", "select 1, 2", Different),
    ("select 1, 2", "select 1, 2, 'x'", Same),
    ("select 1", "select a from t", Different),
    ("select 1", "/*!50000 select */ 1", Same),
    ("select a from t", "select A from t", Different),
    ("select a from t", "select a from T", Different),
    ("select a from t", "select `a` from `t`", Same),
    ("select a from t", "select t.a from t", Different),
    ("select t.a from t", "select `t` . `a` from t", Same),
    ("select t.`select` from t", "select t.select from t", Same),
    ("select a from t", "select b from t", Different),
    ("select a from t", "select a from t where a = 1", Different),
    (
        "select a from t where a = 1",
        "select a from t where a = 'it''s'",
        Same,
    ),
    (
        "select a from t where a = 1",
        "select a from t where a <> 1",
        Different,
    ),
    (
        "select a from t where a != 1",
        "select a from t where a <> 1",
        Same,
    ),
    (
        "select a from t where a - 1 = 0",
        "select a from t where a - -5 = -3",
        Same,
    ),
    (
        "select a from t where a = 1",
        "select a from t where a - 1",
        Different,
    ),
    (
        "select a from t where a in (1)",
        "select a from t where a in (1, 2, 3)",
        Same,
    ),
    (
        "select a from t where a in (1)",
        "select a from t where a in (1, b)",
        Different,
    ),
    (
        "select a from t where (a, b) in ((1, 2))",
        "select a from t where (a, b) in ((3, 4))",
        Same,
    ),
    (
        "select a from t where (a, b) in ((1, 2), (3, 4))",
        "select a from t where (a, b) in ((3, 4), (5, 6), (7, 8))",
        Same,
    ),
    (
        "select a from t where a between 1 and 2",
        "select a from t where a between -1 and -2",
        Same,
    ),
    (
        "select a from t where a is null",
        "select a from t where a is not null",
        Different,
    ),
    (
        "select a from t where a is null",
        "select a from t where a <=> null",
        Different,
    ),
    (
        "select a from t where a like 'x%'",
        "select a from t where a like '%y'",
        Same,
    ),
    ("select a from t limit 1", "select a from t limit 20", Same),
    (
        "select a from t limit 1, 2",
        "select a from t limit 20, 30",
        Same,
    ),
    (
        "select a from t limit 1 offset 2",
        "select a from t limit 20 OFFSET 30",
        Same,
    ),
    (
        "select a from t limit 1",
        "select a from t limit 1, 2",
        Different,
    ),
    ("insert into t values (1)", "insert into t values (2)", Same),
    (
        "insert into t values (1)",
        "insert into t values (1), (2)",
        Different,
    ),
    (
        "insert into t values (1), (2)",
        "insert into t values (1), (2), (3)",
        Same,
    ),
    (
        "insert into t values (1, 2), (3, 4)",
        "insert into t values ('x', null), (5, -6), (7, 8)",
        Same,
    ),
    (
        "insert into t values (1)",
        "insert into t values (1, 2)",
        Different,
    ),
    (
        "insert into t (a) values (1)",
        "insert into t (b) values (1)",
        Different,
    ),
    (
        "insert into t values (1)",
        "replace into t values (1)",
        Different,
    ),
    (
        "insert into t values (1, now())",
        "insert into t values (2, now())",
        Same,
    ),
    ("update t set a = 1", "update t set a = 'x'", Same),
    (
        "update t set a = a + 1",
        "update t set a = a - 1",
        Different,
    ),
    ("select count(*) from t", "select COUNT( * ) from t", Same),
    ("select f(1) from t", "select f('x') from t", Same),
    ("select f(1) from t", "select f(1, 2) from t", Different),
    ("select f(1, 2) from t", "select f(1, 2, 3) from t", Same),
    (
        "select if(a, 1, 2) from t",
        "select IF (a, 'x', 'y') from t",
        Same,
    ),
    (
        "select @@max_connections",
        "select @@sort_buffer_size",
        Different,
    ),
    (
        "select a from t order by a",
        "select a from t order by a desc",
        Different,
    ),
    ("select a from t for update", "select a from t", Different),
    (
        "select a from t union select b from t",
        "select a from t union all select b from t",
        Different,
    ),
    ("select doc->'$.a' from t", "select doc->'$.b' from t", Same),
    (
        "select a from t where a regexp 'x'",
        "select a from t where a regexp 'y'",
        Same,
    ),
    (
        "select interval 1 day + a from t",
        "select interval 2 day + a from t",
        Same,
    ),
    (
        "grant select on d.* to 'u'@'h'",
        "grant select on d.* to 'v'@'i'",
        Same,
    ),
    ("start transaction", "START  TRANSACTION", Same),
    ("begin", "commit", Different),
    ("show tables", "SHOW TABLES", Same),
    ("show variables like 'a'", "show variables like 'b'", Same),
    ("set @x = 1", "set @x = 'y'", Same),
    // We treat TRUE and FALSE as values.
    ("select true", "select false", OnlyTheirs),
    ("select true", "select 1", OnlyTheirs),
    // The names of functions have no case, and MySQL knows only some of them for what they are.
    (
        "select concat(a) from t",
        "select CONCAT(a) from t",
        OnlyTheirs,
    ),
    // System variables have no case, either.
    (
        "select @@max_connections",
        "select @@MAX_CONNECTIONS",
        OnlyTheirs,
    ),
    // Hints change how a server goes about a statement, not which one it is.
    (
        "select /*+ MAX_EXECUTION_TIME(1000) */ a from t",
        "select a from t",
        OnlyTheirs,
    ),
    // MySQL writes every user variable as one.
    ("select @a", "select @b", OnlyOurs),
    // MySQL drops what it skips; another server may execute it.
    ("select 1 /*!99999 + 2 */", "select 1", OnlyOurs),
    // A name that is a keyword may be a table's, whose case counts: without a grammar, it is kept.
    ("select status from t", "select STATUS from t", OnlyOurs),
    // Quoted or not, it is the same name.
    (
        "select a from t where status = 1",
        "select a from t where `status` = 1",
        OnlyTheirs,
    ),
];

#[test]
fn digests_tell_apart_what_mysql_tells_apart() {
    let Some(server) = mysql() else { return };
    let mut wire = Wire::login_empty(server.port, caps::BASE);
    Ground::must(&mut wire, "USE test");
    let mut theirs = |sql: &str| {
        let hex: String = sql.bytes().map(|byte| format!("{byte:02x}")).collect();
        let ask = format!("SELECT STATEMENT_DIGEST(CONVERT(x'{hex}' USING utf8mb4))");
        wire.rows(&ask)[0][0].clone()
    };
    let ours = |sql: &str| digest(sql.as_bytes(), Mode::default()).hash;
    let mut wrong = Vec::new();
    for (one, two, wanted) in PAIRS {
        let found = match (theirs(one) == theirs(two), ours(one) == ours(two)) {
            (true, true) => Same,
            (false, false) => Different,
            (false, true) => OnlyTheirs,
            (true, false) => OnlyOurs,
        };
        if found != *wanted {
            wrong.push(format!("{one} | {two}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A connection whose session the statements are run in, and one that looks at what they did.
struct Ground {
    runs: Wire,
    looks: Wire,
    database: String,
    is_mariadb: bool,
}

impl Ground {
    fn new(server: &Server) -> Ground {
        let capabilities = caps::BASE | caps::MULTI;
        let database = server.database();
        let mut looks = Wire::login_empty(server.port, capabilities);
        Ground::must(&mut looks, "SET lock_wait_timeout = 2");
        Ground {
            runs: Wire::login_empty(server.port, capabilities),
            looks,
            database,
            is_mariadb: server.flavour.is_mariadb(),
        }
    }

    fn run(wire: &mut Wire, sql: &[u8]) -> Answer {
        wire.command(com::QUERY, sql);
        wire.answer()
    }

    fn must(wire: &mut Wire, sql: &str) {
        let answer = Self::run(wire, sql.as_bytes());
        assert!(matches!(answer, Answer::Ok(_)), "{sql}: {answer:?}");
    }

    /// A fresh session in a fresh database, within a transaction.
    fn prepare(&mut self, server: &Server, setup: &str) {
        self.runs = Wire::login_empty(server.port, caps::BASE | caps::MULTI);
        for sql in [
            format!("DROP DATABASE {}", self.database),
            format!("CREATE DATABASE {}", self.database),
            format!("USE {}", self.database),
            "CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(20))".to_owned(),
            "INSERT INTO t VALUES (1, 10, 'x'), (2, 20, 'y')".to_owned(),
            "CREATE FUNCTION f(x INT) RETURNS INT DETERMINISTIC MODIFIES SQL DATA
               BEGIN INSERT INTO t VALUES (100 + x, 0, ''); RETURN x; END"
                .to_owned(),
            "CREATE PROCEDURE p() INSERT INTO t VALUES (50, 0, '')".to_owned(),
        ] {
            Self::must(&mut self.runs, &sql);
        }
        if self.is_mariadb {
            Self::must(&mut self.runs, "CREATE SEQUENCE s");
        }
        for sql in setup.split_terminator(';') {
            Self::must(&mut self.runs, sql);
        }
        Self::must(&mut self.looks, &format!("USE {}", self.database));
        Self::must(&mut self.runs, "START TRANSACTION");
    }

    /// What a statement could have changed, as text.
    fn state(&mut self) -> String {
        let mut answers = Vec::new();
        for sql in [
            "SELECT COALESCE(@x, 'unset'), LAST_INSERT_ID(), @@autocommit, @@sql_mode, DATABASE(), IS_USED_LOCK('l') IS NULL",
            "SELECT COUNT(*), SUM(id), SUM(a), GROUP_CONCAT(b) FROM t",
            "SELECT GROUP_CONCAT(table_name ORDER BY table_name) FROM information_schema.tables
               WHERE table_schema = DATABASE()",
        ] {
            answers.push(Self::run(&mut self.runs, sql.as_bytes()));
        }
        if self.is_mariadb {
            answers.push(Self::run(
                &mut self.runs,
                b"SELECT next_not_cached_value FROM s",
            ));
        }
        // Whether its rows are locked.
        answers.push(Self::run(
            &mut self.looks,
            b"SELECT id FROM t FOR UPDATE NOWAIT",
        ));
        let values = answers.into_iter().map(|answer| match answer {
            Answer::Rows { rows, .. } => format!("{rows:?}"),
            other => format!("{other:?}"),
        });
        values.collect::<Vec<_>>().join("\n")
    }

    /// Runs a statement: whether it failed, and whether it changed anything.
    fn try_out(&mut self, server: &Server, setup: &str, sql: &[u8]) -> (bool, bool) {
        self.prepare(server, setup);
        let before = self.state();
        let mut answer = Self::run(&mut self.runs, sql);
        while has_more(&answer) {
            answer = self.runs.answer();
        }
        let after = self.state();
        for sql in ["ROLLBACK", "DO RELEASE_ALL_LOCKS()", "UNLOCK TABLES"] {
            Self::must(&mut self.runs, sql);
        }
        (matches!(answer, Answer::Err(..)), before != after)
    }
}

/// Whether another result follows.
fn has_more(answer: &Answer) -> bool {
    let status = match answer {
        Answer::Rows { status, .. } => *status,
        Answer::Ok(packet) => {
            let (_, affected) = lenenc(&packet[1..]);
            let (_, id) = lenenc(&packet[1 + affected..]);
            packet[1 + affected + id].into()
        }
        Answer::Err(..) => 0,
    };
    status & 8 != 0
}

/// Where a statement works, or changes something.
#[derive(Copy, Clone, PartialEq)]
enum On {
    Both,
    MariaDb,
    MySql,
}

use On::{Both, MariaDb, MySql};

impl On {
    fn is(self, server: &Server) -> bool {
        match self {
            Both => true,
            MariaDb => server.flavour.is_mariadb(),
            MySql => !server.flavour.is_mariadb(),
        }
    }
}

/// These are said to only read: they do, and they are no errors.
const READS: &[(On, &str)] = &[
    (Both, "SELECT 1"),
    (
        Both,
        "SELECT * FROM t WHERE a = 10 AND b LIKE '%drop table t%' LIMIT 5;",
    ),
    (Both, "(SELECT id FROM t) UNION ALL (SELECT a FROM t)"),
    (
        Both,
        "WITH x (a, b) AS (SELECT 1, 2), y (c) AS (SELECT 3) SELECT * FROM x, y",
    ),
    (
        Both,
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n",
    ),
    (
        Both,
        "SELECT REPLACE(b, 'x', 'y'), INSERT(b, 1, 1, 'z'), concat (b, 'x'), COUNT(*), MAX(id) FROM t GROUP BY b",
    ),
    (
        Both,
        "SELECT CAST(a AS DECIMAL(10, 2)), id IN (1, 2), IF(a, 1, 2), LEFT(b, 1), ROW_NUMBER() OVER (ORDER BY id) FROM t",
    ),
    (
        Both,
        "SELECT LAST_INSERT_ID(), FOUND_ROWS(), @x, @@version, SLEEP(0), LOAD_FILE('/nowhere')",
    ),
    (
        Both,
        "SELECT SUBSTRING(b FROM 1 FOR 1) FROM t USE INDEX FOR JOIN (PRIMARY)",
    ),
    (
        Both,
        "SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (a INT PATH '$')) AS jt",
    ),
    (Both, "SELECT /*!40001 SQL_NO_CACHE */ * FROM t"),
    (Both, "SELECT /*+ MAX_EXECUTION_TIME(1000) */ 1"),
    (
        Both,
        "SELECT 1 AS `into`, 2 AS `for`, 'it\\'s' AS a, 'it''s' AS \"b\" -- it's\n",
    ),
    (Both, "SELECT 1; SELECT 2"),
    (Both, "SELECT 1--1, 5 -- 1\n# 2\n"),
    (MySql, "VALUES ROW(1, 2), ROW(3, 4)"),
    (Both, "SHOW TABLES"),
    (Both, "SHOW CREATE TABLE t"),
    (
        Both,
        "SHOW VARIABLES WHERE Variable_name = CONCAT('a', 'b')",
    ),
    (Both, "DESCRIBE t"),
    (Both, "DESC t a"),
    (Both, "EXPLAIN SELECT * FROM t"),
    (Both, "EXPLAIN FORMAT=JSON DELETE FROM t WHERE a = 10"),
    (Both, "EXPLAIN UPDATE t SET a = 1"),
    (Both, "EXPLAIN INSERT INTO t VALUES (5, 5, 'z')"),
    (MySql, "TABLE t"),
    (MySql, "EXPLAIN ANALYZE SELECT * FROM t"),
    (MariaDb, "VALUES (1, 2), (3, 4)"),
];

/// These change something, in a session that was set up like this.
const WRITES: &[(On, &str, &[u8])] = &[
    (Both, "", b"SELECT 1; DROP TABLE t"),
    (Both, "", b"SELECT 1;/* x */DELETE FROM t"),
    (Both, "", b"INSERT INTO t VALUES (3, 30, 'z')"),
    (Both, "", b"REPLACE t VALUES (1, 30, 'z')"),
    (Both, "", b"DELETE FROM t"),
    (Both, "", b"TRUNCATE t"),
    (Both, "", b"CREATE TABLE u AS SELECT * FROM t"),
    (Both, "", b"/*!50000 DELETE FROM t */"),
    (Both, "", b"/*!50000 DELETE*/FROM t"),
    (Both, "", b"/*! DELETE */ /*! FROM */ t"),
    (Both, "", b"/*!40101 SET @x = 1 */"),
    (Both, "", b"SELECT /*! 1 INTO @x */"),
    (Both, "", b"SELECT 1 /*!40000 INTO @x */"),
    (Both, "", b"DELETE /*!99999 ' */ FROM t /* ' */"),
    (Both, "", b"SELECT 1 /*!99999 ' */; DELETE FROM t /* ' */"),
    (MySql, "", b"/*!80000 DELETE FROM t */"),
    (MySql, "", b"SELECT /*!50700 1 INTO @x */"),
    (MySql, "", b"SELECT 1 /*M! ' */; DELETE FROM t /* ' */"),
    (MySql, "", b"SELECT /*!080000 1 INTO @x */"),
    (MariaDb, "", b"/*M! DELETE */ FROM t"),
    (MariaDb, "", b"/*M!100000 DELETE */ FROM t"),
    (MariaDb, "", b"SELECT /*!100000 1 INTO @x */"),
    (
        MariaDb,
        "",
        b"SELECT 1 /*!80000 ' */; DELETE FROM t /* ' */",
    ),
    (MySql, "", b"WITH x AS (SELECT 1) DELETE FROM t"),
    (
        MySql,
        "",
        b"WITH x AS (SELECT 1 AS i) UPDATE t, x SET a = i",
    ),
    (Both, "", b"SELECT 1 INTO @x"),
    (Both, "", b"SELECT id FROM t LIMIT 1 INTO @x"),
    (Both, "", b"SELECT @x := 1"),
    (Both, "", b"SELECT @x:=id FROM t"),
    (Both, "", b"SHOW VARIABLES WHERE @x := 1"),
    (Both, "", b"SELECT LAST_INSERT_ID(5)"),
    (Both, "", b"SELECT `last_insert_id` /* x */ (5)"),
    (Both, "", b"SELECT GET_LOCK('l', 0)"),
    (Both, "", b"SELECT get_lock /* x */ ('l', 0)"),
    (Both, "", b"SELECT `GET_LOCK`('l', 0)"),
    (Both, "", b"SELECT f(1)"),
    (Both, "", b"SELECT `f`(1)"),
    (Both, "", b"SELECT * FROM t FOR UPDATE"),
    (Both, "", b"SELECT * FROM t FOR /* x */ UPDATE"),
    (MySql, "", b"SELECT * FROM t FOR SHARE"),
    (Both, "", b"SELECT * FROM t LOCK IN SHARE MODE"),
    (Both, "", b"SELECT * FROM (SELECT * FROM t FOR UPDATE) d"),
    (MySql, "", b"TABLE t INTO @x, @y, @z"),
    (MySql, "", b"EXPLAIN FORMAT=JSON INTO @x SELECT 1"),
    (MariaDb, "", b"ANALYZE DELETE FROM t"),
    (MariaDb, "", b"ANALYZE FORMAT=JSON DELETE FROM t"),
    (MariaDb, "", b"SELECT NEXT VALUE FOR s"),
    (MariaDb, "", b"SELECT NEXTVAL(s)"),
    (MariaDb, "", b"SELECT SETVAL(s, 5000)"),
    (MariaDb, "SET sql_mode = 'ORACLE'", b"SELECT s.nextval"),
    (MariaDb, "", b"EXECUTE IMMEDIATE 'DELETE FROM t'"),
    (MariaDb, "", b"BEGIN NOT ATOMIC DELETE FROM t; END"),
    (
        MariaDb,
        "",
        b"SET STATEMENT max_statement_time = 10 FOR DELETE FROM t",
    ),
    (MariaDb, "", b"IF 1 THEN DELETE FROM t; END IF"),
    (Both, "", b"PREPARE x FROM 'DELETE FROM t'; EXECUTE x"),
    (Both, "", b"CALL p()"),
    (Both, "", b"DO @x := 1"),
    (Both, "", b"SET autocommit = 0"),
    (Both, "", b"USE mysql"),
    // Where strings end is a matter of modes.
    (
        Both,
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
        br"SELECT 'a\'; DELETE FROM t; -- '",
    ),
    (Both, "", br"SELECT 'a\'' INTO @x; -- '"),
    (
        Both,
        "SET sql_mode = 'ANSI_QUOTES'",
        br#"SELECT 1 AS "a\"; DELETE FROM t; -- ""#,
    ),
    (
        Both,
        "SET sql_mode = 'ANSI_QUOTES'",
        br#"SELECT 1 AS "a\" INTO @x -- ""#,
    ),
    // And of character sets.
    (Both, "SET NAMES gbk", b"SELECT '\xBF\\' INTO @x -- '"),
    (Both, "SET NAMES gbk", b"SELECT 1 AS \xBF` INTO @x -- `"),
    (Both, "SET NAMES sjis", b"SELECT '\x83\\' INTO @x -- '"),
    (Both, "SET NAMES latin1", b"SELECT * FROM t FOR\xA0UPDATE"),
    (Both, "SET NAMES latin1", b"SELECT * FROM t FOR \xA0 UPDATE"),
    (Both, "SET NAMES latin1", b"SELECT 1\xA0INTO\xA0@x"),
    (Both, "SET NAMES latin1", b"\xA0DELETE FROM t"),
    (Both, "SET NAMES latin1", b"SELECT GET_LOCK\xA0('l', 0)"),
    (Both, "SET NAMES latin1", b"SELECT 1 --\xA0'\n INTO @x -- '"),
];

both! {
/// Statements that we call read-only change nothing on a real server, and statements that change
/// something are never called read-only.
fn what_is_read_only_changes_nothing(server) {
    let mut ground = Ground::new(server);
    let said = |sql: &[u8]| statement(sql, Mode::default()).is_some_and(|statement| statement.read_only);
    let mut wrong = Vec::new();
    for (on, sql) in READS {
        if !said(sql.as_bytes()) {
            wrong.push(format!("is not said to read only: {sql}"));
        }
        match ground.try_out(server, "", sql.as_bytes()) {
            (_, true) => wrong.push(format!("changes something: {sql}")),
            (true, _) if on.is(server) => wrong.push(format!("fails: {sql}")),
            _ => {}
        }
    }
    for (on, setup, sql) in WRITES {
        let name = sql.escape_ascii();
        if said(sql) {
            wrong.push(format!("is said to read only: {name}"));
        }
        if on.is(server) {
            let (failed, changed) = ground.try_out(server, setup, sql);
            if !changed {
                wrong.push(format!("changes nothing ({failed}): {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
}

/// Statements that can be explained, which then have no effect.
const EXPLAINABLE: &[(On, &str)] = &[
    (Both, "SELECT * FROM t"),
    (Both, " -- x\n(SELECT id FROM t) UNION (SELECT a FROM t);"),
    (Both, "/*!50000 SELECT * */ FROM t"),
    (Both, "WITH x AS (SELECT 1) SELECT * FROM x"),
    (Both, "SELECT * FROM t FOR UPDATE"),
    (Both, "INSERT INTO t VALUES (5, 5, 'it''s')"),
    (Both, "INSERT INTO t SELECT id + 10, a, b FROM t"),
    (Both, "REPLACE INTO t VALUES (1, 1, 'x')"),
    (Both, "UPDATE t SET a = 5"),
    (Both, "DELETE FROM t WHERE id = 1"),
    (MySql, "WITH x AS (SELECT 1) DELETE FROM t"),
];

both! {
fn what_is_explainable_can_be_explained(server) {
    let mut ground = Ground::new(server);
    for (on, sql) in EXPLAINABLE {
        let found = statement(sql.as_bytes(), Mode::default()).unwrap();
        assert!(found.explainable, "{sql}");
        let (before, from) = sql.split_at(found.main_from);
        let (failed, changed) = ground.try_out(server, "", format!("{before}EXPLAIN {from}").as_bytes());
        assert!(!changed, "{sql}");
        assert!(!failed || !on.is(server), "{sql}");
    }
    for (_, _, sql) in WRITES {
        let Some(found) = statement(sql, Mode::default()).filter(|found| found.explainable) else { continue };
        let explain = [&sql[..found.main_from], b"EXPLAIN ", &sql[found.main_from..]].concat();
        // EXPLAIN reads what is locked for others, too.
        let (_, changed) = ground.try_out(server, "", &explain);
        assert!(!changed || found.locking, "{}", sql.escape_ascii());
    }
}
}
