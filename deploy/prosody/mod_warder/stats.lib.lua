-- What this Prosody has asked and how it went, on the admin shell: warder:stats().
--
-- local stop = module:require "stats".start(decider, rosters);      rosters as in roster_refresh.lib.lua, nil where there are none

local it = require "util.iterators";

-- Outlive the modules of single hosts: by host, and the shell's own table of commands.
local deciders = module:shared("/*/warder/deciders");
local shell = module:shared("/*/admin_shell/env");

local function line(counts)
	local words = {};
	for name, n in it.sorted_pairs(counts) do words[#words + 1] = name.." "..(n % 1 == 0 and n or ("%.2f"):format(n)); end
	return #words > 0 and table.concat(words, ", ") or "none";
end

local function print_stats(self)
	local print = self.session.print;
	for host, decider in it.sorted_pairs(deciders) do
		print(host);
		for operation, counts in it.sorted_pairs(decider.stats) do
			print(("  %s: answers: %s; remembered: %s; failures: %s; fallbacks: %s"):format(operation,
				line(counts.verdicts), line(counts.remembered), line(counts.failures), line(counts.fallbacks)));
		end
		local asked = decider.asker and decider.asker.stats;
		if asked and asked.hedged > 0 then
			print(("  asked twice for silence: %d, answered the second time: %d"):format(asked.hedged, asked.rescued));
		end
		if decider.rosters then print("  rosters: "..line(decider.rosters:stats())); end
	end
	local printed = {};
	for _, decider in pairs(deciders) do
		local near = decider.near;
		if near and not printed[near] then
			printed[near] = true;
			print(("near cache of %s: %s"):format(near.prefix, line(near:stats())));
		end
	end
	return true, it.count(it.keys(deciders)).." hosts";
end

local function start(decider, rosters)
	local host = module.host;
	decider.rosters = rosters;
	deciders[host] = decider;
	shell.warder = { stats = print_stats };
	return function ()
		deciders[host] = nil;
		if next(deciders) == nil then shell.warder = nil; end
	end;
end

return { start = start };
