//! What is counted of traces.

use std::cell::Cell;
use std::rc::Rc;

use crate::metrics::{self, Column, Page, Source};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub recorded: Cell<u64>,
    pub dropped: Cell<u64>,
    pub sent: Cell<u64>,
    pub failed: Cell<u64>,
    pub joined: Cell<u64>,
    pub invalid: Cell<u64>,
    pub waiting: Cell<u64>,
}

/// One more, or several.
pub(super) fn count(what: &Cell<u64>, more: u64) {
    what.set(what.get().saturating_add(more));
}

/// The table that shows them.
pub(super) struct Figures(pub Rc<Counts>, metrics::Table);

impl Figures {
    pub fn new(counts: Rc<Counts>) -> Figures {
        let columns = vec![
            Column::counter("recorded", "Spans of queries that were to be sent."),
            Column::counter("sent", "Spans that the collector has taken."),
            Column::counter(
                "dropped",
                "Spans that were not kept since too many waited for the collector.",
            ),
            Column::counter(
                "failed",
                "Spans that the collector has not taken, or not in time.",
            ),
            Column::gauge("waiting", "Spans that wait to be sent."),
            Column::counter(
                "joined",
                "Queries that have said which trace they are part of.",
            ),
            Column::counter(
                "invalid",
                "Queries that have said so in a way that is not understood.",
            ),
        ];
        let help = "spans for an OpenTelemetry collector";
        Figures(
            counts,
            metrics::Table::new("traces", help, columns).as_list(),
        )
    }
}

impl Source for Figures {
    fn table(&self) -> &metrics::Table {
        &self.1
    }

    fn page(&self, _: usize) -> Page {
        let counts = &self.0;
        let row = [
            &counts.recorded,
            &counts.sent,
            &counts.dropped,
            &counts.failed,
            &counts.waiting,
            &counts.joined,
            &counts.invalid,
        ];
        Page::last(vec![row.map(|count| count.get().into()).into()])
    }
}
