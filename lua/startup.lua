-- startup.lua: what `dpm` runs without a startfile. A server without a database, to try dpm: user "dpm" with
-- password "dpm" can log in, and gets answers to a few queries.
--
-- dpm [-- PORT] listens on 127.0.0.1, port 5500 unless told otherwise; 0 takes a free port.

local dpml = require "dpml"
local session_select = require "dpml.services.session_select"
local client_probes = require "dpml.services.client_probes"
local token_reader = require "dpml.text.token_reader"

local USER, PASSWORD, DATABASE = "dpm", "dpm", "dpm"

local greeting = {
    { "Hello from dpm, a proxy for MySQL that runs your Lua." },
    { "There is no database behind this port: give dpm a startfile to get one." },
    { "Until then: SELECT VERSION(); SHOW STATUS LIKE 'dpm%'; SELECT USER(); \\s" },
}

local function show_status(_, sql)
    local values = {}
    for name, value in pairs(dpm.stats()) do
        values["dpm_" .. name] = value
    end
    return client_probes.name_value_result(values, sql)
end

local function show(reader, sql)
    client_probes.take_scope(reader)
    if reader:take("STATUS") then
        return show_status(reader, sql)
    elseif reader:take("DATABASES") then
        return { fields = { "Database" }, rows = { { DATABASE } } }
    elseif reader:take("TABLES") then
        return { fields = { "Tables_in_" .. DATABASE }, rows = {} }
    end
end

-- Functions of a statement, by its first word.
local answers = {
    HELLO = function(reader)
        return reader:at_end() and { fields = { "Hello" }, rows = greeting } or nil
    end,
    SHOW = show,
    -- Queries about the session have been answered before.
    SELECT = function(reader)
        reader.at = 1
        return (session_select.answer(reader, {}, {}))
    end,
}

local NOT_UNDERSTOOD = "dpm runs without a database and answers HELLO, SELECT of numbers, variables and functions "
    .. "of the session, and SHOW STATUS LIKE 'dpm%%'. It does not understand this near '%s'"

local function new_command(cmd)
    if cmd:command() ~= dpm.COM_QUERY then
        error(dpml.new_error("08S01", 1047, "dpm runs without a database and does not know this command"))
    end
    local sql = cmd:argument()
    local reader = token_reader.statement(sql)
    local word = reader and reader:take_kind("word")
    local answer = word and answers[word.text:upper()]
    local result = answer and answer(reader, sql)
    if result then
        return result
    end
    error(dpml.new_error("42000", 1064, NOT_UNDERSTOOD:format(sql:match("^%s*(.*)"):sub(1, 80))))
end

local function use_database(name)
    if name ~= DATABASE then
        return dpml.new_error("42000", 1049, ("Unknown database '%s': there is only '%s'"):format(name, DATABASE))
    end
end

local port = tonumber(arg and arg[1]) or 5500
local listening, listener_or_problem = pcall(dpm.listener, "127.0.0.1", port, { tls = true })
if not listening then
    io.stderr:write(("dpm: cannot listen on 127.0.0.1:%d: %s\n"):format(port, tostring(listener_or_problem)))
    io.stderr:write("dpm: another port can be given: dpm -- PORT\n")
    dpm.exit(1)
    return
end

local listener = listener_or_problem
dpml.accept_clients(listener, {
    users = { [USER] = { password = PASSWORD } },
    version_comment = "dpm without a database",
    new_command = new_command,
    use_database = use_database,
})
print(("dpm: startup listening on 127.0.0.1:%d"):format(listener:socket_port()))
print(("dpm: try  mysql -h 127.0.0.1 -P %d -u %s -p%s"):format(listener:socket_port(), USER, PASSWORD))
