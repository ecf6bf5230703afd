use super::*;

fn of(sql: &str) -> Tables {
    tables(sql.as_bytes(), Mode::default())
}

fn text(name: &Name) -> String {
    let name_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match &name.schema {
        Some(schema) => format!("{}.{}", name_of(schema), name_of(&name.name)),
        None => name_of(&name.name),
    }
}

/// The tables in order: `a` is read, `>a` is written, `<>a` is both.
fn list(sql: &str) -> String {
    let found = of(sql);
    assert_eq!(found.unknown, None, "{sql}");
    let shown = |(name, access): &(Name, Access)| {
        let sign = match (
            access.contains(Access::READ),
            access.contains(Access::WRITE),
        ) {
            (true, true) => "<>",
            (false, true) => ">",
            _ => "",
        };
        format!("{sign}{}", text(name))
    };
    let mut all: Vec<_> = found.tables.iter().map(shown).collect();
    all.sort();
    all.join(" ")
}

#[test]
fn tables_of_queries() {
    for (sql, wanted) in [
        ("select 1", ""),
        ("select 1 from dual", ""),
        ("select a from t", "t"),
        (
            "select * from `t` x, d.u as y join v using (a), w",
            "d.u t v w",
        ),
        (
            "select * from a left join b on a.x = b.x, c straight_join d on 1, e natural join f",
            "a b c d e f",
        ),
        ("select * from (a, b) join (c join d on 1) on 1", "a b c d"),
        (
            "select * from ((select * from a) union (select * from b)) x",
            "a b",
        ),
        ("select * from ((select * from a) x join b)", "a b"),
        (
            "(select * from a) union all (select * from b) order by 1",
            "a b",
        ),
        (
            "select * from a union select * from b except select * from c",
            "a b c",
        ),
        (
            "select (select max(x) from a) from b where exists (select 1 from c) group by (select 1 from d)",
            "a b c d",
        ),
        (
            "select extract(year from x), trim(leading 'a' from y), substring(z from 2) from t",
            "t",
        ),
        (
            "select * from {oj a left outer join b on a.x = b.x}, c",
            "a b c",
        ),
        (
            "select * from a partition (p0, p1) as x use index (i, j) ignore key for order by (k), b",
            "a b",
        ),
        ("select * from a force index for join (i), b", "a b"),
        (
            "select * from a for system_time between '2020' and now(), b",
            "a b",
        ),
        ("select * from a for update of a, b", "a"),
        ("select * from a, b lock in share mode", "a b"),
        (
            "select * from a, lateral (select * from b where b.x = a.x) c",
            "a b",
        ),
        (
            "select * from json_table((select j from a), '$[*]' columns (x int path '$', nested path '$.y' columns (z varchar(10) path '$'))) as jt, b",
            "a b",
        ),
        ("table t", "t"),
        ("table t union table u order by 1 limit 3", "t u"),
        ("values row(1, 2), row((select 1 from t), 3)", "t"),
        ("select * from (values row(1)) as d (x), t", "t"),
        ("select * from (table t) as d", "t"),
        ("select a into @x from t", "t"),
        ("select a, b from t into @x, @y", "t"),
        (
            "select sql_calc_found_rows distinct straight_join a from t procedure analyse()",
            "t",
        ),
        ("select * from .t", "t"),
        ("select /*!50000 * from */ t", "t"),
        ("select * /*!50000 from t */", "t"),
        ("select a.`from` from t as `select`", "t"),
        ("select *, from_unixtime(x) from t where `join` = 1, 5", "t"),
        (
            "select rank() over (partition by a order by b), sum(c) over w from t where 1 window w as (order by d)",
            "t",
        ),
        (
            "select * from t1 where a in (select b from t2) and (c, d) = any (select e, f from t3)",
            "t1 t2 t3",
        ),
        ("do (select 1 from t)", "t"),
        ("kill (select id from t)", "t"),
        ("set @x = (select a from t)", "t"),
        (
            "set statement max_statement_time = 1 for select * from t",
            "t",
        ),
        ("explain select * from t", "t"),
        ("explain format=json insert into u select * from t", "t u"),
        ("analyze format=json select * from t", "t"),
        ("desc t", ""),
        ("describe t a", ""),
        ("show tables where (select 1 from t)", "t"),
        ("show full columns from t from d", ""),
        ("show create table t", ""),
        ("checksum table a, b", "a b"),
        ("begin", ""),
        ("grant select (a), update on d.t to u", ""),
        ("select 1; select * from t; ", "t"),
    ] {
        assert_eq!(list(sql), wanted, "{sql}");
    }
}

#[test]
fn common_table_expressions_are_no_tables() {
    for (sql, wanted) in [
        ("with x as (select * from t) select * from x", "t"),
        (
            "with x (a, b) as (select 1, 2), y as (select * from x, u) select * from x join y",
            "u",
        ),
        // Until it is defined, the name is that of a table.
        ("with t as (select * from t) select * from t", "t"),
        (
            "with a as (select * from b), b as (select 1) select * from a, b",
            "b",
        ),
        (
            "with recursive t as (select 1 union select a + 1 from t) select * from t",
            "",
        ),
        // Behind its parentheses it is one again.
        (
            "select * from (with t as (select 1) select * from t) d, t",
            "t",
        ),
        (
            "(with t as (select 1) select * from t) union select * from t",
            "t",
        ),
        ("with t as (select 1) select * from d.t", "d.t"),
        ("with t as (select 1) select * from T", "T"),
        (
            "with x as (select 1) select * from (select * from x) d where exists (select 1 from x)",
            "",
        ),
        ("with x as (select 1); select * from x", "x"),
        (
            "with x as (select * from t) update u, x set u.a = x.a",
            "<>u t",
        ),
        ("with t as (select 1) delete from t", ""),
        (
            "insert into u with x as (select * from t) select * from x",
            ">u t",
        ),
        ("insert into t with t as (select 1) select * from t", ">t"),
        (
            "select * from (select 1) d where a in (with x as (select * from t) select * from x)",
            "t",
        ),
    ] {
        assert_eq!(list(sql), wanted, "{sql}");
    }
}

#[test]
fn tables_of_changes() {
    for (sql, wanted) in [
        ("insert into t values (1, (select max(a) from u))", ">t u"),
        ("insert low_priority ignore d.t (a, b) value (1, 2)", ">d.t"),
        ("insert t set a = 1, b = 2", ">t"),
        ("insert into t (a) select a from u join v on 1", ">t u v"),
        ("insert into t (select * from u)", ">t u"),
        ("insert into t table u", ">t u"),
        (
            "insert into t (a) values (1) on duplicate key update a = values(a), b = 2",
            ">t",
        ),
        (
            "insert into t select * from u on duplicate key update a = 1, b = 2",
            ">t u",
        ),
        (
            "insert into t values (1) as new (x) on duplicate key update a = x",
            ">t",
        ),
        ("replace into t partition (p0) select * from t", ">t t"),
        ("insert into t values (1) returning a, b", "<>t >t"),
        (
            "update t set a = 1, b = 2 where c in (select d from u)",
            "<>t u",
        ),
        (
            "update low_priority a join b using (x), c set a.y = b.y, c.z = 1 order by 1 limit 2",
            "<>a <>b <>c",
        ),
        ("update a, (select * from t) d set a.x = d.x", "<>a t"),
        (
            "delete from t where a in (select b from u) order by c, d limit 1",
            "<>t u",
        ),
        (
            "delete quick t1, t2.* from a as t1 join b as t2 on 1",
            "<>a <>b",
        ),
        (
            "delete from a, b using a join b using (id) join c using (id)",
            "<>a <>b <>c",
        ),
        ("delete from t returning a, b", "<>t"),
        ("truncate table t", ">t"),
        (
            "load data local infile 'x' into table t fields terminated by ',' (a, @b) set c = @b, d = (select 1 from u)",
            ">t u",
        ),
        (
            "create table t (a int, b enum('x', 'y'), foreign key (a) references u (a)) engine=InnoDB comment='x'",
            ">t",
        ),
        (
            "create temporary table if not exists d.t as select * from u",
            ">d.t u",
        ),
        ("create table t like u", ">t"),
        ("create table t (select * from u)", ">t u"),
        ("create table t table u", ">t u"),
        (
            "create or replace algorithm = merge definer = `a`@`b` sql security invoker view v (x) as select * from t with check option",
            ">v t",
        ),
        (
            "create view v as with x as (select * from t) select * from x",
            ">v t",
        ),
        ("create table t (a int) with system versioning", ">t"),
        (
            "alter table t add column u int default 5, rename to w",
            ">t",
        ),
        (
            "alter table t add column engine varchar(10), add column connection int",
            ">t",
        ),
        ("rename table a to b, c to d.e", ">a >b >c >d.e"),
        ("drop table if exists a, b cascade", ">a >b"),
    ] {
        assert_eq!(list(sql), wanted, "{sql}");
    }
}

#[test]
fn what_cannot_be_known_is_said() {
    for sql in [
        "execute immediate 'select 1'",
        "prepare s from @x",
        "prepare s from 'it\\'s'",
        "select 1; execute s",
        "begin not atomic select 1; end",
        "if 1 then select 1; end if",
        "create procedure p() select 1",
        "create definer = a trigger t before insert on u for each row set @x = 1",
        "create function f() returns int return (select 1 from t)",
        "alter event e do select 1",
        "create table t (a int) engine=merge union=(a, b)",
        "create table t (a int) engine = 'CONNECT' table_type=mysql",
        "create table t (a int) connection='mysql://x'",
        "alter table t engine federated",
        "alter table t exchange partition p with table u",
        "load data infile '/x' into table t",
        "signal sqlstate '45000'",
        "select 1 /*!99999 from t */",
        "/*M! select */ 1",
        "select * from f(1)",
        "select * from (",
        "select * from t)",
        "select 'a",
        "set names gbk",
        "set character_set_client = @x",
        "set @a = 1, @@session.character_set_client = 28",
        "set names 'gb\\k'",
        "set character set 'gb' 'k'",
        "set global init_connect = 'set @x = 1'",
        "set @y = 1, @@global.`init_connect` = 'x'",
        "nonsense",
        "select * from t union , u",
        "select * from t except join u",
        "with x as select 1",
        "select\u{e9}from t",
    ] {
        let found = of(sql);
        assert!(found.unknown.is_some(), "{sql}: {found:?}");
        assert!(found.ways.contains(Ways::ANYTHING), "{sql}");
    }
    for sql in [
        "handler t read first",
        "show processlist",
        "show binlog events",
        "select load_file('x')",
        "explain for connection 5",
    ] {
        let found = of(sql);
        assert!(
            found.unknown.is_some() && !found.ways.contains(Ways::ANYTHING),
            "{sql}"
        );
    }
    for sql in [
        "set names utf8mb4 collate utf8mb4_bin",
        "SET NAMES 'latin1'",
        "set autocommit=1, sql_mode='ANSI'",
        "set character_set_client = binary, @x = 5",
    ] {
        assert_eq!(of(sql).unknown, None, "{sql}");
    }
    // One place for each doubt would do no harm, but some time.
    let deep = format!("select {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(of(&deep).unknown.is_some());
    let long = format!("select {}1", ",".repeat(MAX_TOKENS));
    assert!(of(&long).unknown.is_some());
    let many: String = (0..2000).map(|n| format!(", t{n}")).collect();
    assert!(of(&format!("select * from t{many}")).unknown.is_some());
}

#[test]
fn routines_are_named() {
    let routines = |sql: &str| {
        let mut names: Vec<_> = of(sql).routines.iter().map(text).collect();
        names.sort();
        names.join(" ")
    };
    for (sql, wanted) in [
        ("select concat(a), count(*), now() from t", ""),
        ("select f(1), d.g(2), `h` (3)", "d.g f h"),
        ("select count (*)", "count"),
        ("select `sum`(1)", "sum"),
        ("select d.concat(1)", "d.concat"),
        ("call d.p(1, f(2))", "d.p f"),
        ("call p", "p"),
        ("select * from t as x (a, b)", ""),
        ("insert into t (a, b) values (f(1), 2)", "f"),
        (
            "select cast(a as decimal(10, 2)), convert(b, char(5)), nextval(s) from t",
            "",
        ),
        ("create table t (a varchar(5) default (uuid()), b int)", ""),
        ("select größe(1)", "größe"),
    ] {
        assert_eq!(routines(sql), wanted, "{sql}");
    }
}

#[test]
fn copies_of_columns() {
    let copies = |sql: &str| {
        let found = of(sql);
        let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut all: Vec<_> = found
            .copies
            .iter()
            .map(|(from, to)| format!("{}>{}", name(from), name(to)))
            .collect();
        all.sort();
        all.join(" ")
    };
    for (sql, wanted) in [
        ("update t set a = b, c = upper(t.d) where e = f", "b>a d>c"),
        ("update t set a = a + 1", "a>a"),
        (
            "update t, u set t.a = concat('x', u.`b`), u.c = 5 order by d",
            "b>a",
        ),
        (
            "update t set a = (select max(b) from u where c = 1), d = 2",
            "b>a c>a u>a",
        ),
        (
            "insert into t (a) values (b) on duplicate key update a = values(b), c = d",
            "d>c",
        ),
        (
            "insert into t select b from u on duplicate key update a = u.b",
            "b>a",
        ),
        ("update t set a = \"b\"", "b>a"),
        ("set @x = y", ""),
    ] {
        let wanted: Vec<_> = wanted
            .split(' ')
            .filter(|copy| !copy.starts_with("u>"))
            .collect();
        assert_eq!(copies(sql), wanted.join(" "), "{sql}");
    }
}

#[test]
fn other_ways() {
    for (sql, wanted) in [
        ("select 1", Ways::empty()),
        ("select @@version", Ways::empty()),
        ("set sql_mode = 'x'", Ways::SETS_SYSTEM),
        ("set @@session.a = 1, @y = 2", Ways::SETS_SYSTEM),
        ("select 1 into outfile 'x'", Ways::WRITES_FILE),
        ("select last_insert_id()", Ways::empty()),
        ("select last_insert_id(a) from t", Ways::SETS_INSERT_ID),
        ("show warnings", Ways::DIAGNOSTICS),
        (
            "get diagnostics condition 1 @m = message_text",
            Ways::DIAGNOSTICS,
        ),
        ("insert into t values (1)", Ways::STORES),
        ("explain insert into t values (1)", Ways::empty()),
        ("delete from t", Ways::empty()),
        ("call p()", Ways::CALLS),
        ("use d", Ways::SCHEMA),
        ("select 1 union select 2", Ways::DERIVES),
        ("select a from (select 1 as a) d", Ways::DERIVES),
        ("select a from (b join (table t) d)", Ways::DERIVES),
        ("with a as (select 1) select 2", Ways::DERIVES),
        (
            "select a from t where b in (select c from d)",
            Ways::empty(),
        ),
        (
            "alter table t add a int",
            Ways::DEFINES | Ways::STORES | Ways::ALTERS,
        ),
        (
            "create temporary table t (a int)",
            Ways::DEFINES | Ways::STORES | Ways::TEMPORARY,
        ),
    ] {
        assert_eq!(of(sql).ways, wanted, "{sql}");
    }
    for (sql, wanted) in [
        ("select @x, @`y y`, @@z, @X", "x read, y y read"),
        ("select @\u{e9}, @ y", " read, \u{e9} read"),
        ("select @x := @y", "x may be set, y read"),
        (
            "select a, b into @x, @y from t where c = @z",
            "x may be set, y may be set, z read",
        ),
        ("select a from t into @x", "x may be set"),
        (
            "set @x = 1, @y := @z + (select max(a) from t where b = @w), sql_mode = @v",
            "v read, w read, x set, y set, z read",
        ),
        (
            "load data local infile 'x' into table t (@x)",
            "x may be set",
        ),
        (
            "get diagnostics condition 1 @m = message_text",
            "m may be set",
        ),
        ("explain format=json into @x select 1", "x may be set"),
        ("execute s using @x", "x read"),
        (
            "set statement max_statement_time = 1 for select 1 into @x",
            "x may be set",
        ),
    ] {
        let shown = |(name, how): &(Vec<u8>, Use)| {
            let how = match how {
                Use::Read => "read",
                Use::MaySet => "may be set",
                Use::Set => "set",
            };
            format!("{} {how}", String::from_utf8_lossy(name))
        };
        let mut all: Vec<_> = of(sql).variables.iter().map(shown).collect();
        all.sort();
        assert_eq!(all.join(", "), wanted, "{sql}");
    }
    let prepares = of("prepare s from 'select ''x'' from t'").prepares.unwrap();
    assert_eq!(prepares, (b"s".to_vec(), b"select 'x' from t".to_vec()));
    assert_eq!(of("execute `s` using @x").executes.unwrap(), b"s");
    assert_eq!(of("select 1; ; select 2").statements, 2);
}

#[test]
fn quotes_are_read_in_each_mode() {
    // A table in ANSI_QUOTES, else an error.
    assert_eq!(list("select * from \"t\""), "t");
    assert_eq!(list("select \"a\" from t"), "t");
    // The one mode has a comment where the other has a table.
    let found = of(r"select 'a\' from t -- ', b from u");
    assert!(found.unknown.is_none(), "{found:?}");
    assert_eq!(list(r"select 'a\' from t -- ', b from u"), "t u");
    assert_eq!(list(r"select 'it\'s' from t"), "t");
}

/// What is hostile takes a time that grows with its length, not with the square of it: these would take hours.
#[test]
fn hostile_texts_take_linear_time() {
    let with: String = (0..5000).map(|n| format!("a{n} AS (SELECT 1), ")).collect();
    let ctes = format!(
        "WITH {with} b AS (SELECT 1) SELECT * FROM {}b",
        "b, ".repeat(200_000)
    );
    let written: String = (0..900)
        .map(|n| format!("INSERT INTO t{n} VALUES (1);"))
        .collect();
    for text in [
        ctes,
        written + &"INSERT INTO t VALUES (1) RETURNING a;".repeat(100_000),
        "SET @a = 1, ".repeat(100_000),
        "SET names utf8;".repeat(100_000),
        "CREATE ".repeat(300_000),
        "DELETE ".repeat(300_000),
        "(".repeat(1_000_000),
        "SELECT (SELECT 1 FROM a) UNION ".repeat(50_000),
        "a.".repeat(500_000),
        "'\\''\"".repeat(300_000),
    ] {
        of(&text);
    }
}
