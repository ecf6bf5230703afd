//! Tasks: straight-line code on coroutines.

use std::time::Duration;

use crate::dpml::run;
use crate::support::{PASSWORD, Server, USER, both, mariadb};

/// Runs a script in which `db()` connects to the server, in a task that ends the program.
#[track_caller]
fn run_task(server: &Server, body: &str) -> Vec<String> {
    let script = format!(
        "function db(options)
           local all = {{ host = arg[1], port = tonumber(arg[2]), user = '{USER}', pass = '{PASSWORD}', db = 'test' }}
           for name, value in pairs(options or {{}}) do all[name] = value end
           return dpml.connect(all)
         end
         function fails(fn, ...)
           local ok, err = pcall(fn, ...)
           print(ok and 'no error' or tostring(err))
           return err
         end
         dpml.spawn(function() {body} dpm.exit(0) end)"
    );
    run(&script, &[server.host(), &server.port.to_string()])
}

#[test]
fn queries_may_return_their_errors() {
    let lines = run_task(
        mariadb(),
        "local db = db()
         print(db:try_query('SELECT 1 AS x').rows[1].x, db:try_query('SELECT ?', { 7 }).rows[1][1])
         local result, err = db:try_query('SELEKT')
         print(result, err.errnum)
         result, err = db:try_query('SELECT SLEEP(10)', nil, { timeout_ms = 20 })
         print(result, err.timed_out)
         local statement = db:prepare('SELECT 1 + ? FROM DUAL WHERE SLEEP(?) = 0')
         print(statement:try_execute({ 1, 0 }).rows[1][1])
         result, err = statement:try_execute({ 1, 10 }, { timeout_ms = 20 })
         print(result, err.timed_out)
         -- What is not the call's own is raised: the script's mistakes, others' time-outs, cancellation.
         print((select(2, pcall(db.try_query, db)):gsub('^.*%.lua:%d+: ', '')))
         fails(dpml.with_timeout_ms, 20, db.try_query, db, 'SELECT SLEEP(10)')
         local task = dpml.spawn(function() print('not reached', db:try_query('SELECT SLEEP(10)')) end)
         dpml.sleep_ms(1)
         task:cancel()
         fails(task.wait, task)
         db:close()
         result, err = db:try_query('SELECT 1')
         print(result, err.errnum)",
    );
    assert_eq!(
        lines,
        [
            "1\t7",
            "nil\t1064",
            "nil\ttrue",
            "2",
            "nil\ttrue",
            "db:try_query: sql: expected a string, got nil",
            "ERROR 3024 (HY000): Query execution was interrupted, 20 ms exceeded",
            "ERROR 1317 (70100): Query execution was interrupted",
            "nil\t2006",
        ]
    );
}

#[test]
fn tasks_take_turns() {
    let lines = run(
        "local function talk(name, pause)
           print(name, 'begins')
           dpml.sleep(pause)
           print(name, 'ends')
           return name, pause
         end
         local first = dpml.spawn(talk, 'first', 100)
         local second = dpml.spawn(talk, 'second', 30)
         dpml.spawn(function()
           print('waits')
           print(first:wait())
           print(second:wait())
           print(dpml.wait_all { function() dpml.sleep(20) return 'slow' end, function() return 'quick' end, second })
           print(dpml.wait_all {})
         end)
         print('the startfile ends')",
        &[],
    );
    assert_eq!(
        lines,
        [
            "first\tbegins",
            "second\tbegins",
            "waits",
            "the startfile ends",
            "second\tends",
            "first\tends",
            "first\t100",
            "second\t30",
            "slow\tquick\tsecond",
            "",
        ]
    );
}

#[test]
fn what_is_spawned_in_a_task_has_its_turn_later() {
    let lines = run(
        "dpml.spawn(function()
           local child = dpml.spawn(function() print('child') end)
           print('parent')
           child:wait()
           print('parent again')
         end)",
        &[],
    );
    assert_eq!(lines, ["parent", "child", "parent again"]);
}

#[test]
fn time_is_limited_and_tasks_are_cancelled() {
    let lines = run(
        "local function show(ok, err) print(ok, err, type(err) == 'table' and (err.timed_out or err.cancelled)) end
         dpml.spawn(function()
           show(pcall(dpml.with_timeout, 20, dpml.sleep, 5000))
           print(dpml.with_timeout(5000, function() dpml.sleep(1) return 'in time', nil, 3 end))
           show(pcall(dpml.with_timeout, 20, dpml.with_timeout, 5000, dpml.sleep, 6000))
           show(pcall(dpml.wait_all, { timeout = 20, function() dpml.sleep(5000) end }))
           -- One that fails ends the others.
           local stopped
           show(pcall(dpml.wait_all, {
             function() local ok, err = pcall(dpml.sleep, 5000) stopped = err end,
             function() dpml.sleep(10) error('broken', 0) end,
           }))
           dpml.sleep(1)
           print(stopped)
           local sleeper = dpml.spawn(function()
             local ok, err = pcall(dpml.sleep, 5000)
             print('cleans up')
             error(err, 0)
           end)
           dpml.sleep(1)
           print(sleeper:cancel('enough'), sleeper:is_over())
           show(pcall(sleeper.wait, sleeper))
           print(sleeper:cancel(), sleeper:is_over())
           local never = dpml.spawn(function() print('never') end)
           print(never:cancel())
           show(pcall(never.wait, never))
         end)",
        &[],
    );
    let timeout = |ms| {
        format!(
            "false\tERROR 3024 (HY000): Query execution was interrupted, {ms} ms exceeded\ttrue"
        )
    };
    assert_eq!(
        lines,
        [
            &*timeout(20),
            "in time\tnil\t3",
            &timeout(20),
            &timeout(20),
            "false\tbroken\tfalse",
            "ERROR 1317 (70100): Query execution was interrupted",
            "true\tfalse",
            "cleans up",
            "false\tERROR 1317 (70100): Query execution was interrupted: enough\ttrue",
            "false\ttrue",
            "true",
            "false\tERROR 1317 (70100): Query execution was interrupted\ttrue",
        ]
    );
}

#[test]
fn what_waits_says_where_it_may_be_called() {
    let lines = run(
        "print(select(2, pcall(dpml.sleep, 1)))
         print(select(2, pcall(dpml.connect, { host = '127.0.0.1' })))
         print(select(2, pcall(dpml.spawn, 'not a function')))
         dpml.spawn(function() print(select(2, pcall(dpml.wait_all, { coroutine.yield }))) end)",
        &[],
    );
    for (line, part) in lines.iter().zip([
        "dpml.sleep: it waits, and so must be called inside of dpml.spawn",
        "dpml.connect: it waits, and so must be called inside of dpml.spawn",
        "dpml.spawn: fn: expected a function, got string",
        "a task has yielded by itself",
    ]) {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(lines.len(), 4);
}

both! {
    fn queries_return_results(server) {
        let base = server.database();
        server.sql(&format!("USE {base}; CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20))"));
        let lines = run_task(server, &format!(
            "local db = db {{ db = '{base}' }}
             local made = db:query(\"INSERT INTO t (name) VALUES ('a'), (NULL), ('c')\")
             print(made.affected_rows, made.insert_id, made.warnings, #made.rows, #made.columns)
             local found = db:query('SELECT id, name FROM t ORDER BY id')
             print(table.concat(found.columns, ','), #found.rows, found.fields[1].type == dpm.MYSQL_TYPE_LONG)
             for _, row in ipairs(found.rows) do print(row.id, row.name, row[1], row[2], row.nothing) end
             local one = db:query('SELECT name FROM t WHERE id = ? OR name = ?', {{ 3, \"it's\" }})
             print(#one.rows, one.rows[1].name)
             fails(db.query, db, 'SELECT * FROM nowhere')
             local err = fails(db.query, db, 'SELECT ? FROM nowhere', {{ 1 }})
             print(err.errnum, err.sqlstate)
             print(db:query('SELECT CAST(\"x\" AS SIGNED)').warnings)
             local two = db:query('SELECT 1 AS a UNION SELECT 2')
             for i, row in ipairs(two.rows) do print(i, row.a) end
             db:ping()
             db:use('test')
             print(db:query('SELECT DATABASE() AS d').rows[1].d)
             print(db:is_open(), db.version == nil)
             db:close()
             print(db:is_open())
             fails(db.query, db, 'SELECT 1')"));
        assert_eq!(lines, [
            "3\t1\t0\t0\t0",
            "id,name\t3\ttrue",
            "1\ta\t1\ta\tnil",
            "2\tnil\t2\tnil\tnil",
            "3\tc\t3\tc\tnil",
            "1\tc",
            &format!("ERROR 1146 (42S02): Table '{base}.nowhere' doesn't exist"),
            &format!("ERROR 1146 (42S02): Table '{base}.nowhere' doesn't exist"),
            "1146\t42S02",
            "1",
            "1\t1",
            "2\t2",
            "test",
            "true\tfalse",
            "false",
            "ERROR 2006 (HY000): Server has gone away",
        ]);
    }
}

both! {
    fn statements_and_transactions(server) {
        let base = server.database();
        server.sql(&format!("USE {base}; CREATE TABLE t (n INT) ENGINE=InnoDB"));
        let lines = run_task(server, &format!(
            "local db, other = db {{ db = '{base}' }}, db {{ db = '{base}' }}
             local function count() return other:query('SELECT COUNT(*) AS n FROM t').rows[1].n end
             local insert = db:prepare('INSERT INTO t VALUES (?)')
             db:begin()
             for n = 1, 3 do insert:execute {{ n }} end
             print(count())
             db:commit()
             print(count())
             db:begin() insert:execute {{ 4 }} db:rollback()
             print(count())
             print(db:transaction(function(db) insert:execute {{ 5 }} return 'committed', 2 end))
             print(count())
             fails(db.transaction, db, function() insert:execute {{ 6 }} error('no', 0) end)
             print(count())
             local sum = 0
             local select = db:prepare('SELECT n FROM t WHERE n > ?')
             for row in select:each {{ 1 }} do sum = sum + row.n end
             print(sum)
             select:close() insert:close()
             print(db:query('SHOW STATUS LIKE \"Com_stmt_close\"').rows[1].Value)
             fails(insert.execute, insert, {{ 1 }})"));
        assert_eq!(lines[..9], ["0", "3", "3", "committed\t2", "4", "no", "4", "10", "2"]);
        assert!(lines[9].starts_with("ERROR 1243 (HY000)"), "{lines:?}");
    }
}

both! {
    fn rows_come_one_by_one(server) {
        let base = server.database();
        let lines = run_task(server, &format!(
            "local db = db()
             local seq = 'SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n AS n, REPEAT(\"x\", 1000) AS pad FROM {base}.ten a, {base}.ten b, {base}.ten c, {base}.ten d'
             db:query('CREATE TABLE {base}.ten (n INT)')
             db:query('INSERT INTO {base}.ten VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)')
             -- A slow reader stops its writer: ten megabytes are never here as a whole.
             local count, sum, most = 0, 0, 0
             for row in db:each(seq) do
               count, sum = count + 1, sum + row.n
               if count % 500 == 0 then
                 dpml.sleep(1)
                 collectgarbage()
                 most = math.max(most, collectgarbage('count'))
               end
             end
             print(count, sum, most < 4000)
             -- Who has left the loop can use the connection at once.
             for row in db:each(seq) do break end
             print(db:query('SELECT 1 AS one').rows[1].one)
             -- Who has not is told.
             fails(function() for row in db:each(seq) do db:query('DO 1') end end)
             print(db:query('SELECT 2 AS two').rows[1].two)
             for row in db:each('SELECT ? AS x', {{ 7 }}) do print(row.x) end
             for row in db:each('SELECT 1 FROM DUAL WHERE 0') do print('never') end
             for row in db:each('DO 1') do print('never') end
             fails(function() for row in db:each('SELEKT') do end end)
             fails(function() for row in db:each('SELECT SLEEP(5)', nil, {{ timeout = 50 }}) do end end)
             print(db:query('SELECT 3 AS three').rows[1].three)"));
        assert_eq!(lines[..7], [
            "10000\t49995000\ttrue",
            "1",
            "ERROR 2014 (HY000): Commands out of sync: of the rows of db:each, the rest has been dropped, as another command has followed",
            "2",
            "7",
            &lines[5],
            "ERROR 3024 (HY000): Query execution was interrupted, 50 ms exceeded",
        ]);
        assert!(lines[5].starts_with("ERROR 1064 (42000)"), "{lines:?}");
        assert_eq!(lines[7], "3");
    }
}

both! {
    fn a_query_that_is_given_up_leaves_a_clean_connection(server) {
        let begun = std::time::Instant::now();
        let lines = run_task(server,
            "local db = db()
             local id = db:query('SELECT CONNECTION_ID() AS id').rows[1].id
             fails(db.query, db, 'SELECT SLEEP(60), \"late\"', nil, { timeout = 100 })
             -- The answer of the one before never shows up under this one.
             print(db:query('SELECT \"next\" AS x').rows[1].x)
             fails(db.query, db, 'SELECT SLEEP(?)', { 60 }, { timeout = 100 })
             print(db:query('SELECT CONNECTION_ID() AS id').rows[1].id == id)
             local task = dpml.spawn(function() db:query('SELECT SLEEP(60)') end)
             dpml.sleep(50)
             task:cancel()
             fails(task.wait, task)
             -- Who waits behind it may be given up, too, before it has begun.
             task = dpml.spawn(function() db:query('SELECT SLEEP(0.3)') end)
             dpml.sleep(20)
             fails(db.query, db, 'INSERT INTO nowhere VALUES (1)', nil, { timeout = 20 })
             task:wait()
             print(db:query('SELECT CONNECTION_ID() AS id').rows[1].id == id)
             for n = 1, 200 do
               pcall(db.query, db, 'SELECT SLEEP(0.0005)', nil, { timeout = 1 })
               assert(db:query('SELECT ' .. n .. ' AS n').rows[1].n == tostring(n))
             end
             print(db:query('SELECT CONNECTION_ID() AS id').rows[1].id == id)");
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(lines, [
            "ERROR 3024 (HY000): Query execution was interrupted, 100 ms exceeded",
            "next",
            "ERROR 3024 (HY000): Query execution was interrupted, 100 ms exceeded",
            "true",
            "ERROR 1317 (70100): Query execution was interrupted",
            "ERROR 3024 (HY000): Query execution was interrupted, 20 ms exceeded",
            "true",
            "true",
        ]);
    }
}

both! {
    fn results_are_no_larger_than_was_asked_for(server) {
        let begun = std::time::Instant::now();
        let lines = run_task(server,
            "local db = db()
             local many = 'SELECT REPEAT(\"x\", 1000) FROM information_schema.collations a, information_schema.collations b'
             local err = fails(db.query, db, many, nil, { max_bytes = 5000 })
             print(err.too_large, err.timed_out)
             -- The rest of it is nobody's.
             print(db:query('SELECT \"next\" AS x', nil, { max_bytes = 4 }).rows[1].x)
             fails(db.query, db, 'SELECT \"next\" AS x', nil, { max_bytes = 3 })
             fails(db.query, db, 'SELECT ?', { 'next' }, { max_bytes = 3 })
             local statement = db:prepare('SELECT ?')
             fails(statement.execute, statement, { 'next' }, { max_bytes = 3 })
             print(statement:execute({ 'abc' }, { max_bytes = 3 }).rows[1][1])");
        assert!(begun.elapsed() < Duration::from_secs(20));
        let too_large = |bytes| {
            format!("ERROR 3024 (HY000): Query execution was interrupted, its result exceeds {bytes} bytes")
        };
        assert_eq!(lines, [
            &*too_large(5000), "true\tnil", "next", &too_large(3), &too_large(3), &too_large(3), "abc",
        ]);
    }
}

both! {
    fn tasks_share_a_connection_and_run_beside_each_other(server) {
        let begun = std::time::Instant::now();
        let lines = run_task(server,
            "local shared, work = db(), {}
             for n = 1, 50 do
               work[n] = function() return shared:query('SELECT ' .. n .. ' AS n').rows[1].n end
             end
             local all = { dpml.wait_all(work) }
             for n = 1, 50 do assert(all[n] == tostring(n)) end
             -- Each of its own: they take as long as the longest.
             local own = {}
             for n = 1, 10 do
               own[n] = function() return db():query('SELECT SLEEP(0.5) AS s').rows[1].s end
             end
             print(#{ dpml.wait_all(own) })
             fails(dpml.wait_all, { function() db():query('SELECT SLEEP(30)') end, function() db():query('SELEKT') end })");
        assert_eq!(lines[0], "10");
        assert!(lines[1].starts_with("ERROR 1064"), "{lines:?}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_server_that_dies_is_an_error() {
    let lines = run_task(
        mariadb(),
        "local victim, killer = db(), db()
         dpml.wait_all {
           function() fails(victim.query, victim, 'SELECT SLEEP(30)') end,
           function() fails(victim.query, victim, 'SELECT 1') end,
           function() dpml.sleep(100) killer:query('KILL ' .. victim.thread_id) end,
         }
         print(victim:is_open())
         local streamed = db()
         fails(function()
           for row in streamed:each('SELECT REPEAT(\"x\", 100000) FROM information_schema.collations') do
             if killer then killer:query('KILL ' .. streamed.thread_id) killer = nil end
           end
         end)
         fails(db, { port = 1 })
         fails(db, { pass = 'wrong' })
         fails(db, { nonsense = 1 })",
    );
    assert!(lines[0].starts_with("ERROR 2013 (HY000)"), "{lines:?}");
    assert_eq!(lines[1], "ERROR 2006 (HY000): Server has gone away");
    assert_eq!(lines[2], "false");
    assert!(lines[3].starts_with("ERROR 2013 (HY000)"), "{lines:?}");
    assert!(
        lines[4].starts_with("ERROR 2003 (HY000): Can't connect"),
        "{lines:?}"
    );
    assert!(lines[5].starts_with("ERROR 1045 (28000)"), "{lines:?}");
    assert!(
        lines[6].contains("there is no option nonsense"),
        "{lines:?}"
    );
}

both! {
    fn a_transaction_within_a_transaction_is_a_savepoint(server) {
        let base = server.database();
        server.sql(&format!("USE {base}; CREATE TABLE t (n INT PRIMARY KEY) ENGINE=InnoDB"));
        let lines = run_task(server, &format!(
            "local db, other = db {{ db = '{base}' }}, db {{ db = '{base}' }}
             local function rows(on)
               local all = {{}}
               for i, row in ipairs(on:query('SELECT n FROM t ORDER BY n').rows) do all[i] = row.n end
               return table.concat(all, ' ')
             end
             local function insert(n) db:query('INSERT INTO t VALUES (' .. n .. ')') end
             -- The inner one fails, and the outer one goes on; and deeper.
             print(db:transaction(function()
               insert(1)
               local ok, err = pcall(db.transaction, db, function()
                 insert(2)
                 db:transaction(function() insert(3) end)
                 error('inner', 0)
               end)
               print(ok, err)
               print(db:transaction(function() insert(4) return 'kept', nil, 7 end))
               print('others see', rows(other))
               return 'outer'
             end))
             print(rows(other))
             -- The outer one fails: the inner one is undone, too.
             print(pcall(db.transaction, db, function()
               db:transaction(function() insert(5) end)
               error('outer', 0)
             end))
             print(rows(other))
             -- An error of the server, in the inner one.
             db:transaction(function()
               insert(6)
               local ok, err = pcall(db.transaction, db, function() insert(7) insert(1) end)
               print(ok, err.errnum)
             end)
             print(rows(other))
             -- Within a transaction of the script's own, which it ends itself.
             db:begin()
             insert(8)
             db:transaction(function() insert(9) end)
             print(rows(other))
             db:rollback()
             print(rows(other))
             db:query('BEGIN')
             db:transaction(function() insert(10) end)
             db:query('COMMIT')
             print(rows(other))
             -- Without autocommit each statement begins one, which db:transaction does not take for the script's.
             db:query('SET autocommit = 0')
             rows(db)
             db:transaction(function() insert(11) end)
             print(rows(other))
             db:query('SET autocommit = 1')
             -- By hand within it.
             db:transaction(function() insert(12) db:rollback() end)
             db:transaction(function() insert(13) db:query('COMMIT /* a */') end)
             print(rows(other))
             db:transaction(function()
               insert(14)
               db:query('SAVEPOINT a') insert(15) db:query('ROLLBACK TO a')
             end)
             print(rows(other), db:is_open())"));
        assert_eq!(lines, [
            "false\tinner", "kept\tnil\t7", "others see\t", "outer", "1 4",
            "false\touter", "1 4",
            "false\t1062", "1 4 6",
            "1 4 6", "1 4 6", "1 4 6 10", "1 4 6 10 11", "1 4 6 10 11 13", "1 4 6 10 11 13 14\ttrue",
        ]);
    }
}

both! {
    fn what_ends_a_transaction_unnoticed_is_an_error(server) {
        let base = server.database();
        server.sql(&format!("USE {base}; CREATE TABLE t (n INT PRIMARY KEY) ENGINE=InnoDB; INSERT INTO t VALUES (100), (200)"));
        let lines = run_task(server, &format!(
            "local db, other = db {{ db = '{base}' }}, db {{ db = '{base}' }}
             local function count() return other:query('SELECT COUNT(*) FROM t WHERE n < 100').rows[1][1] end
             local function insert(n) db:query('INSERT INTO t VALUES (' .. n .. ')') end
             local function told(fn)
               local ok, err = pcall(db.transaction, db, fn)
               print(ok, ok and '' or err.errnum, count())
             end
             for _, begin in ipairs {{ 'DO 1; BEGIN', '/* a */ begin work', 'START TRANSACTION READ ONLY' }} do
               told(function() insert(1) db:query(begin) end)
             end
             told(function() insert(1) db:begin() end)
             told(function() insert(1) db:transaction(function() db:commit() end) end)
             told(function() insert(1) db:transaction(function() db:query('ROLLBACK -- a') end) end)
             -- DDL commits what was done before; what comes behind it is not executed, even if the error is caught.
             told(function() insert(1) db:query('CREATE TABLE u (n INT)') insert(2) end)
             told(function() insert(3) pcall(db.query, db, 'CREATE TABLE v (n INT)') pcall(insert, 4) end)
             told(function()
               insert(5)
               db:transaction(function() db:query('DROP TABLE v') end)
             end)
             for _ in db:each('SELECT 1') do end
             told(function() db:query('CREATE TEMPORARY TABLE w (n INT)') insert(6) end)
             -- A deadlock: nothing is executed behind it.
             local task
             told(function()
               insert(7)
               db:query('UPDATE t SET n = 101 WHERE n = 100')
               other:begin()
               other:query('UPDATE t SET n = 201 WHERE n = 200')
               for n = 1000, 1020 do other:query('INSERT INTO t VALUES (' .. n .. ')') end
               task = dpml.spawn(function() return pcall(other.query, other, 'UPDATE t SET n = 102 WHERE n = 100') end)
               dpml.sleep_ms(300)
               local ok, err = pcall(db.query, db, 'UPDATE t SET n = 202 WHERE n = 200')
               print(ok, err.errnum)
               print(pcall(insert, 8))
             end)
             task:wait()
             other:rollback()
             print(count())
             -- Another task's transaction.
             local waiting = dpml.spawn(function() db:transaction(function() insert(9) dpml.sleep_ms(50) end) end)
             dpml.sleep_ms(20)
             local ok, err = pcall(db.transaction, db, function() insert(10) end)
             waiting:wait()
             print(ok, err.errnum, count())
             -- A task that is cancelled within one.
             local cancelled = dpml.spawn(function() db:transaction(function() insert(11) dpml.sleep_ms(5000) end) end)
             dpml.sleep_ms(30)
             cancelled:cancel()
             pcall(cancelled.wait, cancelled)
             told(function() insert(12) end)"));
        let deadlock = lines.iter().position(|line| line.ends_with("1213")).unwrap_or_else(|| panic!("{lines:?}"));
        assert_eq!(lines[..deadlock], [
            "false\t1179\t0", "false\t1179\t0", "false\t1179\t0", "false\t1179\t0", "false\t1179\t0", "false\t1179\t0",
            "false\t1179\t1", "false\t1179\t2", "false\t1179\t3", "true\t\t4",
        ]);
        assert_eq!(lines[deadlock], "false\t1213");
        assert!(lines[deadlock + 1].starts_with("false\tERROR 1213"), "{lines:?}");
        let rest: Vec<&str> = lines[deadlock + 2..].iter().map(String::as_str).collect();
        assert_eq!(rest, ["false\t1213\t4", "4", "false\t1179\t5", "true\t\t6"]);
    }
}

both! {
    fn values_of_queries_with_parameters_have_types(server) {
        let base = server.database();
        server.sql(&format!(
            "USE {base}; CREATE TABLE t (ti TINYINT, tu TINYINT UNSIGNED, s SMALLINT, m MEDIUMINT, i INT UNSIGNED, b BIGINT,
               bu BIGINT UNSIGNED, z INT(8) ZEROFILL, y YEAR, f FLOAT, d DOUBLE, dec_ DECIMAL(30, 10), dt DATETIME(2), tm TIME,
               v VARCHAR(10), bl BLOB, j JSON, bi BIT(8), e ENUM('x', '7'), n INT);
             INSERT INTO t VALUES (-128, 255, -32768, -8388608, 4294967295, -9223372036854775808, 18446744073709551615, 42,
               2024, 1.5, 1e300, 12345678901234567890.0123456789, '2024-01-02 03:04:05.67', '-12:00:00', '007', '8', '[1]',
               b'00110001', '7', NULL)"));
        let lines = run_task(server, &format!(
            "local db = db {{ db = '{base}' }}
             local function show(row)
               local parts = {{}}
               for i = 1, 20 do parts[i] = type(row[i]):sub(1, 1) .. ':' .. tostring(row[i]) end
               print(table.concat(parts, ' '))
             end
             local sql = 'SELECT * FROM t WHERE ? = 1'
             show(db:query(sql, {{ 1 }}).rows[1])
             local statement = db:prepare(sql)
             show(statement:execute({{ 1 }}).rows[1])
             show(statement:try_execute({{ 1 }}, {{ max_bytes = 100000 }}).rows[1])
             for row in statement:each {{ 1 }} do show(row) end
             for row in db:each(sql, {{ 1 }}) do show(row) end
             show(db:try_query(sql, {{ 1 }}).rows[1])
             print(db:query('SELECT ti FROM t WHERE ? = 1', {{ 1 }}).rows[1].ti + 1)
             local plain = db:query('SELECT ti, z, dec_, n FROM t').rows[1]
             print(type(plain.ti), plain.z, plain.dec_, plain.n)
             local at_limit = db:query('SELECT ? + 0 AS a, ? + 0 AS b', {{ '9007199254740992', '1' }}).rows[1]
             print(type(at_limit.a), type(at_limit.b))"));
        let expected = "n:-128 n:255 n:-32768 n:-8388608 n:4294967295 s:-9223372036854775808 s:18446744073709551615 n:42 \
            n:2024 n:1.5 n:1e+300 s:12345678901234567890.0123456789 s:2024-01-02 03:04:05.67 s:-12:00:00 s:007 s:8 s:[1] \
            s:1 s:7 n:nil";
        for line in &lines[..6] {
            assert_eq!(line, expected);
        }
        assert_eq!(lines[6], "-127");
        assert_eq!(lines[7], "string\t00000042\t12345678901234567890.0123456789\tnil");
        assert_eq!(lines[8], "number\tnumber");
    }
}
