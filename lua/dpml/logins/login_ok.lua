-- The OK of a login at the proxy, where a server has said it first.

local login_ok = {}

-- Makes a login's OK tell what the server's has told, but for what is about the server's own leg: its proof of a
-- certificate, and the address at which it would rather see the client.
function login_ok.tell_as(ok, servers_ok)
    ok:server_status(ok:server_status(), false)
    ok:server_status(servers_ok:server_status(), true)
    ok:warning_count(servers_ok:warning_count())
    local changes = {}
    for _, change in ipairs(servers_ok:session_changes() or {}) do
        if change.name ~= "redirect_url" then
            changes[#changes + 1] = change
        end
    end
    ok:session_changes(changes[1] and changes or nil)
end

return login_ok
