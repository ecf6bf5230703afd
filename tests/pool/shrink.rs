//! From a long sequence of operations that shows a difference to a short one.

use std::time::{Duration, Instant};

use crate::run::{Fault, Step, clients_of};
use crate::scene::{self, Before};
use crate::support::Server;
use crate::twin::{Difference, Twin, Verdict};

/// How many seconds it may take, if `DPM_POOL_PATIENCE` does not say otherwise.
const PATIENCE: usize = 20;

/// A sequence that shows a difference, if it is shown again without all that went before.
pub fn shrink(before: Before, server: &Server, fault: Fault) -> Fault {
    let patience = crate::asked("DPM_POOL_PATIENCE").unwrap_or(PATIENCE);
    let end = Instant::now() + Duration::from_secs(patience as u64);
    let Some(&(client, _)) = fault.steps.last() else {
        return fault;
    };
    // The client's own last session, or it with more and more of what the others have done meanwhile.
    let mut best = None;
    for others in [0, 20, 200, 2000] {
        let steps = recent(&fault.steps, client, others);
        best = replay(before, server, &steps, end);
        if best.is_some() || Instant::now() > end {
            break;
        }
    }
    let Some(mut best) = best else {
        let from = fault.steps.len().saturating_sub(60);
        return Fault {
            steps: fault.steps[from..].to_vec(),
            ..fault
        };
    };
    // Ever smaller pieces are left out, as long as the difference stays.
    let mut piece = best.steps.len() / 2;
    while piece > 0 && Instant::now() < end {
        let mut at = 0;
        while at < best.steps.len() && Instant::now() < end {
            let mut fewer = best.steps.clone();
            fewer.drain(at..(at + piece).min(fewer.len()));
            match replay(before, server, &fewer, end) {
                Some(found) => best = found,
                None => at += piece,
            }
        }
        piece /= 2;
    }
    best
}

/// All that the client has done since it has logged in, and the last operations of the others.
fn recent(steps: &[Step], client: usize, others: usize) -> Vec<Step> {
    use crate::operation::Operation::Connect;
    let login = |step: &Step| step.0 == client && matches!(step.1, Connect(_));
    let since = steps.iter().rposition(login).unwrap_or(0);
    let from = steps.len().saturating_sub(others);
    let wanted = steps
        .iter()
        .enumerate()
        .filter(|(at, step)| match step.0 == client {
            true => *at >= since,
            false => *at >= from,
        });
    wanted.map(|(_, step)| step.clone()).collect()
}

/// Does it all again, with a program and databases that are new. The fault, with the steps up to it.
fn replay(before: Before, server: &Server, steps: &[Step], end: Instant) -> Option<Fault> {
    let clients = clients_of(steps);
    scene::fill(server, &clients);
    // One connection, so that each client meets what the one before has left.
    let before = match before {
        Before::Passthrough => before,
        Before::Pool { size } => Before::Pool { size: size.min(2) },
    };
    let dpm = scene::dpm(before, server);
    let port = dpm.port();
    let mut twins: Vec<_> = (0..=*clients.last()?)
        .map(|n| Twin::new(n, port, server.port))
        .collect();
    for (at, (client, operation)) in steps.iter().enumerate() {
        if Instant::now() > end {
            return None;
        }
        let twin = &mut twins[*client];
        if !twin.connected() && !matches!(operation, crate::operation::Operation::Connect(_)) {
            twin.perform(&crate::operation::Operation::Connect(
                crate::support::wire::caps::DEPRECATE_EOF,
            ));
        }
        let difference = match twin.perform(operation) {
            Verdict::Different(difference) => difference,
            Verdict::Lost(error) => Difference::lost(&error),
            _ => continue,
        };
        return Some(Fault {
            steps: steps[..=at].to_vec(),
            difference,
        });
    }
    None
}
