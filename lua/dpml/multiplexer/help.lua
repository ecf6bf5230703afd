-- HELP.

local help = {}

local TOPICS = {
    { "ADD DB", "ADD DB host=…[,port=][,path=][,user=][,pass=][,db=][,name=][,group=a+b][,tls=…];",
        "Connects to a server and stays connected. Its label is the name, else the host, else host:port." },
    { "REMOVE DB", "REMOVE DB label;", "Takes leave of a server." },
    { "ADD GROUP", "ADD GROUP name label[,label…];", "Puts servers into a group." },
    { "SHOW DB STATUS", "SHOW [FULL] DB STATUS [LIKE 'pattern'];", "The servers, and how they do." },
    { "SHOW GROUPS", "SHOW GROUPS;", "The groups and their members." },
    { "POLL", "POLL group timeout [EVERY seconds] sql;",
        "Sends a query to ALL, a group, a label or a list a,b, and returns at once. timeout is in seconds, 0 is none." },
    { "FETCH", "FETCH group sql [ROUND n];",
        "The rows of the latest round of that query, or of round n; waits until its timeout if it still runs." },
    { "QUERY", "QUERY group timeout sql;", "POLL and FETCH in one." },
    { "SHOW POLLS", "SHOW POLLS;", "What was polled, and which rounds are kept." },
    { "FORGET", "FORGET group sql; FORGET ALL;", "Forgets rounds, and stops repeating them." },
    { "SHOW WARNINGS", "SHOW WARNINGS; SHOW ERRORS;", "Which servers' rows were missing in the last answer, and why." },
    { "SHOW STATUS", "SHOW [GLOBAL] STATUS [LIKE 'pattern'];", "Uptime and counters of the multiplexer itself." },
    { "HELP", "HELP [command];", "This." },
}

local function described(entries)
    local rows = {}
    for i, entry in ipairs(entries) do
        rows[i] = { entry[2], entry[3] }
    end
    return { fields = { "command", "what it does" }, rows = rows }
end

-- The form of a server's HELP, which clients show in their own way: the one topic that was found, or their names.
local function as_server(entries)
    if #entries == 1 then
        local name, syntax, description = unpack(entries[1])
        return { fields = { "name", "description", "example" },
            rows = { { name, ("Syntax:\n%s\n\n%s\n"):format(syntax, description), "" } } }
    end
    local rows = {}
    for i, entry in ipairs(entries) do
        rows[i] = { entry[1], "N" }
    end
    return { fields = { "name", "is_it_category" }, rows = rows }
end

-- The commands whose names have the topic in them; one that is called so is meant alone.
local function found(topic)
    local entries = {}
    for _, entry in ipairs(TOPICS) do
        if entry[1] == topic then
            return { entry }
        elseif entry[1]:find(topic, 1, true) then
            entries[#entries + 1] = entry
        end
    end
    return entries
end

-- Answers HELP and HELP <topic>. MySQL's and MariaDB's clients send the topic as a string.
function help.answer(topic)
    if not topic then
        return described(TOPICS)
    end
    local quote, bare = topic:match("^(['\"])(.*)['\"]$")
    local name = (bare or topic):upper():gsub("%s+", " "):gsub("^ ", ""):gsub("[ ;]+$", "")
    if not quote then
        return described(found(name))
    end
    return as_server((name == "CONTENTS" or name == "HELP") and TOPICS or found(name))
end

return help
