//! The sequence numbers of compressed frames.

use std::collections::VecDeque;

/// The sequence numbers of one connection's compressed frames. They are independent of those of the
/// packets inside. Both directions share one counter, which each command sets back to 0; the answer
/// continues from the command's last frame. (`compress_pkt_nr` in the servers' `net_serv.cc`; both
/// the servers and the C clients check.)
///
/// Towards a client only one exchange is under way at a time, so the counter is enough. Towards a
/// server commands may be pipelined: the numbers of each answer continue from the last frame of the
/// command that it answers.
#[derive(Debug, Default)]
pub struct Numbers {
    /// The number of the far end's next frame, if that frame continues what it has been sending.
    incoming: Option<u8>,
    /// The number of the next frame to the far end.
    outgoing: u8,
    /// One entry for each of our commands whose answer has not begun: the number of that answer's
    /// first frame.
    answers: VecDeque<u8>,
    sending: Sending,
    towards_server: bool,
}

/// What our frames carry, which decides how they are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sending {
    /// The continuation of an exchange: numbered on from what was received.
    #[default]
    More,
    /// A command, whose answer is the last of `answers`.
    Command,
    /// A command without an answer.
    Unanswered,
}

impl Numbers {
    /// The numbers of a connection whose far end is a client.
    pub fn towards_client() -> Self {
        Numbers {
            incoming: Some(0),
            ..Numbers::default()
        }
    }

    /// The numbers of a connection whose far end is a server.
    pub fn towards_server() -> Self {
        Numbers {
            towards_server: true,
            ..Numbers::default()
        }
    }

    /// The number that the next frame should have.
    pub fn expected(&self) -> u8 {
        let begins = self.answers.front().copied();
        begins.or(self.incoming).unwrap_or_default()
    }

    /// Whether a frame with this number may come now; counts it if so.
    pub fn accept(&mut self, number: u8) -> bool {
        // A server may answer a long command (with an error, say) before it has read all its
        // frames.
        let begins = |start: &u8| number == *start || (1..*start).contains(&number);
        // MySQL gives packets that answer no command, such as ERR 4031, the number 0.
        let unsolicited = number == 0 && self.towards_server;
        // After a binlog event that asks for an acknowledgement MariaDB's source restarts at 1
        // (`flush_net()` in `semisync_master.cc`), whether or not the acknowledgement has come.
        let in_answer = self.answers.is_empty() && self.incoming.is_some();
        let anew = number == 1 && self.towards_server && in_answer && self.sending != Sending::More;
        if self.incoming != Some(number) && !unsolicited && !anew {
            let Some(found) = self.answers.iter().position(begins) else {
                return false;
            };
            self.answers.drain(..=found);
            if self.answers.is_empty() {
                // Frees the memory: an idle connection is to hold no buffer.
                self.answers = VecDeque::new();
            }
        }
        let next = number.wrapping_add(1);
        self.incoming = Some(next);
        if self.sending == Sending::More {
            self.outgoing = next;
        }
        true
    }

    /// The number of the next frame that is sent.
    pub fn next(&self) -> u8 {
        self.outgoing
    }

    /// Returns the number for the next frame that is sent, and counts it.
    pub fn give(&mut self) -> u8 {
        let number = self.outgoing;
        self.outgoing = number.wrapping_add(1);
        match self.sending {
            Sending::More => self.incoming = Some(self.outgoing),
            Sending::Command => {
                if let Some(last) = self.answers.back_mut() {
                    *last = self.outgoing;
                }
            }
            Sending::Unanswered => {}
        }
        number
    }

    /// What is sent from here on is a command.
    pub fn send_command(&mut self, is_answered: bool) {
        self.outgoing = 0;
        self.sending = Sending::Unanswered;
        if is_answered {
            self.answers.push_back(0);
            self.sending = Sending::Command;
        }
    }

    /// What is sent from here on continues the exchange that the server is answering.
    pub fn send_more(&mut self) {
        self.outgoing = self.incoming.unwrap_or_default();
        self.sending = Sending::More;
    }

    /// What is sent from here on is numbered from `number`: an ERR that answers no command, or what
    /// follows a packet of a binlog stream that asks for an acknowledgement.
    pub fn send_anew(&mut self, number: u8) {
        self.outgoing = number;
        if self.sending == Sending::Command {
            self.sending = Sending::Unanswered;
        }
    }

    /// What the client sends next is a command.
    pub fn await_command(&mut self) {
        self.incoming = Some(0);
        self.sending = Sending::More;
    }

    /// A replica may acknowledge what it has received: its acknowledgements and the stream are
    /// numbered independently.
    pub fn await_acknowledgement(&mut self) {
        self.incoming = Some(0);
        self.sending = Sending::Unanswered;
    }
}
