-- Plug-ins: tables of callbacks for a client and what its server answers.
--
-- A plug-in may have, each of them optional:
--   new_client(client, server, auth)       the two are linked; `auth` only of proxy_new_clients
--   logged_in(auth, client_id, client)     the login succeeded; `auth` is what the client had sent
--   new_command(cmd, client_id, client)    a command of the client's
--   new_statement(prepared, client_id, client)  a statement of the client's has been prepared
--   new_result(rset, client_id, client)    a resultset of the server's begins
--   new_field(field, client_id, client)    a column of it
--   new_row(row, client_id, client, rset)  a row of it
--   finished_result(packet, client_id, client)  the eof or ok that ends a result
--   failed_command(err, client_id, client) the error that ends an answer
--   finished_command(client_id, client) the answer is complete, whether the server's or the script's
--   closing(client_id, client) the client leaves
--   save(client)                           what it knows of a client, as a string, for the startfile that takes this one's place
--   restore(client, text, server, auth)    the client comes with what the plug-in before has saved
-- Those with a packet return a verdict, or the packets that are sent instead of this one.
--
-- A plug-in may also be a function (client, server, auth) that gives each client a table of its own, or an
-- object that has such a function as its method for_client, besides other methods.

local checks = require "dpml.support.checks"

local plugins = {}

local CALLBACKS = { selftest = true } -- of a reloadable one
for _, name in ipairs { "new_client", "logged_in", "new_command", "new_statement", "new_result", "new_field", "new_row",
    "finished_result", "failed_command", "finished_command", "closing", "save", "restore" } do
    CALLBACKS[name] = true
end

-- Checks a plug-in. It may have data of its own, but a function whose name is not a callback's is an error,
-- since it would never be called.
function plugins.check(what, plugin)
    checks.argument(what, "plug-in", plugin, "a table or function")
    if type(plugin) ~= "table" then
        return
    elseif plugin.for_client ~= nil then
        return checks.argument(what, "for_client", plugin.for_client, "a function")
    end
    local functions = {}
    for name, value in pairs(plugin) do
        if CALLBACKS[name] then
            checks.argument(what, name, value, "a function")
        elseif type(value) == "function" then
            functions[name] = value
        end
    end
    checks.options(what, functions, CALLBACKS, "callback")
end

-- Whether a plug-in has the same callbacks for all clients.
function plugins.is_shared(plugin)
    return type(plugin) == "table" and not plugin.for_client
end

-- The callbacks that a plug-in's function returns for a client.
local function callbacks_from(made)
    made = made or {}
    checks.argument("a plug-in's function", "what it returned", made, "a table")
    plugins.check("a plug-in's function", made)
    if made.for_client then
        checks.fail("a plug-in's function", "what it returned: expected callbacks, got an object that makes them")
    end
    return made
end

-- The callbacks that a plug-in has for a client. `auth` is known where the proxy has logged it in.
function plugins.of_client(plugin, client, server, auth)
    if type(plugin) == "function" then
        return callbacks_from(plugin(client, server, auth))
    elseif plugin.for_client then
        return callbacks_from(plugin:for_client(client, server, auth))
    end
    return plugin
end

return plugins
