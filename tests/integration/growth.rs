//! The time that a peer's text takes grows with its length, not with the square of it: whatever sees such a text
//! is given it four times as long again and again, in the forms that are dear to patterns and parsers.

use std::time::Duration;

use dpm::sql::effects::effects;
use dpm::sql::{Mode, Tokens, digest, statement, trim};

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, MockServer, Wire, caps, com, err, greeting};
use crate::support::{Dpm, PASSWORD, Server, USER, mariadb, process};

const MODERN: u32 = caps::BASE | caps::MULTI | caps::DEPRECATE_EOF;

/// What texts are long with.
const FILLERS: &[&str] = &[
    " ", ",", "(", "'", "\\", "=", "-", "%", "a", "/*!", "/**/", "a ", "LIKE '", "ROUND 1 ",
];

const SIZES: &[usize] = &[8 << 10, 32 << 10, 128 << 10];
const STEP: usize = 4;
/// Twice as much may take two and a half times as long.
const MOST: f64 = 2.5 * 2.5;
/// What is too short to be measured.
const SLACK: Duration = Duration::from_millis(15);

/// Times `run` with a text of each size. A quadratic one is found by the smaller sizes, before it takes for ever.
#[track_caller]
fn watch(dpm: &Dpm, what: &str, filler: &str, mut run: impl FnMut(&str)) {
    let mut measure = |size: usize| {
        let text = filler.repeat(size / filler.len());
        let before = dpm.cpu_time();
        run(&text);
        dpm.cpu_time() - before
    };
    let mut took = measure(SIZES[0]);
    for &size in &SIZES[1..] {
        let most = took.mul_f64(MOST) + SLACK;
        let mut longer = measure(size);
        for _ in 0..2 {
            if longer > most {
                longer = longer.min(measure(size));
            }
        }
        assert!(
            longer <= most,
            "{what} with {filler:?}: {} bytes take {took:?}, {size} take {longer:?}",
            size / STEP
        );
        took = longer;
    }
}

/// Sends queries that begin in these ways and are long, and prepares them.
#[track_caller]
fn watch_queries(dpm: &Dpm, port: u16, beginnings: &[&str]) {
    let mut wire = Wire::login_as(port, USER, PASSWORD, MODERN);
    for beginning in beginnings {
        for filler in FILLERS {
            watch(dpm, beginning, filler, |text| {
                wire.query(&format!("{beginning}{text}x"));
            });
        }
    }
}

/// A service that lets [`USER`] in.
fn serve(call: &str) -> Dpm {
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local listener = require('harness').listen(function() end)
         local users = {{ {USER} = {{ password = '{PASSWORD}' }} }}
         {call}"
    ))
    .server(mariadb())
    .start()
}

#[test]
fn of_the_multiplexers_statements() {
    let dpm = serve("dpml.multiplex(listener, { users = users })");
    let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
    for sql in [
        "ADD DB host=127.0.0.1,port=1,name=one,group=g",
        "POLL ALL 0.01 SELECT 1",
    ] {
        assert!(matches!(wire.query(sql), Answer::Ok(_)));
    }
    let beginnings = [
        "",
        "ADD DB ",
        "ADD DB host=a",
        "ADD DB host='a",
        "ADD DB name=b,host=a,group=",
        "ADD GROUP g ",
        "REMOVE DB ",
        "REMOVE DB '",
        "SHOW ",
        "SHOW DB STATUS LIKE '",
        "SHOW FULL DB STATUS ",
        "SHOW STATUS LIKE '%",
        "POLL ",
        "POLL ALL 0.01 ",
        "POLL ALL 0.01 EVERY 5",
        "QUERY ",
        "QUERY ALL 0.01 SELECT ",
        "FETCH ALL SELECT 1",
        "FETCH ALL SELECT 1 ROUND 1",
        "FORGET ALL ",
        "HELP ",
        "POLL ALL",
    ];
    watch_queries(&dpm, dpm.port(), &beginnings);
}

#[test]
fn of_queries_to_services() {
    let dpm = serve(
        "dpml.accept_clients(listener, { users = users, new_command = function(cmd)
           return { fields = { 'sql' }, rows = { { cmd:argument():sub(1, 200) } } } end })",
    );
    let beginnings = [
        "",
        "SELECT ",
        "SELECT 1",
        "SELECT @@version",
        "USE ",
        "USE `",
        "SET ",
        "COMMIT ",
        "SHOW VARIABLES ",
        "SHOW VARIABLES LIKE '",
        "SHOW WARNINGS",
    ];
    watch_queries(&dpm, dpm.port(), &beginnings);
    for filler in FILLERS {
        watch(&dpm, "a statement that is prepared", filler, |text| {
            let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
            wire.exchange(com::STMT_PREPARE, format!("SELECT {text}x").as_bytes());
        });
        watch(&dpm, "a database", filler, |text| {
            let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
            wire.exchange(com::INIT_DB, text.as_bytes());
        });
    }
}

#[test]
fn of_questions_about_plans() {
    let dpm = serve(&format!(
        "local explain = dpml.autoexplain {{ threshold_ms = 100000, side = {{
           host = arg[1], port = tonumber(arg[2]), user = '{USER}', password = '{PASSWORD}' }} }}
         explain:admin(listener, {{ users = users }})"
    ));
    let beginnings = [
        "SHOW",
        "SHOW ",
        "SHOW FULL",
        "SHOW PLANS",
        "SHOW PLANS LIKE",
        "SHOW PLANS LIKE '",
        "SHOW STATUS LIKE '",
        "RESET PLANS",
    ];
    watch_queries(&dpm, dpm.port(), &beginnings);
}

#[test]
fn of_queries_to_handlers_that_share() {
    let dpm = serve(&format!(
        "dpml.accept_clients(listener, {{ users = users, all_commands = true, handler = dpml.coalesce {{
           host = arg[1], port = tonumber(arg[2]), user = '{USER}', password = '{PASSWORD}' }} }})"
    ));
    watch_queries(
        &dpm,
        dpm.port(),
        &["", "SELECT ", "SELECT '", "SET ", "USE "],
    );
}

/// All ready-made plug-ins before this server.
fn plugins(server: &Server) -> Dpm {
    let learnt = process::folder("growth").join("learnt");
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local listener = require('harness').listen(function() end)
         local side = {{ host = arg[1], port = tonumber(arg[2]), user = '{USER}', password = '{PASSWORD}' }}
         dpml.passthrough_new_clients(listener, dpml.chain {{
           dpml.slowlog {{ threshold_ms = 100000 }},
           dpml.firewall {{ file = '{}', learn = true }},
           dpml.mask {{ columns = {{ 'customers.email' }} }},
           dpml.autoexplain {{ threshold_ms = 0, side = side }},
         }}, {{ arg[1], tonumber(arg[2]) }})",
        learnt.display()
    ))
    .server(server)
    .start()
}

#[test]
fn of_queries_that_plugins_see() {
    let dpm = plugins(mariadb());
    let beginnings = [
        "",
        "SELECT ",
        "SELECT '",
        "SELECT /*+ ",
        "INSERT INTO t VALUES (",
        "SET ",
        "USE ",
    ];
    watch_queries(&dpm, dpm.port(), &beginnings);
    for filler in FILLERS {
        watch(&dpm, "a statement that is prepared", filler, |text| {
            let mut wire = Wire::login_as(dpm.port(), USER, PASSWORD, MODERN);
            wire.exchange(com::STMT_PREPARE, format!("SELECT {text}x").as_bytes());
        });
    }
}

#[test]
fn of_what_servers_say() {
    let mock = MockServer::new();
    let dpm = Launch::script(&format!(
        "local dpml = require 'dpml'
         function say()
           local db = dpml.connect {{ host = '127.0.0.1', port = {}, user = '{USER}', password = '{PASSWORD}' }}
           while true do
             local ok, problem = pcall(db.query, db, 'SELECT 1')
             print(ok and 'rows' or #tostring(problem))
             if db.server:close_reason() then return end
           end
         end
         dpm.on_signal('USR2', function() dpml.spawn(say) end)
         require('harness').listen(function() end)",
        mock.port
    ))
    .start();
    dpm.port(); // by then it knows the signal
    for filler in FILLERS {
        dpm.signal("USR2");
        let mut server = mock.accept_login(caps::BASE | caps::MULTI);
        server.read_command();
        watch(&dpm, "an error", filler, |text| {
            server.write(&err(1064, "42000", &format!("Near {text}x")));
            server.read_command();
        });
        watch(&dpm, "a value", filler, |text| {
            server.send_rows(&["a"], &[&[Some(text.as_bytes())]]);
            server.read_command();
        });
        drop(server);
        watch(&dpm, "a version", filler, |text| {
            dpm.signal("USR2");
            let mut server = mock.accept();
            let greeting = greeting(caps::BASE);
            let (_, behind) = greeting.split_at(1 + "8.0.99-mock".len());
            let start = [&[10][..], b"8.0.", text.as_bytes()].concat();
            server.write(&[&start[..], behind].concat());
            let _ = server.try_read();
        });
    }
}

/// Looks at a text.
type Look = fn(&[u8]) -> usize;

/// How long this thread has been on a processor, in nanoseconds.
fn own_cpu_time() -> u64 {
    std::thread::yield_now(); // the figure is of when it was scheduled last
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn of_texts_that_are_taken_apart() {
    const BEGINNINGS: &[&str] = &[
        "",
        "SELECT ",
        "SET a = ",
        "WITH a AS ",
        "INSERT INTO t VALUES ",
        "SELECT /*+ ",
    ];
    const FILLERS: &[&str] = &[
        " ",
        ",",
        "(",
        ")",
        "'",
        "\"",
        "`",
        "\\",
        "=",
        "-",
        "+",
        "@",
        ".",
        ";",
        "%",
        "1",
        "a",
        "é",
        "/*",
        "*/",
        "/*!",
        "/*+",
        "/*!80000 ",
        "-- \n",
        "1,",
        "(1),",
        "a.",
        "a,",
        "`a`.",
        "'a',",
        "-1,",
        "...",
        "\0",
    ];
    let looks: [(&str, Look); 5] = [
        ("tokens", |sql| Tokens::new(sql, Mode::default()).count()),
        ("trim", |sql| trim(sql, Mode::default()).len()),
        ("digest", |sql| digest(sql, Mode::default()).text.len()),
        ("statement", |sql| {
            statement(sql, Mode::default()).map_or(0, |statement| statement.multi)
        }),
        ("effects", |sql| effects(sql, Mode::default()).len()),
    ];
    for (what, look) in looks {
        for beginning in BEGINNINGS {
            for filler in FILLERS {
                let measure = |size: usize| {
                    let sql = format!("{beginning}{}", filler.repeat(size / filler.len()));
                    let before = own_cpu_time();
                    std::hint::black_box(look(sql.as_bytes()));
                    own_cpu_time() - before
                };
                let short = measure(16 << 10);
                let most = short * 6 + 3_000_000;
                let long = (0..3).map(|_| measure(64 << 10)).find(|long| *long <= most);
                assert!(
                    long.is_some(),
                    "{what} of {beginning:?} and {filler:?}: {short} ns for a quarter"
                );
            }
        }
    }
}

#[test]
fn of_texts_that_the_library_reads() {
    let dpm = Launch::script(&format!(
        "local looks = {{
           tree = require('dpml.autoexplain.plans').of_tree,
           json = require('dpml.autoexplain.plans').of_json,
           duration = require('dpml.support.times').milliseconds,
           like = function(text) return require('dpml.text.like').matcher('%a%b_%1%')(text) end,
           pattern = function(text) return pcall(require('dpml.text.like').matcher, text) end,
           words = function(text) return require('dpml.text.scanner').new(text):take('A', 'B', 'C') end,
         }}
         local function took(look, text)
           local before = os.clock()
           look(text)
           return os.clock() - before
         end
         for name, look in pairs(looks) do
           for _, beginning in ipairs {{ '', '-> ', '1', 'A', '%' }} do
             for filler in ([[{}]]):gmatch('[^|]+') do
               local function measure(size) return took(look, beginning .. filler:rep(size / #filler) .. 'x') end
               local short = measure({short})
               local long = math.min(measure({long}), measure({long}))
               if long > short * {MOST} + 0.015 then
                 print(('too long: %s of %q and %q: %g s, and %g s'):format(name, beginning, filler, short, long))
               end
             end
           end
         end
         print('the end')
         require('harness').listen(function() end)",
        FILLERS.join("|").replace('\n', " "),
        short = 16 << 10,
        long = 64 << 10,
    ))
    .start();
    dpm.line("the end");
    assert!(!dpm.wrote("too long"));
}
