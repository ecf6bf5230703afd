//! Timers, tasks, and the servers of a fleet.

use std::time::{Duration, Instant};

use crate::crowd::Crowd;
use crate::echo::Echo;
use crate::support::{PASSWORD, USER, eventually};
use crate::{alone, proxy, row, share_of};

/// How long these may take. Machines are busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a script with `count`, which prints "done", and gives the time that took.
#[track_caller]
fn runs(what: &str, full: usize, script: &str) {
    let _alone = alone();
    let count = share_of(full);
    let begun = Instant::now();
    let dpm = proxy(&format!("local count = {count} {script}"), "", 1);
    let line = dpm.wait_for(PATIENCE, "done", |line| {
        line.strip_prefix("done ").map(str::to_owned)
    });
    let took = begun.elapsed();
    assert_eq!(line, count.to_string(), "{what}");
    dpm.assert_no_errors();
    assert_eq!(dpm.stat("timers"), 0.0, "none is left");
    row(
        what,
        &[
            ("there are", count.to_string()),
            ("all ms", took.as_millis().to_string()),
            ("resident KiB", dpm.memory_kib("VmHWM").to_string()),
        ],
    );
}

#[test]
fn timers() {
    runs(
        "timers",
        50_000,
        "local fired, over = {}, 0
         for i = 1, count do
           -- All of them are there before the first one fires.
           dpm.new_timer():schedule(1, 500 + i % 500, function(timer, arg)
             assert(arg == i)
             fired[i] = (fired[i] or 0) + 1
             if fired[i] < 3 then return end
             timer:cancel()
             over = over + 1
             if over == count then
               local right = 0
               for i = 1, count do if fired[i] == 3 then right = right + 1 end end
               print('done ' .. right)
             end
           end, i)
         end
         assert(dpm.stats().timers >= count)",
    );
}

#[test]
fn tasks() {
    runs(
        "tasks",
        20_000,
        "dpml.spawn(function()
           local going, most = 0, 0
           local tasks = {}
           for i = 1, count do
             tasks[i] = dpml.spawn(function()
               going = going + 1
               most = math.max(most, going)
               dpml.sleep(1000 + i % 100)
               dpml.sleep(1)
               going = going - 1
               return i
             end)
           end
           local right = 0
           for i, task in ipairs(tasks) do
             if task:wait() == i then right = right + 1 end
           end
           assert(going == 0 and most == count)
           print('done ' .. right)
         end)",
    );
}

#[test]
fn members_of_a_fleet() {
    let _alone = alone();
    let echo = Echo::start();
    let count = share_of(5_000);
    let begun = Instant::now();
    let dpm = proxy(
        &format!(
            "local fleet = {{}}
             for i = 1, {count} do
               fleet[i] = {{ host = arg[1], port = tonumber(arg[2]), user = '{USER}', pass = '{PASSWORD}', name = 'm' .. i }}
             end
             dpml.multiplex(listener, {{ users = {{ {USER} = {{ password = '{PASSWORD}' }} }}, fleet = fleet }})"
        ),
        "",
        echo.port,
    );
    let mut crowd = Crowd::new(dpm.port(), false);
    crowd.log_in(1, 1);
    eventually("all are connected", || dpm.stat("servers") == count as f64);
    let connected = begun.elapsed();
    // Each has one row, in the fleet's order.
    let rows = |said: &str| {
        let rows: Vec<String> = (1..=count).map(|n| format!("m{n}\t{said}")).collect();
        rows.join("\n")
    };
    let mut round = Duration::ZERO;
    for said in ["one", "another"] {
        round = crowd
            .ask(1, |_| format!("QUERY ALL 60 SELECT {said}"), |_| rows(said))
            .all;
    }
    row(
        "fleet",
        &[
            ("servers", count.to_string()),
            ("connected ms", connected.as_millis().to_string()),
            ("a round ms", round.as_millis().to_string()),
            ("resident KiB", dpm.memory_kib("VmHWM").to_string()),
        ],
    );
    dpm.assert_no_errors();
}
