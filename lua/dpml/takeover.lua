-- Taking a connection over for a while: a package lies over its callbacks, and when it is given back it has those that
-- it had. Several takeovers may begin and end in any order: the newest that is left is the one whose package lies
-- there.

local takeover = {}

local Takeover = {}
Takeover.__index = Takeover

local all = {} -- connection id -> those of this connection, oldest first, and what to put back

-- Each is told that the connection has closed.
local function closed(conn_id, conn)
    local list = all[conn_id]
    all[conn_id] = nil
    for _, each in ipairs(list or {}) do
        each.closed(conn_id, conn)
    end
end

-- Lays `package` over the callbacks of `conn`. If that closes before it is given back, closed(conn_id, conn) is called.
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

-- Once more, or after the connection has closed, does no harm. Where `again` the connection will soon be taken over
-- another time, and goes on being watched.
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
