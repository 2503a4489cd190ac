-- The changes as the broker tells them, received once by this process whatever the number of its hosts, and handed to all
-- who follow them: one feed for each subject prefix, as there is one connection. Knows what is missed, not what it means.
--
-- local change_feed = module:require "change_feed";
-- local feed, release = change_feed.acquire(client, settings);
-- function module.unload() release(); end      -- a second after the last release it ends, and nothing stays subscribed;
--     acquired again meanwhile, as by a reload, it goes on
--
-- feed:follow(listener) -> unfollow()      in the order in which they began, each call guarded from the others:
--   listener.connected(has_jetstream)                the connection was made, the first time or anew; what the broker's INFO says.
--       Told at once where there is a connection already
--   listener.numbered(sequence, change, is_gap)      came on <prefix>.invalidated; change as in stamps.lib.lua, nil for a tick.
--       is_gap: what came before it was missed, or the order is in doubt
--   listener.heard(change)                           came on <prefix>.invalidate, not numbered yet; nil for a tick
-- feed.seen            the highest number that all followers were told; never goes down
-- feed.is_numbered     whether a number has come since the connection was made. Until then <prefix>.invalidate is all there is
-- feed:min_seq()       what the next answer must know; 0 where nobody numbers
-- feed.foreign         how many claimed a number and were not from the stream
--
-- The process is announced with `seen`, see announce.lib.lua.

local announce = module:require "announce";
local codec = module:require "codec";
local invalidation = module:require "invalidation";

local jid = require "util.jid";
local sha256 = require "util.hashes".sha256;
local timer = require "util.timer";

local pcall, max = pcall, math.max;

-- By prefix. Outlives this host's module: held by the callbacks of those in it.
local shared = module:shared("/*/warder/change-feeds");

-- A reload unloads the module before it loads it again.
local linger = 1;

local decode = invalidation.new_decoder { decode = codec.decode, split = jid.prepped_split };

local feed_methods = {};
local feed_mt = { __index = feed_methods };

local function call(method, ...)
	local ok, err = pcall(method, ...);
	if not ok then module:log("error", "A change could not be taken in: %s", err); end
end

local function tell(self, event, ...)
	local listeners = self.listeners;
	for i = 1, #listeners do call(listeners[i][event], ...); end
end

function feed_methods:follow(listener)
	-- Copied, since one of those who are being told may be who comes or goes.
	local listeners = { table.unpack(self.listeners) };
	listeners[#listeners + 1] = listener;
	self.listeners = listeners;
	if self.client:connected() then call(listener.connected, self.has_jetstream); end
	return function ()
		local left = {};
		for _, other in ipairs(self.listeners) do
			if other ~= listener then left[#left + 1] = other; end
		end
		self.listeners = left;
	end;
end

function feed_methods:min_seq()
	return (self.has_jetstream or self.is_numbered) and self.seen or 0;
end

local function on_numbered(self, message)
	local sequence = message.headers and invalidation.sequence_of(message.headers, self.stream);
	if not sequence then
		self.foreign = self.foreign + 1;
		return;
	end
	local before, change = self.seen, decode(message.payload);
	self.is_numbered = true;
	tell(self, "numbered", sequence, change, sequence ~= before and sequence ~= before + 1);
	self.seen = max(before, sequence);
	-- Whoever waits for a change waits for those that were missed too.
	if change or sequence ~= before + 1 then self.announcer:changed(); end
end

local function on_connected(self)
	self.has_jetstream, self.is_numbered = self.client.server_info.jetstream == true, false;
	tell(self, "connected", self.has_jetstream);
end

local function start(client, settings, seen)
	local prefix = settings.prefix;
	local self = setmetatable({
		client = client; prefix = prefix; holders = {}; listeners = {};
		seen = seen; foreign = 0; has_jetstream = false; is_numbered = false;
		stream = invalidation.stream_name(prefix, function (text) return sha256(text, true); end);
	}, feed_mt);
	if client:connected() then on_connected(self); end
	self.announcer = announce.start {
		client = client; prefix = prefix; name = settings.server; seen = function () return self.seen; end;
	};
	self.stops = {
		client:subscribe(prefix..".invalidated", function (message) on_numbered(self, message); end);
		client:subscribe(prefix..".invalidate", function (message) tell(self, "heard", decode(message.payload)); end);
		client:on_status(function (status) if status == "connected" then on_connected(self); end end);
		function () self.announcer:stop(); end;
	};
	shared[prefix] = self;
	return self;
end

local function stop(self)
	if shared[self.prefix] == self then shared[self.prefix] = nil; end
	for _, undo in ipairs(self.stops) do undo(); end
	self.stops = {};
end

local function find_or_start(client, settings)
	local self = shared[settings.prefix];
	if not self then return start(client, settings, 0); end
	if self.client == client then return self; end
	stop(self);
	return start(client, settings, self.seen);
end

local function acquire(client, settings)
	local self, holder = find_or_start(client, settings), {};
	self.holders[holder] = true;
	return self, function ()
		self.holders[holder] = nil;
		timer.add_task(linger, function ()
			if next(self.holders) == nil then stop(self); end
		end);
	end;
end

return { acquire = acquire };
