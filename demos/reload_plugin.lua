-- reload_plugin.lua: the plug-in of reload.lua, which may be changed while that runs.
-- Run: dpm --startfile demos/reload.lua -- [backend host] [port] [listen port]
-- Look: edit `greeting`, or break the file: the version before it stays until it passes its selftest again.

local greeting = "version 1"

local function decorate(sql)
    return "/* " .. greeting .. " */ " .. sql
end

return {
    new_client = function(client)
        print(("client %d: %s"):format(client:id(), greeting))
    end,
    new_command = function(cmd)
        if cmd:command() == dpm.COM_QUERY then
            cmd:argument(decorate(cmd:argument())) -- as the processlist and the general log show it
            return cmd
        end
    end,
    -- Run before this version is used: after an error, or false, the version before it stays.
    selftest = function()
        assert(not greeting:find("*/", 1, true), "the greeting would end the comment")
        return dpm.statement_kind(decorate("SELECT 1")) == "SELECT"
    end,
}
