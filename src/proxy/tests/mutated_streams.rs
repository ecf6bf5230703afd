//! Recorded sessions, replayed in process after mutation: flipped bytes, wrong lengths, packets
//! lost, doubled, swapped and invented. In every case nothing panics, memory stays within its
//! limits, and another pair of the same proxy is not affected.

use std::cell::Cell;
use std::rc::Rc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::recordings::{RECORDINGS, Turns, said, turns};
use crate::proxy::id::ConnId;
use crate::proxy::in_process::{feed, linked_pair, output};
use crate::proxy::info::ConnInfo;
use crate::proxy::{Hooks, Incoming, NoHooks, Packet, Proxy, Verdict};
use crate::session::{Event, EventSet};
use crate::wire::{Com, Command};

/// How many mutated recordings a run of the tests tries, unless `DPM_NOISE` is set.
const CASES: u32 = 3000;

/// A mutation of a recording. Positions are taken modulo its length.
#[derive(Debug, Clone)]
enum Mishap {
    Flip {
        turn: usize,
        at: usize,
        mask: u8,
    },
    Set {
        turn: usize,
        at: usize,
        value: u8,
    },
    Length {
        turn: usize,
        length: u32,
    },
    Cut {
        turn: usize,
        at: usize,
    },
    Insert {
        turn: usize,
        at: usize,
        bytes: Vec<u8>,
    },
    Lose {
        turn: usize,
    },
    Double {
        turn: usize,
    },
    Swap {
        turn: usize,
        with: usize,
    },
    Reverse {
        turn: usize,
    },
}

impl Mishap {
    fn befall(&self, turns: &mut Turns) {
        let count = turns.len();
        if count == 0 {
            return;
        }
        match self {
            Mishap::Flip { turn, at, mask } => {
                let bytes = &mut turns[turn % count].1;
                let len = bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at % len) {
                    *byte ^= mask;
                }
            }
            Mishap::Set { turn, at, value } => {
                let bytes = &mut turns[turn % count].1;
                let len = bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at % len) {
                    *byte = *value;
                }
            }
            Mishap::Length { turn, length } => {
                let length = length.to_le_bytes();
                for (byte, lie) in turns[turn % count].1.iter_mut().take(3).zip(length) {
                    *byte = lie;
                }
            }
            Mishap::Cut { turn, at } => {
                let bytes = &mut turns[turn % count].1;
                bytes.truncate(at % (bytes.len() + 1));
            }
            Mishap::Insert { turn, at, bytes } => {
                let into = &mut turns[turn % count].1;
                let at = at % (into.len() + 1);
                into.splice(at..at, bytes.iter().copied());
            }
            Mishap::Lose { turn } => {
                turns.remove(turn % count);
            }
            Mishap::Double { turn } => {
                let twice = turns[turn % count].clone();
                turns.insert(turn % count, twice);
            }
            Mishap::Swap { turn, with } => turns.swap(turn % count, with % count),
            Mishap::Reverse { turn } => {
                let from_client = &mut turns[turn % count].0;
                *from_client = !*from_client;
            }
        }
    }
}

fn mishap() -> impl Strategy<Value = Mishap> {
    let turn = || any::<usize>();
    // Most of what matters is at the front of a packet.
    let at = || prop_oneof![3 => 0..48usize, 1 => any::<usize>()];
    let length = prop_oneof![0..64u32, Just(0xFF_FFFF), 0x10_0000..0xFF_FFFFu32];
    let telling = prop_oneof![
        Just(0u8),
        Just(1),
        Just(2),
        Just(0xFB),
        Just(0xFC),
        Just(0xFD),
        Just(0xFE),
        Just(0xFF),
        any::<u8>()
    ];
    prop_oneof![
        4 => (turn(), at(), 1..=255u8).prop_map(|(turn, at, mask)| Mishap::Flip { turn, at, mask }),
        4 => (turn(), at(), telling).prop_map(|(turn, at, value)| Mishap::Set { turn, at, value }),
        2 => (turn(), length).prop_map(|(turn, length)| Mishap::Length { turn, length }),
        1 => (turn(), at()).prop_map(|(turn, at)| Mishap::Cut { turn, at }),
        2 => (turn(), at(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(turn, at, bytes)| Mishap::Insert { turn, at, bytes }),
        1 => turn().prop_map(|turn| Mishap::Lose { turn }),
        1 => turn().prop_map(|turn| Mishap::Double { turn }),
        1 => (turn(), turn()).prop_map(|(turn, with)| Mishap::Swap { turn, with }),
        1 => turn().prop_map(|turn| Mishap::Reverse { turn }),
    ]
}

/// What the hooks do meanwhile.
#[derive(Debug, Clone, Copy)]
struct Whims {
    armed: u64,
    /// Every n-th event gets another verdict; 0: none does.
    odd: u32,
    verdict: u8,
    meddles: bool,
}

fn whims() -> impl Strategy<Value = Whims> {
    let armed = prop_oneof![2 => Just(0), 2 => Just(!0), 2 => any::<u64>()];
    (armed, 0..6u32, 0..3u8, any::<bool>()).prop_map(|(armed, odd, verdict, meddles)| Whims {
        armed,
        odd,
        verdict,
        meddles,
    })
}

struct Moody {
    proxy: Proxy,
    whims: Whims,
    seen: Cell<u32>,
    meddling: Cell<bool>,
}

impl Hooks for Moody {
    fn accepted(&self, _: &Rc<ConnInfo>, _: &Rc<ConnInfo>) -> Verdict {
        Verdict::Forward
    }
    fn event(&self, conn: &Rc<ConnInfo>, _: Event, _: Option<Incoming<'_>>) -> Verdict {
        let seen = self.seen.get() + 1;
        self.seen.set(seen);
        if self.whims.odd == 0 || !seen.is_multiple_of(self.whims.odd) {
            return Verdict::Forward;
        }
        // Not while handling its own effects: the script layer prevents that for scripts.
        if self.whims.meddles && !self.meddling.replace(true) {
            let ping = Command {
                com: Com::PING,
                ..Command::default()
            };
            let ok = crate::wire::Ok::default();
            // Mostly forbidden, which is also a test.
            let _ = self.proxy.send(conn.id, Packet::Command(&ping));
            let _ = self.proxy.send(conn.id, Packet::Data(b"meddled"));
            let _ = self.proxy.send(conn.id, Packet::Ok(&ok));
            self.meddling.set(false);
        }
        match self.whims.verdict {
            0 => Verdict::Hold,
            1 => Verdict::FlushDisconnect,
            _ => Verdict::Failed,
        }
    }
}

/// The bytes that a connection holds.
fn held(proxy: &Proxy, id: ConnId) -> usize {
    let core = proxy.core();
    core.get(id)
        .map_or(0, |conn| conn.read.input.len() + conn.pending())
}

fn plays_on(recording: &Turns, mishaps: &[Mishap], whims: Whims, cut: usize) {
    let proxy = Proxy::new().expect("a poller");
    proxy.set_hooks(Rc::new(Moody {
        proxy: proxy.clone(),
        whims,
        seen: Cell::new(0),
        meddling: Cell::new(false),
    }));
    let quiet = linked_pair(&proxy, EventSet::NONE);
    let noisy = linked_pair(&proxy, EventSet(whims.armed));
    let mut bent = recording.clone();
    for mishap in mishaps {
        mishap.befall(&mut bent);
    }
    let mut fed = 0;
    // Turn by turn: the other pair must not be affected.
    for turn in 0..recording.len().max(bent.len()) {
        if let Some((from_client, bytes)) = bent.get(turn) {
            let id = if *from_client { noisy.0 } else { noisy.1 };
            let (front, back) = bytes.split_at(cut % (bytes.len() + 1));
            for part in [front, back] {
                feed(&proxy, id, part);
                feed(&proxy, noisy.0, &[]);
                fed += part.len();
                let held = held(&proxy, noisy.0) + held(&proxy, noisy.1);
                // What was fed, and the few bytes of the proxy's or the hooks' own packets.
                assert!(
                    held <= 2 * fed + 256 * (turn + 1),
                    "{held} held of {fed} fed"
                );
            }
        }
        if let Some((from_client, bytes)) = recording.get(turn) {
            let id = if *from_client { quiet.0 } else { quiet.1 };
            feed(&proxy, id, bytes);
            feed(&proxy, quiet.0, &[]);
        }
    }
    assert!(
        output(&proxy, quiet.0) == said(recording, false),
        "the other pair's client has its answers"
    );
    // The hooks hold the proxy, and the proxy them.
    proxy.set_hooks(Rc::new(NoHooks));
}

#[test]
fn mutated_recordings_cost_one_connection() {
    let recordings: Vec<Turns> = RECORDINGS.iter().map(|(_, text)| turns(text)).collect();
    let cases = std::env::var("DPM_NOISE").ok();
    let cases = cases.and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let strategy = (
        0..recordings.len(),
        prop::collection::vec(mishap(), 1..6),
        whims(),
        any::<usize>(),
    );
    runner
        .run(&strategy, |(which, mishaps, whims, cut)| {
            plays_on(&recordings[which], &mishaps, whims, cut);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}
