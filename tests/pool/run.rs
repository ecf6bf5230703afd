//! A run: clients and their twins, in random interleavings, while antagonists take connections away.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::antagonists::{self, Tally, Turns};
use crate::deaths::{self, Deaths};
use crate::operation::Operation;
use crate::scene::{self, Before};
use crate::sessions::Plan;
use crate::sessions::Room;
use crate::shrink;
use crate::support::wire::{Wire, caps};
use crate::support::{Over, Server};
use crate::twin::{Difference, Twin, Verdict};

/// An operation of a client.
pub type Step = (usize, Operation);

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    pub before: Before,
    pub clients: usize,
    pub statements: usize,
    pub seed: u64,
    pub dying: Dying,
}

/// Whether connections of the servers die meanwhile. (Clients do so in any case: whoever logs in once more has left
/// without a word.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dying {
    Nobody,
    Connections,
}

/// How many statements the pool learns from, in which it may refuse more.
const LEARNING: usize = 1_000;
/// The pool keeps a connection for a question for a second. On a busy machine a client may be later than that, which is no
/// refusal to be counted.
const LATE: Duration = Duration::from_millis(700);
/// After how many faults a run ends.
const FAULTS: usize = 6;

/// What became of it.
#[derive(Default)]
pub struct Report {
    /// While the pool learnt, and then.
    pub equal: [usize; 2],
    /// By reason, likewise.
    pub refused: BTreeMap<String, [usize; 2]>,
    pub without_connection: usize,
    /// How many questions came so late that they had to be refused.
    pub late: usize,
    pub by_antagonists: usize,
    /// How many connections have died, and how many clients have noticed.
    pub deaths: [usize; 2],
    /// Who held connections when there was none, the first few times.
    pub held_meanwhile: Vec<Vec<String>>,
    /// What the pool has counted.
    pub counters: BTreeMap<String, String>,
    pub took: Duration,
}

/// A difference that was found.
pub struct Fault {
    pub steps: Vec<Step>,
    pub difference: Difference,
}

impl Course {
    /// How many clients may hold a connection at a time: half of all connections are held, one of them by
    /// an antagonist.
    fn holders(&self) -> usize {
        match self.before {
            Before::Passthrough => self.clients / 10,
            Before::Pool { size } => (size / 2).saturating_sub(1).max(1),
        }
    }

    /// How many statements there are in which the pool learns what clients ask about.
    fn learning(&self) -> usize {
        LEARNING.min(self.statements / 2)
    }

    fn room(&self, holding: usize) -> Room {
        match holding {
            0 => Room::All,
            some if some < self.holders() => Room::Some,
            _ => Room::None,
        }
    }

    /// Runs it; panics with the seed and the shortest sequence of operations that shows a difference.
    pub fn run(&self, server: &'static Server) -> Report {
        scene::fill(server, &(0..self.clients).collect());
        let dpm = scene::dpm(self.before, server);
        let port = dpm.port();
        let admin = scene::admin(self.before, &dpm);
        let (tally, over) = (Tally::default(), Over::default());
        let found = std::thread::scope(|scope| {
            let _end = over.at_end();
            let (turns, own) = Turns::new();
            for (number, own) in own.into_iter().enumerate() {
                let (tally, over) = (&tally, &over);
                scope.spawn(move || {
                    let _end = over.at_end_of_panic();
                    antagonists::run(number, port, &own, tally, over);
                });
            }
            self.drive(server, port, admin, &turns, &over)
        });
        let (mut report, faults) = found;
        if !faults.is_empty() {
            drop(dpm);
            let shrunk = faults
                .into_iter()
                .map(|fault| shrink::shrink(self.before, server, fault));
            let shrunk: Vec<_> = shrunk.map(|fault| fault.to_string()).collect();
            panic!(
                "seed {}, {} statements on {:?}:\n{report}\n{}",
                self.seed,
                self.statements,
                server.flavour,
                shrunk.join("\n\n")
            );
        }
        let order = std::sync::atomic::Ordering::Relaxed;
        report.by_antagonists = tally.statements.load(order);
        report.without_connection += tally.without_connection.load(order);
        assert_eq!(money(server), "6000", "the sum of the shared accounts");
        dpm.assert_no_errors();
        report
    }

    /// The clients' part, in one thread, so that a seed means one sequence.
    fn drive(
        &self,
        server: &Server,
        port: u16,
        mut admin: Option<Wire>,
        turns: &Turns,
        over: &Over,
    ) -> (Report, Vec<Fault>) {
        let mut dice = StdRng::seed_from_u64(self.seed);
        let mut clients: Vec<_> = (0..self.clients)
            .map(|n| (Twin::new(n, port, server.port), Plan::default()))
            .collect();
        let mut report = Report::default();
        let begun = Instant::now();
        let mut steps: Vec<Step> = Vec::new();
        let mut found = Vec::new();
        // The statements about which something was asked in vain, without their numbers.
        let mut learnt = BTreeSet::new();
        let mut last = 0;
        let mut sent = Instant::now();
        let mut deaths = match self.dying {
            Dying::Nobody => None,
            Dying::Connections => Some(Deaths::new(server, self.clients)),
        };
        for done in 0..self.statements {
            assert!(!over.is(), "an antagonist has failed");
            turns.advance(done);
            // Who comes back soon should find its connection; all others find another's.
            let same = clients[last].1.in_burst() || dice.random_ratio(2, 5);
            let at = if same {
                last
            } else {
                dice.random_range(0..self.clients)
            };
            last = at;
            if let Some(deaths) = &mut deaths {
                let direct = clients.iter().map(|(twin, _)| twin.direct.thread).collect();
                deaths.before(done, &direct, &mut dice);
                report.deaths[0] = deaths.count;
            }
            let others = clients.iter().enumerate();
            let others = others.filter(|(n, (twin, plan))| *n != at && plan.holds(twin));
            let room = self.room(others.count());
            let (twin, plan) = &mut clients[at];
            let operation = plan.next(twin, room, server.flavour, &mut dice);
            steps.push((at, operation.clone()));
            let mut fault = None;
            let part = usize::from(done >= self.learning());
            // Since the statement before was sent: its twin's answer may have come later than its own.
            let is_late = sent.elapsed() > LATE;
            sent = Instant::now();
            let verdict = twin.perform(&operation);
            let by_death = deaths.as_ref().is_some_and(|deaths| deaths.explain(at));
            if let Some(deaths) = &mut deaths {
                deaths.saw(at, done);
            }
            match verdict {
                Verdict::Lost(_) if by_death => {
                    report.deaths[1] += 1;
                    self.begin_again(server, &mut clients[at].0, at);
                }
                Verdict::Refused(reason, _) if by_death && reason == deaths::UNKNOWN => {
                    report.deaths[1] += 1;
                    self.begin_again(server, &mut clients[at].0, at);
                }
                Verdict::Equal => report.equal[part] += 1,
                Verdict::Skipped => {}
                Verdict::Refused(reason, text) => {
                    let own = steps.iter().rev().filter(|(n, _)| *n == at);
                    let last: Vec<_> = own.take(12).map(|(_, one)| one.to_string()).collect();
                    println!(
                        "{done}: {at} refused (late: {is_late}), {text}; the last first: {last:#?}"
                    );
                    let is_question = reason == "diagnostics-wanted";
                    // That is when the pool learns of the statement before.
                    let about = last
                        .get(1)
                        .map(|text| text.replace(|c: char| c.is_ascii_digit(), ""));
                    let is_first = is_question && learnt.insert(about);
                    match is_late && is_question {
                        true => report.late += 1,
                        false if is_first => report.refused.entry(reason).or_default()[0] += 1,
                        false => report.refused.entry(reason).or_default()[part] += 1,
                    }
                    self.leave_equal(server, &mut clients[at].0, at, &operation);
                }
                Verdict::NoConnection => {
                    self.leave_equal(server, &mut clients[at].0, at, &operation);
                    report.without_connection += 1;
                    if let Some(admin) = &mut admin
                        && report.held_meanwhile.len() < 3
                    {
                        let held = admin.rows("SELECT Reason, Statement FROM held");
                        let held: Vec<_> = held.iter().map(|row| row.join(" ")).collect();
                        let running = running(server);
                        println!(
                            "{done}: {at} has no connection for {operation}; held: {held:#?}, running: {running:#?}"
                        );
                        report.held_meanwhile.push(held);
                    }
                    assert!(
                        report.without_connection < 3 + done / 200,
                        "seed {}: clients get no connections: {report}",
                        self.seed
                    );
                }
                Verdict::Different(difference) => fault = Some(difference),
                Verdict::Lost(error) => fault = Some(Difference::lost(&error)),
            }
            if let Some(difference) = fault {
                let steps = steps.clone();
                let own = steps.iter().rev().filter(|(n, _)| *n == at);
                let last: Vec<_> = own.take(30).map(|(_, one)| one.to_string()).collect();
                println!(
                    "{done}: {at} {operation}, the last first: {last:#?}\nwanted:\n{}got:\n{}",
                    difference.wanted, difference.got
                );
                found.push(Fault { steps, difference });
                if found.len() == FAULTS {
                    break;
                }
                self.begin_again(server, &mut clients[at].0, at);
            }
        }
        if let Some(admin) = &mut admin {
            report.counters = counters(admin);
        }
        report.took = begun.elapsed();
        (report, found)
    }

    /// Client and twin leave, as the twin has executed what the client's pool has not. (New tables are made past the pool,
    /// which does not know for a while that there is no view of their names.)
    fn leave_equal(&self, server: &Server, twin: &mut Twin, number: usize, operation: &Operation) {
        let reads = |sql: &str| sql.starts_with("SELECT") || sql.starts_with("SET");
        match operation {
            Operation::Query(sql) if reads(sql) && !sql.contains("inserts_too") => twin.leave(),
            Operation::Query(_) | Operation::Execute(..) => self.begin_again(server, twin, number),
            _ => twin.leave(),
        }
    }

    /// Client and twin leave: one of them may have done what the other has not.
    fn begin_again(&self, server: &Server, twin: &mut Twin, number: usize) {
        twin.leave();
        scene::fill(server, &BTreeSet::from([number]));
    }
}

/// What the pool has counted, but for what has never happened.
fn counters(admin: &mut Wire) -> BTreeMap<String, String> {
    let rows = admin.rows("SHOW STATUS");
    let rows = rows.into_iter().map(|row| (row[0].clone(), row[1].clone()));
    rows.filter(|(_, value)| value != "0").collect()
}

/// What the server executes.
fn running(server: &Server) -> Vec<String> {
    let mut admin = Wire::login_empty(server.port, caps::BASE);
    let rows = admin.rows("SHOW FULL PROCESSLIST");
    rows.iter().map(|row| row.join(" ")).collect()
}

fn money(server: &Server) -> String {
    let mut admin = Wire::login_empty(server.port, caps::BASE);
    admin.rows("SELECT SUM(n) FROM bank.accounts")[0][0].clone()
}

/// The clients that occur in steps.
pub fn clients_of(steps: &[Step]) -> BTreeSet<usize> {
    steps.iter().map(|(client, _)| *client).collect()
}

impl Report {
    /// How many statements were refused once the pool had learnt, of a million.
    pub fn refused_once_learnt(&self) -> usize {
        let refused: usize = self.refused.values().map(|parts| parts[1]).sum();
        refused * 1_000_000 / self.equal[1].max(1)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "equal while it learnt and then {:?}, in {:?}, {} without a connection, {} asked too late, {} of antagonists, refused while it \
             learnt and then {:?}, deaths and who has noticed {:?}; the pool {:?}",
            self.equal,
            self.took,
            self.without_connection,
            self.late,
            self.by_antagonists,
            self.refused,
            self.deaths,
            self.counters
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (client, operation) in &self.steps {
            writeln!(out, "  {client:>3}  {operation}")?;
        }
        let Difference { wanted, got } = &self.difference;
        write!(out, "wanted:\n{wanted}\ngot:\n{got}")
    }
}
