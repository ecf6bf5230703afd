//! What workers have in common, tell each other, and do for each other.

use std::time::{Duration, Instant};

use crate::support::wire::{Answer, Wire, caps};
use crate::support::{Dpm, PASSWORD, USER, eventually};
use crate::workers::{PASSTHROUGH, login, spread, two};

#[test]
fn one_does_what_is_to_be_done_once() {
    let dpm = two("l = dpm.listener('127.0.0.1', 0)
         dpm.once('x', function() print('once ' .. worker) end)
         dpm.once('fails', function()
           print('tried ' .. worker)
           if worker == 1 then error('not here') end
         end)
         dpm.once('fails everywhere', function() error('nowhere') end)
         dpm.new_timer():schedule(0, 1, function(t) t:cancel() print('runs ' .. worker) end)")
    .start();
    dpm.line("runs 1");
    dpm.line("runs 2");
    dpm.line("tried 2");
    dpm.line("no worker is left that could be the one for \"fails everywhere\"");
    assert_eq!(dpm.lines("once ").len(), 1);
    assert_eq!(dpm.lines("tried "), ["1", "2"]);
    assert_eq!(dpm.count("nowhere"), 2);
}

/// Each worker waits in a callback until the other is in one, too: nobody could do that on one thread.
#[test]
fn callbacks_of_two_workers_run_at_the_same_time() {
    let dpm = two(&format!(
        "{PASSTHROUGH}
         local meeting = dpm.shared('meeting')
         h.listener:listen(dpm.MYC_CONNECT, function(c)
           c:register(dpm.MYC_SENT_CMD, function(cmd)
             if cmd:argument() == 'SELECT 2' then
               meeting:set('at ' .. worker, true)
               while not meeting:get('at ' .. 3 - worker) do end
             end
           end)
         end)"
    ))
    .start();
    let port = dpm.port();
    let mut clients = [login(port), login(port)];
    for client in &mut clients {
        client.command(3, b"SELECT 2");
    }
    for client in &mut clients {
        assert_eq!(client.read()[0], 1);
    }
}

#[test]
fn a_shared_dictionary_is_seen_by_all() {
    let dpm = two("l = dpm.listener('127.0.0.1', 0)
         local d = dpm.shared('d', { bytes = 8192 })
         d:incr('started', 1, 0)
         dpm.once('look', function()
           local fails = function(f, ...)
             local ok, message = pcall(f, ...)
             print('fails', ok, (tostring(message):gsub('^.-: ', '', 1)))
           end
           print('started', d:get('started'))
           print('same', dpm.shared('d'):get('started'), dpm.shared('other'):get('started'))
           print('set', d:set('a', 'x\\0y'), d:set('b', 1.5), d:set('c', false))
           print('get', #d:get('a'), d:get('b'), d:get('c'), d:get('none'))
           print('add', d:add('a', 'z'))
           print('added', d:add('e', 'z', 60))
           print('ttl', d:ttl('a'), d:ttl('none'), d:ttl('e') > 50, d:ttl('e', 0), d:ttl('e'))
           print('incr', d:incr('b', -1), d:incr('none', 1))
           print('cas', d:cas('b', 1, 2), d:cas('b', 0.5, 2), d:get('b'))
           print('cas nil', d:cas('new', nil, 'x'), d:cas('new', 'x', nil), d:get('new'))
           print('deleted', d:delete('a'), d:delete('a'))
           print('keys', table.concat(d:keys(), ' '), table.concat(d:keys(1), ' '))
           print('evicted', d:set('large', ('x'):rep(8000)), d:usage().entries, d:usage().evicted)
           fails(d.set, d, 'larger', ('x'):rep(8192))
           fails(d.set, d, 'a', {})
           fails(d.set, d, 'a', nil)
           fails(d.set, d, ('k'):rep(1025), 1)
           fails(d.incr, d, 'large', 1)
           fails(dpm.shared, 'd', { bytes = 4096 })
           fails(dpm.shared, 'd', { bytes = 1 })
           print('end')
         end)")
    .start();
    dpm.line("end");
    let text = String::from_utf8(dpm.output()).unwrap();
    for line in [
        "set\t0\t0\t0",
        "get\t3\t1.5\tfalse\tnil",
        "add\tfalse\t0",
        "added\ttrue\t0",
        "ttl\tinf\tnil\ttrue\ttrue\tinf",
        "incr\t0.5\tnil\t0",
        "cas\tfalse\ttrue\t2",
        "cas nil\ttrue\ttrue\tnil",
        "deleted\ttrue\tfalse",
        "keys\tb e c started\tb",
        "evicted\t4\t1\t4",
        "fails\tfalse\tan entry of 8358 bytes is too large for 8192 bytes",
        "fails\tfalse\tvalue: expected a string, a number or a boolean, got table",
        "fails\tfalse\tvalue: expected a string, a number or a boolean, got nil",
        "fails\tfalse\tkey: expected a string of at most 1024 bytes, got 1025 bytes",
        "fails\tfalse\tthe value is no number",
        "fails\tfalse\tbytes: \"d\" is there already, with 8192 bytes",
        "fails\tfalse\tbytes: expected an integer from 4096 to 1099511627776, got 1",
    ] {
        assert!(
            text.lines().any(|written| written == line),
            "{line:?} in\n{text}"
        );
    }
}

/// A client's SELECT 2 does not return until another's SELECT 3; SELECT 4 never does.
const HANGING: &str = "
    local ended = dpm.shared('ended')
    h.listener:listen(dpm.MYC_CONNECT, function(c)
      c:register(dpm.MYC_SENT_CMD, function(cmd)
        local sql = cmd:argument()
        if sql == 'SELECT 2' then while not ended:get('x') do end end
        if sql == 'SELECT 3' then ended:set('x', true) end
        if sql == 'SELECT 4' then while true do end end
      end)
    end)
";

#[test]
fn a_callback_that_does_not_return_is_told_of_once_and_its_worker_relieved() {
    let relieves = "dpm.config { watchdog = 0.2, relieve = true }";
    let dpm = two(&format!("{relieves} {PASSTHROUGH} {HANGING}")).start();
    let port = dpm.port();
    let mut stuck = login(port);
    let _quick: Vec<_> = (0..3).map(|_| login(port)).collect();
    assert_eq!(spread(&dpm, 4), [2, 2]);
    stuck.command(3, b"SELECT 2");
    dpm.line("worker 1 is relieved");
    // Another takes its place, and what comes: the first of the two has had its clients before.
    dpm.line("worker 3 is started in its place");
    dpm.line("started 3 of 3");
    let mut others: Vec<_> = (0..4).map(|_| login(port)).collect();
    eventually("all are told of", || dpm.lines("client ").len() >= 8);
    let at = |worker| dpm.count(&format!(" at {worker}"));
    assert_eq!([at(1), at(2), at(3)], [2, 3, 3]);
    let told = dpm.line("has been running for 1 s");
    assert!(
        told.contains("worker 1: callback MYC_SENT_CMD of connection 2:"),
        "{told}"
    );
    assert_eq!(dpm.count("has not turned for"), 0, "it is told once");
    assert_eq!(others[3].rows("SELECT 3"), [["3"]]);
    assert_eq!(stuck.read()[0], 1);
    dpm.line("worker 1 gets clients again");
}

#[test]
fn workers_that_hang_are_replaced_as_often_as_there_were_to_be_workers() {
    let relieves = "dpm.config { watchdog = 0.2, relieve = true, drain = 0.2 }";
    let mut dpm = two(&format!("{relieves} {PASSTHROUGH} {HANGING}")).start();
    let port = dpm.port();
    let mut clients = Vec::new();
    for nth in 1..=3 {
        let mut client = login(port);
        client.command(3, b"SELECT 4");
        clients.push(client);
        eventually("its worker is relieved", || {
            dpm.count("is relieved: new clients") >= nth
        });
    }
    dpm.line("no other worker is started: there have been 4 already");
    let mut last = login(port);
    assert_eq!(last.rows("SELECT 5"), [["5"]]);
    assert_eq!(dpm.count("is started in its place"), 2);
    assert_eq!(dpm.stop().code(), Some(0));
}

#[test]
fn a_loop_that_is_held_up_does_not_keep_the_program_from_its_end() {
    let mut dpm = two("dpm.config { drain = 0.2 }
         l = dpm.listener('127.0.0.1', 0)
         dpm.new_timer():schedule(0, 1, function(t)
           t:cancel()
           if worker == 1 then print('stuck') while true do end end
         end)
         if worker == 2 then
           dpm.subscribe('exit', function() dpm.exit(4) end)
           dpm.on_signal('HUP', function() dpm.publish('exit', '') end)
         end
         print('ready ' .. worker)")
    .start();
    dpm.line("stuck");
    dpm.line("ready 2");
    dpm.signal("HUP");
    assert_eq!(dpm.wait_for_end().code(), Some(4));
    dpm.line("told to stop, but something still runs");
}

/// The numbers of two clients, each of another worker.
fn two_numbers(dpm: &Dpm) -> [u32; 2] {
    assert_eq!(spread(dpm, 2), [1, 1]);
    let lines = dpm.lines("client ");
    let number = |line: &String| line.split(' ').next().unwrap().parse().unwrap();
    [number(&lines[0]), number(&lines[1])]
}

#[test]
fn kill_reaches_clients_of_other_workers_that_have_servers() {
    let account = format!("{USER} = {{ password = {PASSWORD:?} }}");
    for how in [
        format!(
            "dpml.proxy_new_clients(listener, {{}}, {{ users = {{ {account} }}, backend = {{
               host = arg[1], port = tonumber(arg[2]), user = '{USER}', pass = {PASSWORD:?} }} }})"
        ),
        format!(
            "pool = dpml.pool(listener, {{ users = {{ {account} }},
               servers = {{ {{ host = arg[1], port = tonumber(arg[2]) }} }} }})"
        ),
    ] {
        let dpm = two(&format!(
            "local dpml = require 'dpml'
             local listener = dpm.listener('127.0.0.1', 0)
             listener:listen(dpm.MYC_CONNECT, tell_worker)
             {how}
             print('port ' .. listener:socket_port())"
        ))
        .start();
        let port = dpm.port();
        let (mut one, mut other) = (login(port), login(port));
        let [number, _] = two_numbers(&dpm);
        let begun = Instant::now();
        one.command(3, b"SELECT SLEEP(30)");
        // It may not have begun when it is killed.
        let mut ended = false;
        while !ended {
            assert!(matches!(
                other.query(&format!("KILL QUERY {number}")),
                Answer::Ok(_)
            ));
            one.timeout(Duration::from_millis(300));
            ended = one.try_read().is_ok();
            assert!(begun.elapsed() < Duration::from_secs(25));
        }
        assert!(matches!(
            other.query(&format!("KILL {number}")),
            Answer::Ok(_)
        ));
        one.timeout(Duration::from_secs(20));
        assert!(one.closed(), "{how}");
        let unknown = other.query(&format!("KILL {}", number + 1000));
        assert!(matches!(&unknown, Answer::Err(1094, ..)), "{unknown:?}");
    }
}

#[test]
fn kill_reaches_clients_of_other_workers_services() {
    let dpm = two("local dpml = require 'dpml'
         local listener = dpm.listener('127.0.0.1', 0)
         listener:listen(dpm.MYC_CONNECT, tell_worker)
         dpml.accept_clients(listener, {
           users = { me = { password = 'x' }, you = { password = 'y' } },
           handler = function(session)
             for cmd in session:commands() do session:send_ok() end
           end,
         })
         print('port ' .. listener:socket_port())")
    .start();
    let port = dpm.port();
    let enter = |user, password| Wire::login_as(port, user, password, caps::BASE);
    let (mut one, mut other) = (enter("me", "x"), enter("me", "x"));
    let [first, second] = two_numbers(&dpm);
    let mut stranger = enter("you", "y");
    assert_eq!(spread(&dpm, 3), [2, 1]);
    let refused = stranger.query(&format!("KILL {second}"));
    assert!(matches!(&refused, Answer::Err(1095, ..)), "{refused:?}");
    assert!(matches!(
        one.query(&format!("KILL {second}")),
        Answer::Ok(_)
    ));
    assert!(other.closed());
    let gone = one.query(&format!("KILL {second}"));
    assert!(matches!(&gone, Answer::Err(1094, ..)), "{gone:?}");
    assert_ne!(first, second);
}
