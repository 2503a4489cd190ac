-- The near cache that all hosts of this Prosody process share, one for each subject prefix as there is one connection, and
-- what keeps it fresh: the changes as the broker tells them. So each change is received once, whatever the number of hosts.
-- Never raises: a fault in here costs a question, not a stanza.
--
-- local shared_cache = module:require "shared_cache";
-- local near, release = shared_cache.acquire(client, settings);   -- nil where this host shall remember nothing
-- function module.unload() release(); end      -- a second after the last release it ends, and nothing stays subscribed;
--     acquired again meanwhile, as by a reload, it goes on
--
-- near:recall(operation, request) -> verdict as in near_cache.lib.lua, or nil when the workers have to be asked.
--     Needs no async context: it never waits.
-- near:hold(operation, request, verdict) -> hit, near:again(hit) -> verdict, or nil     as in near_cache.lib.lua
-- near:ask(operation, request) -> answered     just before the question is sent; answered(reply) when the reply has come
-- near:min_seq(), near:seen()                  seen never goes down
-- near:stats() -> as in near_cache.lib.lua, and foreign: what claimed a number and was not from the stream
--
-- What it holds and how old a proof may be are options of the process. After a reload with others it begins empty.

local announce = module:require "announce";
local codec = module:require "codec";
local invalidation = module:require "invalidation";
local near_cache = module:require "near_cache";

local jid = require "util.jid";
local monotonic = require "util.time".monotonic;
local sha256 = require "util.hashes".sha256;
local timer = require "util.timer";

local find, byte = string.find, string.byte;
local max, pcall = math.max, pcall;

-- By prefix. Outlives this host's module: held by the callbacks of those in it.
local shared = module:shared("/*/warder/near-caches");

-- A reload unloads the module before it loads it again.
local linger = 1;

local slash, dot = ("/."):byte(1, 2);

local decode = invalidation.new_decoder { decode = codec.decode, split = jid.prepped_split };

local near_methods = {};
local near_mt = { __index = near_methods };

local jids_of = {
	["stanza-check"] = function (request) return request.from, request.to; end;
	["join-check"] = function (request) return request.user, request.room; end;
	["session-check"] = function (request) return request.user; end;
};

-- Changes name JIDs in normal form, so only such may be remembered. What arrives by a stream Prosody has prepared; what
-- another module makes up may be anything. Most need no more than a look: no letter in them has another form.
local function is_normal(given)
	local after = find(given, "[^a-z0-9._@-]") or #given + 1;
	if (after > #given or byte(given, after) == slash) and byte(given, after - 1) ~= dot then return true; end
	local bare = jid.bare(given);
	return bare ~= nil and jid.prep(bare) == bare;
end

local function has_normal_jids(operation, request)
	local read = jids_of[operation];
	if not read then return false; end
	local one, other = read(request);
	return is_normal(one) and (other == nil or is_normal(other));
end

local function guarded(method, ...)
	local ok, result = pcall(method, ...);
	if ok then return result; end
	module:log("error", "The near cache failed, so the workers are asked: %s", result);
end

-- What is found under both JIDs was stored under the same two, so they have been looked at. Only what is remembered of a
-- sender is found whatever the other JID looks like.
local function recall(self, operation, request)
	if self.has_senders and not has_normal_jids(operation, request) then return nil; end
	return self.cache:get(operation, request);
end

function near_methods:recall(operation, request)
	return guarded(recall, self, operation, request);
end

local function hold(self, operation, request, verdict)
	return self.cache:hold(operation, request, verdict);
end

function near_methods:hold(operation, request, verdict)
	return guarded(hold, self, operation, request, verdict);
end

-- Without a guard: it compares numbers that are there, and calls nobody but the clock.
function near_methods:again(hit)
	return self.cache:again(hit);
end

local function nothing() end

local function ask(self, operation, request)
	if not has_normal_jids(operation, request) then return nil; end
	-- It may be another one by the time of the answer.
	local cache = self.cache;
	local ticket = cache:ask(operation, request);
	return function (reply)
		if reply.scope == "sender" then self.has_senders = true; end
		guarded(cache.answered, cache, ticket, reply);
	end;
end

function near_methods:ask(operation, request)
	return guarded(ask, self, operation, request) or nothing;
end

function near_methods:min_seq()
	return max(self.floor, self.cache:min_seq());
end

function near_methods:seen()
	return self.cache and max(self.floor, self.cache:seen()) or self.floor;
end

function near_methods:stats()
	local stats = self.cache:stats();
	stats.foreign = self.foreign;
	return stats;
end

local function on_numbered(self, message)
	local sequence = message.headers and invalidation.sequence_of(message.headers, self.stream);
	if not sequence then
		self.foreign = self.foreign + 1;
		return;
	end
	local before, change = self.cache:seen(), decode(message.payload);
	self.cache:numbered(sequence, change);
	-- Whoever waits for a change waits for those that were missed too.
	if change or sequence ~= before + 1 then self.announcer:changed(); end
end

local function on_connected(self)
	self.cache:connected(self.client.server_info.jetstream == true);
end

-- An empty cache by these options. Who has seen a change is not answered from before it because of that.
local function renew(self, settings)
	self.floor = self:seen();
	self.max_entries, self.bound = settings.near_cache_entries, settings.staleness_bound;
	self.cache = near_cache.new { clock = monotonic; bound = self.bound; max_entries = self.max_entries };
	if self.client:connected() then on_connected(self); end
end

local function start(client, settings, floor)
	local prefix = settings.prefix;
	local self = setmetatable({
		client = client; prefix = prefix; holders = {}; foreign = 0; floor = floor; has_senders = false;
		stream = invalidation.stream_name(prefix, function (text) return sha256(text, true); end);
	}, near_mt);
	renew(self, settings);
	self.announcer = announce.start {
		client = client; prefix = prefix; name = settings.server; seen = function () return self:seen(); end;
	};
	self.stops = {
		client:subscribe(prefix..".invalidated", function (message) on_numbered(self, message); end);
		client:subscribe(prefix..".invalidate", function (message) self.cache:heard(decode(message.payload)); end);
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
	if self.client ~= client then
		stop(self);
		return start(client, settings, self:seen());
	end
	if self.max_entries ~= settings.near_cache_entries or self.bound ~= settings.staleness_bound then
		renew(self, settings);
	end
	return self;
end

local function acquire(client, settings)
	if not client or not settings.near_cache or settings.near_cache_entries == 0 then return nil; end
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
