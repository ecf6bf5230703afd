//! Heavy load for a long time, while servers die.

use std::time::{Duration, Instant};

use crate::support::dpm::Launch;
use crate::support::{Flavour, PASSWORD, Server, USER, let_time_pass};

/// 100,000 queries of tasks over 50 connections. Each has one outcome: its own value, or an error.
const SCRIPT: &str = "
    local dpml = require 'dpml'
    local WORKERS, EACH = 50, 2000
    local servers = {}
    for i = 1, #arg, 2 do servers[#servers + 1] = { arg[i], tonumber(arg[i + 1]) } end

    local function connect(server)
      return dpml.connect { host = server[1], port = server[2], user = 'happy', pass = 'wheefun', timeout = 5000 }
    end

    local function memory()
      for _ = 1, 5 do collectgarbage() end
      return collectgarbage('count')
    end

    local outcomes, results, failures, seen = {}, 0, 0, {}
    local open = {} -- worker -> its connection

    local function note(number)
      outcomes[number] = (outcomes[number] or 0) + 1
    end

    local function failed(number, err)
      note(number)
      failures = failures + 1
      seen[err.errnum] = (seen[err.errnum] or 0) + 1
    end

    local function work(worker, each)
      local server, db = servers[worker % #servers + 1], nil
      for n = 1, each do
        local number = (worker - 1) * each + n
        local ok, result = true, db
        if not db or not db:is_open() then
          ok, result = pcall(connect, server)
          if ok then db, open[worker] = result, result end
        end
        if ok then
          -- Every kind of query, some of them given up.
          local kind, options = number % 10, nil
          if kind == 3 then options = { timeout = 1 } end
          if kind == 1 then
            ok, result = pcall(db.query, db, 'SELECT ? AS n', { number })
          elseif kind == 2 then
            ok, result = pcall(function()
              local last
              for row in db:each('SELECT ' .. number .. ' AS n UNION ALL SELECT ' .. number) do last = row end
              return { rows = { last } }
            end)
          elseif kind == 3 and n % 100 == 3 then
            ok, result = pcall(db.query, db, 'SELECT ' .. number .. ' AS n, SLEEP(0.01)', nil, options)
          else
            ok, result = pcall(db.query, db, 'SELECT ' .. number .. ' AS n')
          end
        end
        if not ok then
          failed(number, result)
          dpml.sleep(number % 20 + 1)
        else
          note(number)
          results = results + 1
          if tonumber(result.rows[1].n) ~= number then print('WRONG', number, result.rows[1].n) end
        end
      end
      if db then db:close() end
      open[worker] = nil
    end

    local function round(each)
      local workers = {}
      for worker = 1, WORKERS do workers[worker] = function() work(worker, each) end end
      dpml.wait_all(workers)
      dpml.sleep(200)
    end

    stays = dpm.listener('127.0.0.1', 0)
    dpml.spawn(function()
      round(20) -- whatever is made once is made now
      outcomes, results, failures, seen = nil, 0, 0, {}
      local before = memory()
      outcomes = {}
      print('begins')
      local killer = dpml.spawn(function()
        while true do
          dpml.sleep(20)
          local victim = open[math.random(WORKERS)]
          if victim and victim:is_open() then
            -- From a side connection, as an operator would.
            pcall(function()
              local side = connect { victim.options.host, victim.options.port }
              side:query('KILL ' .. victim.thread_id)
              side:close()
            end)
          end
        end
      end)
      round(EACH)
      killer:cancel()
      local once = 0
      for number = 1, WORKERS * EACH do
        if outcomes[number] == 1 then once = once + 1 end
      end
      outcomes = nil
      print(('outcomes %d results %d failures %d'):format(once, results, failures))
      for errnum, count in pairs(seen) do print('error', errnum, count) end
      seen = {}
      -- What was given up is cleaned up, sooner or later.
      local waited, after = dpml.elapsed(), memory()
      while after >= before + 150 and waited() < 30000 do
        dpml.sleep(500)
        after = memory()
      end
      print(('memory %d %d'):format(before, after))
    end)";

#[test]
fn queries_of_tasks_while_servers_are_killed() {
    let flavours = [Flavour::MariaDb, Flavour::MySql];
    let servers: Vec<Server> = flavours
        .into_iter()
        .filter(|flavour| flavour.available())
        .map(|flavour| Server::start_own(flavour, &[]))
        .collect();
    assert_eq!((USER, PASSWORD), ("happy", "wheefun"));
    let mut launch = Launch::script(SCRIPT);
    for server in &servers {
        launch = launch.server(server);
    }
    let dpm = launch.start();
    dpm.wait_for(Duration::from_secs(60), "the begin", |line| {
        (line == "begins").then_some(())
    });
    let begun = Instant::now();
    let ended = |dpm: &crate::support::Dpm| !dpm.lines("outcomes ").is_empty();
    let mut victim = 0;
    while !ended(&dpm) {
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "it takes too long"
        );
        let_time_pass(Duration::from_millis(1500));
        if begun.elapsed() < Duration::from_secs(20) {
            let server = &servers[victim % servers.len()];
            server.kill();
            server.restart(&[]);
            victim += 1;
        }
    }
    let memory = dpm.wait_for(Duration::from_secs(60), "the memory", |line| {
        line.starts_with("memory ").then(|| line.to_owned())
    });
    let outcomes = dpm.line("outcomes ");
    let numbers: Vec<u64> = outcomes
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let [once, results, failures] = numbers[..] else {
        panic!("{outcomes}");
    };
    println!(
        "{outcomes} in {:?}, {victim} servers killed; {memory} KiB; errors: {:?}",
        begun.elapsed(),
        dpm.lines("error\t")
    );
    assert_eq!(once, 100_000, "each query has one outcome");
    assert_eq!(results + failures, once);
    assert!(results > 50_000, "most succeed: {outcomes}");
    assert!(failures > 100, "some cannot: {outcomes}");
    assert!(!dpm.wrote("WRONG"), "each result is that of its own query");
    let kib: Vec<u64> = memory
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(
        kib[1] < kib[0] + 150,
        "Lua's memory returns to its level: {memory}"
    );
    dpm.wait_until_idle();
    dpm.assert_no_errors();
}
