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

-- The commands, or those that begin like the topic.
function help.answer(topic)
    local rows = {}
    for _, entry in ipairs(TOPICS) do
        if not topic or entry[1]:find(topic:upper():gsub("%s+", " "), 1, true) then
            rows[#rows + 1] = { entry[2], entry[3] }
        end
    end
    return { fields = { "command", "what it does" }, rows = rows }
end

return help
