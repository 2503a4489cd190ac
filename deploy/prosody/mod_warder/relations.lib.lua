-- Asking and telling about what goes on between a user and a contact: roster-subscription. What was told of the two is
-- with the workers before the next question about them is asked, so that taking back and asking anew keep their order.
-- Knows no stanzas; never raises.
--
-- local relations = module:require "relations".new(settings, decider, asker, rosters);      rosters as in roster_refresh.lib.lua
-- relations:ask(side, event, done)       done(verdict), exactly once, possibly before ask() returns; needs no async context
-- relations:wait(side, event) -> verdict     inside an async context
-- relations:tell(event)                  waits for nothing; what fails is logged and counted
--   event: { user, contact, direction, action, text }      side: "local" or "remote", who has caused it

local async = require "util.async";
local jid_node = require "util.jid".node;

local operation = "roster-subscription";

-- What the workers take (docs/protocol.md).
local max_text_bytes = 4096;

local relations_methods = {};
local relations_mt = { __index = relations_methods };

-- Not within a character.
local function shortened(text)
	if not text or #text <= max_text_bytes then return text; end
	return (text:sub(1, max_text_bytes):gsub("[\xC0-\xFF][\x80-\xBF]*$", ""));
end

local function request_of(event)
	return {
		user = event.user, contact = event.contact, direction = event.direction, action = event.action,
		text = shortened(event.text),
	};
end

local function both(event)
	return event.user.." "..event.contact;
end

function relations_methods:send(event, done)
	if not self.asker then return done(nil, "disconnected"); end
	self.asker:ask(operation, request_of(event), { budget_ms = self.settings.budgets_ms[operation] }, done);
end

function relations_methods:ask(side, event, done)
	local told = self.telling[both(event)];
	if told then
		table.insert(told.waiting, function () self:ask(side, event, done); end);
		return;
	end
	self:send(event, function (reply, failure)
		if not reply then return done(self.decider:fallback(operation, side, failure)); end
		self.decider:answered(operation, reply.verdict);
		if reply.verdict == "allow" then self.rosters:changed_here(jid_node(event.user), reply.seq); end
		done(reply);
	end);
end

function relations_methods:wait(side, event)
	local wait, done = async.waiter();
	local verdict;
	self:ask(side, event, function (answer)
		verdict = answer;
		done();
	end);
	wait();
	return verdict;
end

function relations_methods:tell(event)
	local key = both(event);
	local told = self.telling[key] or { count = 0, waiting = {} };
	self.telling[key] = told;
	told.count = told.count + 1;
	self:send(event, function (reply, failure)
		if reply then
			self.decider:answered(operation, "told");
		else
			self.decider:failed(operation, failure, "not told");
		end
		told.count = told.count - 1;
		if told.count > 0 then return; end
		self.telling[key] = nil;
		for _, go_on in ipairs(told.waiting) do go_on(); end
	end);
end

local function new(settings, decider, asker, rosters)
	return setmetatable({
		settings = settings, decider = decider, asker = asker, rosters = rosters, telling = {},
	}, relations_mt);
end

return { new = new };
