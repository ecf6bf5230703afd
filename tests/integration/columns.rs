//! Columns that a script changes on their way to the client, and rows that do not fit them.

use mysql::prelude::Queryable as _;

use crate::support::exchange::execute_argument;
use crate::support::wire::{Answer, Wire, caps, com, lenenc};
use crate::support::{Dpm, Flavour, PASSWORD, Server, USER, both, connect_as, mariadb};

const OLD: u32 = caps::BASE | caps::MULTI;
const MODERN: u32 = OLD | caps::DEPRECATE_EOF;

/// A passthrough whose plug-in is this Lua expression.
fn through(plugin: &str, server: &Server) -> Dpm {
    Dpm::start(
        &format!(
            "dpml = require 'dpml'
             function field(name)
               local field = dpm.new_field_pkt()
               field:name(name, dpm.MYSQL_TYPE_VAR_STRING)
               return field
             end
             local listener = require('harness').listen(function() end)
             dpml.passthrough_new_clients(listener, {plugin}, {{ arg[1], tonumber(arg[2]) }})"
        ),
        server,
    )
}

/// The name in a column's definition.
fn name(mut definition: &[u8]) -> String {
    for _ in 0..4 {
        let (len, size) = lenenc(definition);
        definition = &definition[size + len as usize..];
    }
    let (len, size) = lenenc(definition);
    String::from_utf8(definition[size..size + len as usize].to_vec()).unwrap()
}

/// The names of the columns in an answer.
fn names(packets: &[Vec<u8>]) -> Vec<String> {
    let count = usize::from(packets[0][0]);
    packets[1..=count].iter().map(|it| name(it)).collect()
}

/// Removes `b`, renames `a`, and adds two; the second gets a value from `new_row`.
const CHANGES: &str = "{
  new_result = function(rset)
    for n = rset:field_count(), 1, -1 do
      if rset:field(n):name() == 'b' then rset:remove_field(n) end
    end
    if rset:field(1):name() == 'a' then rset:field(1):name('renamed') end
    rset:add_field(field('none'))
    rset:add_field(field('by'))
  end,
  new_field = function(field) print('field', (field:name())) end,
  new_row = function(row, _, _, rset)
    local values, count = rset:parse_row_array(row)
    print('row', count, values[1], rset:parse_row_table(row).c)
    values[count] = 'dpm'
    rset:pack_row(row, values)
    return row
  end }";

/// The same without `new_row`.
fn without_rows() -> String {
    let end = CHANGES.find("new_field").unwrap();
    format!("{} }}", &CHANGES[..end])
}

both! {
    fn a_plugin_changes_the_columns_of_results(server) {
        for (plugin, last) in [(CHANGES.to_string(), Some("dpm")), (without_rows(), None)] {
            let dpm = through(&plugin, server);
            let last = last.map(str::to_string);
            for capabilities in [OLD, MODERN] {
                let mut wire = Wire::login_empty(dpm.port(), capabilities);
                let sql = "SELECT 1 AS a, 'x' AS b, 3 AS c UNION ALL SELECT 4, NULL, NULL";
                let packets = wire.exchange(com::QUERY, sql.as_bytes());
                assert_eq!(names(&packets), ["renamed", "c", "none", "by"]);
                // What is not changed by its name is, too; several results; no rows at all.
                let packets = wire.exchange(com::QUERY, b"SELECT 1 AS x WHERE FALSE");
                assert_eq!(names(&packets), ["x", "none", "by"]);
                assert!(matches!(wire.query("DO 1"), Answer::Ok(_)));
            }
            let mut client = connect_as(dpm.port(), USER, PASSWORD).unwrap();
            let of = |row: mysql::Row| {
                let values = row.unwrap();
                let text = |value: mysql::Value| match value {
                    mysql::Value::NULL => None,
                    mysql::Value::Bytes(text) => Some(String::from_utf8(text).unwrap()),
                    other => Some(other.as_sql(true)),
                };
                let values: Vec<_> = values.into_iter().map(text).collect();
                values
            };
            let sql = "SELECT 1 AS a, 'x' AS b, 3 AS c UNION ALL SELECT 4, NULL, NULL";
            let wanted = [
                vec![Some("1".into()), Some("3".into()), None, last.clone()],
                vec![Some("4".into()), None, None, last.clone()],
            ];
            let rows: Vec<mysql::Row> = client.query(sql).unwrap();
            assert_eq!(rows.into_iter().map(of).collect::<Vec<_>>(), wanted);
            // Prepared statements, executed again: MariaDB leaves the columns out then.
            let statement = client.prep(sql).unwrap();
            for _ in 0..3 {
                let rows: Vec<mysql::Row> = client.exec(&statement, ()).unwrap();
                let columns = rows[0].columns();
                let columns: Vec<_> = columns.iter().map(|it| it.name_str()).collect();
                assert_eq!(columns, ["renamed", "c", "none", "by"]);
                assert_eq!(rows.into_iter().map(of).collect::<Vec<_>>(), wanted);
            }
            dpm.assert_no_errors();
        }
    }
}

both! {
    /// Rows of a cursor come later, in answers without a head.
    fn a_cursors_rows_have_the_shape_of_its_result(server) {
        for plugin in [CHANGES.to_string(), without_rows()] {
            let dpm = through(&plugin, server);
            let mut wire = Wire::login_empty(dpm.port(), MODERN);
            let id = wire.prepare("SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 'y'");
            wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 1, &[]));
            assert_eq!(wire.query("SELECT 5 AS five, 6 AS b"), wire.query("SELECT 5 AS five, 6 AS b"));
            let rows = wire.exchange(com::STMT_FETCH, &[&id.to_le_bytes()[..], &9_u32.to_le_bytes()].concat());
            // Header, bitmap of NULLs, the number.
            for (row, number) in rows.iter().zip([1, 2]) {
                assert_eq!(row[0], 0);
                assert_eq!(row[1] & 0b0000_1000, 0b0000_1000, "the first one added is NULL: {row:?}");
                assert!(row[2..].starts_with(&[number]), "{row:?}");
            }
            dpm.assert_no_errors();
        }
    }
}

/// Several plug-ins see what those before them have made of the columns.
#[test]
fn links_change_columns_one_after_the_other() {
    let dpm = through(
        "dpml.chain {
           { new_result = function(rset) rset:add_field(field('one')) end },
           { new_result = function(rset)
               print('seen', rset:field_count(), (rset:field(2):name()))
               rset:add_field(field('two')) rset:remove_field(1)
             end },
           { new_row = function(row, _, _, rset)
               local values = rset:parse_row_array(row)
               rset:pack_row(row, { values[1] or 'first', 'second' })
               return row
             end },
         }",
        mariadb(),
    );
    let mut wire = Wire::login_empty(dpm.port(), MODERN);
    assert_eq!(wire.rows("SELECT 9 AS nine"), [["first", "second"]]);
    dpm.line("seen\t2\tone");
    dpm.assert_no_errors();
}

/// What goes wrong, and what the client sees of it: never a malformed row.
#[test]
fn rows_that_do_not_fit_are_errors() {
    for (plugin, why) in [
        // All columns gone: there is no such result.
        (
            "{ new_result = function(rset) rset:remove_field() rset:remove_field() end }",
            "Forbidden",
        ),
        (
            "{ new_result = function(rset) rset:remove_field(3) end }",
            "there is no such field among the 2 added",
        ),
        (
            "{ new_row = function(row, _, _, rset) rset:pack_row(row, { 1, 2, 3 }) return row end }",
            "the row has 3 values, the resultset 2 fields",
        ),
        // A row of another result.
        (
            "{ new_row = function(row)
                 local other, row = dpm.new_rset_pkt(), dpm.new_row_pkt()
                 for _ = 1, 3 do other:add_field(field('x')) end
                 other:pack_row(row, { 1, 2, 3 })
                 return row
               end }",
            "the row has 3 values, the result 2 columns",
        ),
        (
            "{ new_row = function() return dpm.new_row_pkt() end }",
            "the row has 0 values, the result 2 columns",
        ),
    ] {
        let dpm = through(plugin, mariadb());
        for binary in [false, true] {
            let mut wire = Wire::login_empty(dpm.port(), MODERN);
            if binary {
                let id = wire.prepare("SELECT 1 AS a, 2 AS b");
                wire.command(com::STMT_EXECUTE, &execute_argument(id, 0, &[]));
            } else {
                wire.command(com::QUERY, b"SELECT 1 AS a, 2 AS b");
            }
            // An ERR, or the end: no row, and no end of rows.
            while let Ok(packet) = wire.try_read() {
                if packet[0] == 0xFF {
                    break;
                }
                assert!(
                    ![0xFE, 0x00].contains(&packet[0]) || packet.len() > 9,
                    "{packet:?}"
                );
                assert_ne!(packet, b"\x011\x012", "a row");
            }
            if why != "Forbidden" {
                dpm.line(why);
            }
        }
    }
}

/// By hand, on the states of a server.
#[test]
fn raw_callbacks_change_columns_too() {
    let change = "
        local h = require 'harness'
        local rset, due = nil, 0
        h.passthrough(nil, {
          [dpm.MYS_SENT_RSET] = function(packet) rset, due = packet, packet:field_count() return dpm.DPM_NOPROXY end,
          [dpm.MYS_SENDING_FIELDS] = function(_, id, server)
            if due == 0 then return end -- of a statement that is prepared
            due = due - 1
            if due == 0 then
              local client = h.pairs[server:remote_id()][1]
              print('taken', rset:take_fields(), rset:take_fields(), rset:fit_row())
              rset:remove_field(1)
              rset:field(1):name('renamed')
              print('changed', rset:fit_row())
              dpm.wire_packet(client, rset)
              dpm.wire_packet(client, rset:field(1))
            end
            return dpm.DPM_NOPROXY
          end,
          ROWS
        })";
    let rows = "[dpm.MYS_SENDING_ROWS] = function(row, id, server)
        rset:fit_row(row)
        dpm.wire_packet(h.pairs[server:remote_id()][1], row)
        return dpm.DPM_NOPROXY
      end";
    let dpm = Dpm::start(&change.replace("ROWS", rows), mariadb());
    for capabilities in [OLD, MODERN] {
        let mut wire = Wire::login_empty(dpm.port(), capabilities);
        let packets = wire.exchange(com::QUERY, b"SELECT 1 AS a, 2 AS b");
        assert_eq!(names(&packets), ["renamed"]);
        assert_eq!(wire.rows("SELECT 1, 2"), [["2"]]);
    }
    dpm.line("taken\ttrue\ttrue\tfalse");
    dpm.line("changed\ttrue");
    dpm.assert_no_errors();
    // The rows are forwarded as they come: an error in their place, whether they are watched or not.
    for rows in ["", "[dpm.MYS_SENDING_ROWS] = function() end"] {
        let dpm = Dpm::start(&change.replace("ROWS", rows), mariadb());
        for capabilities in [OLD, MODERN] {
            let mut wire = Wire::login_empty(dpm.port(), capabilities);
            for sql in ["SELECT 1, 2", "SELECT 1, seq FROM test.seq_1_to_10000"] {
                let packets = wire.exchange(com::QUERY, sql.as_bytes());
                let last = packets.last().unwrap();
                assert_eq!(last[..3], [0xFF, 0x51, 0x04], "{packets:?}");
                assert!(packets.len() < 5);
            }
            let id = wire.prepare("SELECT 1, 2");
            let packets = wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[]));
            assert_eq!(packets.last().unwrap()[0], 0xFF);
        }
    }
}

/// A client of MySQL's that wants no columns: nobody knows them.
#[test]
fn columns_that_nobody_knows_cannot_be_changed() {
    let Some(server) = crate::support::mysql() else {
        return;
    };
    assert_eq!(server.flavour, Flavour::MySql);
    let dpm = through("{ new_result = function(rset) if wanted then rset:add_field(field('x')) end end,
                         new_command = function(cmd) if cmd:argument() == 'SELECT 1' then wanted = true end end }", server);
    let mut wire = Wire::login_empty(dpm.port(), MODERN | caps::OPTIONAL_METADATA);
    assert_eq!(wire.rows("SELECT 3"), [["3"]]);
    wire.query("SET resultset_metadata = NONE");
    let packets = wire.exchange(com::QUERY, b"SELECT 4");
    assert_eq!(packets[1], b"\x014", "{packets:?}");
    assert!(matches!(wire.query("SELECT 1"), Answer::Err(1105, ..)));
    dpm.line("the columns of this result are not known");
}

both! {
    /// Clients may know the columns of a statement from before, and then servers leave them out.
    fn columns_that_clients_may_know_are_sent_again(server) {
        for plugin in [CHANGES.to_string(), without_rows()] {
            let dpm = through(&plugin, server);
            for shape in [OLD, MODERN] {
                let mut wire = match server.flavour {
                    Flavour::MySql => Wire::login_empty(dpm.port(), shape | caps::OPTIONAL_METADATA),
                    _ => Wire::login_extended(dpm.port(), shape, caps::extended::CACHE),
                };
                let id = wire.prepare("SELECT 1 AS a, 'x' AS b, 3 AS c");
                let first = wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[]));
                assert_eq!(names(&first), ["renamed", "c", "none", "by"]);
                for _ in 0..2 {
                    assert_eq!(wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[])), first);
                }
            }
            dpm.assert_no_errors();
        }
    }
}

both! {
    /// Each result of several, in text and as rows of the binary protocol.
    fn every_result_of_a_procedure_is_changed(server) {
        let base = server.database();
        server.sql(&format!(
            "DELIMITER //\nCREATE PROCEDURE {base}.p(OUT o INT) BEGIN SELECT 1 AS a, 2 AS b; SET o = 5; SELECT 3 AS x; END//"
        ));
        let dpm = through(&without_rows(), server);
        for shape in [OLD, MODERN] {
            let mut wire = Wire::login_empty(dpm.port(), shape);
            let sql = format!("CALL {base}.p(@o)");
            let eofs = usize::from(shape == OLD);
            let packets = wire.exchange(com::QUERY, sql.as_bytes());
            assert_eq!(names(&packets), ["renamed", "none", "by"]);
            // Head, columns, a row, the end.
            assert_eq!(names(&packets[6 + eofs..]), ["x", "none", "by"]);
            assert_eq!(packets[6 + eofs + 4 + eofs], b"\x013\xFB\xFB");
            let id = wire.prepare(&format!("CALL {base}.p(?)"));
            let packets = wire.exchange(com::STMT_EXECUTE, &execute_argument(id, 0, &[Some(b"7")]));
            assert_eq!(names(&packets), ["renamed", "none", "by"]);
            assert_eq!(names(&packets[6 + eofs..]), ["x", "none", "by"]);
            // And the row of the OUT parameter.
            assert_eq!(names(&packets[2 * (6 + eofs)..]), ["o", "none", "by"]);
        }
        dpm.assert_no_errors();
    }
}
