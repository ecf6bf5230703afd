-- The character sets in which a byte of ASCII may be half of a character: SQL in them cannot be judged.

local charsets = {}

-- Numbers of their collations: of Big5, SJIS, GBK, CP932 and GB18030.
local HALVES = {}
for _, number in ipairs { 1, 84, 13, 88, 28, 87, 95, 96, 248, 249, 250 } do
    HALVES[number] = true
end

-- Whether a session that begins with this collation reads SQL in such a character set. MariaDB numbers collations
-- without padding from 1024 on, by those that they are like.
function charsets.has_halves(collation)
    return HALVES[collation % 1024] == true
end

return charsets
