-- R6 style: the convenience function and nothing else.
require "dpml"

function new_client(client, server)
    print("new_client " .. client:id() .. " " .. tostring(client:remote_id() == server:id()))
end

function new_command(cmd, cid)
    print("new_command " .. cmd:command())
    if cmd:command() == dpm.COM_QUERY and cmd:argument() == "SECRET" then
        dpml.send_error(held[cid], "42000", 1142, "not for you")
        return dpm.DPM_NOPROXY
    end
end

function finished_command(cid)
    print("finished_command " .. cid)
end

function closing_client(cid)
    print("closing_client " .. cid)
    held[cid] = nil
end

held = {}

listen = dpm.listener("127.0.0.1", tonumber(arg[3]) or 5500)
dpml.passthrough_new_clients(listen, { new_client = function(c, s) held[c:id()] = c; new_client(c, s) end,
                             new_command = new_command,
                             finished_command = finished_command,
                             closing = closing_client, },
                             { arg[1] or "127.0.0.1", tonumber(arg[2]) or 3306 })
print("dpm: r6-passthrough listening on 127.0.0.1:" .. listen:socket_port())
