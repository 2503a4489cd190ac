-- Which of the answers about one user's roster is the newest, and whether another one is needed. Plain Lua.
--
-- Changes are numbered; an answer says by its number which of them it knows. A user is due from when his roster may have
-- changed until an answer has come that knows of it: by its number, or where the cause had none by having been asked for
-- afterwards. What is due stays what it was: nothing is ever forgotten here, only replaced.
--
--   lower number than the applied      an older answer: dropped
--   the same number                    taken where it was asked for later and the user is due, else dropped
--   a higher number                    taken; if it is lower than the change that made him due, he stays due
--
-- local order = module:require "roster_order".new();
-- order:mark(sequence)           something has changed: its number, or nil where it has none
-- order:wants_ask() -> boolean   whether to ask now: due, fewer than two are asked, and none of these since he became due
-- order:is_tried()               whether anything was asked since he became due
-- order:ask() -> ticket          asks have an order of their own, which is theirs whatever order the answers come in
-- order:answered(ticket, sequence) -> whether the answer is to be applied      sequence: 0 where nobody numbers
-- order:failed()                 instead of an answer
-- order:changed_here(sequence)   what is applied was changed on the spot, as an answer of this number (0 for none) allowed: no
--     answer that is older, or was asked for before, may undo it. Whoever is due stays due
-- order:reset()                  nobody numbers any more
-- order.is_due, order.asking     how many are asked at the moment
-- order.is_applied               whether there was any answer

local setmetatable, max = setmetatable, math.max;

-- The second is for what the first may have been too early for; the third would know nothing more than the second.
local most_at_once = 2;

local order_methods = {};
local order_mt = { __index = order_methods };

local function new()
	return setmetatable({
		applied = 0; is_applied = false; applied_ticket = 0; -- what is held
		is_due = false; due = 0; due_after = 0; -- the number it must have, and the ticket it must be later than
		floor = 0; floor_ticket = 0; -- what an answer must know and be later than, due or not
		tickets = 0; marked = 0; asking = 0; -- tickets given, those of them given before the latest mark, those not answered
	}, order_mt);
end

function order_methods:mark(sequence)
	if not sequence then
		self.is_due, self.due_after, self.marked = true, self.tickets, self.tickets;
	elseif not self.is_applied or sequence > self.applied then
		self.is_due, self.due, self.marked = true, max(self.due, sequence), self.tickets;
	end
end

function order_methods:wants_ask()
	return self.is_due and self.asking < most_at_once and (self.asking == 0 or not self:is_tried());
end

function order_methods:is_tried()
	return self.tickets > self.marked;
end

function order_methods:ask()
	self.tickets, self.asking = self.tickets + 1, self.asking + 1;
	return self.tickets;
end

function order_methods:failed()
	self.asking = self.asking - 1;
end

function order_methods:answered(ticket, sequence)
	self.asking = self.asking - 1;
	if sequence < self.floor or sequence == self.floor and ticket <= self.floor_ticket then return false; end
	if self.is_applied and (sequence < self.applied
		or sequence == self.applied and not (self.is_due and ticket > self.applied_ticket)) then
		return false;
	end
	self.is_applied, self.applied, self.applied_ticket = true, sequence, ticket;
	if sequence >= self.due and ticket > self.due_after then self.is_due, self.due = false, 0; end
	return true;
end

function order_methods:changed_here(sequence)
	self.floor, self.floor_ticket = max(self.floor, sequence), self.tickets;
end

function order_methods:reset()
	self.applied, self.due, self.floor = 0, 0, 0;
end

return { new = new };
