//! The protocol states that a script can watch, and sets of them.

/// Declares [`Event`] with the name that scripts know each state by.
macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A state of the protocol that scripts can watch: `dpm.MYS_WAIT_CMD` and others.
        ///
        /// If one packet means two things, its events fire in the order of this list. So
        /// `MYS_WAIT_CMD`, which ends every successful response, is after all others that a
        /// server's packet can cause.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Event {
            $($(#[$doc])* $variant,)*
        }

        impl Event {
            /// Every event with its name in Lua.
            pub const ALL: &'static [(&'static str, Event)] = &[$(($name, Event::$variant),)*];
        }
    };
}

events! {
    /// A client was accepted; fires on the listener.
    ClientConnect = "MYC_CONNECT",
    /// A handshake was sent to the client.
    ClientWaitAuth = "MYC_WAIT_AUTH",
    /// The client's auth packet arrived, or (without a packet) it may send its next command.
    ClientWaiting = "MYC_WAITING",
    /// The client continued an authentication of several rounds.
    ClientSentAuth = "MYC_SENT_AUTH",
    /// A command arrived.
    ClientSentCommand = "MYC_SENT_CMD",
    /// A piece of the file that LOAD DATA LOCAL asked for.
    ClientSendingData = "MYC_SENDING_DATA",
    /// The empty packet that ends such a file.
    ClientSentData = "MYC_SENT_DATA",
    /// The socket to the server is connected.
    ServerConnect = "MYS_CONNECT",
    /// The server's handshake arrived.
    ServerWaitAuth = "MYS_WAIT_AUTH",
    /// The auth packet was sent to the server.
    ServerSendingOk = "MYS_SENDING_OK",
    /// The server asks for another round of authentication.
    ServerSendingAuth = "MYS_SENDING_AUTH",
    /// An error packet.
    ServerReceivedError = "MYS_RECV_ERR",
    /// A command was sent to the server.
    ServerGotCommand = "MYS_GOT_CMD",
    /// The answer to COM_STMT_PREPARE begins.
    ServerPrepared = "MYS_STMT_PREPARED",
    /// The definition of a statement's parameter.
    ServerSendingParams = "MYS_SENDING_PARAMS",
    /// A statement's parameters are complete.
    ServerSentParams = "MYS_SENT_PARAMS",
    /// A resultset begins.
    ServerSentResultset = "MYS_SENT_RSET",
    /// A column definition.
    ServerSendingFields = "MYS_SENDING_FIELDS",
    /// The columns are complete.
    ServerSentFields = "MYS_SENT_FIELDS",
    /// A row.
    ServerSendingRows = "MYS_SENDING_ROWS",
    /// A result ended and another follows.
    ServerSendingEof = "MYS_SENDING_EOF",
    /// The answer to COM_STATISTICS.
    ServerSendingStats = "MYS_SENDING_STATS",
    /// The server asks the client for a file.
    ServerSentInfile = "MYS_SENT_INFILE",
    /// MariaDB's progress report.
    ServerSendingProgress = "MYS_SENDING_PROGRESS",
    /// A packet of a binlog stream.
    ServerSendingBinlog = "MYS_SENDING_BINLOG",
    /// A response is complete and was not an error.
    ServerWaitCommand = "MYS_WAIT_CMD",
    /// The connection closes.
    Closing = "MY_CLOSING",
    /// The connection's queue has drained.
    Drained = "MY_DRAINED",
    /// A name of the original; never fires.
    OldServerSentHandshake = "MYS_SENT_HANDSHAKE",
    /// A name of the original; never fires.
    OldClientWaitHandshake = "MYC_WAIT_HANDSHAKE",
    /// A name of the original; never fires.
    OldServerWaiting = "MYS_WAITING",
    /// A name of the original; never fires.
    OldServerSendingResultset = "MYS_SENDING_RSET",
    /// A name of the original; never fires.
    OldServerSendingHandshake = "MYS_SENDING_HANDSHAKE",
}

impl Event {
    /// The set of only this event.
    pub const fn set(self) -> EventSet {
        EventSet(1 << self as u8)
    }

    /// The name scripts know it by.
    pub fn name(self) -> &'static str {
        Self::ALL
            .get(self as usize)
            .map_or("unknown", |(name, _)| name)
    }

    /// The event with this number, if there is one.
    pub fn from_number(number: u64) -> Option<Event> {
        let index = usize::try_from(number).ok()?;
        Self::ALL.get(index).map(|(_, event)| *event)
    }
}

/// A set of events. Testing whether one of them is watched is a single `and`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventSet(pub u64);

impl EventSet {
    /// No event at all.
    pub const NONE: EventSet = EventSet(0);

    /// The events that come with a packet of the protocol. The proxy parses the stream only if one
    /// of them is armed.
    pub const OF_PACKETS: EventSet =
        EventSet(!(Event::Closing.set().0 | Event::Drained.set().0 | Event::ServerConnect.set().0));

    /// Both sets together.
    pub const fn with(self, other: EventSet) -> EventSet {
        EventSet(self.0 | other.0)
    }

    /// What is in both.
    pub const fn and(self, other: EventSet) -> EventSet {
        EventSet(self.0 & other.0)
    }

    /// Whether this event is in the set.
    pub const fn has(self, event: Event) -> bool {
        self.0 & event.set().0 != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the sets share an event.
    pub const fn meets(self, other: EventSet) -> bool {
        self.0 & other.0 != 0
    }
}

impl IntoIterator for EventSet {
    type Item = Event;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        Iter(self.0)
    }
}

/// The events of a set, in the order in which they fire.
#[derive(Debug)]
pub struct Iter(u64);

impl Iterator for Iter {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.0 == 0 {
            return None;
        }
        let lowest = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Event::from_number(u64::from(lowest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_agree() {
        for (number, (name, event)) in Event::ALL.iter().enumerate() {
            assert_eq!(*event as usize, number);
            assert_eq!(event.name(), *name);
            assert_eq!(Event::from_number(number as u64), Some(*event));
        }
        assert_eq!(Event::from_number(Event::ALL.len() as u64), None);
        assert_eq!(Event::from_number(u64::MAX), None);
    }

    #[test]
    fn wait_cmd_is_the_last_of_a_packets_events() {
        let both = Event::ServerWaitCommand
            .set()
            .with(Event::ServerSendingStats.set());
        let order: Vec<_> = both.into_iter().collect();
        assert_eq!(order, [Event::ServerSendingStats, Event::ServerWaitCommand]);
    }
}
