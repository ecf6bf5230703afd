-- Collations that a handshake can name, which has one byte for the id.

local checks = require "dpml.support.checks"

local collations = {}

-- Of character sets that clients can use; ids as in information_schema.collations, equal at MySQL and MariaDB.
local IDS = {
    big5_chinese_ci = 1, latin2_general_ci = 9, latin1_swedish_ci = 8, ascii_general_ci = 11, ujis_japanese_ci = 12,
    sjis_japanese_ci = 13, hebrew_general_ci = 16, euckr_korean_ci = 19, koi8u_general_ci = 22, gb2312_chinese_ci = 24,
    greek_general_ci = 25, cp1250_general_ci = 26, gbk_chinese_ci = 28, latin5_turkish_ci = 30, koi8r_general_ci = 7,
    utf8mb3_general_ci = 33, utf8_general_ci = 33, cp866_general_ci = 36, latin7_general_ci = 41, utf8mb4_general_ci = 45,
    utf8mb4_bin = 46, latin1_bin = 47, latin1_general_ci = 48, latin1_general_cs = 49, cp1251_general_ci = 51,
    cp1256_general_ci = 57, cp1257_general_ci = 59, binary = 63, ascii_bin = 65, utf8mb3_bin = 83, utf8_bin = 83,
    cp932_japanese_ci = 95, eucjpms_japanese_ci = 97, utf8mb3_unicode_ci = 192, utf8_unicode_ci = 192,
    utf8mb4_unicode_ci = 224, utf8mb4_unicode_520_ci = 246, gb18030_chinese_ci = 248, utf8mb4_0900_ai_ci = 255,
}

-- The id of a collation that is given by its id or its name; nil if there is none given.
function collations.id(what, collation)
    if collation == nil then
        return nil
    end
    local id = IDS[collation] or type(collation) == "number" and collation
    if not id then
        checks.fail(what, ("collation: '%s' is not known by name: give its id"):format(tostring(collation)))
    elseif id ~= math.floor(id) or id < 1 or id > 255 then
        checks.fail(what, "collation: a handshake has room for ids from 1 to 255")
    end
    return id
end

return collations
