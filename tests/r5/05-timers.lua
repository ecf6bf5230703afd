-- R5 style timers: repeating, with an argument, cancelled from within. No listener: exits 0 at the end.
function tick(self, arg)
    arg["count"] = arg["count"] + 1
    print("tick " .. arg["count"])
    if arg["count"] == 3 then
        self:cancel()
        local once = dpm.new_timer()
        once:schedule(0, 20, run_once, "once")
    end
end

function run_once(self, text)
    self:cancel()
    print(text)
    if text == "once" then
        self:schedule(0, 10, run_once, "again")
    end
end

timer = dpm.new_timer()
timer:schedule(0, 50, tick, { count = 0 })
assert(not pcall(timer.schedule, timer, 0, 50, tick), "scheduling twice is an error")
assert(not pcall(function() dpm.new_timer():schedule(0, 0, tick) end), "0 s 0 ms is an error")

local s, us = dpm.gettimeofday()
assert(s > 1.5e9 and us >= 0 and us < 1000000)
assert(math.abs(dpm.time() - s) <= 1)
assert(math.abs(dpm.time_hires() / 1000 - s) <= 1.1)
print("dpm: r5-timers running")
