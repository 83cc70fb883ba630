#!lua name=l1
local up = 0
redis.register_function('f1', function(keys,args) return {keys,args} end)
redis.register_function{function_name='f2',callback=function(keys,args) return redis.call('get','x') end,flags={'no-writes','allow-stale'},description='a desc'}
redis.register_function('f3',function() up = up + 1 return up end)
redis.register_function('f4',function() return redis.register_function('zz',function() end) end)
redis.register_function('f5',function() return KEYS end)
redis.register_function('f6',function() x=1 end)
redis.register_function('f7',function() local t={} for k in pairs(redis) do t[#t+1]=k end table.sort(t) return table.concat(t,',') end)
redis.register_function('f8',function() local t={} for k in pairs(_G) do t[#t+1]=k end table.sort(t) return table.concat(t,',') end)
redis.register_function('f9',function() return redis.call('set','x','1') end)
redis.register_function{function_name='f10',callback=function() return redis.call('set','x','1') end,flags={'no-writes'}}
redis.register_function('f11',function() error('boom') end)
redis.register_function('f12',function() return redis.call('nocmd') end)
redis.register_function('f13',function() redis.call = 1 end)
redis.register_function('f14',function() return pcall(redis.call,'nocmd') end)
redis.register_function('f15',function() return nosuch end)
redis.register_function('f16',function() return tostring(math.random(10) > 0) end)
redis.register_function{callback=function(...) return select('#',...) end, function_name='f17', flags={'allow-oom','no-cluster','allow-cross-slot-keys'}}
redis.register_function("f18",function() return redis.call("nocmd") end)
redis.register_function("f19",function() return {err="x"} end)
redis.register_function("f20",function(k) k[1]=5 return k end)
redis.register_function('f21', function() return loadstring('return redis.call("ping")')() end)
redis.register_function('f22', function() return loadstring('return KEYS')() end)
redis.register_function('f23', function() setmetatable(_G, {}) end)
local r = redis
redis.register_function('f24', function() return r.call('ping') end)
redis.register_function('f25', function() return r.register_function('x', function() end) end)
redis.register_function('f26', function() return tostring(redis.nosuch) end)
redis.register_function('f27', function() redis.setresp(3) return true end)
