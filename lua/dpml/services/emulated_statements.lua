-- Prepared statements for clients of a service that only handles queries: the text is kept, and run as a query
-- with the values inserted. Where a server answers, each is prepared there, too.

local errors = require "dpml.support.errors"
local queries = require "dpml.servers.queries"
local results = require "dpml.results"

local emulated_statements = {}

local MOST = 1024 -- statements of a client
local MOST_TEXT = 16 * 1024 * 1024 -- bytes of all of them
local MOST_PARAMS = 65535 -- of a statement: their number has 16 bits
local LONG_DATA = 16 * 1024 * 1024

-- A quote is doubled, which works in every sql_mode.
local ESCAPES = { ["\0"] = "\\0", ["\n"] = "\\n", ["\r"] = "\\r", ["\26"] = "\\Z", ["'"] = "''", ["\\"] = "\\\\" }

local function literal(value)
    if value == dpm.NULL then
        return "NULL"
    elseif type(value) == "number" then
        return value == math.floor(value) and math.abs(value) < 2 ^ 53 and ("%d"):format(value) or ("%.17g"):format(value)
    end
    return "'" .. value:gsub("[%z\n\r\26'\\]", ESCAPES) .. "'"
end

-- The pieces of the text between its placeholders; nil if there are too many.
local function split(sql)
    local pieces, at = { size = #sql }, 1
    for _, token in ipairs(dpm.tokenize(sql, { kind = "placeholder", limit = MOST_PARAMS + 1 })) do
        pieces[#pieces + 1] = sql:sub(at, token.from - 1)
        at = token.to + 1
    end
    if #pieces > MOST_PARAMS then
        return nil
    end
    pieces[#pieces + 1] = sql:sub(at)
    return pieces
end

-- Those of a client: { by_id = { [id] = pieces }, count =, text = bytes, last = id }; nil before the first.
local function statements_of(session)
    if not session.statements then
        session.statements = { by_id = {}, count = 0, text = 0, last = 0 }
        session.client:track_statements(true, { long_data = LONG_DATA })
    end
    return session.statements
end

-- The pieces of a statement; nil if there is none of this id.
local function pieces_of(session, id)
    return session.statements and session.statements.by_id[id]
end

-- What was executed, for those who execute it at a server: query -> { sql =, pieces =, values =, types = }.
local executes = setmetatable({}, { __mode = "k" })

-- Whether the client has any.
function emulated_statements.has_any(session)
    return session.statements ~= nil and session.statements.count > 0
end

-- The client has no statements any more.
function emulated_statements.forget(session)
    session.statements = nil
end

-- `on_server`, if there is one, is the same as db:prepare has prepared it.
function emulated_statements.prepare(session, sql, on_server)
    local statements = statements_of(session)
    if statements.count >= MOST then
        return errors.send_error(session.client, "42000", 1461,
            ("Can't create more than %d prepared statements"):format(MOST))
    end
    if statements.text + #sql > MOST_TEXT then
        return errors.send_error(session.client, "HY000", 1105,
            ("Can't keep more than %d bytes of prepared statements"):format(MOST_TEXT))
    end
    local pieces, prepared = split(sql), dpm.new_prepared_pkt()
    if not pieces then
        return errors.send_error(session.client, "HY000", 1390, "Prepared statement contains too many placeholders")
    end
    local id = statements.last + 1
    statements.last, statements.count, statements.text = id, statements.count + 1, statements.text + #sql
    statements.by_id[id] = pieces
    pieces.on_server = on_server
    prepared:statement_id(id)
    local known = on_server and on_server.statement
    for n = 1, #pieces - 1 do
        prepared:add_param(known and known:param(n) or dpm.new_field_pkt())
    end
    for n = 1, known and known:columns() or 0 do
        prepared:add_column(known:column(n) or dpm.new_field_pkt())
    end
    results.send_prepared(session.client, prepared)
end

-- The answer to a truncated command. It is not logged, since a client may send any number of them.
local function malformed(session)
    errors.send_error(session.client, "HY000", 1210, "Incorrect arguments to a prepared statement's command")
end

-- The statement that a command is about; nil if the command is truncated.
function emulated_statements.id_of(cmd)
    local read, id = pcall(cmd.statement_id, cmd)
    return read and id or nil
end

local function unknown(session, id)
    errors.send_error(session.client, "HY000", 1243,
        ("Unknown prepared statement handler (%d) given to EXECUTE"):format(id))
end

-- No cursors are opened, so there is nothing to fetch.
function emulated_statements.fetch(session, id)
    if not id then
        return malformed(session)
    end
    unknown(session, id)
end

-- The query for an execute; nil if the client was sent an error instead.
function emulated_statements.query_of(session, cmd)
    local id = emulated_statements.id_of(cmd)
    if not id then
        return malformed(session)
    end
    local pieces, statement = pieces_of(session, id), session.client:statement(id)
    if not pieces or not statement then
        return unknown(session, id)
    end
    local decoded, values, count = pcall(statement.decode, statement, cmd, dpm.NULL)
    if not decoded then
        return malformed(session)
    end
    local text = { pieces[1] }
    for n = 1, count do
        local value = values[n]
        if value == dpm.LONG_DATA then
            value = select(2, statement:long_data(n))
            if not value then
                return errors.send_error(session.client, "HY000", 1105, "The values of this statement are too long")
            end
            values[n] = value
        end
        text[#text + 1] = literal(value)
        text[#text + 1] = pieces[n + 1]
    end
    local sql = table.concat(text)
    local query = queries.new_command(dpm.COM_QUERY, sql)
    executes[query] = { sql = sql, pieces = pieces, values = values, types = statement:types() }
    return query
end

-- What was executed, if this is a query of query_of: { sql = the query, pieces =, values =, types = }.
function emulated_statements.execute_of(query)
    return executes[query]
end

-- Whether values are inserted in a query.
function emulated_statements.has_values(query)
    local execute = executes[query]
    return execute ~= nil and #execute.pieces > 1
end

-- A statement's text.
function emulated_statements.text_of(pieces)
    return table.concat(pieces, "?")
end

function emulated_statements.reset(session, id)
    if not id then
        malformed(session)
    elseif pieces_of(session, id) then
        results.send_ok(session.client)
    else
        unknown(session, id)
    end
end

function emulated_statements.close(session, id)
    local pieces = id and pieces_of(session, id)
    if pieces then
        local statements = session.statements
        statements.by_id[id] = nil
        statements.count, statements.text = statements.count - 1, statements.text - pieces.size
        if pieces.on_server then
            pieces.on_server:close()
        end
    end
end

return emulated_statements
