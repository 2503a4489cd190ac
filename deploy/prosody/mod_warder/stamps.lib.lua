-- Which sequence each user, room, domain and operation was last invalidated at. Constant time to set, constant time to
-- ask, whatever is remembered; no entry is ever looked for. Plain Lua.
--
-- local stamps = module:require "stamps".new(max_stamps);
-- stamps:set(change, sequence)     change: one of { user = }, { room = }, { domain = }, { operation = }, { all = true }
-- stamps:allow(floor, operation, jid, other) -> whether what is good for `floor` is still good for this question
--     jid, other: the bare JIDs on either side, rooms included; other may be nil
-- stamps.newest      the highest stamp of any kind: what has at least this floor needs no further look
-- stamps.all, stamps.size
--
-- The table is bounded: when it is full, `all` is raised to the newest stamp and the table emptied, which forgets more
-- than was asked and never less.

local setmetatable, next = setmetatable, next;
local find, sub = string.find, string.sub;

local stamps_methods = {};
local stamps_mt = { __index = stamps_methods };

local function new(max_stamps)
	return setmetatable({
		max_stamps = max_stamps; size = 0;
		jids = {}; domains = {}; operations = {};
		all = 0; newest = 0;
	}, stamps_mt);
end

-- Everything at or below `all` says nothing any more.
local function raise_all(self, sequence)
	if sequence > self.all then self.all = sequence; end
	if self.all >= self.newest then
		self.jids, self.domains, self.operations, self.size = {}, {}, {}, 0;
	end
end

local function raise(self, stamped, key, sequence)
	local known = stamped[key];
	if not known then self.size = self.size + 1; end
	if not known or known < sequence then stamped[key] = sequence; end
end

function stamps_methods:set(change, sequence)
	if sequence > self.newest then self.newest = sequence; end
	if change.operation then
		raise(self, self.operations, change.operation, sequence);
	elseif change.domain then
		raise(self, self.domains, change.domain, sequence);
	elseif change.user or change.room then
		raise(self, self.jids, change.user or change.room, sequence);
	else
		raise_all(self, sequence);
	end
	if self.size > self.max_stamps then raise_all(self, self.newest); end
end

local function domain_of(jid)
	local at = find(jid, "@", 1, true);
	return at and sub(jid, at + 1) or jid;
end

function stamps_methods:allow(floor, operation, jid, other)
	if floor >= self.newest then return true; end
	if floor < self.all or floor < (self.operations[operation] or 0) then return false; end
	local jids, domains = self.jids, self.domains;
	if floor < (jids[jid] or 0) or other and floor < (jids[other] or 0) then return false; end
	if next(domains) == nil then return true; end
	return floor >= (domains[domain_of(jid)] or 0) and (not other or floor >= (domains[domain_of(other)] or 0));
end

return { new = new };
