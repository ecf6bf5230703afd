-- dpml: what most scripts would otherwise write for themselves on top of the low-level `dpm` API.
--
-- The functions that wait for a server lay a callback object over the connection's callbacks
-- (package_register) and put back what they found there, so that they may be called from a script
-- or from another library that does the same. What they keep of a connection is keyed by its id and
-- dropped when they are done with it or when it closes, whichever comes first.

local callbacks = require "dpml.callbacks"
local clients = require "dpml.clients"
local dump = require "dpml.dump"
local errors = require "dpml.errors"
local queries = require "dpml.queries"
local results = require "dpml.results"
local servers = require "dpml.servers"

-- Scripts that say `require "dpml"` and no more find it as a global, as they always have.
dpml = {
    register_callbacks = callbacks.register_callbacks,
    send_resultset = results.send_resultset,
    send_prepared = results.send_prepared,
    send_error = errors.send_error,
    execute_query_buffered = queries.execute_query_buffered,
    execute_prepared = queries.execute_prepared,
    connect_mysql_server = servers.connect_mysql_server,
    passthrough_new_clients = clients.passthrough_new_clients,
    authenticate_new_clients = clients.authenticate_new_clients,
    dump_table = dump.dump_table,
}
return dpml
