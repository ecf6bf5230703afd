//! What is known of a server's session, from the packets of sessions: never more where hidden changes are
//! taken into account, and always the same from the same packets.
#![no_main]

use dpm::session::PacketKind;
use dpm::track::{Ending, Fact, Hidden, Login, Session};
use dpm::wire::{Auth, Command, Eof, ErrPacket, Handshake, Ok, PrepareOk};
use dpm_fuzz::input::{From, Input, Sent};
use dpm_fuzz::lockstep::{Legs, Passed};
use libfuzzer_sys::fuzz_target;

/// Tells one session what has passed.
fn tell(
    session: &mut Session,
    version: &[u8],
    legs: &Legs,
    sent: &Sent<'_>,
    step: dpm::session::Step,
    hidden: Hidden,
) {
    let capabilities = legs.server.capabilities();
    let ends = step.done || step.kind == PacketKind::Ok || step.kind == PacketKind::Err;
    match step.kind {
        PacketKind::Auth => {
            if let Ok(auth) = Auth::decode(sent.payload) {
                let login = Login {
                    version,
                    capabilities: auth.capabilities & capabilities,
                    user: &auth.user,
                    schema: auth.database.as_deref().unwrap_or_default(),
                    collation: auth.character_set.into(),
                };
                *session = Session::new(&login, hidden);
            }
        }
        PacketKind::Command => match Command::decode(sent.payload, capabilities) {
            Ok(command) => session.command(command.com, &command.argument),
            Err(_) => session.unseen_command(),
        },
        PacketKind::Prepared => {
            if let Ok(ok) = PrepareOk::decode(sent.payload, capabilities) {
                session.prepared(ok.statement_id);
            }
            if step.done {
                session.result(Ending::Other, true);
            }
        }
        PacketKind::Ok if ends => match Ok::decode(sent.payload, capabilities) {
            Ok(ok) => session.result(
                Ending::Ok {
                    status: ok.status,
                    insert_id: ok.insert_id,
                    warnings: ok.warnings,
                    changes: ok.session_changes.as_deref(),
                },
                step.done,
            ),
            Err(_) => session.result(Ending::Other, step.done),
        },
        PacketKind::Err => {
            let errnum = ErrPacket::decode(sent.payload, capabilities).map_or(0, |err| err.errnum);
            session.result(Ending::Err(errnum), step.done);
        }
        PacketKind::Eof if ends => match Eof::decode(sent.payload, capabilities) {
            Ok(eof) => {
                let (status, warnings) = (eof.status, eof.warnings);
                session.result(Ending::Eof { status, warnings }, step.done);
            }
            Err(_) => session.result(Ending::Other, step.done),
        },
        _ if step.done && sent.from == From::Server => session.result(Ending::Other, true),
        _ => {}
    }
}

/// What the one knows the other knows, too.
fn no_more<T: PartialEq + std::fmt::Debug>(doubting: Fact<T>, trusting: Fact<T>) {
    if matches!(doubting, Fact::Known(_)) {
        assert_eq!(doubting, trusting);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut legs = Legs::default();
    let mut version = Vec::new();
    let ways = [Hidden::Doubted, Hidden::Trusted, Hidden::Doubted];
    let mut sessions = ways.map(Session::unknown);
    for sent in Input::new(data).session() {
        match legs.pass(&sent) {
            Passed::Closed => return,
            Passed::Waits => {}
            Passed::On(step) => {
                if step.kind == PacketKind::Handshake
                    && let Ok(handshake) = Handshake::decode(sent.payload)
                {
                    version = handshake.server_version;
                }
                for (session, hidden) in sessions.iter_mut().zip(ways) {
                    tell(session, &version, &legs, &sent, step, hidden);
                }
            }
        }
        let [doubting, trusting, again] = &sessions;
        let told = [doubting, again].map(|session| format!("{session:?}"));
        assert_eq!(told[0], told[1], "always the same");
        no_more(doubting.schema(), trusting.schema());
        no_more(doubting.transaction(), trusting.transaction());
        no_more(doubting.autocommit(), trusting.autocommit());
        no_more(doubting.last_insert_id(), trusting.last_insert_id());
        if let Ok(likeness) = doubting.likeness() {
            assert_eq!(trusting.likeness(), Ok(likeness));
        }
        if legs.server.authenticated() {
            assert_eq!(
                doubting.is_idle(),
                legs.server.idle(),
                "commands and answers are counted alike"
            );
        }
    }
});
