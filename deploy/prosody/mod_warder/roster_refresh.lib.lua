-- Keeps the rosters of those who are online on this host as the workers have them: asks at login, and whenever a change
-- may have touched one. Who is offline costs nothing. What the answers' order means is said in roster_order.lib.lua.
--
-- A change of one user is asked about at once, together with those of the next moment. What concerns everybody (all, the
-- domain, rosters as a whole, a change that was missed, a new connection) is spread over some seconds. One queue bounds
-- how much the whole process asks at once. What fails is asked again, later each time, while the user is online. Whatever
-- fails, everybody keeps what he has.
--
-- local rosters = module:require "roster_refresh".start(settings, decider, asker, feed);
--   asker, feed: nil without a connection; feed as in change_feed.lib.lua
-- rosters:login(username, done)          done(has_roster), exactly once, possibly before login() returns
-- rosters:left(username)                 his last session has ended
-- rosters:is_applied(username)           whether there was an answer since he is online
-- rosters:changed_here(username, seq)    his roster was changed on the spot, as the answer of this number allowed: what was
--     asked before and is answered later does not bring the old one back
-- rosters:stats() -> { online, asked, applied, older, due, retries }
--     older: answers that came behind a newer one. retries: of the asked, those after a failure or an answer that came too soon
-- rosters:stop()

local changes = module:require "roster_changes";
local roster_order = module:require "roster_order";
local roster_queue = module:require "roster_queue";
local state = module:require "roster_state";

local jid = require "util.jid";
local timer = require "util.timer";

local min, random = math.min, math.random;

local operation = "roster-refresh";

local most_at_once = 16;
-- Seconds in which several changes of one user are one.
local coalesce = 0.02;
-- How long after connecting to begin: the workers are connecting too, and the first number says what was missed.
local settle = 0.5;
-- What concerns everybody is asked at this rate, or faster where that would take too long: by rate a second and in seconds.
local mass_rate, longest_spread = 200, 5;
local first_retry, longest_retry = 1, 30;

local host = module.host;

-- One queue for all hosts of the process. Outlives this host's module: held by what waits in it and by its hosts.
local shared = module:shared("/*/warder/roster-queue");

local rosters_methods = {};
local rosters_mt = { __index = rosters_methods };

local function bare(user)
	return user.username.."@"..host;
end

local function ask_when_wanted(self, user, is_single)
	if user.is_queued or user.is_gone or not user.order:wants_ask() then return; end
	user.is_queued = true;
	self.queue:add(function (done)
		user.is_queued = false;
		-- Without a connection he stays due; once there is one, everybody is.
		if self.is_stopped or user.is_gone or not self.asker.client:connected() or not user.order:wants_ask() then
			return done();
		end
		self:ask(user, "changed", function () done(); end);
	end, is_single);
end

-- An earlier time that is set already stays.
local function ask_soon(self, user, delay, is_single)
	local due_at = self.now() + delay;
	if user.timer then
		if user.due_at <= due_at then return; end
		timer.stop(user.timer);
	end
	user.due_at = due_at;
	user.timer = timer.add_task(delay, function ()
		user.timer = nil;
		ask_when_wanted(self, user, is_single);
	end);
end

local function mark(self, user, sequence, delay, is_single)
	user.order:mark(sequence);
	if user.order:wants_ask() then ask_soon(self, user, delay, is_single); end
end

local function mark_all(self, sequence, base)
	local spread = min(longest_spread, self.online_count / mass_rate);
	for _, user in pairs(self.online) do mark(self, user, sequence, base + random() * spread, false); end
end

local function take_change(self, change, sequence)
	if change.all or change.domain == host or change.operation == operation then
		mark_all(self, sequence, coalesce);
	elseif change.user then
		local username, of = jid.split(change.user);
		local user = of == host and username and self.online[username];
		if user then mark(self, user, sequence, coalesce, true); end
	end
end

local function listener_of(self, feed)
	return {
		connected = function (has_jetstream)
			if not has_jetstream then
				for _, user in pairs(self.online) do user.order:reset(); end
			end
			mark_all(self, nil, settle);
		end;
		numbered = function (sequence, change, is_gap)
			-- Whoever is missing what came before this one; whether this one touches him is said below.
			if is_gap then mark_all(self, sequence > feed.seen and sequence - 1 or nil, coalesce); end
			if change then take_change(self, change, sequence); end
		end;
		heard = function (change)
			-- What is numbered comes once more, with its number.
			if change and not feed.is_numbered then take_change(self, change); end
		end;
	};
end

local function retry_delay(user)
	return min(longest_retry, first_retry * 2 ^ min(user.failures - 1, 10)) * (0.5 + random() / 2);
end

local function retry(self, user)
	user.failures = user.failures + 1;
	user.is_retrying = true;
	ask_soon(self, user, retry_delay(user), false);
end

-- After an answer or a failure: what is still missing is asked again.
local function go_on(self, user, has_failed)
	if user.is_gone or self.is_stopped then return; end
	local order = user.order;
	if not order.is_due then
		user.failures = 0;
	elseif not order:is_tried() then
		ask_soon(self, user, coalesce, true);
	elseif order.asking == 0 or has_failed then
		retry(self, user);
	end
end

local function fall_back(self, user, failure)
	local taken = self.settings.fallback[operation]["local"];
	if taken == "last-known" and not state.is_known(user.username) then taken = "error"; end
	self.decider:failed(operation, failure, taken);
	return taken ~= "error";
end

local function ask_again(self, user, reply)
	if user.again then timer.stop(user.again); end
	user.again = reply.again_ms and timer.add_task(reply.again_ms / 1000, function ()
		user.again = nil;
		mark(self, user, nil, 0, true);
	end);
end

-- An answer that nobody waits for any more is still the last known roster, unless he has come back meanwhile.
local function is_wanted(self, user)
	local current = self.online[user.username];
	return not self.is_stopped and (current == nil or current == user);
end

local function take(self, user, ticket, reply)
	local roster = reply.rosters[bare(user)];
	if not is_wanted(self, user) then
		user.order:failed();
		return roster ~= nil;
	end
	if not roster then
		user.order:failed();
		local text = reply.failed[bare(user)];
		return fall_back(self, user, text == "too-large" and text or "source-unavailable"), true;
	end
	self.decider:answered(operation, "ok");
	if not user.order:answered(ticket, reply.seq or 0) then
		self.older = self.older + 1;
		return true;
	end
	self.applied = self.applied + 1;
	local changed, requests = state.apply(user.username, roster);
	if not user.is_gone then ask_again(self, user, reply); end
	changes.tell(user.username, changed, requests);
	return true;
end

local function remove(list, value)
	for n, other in ipairs(list) do
		if other == value then return table.remove(list, n); end
	end
end

function rosters_methods:ask(user, reason, done)
	local ticket, name = user.order:ask(), bare(user);
	local asked = { waiting = { done } };
	table.insert(user.asked, asked);
	self.asked = self.asked + 1;
	if user.is_retrying then self.retries = self.retries + 1; end
	user.is_retrying = false;
	local function finish(reply, failure)
		remove(user.asked, asked);
		local ok, has_roster, has_failed = xpcall(function ()
			if reply then return take(self, user, ticket, reply); end
			user.order:failed();
			return fall_back(self, user, failure), true;
		end, debug.traceback);
		if not ok then
			module:log("error", "Could not take the roster of %s: %s", name, has_roster);
			has_roster = false;
			user.order:mark();
			if not user.is_gone and not self.is_stopped then retry(self, user); end
		else
			go_on(self, user, has_failed);
		end
		for _, tell in ipairs(asked.waiting) do tell(has_roster); end
	end
	if not self.asker then return finish(nil, "disconnected"); end
	self.asker:ask(operation, { users = { name }, reason = reason }, {
		budget_ms = self.settings.budgets_ms[operation];
		verify = function (reply)
			return reply.rosters[name] ~= nil or (reply.failed ~= nil and reply.failed[name] ~= nil);
		end;
	}, finish);
end

local function come(self, username)
	local user = self.online[username];
	if not user then
		user = { username = username, order = roster_order.new(), asked = {}, failures = 0 };
		self.online[username], self.online_count = user, self.online_count + 1;
	end
	return user;
end

function rosters_methods:login(username, done)
	local user = come(self, username);
	if user.order.asking == 0 then user.order:mark(); end
	if user.order:wants_ask() then return self:ask(user, "login", done); end
	table.insert(user.asked[#user.asked].waiting, done);
end

local function forget(user)
	user.is_gone = true;
	if user.timer then timer.stop(user.timer); end
	if user.again then timer.stop(user.again); end
	user.timer, user.again = nil, nil;
end

function rosters_methods:left(username)
	local user = self.online[username];
	if not user then return; end
	forget(user);
	self.online[username], self.online_count = nil, self.online_count - 1;
end

function rosters_methods:is_applied(username)
	local user = self.online[username];
	return user ~= nil and user.order.is_applied;
end

function rosters_methods:changed_here(username, sequence)
	local user = self.online[username];
	if user then user.order:changed_here(sequence or 0); end
end

function rosters_methods:stats()
	local due = 0;
	for _, user in pairs(self.online) do
		if user.order.is_due then due = due + 1; end
	end
	return {
		online = self.online_count; asked = self.asked; applied = self.applied; older = self.older; due = due;
		retries = self.retries;
	};
end

function rosters_methods:stop()
	self.is_stopped = true;
	if self.unfollow then self.unfollow(); end
	for _, user in pairs(self.online) do forget(user); end
end

local function start(settings, decider, asker, feed)
	shared.queue = shared.queue or roster_queue.new(most_at_once, function (err)
		module:log("error", "Could not ask for a roster: %s", err);
	end);
	local self = setmetatable({
		settings = settings; decider = decider; asker = asker; queue = shared.queue; now = require "util.time".monotonic;
		online = {}; online_count = 0; asked = 0; applied = 0; older = 0; retries = 0; is_stopped = false;
	}, rosters_mt);
	-- Who is here already, where the module comes later or comes again.
	for username in pairs(prosody.hosts[host].sessions) do come(self, username); end
	if feed then self.unfollow = feed:follow(listener_of(self, feed)); end
	return self;
end

return { start = start };
