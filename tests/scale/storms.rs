//! All at once, and what somebody else notices of it.

use std::time::{Duration, Instant};

use crate::crowd::Crowd;
use crate::echo::Echo;
use crate::support::wire::{Wire, caps, com};
use crate::support::{Dpm, Over, PATIENCE, process};
use crate::{alone, clients, descriptors, proxy, row};

const PASSTHROUGH: &str =
    "dpml.passthrough_new_clients(listener, {}, { arg[1], tonumber(arg[2]) })";

/// The longest that one client has waited for an answer while `during` ran.
fn bystander(dpm: &Dpm, during: impl FnOnce()) -> Duration {
    let over = Over::default();
    let mut wire = Wire::login(dpm.port(), caps::BASE);
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !over.is() {
                let asked = Instant::now();
                wire.command(com::PING, b"");
                assert_eq!(wire.read()[0], 0);
                longest = longest.max(asked.elapsed());
            }
            longest
        });
        let ends = over.at_end();
        during();
        drop(ends);
        asks.join().expect("its connection has held")
    })
}

#[test]
fn logins_and_closes() {
    let _alone = alone();
    let echo = Echo::start();
    let dpm = proxy(PASSTHROUGH, "", echo.port);
    let mut crowd = Crowd::new(dpm.port(), false);
    let (count, mut all) = (clients(), Duration::ZERO);
    let logins = bystander(&dpm, || all = crowd.log_in(count, usize::MAX).all);
    crowd.ask(usize::MAX, |n| format!("SELECT {n}"), |n| n.to_string());
    row(
        "logins at once",
        &[
            ("clients", count.to_string()),
            ("all ms", all.as_millis().to_string()),
            ("a bystander's longest ms", logins.as_millis().to_string()),
        ],
    );
    let begun = Instant::now();
    let closes = bystander(&dpm, || {
        crowd.leave();
        while dpm.stat("clients") > 1.0 {
            assert!(begun.elapsed() < PATIENCE, "they leave");
        }
    });
    row(
        "closes at once",
        &[
            ("clients", count.to_string()),
            ("all ms", begun.elapsed().as_millis().to_string()),
            ("a bystander's longest ms", closes.as_millis().to_string()),
        ],
    );
    dpm.wait_until_idle();
    dpm.assert_no_errors();
    for longest in [logins, closes] {
        assert!(longest < Duration::from_secs(10), "{longest:?}");
    }
}

/// Who comes when the descriptors are used up is told so, and nobody else notices.
#[test]
fn more_than_descriptors_allow() {
    let _alone = alone();
    let echo = Echo::start();
    // Small enough for CI, and for the clients' own descriptors.
    let limit = descriptors().min(2 * clients() as u32);
    let dpm = crate::launch(PASSTHROUGH, "", echo.port)
        .open_files(limit)
        .start();
    let mut crowd = Crowd::new(dpm.port(), false);
    crowd.log_in(clients() / 2, 200);
    bystander(&dpm, || {
        crowd.knock(clients() * 2 / 3, 200);
    });
    let outcomes: Vec<(String, usize)> = crowd
        .outcomes()
        .into_iter()
        .map(|(why, count)| (why.to_owned(), count))
        .collect();
    let [(why, refused)] = &outcomes[..] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(why, "1040 08004 Too many connections");
    let inside = crowd.len() - refused;
    // Two descriptors each, 64 of them kept, and some for the proxy itself.
    assert!(inside * 2 + 200 > limit as usize, "{inside} of {limit}");
    crowd.ask(usize::MAX, |n| format!("SELECT {n}"), |n| n.to_string());
    row(
        "more than descriptors allow",
        &[
            ("descriptors", limit.to_string()),
            ("inside", inside.to_string()),
            ("refused", refused.to_string()),
        ],
    );
    crowd.leave();
    dpm.wait_until_idle();
    dpm.assert_no_errors();
}

/// Lua's collector stops the world, of which there is more with more clients.
#[test]
fn the_pauses_of_the_collector() {
    let _alone = alone();
    let echo = Echo::start();
    let measure = "
        dpm.on_signal('USR2', function()
          local begun = dpm.monotonic()
          collectgarbage()
          local whole, longest = dpm.monotonic() - begun, 0
          for _ = 1, 3 do
            repeat
              local begun = dpm.monotonic()
              local over = collectgarbage('step', 1)
              longest = math.max(longest, dpm.monotonic() - begun)
            until over
          end
          print(('collector %d %d'):format(whole, longest))
        end)";
    let rows = "
        dpml.passthrough_new_clients(listener, function()
          return { new_row = function() end, closing = function() end }
        end, { arg[1], tonumber(arg[2]) })";
    let dpm = proxy(&format!("{rows} {measure}"), "", echo.port);
    let mut crowd = Crowd::new(dpm.port(), false);
    let count = clients();
    crowd.log_in(count, 200);
    let notices = bystander(&dpm, || {
        for _ in 0..3 {
            crowd.ask(200, |n| format!("SELECT {n}"), |n| n.to_string());
        }
    });
    dpm.signal("USR2");
    let line = dpm.line("collector ");
    let figures: Vec<&str> = line.split(' ').collect();
    row(
        "collector",
        &[
            ("clients", count.to_string()),
            ("whole ms", figures[1].to_owned()),
            ("longest step ms", figures[2].to_owned()),
            ("a bystander's longest ms", notices.as_millis().to_string()),
        ],
    );
    assert!(notices < Duration::from_secs(5), "{notices:?}");
    dpm.assert_no_errors();
}

/// What sixteen clients get done beside none and beside many who say nothing.
#[test]
fn idle_clients_cost_the_busy_nothing() {
    const BUSY: usize = 16;
    const ROUNDS: usize = 200;
    let _alone = alone();
    let echo = Echo::start();
    let dpm = proxy(PASSTHROUGH, "", echo.port);
    let mut busy = Crowd::new(dpm.port(), false);
    busy.log_in(BUSY, BUSY);
    let idle = clients() * 8 / 9;
    // Of several times, the least time that it takes and the least that the proxy works, which does not
    // depend on what else the machine does.
    let least = |busy: &mut Crowd| {
        let (mut least, mut work) = (Duration::MAX, Duration::MAX);
        for _ in 0..10 {
            let (begun, worked) = (Instant::now(), process::time_run(dpm.pid()));
            for _ in 0..ROUNDS {
                busy.ask(BUSY, |n| format!("SELECT {n}"), |n| n.to_string());
            }
            least = least.min(begun.elapsed());
            work = work.min(process::time_run(dpm.pid()) - worked);
        }
        (least, work)
    };
    let (alone, alone_work) = least(&mut busy);
    let mut others = Crowd::new(dpm.port(), false);
    others.log_in(idle, 200);
    let (beside, beside_work) = least(&mut busy);
    let per_second = |time: Duration| (BUSY * ROUNDS) as f64 / time.as_secs_f64();
    row(
        "point selects of 16",
        &[
            ("idle clients", idle.to_string()),
            ("a second beside none", format!("{:.0}", per_second(alone))),
            ("beside these", format!("{:.0}", per_second(beside))),
            (
                "ratio",
                format!("{:.2}", per_second(beside) / per_second(alone)),
            ),
        ],
    );
    // What grows with the number of connections would be far slower.
    assert!(
        beside_work < alone_work * 2,
        "{alone_work:?} alone, {beside_work:?} beside {idle}"
    );
}
