-- Tells the workers every few seconds what was counted here, so that each count reaches one of them, once: a report stays as
-- it is, under its number, until it is acknowledged, and what is counted meanwhile goes into the next. Plain Lua: knows
-- nothing of Prosody, nor of what is counted.
--
-- local reporter = module:require "reporter".take_over(old, {      -- old: one that an earlier load of this file made, or nil
--   subject = "xmpp.policy.v1.ctl.hook-stats"; encoding = "messagepack"; now = monotonic;      -- seconds
--   sender = { boot_id = , name = , kind = , version = };
--   read = function (take) take("operations", counter, counts); return gauges; end;
--       counter: a table, whose counts these are; counts: a tree of numbers that only grow
--   add_task = function (seconds, task) return id; end; stop_task = function (id) end;   -- a task may give the seconds to its next run
-- });
-- reporter:run(client)      client as in nats.lib.lua; goes on with the one that it has
-- reporter:read()           what was counted is kept to be reported, even if its counter is heard of no more
-- reporter:pause()          what is not acknowledged stays for the next run

local codec = module:require "codec";

local next, pairs, random, setmetatable, type = next, pairs, math.random, setmetatable, type;

-- Seconds. Not all hooks of a cluster at once after their broker was away.
local first_delay, interval, jitter, timeout = 1, 5, 0.2, 2;

local reporter_methods = {};
local reporter_mt = { __index = reporter_methods };

local function jittered(seconds)
	return seconds * (1 + (random() - 0.5) * jitter);
end

-- Into a tree of sums what has come to the counts since they were taken the last time.
local function add_growth(sums, counts, taken)
	for name, count in pairs(counts) do
		if type(count) == "table" then
			sums[name], taken[name] = sums[name] or {}, taken[name] or {};
			add_growth(sums[name], count, taken[name]);
			if next(sums[name]) == nil then sums[name] = nil; end
		elseif count > (taken[name] or 0) then
			sums[name] = (sums[name] or 0) + count - (taken[name] or 0);
			taken[name] = count;
		end
	end
end

function reporter_methods:read()
	return self.options.read(function (place, counter, counts)
		self.taken[counter] = self.taken[counter] or {};
		self.sums[place] = self.sums[place] or {};
		add_growth(self.sums[place], counts, self.taken[counter]);
	end);
end

local function new_report(self)
	local gauges, sums = self:read(), self.sums;
	gauges.connected_s = self.connected_at and self.options.now() - self.connected_at or nil;
	local sender = self.options.sender;
	self.sums, self.number = {}, self.number + 1;
	return {
		number = self.number;
		payload = codec.encode({
			v = 1; boot_id = sender.boot_id; name = sender.name; kind = sender.kind; version = sender.version;
			number = self.number; gauges = codec.map(gauges);
			operations = codec.map(sums.operations or {}); near_cache = codec.map(sums.near_cache or {});
		}, self.options.encoding);
	};
end

local function tell(self)
	if self.is_asking or self.is_refused or not self.client:connected() then return; end
	self.report = self.report or new_report(self);
	local report = self.report;
	self.is_asking = true;
	self.client:request(self.options.subject, report.payload, timeout, function (err, message)
		self.is_asking = false;
		local reply = not err and codec.decode(message.payload);
		if reply and reply.v == 1 and reply.number == report.number and self.report == report then self.report = nil; end
	end);
end

local function stop_timer(self)
	if self.timer then self.options.stop_task(self.timer); end
	self.timer = nil;
end

local function on_connected(self)
	self.is_refused, self.connected_at = false, self.options.now();
	stop_timer(self);
	self.timer = self.options.add_task(jittered(first_delay), function ()
		tell(self);
		return jittered(interval);
	end);
end

local function on_status(self, status, text)
	if status == "connected" then
		on_connected(self);
	elseif status == "disconnected" then
		self.connected_at = nil;
		stop_timer(self);
	elseif status == "error" and text:find(self.options.subject, 1, true) then
		-- Whoever may not say it is not told so every few seconds.
		self.is_refused = true;
	end
end

function reporter_methods:run(client)
	if self.client == client then return; end
	self:pause();
	self.client = client;
	self.ignore = client:on_status(function (...) on_status(self, ...); end);
	if client:connected() then on_connected(self); end
end

function reporter_methods:pause()
	stop_timer(self);
	if self.ignore then self.ignore(); end
	self.client, self.ignore, self.connected_at = nil, nil, nil;
end

local function take_over(old, options)
	local self = old or { number = 0; sums = {}; taken = setmetatable({}, { __mode = "k" }) };
	self.options = options;
	return setmetatable(self, reporter_mt);
end

return { take_over = take_over };
