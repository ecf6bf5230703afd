---@meta dpml

-- The library `dpml`, for editors that understand LuaLS's annotations. Nothing here is run: doc/DPML.md tells what
-- all of it does, and a test compares the two with the program.

---@class dpml
local M = {}

-- What keeps its own value here does no harm if a script should `require` this file.
---@type dpml
dpml = dpml

-- Plug-ins -----------------------------------------------------------------------------------------

---Callbacks for a client and what its server answers. Those with a packet return a verdict, or the packets that go
---in its place.
---@class dpml.Callbacks
---@field new_client (fun(client: dpm.Connection, server: dpm.Connection, auth: dpm.Auth?): any)?
---@field logged_in (fun(auth: dpm.Auth, client_id: integer, client: dpm.Connection): any)?
---@field new_command (fun(cmd: dpm.Cmd, client_id: integer, client: dpm.Connection): (dpm.Verdict|dpm.Cmd))?
---@field new_statement (fun(prepared: dpm.Prepared, client_id: integer, client: dpm.Connection): ...)?
---@field new_result (fun(rset: dpm.Rset, client_id: integer, client: dpm.Connection): ...)?
---@field new_field (fun(field: dpm.Field, client_id: integer, client: dpm.Connection): ...)?
---@field new_row (fun(row: dpm.Row, client_id: integer, client: dpm.Connection, rset: dpm.Rset): ...)?
---@field finished_result (fun(packet: dpm.Eof|dpm.Ok, client_id: integer, client: dpm.Connection): ...)?
---@field failed_command (fun(err: dpm.Err, client_id: integer, client: dpm.Connection): ...)?
---@field finished_command (fun(client_id: integer, client: dpm.Connection): any)?
---@field closing (fun(client_id: integer, client: dpm.Connection): any)?
---@field save (fun(client: dpm.Connection): string?)?
---@field restore (fun(client: dpm.Connection, text: string, server: dpm.Connection?, auth: dpm.Auth): any)?
---@field selftest (fun(): boolean?, string?)?

---An object that makes a table of callbacks for each client.
---@class dpml.PluginObject
---@field for_client fun(self: any, client: dpm.Connection, server: dpm.Connection, auth: dpm.Auth?): dpml.Callbacks?

---A table of callbacks, or a function or an object that makes one for each client.
---@alias dpml.Plugin dpml.Callbacks|dpml.PluginObject|(fun(client: dpm.Connection, server: dpm.Connection, auth: dpm.Auth?): dpml.Callbacks?)

---One plug-in of several: each sees commands and results in the order of the list.
---@param plugins dpml.Plugin[]
---@return dpml.Plugin
function M.chain(plugins) end

---The plug-in that a file returns, which is read again when it changes: every `interval` seconds (2) it is looked at,
---and at once on HUP.
---@param path string
---@param interval number?
---@return dpml.Plugin
function M.reloadable(path, interval) end

---@class dpml.AutoExplainOptions
---@field side dpml.ConnectOptions
---@field threshold_ms number?
---@field server_flags boolean?
---@field sample number?
---@field interval number?
---@field max_shapes integer?
---@field format ("traditional"|"json"|"tree")?
---@field timeout_ms number?
---@field ansi_quotes boolean?
---@field report (fun(plan: dpml.Plan, raw: string?): any)?

---@class dpml.PlanStep
---@field table string
---@field access string
---@field key string?
---@field rows number?
---@field condition boolean
---@field keyless boolean

---@class dpml.Plan
---@field digest string
---@field query string
---@field kind string
---@field database string?
---@field user string?
---@field reason "slow"|"server"|"sample"
---@field duration number
---@field explained_at number
---@field error string?
---@field full_scan boolean?
---@field full_index_scan boolean?
---@field filesort boolean?
---@field temporary boolean?
---@field no_index boolean
---@field no_good_index boolean
---@field server_slow boolean
---@field rows number?
---@field tables string[]?
---@field steps dpml.PlanStep[]?

---@class dpml.Shape
---@field digest string
---@field query string
---@field kind string
---@field database string?
---@field seen integer
---@field longest number
---@field first_seen number
---@field last_seen number
---@field plan dpml.Plan?

---@class dpml.AutoExplain: dpml.PluginObject
local AutoExplain = {}

---Answers SHOW PLANS and its like on `listener`.
---@param listener dpm.Connection
---@param options dpml.AcceptOptions
function AutoExplain:admin(listener, options) end

---The shapes that there are, those seen last first.
---@return dpml.Shape[]
function AutoExplain:shapes_seen() end

---Counters.
---@return table<string, number|string>
function AutoExplain:status() end

---Forgets all shapes.
function AutoExplain:reset() end

---The callbacks for one client.
---@param client dpm.Connection
---@param server dpm.Connection
---@return dpml.Callbacks
function AutoExplain:for_client(client, server) end

---A plug-in that has the server explain what is slow, or runs without an index, beside the clients.
---@param options dpml.AutoExplainOptions
---@return dpml.AutoExplain
function M.autoexplain(options) end

---@class dpml.MaskOptions
---@field columns string[]
---@field views string[]?
---@field routines string[]?

---A plug-in that hides the values of columns, { "table.column", … }, whatever a query calls them.
---@param options dpml.MaskOptions
---@return dpml.Plugin
function M.mask(options) end

---@class dpml.FirewallOptions
---@field file string
---@field learn boolean?
---@field max_entries integer?
---@field on_refused (fun(what: string, client_id: integer, client: dpm.Connection): any)?

---A plug-in that lets through what its file has, and nothing else; while it learns, all, which it adds to the file.
---@param options dpml.FirewallOptions
---@return dpml.Plugin
function M.firewall(options) end

---@class dpml.SlowlogOptions
---@field threshold_ms number?
---@field max_digests integer?
---@field report (fun(digest: string, milliseconds: number, client_id: integer): any)?

---@class dpml.Slowlog: dpml.PluginObject
local Slowlog = {}

---How often each digest came, and how long it took, as send_resultset takes it.
---@return dpml.Result
function Slowlog:digests() end

---@param client dpm.Connection
---@param server dpm.Connection
---@return dpml.Callbacks
function Slowlog:for_client(client, server) end

---A plug-in that tells what takes `threshold_ms`, and counts everything by digest.
---@param options dpml.SlowlogOptions?
---@return dpml.Slowlog
function M.slowlog(options) end

---@class dpml.CoalesceOptions: dpml.ConnectOptions
---@field max_bytes number?

---A handler for accept_clients with all_commands, which sends identical SELECTs of the same time once.
---@param options dpml.CoalesceOptions
---@return fun(session: dpml.Session)
function M.coalesce(options) end

-- Listeners ----------------------------------------------------------------------------------------

---{ host =, port = } or { path = }, or in their places { "host", port } or { "/path" }; options of dpm.connect can
---stand beside them.
---@class dpml.Address: dpm.ConnectOptions
---@field host string?
---@field port integer?
---@field path string?
---@field [1] string?
---@field [2] integer?

---Gives each client a connection of its own to a server, where it logs in by itself.
---@param listener dpm.Connection
---@param plugin dpml.Plugin
---@param backends string|dpml.Address|dpml.Address[]|(fun(client: dpm.Connection): dpml.Address|dpml.Address[])
---@param port integer? only where the host is an argument of its own
function M.passthrough_new_clients(listener, plugin, backends, port) end

---Who may log in: credentials by users' names, or a function that finds one.
---@alias dpml.Users table<string, dpm.Credential>|(fun(user: string, client: dpm.Connection): dpm.Credential?, dpm.Credential?)

---A server of the multiplexer's fleet.
---@class dpml.FleetServer
---@field host string?
---@field port integer?
---@field path string?
---@field user string?
---@field password string?
---@field database string?
---@field name string?
---@field group string|string[]?
---@field tls any

---@class dpml.MultiplexOptions
---@field users dpml.Users?
---@field authenticate (fun(user: string, client: dpm.Connection): dpm.Credential?, dpm.Credential?)?
---@field fleet string|dpml.FleetServer[]?
---@field allow_writes boolean?
---@field limits table<string, number>?
---@field server_version string?
---@field collation (string|integer)?
---@field capabilities table<integer, boolean>?

---Serves the query multiplexer: doc/MULTIPLEXER.md.
---@param listener dpm.Connection
---@param options dpml.MultiplexOptions
---@return table
function M.multiplex(listener, options) end

---@class dpml.AcceptOptions
---@field users dpml.Users?
---@field authenticate (fun(user: string, client: dpm.Connection): dpm.Credential?, dpm.Credential?)?
---@field server_version string?
---@field collation (string|integer)?
---@field auth_plugin string?
---@field capabilities table<integer, boolean>?
---@field rsa_key string?

---@class dpml.ProxyOptions: dpml.AcceptOptions
---@field backend dpml.LoginOptions|dpml.LoginOptions[]|(fun(client: dpm.Connection, auth: dpm.Auth): dpml.LoginOptions|dpml.LoginOptions[]|nil)

---Clients log in at the proxy, and each gets a connection that the proxy has logged in.
---@param listener dpm.Connection
---@param plugin dpml.Plugin
---@param options dpml.ProxyOptions
function M.proxy_new_clients(listener, plugin, options) end

---A server of a pool. Without a role the pool finds it out.
---@class dpml.PoolServer: dpml.LoginOptions
---@field role ("primary"|"replica")?
---@field weight integer?
---@field name string?

---@class dpml.PoolOptions: dpml.AcceptOptions
---@field servers string|dpml.PoolServer[]|(fun(): dpml.PoolServer[])
---@field accounts "server"?
---@field max_user_clients (integer|table<string, integer>)?
---@field max_user_connections (integer|table<string, integer>)?
---@field backend dpml.LoginOptions|(fun(user: string): dpml.LoginOptions)|nil
---@field size integer?
---@field min_idle integer?
---@field max_prepared integer?
---@field max_waiting integer?
---@field queue_timeout number?
---@field idle_timeout number?
---@field max_lifetime number?
---@field max_hold number?
---@field monitor dpml.LoginOptions?
---@field split boolean?
---@field statement_timeout number?
---@field consistency ("none"|"session"|"user"|"tag")?
---@field tag (fun(client: dpm.Connection, user: string): string?)?
---@field choose (fun(names: string[], client: dpm.Connection, user: string): string?)?
---@field on_hold (fun(reason: string, client: dpm.Connection, sql: string): ("release"|"refuse")?)?
---@field lag_limit number?
---@field health_interval number?
---@field lastval boolean?
---@field failover_timeout number?
---@field retry_reads boolean?
---@field restore_user_variables boolean?
---@field hold_opaque boolean?
---@field harmless string[]?
---@field plugin dpml.Plugin?

---@class dpml.PoolAdminOptions: dpml.AcceptOptions
---@field literals boolean?
---@field version_comment string?

---@class dpml.Pool
local Pool = {}

---Answers SHOW HELD, SHOW POOLS, DRAIN SERVER and the like for the clients of `listener`: doc/POOLING.md.
---@param listener dpm.Connection
---@param options dpml.PoolAdminOptions
function Pool:admin(listener, options) end

---What those statements show, for scripts: by their names "pools", "servers", "clients", "held", "refused" and
---"counters", or one of these.
---@param name string?
---@param options { literals: boolean? }?
---@return table
function Pool:status(name, options) end

---What a client's session consists of, as a string for `adopt`; nil and why there is none. It may wait.
---@param client dpm.Connection
---@return string?
---@return string? why
function Pool:session(client) end

---Has a client of this pool, or of another one, go on with a session in this pool; nil and why it cannot. It may wait.
---@param client dpm.Connection
---@param session string
---@return true?
---@return string? why
function Pool:adopt(client, session) end

---Many clients over few server connections: doc/POOLING.md.
---@param listener dpm.Connection
---@param options dpml.PoolOptions
---@return dpml.Pool
function M.pool(listener, options) end

---A function for the option `choose` of pools: each key has its server, and only the keys of one that is gone move.
---@param key_of fun(client: dpm.Connection, user: string): string?
---@return fun(names: string[], client: dpm.Connection, user: string): string?
function M.by_key(key_of) end

---@class dpml.AuthenticateCallbacks
---@field new_client (fun(client: dpm.Connection, auth: dpm.Auth, ok: dpm.Ok): dpm.Verdict)?
---@field new_command (fun(cmd: dpm.Cmd, client_id: integer, client: dpm.Connection): dpm.Verdict)?
---@field finished_command (fun(client_id: integer, client: dpm.Connection): any)?
---@field closing (fun(client_id: integer, client: dpm.Connection): any)?
---@field server_version string?
---@field collation (string|integer)?
---@field auth_plugin string?
---@field capabilities table<integer, boolean>?
---@field rsa_key string?

---Logs clients in without any server.
---@param listener dpm.Connection
---@param callbacks dpml.AuthenticateCallbacks
---@param accounts dpml.Users
function M.authenticate_new_clients(listener, callbacks, accounts) end

---@class dpml.ServiceOptions: dpml.AcceptOptions
---@field new_client (fun(client: dpm.Connection, session: dpml.Session): dpml.Error?)?
---@field new_command (fun(cmd: dpm.Cmd, client: dpm.Connection, session: dpml.Session): dpml.Result?)?
---@field handler (fun(session: dpml.Session): any)?
---@field use_database (fun(name: string, client: dpm.Connection, session: dpml.Session): dpml.Error?)?
---@field save (fun(client: dpm.Connection, session: dpml.Session): string?)?
---@field restore (fun(client: dpm.Connection, session: dpml.Session, text: string): any)?
---@field is_own (fun(cmd: dpm.Cmd): boolean)?
---@field finished_command (fun(client: dpm.Connection, session: dpml.Session): any)?
---@field closing (fun(client: dpm.Connection, session: dpml.Session): any)?
---@field version_comment string?
---@field all_commands boolean?

---Serves clients without a database: new_command or handler answers them, as a task.
---@param listener dpm.Connection
---@param options dpml.ServiceOptions
function M.accept_clients(listener, options) end

-- Session ------------------------------------------------------------------------------------------

---A client of accept_clients. A script may keep what it likes in it. Its methods are there for a `handler`.
---@class dpml.Session
---@field client dpm.Connection
---@field auth dpm.Auth
---@field user string
---@field database string?
---@field [string] any
local Session = {}

---An iterator over the client's commands, which ends when the client has left and has no more of them.
---@return fun(): dpm.Cmd?
function Session:commands() end

---@return integer
function Session:id() end

---@param result dpml.Result?
function Session:send_ok(result) end

---@param sqlstate string
---@param errnum integer
---@param message string
function Session:send_error(sqlstate, errnum, message) end

---@param result dpml.Result
function Session:send_resultset(result) end

---How an answer has ended. An OK has affected_rows, insert_id and message, too.
---@class dpml.Status
---@field server_status integer?
---@field in_transaction boolean?
---@field autocommit boolean?
---@field warning_count integer?
---@field affected_rows dpm.Integer?
---@field insert_id dpm.Integer?
---@field message string?

---Has a database answer a command, past Lua, and returns when it has: the answer's status, or nil and the error.
---@param cmd dpm.Cmd
---@param db dpml.Database
---@return dpml.Status?
---@return dpml.Error?
function Session:forward(cmd, db) end

---Sends the client away.
function Session:close() end

-- Sending ------------------------------------------------------------------------------------------

---What send_resultset sends and queries return. Without columns it is an OK.
---@class dpml.Result
---@field columns (string|dpm.Column)[]?
---@field fields (string|dpm.Column)[]?
---@field rows (table<integer, any>[]|(fun(): table<integer, any>?))?
---@field affected_rows dpm.Integer?
---@field insert_id dpm.Integer?
---@field message string?
---@field warning_count integer?
---@field server_status integer?
---@field next dpml.Result?
---@field warnings integer?

---An error, which prints as MySQL's client would.
---@class dpml.Error
---@field errnum integer
---@field sqlstate string
---@field message string
---@field timed_out boolean?
---@field cancelled boolean?
---@field too_large boolean?

---@param conn dpm.Connection
---@param result dpml.Result
function M.send_resultset(conn, result) end

---@param conn dpm.Connection
---@param result dpml.Result?
function M.send_ok(conn, result) end

---@param conn dpm.Connection
---@param sqlstate string
---@param errnum integer
---@param message string
function M.send_error(conn, sqlstate, errnum, message) end

---An error to be raised.
---@param sqlstate string
---@param errnum integer
---@param message string
---@return dpml.Error
function M.new_error(sqlstate, errnum, message) end

---Answers a COM_STMT_PREPARE with the packet and its definitions.
---@param conn dpm.Connection
---@param prepared dpm.Prepared
function M.send_prepared(conn, prepared) end

---Registers a table of { [state] = fn }.
---@param object dpm.Connection|dpm.Callback
---@param callbacks table<integer, function>
function M.register_callbacks(object, callbacks) end

-- Queries on callbacks -----------------------------------------------------------------------------

---@alias dpml.QueryCallback fun(server_id: integer, query: string, result: dpml.Result?, err: dpml.Error?): any

---@param server dpm.Connection
---@param query string
---@param callback dpml.QueryCallback
function M.execute_query_buffered(server, query, callback) end

---@param server dpm.Connection
---@param query string
---@param params table<integer, dpm.Value>?
---@param callback dpml.QueryCallback
---@param options dpm.EncodeOptions?
function M.execute_prepared(server, query, params, callback, options) end

---@class dpml.LoginOptions: dpml.Address, dpm.LoginOptions
---@field password string?
---@field database string?
---@field like dpm.Auth?

---@class dpml.ConnectMysqlServerOptions: dpml.LoginOptions
---@field callback fun(server: dpm.Connection?, err: dpml.Error?, handshake: dpm.Handshake?, ok: dpm.Ok?): any

---Connects, logs in and calls callback(server), or callback(nil, err).
---@param options dpml.ConnectMysqlServerOptions
---@return dpm.Connection
function M.connect_mysql_server(options) end

-- Task ---------------------------------------------------------------------------------------------

---@class dpml.Task
local Task = {}

---Waits for its end, and returns what it returned or raises its error.
---@return any ...
function Task:wait() end

---Ends it with an error, which it may catch to clean up. False if it was over already.
---@param reason string?
---@return boolean
function Task:cancel(reason) end

---Whether it has returned or failed.
---@return boolean
function Task:is_over() end

---Runs fn(...) as a task.
---@param fn fun(...): ...
---@param ... any
---@return dpml.Task
function M.spawn(fn, ...) end

---Waits so many milliseconds. For tasks.
---@param milliseconds number
function M.sleep_ms(milliseconds) end

---The older name of sleep_ms.
---@param milliseconds number
function M.sleep(milliseconds) end

---Runs functions side by side and waits for tasks; returns the first result of each. `timeout_ms` may stand
---beside them. For tasks.
---@param list table<integer|"timeout_ms", (fun(): any)|dpml.Task|number>
---@return any ...
function M.wait_all(list) end

---Returns what fn(...) returns, unless the time is up before. For tasks.
---@param milliseconds number
---@param fn fun(...): ...
---@param ... any
---@return any ...
function M.with_timeout_ms(milliseconds, fn, ...) end

---The older name of with_timeout_ms.
---@param milliseconds number
---@param fn fun(...): ...
---@param ... any
---@return any ...
function M.with_timeout(milliseconds, fn, ...) end

-- Database -----------------------------------------------------------------------------------------

---@class dpml.ConnectOptions: dpml.LoginOptions
---@field timeout_ms number?

---@class dpml.QueryOptions
---@field timeout_ms number?
---@field max_bytes number?

---A row: its values by number and by name.
---@class dpml.Row
---@field [integer] any
---@field [string] any

---What db:query returns.
---@class dpml.QueryResult: dpml.Result
---@field columns string[]
---@field rows dpml.Row[]
---@field warnings integer
---@field next dpml.QueryResult?

---A connection to a server, for tasks.
---@class dpml.Database
---@field server dpm.Connection
---@field thread_id integer
---@field version string
local Database = {}

---Runs a query, with `params` as a prepared statement; raises the server's error.
---@param sql string
---@param params table<integer, dpm.Value>?
---@param options dpml.QueryOptions?
---@return dpml.QueryResult
function Database:query(sql, params, options) end

---The same, but that it returns nil and the error.
---@param sql string
---@param params table<integer, dpm.Value>?
---@param options dpml.QueryOptions?
---@return dpml.QueryResult?
---@return dpml.Error?
function Database:try_query(sql, params, options) end

---An iterator over the rows, one at a time.
---@param sql string
---@param params table<integer, dpm.Value>?
---@param options dpml.QueryOptions?
---@return fun(): dpml.Row?
function Database:each(sql, params, options) end

---Runs `sql` and has its rows collected in `rowset`, past Lua.
---@param sql string
---@param rowset dpm.Rowset
---@param options { timeout_ms: number? }?
---@return dpml.QueryResult
function Database:collect(sql, rowset, options) end

---@param sql string
---@param options dpml.QueryOptions?
---@return dpml.Statement
function Database:prepare(sql, options) end

---@param options dpml.QueryOptions?
function Database:ping(options) end

---@param name string
---@param options dpml.QueryOptions?
function Database:use(name, options) end

---@param options dpml.QueryOptions?
function Database:begin(options) end

---@param options dpml.QueryOptions?
function Database:commit(options) end

---@param options dpml.QueryOptions?
function Database:rollback(options) end

---Returns what fn(db) returns, within a transaction: committed, or rolled back if it fails. Within another one it is a
---savepoint.
---@param fn fun(db: dpml.Database): ...
---@return any ...
function Database:transaction(fn) end

---Lends the connection to start(server, resume), which is over when it calls resume(true, value) or resume(false, err).
---@param what string
---@param start fun(server: dpm.Connection, resume: fun(ok: boolean, value: any)): fun(err: any)?
---@return any
function Database:lend(what, start) end

---@return boolean
function Database:is_open() end

function Database:close() end

---@class dpml.Statement
local Statement = {}

---@param params table<integer, dpm.Value>?
---@param options dpml.QueryOptions?
---@return dpml.QueryResult
function Statement:execute(params, options) end

---The same, but that it returns nil and the error.
---@param params table<integer, dpm.Value>?
---@param options dpml.QueryOptions?
---@return dpml.QueryResult?
---@return dpml.Error?
function Statement:try_execute(params, options) end

---@param params table<integer, dpm.Value>?
---@param options dpml.QueryOptions?
---@return fun(): dpml.Row?
function Statement:each(params, options) end

function Statement:close() end

---@class dpml.HttpRequestOptions: dpm.HttpRequestOptions
---@field redirects integer? how many are followed, 0

---@class dpml.HttpAnswer: dpm.HttpAnswer
---@field url string where the answer is from

---Sends a request over HTTP/1.1, and waits for its answer. For tasks.
---@param options dpml.HttpRequestOptions
---@return dpml.HttpAnswer
function M.http_request(options) end

---Connects and logs in. For tasks.
---@param options dpml.ConnectOptions
---@return dpml.Database
function M.connect(options) end

-- The rest -----------------------------------------------------------------------------------------

---Prints a value, tables with all that is in them.
---@param value any
function M.dump_table(value) end

---@class dpml.AdminOptions
---@field users dpml.Users?
---@field authenticate (fun(user: string, client: dpm.Connection): any)?
---@field server_version string?
---@field collation (string|integer)?
---@field auth_plugin string?
---@field capabilities table<integer, boolean>?
---@field rsa_key string?
---@field roles table<string, "viewer"|"operator"|"admin">? who is not in here may look only
---@field eval boolean? allows EVAL to admins
---@field literals boolean? statements are shown as they were sent
---@field version_comment string?

---Answers the statements of administrators: SHOW CLIENTS, KILL and so on.
---@param listener dpm.Connection
---@param options dpml.AdminOptions
function M.admin(listener, options) end

---@class dpml.DigestOptions
---@field max integer? how many digests there may be, 1000
---@field max_length integer? bytes of a digest, 1024
---@field by ("user"|"schema"|"server")[]? what is told apart

---@class dpml.Digests
local Digests = {}

---The first digests by a column, from the largest; 10 by total_us.
---@param count integer?
---@param column string?
---@return table<string, any>[]
function Digests:top(count, column) end

function Digests:reset() end

---Counts the statements of all clients by their digests, natively.
---@param options dpml.DigestOptions?
---@return dpml.Digests
function M.digests(options) end

---A column of a table of figures.
---@class dpml.FigureColumn
---@field name string lower-case letters, digits and _
---@field help string?
---@field kind "label"|"counter"|"gauge"|"histogram"|"note"|nil
---@field type "text"|"integer"|"number"|"time"|nil
---@field unit "seconds"|"microseconds"|"bytes"|nil
---@field merge "sum"|"largest"|"smallest"|nil
---@field metric string? its name in /metrics, without the unit
---@field read (fun(entry: table, options: table): any)? instead of entry[name]

---@class dpml.FigureOptions
---@field name string
---@field help string?
---@field columns dpml.FigureColumn[]
---@field entries fun(options: table): table[]|(fun(): table?)
---@field order string? the column whose largest values come first
---@field list boolean? it has one entry, and is shown as a list of names and values
---@field metrics boolean? false: not for /metrics
---@field prefix string? what the names in /metrics begin with

---@class dpml.Figures
local Figures = {}

---@return table[] the rows by the names of columns
function Figures:records() end

---@return fun(): any[]? the rows, as arrays
function Figures:each() end

---@return fun(): any[]? the rows as SHOW has them
function Figures:shown() end

---@return table[] the columns as SHOW has them
function Figures:columns() end

---@return string? the column whose largest values come first in SHOW
function Figures:default_order() end

---The table is not there any more.
function Figures:remove() end

---@class dpml.TracingOptions
---@field endpoint string? where the collector takes OTLP over HTTP, "http://127.0.0.1:4318/v1/traces"
---@field service_name string? "dpm"
---@field attributes table<string, string|number|boolean>? further ones of the resource
---@field headers table<string, string>?
---@field tls table? as dpm.connect has it
---@field timeout number? seconds for sending a batch, 10
---@field sample number? the share of traces that is recorded, 0.01; 0 with slower_than
---@field slower_than number? seconds: queries that take so long are recorded, too
---@field statements "digest"|"text"? what spans have of statements, "digest"
---@field max_text integer? bytes of a statement, 2048
---@field comment boolean? servers are told of spans in a comment
---@field interval number? seconds until spans are sent, 5
---@field batch integer? or when so many wait, 512
---@field queue integer? how many may wait, 8192
---@field retries integer? how often a batch is sent again, 4

---Spans of queries, on their way to a collector.
---@class dpml.Tracing
local Tracing = {}

---Sends what waits, and returns when that is done. For tasks.
function Tracing:flush() end

---Makes a span of each query that is chosen, and sends them to an OpenTelemetry collector.
---@param options dpml.TracingOptions
---@return dpml.Tracing
function M.tracing(options) end

---@class dpml.MetricsOptions
---@field page boolean? false: no live page
---@field ready (fun(): boolean, string?)? whether new clients are welcome, and why not
---@field digests integer? how many of them the page shows

---Answers /metrics, /healthz, /readyz and the live page on / over a listener of dpm.http_listener.
---@param listener dpm.HttpListener
---@param options dpml.MetricsOptions?
function M.metrics(listener, options) end

---Declares a table of figures, for SHOW and /metrics.
---@param declaration dpml.FigureOptions
---@return dpml.Figures
function M.declare_figures(declaration) end

---Starts a stopwatch, whose milliseconds the function that it returns tells; or tells those since what
---dpm.gettimeofday() returned.
---@overload fun(seconds: integer, microseconds: integer): number
---@return fun(): number
function M.elapsed_ms() end

---The older name of elapsed_ms.
---@overload fun(seconds: integer, microseconds: integer): number
---@return fun(): number
function M.elapsed() end

---Milliseconds as a person says them: "350 µs", "12.4 ms", "2 min 5 s".
---@param milliseconds number
---@return string
function M.duration(milliseconds) end

---The milliseconds of a text: "250ms", "1.5 s", "2 min 5 s"; a bare number is seconds. nil if it is no duration.
---@param text string|number
---@return number?
function M.milliseconds(text) end

return M
