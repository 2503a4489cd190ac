-- What a hit in the near cache of the Prosody hook costs, and what the cache weighs: lua5.4 bench/near_cache.lua
-- One process, one core; the clock is Prosody's own (CLOCK_MONOTONIC) where it is installed, else os.clock.

local root = (arg[0]:match("^(.*)/[^/]*$") or ".").."/..";
local libraries = root.."/deploy/prosody/mod_warder/";
package.cpath = "/usr/lib/prosody/?.so;"..package.cpath;

module = {};
function module.require(_, name)
	return assert(loadfile(libraries..name..".lib.lua"))();
end

local near_cache = module:require "near_cache";
local have_time, time = pcall(require, "util.time");
local monotonic = have_time and time.monotonic or os.clock;

local operation, entries, rounds = "stanza-check", 100000, 2000000;
local sequence = 1795254505599;

local function new_cache()
	local cache = near_cache.new { clock = monotonic; bound = 3600; max_entries = entries * 2; max_stamps = 1000000 };
	cache:connected(true);
	cache:numbered(sequence);
	return cache;
end

local function request_of(i)
	return {
		hook = "send"; kind = "message"; type = "chat";
		from = "user"..(i % 1000).."@chat.example.org/phone."..(i % 1000);
		to = "user"..(i // 10 + 1000).."@chat.example.org";
	};
end

local function remember(cache, request, id)
	cache:answered(cache:ask(operation, request), {
		v = 1; id = id; seq = cache:seen(); age_ms = 10; verdict = "allow"; ttl_ms = 3600000; scope = "pair"; reason = "r";
	});
end

local function print_row(what, value, unit)
	print(("%-72s %10.3f %s"):format(what, value, unit));
end

-- Less what the loop itself takes.
local function time_of(count, run)
	local started = os.clock();
	for i = 1, count do run(i); end
	local empty = os.clock();
	for _ = 1, count do end
	return (2 * empty - started - os.clock()) / count * 1e6;
end

collectgarbage();
local before = collectgarbage("count");
local cache = new_cache();
local requests = {};
for i = 1, entries do
	local request = request_of(i);
	remember(cache, request, "id"..i);
	if i % 10 == 0 then requests[#requests + 1] = request; end
end
collectgarbage();
print_row(("memory of a decision, %d remembered"):format(cache:stats().entries), (collectgarbage("count") - before) / entries, "KiB");

local function hit(i)
	if not cache:get(operation, requests[i % #requests + 1]) then error("a miss"); end
end

print_row("the clock itself", time_of(rounds, function () monotonic(); end), "µs");
hit(1);
collectgarbage();
collectgarbage("stop");
local allocated = collectgarbage("count");
for i = 1, 1000 do hit(i); end
allocated = (collectgarbage("count") - allocated) * 1024 / 1000;
collectgarbage("restart");
print_row("allocated by a hit", allocated, "bytes");
print_row("a hit among 100, nothing changed since", time_of(rounds, function (i)
	cache:get(operation, requests[i % 100 + 1]);
end), "µs");
print_row("a hit among 10,000, which no processor cache holds", time_of(rounds, hit), "µs");
cache:numbered(sequence + 1, { user = "nobody@chat.example.org" });
print_row("the same, with a changed user to look past", time_of(rounds, hit), "µs");
cache:numbered(sequence + 2, { domain = "elsewhere.example.org" });
print_row("the same, with a changed domain to look past too", time_of(rounds, hit), "µs");
local stranger = request_of(5);
stranger.to = "nobody@chat.example.org";
print_row("a miss", time_of(rounds, function () cache:get(operation, stranger); end), "µs");
print_row("a change, numbered, of a JID among 100,000 others", time_of(100000, function (i)
	cache:numbered(sequence + 2 + i, { user = "user"..i.."@chat.example.org" });
end), "µs");
print_row("question and answer, remembered", time_of(100000, function (i) remember(cache, requests[i % #requests + 1], "id"); end), "µs");
