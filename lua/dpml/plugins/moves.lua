-- Clients that move from the state of one startfile to that of the next one, or to another process: what is known of a client
-- becomes a string there and a client of a listener here.
--
-- Each kind of listeners (passthrough, proxied, service, pool) has a *mover* for each of its listeners:
--   kind             its name: a client moves between listeners of one kind
--   pack(client, record)           adds what is known of a client to the record. True; or nil and why the client stays; or nil
--                                  alone: not now
--   adopt(client, server, record)  goes on with a client that has logged in, and with the server that it is linked to, if any.
--                                  True; or nil and why it cannot: then nothing has changed here
--   ready()                        false if no client can be taken in just now (optional)
--   left(client_id)                a client is gone, or has moved (optional; a plug-in's `closing` was called if it is gone)

local errors = require "dpml.support.errors"
local records = require "dpml.support.records"

local moves = {}

local of_listener = {} -- listener's id -> its mover
local of_client = {}   -- client's id -> the mover of its listener

local STRANGER = "functions of the script's own serve it"

-- The clients of `listener` move as `mover` says.
function moves.offer(listener, mover)
    of_listener[listener:id()] = mover
    listener:on_close(function(id)
        of_listener[id] = nil
    end)
end

-- A client has logged in by the listener of this mover.
function moves.joined(client_id, mover)
    of_client[client_id] = mover
end

-- A client is gone, or has moved; of this kind of movers only, if one is given.
function moves.left(client_id, kind)
    local mover = of_client[client_id]
    if kind and not (mover and mover.kind == kind) then
        return
    end
    of_client[client_id] = nil
    if mover and mover.left then
        mover.left(client_id)
    end
end

local function pack(client)
    local mover = of_client[client:id()]
    if not mover then
        return nil, STRANGER
    end
    local record = { kind = mover.kind }
    local packed, why = mover.pack(client, record)
    if not packed then
        return nil, why
    end
    return records.write(record)
end

local function adopt(listener, client, server, text)
    local mover = of_listener[listener:id()]
    local record, why = records.read(text)
    if not record then
        return nil, why
    elseif not mover or mover.kind ~= record.kind then
        return nil, "the new startfile serves the clients of its listener in another way"
    end
    local done, adopted, problem = pcall(mover.adopt, client, server, record)
    if not done then
        dpm.log("error", ("client %d: it cannot be taken in: %s"):format(client:id(), errors.text(adopted)))
        return nil, "an error in the new startfile when it was to take it in; the log has it"
    elseif not adopted then
        return nil, problem
    end
    moves.joined(client:id(), mover)
    return true
end

local function ready(listener)
    local mover = of_listener[listener:id()]
    return not (mover and mover.ready) or mover.ready()
end

dpm.on_move(pack, adopt, ready)

return moves
