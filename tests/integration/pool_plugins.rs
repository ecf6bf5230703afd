//! Plug-ins of pooled clients: what they see of prepared statements, whose ids are others at each server, and what
//! becomes of commands that they send in place of the clients'.

use crate::pool::{login, pool};
use crate::support::all;
use crate::support::exchange::execute_argument;
use crate::support::wire::com;

all! {
    /// Each client's statements are its own to a plug-in, whatever their ids are at the server.
    fn executes_are_decoded_by_the_clients_own_statement(server) {
        let plugin = "plugin = {
            new_client = function(client) client:track_statements(true) end,
            new_command = function(cmd, id, client)
                if cmd:command() == dpm.COM_STMT_EXECUTE then
                    local statement = client:statement(cmd:statement_id())
                    print(('execute %s: %s'):format(statement and statement:sql(), statement and statement:decode(cmd)[1]))
                end
            end,
        },";
        let dpm = pool(server, 1, plugin);
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        let first = one.prepare("SELECT 'one', ?");
        two.prepare("SELECT 'not executed'");
        let second = two.prepare("SELECT 'two', ?");
        one.exchange(com::STMT_EXECUTE, &execute_argument(first, 0, &[Some(b"a")]));
        two.exchange(com::STMT_EXECUTE, &execute_argument(second, 0, &[Some(b"b")]));
        one.exchange(com::STMT_EXECUTE, &execute_argument(first, 0, &[Some(b"c")]));
        dpm.settle();
        assert_eq!(
            dpm.lines("execute "),
            ["SELECT 'one', ?: a", "SELECT 'two', ?: b", "SELECT 'one', ?: c"]
        );
    }
}

all! {
    /// A plug-in that returns the command, or reads rows of a cursor, has the client's own statement executed.
    fn commands_of_plugins_reach_the_statement_that_the_client_means(server) {
        let plugin = "plugin = {
            new_command = function(cmd) return cmd end,
            new_row = function(row, _, _, rset) print('row ' .. rset:parse_row_array(row)[1]) end,
        },";
        let dpm = pool(server, 1, plugin);
        let (mut one, mut two) = (login(&dpm), login(&dpm));
        two.prepare("SELECT 'not executed'");
        let second = two.prepare("SELECT 'two'");
        let first = one.prepare("SELECT 'one'");
        for (wire, statement) in [(&mut one, first), (&mut two, second)] {
            let answer = wire.exchange(com::STMT_EXECUTE, &execute_argument(statement, 0, &[]));
            assert_ne!(answer[0][0], 0xff, "{}", String::from_utf8_lossy(&answer[0]));
        }
        for (wire, statement) in [(&mut one, first), (&mut two, second)] {
            wire.exchange(com::STMT_EXECUTE, &execute_argument(statement, 1, &[]));
            let fetch = [statement.to_le_bytes(), 9u32.to_le_bytes()].concat();
            let answer = wire.exchange(com::STMT_FETCH, &fetch);
            assert_ne!(answer[0][0], 0xff, "{}", String::from_utf8_lossy(&answer[0]));
            wire.exchange(com::STMT_RESET, &statement.to_le_bytes());
        }
        dpm.settle();
        assert_eq!(dpm.lines("row "), ["one", "two", "one", "two"]);
    }
}
