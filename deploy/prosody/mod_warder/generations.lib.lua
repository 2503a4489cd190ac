-- A bounded table by keys: who is used stays, the others go. Plain Lua; knows nothing of what it keeps.
--
-- local entries = module:require "generations".new(max_entries);
-- entries:recall(key) -> value, or nil      counts as use
-- entries:peek(key) -> value, or nil        does not
-- entries:put(key, value)
-- entries:size(), entries.evictions
-- entries.generation      a value of its own for each pair of generations of each table: while it is the same, what was
--     recalled or put is in the young one, unless it was replaced
--
-- Two generations: who is used moves to the young one; when that is full, the old one goes and the young one takes its
-- place. So nothing is ever looked through, and a use of what is young already costs one look.

local setmetatable, floor, max = setmetatable, math.floor, math.max;

local generations_methods = {};
local generations_mt = { __index = generations_methods };

local function new(max_entries)
	return setmetatable({
		max_young = max(1, floor(max_entries / 2));
		young = {}; young_size = 0; old = {}; old_size = 0; evictions = 0; generation = {};
	}, generations_mt);
end

local function put_young(self, key, value)
	if self.young_size >= self.max_young then
		self.evictions = self.evictions + self.old_size;
		self.old, self.old_size = self.young, self.young_size;
		self.young, self.young_size, self.generation = {}, 0, {};
	end
	self.young[key], self.young_size = value, self.young_size + 1;
end

local function take_old(self, key)
	local value = self.old[key];
	if value ~= nil then self.old[key], self.old_size = nil, self.old_size - 1; end
	return value;
end

function generations_methods:recall(key)
	local value = self.young[key];
	if value ~= nil then return value; end
	value = take_old(self, key);
	if value ~= nil then put_young(self, key, value); end
	return value;
end

function generations_methods:peek(key)
	local value = self.young[key];
	if value == nil then value = self.old[key]; end
	return value;
end

function generations_methods:put(key, value)
	if self.young[key] ~= nil then
		self.young[key] = value;
	else
		take_old(self, key);
		put_young(self, key, value);
	end
end

function generations_methods:size()
	return self.young_size + self.old_size;
end

return { new = new };
