-- The near cache: decisions that this process has been told and may use again without asking. Plain Lua: knows nothing of
-- Prosody, does no I/O, and is told the time. When a decision may be used again is said in change_order.lib.lua.
--
-- local cache = module:require "near_cache".new {
--   clock = monotonic;      -- seconds, from a clock that goes on while the process is stopped
--   bound = 2;              -- seconds: without a proof of freshness as young as that, nothing is served
--   max_entries = 100000; max_stamps = 200000;
-- };
-- cache:connected(has_jetstream)       the connection to NATS was made, the first time or anew; what the broker's INFO says
-- cache:numbered(sequence, change)     came on <prefix>.invalidated, read by invalidation.lib.lua; change is nil for a tick
-- cache:heard(change)                  came on <prefix>.invalidate; nil for a tick
-- cache:clear()
-- cache:get(operation, request) -> verdict, or nil when the workers have to be asked
--     request: the fields of the request on the wire, its JIDs in normal form (bare or full). It is only read.
--     verdict: verdict, error, reason as in the reply; seq, the floor that it is kept with. Not to be changed: the next
--     hit is the same table.
-- cache:hold(operation, request, verdict) -> hit       just after get() gave that verdict
-- cache:again(hit) -> verdict, or nil      what get() would give, at a fraction of its cost: no key is built and no JID
--     read. Nil is no miss and says nothing but that get() has to be asked
-- cache:ask(operation, request) -> ticket      just before a question is sent; the request must not change before the end
--     ticket.min_seq goes into the request. Who sends a question twice may keep the first ticket.
-- cache:answered(ticket, reply) -> whether it is remembered      reply as checked by replies.lib.lua, within its budget
-- cache:min_seq(), cache:seen(), cache:is_proved()
-- cache:stats() -> { entries, hits, misses, unproved, stored, refused, evictions, gaps, clears, changes, stamps, proof_age }
--     unproved: of the misses, those for want of proof alone. refused: answers that a change had overtaken, or that came
--     before the first number. proof_age: seconds, nil before the first proof, 0 where there is nothing to prove.
--
-- A hit compares the entry's floor with every stamp that it falls under, its TTL (counted from when it was asked for), and
-- the moment of the proof with the clock. What is too old by any of these is not served; it stays until it is replaced
-- or evicted. A hit that is held is compared in the same way; it ends with its entry's place: when another one takes it,
-- and when a generation goes, so that what is used by holding it counts as used.

local change_order = module:require "change_order";
local generations = module:require "generations";

local setmetatable, ipairs, pairs, type = setmetatable, ipairs, pairs, type;
local find, sub = string.find, string.sub;

local remembered_verdicts = { allow = true, deny = true, drop = true };

local cache_methods = {};
local cache_mt = { __index = cache_methods };

local function bare(jid)
	local slash = find(jid, "/", 1, true);
	return slash and sub(jid, 1, slash - 1) or jid;
end

-- Who stands on either side, as in the request.
local sides = {
	["stanza-check"] = function (request) return request.from, request.to; end;
	["join-check"] = function (request) return request.user, request.room; end;
	["session-check"] = function (request) return request.user; end;
};

-- What a decision is remembered under, by operation and scope; a scope that is not there has no meaning for the
-- operation. The NUL cannot stand in a JID (RFC 3454, C.2.1), nor in the other words.
local function stanza_key(scope, request, jid, other)
	return scope.."\0"..request.hook.."\0"..request.kind.."\0"..(request.type or "").."\0"..jid.."\0"..other;
end

local function join_key(scope, request, jid, other)
	return scope.."\0"..(request.event or "join")..(request.creating and "\0+\0" or "\0-\0")..jid.."\0"..other;
end

local keys = {
	["stanza-check"] = {
		["pair"] = function (request, jid, other) return stanza_key("s", request, jid, other); end;
		["pair-full"] = function (request) return stanza_key("sf", request, request.from, request.to); end;
		["sender"] = function (request, jid) return stanza_key("ss", request, jid, ""); end;
	};
	["join-check"] = {
		["pair"] = function (request, jid, other) return join_key("j", request, jid, other); end;
		["pair-full"] = function (request, _, other) return join_key("jf", request, request.user, other); end;
		["sender"] = function (request, jid) return join_key("js", request, jid, ""); end;
		["room"] = function (request, jid, other) return join_key("jr", request, jid, other); end;
	};
	["session-check"] = {
		["sender"] = function (_, jid) return "os\0"..jid; end;
	};
};

local function new(options)
	local self = setmetatable({
		clock = options.clock; bound = options.bound or 2;
		order = change_order.new { max_stamps = options.max_stamps or 200000 };
		entries = generations.new(options.max_entries or 100000);
		scopes = {}; -- by operation, those that were ever stored: only they are looked for
		hits = 0; misses = 0; unproved = 0; stored = 0; refused = 0;
	}, cache_mt);
	for operation in pairs(keys) do self.scopes[operation] = {}; end
	return self;
end

function cache_methods:connected(has_jetstream)
	self.order:connected(has_jetstream);
end

function cache_methods:numbered(sequence, change)
	self.order:numbered(sequence, change);
end

function cache_methods:heard(change)
	self.order:heard(change);
end

function cache_methods:clear()
	self.order:clear();
end

function cache_methods:seen()
	return self.order.seen;
end

-- Where nobody numbers the changes, no number means anything to a worker.
function cache_methods:min_seq()
	return self.order.is_counted and 0 or self.order.seen;
end

local function is_proved(self, now)
	local order = self.order;
	return order.is_counted or now - order.proved_at <= self.bound;
end

function cache_methods:is_proved()
	return is_proved(self, self.clock());
end

function cache_methods:get(operation, request)
	local order, scopes = self.order, self.scopes[operation];
	if order.is_settled and scopes and scopes[1] then
		local now, stamps, entries, key_of = self.clock(), order.stamps, self.entries, keys[operation];
		local jid, other = sides[operation](request);
		jid, other = bare(jid), other and bare(other);
		for i = 1, #scopes do
			local entry = entries:recall(key_of[scopes[i]](request, jid, other));
			if entry and now < entry.expires_at
				and (entry.seq >= stamps.newest or stamps:allow(entry.seq, operation, jid, other)) then
				if is_proved(self, now) then
					self.hits = self.hits + 1;
					return entry;
				end
				self.unproved = self.unproved + 1;
				break;
			end
		end
	end
	self.misses = self.misses + 1;
	return nil;
end

function cache_methods:hold(operation, request, verdict)
	local jid, other = sides[operation](request);
	return {
		entry = verdict; operation = operation; jid = bare(jid); other = other and bare(other);
		generation = self.entries.generation;
	};
end

function cache_methods:again(hit)
	local order, entry, now = self.order, hit.entry, self.clock();
	local stamps = order.stamps;
	if order.is_settled and hit.generation == self.entries.generation and now < entry.expires_at
		and (entry.seq >= stamps.newest or stamps:allow(entry.seq, hit.operation, hit.jid, hit.other))
		and (order.is_counted or now - order.proved_at <= self.bound) then
		self.hits = self.hits + 1;
		return entry;
	end
end

function cache_methods:ask(operation, request)
	return {
		operation = operation; request = request;
		sent_at = self.clock(); min_seq = self:min_seq(); position = self.order:position();
	};
end

-- The floor of an answer: what its worker knew. Where nobody numbers the changes, what had been heard here when it was
-- asked for. Nil for a number of the other kind: it cannot be compared.
local function floor_of(order, ticket, seq)
	if order.is_counted then return seq == 0 and ticket.position or nil; end
	return seq > 0 and seq or nil;
end

local function is_storable(reply)
	return remembered_verdicts[reply.verdict] and reply.notify == nil and reply.degraded == nil
		and type(reply.ttl_ms) == "number" and reply.ttl_ms > 0;
end

local function store(self, ticket, reply)
	local order, operation, request = self.order, ticket.operation, ticket.request;
	local key_of = keys[operation] and keys[operation][reply.scope];
	if not key_of or not is_storable(reply) then return false; end
	local jid, other = sides[operation](request);
	jid, other = bare(jid), other and bare(other);
	local floor, expires_at = floor_of(order, ticket, reply.seq), ticket.sent_at + reply.ttl_ms / 1000;
	local key = key_of(request, jid, other);
	local known = self.entries:peek(key);
	if not order.is_settled or not floor or self.clock() >= expires_at
		or not order.stamps:allow(floor, operation, jid, other) or known and known.seq > floor then
		self.refused = self.refused + 1;
		return false;
	end
	-- Whoever holds it has to look here again.
	if known then known.expires_at = -math.huge; end
	order:stored(floor);
	self.entries:put(key, {
		verdict = reply.verdict; error = reply.error; reason = reply.reason; seq = floor; expires_at = expires_at;
	});
	local scopes, is_new = self.scopes[operation], true;
	for _, scope in ipairs(scopes) do
		if scope == reply.scope then is_new = false; end
	end
	if is_new then scopes[#scopes + 1] = reply.scope; end
	self.stored = self.stored + 1;
	return true;
end

function cache_methods:answered(ticket, reply)
	local seq, age_ms = reply.seq, reply.age_ms;
	-- From a worker that says neither nothing can be remembered.
	if not seq or not age_ms then return false; end
	self.order:replied(ticket.sent_at, seq, age_ms);
	return store(self, ticket, reply);
end

function cache_methods:stats()
	local order = self.order;
	local proof_age = order.is_counted and 0 or self.clock() - order.proved_at;
	return {
		entries = self.entries:size();
		hits = self.hits; misses = self.misses; unproved = self.unproved;
		stored = self.stored; refused = self.refused; evictions = self.entries.evictions;
		gaps = order.gaps; clears = order.clears; changes = order.applied; stamps = order.stamps.size;
		proof_age = proof_age < math.huge and proof_age or nil;
	};
end

return { new = new };
