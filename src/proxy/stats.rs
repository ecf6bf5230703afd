//! Counters.

/// Totals since the start, and current numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    /// Clients accepted.
    pub clients_accepted: u64,
    /// Clients refused with ERR 1040, because some limit was reached.
    pub clients_refused: u64,
    /// Logins and changes of user of clients that were answered with an ERR.
    pub failed_logins: u64,
    /// Connections to servers begun.
    pub servers_connected: u64,
    /// Clients connected now.
    pub clients: u64,
    /// Servers connected, or being connected to, now.
    pub servers: u64,
    /// Listeners open now.
    pub listeners: u64,
    /// Packets received (of a split packet, each frame; of streamed rows, each row).
    pub packets: u64,
    /// Commands received from clients.
    pub commands: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Callbacks called.
    pub callbacks: u64,
    /// Callbacks that failed.
    pub callback_errors: u64,
    /// Connections closed because their peer broke the protocol.
    pub protocol_errors: u64,
    /// Connections closed because they took too long.
    pub timeouts: u64,
    /// Bytes that connections hold now, in packets that are not complete and in queues.
    pub buffered: u64,
    /// Connections closed because all together held too much.
    pub closed_for_memory: u64,
    /// Panics caught, each of which is a bug.
    pub panics: u64,
    /// Passes of the loop.
    pub ticks: u64,
    /// The longest time that one pass of the loop has taken, in microseconds, which delays all
    /// connections.
    pub loop_lag_max_us: u64,
    /// How long the last pass of the loop took, in microseconds.
    pub loop_lag_us: u64,
}

impl Stats {
    /// Every counter by its name in Lua.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("clients_accepted", self.clients_accepted),
            ("clients_refused", self.clients_refused),
            ("failed_logins", self.failed_logins),
            ("servers_connected", self.servers_connected),
            ("clients", self.clients),
            ("servers", self.servers),
            ("listeners", self.listeners),
            ("packets", self.packets),
            ("commands", self.commands),
            ("bytes_in", self.bytes_in),
            ("bytes_out", self.bytes_out),
            ("callbacks", self.callbacks),
            ("callback_errors", self.callback_errors),
            ("protocol_errors", self.protocol_errors),
            ("timeouts", self.timeouts),
            ("buffered", self.buffered),
            ("closed_for_memory", self.closed_for_memory),
            ("panics", self.panics),
            ("ticks", self.ticks),
            ("loop_lag_max_us", self.loop_lag_max_us),
            ("loop_lag_us", self.loop_lag_us),
        ]
        .into_iter()
    }
}
