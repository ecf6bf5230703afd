-- dpml: the library on top of the low-level `dpm` API, for what most scripts need.
--
-- The functions that wait for a server put a callback object over the connection's callbacks (package_register)
-- and restore the previous one, so that they may be called from a script or from another library that does the
-- same. Their data about a connection is keyed by its id, and dropped when they have finished with it or when
-- it closes, whichever comes first.

local admin = require "dpml.admin"
local autoexplain = require "dpml.autoexplain"
local proxied_clients = require "dpml.proxied_clients"
local by_key = require "dpml.pool.by_key"
local callbacks = require "dpml.servers.callbacks"
local chains = require "dpml.plugins.chains"
local coalesce = require "dpml.coalesce"
local databases = require "dpml.databases"
local digests = require "dpml.digests"
local dump = require "dpml.dump"
local errors = require "dpml.support.errors"
local figures = require "dpml.figures"
local firewall = require "dpml.firewall"
local http_request = require "dpml.http_request"
local logins = require "dpml.logins"
local mask = require "dpml.mask"
local metrics = require "dpml.metrics"
local multiplexer = require "dpml.multiplexer"
local passthrough = require "dpml.passthrough"
local pools = require "dpml.pool"
local queries = require "dpml.servers.queries"
local reload = require "dpml.plugins.reload"
local results = require "dpml.results"
local servers = require "dpml.servers"
local services = require "dpml.services"
local slowlog = require "dpml.slowlog"
local tasks = require "dpml.tasks"
local times = require "dpml.support.times"
local tracing = require "dpml.tracing"

-- Also a global, for scripts that only say `require "dpml"`.
dpml = {
    register_callbacks = callbacks.register_callbacks,
    -- to clients
    send_resultset = results.send_resultset,
    send_prepared = results.send_prepared,
    send_ok = results.send_ok,
    send_error = errors.send_error,
    new_error = errors.new_error,
    -- to servers
    execute_query_buffered = queries.execute_query_buffered,
    execute_prepared = queries.execute_prepared,
    connect_mysql_server = servers.connect_mysql_server,
    -- listeners
    passthrough_new_clients = passthrough.passthrough_new_clients,
    authenticate_new_clients = logins.authenticate_new_clients,
    proxy_new_clients = proxied_clients.proxy_new_clients,
    accept_clients = services.accept_clients,
    multiplex = multiplexer.serve,
    pool = pools.pool,
    admin = admin.serve,
    by_key = by_key.by_key,
    -- plug-ins
    chain = chains.chain,
    reloadable = reload.reloadable,
    -- ready-made ones, and a handler of services
    autoexplain = autoexplain.autoexplain,
    firewall = firewall.firewall,
    mask = mask.mask,
    metrics = metrics.metrics,
    slowlog = slowlog.slowlog,
    coalesce = coalesce.coalesce,
    -- tasks
    spawn = tasks.spawn,
    sleep_ms = tasks.sleep,
    wait_all = tasks.wait_all,
    with_timeout_ms = tasks.with_timeout,
    connect = databases.connect,
    http_request = http_request.http_request,
    -- the rest
    declare_figures = figures.declare,
    digests = digests.digests,
    tracing = tracing.tracing,
    dump_table = dump.dump_table,
    elapsed_ms = times.elapsed,
    duration = times.duration,
    milliseconds = times.milliseconds,
    -- older names
    sleep = tasks.sleep,
    with_timeout = tasks.with_timeout,
    elapsed = times.elapsed,
}
return dpml
