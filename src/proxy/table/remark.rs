//! A comment in front of the query that is being forwarded.

use crate::proxy::hooks::Incoming;
use crate::proxy::id::ConnId;
use crate::wire::Capabilities;

/// The comment on the command that is being handled. There is one command at a time, so the buffer is used again.
#[derive(Debug, Default)]
pub(crate) struct Remark {
    on: Option<ConnId>,
    text: Vec<u8>,
}

impl Remark {
    /// Notes a comment on this client's command.
    pub fn write(&mut self, client: ConnId, comment: &[u8]) {
        self.on = Some(client);
        self.text.clear();
        self.text.extend_from_slice(comment);
    }

    /// Whether there is one on this client's command; it is asked once.
    pub fn is_on(&mut self, client: ConnId) -> bool {
        self.on.take() == Some(client)
    }

    /// A query with the comment in front of its text, behind its attributes; `None` for another command.
    pub fn put(&self, command: &[u8], capabilities: Capabilities) -> Option<Vec<u8>> {
        let sql = Incoming::of_command(command, capabilities).sql()?;
        let before = command.len().saturating_sub(sql.len());
        Some([command.get(..before)?, &self.text, sql].concat())
    }
}
