-- The order of changes as this process knows it, and the proof that it knows all of them. Plain Lua.
--
-- The broker numbers every change; `seen` is the highest number applied and never goes down. A change stamps what it
-- names with its number, and what is remembered is good while its floor is at least as high as every stamp that touches it.
--
--   next number           apply it
--   a higher one          something was missed: clear all; `seen` is now that number
--   one that is not       apply it; if it is lower, the order itself is in doubt: clear all
--   heard without number  before the broker has numbered it: drop what it names at once, `seen` stays. During an election
--                         of the broker's cluster this is all there is
--   connected anew        clear all, and store nothing until the first number has come
--
-- A clear is the stamp `all`. What arrives without a number, or puts the order in doubt, stamps `seen + 1`: also what is
-- being asked at this moment is then too old to be served again.
--
-- Proof: silence proves nothing. A worker's reply says which sequence it knows and how old the proof of that is; once
-- `seen` has reached that sequence, everything remembered here is proved fresh as of the moment of asking less that age:
-- of asking, since what happened between then and the answer is not in it. Whether that is recent enough is compared
-- with the clock at every hit, never by a timer.
--
-- Without JetStream nothing is numbered by the broker, and there is nothing to prove. Only the workers can tell, by
-- replies with sequence 0 and age 0, and they are believed only where the broker too says that it has none: in a cluster
-- without a leader a worker may find none for a while. This process then counts what it hears by itself; that count
-- means nothing to anyone else and is no part of `seen`. It begins above every floor that anything was stored with: the
-- workers may have been ahead of what was seen here. The first number ends it.
--
-- local order = module:require "change_order".new { max_stamps = 200000 };
-- order:connected(has_jetstream)                  what the broker says in its INFO
-- order:numbered(sequence, change)                change as in stamps.lib.lua, nil for a tick
-- order:heard(change)                             nil for a tick
-- order:clear()                                   whatever was stored, also with a floor ahead of what was seen here
-- order:stored(floor)                             something is remembered with this floor
-- order:replied(sent_at, seq, age_ms)             the envelope of a reply; sent_at in monotonic seconds
-- order:position() -> the floor of what is found out now
-- order.seen, .is_settled (whether anything may be stored), .is_counted (without JetStream), .proved_at (seconds)
-- order.stamps, .gaps, .clears, .applied

local stamps = module:require "stamps";

local setmetatable, max = setmetatable, math.max;
local insert, remove = table.insert, table.remove;

local everything = { all = true };
-- Proofs whose sequence has not come yet. Many replies share few sequences.
local max_waiting = 16;

local order_methods = {};
local order_mt = { __index = order_methods };

local function new(options)
	return setmetatable({
		stamps = stamps.new(options.max_stamps);
		seen = 0; is_settled = false; is_counted = false; has_jetstream = true;
		counted = 0; -- changes heard, where the broker numbers none
		highest = 0; -- of the floors that anything was stored with
		proved_at = -math.huge; waiting = {};
		gaps = 0; clears = 0; applied = 0;
	}, order_mt);
end

local function stamp_all(self, sequence)
	self.clears = self.clears + 1;
	self.stamps:set(everything, sequence);
end

function order_methods:position()
	return self.seen + self.counted;
end

function order_methods:stored(floor)
	if floor > self.highest then self.highest = floor; end
end

function order_methods:clear()
	stamp_all(self, max(self:position(), self.highest) + 1);
	if self.is_counted then self.counted = self.counted + 1; end
end

function order_methods:connected(has_jetstream)
	stamp_all(self, self:position() + 1);
	self.has_jetstream = has_jetstream;
	self.is_settled, self.is_counted = false, false;
end

local function adopt_proofs(self)
	local waiting = self.waiting;
	while waiting[1] and waiting[1].seq <= self.seen do
		local proof = remove(waiting, 1);
		self.proved_at = max(self.proved_at, proof.at);
	end
end

function order_methods:numbered(sequence, change)
	local before, is_first = self.seen, not self.is_settled or self.is_counted;
	-- What this process has counted by itself is over; nothing that was stored under it may be served.
	local position = self:position();
	self.counted, self.is_counted, self.is_settled = 0, false, true;
	self.seen = max(before, sequence);
	if is_first then
		stamp_all(self, max(self.seen, sequence <= position and position + 1 or 0));
	elseif sequence > before + 1 then
		self.gaps = self.gaps + 1;
		stamp_all(self, sequence);
	elseif sequence < before then
		stamp_all(self, before + 1);
	elseif change then
		self.stamps:set(change, sequence);
	end
	if change then self.applied = self.applied + 1; end
	if self.waiting[1] then adopt_proofs(self); end
end

function order_methods:heard(change)
	if not change then return; end
	if self.is_counted then
		self.counted, self.applied = self.counted + 1, self.applied + 1;
		self.stamps:set(change, self:position());
	else
		self.stamps:set(change, self:position() + 1);
	end
end

-- In the order of their sequences, of which each next proves a later moment; else it would prove nothing more.
local function wait_for(self, seq, at)
	local waiting, place = self.waiting, 1;
	while waiting[place] and waiting[place].seq < seq do place = place + 1; end
	if place > 1 and waiting[place - 1].at >= at then return; end
	while waiting[place] and waiting[place].at <= at do remove(waiting, place); end
	if waiting[place] and waiting[place].seq == seq then return; end
	insert(waiting, place, { seq = seq; at = at });
	-- The latest proof is the one to wait for.
	if #waiting > max_waiting then remove(waiting, #waiting - 1); end
end

function order_methods:replied(sent_at, seq, age_ms)
	if seq == 0 then
		if age_ms == 0 and not self.is_settled and not self.has_jetstream then
			self.is_settled, self.is_counted = true, true;
			self.counted = max(self.counted, self.highest - self.seen) + 1;
			stamp_all(self, self:position());
		end
		return;
	end
	local at = sent_at - age_ms / 1000;
	if at <= self.proved_at then return; end
	if seq <= self.seen then
		self.proved_at = at;
	else
		wait_for(self, seq, at);
	end
end

return { new = new };
