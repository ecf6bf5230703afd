//! The numbers of compressed frames.

use std::collections::VecDeque;

/// The numbers of the frames of one connection, which have nothing to do with those of the packets
/// inside. Both directions count with one counter, which each command sets back to 0; the answer
/// goes on from the command's last frame. (`compress_pkt_nr` in the servers' `net_serv.cc`; both the
/// servers and the C clients check.)
///
/// Towards a client one exchange is under way at a time, and the counter is all there is. Towards
/// a server commands may be pipelined: it answers each from where that one's frames ended.
#[derive(Debug, Default)]
pub struct Numbers {
    /// The next frame's from the far end, if it goes on with what it has been sending.
    incoming: Option<u8>,
    /// The next frame's to the far end.
    outgoing: u8,
    /// Our commands that are not yet being answered: the number that each one's answer begins with.
    answers: VecDeque<u8>,
    sending: Sending,
    towards_server: bool,
}

/// What our frames carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sending {
    /// What goes on from what was received.
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

    /// Whether a frame of this number has its place here; takes note of it if so.
    pub fn accept(&mut self, number: u8) -> bool {
        // A server that has seen enough answers before it has read all of a long command.
        let begins = |start: &u8| number == *start || (1..*start).contains(&number);
        // MySQL numbers 0 what nobody has asked for, such as ERR 4031.
        let unasked = number == 0 && self.towards_server;
        // Behind a binlog event that asks for an acknowledgement MariaDB's source begins anew with 1
        // (`flush_net()` in `semisync_master.cc`), whether or not the acknowledgement has come.
        let in_answer = self.answers.is_empty() && self.incoming.is_some();
        let anew = number == 1 && self.towards_server && in_answer && self.sending != Sending::More;
        if self.incoming != Some(number) && !unasked && !anew {
            let Some(found) = self.answers.iter().position(begins) else {
                return false;
            };
            self.answers.drain(..=found);
            if self.answers.is_empty() {
                // An idle connection owns no buffer.
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

    /// Gives the next frame that is sent its number.
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

    /// What is sent from here on goes on with the exchange that the server is answering.
    pub fn send_more(&mut self) {
        self.outgoing = self.incoming.unwrap_or_default();
        self.sending = Sending::More;
    }

    /// What is sent from here on begins anew with this number: an ERR that nobody has asked for, or
    /// what follows in a binlog's stream behind a packet that asks for an acknowledgement.
    pub fn send_anew(&mut self, number: u8) {
        self.outgoing = number;
        if self.sending == Sending::Command {
            self.sending = Sending::Unanswered;
        }
    }

    /// It is a client's turn: what comes next is a command.
    pub fn await_command(&mut self) {
        self.incoming = Some(0);
        self.sending = Sending::More;
    }

    /// A replica may acknowledge what it has got: it counts by itself, and so does the stream.
    pub fn await_acknowledgement(&mut self) {
        self.incoming = Some(0);
        self.sending = Sending::Unanswered;
    }
}
