-- What dpm.service runs: a proxy in front of the server on this machine. `dpm --check FILE` looks at a script without
-- running it, and `systemctl restart dpm` runs this one. The manual: /usr/share/doc/dpm-proxy/GUIDE.md, and scripts
-- for other purposes are in /usr/share/doc/dpm-proxy/examples.
local dpml = require "dpml"

local listener = dpm.listener("127.0.0.1", 5500)

dpml.passthrough_new_clients(listener, {
    -- new_command = function(cmd, client_id) … end,
}, { "127.0.0.1", 3306 })
