-- A plug-in that hides the values of some columns.
--
-- A value passes if its column comes from a table that is known, and is not among the masked ones; or if it comes from no
-- table, and the whole statement provably reads none with masked columns, no view or routine that is not declared to be
-- harmless, and nothing that statements before it may have left of such. All else is masked, texts of errors and warnings
-- included. What cannot be judged, and what would copy masked values to where they are not masked, is refused.

local base_tables = require "dpml.mask.base_tables"
local charsets = require "dpml.support.charsets"
local checks = require "dpml.support.checks"
local errors = require "dpml.support.errors"
local judgement = require "dpml.mask.judgement"
local linked = require "dpml.plugins.linked"
local policy = require "dpml.mask.policy"

local mask = {}

local NAME = "dpml.mask"
local OPTIONS = { columns = "an array", views = "an array", routines = "an array" }

-- Types whose values are masked as "***"; all others are masked as NULL.
local TEXT_TYPES = {}
for name in ("VARCHAR VAR_STRING STRING TINY_BLOB BLOB MEDIUM_BLOB LONG_BLOB"):gmatch("%S+") do
    TEXT_TYPES[dpm["MYSQL_TYPE_" .. name]] = true
end

-- Commands that return rows as they are stored, or that are not understood.
local REFUSED = {}
for name in ("BINLOG_DUMP BINLOG_DUMP_GTID TABLE_DUMP CLONE SUBSCRIBE_GROUP_REPLICATION_STREAM MULTI"):gmatch("%S+") do
    REFUSED[dpm["COM_" .. name]] = true
end

-- Errors whose texts quote only the statement, or names. All others may quote values.
local PLAIN_ERRORS = {}
for _, number in ipairs { 1044, 1045, 1046, 1048, 1049, 1050, 1051, 1052, 1053, 1054, 1060, 1061, 1064, 1065, 1091, 1099,
    1100, 1103, 1109, 1110, 1113, 1136, 1142, 1143, 1146, 1149, 1205, 1213, 1227, 1243, 1290, 1305, 1317, 1364, 1370, 1451,
    1452, 1568, 1792, 1836, 1969, 3024, 3572 } do
    PLAIN_ERRORS[number] = true
end

-- Names of variables and statements that are remembered; beyond it all are forgotten, which masks more.
local MOST_KEPT = 10000

local MASKED_TEXT = "The text of this message may have masked values"

-- What is read of the session in which a statement runs: its strings are as in any mode; see refuses_charset.
local SQL_OPTIONS = { charset = "utf8mb4" }

local NOTHING = { computed = false, trusted = {}, touches = false }
local ALL = { computed = true, trusted = {}, touches = true, taints = true }

local function new_session()
    return { tainted = false, clean = {}, diagnostics = false, prepared = {}, kept = 0 }
end

-- What dpm.tables says of a text, and of the one that it prepares.
local function read(sql)
    local info = dpm.tables(sql, SQL_OPTIONS)
    if info.prepares then
        info.prepared = dpm.tables(info.prepares.sql, SQL_OPTIONS)
    end
    return info
end

-- The replacement for a column's values; nil if they are shown. An unknown column is masked.
local function replacement(number, field, rules, judged)
    if not field then
        return dpm.NULL
    end
    local table_name, name = rules:origin(field)
    local is_shown
    if table_name and rules.columns[table_name .. "." .. name] then
        is_shown = false
    elseif not judged.computed then
        is_shown = true
    elseif judged.only_texts then
        is_shown = number < 3 -- Level, Code, Message
    else
        is_shown = table_name and judged.trusted[table_name]
    end
    if not is_shown then
        local _, type_of_values = field:name()
        return TEXT_TYPES[type_of_values] and "***" or dpm.NULL
    end
end

-- One client's.
local Masking = {}
Masking.__index = Masking

function Masking:logged_in(auth)
    self.has_halves = auth ~= nil and charsets.has_halves(auth:charset_number())
end

local function refuse(client, why)
    errors.send_error(client, "42000", 1142, "There are masked columns: " .. why)
    return dpm.DPM_NOPROXY
end

-- Gives each table its kind. Returns those that the server has to be asked about.
function Masking:classify(info, unknown)
    for _, entry in ipairs(info) do
        entry.kind = self.rules:kind_by_name(entry)
        if not entry.kind then
            local is_base = self.known:is_base(entry)
            if is_base == nil then
                unknown[#unknown + 1] = entry
            end
            entry.kind = is_base and policy.HARMLESS or policy.UNKNOWN
        end
    end
    if info.prepared then
        self:classify(info.prepared, unknown)
    end
    local executed = info.executes and self.session.prepared[info.executes:lower()]
    if executed then
        self:classify(executed, unknown)
    end
    return unknown
end

-- Goes on once it is known what the tables of a statement are: with a verdict, or a function that will give it.
function Masking:when_known(info, client_id, go_on)
    local unknown = self:classify(info, {})
    local server = linked.server_of(client_id)
    if #unknown == 0 or not server or info.anything then
        return go_on()
    end
    return function(settle)
        self.known:ask(server, unknown, function()
            self:classify(info, {})
            settle(go_on())
        end)
    end
end

-- Names may mean other tables than before.
function Masking:redefine(info)
    if info.executes then
        info = self.session.prepared[info.executes:lower()] or info
    end
    if info.chooses_schema or info.calls then
        self.known:forget()
    end
    if info.defines then
        self.known:forget_defined(info)
    end
end

-- What is known once a single statement has succeeded that had nothing to do with masked values.
function Masking:succeeded(info)
    local session = self.session
    session.kept = session.kept + 1
    if session.kept > MOST_KEPT then
        session.clean, session.prepared, session.kept = {}, {}, 0
    end
    if info.temporary and not info.alters then
        self.known:add_temporary(info)
    elseif info.prepared then
        session.prepared[info.prepares.name:lower()] = info.prepared
    end
    for _, variable in ipairs(info.variables) do
        if variable.is == "set" then
            session.clean[variable.name] = true
        end
    end
end

-- Judges a statement that is about to run: refuses it, or notes what is masked of it.
function Masking:begin(info, cmd, client)
    local session = self.session
    local judged = judgement.judge(info, self.rules, session)
    if judged.refused then
        return refuse(client, judged.refused)
    end
    if judged.taints then
        session.tainted, session.clean = true, {}
    end
    if not info.diagnostics then
        session.diagnostics = judged.touches or session.diagnostics and #info == 0
    end
    -- Before it and after it, for others ask meanwhile.
    self:redefine(info)
    self.judged, self.succeeds = judged, function()
        self:redefine(info)
        if info.statements == 1 and not judged.computed then
            self:succeeded(info)
        end
    end
    -- No cursors: what is masked is decided for the current statement, whose rows must not mix with those of others.
    if cmd:command() == dpm.COM_STMT_EXECUTE and cmd:execute_flags(dpm.CURSOR_TYPE_READ_ONLY) then
        cmd:execute_flags(dpm.CURSOR_TYPE_READ_ONLY, false)
        return cmd
    end
end

-- A statement is to be prepared: what is masked of it is decided each time that it is executed.
function Masking:prepare(info, client)
    local judged = judgement.judge(info, self.rules, self.session)
    if judged.refused then
        return refuse(client, judged.refused)
    end
    self.coming, self.judged = info, judged
    if not client:track_statements() then
        client:track_statements(true)
    end
end

-- What was noted of the statement that a command is about.
function Masking:noted(client, cmd)
    local statement = client:track_statements() and client:statement(cmd:statement_id())
    local notes = statement and statement:notes()
    return notes and notes[self.rules]
end

function Masking:new_command(cmd, client_id, client)
    local command = cmd:command()
    self.judged, self.succeeds = NOTHING, nil
    if REFUSED[command] then
        return refuse(client, "rows are not sent as they are")
    elseif self.has_halves then
        return refuse(client, "in this character set quotes may be halves of characters")
    elseif command == dpm.COM_QUERY or command == dpm.COM_STMT_PREPARE then
        local info = read(cmd:argument())
        return self:when_known(info, client_id, function()
            if command == dpm.COM_STMT_PREPARE then
                return self:prepare(info, client)
            end
            return self:begin(info, cmd, client)
        end)
    elseif command == dpm.COM_STMT_EXECUTE or command == dpm.COM_STMT_BULK_EXECUTE then
        local info = self:noted(client, cmd)
        if not info then
            return refuse(client, "this statement was not seen when it was prepared")
        end
        return self:when_known(info, client_id, function()
            return self:begin(info, cmd, client)
        end)
    elseif command == dpm.COM_INIT_DB then
        self.known:forget()
    elseif command == dpm.COM_PROCESS_INFO or command == dpm.COM_STMT_FETCH then
        self.judged = ALL
    elseif command == dpm.COM_RESET_CONNECTION then
        self.succeeds = function()
            self:reset()
        end
    elseif command == dpm.COM_CHANGE_USER then
        local auth = cmd:change_user()
        if not auth or charsets.has_halves(auth:charset_number()) then
            return refuse(client, "in this character set quotes may be halves of characters")
        end
        self.succeeds = function()
            self:reset()
        end
    end
end

-- Nothing is left of what statements before have done.
function Masking:reset()
    self.session = new_session()
    self.known:forget()
end

function Masking:new_row(row, rset)
    if rset ~= self.rset or self.judged ~= self.rset_judged then
        self.rset, self.rset_judged, self.replacements = rset, self.judged, {}
        for i = 1, rset:field_count() do
            self.replacements[i] = replacement(i, rset:field(i), self.rules, self.judged)
        end
    end
    if not next(self.replacements) then
        return
    end
    local values = rset:parse_row_array(row)
    for i, value in pairs(self.replacements) do
        values[i] = values[i] and value -- NULL stays what it is
    end
    rset:pack_row(row, values)
    return row
end

-- The number and the SQLSTATE stay.
function Masking:failed_command(err)
    self.succeeds = nil
    if self.judged.touches and not PLAIN_ERRORS[err:errnum()] then
        err:message(MASKED_TEXT)
        return err
    end
end

function Masking:finished_result()
    local succeeds = self.succeeds
    self.succeeds = nil
    if succeeds then
        succeeds()
    end
end

-- mask{ columns = { "customers.email", … }, views = { "public_orders", … }, routines = { "shop.tax", … } }
function mask.mask(options)
    checks.options(NAME, options, OPTIONS)
    checks.argument(NAME, "columns", options.columns, "an array")
    local rules, shared = policy.new(NAME, options), { generation = 0 }

    return function()
        local masking = setmetatable({
            rules = rules, session = new_session(), known = base_tables.new(shared), judged = ALL,
        }, Masking)
        return {
            logged_in = function(auth)
                masking:logged_in(auth)
            end,
            new_command = function(cmd, client_id, client)
                return masking:new_command(cmd, client_id, client)
            end,
            new_statement = function(prepared)
                local notes = prepared:notes()
                if notes then
                    notes[rules] = masking.coming
                end
            end,
            new_row = function(row, _, _, rset)
                return masking:new_row(row, rset)
            end,
            failed_command = function(err)
                return masking:failed_command(err)
            end,
            finished_result = function()
                masking:finished_result()
            end,
        }
    end
end

return mask
