-- mask.lua: hides the values of some columns, by the table column they come from, whatever a query calls them.
-- Run: dpm --startfile demos/mask.lua -- [backend host] [port] [listen port] [ignored] [ignored] [table.column,…]
-- Look: SELECT email AS harmless FROM customers; CONCAT(email), or whatever else may come from it, is masked, too.

local dpml = require "dpml"
local host, port, listen_port = arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306, tonumber(arg[3]) or 5500

local columns = {}
for column in (arg[6] or "customers.email,customers.card"):gmatch("[^,]+") do
    columns[#columns + 1] = column
end

local listener = dpm.listener("127.0.0.1", listen_port)
dpml.passthrough_new_clients(listener, dpml.mask { columns = columns }, { host, port })
print("dpm: mask listening on 127.0.0.1:" .. listener:socket_port())
