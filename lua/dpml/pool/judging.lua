-- Asks the servers whether a password is right, by a login: they are the judges. Logins of the same user with the same
-- password that wait to be judged are judged by one.

local charsets = require "dpml.pool.charsets"
local errors = require "dpml.support.errors"
local greeter = require "dpml.logins.greeter"
local queries = require "dpml.servers.queries"
local servers = require "dpml.servers"
local tasks = require "dpml.tasks"
local token_reader = require "dpml.text.token_reader"
local warnings = require "dpml.support.warnings"

local judging = {}

local NAME = 'accounts = "server"'
local AT_ONCE = 16    -- logins that are judged at a time
local LIMIT = 10000   -- milliseconds for one

local Judge = {}
Judge.__index = Judge

-- list() returns options of connect_mysql_server, for one server each, in the order in which they are asked; it may wait. The
-- connection of a login is closed when it has been judged, unless keep(server, verdict) returns true.
function judging.new(list, keep)
    return setmetatable({ list = list, keep = keep, waiting = {}, first = 1, last = 0, under_way = 0 }, Judge)
end

local function query(server, sql)
    return tasks.await(NAME, function(resume)
        queries.execute_query_buffered(server, sql, function(_, _, result, err)
            resume(true, { rows = result and result.rows, err = err })
        end)
    end)
end

-- Nothing but a change of the password can be done in a session whose password has expired.
local EXPIRED = errors.of_connecting(errors.new(1862, "HY000",
    "Your password has expired. To log in you must change it using a client that supports expired passwords."), "refused")

local function read_settings(server)
    local ok, settings = pcall(charsets.read, server)
    if not ok and errors.is_error(settings) and not settings.timed_out then
        error(settings.errnum == 1820 and EXPIRED or errors.of_connecting(settings, "refused"), 0)
    elseif not ok then
        error(settings, 0)
    end
    return settings
end

-- What the account's REQUIRE says, as { SSL = true, SUBJECT = "…", … }; nil if it cannot be read.
local function requirements_in(sql)
    local found, reader = {}, token_reader.statement(sql)
    if not reader then
        return nil
    end
    local tokens, at = reader.tokens, nil
    for i, token in ipairs(tokens) do
        at = at or token.kind == "word" and token.text:upper() == "REQUIRE" and i or nil
    end
    for i = at or #tokens, #tokens do
        local word, following = tokens[i].text:upper(), tokens[i + 1]
        if word == "SSL" or word == "X509" then
            found[word] = true
        elseif (word == "ISSUER" or word == "SUBJECT" or word == "CIPHER") and following then
            found[word] = following.text:sub(2, -2)
        end
    end
    return found
end

-- What a client's own connection has to be like, which the server could not see: its own leg uses TLS.
local function read_requirements(server)
    if not server:tls() then
        return {}
    end
    local account = query(server, "SHOW CREATE USER CURRENT_USER()")
    local found = not account.err and requirements_in(account.rows[1][1])
    if not found then
        return nil
    end
    local transport = query(server, "SELECT @@require_secure_transport")
    local is_known = transport.err == nil or transport.err.errnum ~= 1193
    found.transport = is_known and (transport.err ~= nil or tostring(transport.rows[1][1]) ~= "0")
    return found
end

local function log_in(options, judgement)
    local login = {}
    for name, value in pairs(options) do
        login[name] = value
    end
    local auth, database = judgement.auth, judgement.auth:databasename()
    login.user, login.password, login.like = auth:user(), judgement.password, auth
    login.database = database ~= "" and database or nil
    login.charset = auth:charset_number()
    return tasks.await(NAME, function(resume)
        local server
        function login.callback(connected, err, handshake, ok)
            resume(connected ~= nil, connected and { server = connected, handshake = handshake, ok = ok } or err)
        end
        local begun, result = pcall(servers.connect_mysql_server, login)
        if not begun then
            return resume(false, errors.of_connecting(errors.presentable(result), "failed"))
        end
        server = result
        return function()
            dpm.close(server)
        end
    end)
end

local function ask(self, options, judgement)
    local verdict = log_in(options, judgement)
    local server = verdict.server
    local ok, problem = pcall(function()
        verdict.settings = read_settings(server)
        verdict.requirements = read_requirements(server)
    end)
    verdict.address = greeter.key_of(options)
    verdict.server = nil
    if not (ok and self.keep and self.keep(server, verdict)) then
        servers.leave(server)
    end
    return ok and verdict, problem
end

-- The first server that can be reached decides.
local function ask_in_turn(self, judgement)
    local last
    for _, options in ipairs(self.list()) do
        local ok, verdict, problem = pcall(ask, self, options, judgement)
        if ok and verdict then
            return verdict
        end
        last = problem or verdict
        if not errors.is_of_connecting(last) or errors.is_refused_login(last) then
            error(last, 0)
        end
        warnings.warn(NAME, tostring(last))
    end
    error(last or errors.of_connecting(errors.new(2003, "HY000", "There is no server that could judge a login"), "failed"), 0)
end

local function begin_next(self)
    while self.under_way < AT_ONCE and self.first <= self.last do
        local judgement = self.waiting[self.first]
        self.waiting[self.first] = nil
        self.first = self.first + 1
        self.under_way = self.under_way + 1
        tasks.spawn(function()
            local ok, verdict = pcall(tasks.with_timeout, LIMIT, ask_in_turn, self, judgement)
            self.under_way = self.under_way - 1
            for resume in pairs(judgement.resumes) do
                resume(ok, verdict)
            end
            begin_next(self)
        end)
    end
end

-- One that has not begun yet, and asks for the same. Sessions that begin otherwise are not the same.
local function find_waiting(self, auth, password)
    for i = self.first, self.last do
        local other = self.waiting[i]
        local is_same = other.auth:user() == auth:user() and other.auth:databasename() == auth:databasename()
            and other.auth:charset_number() == auth:charset_number() and other.auth:client_flags() == auth:client_flags()
        if is_same and other.password == password then
            return other
        end
    end
end

-- Waits for the verdict, which a server gives after this was called: { handshake =, ok =, address =, settings = how the session
-- begins, requirements = what the client's connection has to be like }. Raises the server's error, or what kept it from
-- answering.
function Judge:judge(auth, password)
    return tasks.await(NAME, function(resume)
        local judgement = find_waiting(self, auth, password)
        if not judgement then
            judgement = { auth = auth, password = password, resumes = {} }
            self.last = self.last + 1
            self.waiting[self.last] = judgement
        end
        judgement.resumes[resume] = true
        begin_next(self)
        return function()
            judgement.resumes[resume] = nil
        end
    end)
end

return judging
