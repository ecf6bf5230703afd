//! The reference is complete: the documents have everything that scripts can use, and so have the
//! declarations for editors, which have nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::dpm::Launch;
use crate::support::http::Http;
use crate::support::wire::{MockServer, caps};
use crate::support::{PASSWORD, USER, both, mariadb, process};

/// Prints everything that exists: "dpm <name> <type>", "dpml <name> <type>" and "<class> <method>
/// function" for every kind of object. arg[3] is the port of a server that asks for a file.
const WHAT_THERE_IS: &str = r#"
local dpml = require "dpml"

local function show(what, t)
    for name, value in pairs(t) do
        if name ~= "__index" then
            print(("has %s %s %s"):format(what, name, type(value)))
        end
    end
end

local function show_object(class, object)
    local methods = debug.getmetatable(object).__index
    if type(methods) == "table" then -- a row has none
        show(class, methods)
    end
end

show("dpm", dpm)
show("dpml", dpml)
local listener = dpm.listener("127.0.0.1", 0)
local handshake = dpm.new_handshake_pkt()
local objects = { listener, dpm.new_callback(), dpm.new_timer(), dpm.new_rowset(), dpm.new_login {}, dpm.new_verifier(handshake),
    listener:on_close(print), dpm.shared('docs') }
for name, fn in pairs(dpm) do
    if name:find("^new_.*_pkt$") then
        objects[#objects + 1] = fn()
    end
end
for _, object in ipairs(objects) do
    local name = debug.getmetatable(object).__name
    show_object("dpm." .. (name == "conn" and "Connection" or name:gsub("^.", string.upper)), object)
end

http = dpm.http_listener(nil, 0, function(_, exchange)
    show_object("dpm.HttpExchange", exchange)
    return 200
end)
show_object("dpm.HttpListener", http)
local call = dpm.http_request({ url = "http://127.0.0.1/" }, {}, print)
show_object("dpm.HttpCall", call)
print("http " .. http:port())

show_object("dpml.Tracing", dpml.tracing {})
show_object("dpml.Slowlog", dpml.slowlog())
dpml.accept_clients(listener, {
    users = { me = { password = "x" } },
    handler = function(session)
        show_object("dpml.Session", session)
        for cmd in session:commands() do
            session:send_ok()
        end
    end,
})

local function see_infile()
    dpml.spawn(function()
        dpml.connect_mysql_server {
            host = "127.0.0.1", port = tonumber(arg[3]), user = "u",
            callback = function(server, err)
                assert(server, err)
                kept = server
                server:track_session(true)
                show_object("dpm.SessionState", server:session())
                server:register(dpm.MYS_SENT_INFILE, function(infile)
                    show_object("dpm.Infile", infile)
                    print("that is all")
                end)
                local cmd = dpm.new_cmd_pkt()
                cmd:command(dpm.COM_QUERY)
                cmd:argument("LOAD DATA")
                dpm.wire_packet(server, cmd)
            end,
        }
    end)
end

show_object("dpml.Digests", dpml.digests {})
show_object("dpml.Figures", dpml.declare_figures { name = "mine", columns = {}, entries = function() return {} end })
show_object("dpml.AutoExplain", dpml.autoexplain { side = {} })
show_object("dpml.Pool", dpml.pool(dpm.listener("127.0.0.1", 0), { servers = { { host = arg[1], port = tonumber(arg[2]) } }, users = {} }))
show_object("dpml.Task", dpml.spawn(function()
    dpml.connect { port = listener:socket_port(), user = "me", pass = "x" }:close()
    local db = dpml.connect { host = arg[1], port = tonumber(arg[2]), user = arg[4], pass = arg[5] }
    show_object("dpml.Database", db)
    show_object("dpml.Statement", db:prepare("SELECT 1"))
    see_infile()
end))
"#;

/// Something that exists: its table or class, its name, its type.
fn what_there_is() -> Vec<[String; 3]> {
    let mock = MockServer::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut server = mock.accept_login(caps::BASE | caps::MULTI);
            server.read_command();
            server.seq = 1;
            server.write(b"\xfbfile");
            server.closed();
        });
        let dpm = Launch::script(WHAT_THERE_IS)
            .server(mariadb())
            .arg(mock.port)
            .arg(USER)
            .arg(PASSWORD)
            .start();
        let port = dpm.line("http ").trim_start_matches("http ").parse();
        assert_eq!(Http::connect(port.unwrap()).get("/").status, 200);
        dpm.line("that is all");
        let lines = dpm.lines("has ");
        let names = lines.iter().map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            [words[0], words[1], words[2]].map(str::to_owned)
        });
        names.collect()
    })
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(path).unwrap()
}

/// Whether the text has this as a word of its own.
fn names(text: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        !text[..at].ends_with(is_word) && !text[at + name.len()..].starts_with(is_word)
    })
}

#[test]
fn the_reference_names_everything() {
    let (api, dpml) = (read("doc/API.md"), read("doc/DPML.md"));
    let all = what_there_is();
    assert!(all.len() > 390, "{}", all.len());
    for [place, name, _] in all {
        let (document, text, name) = match place.as_str() {
            "dpml" => ("DPML.md", &dpml, format!("dpml.{name}")),
            "dpml.AutoExplain" => ("DPML.md", &dpml, format!("explain:{name}")),
            "dpml.Pool" => ("DPML.md", &dpml, format!("pool:{name}")),
            "dpml.Digests" => ("DPML.md", &dpml, format!("digests:{name}")),
            "dpml.Figures" => ("DPML.md", &dpml, format!("figures:{name}")),
            "dpml.Database" => ("DPML.md", &dpml, format!("db:{name}")),
            "dpml.Slowlog" if name == "for_client" => ("DPML.md", &dpml, name), // as of every object
            "dpml.Slowlog" => ("DPML.md", &dpml, format!("slowlog:{name}")),
            "dpml.Session" => ("DPML.md", &dpml, format!("session:{name}")),
            "dpml.Statement" => ("DPML.md", &dpml, format!("statement:{name}")),
            "dpml.Task" => ("DPML.md", &dpml, format!("task:{name}")),
            _ => ("API.md", &api, name),
        };
        assert!(
            names(text, &name),
            "doc/{document} does not mention {name} of {place}"
        );
    }
}

/// Runs the examples of doc/DPML.md, arg[6] of them, each in a task with a listener, a database and
/// the library; and asks the services that they make.
const EXAMPLES: &str = r##"
dpml = require "dpml"

local really_print = print

local function lines_of(values, n)
    for i = 1, n do
        values[i] = tostring(values[i])
    end
    return table.concat(values, "\t", 1, n):gsub("^[^\n]-%.lua:%d+: ", "")
end

local function expected_of(source)
    local lines = {}
    for line in source:gmatch("[^\n]+") do
        lines[#lines + 1] = line:match("%-%-> (.*)$")
    end
    return table.concat(lines, "\n")
end

local function connect(port, user, pass, name)
    return dpml.connect { host = arg[1], port = port, user = user, pass = pass, db = name, timeout = 5000 }
end

-- What the services of the page say to those who ask.
local function ask(source)
    if not source:find("dpml.accept_clients", 1, true) then
        return
    end
    local ann = connect(listener:socket_port(), "ann", "secret")
    if source:find("WHO AM I", 1, true) then
        assert(ann:query("Who am I").rows[1].user == "ann")
        local ok, err = pcall(ann.query, ann, "Who are you")
        assert(not ok and err.errnum == 1064)
        return "WHO AM I"
    elseif source:find("dpml.coalesce", 1, true) then
        assert(ann:query("SELECT 3 AS three").rows[1].three == "3")
        return "coalesce"
    elseif source:find("session:forward", 1, true) then
        assert(ann:query("hello").rows[1].hello == "ann")
        assert(ann:query("SELECT 2 AS two").rows[1].two == "2")
        ann:close()
        return "forward"
    end
    local sum = 0
    for row in ann:each("n") do
        sum = sum + row.n
    end
    assert(sum == 10000 * 10001 / 2, sum)
    return "stream"
end

local function run(path)
    local file = assert(io.open(path))
    local source = file:read("*a")
    file:close()
    local printed, expected = {}, expected_of(source)
    listener = dpm.listener("127.0.0.1", 0)
    function print(...)
        printed[#printed + 1] = lines_of({ ... }, select("#", ...))
    end
    local returned = assert(loadstring(source, "@example.lua"))()
    if type(returned) == "table" and returned.selftest then
        returned.selftest()
    end
    local elapsed = dpml.elapsed()
    while table.concat(printed, "\n") ~= expected and elapsed() < 3000 do
        dpml.sleep(5)
    end
    print = really_print
    local got = table.concat(printed, "\n")
    assert(got == expected, ("expected\n%s\ngot\n%s\nin\n%s"):format(expected, got, source))
    local asked = ask(source)
    if asked then
        print("asked " .. asked)
    end
    dpm.close(listener)
end

dpml.spawn(function()
    db = connect(tonumber(arg[2]), arg[3], arg[4], arg[5])
    for n = 1, tonumber(arg[6]) do
        run(("%s/%d.lua"):format(arg[7], n))
    end
    print("that is all")
end)
"##;

both! {
    fn the_examples_of_the_library_do_what_they_say(server) {
        let base = server.database();
        server.sql(&format!(
            "USE {base}; CREATE TABLE users (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20));
             INSERT INTO users (name) VALUES ('ann'), ('bob'), ('cid')"
        ));
        let text = read("doc/DPML.md");
        let examples: Vec<&str> =
            text.split("```lua\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(examples.len() > 15);
        let folder = process::folder("examples");
        for (n, example) in examples.iter().enumerate() {
            let example = example
                .replace("db1.example.com", server.host())
                .replace("db2.example.com", server.host())
                .replace(&format!("host = \"{}\", user", server.host()), &format!("host = \"{}\", port = 3306, user", server.host()))
                .replace("3306", &server.port.to_string())
                .replace("user = \"app\", password = \"secret\"", &format!("user = \"{USER}\", password = \"{PASSWORD}\""))
                .replace("\"shop\"", &format!("{base:?}"))
                .replace("learnt.txt", &folder.join("learnt.txt").display().to_string());
            std::fs::write(folder.join(format!("{}.lua", n + 1)), example).unwrap();
        }
        let dpm = Launch::script(EXAMPLES)
            .server(server)
            .arg(USER)
            .arg(PASSWORD)
            .arg(base)
            .arg(examples.len())
            .arg(folder.display())
            .start();
        dpm.line("that is all");
        for service in ["WHO AM I", "forward", "stream", "coalesce"] {
            assert!(dpm.wrote(&format!("asked {service}")), "{service}");
        }
    }
}

#[test]
fn events_md_names_every_state() {
    let events = read("doc/EVENTS.md");
    for [place, name, _] in what_there_is() {
        let is_state = place == "dpm"
            && ["MYC_", "MYS_", "MY_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
            && !["MY_CLIENT", "MY_SERVER"].contains(&name.as_str());
        assert!(
            !is_state || events.contains(&name),
            "doc/EVENTS.md does not mention {name}"
        );
    }
}

/// What a file of declarations has, as [`what_there_is`] tells it.
fn declared(module: &str) -> BTreeSet<[String; 3]> {
    let mut all = BTreeSet::new();
    let mut declare = |place: &str, name: &str, kind: &str| {
        all.insert([place, name, kind].map(str::to_owned));
    };
    let text = read(&format!("lua/types/{module}.lua"));
    let mut mark = false;
    for line in text.lines() {
        if let Some(function) = line.strip_prefix("function ") {
            let (path, _) = function.split_once('(').unwrap();
            match path.split_once(':') {
                Some((class, method)) => declare(&format!("{module}.{class}"), method, "function"),
                None => declare(module, path.strip_prefix("M.").unwrap(), "function"),
            }
        } else if let Some((name, value)) = line
            .strip_prefix("M.")
            .and_then(|line| line.split_once(" = "))
        {
            match value {
                "nil" if mark => declare(module, name, "userdata"),
                "nil" => declare(module, name, "string"),
                _ => declare(module, name, "number"),
            }
        }
        mark = line == "---@type dpm.Mark";
    }
    all
}

#[test]
fn editors_are_told_of_all_that_there_is_and_of_nothing_else() {
    let there: BTreeSet<[String; 3]> = what_there_is().into_iter().collect();
    assert!(there.len() > 390, "{}", there.len());
    let declared: BTreeSet<_> = ["dpm", "dpml"].into_iter().flat_map(declared).collect();
    let missing: Vec<_> = there.difference(&declared).collect();
    let surplus: Vec<_> = declared.difference(&there).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "missing: {missing:?}\nsurplus: {surplus:?}"
    );
}

/// The values in the declarations are right, and a script that runs them by mistake still works.
#[test]
fn declarations_do_no_harm() {
    let types = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua/types");
    let script = format!(
        "local dpml = require 'dpml'
         local spawn, close, ping = dpml.spawn, dpm.close, dpm.COM_PING
         local module = assert(loadfile('{0}/dpml.lua'))()
         assert(module ~= dpml)
         local chunk = assert(loadfile('{0}/dpm.lua'))
         chunk()
         print(dpml.spawn == spawn, dpm.close == close, dpm.COM_PING == ping)
         for line in io.lines('{0}/dpm.lua') do
           local name, value = line:match('^M%.([%w_]+) = (%d+)$')
           assert(not name or dpm[name] == tonumber(value), name)
         end
         print(pcall(require, 'types.dpm'))
         print('that is all')",
        types.display()
    );
    let dpm = Launch::script(&script).start();
    dpm.line("true\ttrue\ttrue");
    assert!(
        dpm.line("false\tmodule 'types.dpm' not found")
            .contains("types.dpm")
    );
    dpm.line("that is all");
}
