-- The near cache that all hosts of this Prosody process share, one for each feed of changes, which keeps it fresh.
-- Never raises: a fault in here costs a question, not a stanza.
--
-- local shared_cache = module:require "shared_cache";
-- shared_cache.is_wanted(settings)      whether this host shall remember anything
-- local near, release = shared_cache.acquire(feed, settings);      feed as in change_feed.lib.lua
-- function module.unload() release(); end      -- a second after the last release it ends; acquired again meanwhile, as by a
--     reload, it goes on
--
-- near:recall(operation, request) -> verdict as in near_cache.lib.lua, or nil when the workers have to be asked.
--     Needs no async context: it never waits.
-- near:hold(operation, request, verdict) -> hit, near:again(hit) -> verdict, or nil     as in near_cache.lib.lua
-- near:ask(operation, request) -> answered     just before the question is sent; answered(reply) when the reply has come
-- near:min_seq()                               what an answer must know
-- near:stats() -> as in near_cache.lib.lua, and foreign: what claimed a number and was not from the stream
-- near:counts() -> { hits, misses, evictions, unproved, gaps, clears } of all that it has held, so that they only grow
-- near.prefix, near.max_entries
--
-- What it holds and how old a proof may be are options of the process. After a reload with others it begins empty.

local near_cache = module:require "near_cache";

local jid = require "util.jid";
local monotonic = require "util.time".monotonic;
local timer = require "util.timer";

local find, byte = string.find, string.byte;
local max, pcall = math.max, pcall;

-- By prefix. Outlives this host's module: held by the callbacks of those in it.
local shared = module:shared("/*/warder/near-caches");

-- A reload unloads the module before it loads it again.
local linger = 1;

local counted = { "hits", "misses", "evictions", "unproved", "gaps", "clears" };

local slash, dot = ("/."):byte(1, 2);

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

function near_methods:stats()
	local stats = self.cache:stats();
	stats.foreign = self.feed.foreign;
	return stats;
end

function near_methods:counts()
	local stats, counts = self.cache:stats(), {};
	for _, name in ipairs(counted) do counts[name] = stats[name] + (self.before[name] or 0); end
	return counts;
end

-- An empty cache by these options. Who has seen a change is not answered from before it because of that.
local function renew(self, settings)
	if self.unfollow then self.unfollow(); end
	local cache = near_cache.new {
		clock = monotonic; bound = settings.staleness_bound; max_entries = settings.near_cache_entries;
	};
	self.before = self.cache and self:counts() or {};
	self.floor, self.cache = self.feed.seen, cache;
	self.max_entries, self.bound = settings.near_cache_entries, settings.staleness_bound;
	self.unfollow = self.feed:follow {
		connected = function (has_jetstream) cache:connected(has_jetstream); end;
		numbered = function (sequence, change) cache:numbered(sequence, change); end;
		heard = function (change) cache:heard(change); end;
	};
end

local function start(feed, settings)
	local self = setmetatable({ feed = feed; prefix = feed.prefix; holders = {}; has_senders = false }, near_mt);
	renew(self, settings);
	shared[feed.prefix] = self;
	return self;
end

local function stop(self)
	if shared[self.prefix] == self then shared[self.prefix] = nil; end
	self.unfollow();
end

local function find_or_start(feed, settings)
	local self = shared[feed.prefix];
	if not self then return start(feed, settings); end
	if self.feed ~= feed then
		stop(self);
		return start(feed, settings);
	end
	if self.max_entries ~= settings.near_cache_entries or self.bound ~= settings.staleness_bound then
		renew(self, settings);
	end
	return self;
end

local function is_wanted(settings)
	return settings.near_cache and settings.near_cache_entries > 0;
end

local function acquire(feed, settings)
	local self, holder = find_or_start(feed, settings), {};
	self.holders[holder] = true;
	return self, function ()
		self.holders[holder] = nil;
		timer.add_task(linger, function ()
			if next(self.holders) == nil then stop(self); end
		end);
	end;
end

return { is_wanted = is_wanted; acquire = acquire };
