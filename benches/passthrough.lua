-- No packet enters Lua.
require "link" ()
