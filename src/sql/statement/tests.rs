use super::*;

/// The result if nothing is known of the session.
fn of(sql: &str) -> Option<Statement> {
    statement(sql.as_bytes(), Mode::default())
}

fn kind(sql: &str) -> &'static str {
    of(sql).map_or("", |statement| statement.kind)
}

#[test]
fn kinds() {
    for (sql, wanted) in [
        ("", ""),
        (" ; ;", ""),
        ("-- select 1", ""),
        ("/* select 1 */ # x", ""),
        ("select 1", "SELECT"),
        ("  /* x */ -- y\n SELECT 1", "SELECT"),
        ("((select 1) union (select 2))", "SELECT"),
        ("with x as (select 1) select * from x", "SELECT"),
        ("with x as (select 1) delete from t", "DELETE"),
        (
            "with recursive x (a, b) as (select 1, 2), `y` as (select 1) update t set a = 1",
            "UPDATE",
        ),
        (
            "with x as (select ')' from (select 1) as y) (select 1)",
            "SELECT",
        ),
        ("(with x as (select 1) select 1)", "SELECT"),
        ("with x as (select 1) cycle a restrict select 1", "SELECT"),
        ("with", "OTHER"),
        ("with x", "OTHER"),
        ("insert into t values (1)", "INSERT"),
        ("replace t values (1)", "REPLACE"),
        ("update t set a = 1", "UPDATE"),
        ("delete from t", "DELETE"),
        ("table t", "TABLE"),
        ("values row(1)", "VALUES"),
        ("show tables", "SHOW"),
        ("set a = 1", "SET"),
        ("begin", "BEGIN"),
        ("begin work", "BEGIN"),
        ("start transaction read only", "BEGIN"),
        ("start replica", "START"),
        ("begin not atomic delete from t; end", "COMPOUND"),
        ("if 1 then delete from t; end if", "COMPOUND"),
        ("commit", "COMMIT"),
        ("rollback to x", "ROLLBACK"),
        ("use x", "USE"),
        ("call p()", "CALL"),
        ("explain select 1", "EXPLAIN"),
        ("desc t", "EXPLAIN"),
        ("describe delete from t", "EXPLAIN"),
        ("analyze delete from t", "ANALYZE"),
        ("create table t (a int)", "CREATE"),
        ("alter table t add a int", "ALTER"),
        ("drop table t", "DROP"),
        ("kill 5", "KILL"),
        ("load data infile 'x' into table t", "LOAD"),
        ("handler t open", "HANDLER"),
        ("do sleep(1)", "DO"),
        ("execute immediate 'drop table t'", "EXECUTE"),
        ("prepare x from 'drop table t'", "PREPARE"),
        ("/*!50000 delete from t */", "DELETE"),
        ("/*M! delete */ from t", "DELETE"),
        ("/*!99999 delete from t */", "DELETE"),
        ("foo bar", "OTHER"),
        ("concat(1)", "OTHER"),
        ("5", "OTHER"),
        ("'select'", "OTHER"),
        ("`select` 1", "OTHER"),
    ] {
        assert_eq!(kind(sql), wanted, "{sql}");
    }
}

#[test]
fn what_only_reads() {
    for sql in [
        "select 1",
        "select * from t where a = 'x' and b like '%drop table%' limit 5;",
        "(select 1) union all (select 2)",
        "with x (a, b) as (select 1, 2), y (c) as (select 3) select * from x, y",
        "select a from (select 1) as d (a), (select 2) e (b)",
        "select count(*), max(a), concat (a, 'x'), replace(a, 'x', 'y'), insert(a, 1, 2, 'x') from t group by a",
        "select cast(a as decimal(10, 2)), a in (1, 2), any_value(b), row_number() over (order by a) from t",
        "select last_insert_id(), found_rows(), @x, @@version, sleep(0), load_file('x')",
        "select * from t use index for join (i) where substring(a from 1 for 2) = 'x'",
        "select * from json_table('[]', '$[*]' columns (a int path '$')) as jt",
        "select /*!40001 SQL_NO_CACHE */ * from t",
        "select /*+ MAX_EXECUTION_TIME(1000) */ 1",
        "select `into`, `for` from `update`",
        "select größe from t",
        "select 'it\\'s' as x",
        "select \"it's\" as x",
        "select 1; select 2",
        "table t",
        "values row(1, 2), row(3, 4)",
        "values (1), (2)",
        "show tables",
        "show create table t",
        "show procedure status where db = 'x'",
        "show grants for current_user()",
        "describe t",
        "desc t a",
        "explain select * from t",
        "explain format=json delete from t where a = 1",
        "explain insert into t values (1)",
        "explain analyze select 1",
        "explain for connection 5",
        "explain with x as (select 1) select * from x",
    ] {
        assert!(of(sql).unwrap().read_only, "{sql}");
    }
}

#[test]
fn what_may_not_only_read() {
    for sql in [
        "select 1; drop table t",
        "select 1;;;drop table t",
        "/*!50000 delete from t */",
        "/*!99999 delete from t */ select 1",
        "/*M! delete */ from t",
        "select /*! 1 into outfile 'x' */",
        "select /*!80000 1 into outfile 'x' */",
        "select /*!80000 sql_no_cache */ 1",
        "select 1 /*!99999 ' */; drop table t /* ' */",
        "with x as (select 1) delete from t",
        "with x as (select 1) (delete from t)",
        "with x as (delete from t) select 1",
        "explain analyze delete from t",
        "explain analyze with x as (select 1) delete from t",
        "analyze delete from t",
        "analyze format=json select 1",
        "analyze table t",
        "explain format=json into @x select 1",
        "explain select get_lock('x', 1)",
        "select * from t for update",
        "select * from t for /* x */ update",
        "select * from t for share of t",
        "select * from t lock in share mode",
        "select * from (select * from t for update) d",
        "table t for update",
        "table t into outfile 'x'",
        "select 1 into @x",
        "select a into outfile 'x' from t",
        "select @x := 1",
        "select @x:=1",
        "select * from t procedure analyse()",
        "select sql_calc_found_rows * from t",
        "select get_lock('x', 1)",
        "select GET_LOCK ('x', 1)",
        "select `get_lock`('x', 1)",
        "select get_lock/**/('x', 1)",
        "select /*!get_lock*/('x', 1)",
        "select release_lock('x'), release_all_locks()",
        "select last_insert_id(5)",
        "select last_insert_id /* x */ ( /* y */ 5)",
        "select nextval(s)",
        "select setval(s, 5)",
        "select next value for s",
        "select s.nextval",
        "select my_function(1)",
        "select d.concat(1)",
        "select `d`.`concat`(1)",
        "select `count`(1)",
        "select count (1)",
        "select `any`(1)",
        "select größe(1)",
        "show tables where f(1)",
        "show warnings where @x := 1",
        "insert into t values (1)",
        "replace t values (1)",
        "update t set a = 1",
        "delete from t",
        "handler t open",
        "do release_lock('x')",
        "execute immediate 'drop table t'",
        "prepare x from 'drop table t'",
        "execute x",
        "call p()",
        "set @x = 1",
        "set statement max_statement_time = 1 for delete from t",
        "use x",
        "begin",
        "start transaction",
        "commit",
        "lock tables t read",
        "begin not atomic delete from t; end",
        "create table t (a int)",
        "truncate t",
        "foo",
        // By the mode of quotes.
        r"select 'a\'; drop table t; -- '",
        r#"select "a\"; drop table t; -- ""#,
        r#"select 'x' ' " ' ; drop table t -- " '"#,
        r#"select 1 " ' "; drop table t -- ' "#,
        r#"select "'" into @x, "'""#,
        // What is unterminated in one mode has been run in another, up to there.
        r"select 'a\'; drop table t; select '",
        r"create procedure p() select 'a\'; drop table t; select '",
        // It ends before it is over.
        "select 'a",
        "select 1 /* ",
        "select /*! 1",
        "select `a",
        // What lexers do not agree on.
        "select 1 [ ' ] for update -- '",
        "select 5 1.e-- 1 for update",
        "select /*+ qb_name(`*/ 1 -- `) */ * from t for update",
        "select 1 \0",
    ] {
        assert!(!of(sql).unwrap().read_only, "{sql}");
    }
    for sql in [
        // Blanks in latin1.
        &b"select * from t for\xA0update"[..],
        b"select * from t for \xA0update",
        b"select * from t for \xA0 update",
        b"select * from t\xA0for\xA0update",
        b"select 1\xA0into\xA0@x",
        b"\xA0delete from t",
        b"explain\xA0analyze delete from t",
        b"explain analyze\xA0delete from t",
        b"select get_lock\xA0('x', 1)",
        b"select last_insert_id(\xA05)",
        b"select s.\xA0nextval",
        b"select next value\xA0for s",
        // Halves of characters in GBK and its like.
        b"select '\xBF\\' for update -- '",
        b"select a\xBF` for update -- `",
        b"select 1 --\xA0 for update",
    ] {
        let found = statement(sql, Mode::default()).unwrap();
        assert!(!found.read_only, "{}", sql.escape_ascii());
    }
}

#[test]
fn modes_that_are_known_decide() {
    let mode = |escapes: bool, quotes: bool| Mode {
        no_backslash_escapes: Some(!escapes),
        ansi_quotes: Some(quotes),
        plain_charset: true,
    };
    let read_only = |sql: &str, mode: Mode| statement(sql.as_bytes(), mode).unwrap().read_only;
    let sql = r"select 'a\'; drop table t; -- '";
    assert!(read_only(sql, mode(true, false)));
    assert!(!read_only(sql, mode(false, false)));
    let sql = r#"select 1 as " ' "; drop table t -- ' ""#;
    assert!(!read_only(sql, mode(true, false)));
    let sql = r#"select "a\" into @x, 'b"'"#;
    assert!(!read_only(sql, mode(true, true)));
    // A backquote after a byte that is not ASCII.
    let sql = "select `caf\u{e9}`";
    assert!(!read_only(sql, Mode::default()));
    assert!(read_only(sql, mode(true, false)));
}

#[test]
fn the_rest_of_what_is_known() {
    let with = |sql: &str| of(sql).unwrap();
    assert!(with("select * from t for update").locking);
    assert!(with("select * from t lock in share mode").locking);
    assert!(!with("select * from t").locking);
    assert!(with("select 1 into @x").into);
    assert!(with("insert into t select * from u").has_select);
    assert!(with("create table t as select 1").has_select);
    assert!(!with("insert into t values (1)").has_select);
    assert!(!with("select (select 1)").has_select);
    for (sql, multi) in [
        ("select 1", 1),
        (";select 1;;", 1),
        ("select 1; select 2; /* x */ ;", 2),
        ("select ';'; select `;` -- ;", 2),
        ("create procedure p() begin select 1; select 2; end", 1),
        (
            "create definer = `a`@`b` trigger t before insert on u for each row begin set @x = 1; end",
            1,
        ),
        ("alter event e do begin select 1; end", 1),
        ("alter table t add a int; select 1", 2),
        ("create table t (a int); select 1", 2),
        ("begin; select 1; commit", 3),
        ("begin not atomic select 1; end", 1),
    ] {
        assert_eq!(with(sql).multi, multi, "{sql}");
    }
    for (sql, from) in [
        ("select 1", 0),
        (" ; /* x */ (select 1)", 11),
        ("/*! select 1 */", 4),
        ("with x as (select 1) select 1", 0),
    ] {
        assert_eq!(with(sql).main_from, from, "{sql}");
    }
}

#[test]
fn what_explain_may_be_put_in_front_of() {
    for sql in [
        "select 1",
        "select * from t for update",
        "(select 1) union (select 2)",
        "with x as (select 1) select 1",
        "with x as (select 1) delete from t",
        "insert into t values (1)",
        "replace t values ('it\\'s')",
        "update t set a = 1;",
        "-- x\ndelete from t",
    ] {
        assert!(of(sql).unwrap().explainable, "{sql}");
    }
    for sql in [
        "select 1; drop table t",
        "delete from t; delete from u",
        "select 1 into @x",
        "set @x = 1",
        "show tables",
        "explain select 1",
        "create table t as select 1",
        "call p()",
        "/*!80000 select */ 1",
        "select 1 /*!99999 ' */; drop table t /* ' */",
        r"select 'a\'; drop table t; -- '",
        r#"select 1 " ' "; drop table t -- ' "#,
        "select 'a",
        "",
    ] {
        assert!(
            !of(sql).is_some_and(|statement| statement.explainable),
            "{sql}"
        );
    }
}

#[test]
fn where_the_result_of_a_select_goes() {
    for (sql, wanted) in [
        ("SELECT 1", false),
        ("SELECT 1 INTO @a", true),
        ("SELECT 1 FROM t INTO OUTFILE 'x'", true),
        ("SELECT 1 /*! INTO DUMPFILE 'x' */", true),
        ("INSERT INTO t VALUES (1)", false),
        ("INSERT LOW_PRIORITY INTO t SELECT 1", false),
        ("REPLACE INTO t SET a = 1", false),
        ("INSERT t SELECT 1 INTO @a", true),
        ("INSERT INTO t SELECT 1 INTO OUTFILE 'x'", true),
        ("SELECT 1; SELECT 2 INTO @a", true),
    ] {
        let found = statement(sql.as_bytes(), Mode::default()).unwrap();
        assert_eq!(found.selects_into, wanted, "{sql}");
    }
}
