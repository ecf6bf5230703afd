//! What happens to servers and connections meanwhile.

use std::time::Duration;

use mysql::Conn;
use mysql::prelude::Queryable as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::scene::{DURABLE, Scene};
use crate::support::{Over, Server, let_time_pass, options};

/// How often each thing has happened.
#[derive(Debug, Default)]
pub struct Mischief {
    deaths: u32,
    freezes: u32,
    kills: u32,
    cuts: usize,
}

impl Mischief {
    /// Makes trouble until all is over. All servers run then.
    pub fn run(&mut self, scene: &Scene, over: &Over) {
        let mut dice = StdRng::seed_from_u64(scene.record.seed);
        while !over.is() {
            let_time_pass(Duration::from_millis(dice.random_range(50..500)));
            let which = dice.random_range(0..scene.servers.len());
            let server = &scene.servers[which];
            let name = format!("{:?}", server.flavour);
            match dice.random_range(0..20) {
                0 => {
                    scene.record.note(format!("{name} is killed"));
                    server.kill();
                    let_time_pass(Duration::from_millis(dice.random_range(0..1000)));
                    server.restart(DURABLE);
                    scene.record.note(format!("{name} runs again"));
                    self.deaths += 1;
                }
                1..=2 => {
                    scene.record.note(format!("{name} freezes"));
                    server.signal("STOP");
                    let_time_pass(Duration::from_millis(dice.random_range(10..2000)));
                    server.signal("CONT");
                    scene.record.note(format!("{name} goes on"));
                    self.freezes += 1;
                }
                3..=4 => {
                    let relays = [&scene.server_relays, &scene.client_relays];
                    let relays: Vec<_> = relays.into_iter().flatten().collect();
                    let relay = relays.choose(&mut dice).expect("a relay");
                    let count = relay.cut_all();
                    scene.record.note(format!(
                        "{count} connections by port {} are cut",
                        relay.port
                    ));
                    self.cuts += count;
                }
                // There may be nobody, and this connection may have been killed, too.
                _ => {
                    if let Ok(Some(what)) = kill(server, &mut dice) {
                        scene.record.note(format!("{name}: {what}"));
                        self.kills += 1;
                    }
                }
            }
        }
    }
}

/// Kills somebody's connection or query, as an administrator would.
fn kill(server: &Server, dice: &mut StdRng) -> mysql::Result<Option<String>> {
    let mut conn = Conn::new(options(server.port))?;
    let ids: Vec<u64> = conn.query(
        "SELECT id FROM information_schema.processlist
         WHERE user = 'happy' AND id <> CONNECTION_ID() AND command <> 'Daemon'",
    )?;
    let Some(id) = ids.choose(dice) else {
        return Ok(None);
    };
    let what = match dice.random() {
        true => format!("KILL {id}"),
        false => format!("KILL QUERY {id}"),
    };
    conn.query_drop(&what)?;
    Ok(Some(what))
}
