-- The character sets in which a byte of ASCII may be half of a character, a quote or a backslash for example: what SQL in
-- them says cannot be judged by its bytes.

local charsets = {}

-- The collations of Big5, GBK, SJIS, CP932 and GB18030. MariaDB has more of each, whose numbers are greater by 1024.
local HALVES = {}
for _, number in ipairs { 1, 84, 28, 87, 13, 88, 95, 96, 248, 249, 250 } do
    HALVES[number], HALVES[number + 1024] = true, true
end

-- Whether a session that begins with this collation reads SQL in such a character set.
function charsets.has_halves(collation)
    return HALVES[collation] == true
end

return charsets
