-- Order for stanzas that arrive where nothing can wait: from external components, timers, other modules.
-- Such a stanza is taken out of its way and sent on its way again inside a runner of its sender, where hooks can wait.
-- Whatever the same sender sends meanwhile stands in line behind it; other senders go on.
--
-- local line = module:require "line".start();
-- line:take(event, preevents) -> true: the stanza stands in line and the caller stops its event
-- line:is_empty() -> whether nobody stands in line
-- line:holds(event) -> whether something of the same sender stands in line, which this one may not overtake

local async = require "util.async";
local jid_bare = require "util.jid".bare;
local reading = module:require "reading";

local hosts = prosody.hosts;

-- Above everything that looks at what is delivered.
local priority = 1000;
-- Of one connection; then it is not read until half of them are on their way again.
local max_waiting = 256;

local line_methods = {};
local line_mt = { __index = line_methods };

local function send_on(self, entry)
	local origin = entry.origin;
	-- Whoever brought it may be gone by now, and with it all that handlers expect of an origin.
	if origin.destroyed then origin = hosts[self.host]; end
	prosody.core_post_stanza(origin, entry.stanza, entry.preevents);
end

local function sender(event)
	local from = event.stanza.attr.from;
	return from and jid_bare(from) or "";
end

-- How many stanzas of whoever brought them are in line. Without a bound a gateway would fill the memory.
function line_methods:count(origin, by)
	local conn = origin.conn;
	local n = (self.brought[origin] or 0) + by;
	self.brought[origin] = n > 0 and n or nil;
	if not conn or not conn.pause then return; end
	if by > 0 and n == max_waiting then
		conn:pause();
	elseif by < 0 and n == max_waiting / 2 then
		reading.resume(conn);
	end
end

function line_methods:done(key, origin)
	self:count(origin, -1);
	self.waiting[key] = self.waiting[key] - 1;
	if self.waiting[key] == 0 then self.runners[key], self.waiting[key] = nil, nil; end
end

function line_methods:new_runner(key)
	local origin;
	local runner = async.runner(function (entry)
		origin = entry.origin;
		send_on(self, entry);
		self:done(key, origin);
	end, {
		error = function (_, err)
			module:log("error", "A stanza of %s was lost in line: %s", key, err);
			self:done(key, origin);
		end;
	});
	self.runners[key], self.waiting[key] = runner, 0;
	return runner;
end

function line_methods:take(event, preevents)
	local key = sender(event);
	local runner = self.runners[key] or self:new_runner(key);
	self.waiting[key] = self.waiting[key] + 1;
	self:count(event.origin, 1);
	runner:run({ origin = event.origin, stanza = event.stanza, preevents = preevents });
	return true;
end

function line_methods:is_empty()
	return next(self.runners) == nil;
end

function line_methods:holds(event)
	return self.runners[sender(event)] ~= nil;
end

local function start()
	local line = setmetatable({ host = module.host, runners = {}, waiting = {}, brought = {} }, line_mt);
	local function keep_order(event)
		if line:is_empty() or not line:holds(event) or async.ready() then return nil; end
		return line:take(event, false);
	end
	for _, kind in ipairs({ "message", "presence", "iq" }) do
		for _, to in ipairs({ "bare", "full", "host" }) do
			module:hook(kind.."/"..to, keep_order, priority);
		end
	end
	return line;
end

return { start = start };
