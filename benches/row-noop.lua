-- Every row enters Lua, where nothing is done with it.
local function row() end

require "link" (function(server)
  server:register(dpm.MYS_SENDING_ROWS, row)
end)
