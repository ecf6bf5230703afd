//! What a pool counts. Each counter is declared here once, and shown everywhere by its name.

/// Declares the counters with their names and their one-line descriptions.
macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// The counters of a pool, since its start.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl Counters {
            /// All of them: name, description, value.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),*).trim_ascii(), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections that clients were lent.
    borrowed,
    /// Commands for which the client's last connection was still its own.
    kept,
    /// Connections that were taken from their last client for another.
    stolen,
    /// Connections whose session had to be changed for the client.
    switched,
    /// Connections of which something had to be read before they changed hands.
    carried,
    /// The pool's own commands: for a connection that is opened, changes hands or is reset, and for prepared statements that
    /// are missing on it.
    own_commands,
    /// Commands that had to wait for a connection.
    waited,
    /// Clients that were refused because too many waited.
    refused_full,
    /// Clients that were refused because they waited for too long.
    refused_late,
    /// Connections that were opened.
    opened,
    /// Connections that could not be opened.
    failed,
    /// Connections that were reset before they were used again.
    reset,
    /// Connections closed because their session could not be given to others.
    closed_unclean,
    /// Connections closed because nobody used them.
    closed_idle,
    /// Connections closed because they were old.
    closed_old,
    /// Connections closed in favour of clients that need others.
    closed_for_others,
    /// Connections closed because the pool's own commands have failed on them, or took too long.
    closed_failed,
    /// Clients that were closed because they kept a connection and were silent.
    closed_silent,
    /// Clients that were closed because they were silent for longer than their `wait_timeout`.
    closed_idle_clients,
    /// Connections that have died, or that their servers have closed.
    died,
    /// Times that a client began to keep its connection.
    held,
    /// Statements whose diagnostics were carried to their client, and answered by the proxy.
    answered,
    /// Statements that were refused as the diagnostics that they ask for were lost.
    refused_diagnostics,
    /// Statements that were refused as they use the variables that choose reports in other forms.
    refused_session_track,
    /// Clients that would have kept their connections, and were told by a script to share them.
    released,
    /// Statements that a script has refused as they would have kept their connections.
    refused_holds,
    /// Statements that were ended at the server because they took too long.
    ended_late,
    /// Reads that were executed again because their connection had died.
    retried,
    /// Commands that a server has refused because it takes no writes any more, and that waited for another.
    turned_away,
    /// Reads that went to the primary because a replica did not have what was written before in time.
    waited_in_vain,
}
