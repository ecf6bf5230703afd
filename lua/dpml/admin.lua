-- The administrative service of the whole program.

local actions = require "dpml.admin.actions"
local checks = require "dpml.support.checks"
local everywhere = require "dpml.admin.everywhere"
local figures = require "dpml.figures"
local inventory = require "dpml.admin.inventory"
local pool_admin = require "dpml.pool.admin"
local pool_figures = require "dpml.pool.figures"
local service = require "dpml.admin.service"
local token_reader = require "dpml.text.token_reader"

local admin = {}

local NAME = "dpml.admin"
local OPTIONS = checks.union(service.OPTIONS, { eval = "a boolean" })

local LOCAL = { ["127.0.0.1"] = true, ["::1"] = true, localhost = true }

-- What is asked and answered is about everybody's data.
local function check_secrecy(listener)
    local address = listener:socket_address()
    if listener:listener() ~= 2 and not listener:tls() and not LOCAL[address] and not address:find("^127%.") then
        dpm.log("warn", ("%s: %s can be reached from other machines, and uses no TLS: what is asked and answered can be read "
            .. "on its way"):format(NAME, address))
    end
end

-- The library answers KILL with the numbers of the service's own clients, and every SET.
local function is_own(cmd)
    if cmd:command() ~= dpm.COM_QUERY then
        return false
    end
    local word = token_reader.first_word(cmd:argument())
    local reader = word == "SET" and token_reader.statement(cmd:argument())
    return word == "KILL" or reader and reader:take_all("SET", "LOG", "LEVEL")
end

-- Answers administrative statements for the clients of `listener`. `options` say who may log in, as those of
-- dpml.accept_clients do; roles = { user = "viewer" | "operator" | "admin" }, what each may do (whoever is not in there may
-- look only); eval = true allows EVAL, to admins; literals = true shows statements with their literals.
function admin.serve(listener, options)
    checks.argument(NAME, "listener", listener, "a listener")
    checks.options(NAME, options, OPTIONS)
    local statements = { unpack(actions.STATEMENTS) }
    for _, statement in ipairs(pool_admin.STATEMENTS) do
        statements[#statements + 1] = statement
    end
    if options.eval then
        statements[#statements + 1] = actions.EVAL
    end
    service.serve({
        name = NAME, database = "dpm", version_comment = "dpm admin", role = "viewer",
        listener = listener, is_own = is_own,
        pools = pool_figures.pools,
        tables = figures.all,
        status = dpm.stats,
        statements = statements,
    }, listener, options)
    inventory.declare()
    if select(2, dpm.worker()) > 1 then
        actions.answer_workers()
        everywhere.answer(pool_figures.SUBJECTS)
    end
    check_secrecy(listener)
end

return admin
