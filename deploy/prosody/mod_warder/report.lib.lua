-- Reports to the workers what this process has decided, remembered and failed at, all its hosts together: one reporter for each
-- subject prefix, as there is one connection. What is told and when is said in reporter.lib.lua.
--
-- local report = module:require "report";
-- local stop = report.start(client, settings, decider);      decider as in decide.lib.lua, with near and rosters where there are such
-- function module.unload() stop(); end      -- what the host has counted is reported all the same

local announce = module:require "announce";
local reporter = module:require "reporter";

local monotonic = require "util.time".monotonic;
local timer = require "util.timer";

-- The same as of the workers.
local version = "0.1.0";
-- Seconds. What was asked before a host was unloaded may be counted later.
local linger = 30;

-- By prefix. Outlives this host's module, with what is not acknowledged yet.
local shared = module:shared("/*/warder/reporters");

-- Of a host that has gone the counts are still wanted, not what it has.
local function read(deciders, client, take)
	local gauges, nears = { pending = client and client:stats().pending }, {};
	local function add(name, number) gauges[name] = (gauges[name] or 0) + number; end
	for decider, is_here in pairs(deciders) do
		take("operations", decider, decider.stats);
		if decider.near then take("near_cache", decider.near, decider.near:counts()); end
		if is_here and decider.near then nears[decider.near] = true; end
		if is_here and decider.rosters then
			local stats = decider.rosters:stats();
			add("rosters_online", stats.online);
			add("rosters_due", stats.due);
		end
	end
	for near in pairs(nears) do
		add("near_cache_entries", near:stats().entries);
		add("near_cache_max", near.max_entries);
	end
	return gauges;
end

local function find_or_make(settings)
	local prefix = settings.prefix;
	local found = shared[prefix] or { deciders = {} };
	shared[prefix] = found;
	found.reporter = reporter.take_over(found.reporter, {
		subject = prefix..".ctl.hook-stats"; encoding = settings.encoding; now = monotonic;
		sender = { boot_id = announce.boot_id(); name = settings.server; kind = "prosody"; version = version };
		read = function (take) return read(found.deciders, found.reporter.client, take); end;
		add_task = timer.add_task; stop_task = timer.stop;
	});
	return found;
end

local function start(client, settings, decider)
	local found = find_or_make(settings);
	found.deciders[decider] = true;
	found.reporter:run(client);
	return function ()
		found.deciders[decider] = false;
		timer.add_task(linger, function ()
			found.reporter:read();
			found.deciders[decider] = nil;
			if next(found.deciders) == nil then found.reporter:pause(); end
		end);
	end;
end

return { start = start };
