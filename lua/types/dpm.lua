---@meta dpm

-- The `dpm` table, for editors that understand LuaLS's annotations. Nothing here is run: doc/API.md tells what
-- all of it does, and a test compares the two with the program.

-- What keeps its own value here does no harm if a script should `require` this file.
---@class dpm
local M = {}

---@type dpm
dpm = dpm

-- Aliases ------------------------------------------------------------------------------------------

---What a callback returns: DPM_OK or nil to forward the packet, DPM_NOPROXY to hold it back,
---DPM_FLUSH_DISCONNECT to forward it and unlink the pair.
---@alias dpm.Verdict integer?

---A 64-bit integer: a number up to 2^53, beyond it a decimal string.
---@alias dpm.Integer integer|string

---An SQL value as packets have it; NULL is nil or dpm.NULL.
---@alias dpm.Value string|number|boolean|dpm.Mark|nil

---A packet of any kind.
---@alias dpm.Packet dpm.Handshake|dpm.Auth|dpm.Authdata|dpm.Ok|dpm.Err|dpm.Cmd|dpm.Eof|dpm.Field|dpm.Rset|dpm.Row|dpm.Prepared|dpm.Stats|dpm.Progress|dpm.Infile|dpm.Data

---@alias dpm.Signal "HUP"|"USR1"|"USR2"
---@alias dpm.LogLevel "error"|"warn"|"info"|"debug"|"trace"
---@alias dpm.Compression false|"zlib"|"zstd"|table

---What a credential is: a hash, or one of these.
---@alias dpm.Credential string|{ password: string }|{ hash: string }|{ show: true, known: dpm.Password? }|table

---A password that a client has shown. It can be compared, and used to log in; its text cannot be read.
---@alias dpm.Password userdata

-- Options ------------------------------------------------------------------------------------------

---@class dpm.ListenerTls
---@field self_signed boolean?
---@field cert string?
---@field key string?
---@field ca string?
---@field verify "none"|"optional"|"required"|nil
---@field min_version "1.2"|"1.3"|nil
---@field required boolean?

---@class dpm.ListenerOptions
---@field max_packet integer?
---@field max_queue integer?
---@field handshake_timeout number?
---@field idle_timeout number?
---@field keepalive number?
---@field max_clients integer?
---@field max_clients_per_address integer?
---@field tls boolean|dpm.ListenerTls|nil
---@field allow_redirect boolean?
---@field compression dpm.Compression?
---@field proxy_protocol string[]?

---@alias dpm.TlsMode "disabled"|"preferred"|"required"|"verify-ca"|"verify-identity"

---@class dpm.ConnectTls
---@field mode dpm.TlsMode?
---@field ca string?
---@field cert string?
---@field key string?
---@field server_name string?
---@field min_version "1.2"|"1.3"|nil

---@class dpm.ConnectOptions
---@field max_packet integer?
---@field max_queue integer?
---@field connect_timeout number?
---@field handshake_timeout number?
---@field idle_timeout number?
---@field keepalive number?
---@field tls false|dpm.TlsMode|dpm.ConnectTls|nil
---@field allow_redirect boolean?
---@field compression dpm.Compression?
---@field proxy_protocol 1|2|nil
---@field client dpm.Connection?
---@field cleartext "refuse"|"rsa"|"allow"|nil

---@class dpm.Config
---@field max_packet integer?
---@field max_queue integer?
---@field max_buffered integer?
---@field connect_timeout number?
---@field handshake_timeout number?
---@field drain number?
---@field upgrade_drain number?
---@field idle_timeout number?
---@field keepalive number?
---@field max_clients_per_address integer?
---@field max_lua_memory integer?
---@field workers integer | "auto" | nil
---@field watchdog number?
---@field relieve boolean?
---@field budget integer?

---@class dpm.LoginOptions
---@field user string?
---@field pass string|dpm.Password|nil
---@field db string?
---@field attributes table<string, string>?
---@field plugins string[]?
---@field server_public_key string?
---@field allow_cleartext boolean?
---@field charset integer?

---@class dpm.SqlOptions
---@field no_backslash_escapes boolean?
---@field ansi_quotes boolean?
---@field charset string?

---@class dpm.TokenizeOptions: dpm.SqlOptions
---@field kind string?
---@field limit integer?

---@class dpm.DigestOptions: dpm.SqlOptions
---@field max_length integer?
---@field hints boolean?
---@field exact boolean?

---@class dpm.Token
---@field kind string
---@field text string
---@field from integer
---@field to integer
---@field unterminated boolean?

---@class dpm.NamedTable
---@field schema string?
---@field name string
---@field read boolean
---@field write boolean

---@class dpm.Named
---@field schema string?
---@field name string

---@class dpm.Tables
---@field [integer] dpm.NamedTable
---@field routines dpm.Named[]
---@field variables { name: string, is: "read"|"may be set"|"set" }[]
---@field copies { from: string, to: string }[]
---@field prepares { name: string, sql: string }?
---@field executes string?
---@field statements integer
---@field unknown string?
---@field anything boolean
---@field stores boolean
---@field defines boolean
---@field alters boolean
---@field temporary boolean
---@field derives boolean
---@field sets_system boolean
---@field sets_insert_id boolean
---@field writes_file boolean
---@field diagnostics boolean
---@field calls boolean
---@field chooses_schema boolean

---@class dpm.StatementInfo
---@field read_only boolean
---@field locking boolean
---@field into boolean
---@field selects_into boolean
---@field assigns boolean
---@field has_select boolean
---@field multi integer
---@field explainable boolean
---@field main_from integer
---@field ambiguous boolean

---@class dpm.EncodeOptions
---@field types table<integer, integer|{ type: integer, unsigned: boolean? }>?
---@field cursor integer?
---@field attributes table<string, dpm.Value>?
---@field unit_results boolean?

---@class dpm.Column
---@field name string?
---@field org_name string?
---@field table string?
---@field org_table string?
---@field db string?
---@field catalog string?
---@field type integer?
---@field flags integer?
---@field length integer?
---@field decimals integer?
---@field charset_number integer?
---@field extended string?
---@field default string?

---@class dpm.SessionChange
---@field type integer
---@field name string?
---@field value string

---@class dpm.TlsState
---@field version string?
---@field cipher string?
---@field resumed boolean?
---@field peer_subject string?
---@field peer_issuer string?
---@field peer_fingerprint string?
---@field server_name string?
---@field certificate string?
---@field subject string?
---@field fingerprint string? of a listener, and of what a client was shown

---Stands for what is no value: NULL, LONG_DATA, DEFAULT, IGNORE.
---@class dpm.Mark

-- Connection ---------------------------------------------------------------------------------------

---A listener, a client or a server.
---@class dpm.Connection
local Connection = {}

---Unique, and never used again.
---@return integer
function Connection:id() end

---The linked peer's id; 0 if it was never linked.
---@return integer
function Connection:remote_id() end

---0: no listener, 1: TCP, 2: unix socket.
---@return 0|1|2
function Connection:listener() end

---What the far end is: MY_CLIENT or MY_SERVER.
---@return integer
function Connection:my_type() end

---The state that it came to last, see dpm.state_name.
---@return integer?
function Connection:state() end

---Registers a callback for a state; nil removes it. Without the second argument, returns the one in place.
---@overload fun(self, state: integer): function?
---@param state integer
---@param fn (fun(...): ...)?
function Connection:register(state, fn) end

---Adds a function for a state, to be called after the registered one and those that came before it. While a package
---lies over the connection it is silent, unless `always`.
---@param state integer
---@param fn fun(...): ...
---@param options { always: boolean? }?
---@return dpm.Handle
function Connection:listen(state, fn, options) end

---Lays a callback object over the connection's own; nil lifts it. Without an argument, returns the one in place.
---@overload fun(self): dpm.Callback?
---@param callbacks dpm.Callback?
function Connection:package_register(callbacks) end

---Calls fn once when it has closed; as many as wanted.
---@param fn fun(conn_id: integer, conn: dpm.Connection?): any
---@return dpm.Handle
function Connection:on_close(fn) end

---Calls fn when a command of this server's client is answered. With options, rows that come sooner than `slower`
---milliseconds, and whose status has none of the flags in `status`, are passed over.
---@param fn fun(cmd: dpm.Cmd?, ending: dpm.Ok|dpm.Eof|dpm.Err|dpm.Stats|nil, milliseconds: number, status: integer, client: dpm.Connection): any
---@param options { slower: number?, status: integer? }?
---@return dpm.Handle
function Connection:on_answer(fn, options) end

---Why it closed; nil while it is open.
---@return string?
function Connection:close_reason() end

---The far end's IP address; "localhost" on a unix socket.
---@return string
function Connection:socket_address() end

---The far end's port; a listener's own.
---@return integer
function Connection:socket_port() end

---The name that a client has logged in with; nil before.
---@return string?
function Connection:user() end

---Whether nobody can listen in: TLS, or a unix socket.
---@return boolean
function Connection:secure() end

---Gives a listener new certificates: what the table does not name stays as it was, and all files are read again.
---@param options? dpm.ListenerTls
---@return dpm.TlsState?
function Connection:tls(options) end

---@return "zlib"|"zstd"|nil
function Connection:compression() end

---Seconds that it still has to connect and log in, to change its user, or to take what is queued when it closes.
---@return number?
function Connection:time_left() end

---Gives it at most so many seconds from now to connect and log in. False if it is logged in, or closed.
---@param seconds number
---@return boolean
function Connection:limit_login(seconds) end

---Bytes that are queued and not yet sent.
---@return integer
function Connection:pending() end

---Stops reading from it.
function Connection:pause() end

---Reads on.
function Connection:resume() end

---Has a server's rows collected, past Lua.
---@param rowset dpm.Rowset?
function Connection:collect_rows(rowset) end

---Whether its prepared statements are remembered.
---@overload fun(self): boolean
---@param on boolean
---@param options { long_data: integer? }?
function Connection:track_statements(on, options) end

---@param id integer
---@return dpm.Prepared?
function Connection:statement(id) end

---@return integer[]
function Connection:statements() end

---Whether what is known of its session is kept, or of that of a client's server.
---@overload fun(self): boolean
---@param on boolean
---@param options { hidden: ("doubted"|"trusted")?, schema: string? }?
function Connection:track_session(on, options) end

---What is known of its session, or of that of a client's server; nil if there is none.
---@return dpm.SessionState?
function Connection:session() end

-- Handshake ----------------------------------------------------------------------------------------

---What a server greets with.
---@class dpm.Handshake
local Handshake = {}

---@return integer
function Handshake:protocol_version() end

---@return string
function Handshake:server_version() end

---@return integer
function Handshake:thread_id() end

---@return string
function Handshake:scramble_buff() end

---CLIENT_*
---@overload fun(self): integer
---@overload fun(self, flag: integer): boolean
---@param flag integer
---@param value boolean
function Handshake:server_capabilities(flag, value) end

---@overload fun(self): integer
---@param value integer
function Handshake:server_language(value) end

---SERVER_*
---@overload fun(self): integer
---@overload fun(self, flag: integer): boolean
---@param flag integer
---@param value boolean
function Handshake:server_status(flag, value) end

---@overload fun(self): string?
---@param value string?
function Handshake:auth_plugin(value) end

-- Auth ---------------------------------------------------------------------------------------------

---What a client logs in with.
---@class dpm.Auth
local Auth = {}

---CLIENT_*
---@overload fun(self): integer
---@overload fun(self, flag: integer): boolean
---@param flag integer
---@param value boolean
function Auth:client_flags(flag, value) end

---@overload fun(self): integer
---@param value integer
function Auth:max_packet_size(value) end

---@overload fun(self): integer
---@param value integer
function Auth:charset_number(value) end

---@overload fun(self): string
---@param value string
function Auth:user(value) end

---@overload fun(self): string?
---@param value string?
function Auth:databasename(value) end

---@overload fun(self): string?
---@param value string?
function Auth:auth_plugin(value) end

---@overload fun(self): string
---@param value string
function Auth:auth_response(value) end

---@overload fun(self): table<string, string>?
---@param value table<string, string>?
function Auth:attributes(value) end

-- Authdata -----------------------------------------------------------------------------------------

---One round of an authentication of several.
---@class dpm.Authdata
local Authdata = {}

---@overload fun(self): string
---@param value string
function Authdata:data(value) end

---@return "switch"|"more"|"factor"|"data"
function Authdata:kind() end

---@return string?
function Authdata:plugin() end

---@return string?
function Authdata:plugin_data() end

---@param plugin string
---@param data string
function Authdata:switch(plugin, data) end

---@param data string
function Authdata:more(data) end

-- Ok -----------------------------------------------------------------------------------------------

---Success.
---@class dpm.Ok
local Ok = {}

---@overload fun(self): dpm.Integer
---@param value dpm.Integer
function Ok:affected_rows(value) end

---@overload fun(self): dpm.Integer
---@param value dpm.Integer
function Ok:insert_id(value) end

---SERVER_*
---@overload fun(self): integer
---@overload fun(self, flag: integer): boolean
---@param flag integer
---@param value boolean
function Ok:server_status(flag, value) end

---@overload fun(self): integer
---@param value integer
function Ok:warning_count(value) end

---@overload fun(self): string
---@param value string
function Ok:message(value) end

---@overload fun(self): dpm.SessionChange[]?
---@param value dpm.SessionChange[]?
function Ok:session_changes(value) end

-- Err ----------------------------------------------------------------------------------------------

---Failure.
---@class dpm.Err
local Err = {}

---@overload fun(self): integer
---@param value integer
function Err:errnum(value) end

---@overload fun(self): string
---@param value string
function Err:sqlstate(value) end

---@overload fun(self): string
---@param value string
function Err:message(value) end

-- Cmd ----------------------------------------------------------------------------------------------

---A command of a client.
---@class dpm.Cmd
local Cmd = {}

---COM_*
---@overload fun(self): integer
---@param value integer
function Cmd:command(value) end

---For COM_QUERY the SQL alone.
---@overload fun(self): string
---@param value string
function Cmd:argument(value) end

---@return dpm.Auth?
function Cmd:change_user() end

---@overload fun(self): integer?
---@param value integer?
function Cmd:statement_id(value) end

---CURSOR_TYPE_*
---@overload fun(self): integer
---@overload fun(self, flag: integer): boolean
---@param flag integer
---@param value boolean
function Cmd:execute_flags(flag, value) end

---@overload fun(self): integer?
---@param value integer?
function Cmd:fetch_rows(value) end

---@overload fun(self): integer?, string?
---@param parameter integer
---@param data string
function Cmd:long_data(parameter, data) end

---The connections that a command is to kill, and where in its argument they are named; nil if there are none.
---@return { id: number?, computed: boolean?, query_only: boolean, from: integer, to: integer }[]?
function Cmd:kills() end

---@overload fun(self): table<string, dpm.Value>?
---@param value table<string, dpm.Value>?
function Cmd:attributes(value) end

-- Eof ----------------------------------------------------------------------------------------------

---The end of something.
---@class dpm.Eof
local Eof = {}

---@overload fun(self): integer
---@param value integer
function Eof:warning_count(value) end

---SERVER_*
---@overload fun(self): integer
---@overload fun(self, flag: integer): boolean
---@param flag integer
---@param value boolean
function Eof:server_status(flag, value) end

---@return nil
function Eof:session_changes() end

-- Field --------------------------------------------------------------------------------------------

---The definition of a column.
---@class dpm.Field
local Field = {}

---Reads name and type, or writes them.
---@overload fun(self): string, integer
---@param name string
---@param type integer?
function Field:name(name, type) end

---All attributes; with a table, writes those that it names.
---@overload fun(self): dpm.Column
---@param column dpm.Column
function Field:full(column) end

---@overload fun(self): string
---@param value string
function Field:org_name(value) end

---@overload fun(self): string
---@param value string
function Field:table(value) end

---@overload fun(self): string
---@param value string
function Field:org_table(value) end

---@overload fun(self): string
---@param value string
function Field:db(value) end

---@overload fun(self): string
---@param value string
function Field:catalog(value) end

---MYSQL_TYPE_*
---@overload fun(self): integer
---@param value integer
function Field:type(value) end

---NOT_NULL_FLAG and the like.
---@overload fun(self): integer
---@overload fun(self, flag: integer): boolean
---@param flag integer
---@param value boolean
function Field:flags(flag, value) end

---@overload fun(self): integer
---@param value integer
function Field:length(value) end

---@overload fun(self): integer
---@param value integer
function Field:decimals(value) end

---@overload fun(self): integer
---@param value integer
function Field:charset_number(value) end

---@overload fun(self): string
---@param value string
function Field:extended(value) end

---@overload fun(self): string?
---@param value string?
function Field:default(value) end

-- Rset ---------------------------------------------------------------------------------------------

---The head of a resultset, which knows how its rows are laid out.
---@class dpm.Rset
local Rset = {}

---@return integer
function Rset:field_count() end

---@overload fun(self): boolean
---@param value boolean
function Rset:fields_follow(value) end

---@param n integer
---@return dpm.Field?
function Rset:field(n) end

---@param field dpm.Field
function Rset:add_field(field) end

---@param which (dpm.Field|integer)?
function Rset:remove_field(which) end

---From now on `field`, `add_field` and `remove_field` are about the columns that came from the server, and change them.
---@return boolean all whether they are all known
function Rset:take_fields() end

---Brings a server's row into the shape of the columns that were taken and changed.
---@param row dpm.Row?
---@return boolean changed
function Rset:fit_row(row) end

---@param row dpm.Row
---@param values table<integer, dpm.Value>
function Rset:pack_row(row, values) end

---@param row dpm.Row
---@param null dpm.Mark?
---@return table<integer, any> values
---@return integer count
function Rset:parse_row_array(row, null) end

---@param row dpm.Row
---@param null dpm.Mark?
---@return table<string, any>
function Rset:parse_row_table(row, null) end

---@overload fun(self): boolean
---@param value boolean
function Rset:binary(value) end

-- Rowset -------------------------------------------------------------------------------------------

---Many rows in one piece.
---@class dpm.Rowset
local Rowset = {}

---How many rows.
---@return integer
function Rowset:count() end

---How many bytes.
---@return integer
function Rowset:bytes() end

---How many rows did not fit.
---@return integer
function Rowset:cut() end

---The values of the n-th row, and how many.
---@param n integer
---@param null any
---@return table?, integer?
function Rowset:row(n, null) end

---Sends rows to a client whose answer `rset` began. Returns how many.
---@param conn dpm.Connection
---@param rset dpm.Rset
---@param options { prefix: table?, columns: integer[]?, from: integer?, count: integer? }?
---@return integer
function Rowset:wire(conn, rset, options) end

---Another with the same limits, which shares the total.
---@return dpm.Rowset
function Rowset:sibling() end

---Gives all rows up.
function Rowset:clear() end

-- Row ----------------------------------------------------------------------------------------------

---A row: its resultset packs and parses it.
---@class dpm.Row
local Row = {}

-- Prepared -----------------------------------------------------------------------------------------

---A prepared statement.
---@class dpm.Prepared
local Prepared = {}

---@overload fun(self): integer
---@param value integer
function Prepared:statement_id(value) end

---@overload fun(self): integer
---@param value integer
function Prepared:params(value) end

---@overload fun(self): integer
---@param value integer
function Prepared:columns(value) end

---@overload fun(self): integer
---@param value integer
function Prepared:warning_count(value) end

---@overload fun(self): boolean
---@param value boolean
function Prepared:fields_follow(value) end

---@param n integer
---@return dpm.Field?
function Prepared:param(n) end

---@param n integer
---@return dpm.Field?
function Prepared:column(n) end

---@param field dpm.Field
function Prepared:add_param(field) end

---@param field dpm.Field
function Prepared:add_column(field) end

---@param cmd dpm.Cmd
---@param null dpm.Mark?
---@return table<integer, any> values
---@return integer count
---@return table<string, any>? attributes
function Prepared:decode(cmd, null) end

---@param values table<integer, dpm.Value>
---@param options dpm.EncodeOptions?
---@return dpm.Cmd
function Prepared:encode(values, options) end

---@param cmd dpm.Cmd
---@param null dpm.Mark?
---@return fun(): table<integer, any>?, integer?
function Prepared:decode_bulk(cmd, null) end

---@param rows table<integer, dpm.Value>[]
---@param options dpm.EncodeOptions?
---@return dpm.Cmd
function Prepared:encode_bulk(rows, options) end

---@return { type: integer, unsigned: boolean }[]?
function Prepared:types() end

---@param n integer
---@return integer? bytes
---@return string? data
function Prepared:long_data(n) end

---@return string?
function Prepared:sql() end

---@return table?
function Prepared:notes() end

---@return boolean
function Prepared:may_open_cursor() end

-- Stats --------------------------------------------------------------------------------------------

---The answer to COM_STATISTICS.
---@class dpm.Stats
local Stats = {}

---@overload fun(self): string
---@param value string
function Stats:message(value) end

-- Progress -----------------------------------------------------------------------------------------

---How far MariaDB has come.
---@class dpm.Progress
local Progress = {}

---@return integer
function Progress:stage() end

---@return integer
function Progress:max_stage() end

---@return integer
function Progress:progress() end

---@return string
function Progress:info() end

-- Infile -------------------------------------------------------------------------------------------

---LOAD DATA LOCAL: the server asks the client for a file.
---@class dpm.Infile
local Infile = {}

---@return string
function Infile:filename() end

-- Data ---------------------------------------------------------------------------------------------

---A piece of a file or of a binlog.
---@class dpm.Data
local Data = {}

---@overload fun(self): string
---@param value string
function Data:data(value) end

-- Callback -----------------------------------------------------------------------------------------

---Callbacks that can be laid over connections.
---@class dpm.Callback
local Callback = {}

---Registers a callback; nil removes it. Without the second argument, returns the one in place.
---@overload fun(self, state: integer): function?
---@param state integer
---@param fn (fun(...): ...)?
function Callback:register(state, fn) end

-- Handle -------------------------------------------------------------------------------------------

---What listen, on_close and on_answer return.
---@class dpm.Handle
local Handle = {}

---Takes the function away again. Doing it twice does no harm.
function Handle:remove() end

-- SessionState -------------------------------------------------------------------------------------

---What is known of a server's session. What is not known is nil and a reason.
---@class dpm.SessionState
local SessionState = {}

---@return string?, string?
function SessionState:user() end

---The default schema; "" for none.
---@return string?, string?
function SessionState:schema() end

---@param name string
---@return string|lightuserdata|nil, string?
function SessionState:variable(name) end

---@return "none"|"explicit"|"implicit"|"open"|nil, string?
function SessionState:transaction() end

---@return boolean?, string?
function SessionState:in_transaction() end

---@return boolean?, string?
function SessionState:read_only() end

---@return boolean?, string?
function SessionState:autocommit() end

---The statements that would begin the transaction again, or repeat SET TRANSACTION.
---@return string?, string?
function SessionState:characteristics() end

---@return integer|string|nil, string?
function SessionState:last_insert_id() end

---@return integer?, string?
function SessionState:warnings() end

---@return table<string, true|"maybe">?, string?
function SessionState:left() end

---What alike sessions have in common.
---@return string?, string?
function SessionState:likeness() end

-- Timer --------------------------------------------------------------------------------------------

---Calls a function again and again.
---@class dpm.Timer
local Timer = {}

---Calls fn(timer, arg) after each delay, until it is cancelled.
---@generic T
---@param seconds integer
---@param milliseconds integer
---@param fn fun(timer: dpm.Timer, arg: T): any
---@param arg T?
function Timer:schedule(seconds, milliseconds, fn, arg) end

function Timer:cancel() end

-- Login --------------------------------------------------------------------------------------------

---A login at a server.
---@class dpm.Login
local Login = {}

---@param packet dpm.Handshake|dpm.Authdata
---@param server dpm.Connection
---@return dpm.Packet? answer
---@return string? problem
function Login:answer(packet, server) end

---@param options dpm.LoginOptions?
---@return dpm.Cmd
function Login:change_user(options) end

---@return string?
function Login:plugin() end

-- Verifier -----------------------------------------------------------------------------------------

---Judges the login of a client.
---@class dpm.Verifier
local Verifier = {}

---True if the client knew the password, false if not, nil if there are more rounds; and what to wire first.
---@param packet dpm.Auth|dpm.Authdata|dpm.Cmd
---@param client dpm.Connection
---@param credential dpm.Credential?
---@param like dpm.Credential?
---@return boolean?
---@return dpm.Packet?
---@return dpm.Password?
function Verifier:step(packet, client, credential, like) end

---@return boolean
function Verifier:used_password() end

---@param fingerprint string
---@return string?
function Verifier:certificate_proof(fingerprint) end

-- Functions ---------------------------------------------------------------------------------------

---Listens on TCP; nil is all addresses, port 0 a free one. Hold what it returns.
---@param ip string?
---@param port number
---@param options dpm.ListenerOptions?
---@return dpm.Connection
function M.listener(ip, port, options) end

---Listens on a unix socket; the mode is octal, "0700" if not given.
---@param path string
---@param mode string?
---@param options dpm.ListenerOptions?
---@return dpm.Connection
function M.listener_unix(path, mode, options) end

---Starts to connect to a server. MYS_CONNECT tells of success, MY_CLOSING of failure.
---@param host string
---@param port number
---@param options dpm.ConnectOptions?
---@return dpm.Connection
function M.connect(host, port, options) end

---Looks up the addresses of a name without blocking; fn(addresses), or fn(nil, reason), is called once, later.
---@param host string
---@param fn fun(addresses: string[]?, reason: string?)
function M.resolve(host, fn) end

---What came with a request for HTTP.
---@class dpm.HttpRequest
---@field method string
---@field path string decoded
---@field target string path and query as they came
---@field query table<string, string>
---@field headers table<string, string> their names in small letters
---@field body string
---@field peer string

---@class dpm.HttpOptions
---@field token string? a bearer token, or the password of basic authentication
---@field user string? of basic authentication
---@field password string?
---@field open string[]|boolean? the paths that need no authentication; true: all
---@field tls table|boolean? as listeners have it
---@field max_clients integer? 128
---@field max_body integer? 1 MiB
---@field request_timeout number? 10 seconds
---@field idle_timeout number? 60 seconds
---@field answer_timeout number? 30 seconds

---@alias dpm.HttpHandler fun(request: dpm.HttpRequest, exchange: dpm.HttpExchange): integer?, table?, string?

---@class dpm.HttpRequestOptions
---@field url string
---@field method string? "GET", or "POST" if there is a body
---@field headers table<string, string|number|string[]>?
---@field body string?
---@field timeout number? seconds, 10
---@field max_size integer? bytes of the answer's body, 1 MiB
---@field tls table? as dpm.connect has it; by default the system's authorities have to vouch for the server's name

---@class dpm.HttpAnswer
---@field status integer
---@field headers table<string, string> by their names in small letters
---@field body string

---Sends a request to one of these IP addresses. fn is called once, later, with an answer or with nil and a problem.
---@param options dpm.HttpRequestOptions
---@param addresses string[]
---@param fn fun(answer: dpm.HttpAnswer?, problem: string?)
---@return dpm.HttpCall
function M.http_request(options, addresses, fn) end

---A request under way.
---@class dpm.HttpCall
local HttpCall = {}

---Nobody wants the answer any more.
function HttpCall:cancel() end

---@class dpm.Url
---@field url string as it is sent, without a fragment
---@field scheme "http"|"https"
---@field host string
---@field port integer
---@field target string path and query
---@field has_name boolean whether the host is a name

---What an address of HTTP consists of; it may be relative to `base`.
---@param text string
---@param base string?
---@return dpm.Url
function M.parse_url(text, base) end

---Listens for HTTP, by default on this machine's own address. The handler returns a status, headers and a body, or keeps
---the exchange and answers later.
---@param address string?
---@param port integer
---@param fn dpm.HttpHandler?
---@param options dpm.HttpOptions?
---@return dpm.HttpListener
function M.http_listener(address, port, fn, options) end

---@class dpm.HttpListener
local HttpListener = {}

---@return string
function HttpListener:address() end

---@return integer
function HttpListener:port() end

---The function that answers. Without an argument, the one in place.
---@param fn dpm.HttpHandler?
---@return dpm.HttpHandler?
function HttpListener:handler(fn) end

---How many connections there are.
---@return integer
function HttpListener:clients() end

---@return boolean
function HttpListener:is_open() end

---Ends streams; requests that are being answered still are.
function HttpListener:close() end

---What a request is answered by.
---@class dpm.HttpExchange
local HttpExchange = {}

---False if there is nothing to answer any more.
---@param status integer
---@param headers table?
---@param body string?
---@return boolean
function HttpExchange:answer(status, headers, body) end

---Begins a stream as the answer.
---@param status integer
---@param headers table?
---@return boolean
function HttpExchange:start(status, headers) end

---True: it is on its way. False: the client does not keep up. nil: it has left.
---@param text string
---@return boolean?
function HttpExchange:send(text) end

---Ends the stream.
function HttpExchange:close() end

---@return boolean
function HttpExchange:is_open() end

---How many bytes wait for the client to take them.
---@return integer
function HttpExchange:pending() end

---Calls fn() if the client leaves before the answer is complete. False if it is complete already.
---@param fn fun()
---@return boolean
function HttpExchange:on_close(fn) end

---@param path string
---@param options dpm.ConnectOptions?
---@return dpm.Connection
function M.connect_unix(path, options) end

---Closes; what is queued is flushed. 1 if it was open.
---@param conn dpm.Connection
---@return 1|nil
function M.close(conn) end

---Sends a packet.
---@param conn dpm.Connection
---@param packet dpm.Packet
function M.wire_packet(conn, packet) end

---Links the two: what one sends goes to the other.
---@param client dpm.Connection
---@param server dpm.Connection
function M.proxy_connect(client, server) end

---Unlinks a connection from its peer.
---@param conn dpm.Connection
function M.proxy_disconnect(conn) end

---0 if the client knew the password (mysql_native_password).
---@param auth dpm.Auth
---@param handshake dpm.Handshake
---@param stored_hash string
---@return integer
function M.check_pass(auth, handshake, stored_hash) end

---Puts the answer to the handshake's challenge into the auth packet (mysql_native_password).
---@param auth dpm.Auth
---@param handshake dpm.Handshake
---@param plaintext string
function M.crypt_pass(auth, handshake, plaintext) end

---A hash to keep.
---@param plaintext string
---@param plugin string?
---@return string
function M.hash_pass(plaintext, plugin) end

---@param auth dpm.Auth
---@param handshake dpm.Handshake
---@param credential dpm.Credential?
---@return boolean?
function M.verify_auth(auth, handshake, credential) end

---@param options dpm.LoginOptions
---@return dpm.Login
function M.new_login(options) end

---@param handshake dpm.Handshake
---@param options { rsa_key: string? }?
---@return dpm.Verifier
function M.new_verifier(handshake, options) end

---@param version string?
---@return dpm.Handshake
function M.new_handshake_pkt(version) end

---@return dpm.Auth
function M.new_auth_pkt() end

---@return dpm.Authdata
function M.new_authdata_pkt() end

---@return dpm.Ok
function M.new_ok_pkt() end

---@return dpm.Err
function M.new_err_pkt() end

---@return dpm.Cmd
function M.new_cmd_pkt() end

---@return dpm.Eof
function M.new_eof_pkt() end

---@return dpm.Field
function M.new_field_pkt() end

---@return dpm.Rset
function M.new_rset_pkt() end

---@return dpm.Row
function M.new_row_pkt() end

---@param limits { rows: integer?, bytes: integer?, total: integer? }?
---@return dpm.Rowset
function M.new_rowset(limits) end

---The native half of dpml.pool, which is what scripts use.
---@param functions table<string, fun(...): any>
---@param options table<string, number|boolean|string>?
---@return userdata
function M.new_pool(functions, options) end

---@return dpm.Prepared
function M.new_prepared_pkt() end

---@return dpm.Stats
function M.new_stats_pkt() end

---@return dpm.Progress
function M.new_progress_pkt() end

---@return dpm.Data
function M.new_data_pkt() end

---@return dpm.Callback
function M.new_callback() end

---@return dpm.Timer
function M.new_timer() end

---@param sql string
---@param options dpm.TokenizeOptions?
---@return dpm.Token[]
function M.tokenize(sql, options) end

---The first word or name of a text that is a key of `words`, in upper case; nil if it has none.
---@param sql string
---@param words table<string, any>
---@param options dpm.SqlOptions?
---@return string?
function M.find_word(sql, words, options) end

---The text without the whitespace, comments and semicolons around it.
---@param sql string
---@param options dpm.SqlOptions?
---@return string
function M.trim_sql(sql, options) end

---What statements have in common that differ in their values: its text, its hash, and whether the server may have read another statement.
---@param sql string
---@param options dpm.DigestOptions?
---@return string text
---@return string hash
---@return boolean ambiguous
function M.digest(sql, options) end

---"SELECT", "UPDATE", …, and what is known of the statement; nothing if there is none.
---@param sql string
---@param options dpm.SqlOptions?
---@return string? kind
---@return dpm.StatementInfo? info
function M.statement_kind(sql, options) end

---What is known of how a session's texts are read once this one has succeeded, if it was as the options say before.
---@param sql string
---@param options dpm.SqlOptions?
---@return dpm.SqlOptions
function M.mode_after(sql, options) end

---The text itself if it is UTF-8; else bytes that are not are written \xFF.
---@param text string
---@return string
function M.to_utf8(text) end

---The hash of a script or a style, as a page's policy names it: sha256-…
---@param text string
---@return string
function M.integrity(text) end

---A file of the library that is no module; nil if there is none.
---@param name string
---@return string?
function M.library_file(name) end

---Families of series as text for Prometheus, and its content type.
---@param families table[] as dpml.figures makes them
---@param accept string? a request's header
---@return string, string
function M.exposition(families, accept) end

---The tables that a text reads and writes, and the other ways that values take.
---@param sql string
---@param options dpm.SqlOptions?
---@return dpm.Tables
function M.tables(sql, options) end

---@param value any
---@return string text
function M.json_encode(value) end

---Its value, or nil and what is wrong with it.
---@param text string
---@return any value
---@return string? problem
function M.json_decode(text) end

---@return integer seconds
---@return integer microseconds
function M.gettimeofday() end

---@return integer seconds
function M.time() end

---@return number milliseconds
function M.time_hires() end

---Of a clock that is never set: for measuring.
---@return number milliseconds
function M.monotonic() end

---Writes into the program's log.
---@param level dpm.LogLevel
---@param message string
function M.log(level, message) end

---@param defaults dpm.Config
function M.config(defaults) end

---Calls fn, which is ended with an error if it runs for longer.
---@param milliseconds integer
---@param fn fun(...): ...
---@param ... any its arguments
---@return boolean ok
---@return any ... what it returns, or its error
function M.limit(milliseconds, fn, ...) end

---Calls fn on a signal; nil removes it. Without the second argument, returns the one in place.
---@overload fun(name: dpm.Signal): function?
---@param name dpm.Signal
---@param fn fun()?
function M.on_signal(name, fn) end

---Begins an upgrade: the program starts itself as it is on disk now, and the new process takes the place of this one. An
---error says why there cannot be one now; what fails later is logged.
---@return true
function M.upgrade() end

---Runs the startfile anew in a state of its own, and calls fn with nil, or why everything stays as it was.
---@param fn fun(problem: string?)?
function M.reload(fn) end

---How clients leave this state for the next startfile's, and come from the one before.
---@param pack fun(client: dpm.Connection): string?, string?
---@param adopt fun(listener: dpm.Connection, client: dpm.Connection, server: dpm.Connection?, text: string): boolean?, string?
---@param ready (fun(listener: dpm.Connection): boolean)?
function M.on_move(pack, adopt, ready) end

---A word for which a password that a client has shown is given out once, in any state of this process.
---@param password dpm.Password
---@return string?
function M.deposit_secret(password) end

---The password, if it is still there.
---@param word string
---@return dpm.Password?
function M.withdraw_secret(word) end

---Closes the client or server with this number, whichever startfile has it.
---@param id integer
---@return 1|nil
function M.kill(id) end

---This worker's number, and how many there are.
---@return integer number
---@return integer count
function M.worker() end

---Gives a text to all workers that have subscribed.
---@param channel string
---@param text string
---@return integer workers that get it
---@return integer missed how many do not, as too much waits for them
function M.publish(channel, text) end

---Calls fn for what is published; nil ends that. Without the second argument, returns the one in place.
---@overload fun(channel: string): function?
---@param channel string
---@param fn fun(text: string, channel: string, worker: integer)?
function M.subscribe(channel, fn) end

---A dictionary that all workers see.
---@class dpm.Shared
local Shared = {}

---@param key string
---@return string | number | boolean | nil value
function Shared:get(key) end

---@param key string
---@param value string | number | boolean
---@param seconds number?
---@return integer evicted
function Shared:set(key, value, seconds) end

---Sets it unless it has a value.
---@param key string
---@param value string | number | boolean
---@param seconds number?
---@return boolean added
---@return integer evicted
function Shared:add(key, value, seconds) end

---Adds to a number, or to init where there is none.
---@param key string
---@param n number
---@param init number?
---@param seconds number?
---@return number? sum
---@return integer evicted
function Shared:incr(key, n, init, seconds) end

---Sets it to new if it is old; nil is no value.
---@param key string
---@param old string | number | boolean | nil
---@param new string | number | boolean | nil
---@param seconds number?
---@return boolean swapped
---@return integer evicted
function Shared:cas(key, old, new, seconds) end

---@param key string
---@return boolean was_there
function Shared:delete(key) end

---The keys that were used last.
---@param max integer?
---@return string[]
function Shared:keys(max) end

---The seconds that are left, math.huge if it stays, nil if it is not there; with seconds, sets them.
---@overload fun(self: dpm.Shared, key: string): number?
---@param key string
---@param seconds number
---@return boolean is_there
function Shared:ttl(key, seconds) end

---@return { entries: integer, bytes: integer, max_bytes: integer, evicted: integer }
function Shared:usage() end

---The dictionary of this name.
---@param name string
---@param options { bytes: integer? }?
---@return dpm.Shared
function M.shared(name, options) end

---Of the workers that call this, one calls its function; another does if that fails, or its worker ends.
---@param name string
---@param fn fun()
function M.once(name, fn) end

---Whether the program is about to end.
---@return boolean
function M.is_stopping() end

---Ends the program in order.
---@param code integer
function M.exit(code) end

---The program's counters; or the rows of a table of figures.
---@overload fun(table: string): table<string, any>[]
---@return table<string, number>
function M.stats() end

---The open connection with this number.
---@param id integer
---@return dpm.Connection?
function M.connection(id) end

---Sets what is logged; without an argument, returns it.
---@overload fun(): string
---@param level "off"|"error"|"warn"|"info"|"debug"|"trace"
function M.log_level(level) end

---Counts statements by their digests; see dpml.digests.
---@param max integer
---@param max_length integer
---@param by_user boolean
---@param by_schema boolean
---@param by_server boolean
function M.count_digests(max, max_length, by_user, by_schema, by_server) end

---The rows of the first digests by a column, from the largest.
---@param count integer
---@param column string
---@return any[][]
function M.top_digests(count, column) end

function M.reset_digests() end

---@class dpm.TraceOptions
---@field sample number the share of traces that is recorded, from 0 to 1
---@field slower_than number? seconds: queries that take so long are recorded, too
---@field statements "digest"|"text"?
---@field comment boolean? servers are told of spans in a comment
---@field max_text integer? bytes of a statement, 2048
---@field queue integer? how many spans may wait, 8192
---@field batch integer? how many are sent together, 512

---Makes spans of queries from now on. fn is called when there are spans to be taken, and once more when there are enough for a
---batch.
---@param options dpm.TraceOptions
---@param fn fun(full: boolean)
function M.trace(options, fn) end

---The oldest spans that wait, as elements of an array of JSON, and how many they are; nil if there are none.
---@return string? spans
---@return integer? count
function M.take_spans() end

---What became of spans that were taken.
---@param sent integer
---@param failed integer
function M.spans_sent(sent, failed) end

---@class dpm.FigureColumn
---@field name string
---@field help string
---@field kind "label"|"counter"|"gauge"|"histogram"|"note"
---@field type "text"|"integer"|"number"|"time"
---@field unit "seconds"|"microseconds"|"bytes"|nil
---@field merge "sum"|"largest"|"smallest"
---@field metric string?

---@class dpm.FigureTable
---@field name string
---@field help string
---@field list boolean
---@field metrics boolean
---@field prefix string?
---@field order string?
---@field columns dpm.FigureColumn[]

---How all tables of figures are declared; or some rows of one, and where to go on.
---@overload fun(table: string, from: integer?): any[][], integer?
---@return dpm.FigureTable[]
function M.figures() end

---@param state integer
---@return string?
function M.state_name(state) end

-- Constants ---------------------------------------------------------------------------------------

---@type string
M.INADDR_ANY = nil
---@type dpm.Mark
M.NULL = nil
---@type dpm.Mark
M.LONG_DATA = nil
---@type dpm.Mark
M.DEFAULT = nil
---@type dpm.Mark
M.IGNORE = nil
M.AUTO_INCREMENT_FLAG = 512
M.BINARY_FLAG = 128
M.BLOB_FLAG = 16
M.CLIENT_CAN_HANDLE_EXPIRED_PASSWORDS = 4194304
M.CLIENT_CAPABILITY_EXTENSION = 536870912
M.CLIENT_COMPRESS = 32
M.CLIENT_CONNECT_ATTRS = 1048576
M.CLIENT_CONNECT_WITH_DB = 8
M.CLIENT_DEPRECATE_EOF = 16777216
M.CLIENT_FOUND_ROWS = 2
M.CLIENT_IGNORE_SIGPIPE = 4096
M.CLIENT_IGNORE_SPACE = 256
M.CLIENT_INTERACTIVE = 1024
M.CLIENT_LOCAL_FILES = 128
M.CLIENT_LONG_FLAG = 4
M.CLIENT_LONG_PASSWORD = 1
M.CLIENT_MULTI_RESULTS = 131072
M.CLIENT_MULTI_STATEMENTS = 65536
M.CLIENT_NO_SCHEMA = 16
M.CLIENT_ODBC = 64
M.CLIENT_OPTIONAL_RESULTSET_METADATA = 33554432
M.CLIENT_PLUGIN_AUTH = 524288
M.CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA = 2097152
M.CLIENT_PROTOCOL_41 = 512
M.CLIENT_PS_MULTI_RESULTS = 262144
M.CLIENT_QUERY_ATTRIBUTES = 134217728
M.CLIENT_REMEMBER_OPTIONS = 2147483648
M.CLIENT_RESERVED = 16384
M.CLIENT_SECURE_CONNECTION = 32768
M.CLIENT_SESSION_TRACK = 8388608
M.CLIENT_SSL = 2048
M.CLIENT_SSL_VERIFY_SERVER_CERT = 1073741824
M.CLIENT_TRANSACTIONS = 8192
M.CLIENT_ZSTD_COMPRESSION_ALGORITHM = 67108864
M.COM_BINLOG_DUMP = 18
M.COM_BINLOG_DUMP_GTID = 30
M.COM_CHANGE_USER = 17
M.COM_CLONE = 32
M.COM_CONNECT = 11
M.COM_CONNECT_OUT = 20
M.COM_CREATE_DB = 5
M.COM_DAEMON = 29
M.COM_DEBUG = 13
M.COM_DELAYED_INSERT = 16
M.COM_DROP_DB = 6
M.COM_FIELD_LIST = 4
M.COM_INIT_DB = 2
M.COM_MULTI = 254
M.COM_PING = 14
M.COM_PROCESS_INFO = 10
M.COM_PROCESS_KILL = 12
M.COM_QUERY = 3
M.COM_QUIT = 1
M.COM_REFRESH = 7
M.COM_REGISTER_SLAVE = 21
M.COM_RESET_CONNECTION = 31
M.COM_SET_OPTION = 27
M.COM_SHUTDOWN = 8
M.COM_SLEEP = 0
M.COM_STATISTICS = 9
M.COM_STMT_BULK_EXECUTE = 250
M.COM_STMT_CLOSE = 25
M.COM_STMT_EXECUTE = 23
M.COM_STMT_FETCH = 28
M.COM_STMT_PREPARE = 22
M.COM_STMT_RESET = 26
M.COM_STMT_SEND_LONG_DATA = 24
M.COM_SUBSCRIBE_GROUP_REPLICATION_STREAM = 33
M.COM_TABLE_DUMP = 19
M.COM_TIME = 15
M.CURSOR_TYPE_FOR_UPDATE = 2
M.CURSOR_TYPE_READ_ONLY = 1
M.CURSOR_TYPE_SCROLLABLE = 4
M.DPM_FLUSH_DISCONNECT = 2
M.DPM_NOPROXY = 1
M.DPM_OK = 0
M.ENUM_FLAG = 256
M.MARIADB_CLIENT_BULK_UNIT_RESULTS = 137438953472
M.MARIADB_CLIENT_CACHE_METADATA = 68719476736
M.MARIADB_CLIENT_COM_MULTI = 8589934592
M.MARIADB_CLIENT_EXTENDED_METADATA = 34359738368
M.MARIADB_CLIENT_PROGRESS = 4294967296
M.MARIADB_CLIENT_STMT_BULK_OPERATIONS = 17179869184
M.MULTIPLE_KEY_FLAG = 8
M.MULTI_FACTOR_AUTHENTICATION = 268435456
M.MYC_CONNECT = 0
M.MYC_SENDING_DATA = 5
M.MYC_SENT_AUTH = 3
M.MYC_SENT_CMD = 4
M.MYC_SENT_DATA = 6
M.MYC_WAITING = 2
M.MYC_WAIT_AUTH = 1
M.MYC_WAIT_HANDSHAKE = 29
M.MYSQL_TYPE_BIT = 16
M.MYSQL_TYPE_BLOB = 252
M.MYSQL_TYPE_DATE = 10
M.MYSQL_TYPE_DATETIME = 12
M.MYSQL_TYPE_DATETIME2 = 18
M.MYSQL_TYPE_DECIMAL = 0
M.MYSQL_TYPE_DOUBLE = 5
M.MYSQL_TYPE_ENUM = 247
M.MYSQL_TYPE_FLOAT = 4
M.MYSQL_TYPE_GEOMETRY = 255
M.MYSQL_TYPE_INT24 = 9
M.MYSQL_TYPE_JSON = 245
M.MYSQL_TYPE_LONG = 3
M.MYSQL_TYPE_LONGLONG = 8
M.MYSQL_TYPE_LONG_BLOB = 251
M.MYSQL_TYPE_MEDIUM_BLOB = 250
M.MYSQL_TYPE_NEWDATE = 14
M.MYSQL_TYPE_NEWDECIMAL = 246
M.MYSQL_TYPE_NULL = 6
M.MYSQL_TYPE_SET = 248
M.MYSQL_TYPE_SHORT = 2
M.MYSQL_TYPE_STRING = 254
M.MYSQL_TYPE_TIME = 11
M.MYSQL_TYPE_TIME2 = 19
M.MYSQL_TYPE_TIMESTAMP = 7
M.MYSQL_TYPE_TIMESTAMP2 = 17
M.MYSQL_TYPE_TINY = 1
M.MYSQL_TYPE_TINY_BLOB = 249
M.MYSQL_TYPE_TYPED_ARRAY = 20
M.MYSQL_TYPE_VARCHAR = 15
M.MYSQL_TYPE_VAR_STRING = 253
M.MYSQL_TYPE_VECTOR = 242
M.MYSQL_TYPE_YEAR = 13
M.MYS_CONNECT = 7
M.MYS_GOT_CMD = 12
M.MYS_RECV_ERR = 11
M.MYS_SENDING_AUTH = 10
M.MYS_SENDING_BINLOG = 24
M.MYS_SENDING_EOF = 20
M.MYS_SENDING_FIELDS = 17
M.MYS_SENDING_HANDSHAKE = 32
M.MYS_SENDING_OK = 9
M.MYS_SENDING_PARAMS = 14
M.MYS_SENDING_PROGRESS = 23
M.MYS_SENDING_ROWS = 19
M.MYS_SENDING_RSET = 31
M.MYS_SENDING_STATS = 21
M.MYS_SENT_FIELDS = 18
M.MYS_SENT_HANDSHAKE = 28
M.MYS_SENT_INFILE = 22
M.MYS_SENT_PARAMS = 15
M.MYS_SENT_RSET = 16
M.MYS_STMT_PREPARED = 13
M.MYS_WAITING = 30
M.MYS_WAIT_AUTH = 8
M.MYS_WAIT_CMD = 25
M.MY_CLIENT = 1
M.MY_CLOSING = 26
M.MY_DRAINED = 27
M.MY_SERVER = 2
M.NOT_NULL_FLAG = 1
M.NO_DEFAULT_VALUE_FLAG = 4096
M.NUM_FLAG = 32768
M.ON_UPDATE_NOW_FLAG = 8192
M.PARAMETER_COUNT_AVAILABLE = 8
M.PRI_KEY_FLAG = 2
M.SERVER_MORE_RESULTS_EXISTS = 8
M.SERVER_PS_OUT_PARAMS = 4096
M.SERVER_QUERY_NO_GOOD_INDEX_USED = 16
M.SERVER_QUERY_NO_INDEX_USED = 32
M.SERVER_QUERY_WAS_SLOW = 2048
M.SERVER_SESSION_STATE_CHANGED = 16384
M.SERVER_STATUS_ANSI_QUOTES = 32768
M.SERVER_STATUS_AUTOCOMMIT = 2
M.SERVER_STATUS_CURSOR_EXISTS = 64
M.SERVER_STATUS_DB_DROPPED = 256
M.SERVER_STATUS_IN_TRANS = 1
M.SERVER_STATUS_IN_TRANS_READONLY = 8192
M.SERVER_STATUS_LAST_ROW_SENT = 128
M.SERVER_STATUS_METADATA_CHANGED = 1024
M.SERVER_STATUS_NO_BACKSLASH_ESCAPES = 512
M.SESSION_TRACK_GTIDS = 3
M.SESSION_TRACK_SCHEMA = 1
M.SESSION_TRACK_STATE_CHANGE = 2
M.SESSION_TRACK_SYSTEM_VARIABLES = 0
M.SESSION_TRACK_TRANSACTION_CHARACTERISTICS = 4
M.SESSION_TRACK_TRANSACTION_STATE = 5
M.SET_FLAG = 2048
M.TIMESTAMP_FLAG = 1024
M.UNIQUE_KEY_FLAG = 4
M.UNSIGNED_FLAG = 32
M.ZEROFILL_FLAG = 64
