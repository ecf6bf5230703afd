//! Counters.

use crate::metrics::{Column, Merge, Unit};

/// Declares the counters, each with its column, whose help is the comment above it.
macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $name:ident: $column:expr,)*) => {
        /// Totals since the start, and current numbers.
        #[derive(Debug, Clone, Copy, Default)]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)*
        }

        impl Stats {
            /// How each counter is declared, and its value.
            pub fn figures(&self) -> impl Iterator<Item = (Column, u64)> {
                [$({
                    let column: fn(&'static str, &'static str) -> Column = $column;
                    (column(stringify!($name), concat!($($doc),+).trim_ascii()), self.$name)
                },)*].into_iter()
            }
        }
    };
}

stats! {
    /// Clients accepted.
    clients_accepted: Column::counter,
    /// Clients refused with ERR 1040, because some limit was reached.
    clients_refused: Column::counter,
    /// Logins and changes of user of clients that were answered with an ERR.
    failed_logins: Column::counter,
    /// Connections to servers begun.
    servers_connected: Column::counter,
    /// Clients connected now.
    clients: Column::gauge,
    /// Servers connected, or being connected to, now.
    servers: Column::gauge,
    /// Listeners open now.
    listeners: Column::gauge,
    /// Packets received (of a split packet, each frame; of streamed rows, each row).
    packets: Column::counter,
    /// Commands received from clients.
    commands: Column::counter,
    /// Bytes read.
    bytes_in: |name, help| Column::counter(name, help).unit(Unit::Bytes).metric("received"),
    /// Bytes written.
    bytes_out: |name, help| Column::counter(name, help).unit(Unit::Bytes).metric("sent"),
    /// Callbacks called.
    callbacks: Column::counter,
    /// Callbacks that failed.
    callback_errors: Column::counter,
    /// Connections closed because their peer broke the protocol.
    protocol_errors: Column::counter,
    /// Connections closed because they took too long.
    timeouts: Column::counter,
    /// Bytes that connections hold now, in packets that are not complete and in queues.
    buffered: |name, help| Column::gauge(name, help).unit(Unit::Bytes),
    /// Connections closed because all together held too much.
    closed_for_memory: Column::counter,
    /// Panics caught, each of which is a bug.
    panics: Column::counter,
    /// Passes of the loop.
    ticks: Column::counter,
    /// The longest time that one pass of the loop has taken, which delays all connections.
    loop_lag_max_us: |name, help| {
        Column::gauge(name, help).unit(Unit::Microseconds).merged(Merge::Largest).metric("loop_lag_max")
    },
    /// How long the last pass of the loop took.
    loop_lag_us: |name, help| {
        Column::gauge(name, help).unit(Unit::Microseconds).merged(Merge::Largest).metric("loop_lag")
    },
}
