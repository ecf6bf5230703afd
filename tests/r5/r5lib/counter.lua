-- An R5 library: module(), a callback object kept in the module, one level deep.
module("r5lib.counter", package.seeall)

local counting = {}

local function count_row(row_pkt, sid)
    counting[sid].rows = counting[sid].rows + 1
    return dpm.DPM_NOPROXY
end

local function swallow()
    return dpm.DPM_NOPROXY
end

local function finish(pkt, sid, server)
    local job = counting[sid]
    counting[sid] = nil
    server:package_register(job.before)
    job.callback(sid, job.rows)
    return dpm.DPM_NOPROXY
end

local callbacks = dpm.new_callback()
callbacks:register(dpm.MYS_SENT_RSET, swallow)
callbacks:register(dpm.MYS_SENDING_FIELDS, swallow)
callbacks:register(dpm.MYS_SENT_FIELDS, swallow)
callbacks:register(dpm.MYS_SENDING_ROWS, count_row)
callbacks:register(dpm.MYS_WAIT_CMD, finish)
callbacks:register(dpm.MYS_RECV_ERR, finish)

function count(server, cmd_pkt, callback)
    counting[server:id()] = { rows = 0, callback = callback, before = server:package_register() }
    server:package_register(callbacks)
    dpm.wire_packet(server, cmd_pkt)
end
