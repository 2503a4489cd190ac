-- Says on <prefix>.ctl.seen who this process is and which change it has seen, every second and soon after a change, so that
-- whoever made the change can know when it has reached everyone.
--
-- local announcer = module:require "announce".start { client = , prefix = , name = , seen = function () return 0; end };
-- announcer:changed()      a change was applied
-- announcer:stop()
-- module:require "announce".boot_id() -> the same for as long as the process runs, and no other's

local codec = module:require "codec";

local random_bytes = require "util.random".bytes;
local timer = require "util.timer";
local to_hex = require "util.hex".encode;
local monotonic = require "util.time".monotonic;

local interval = 1;
-- A change is announced at once, but not each of a thousand in a second.
local shortest_interval = 0.1;

-- Outlives this host's module: held by the announcers.
local process = module:shared("/*/warder/process");

local function boot_id()
	process.boot_id = process.boot_id or to_hex(random_bytes(12));
	return process.boot_id;
end

local announcer_methods = {};
local announcer_mt = { __index = announcer_methods };

-- A publication that fails is followed by the next.
local function announce(self)
	self.announced_at = monotonic();
	self.client:publish(self.subject, codec.encode({
		v = 1; kind = "hook"; boot_id = boot_id(); name = self.name; seen = self.seen();
	}, "json"));
end

function announcer_methods:changed()
	if self.soon then return; end
	local due = self.announced_at + shortest_interval - monotonic();
	if due <= 0 then return announce(self); end
	self.soon = timer.add_task(due, function ()
		self.soon = nil;
		announce(self);
	end);
end

function announcer_methods:stop()
	timer.stop(self.timer);
	if self.soon then timer.stop(self.soon); end
	self.soon = nil;
end

local function start(options)
	local self = setmetatable({
		client = options.client; subject = options.prefix..".ctl.seen"; name = options.name; seen = options.seen;
	}, announcer_mt);
	announce(self);
	self.timer = timer.add_task(interval, function ()
		announce(self);
		return interval;
	end);
	return self;
end

return { start = start; boot_id = boot_id };
