-- Taking over a connection for a while: a package is put over its callbacks, and afterwards the previous one is
-- restored. Several takeovers may begin and end in any order: the package of the newest one that has not ended
-- is in place.

local takeover = {}

local Takeover = {}
Takeover.__index = Takeover

local all = {} -- connection id -> the connection's takeovers, oldest first, and the package to restore

-- Tells each takeover that the connection has closed.
local function closed(conn_id, conn)
    local list = all[conn_id]
    all[conn_id] = nil
    for _, each in ipairs(list or {}) do
        each.closed(conn_id, conn)
    end
end

-- Puts `package` over the callbacks of `conn`. If the connection closes before the takeover ends,
-- closed(conn_id, conn) is called.
function takeover.begin(conn, package, told)
    local id = conn:id()
    local list = all[id]
    if not list then
        list = { watch = conn:on_close(closed) }
        all[id] = list
    end
    if not list[1] then
        list.before = conn:package_register()
    end
    local self = setmetatable({ conn = conn, package = package, closed = told }, Takeover)
    list[#list + 1] = self
    conn:package_register(package)
    return self
end

-- Calling it again, or after the connection has closed, does no harm. Where `again` the connection will soon be
-- taken over another time, and goes on being watched.
function Takeover:give_back(again)
    local list = all[self.conn:id()]
    for i, each in ipairs(list or {}) do
        if each == self then
            table.remove(list, i)
            local newest = list[#list]
            self.conn:package_register(newest and newest.package or list.before)
            if not newest and not again then
                list.watch:remove()
                all[self.conn:id()] = nil
            end
            return
        end
    end
end

return takeover
