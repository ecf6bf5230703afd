//! Figures: each is declared once, and read by Lua, SHOW and those who watch.

use crate::support::dpm::Launch;
use crate::support::wire::{Answer, Wire, caps, com};
use crate::support::{Cli, Dpm, both, eventually, mariadb};

fn run(script: &str) -> Dpm {
    Launch::script(&format!(
        "local dpml = require 'dpml'
         local figures = require 'dpml.figures'
         listener = dpm.listener('127.0.0.1', 0)
         local function families()
             local by_name = {{}}
             for _, family in ipairs(figures.families()) do
                 by_name[family.name] = family
             end
             return by_name
         end
         {script}
         print('that is all')"
    ))
    .server(mariadb())
    .start()
}

#[test]
fn the_programs_counters_are_declared() {
    let dpm = run("
         local stats = figures.find('stats')
         local columns, shown = {}, {}
         for _, column in ipairs(stats.all) do
             columns[column.name] = column
             assert(column.help ~= '', column.name)
         end
         for name, value in pairs(dpm.stats()) do
             assert(columns[name], name)
             assert(columns[name].kind == 'counter' or columns[name].kind == 'gauge', name)
         end
         for line in stats:shown() do
             shown[line[1]] = line
         end
         assert(shown.listeners[2] == 1 and shown.listeners[3]:find('Listeners open'))
         assert(dpm.stats('stats').listeners == 1 and stats:records().listeners == 1)
         local by_name = families()
         assert(by_name.dpm_clients_accepted.kind == 'counter')
         assert(by_name.dpm_listeners.samples[1].value == 1)
         assert(by_name.dpm_received.unit == 'bytes' and by_name.dpm_received.kind == 'counter')
         local lag = by_name.dpm_loop_lag
         assert(lag.unit == 'seconds' and lag.samples[1].value < 60)
         print(pcall(dpm.stats, 'nothing'))
         print(pcall(dpm.figures, 1))");
    dpm.line("that is all");
    dpm.line("there is no table nothing, only stats");
    dpm.line("dpm.figures: table: expected");
}

#[test]
fn a_script_declares_its_own() {
    let dpm = run("
         local mine = dpml.declare_figures {
             name = 'orders', help = 'orders by shop', order = 'placed',
             columns = {
                 { name = 'shop', help = 'the shop' },
                 { name = 'placed', kind = 'counter', help = 'orders' },
                 { name = 'waited_us', type = 'number', unit = 'microseconds', metric = 'waited' },
                 { name = 'times', kind = 'histogram', unit = 'seconds' },
                 { name = 'about', kind = 'note', read = function(entry) return entry.shop .. '!' end },
             },
             entries = function()
                 return { { shop = 'books', placed = 3, waited_us = 5e5, times = { { 1, 2 }, { math.huge, 3 }, sum = 7 } },
                     { shop = 'music', placed = 1 } }
             end,
         }
         local titles = {}
         for i, column in ipairs(mine:columns()) do titles[i] = column.name end
         print('titles', table.concat(titles, ' '), mine:default_order())
         for row in mine:shown() do print('row', unpack(row, 1, 4)) end
         local by_name = families()
         local waited, times = by_name.dpm_orders_waited, by_name.dpm_orders_times
         assert(#waited.samples == 1 and waited.samples[1].value == 0.5 and waited.samples[1].labels[1] == 'books')
         assert(times.unit == 'seconds' and times.samples[1].value.sum == 7 and times.samples[1].value.buckets[2][2] == 3)
         assert(by_name.dpm_orders_placed.labels[1] == 'shop' and #by_name.dpm_orders_placed.samples == 2)
         assert(not by_name.dpm_orders_about)
         assert(mine:records()[2].about == 'music!')
         print(pcall(dpml.declare_figures, { name = 'orders', columns = {}, entries = print }))
         mine:remove()
         assert(not figures.find('orders'))
         print(pcall(dpml.declare_figures, { name = 'A', columns = {}, entries = print }))
         print(pcall(dpml.declare_figures, { name = 'a', columns = { { name = 'b', kind = 'sum' } }, entries = print }))");
    dpm.line("that is all");
    dpm.line("titles\tShop Placed Waited_us About\tPlaced");
    dpm.line("row\tbooks\t3\t500000\tbooks!");
    dpm.line("row\tmusic\t1\tnil\tmusic!");
    dpm.line("there is a table orders already");
    dpm.line("name: expected lower-case letters");
    dpm.line("kind: expected one of counter, gauge, histogram, label, note, got sum");
}

#[test]
fn pools_are_among_all_figures() {
    let dpm = run("
         local pool = dpml.pool(listener, { servers = { { host = arg[1], port = tonumber(arg[2]) } }, users = {} })
         local name = '127.0.0.1:' .. listener:socket_port()
         local servers = figures.find('pool_servers'):records()
         assert(servers[1].pool == name and servers[1].server == arg[1] .. ':' .. arg[2])
         local family = families().dpm_pool_servers_size
         assert(family.labels[1] == 'pool' and family.labels[2] == 'server' and family.samples[1].labels[1] == name)
         local opened = families().dpm_pool_opened
         assert(opened.kind == 'counter' and opened.samples[1].value == 0 and opened.help:find('Connections'))
         assert(not families().dpm_pool_clients_seconds)
         local lines = 0
         for line in figures.find('pool_counters'):shown() do
             assert(line[1] == name and type(line[3]) == 'number')
             lines = lines + 1
         end
         assert(lines > 20)");
    dpm.line("that is all");
}

both! {
    fn listeners_servers_and_users_are_counted(server) {
        let dpm = Dpm::start(
            "local dpml = require 'dpml'
             listener = require('harness').listen(function() end)
             name = '127.0.0.1:' .. listener:socket_port()
             dpml.passthrough_new_clients(listener, {}, { arg[1], tonumber(arg[2]) })
             local function find(rows, label, value, second, it)
                 for _, row in ipairs(rows) do
                     if row[label] == value and (not second or row[second] == it) then return row end
                 end
             end
             dpm.on_signal('HUP', function()
                 local listener, user = find(dpm.stats('listeners'), 'listener', name), find(dpm.stats('users'), 'user', 'empty')
                 local server = find(dpm.stats('servers'), 'server', arg[1] .. ':' .. arg[2])
                 for _, of in ipairs { listener, user, server } do
                     print('of', of.connections, of.opened, of.queries, of.errors, of.bytes_in > 20 and of.bytes_out > 20)
                 end
                 print('ping', find(dpm.stats('user_commands'), 'user', 'empty', 'command', 'COM_PING').count)
                 print('1064', find(dpm.stats('server_errors'), 'server', server.server, 'number', '1064').count)
                 print('users', #dpm.stats('users'))
                 local client = dpm.stats('clients')[1] or {}
                 print('client', client.user, client.listener == name, client.server == server.server, client.connection)
                 print('told')
             end)",
            server,
        );
        let mut wire = Wire::login_empty(dpm.port(), caps::BASE);
        wire.rows("SELECT 1");
        wire.rows("SELECT 2");
        assert!(matches!(wire.query("SELECT FROM"), Answer::Err(..)));
        wire.command(com::PING, b"");
        assert!(matches!(wire.answer(), Answer::Ok(_)));
        // Only those who have logged in are counted by their names.
        for name in ["nobody1", "nobody2"] {
            // MariaDB asks those it does not know for any method, also for one that drivers do not have.
            let cli = Cli::client(server.flavour, dpm.port());
            assert_ne!(cli.args(["-u", name, "-px", "-e", "SELECT 1"]).run().code, 0);
        }
        let told = || {
            let before = dpm.count("told");
            dpm.signal("HUP");
            eventually("it is told", || dpm.count("told") > before);
            dpm.lines("of").split_off(3 * before)
        };
        // The last refused client may still be leaving.
        let expected = ["\t1\t3\t3\t3\ttrue", "\t1\t1\t3\t1\ttrue", "\t1\t3\t3\t3\ttrue"];
        eventually("listener, user and server are counted", || told() == expected);
        dpm.line("ping\t1");
        dpm.line("1064\t1");
        dpm.line("users\t1");
        assert!(dpm.lines("client")[0].starts_with("\tempty\ttrue\ttrue\t"));
        drop(wire);
        dpm.wait_until_idle();
        assert_eq!(told()[1], "\t0\t1\t3\t1\ttrue", "the user");
    }
}
