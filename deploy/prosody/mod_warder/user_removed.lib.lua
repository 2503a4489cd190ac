-- user-removed: tells the workers that an account is gone, with one id, again and again until they acknowledge it. What is
-- not acknowledged is stored beside the accounts, so that it outlives a restart. Where rosters are kept elsewhere, an
-- account that was made again is not let in before: it would be shown what its predecessor left.
--
-- module:require "user_removed".start(settings, decider, asker);

local async = require "util.async";
local new_id = require "util.id".medium;

local reading = module:require "reading";

local operation = "user-removed";

local first_delay, longest_delay = 1, 60;
-- Removals that may wait; one more is told once. Each costs a record in the storage.
local max_waiting = 10000;
-- So many a second are told again after a restart.
local tries_a_second = 50;
-- Before it is asked whether the session may open.
local bind_priority = 10;

-- No other try would go better.
local is_final = { ["bad-request"] = true, ["too-large"] = true };

-- By up to half, so that what failed together is not tried together.
local function delay_of(removal)
	local delay = math.min(longest_delay, first_delay * 2 ^ math.min(removal.tries - 1, 16));
	return delay * (0.5 + math.random() / 2);
end

local function start(settings, decider, asker)
	local host = module.host;
	-- By id. Not by user name: Prosody clears all that it has stored under the name of an account that goes.
	local store = module:open_store("warder_removals");
	local waiting, count = {}, 0;
	-- Sessions that wait for the next answer about their name.
	local blocked = {};

	local function store_record(removal, record)
		local ok, err = store:set(removal.id, record);
		if ok then return; end
		module:log("error", "The removal of %s@%s could not be %s: %s", removal.username, host,
			record and "stored, so a restart would lose it" or "taken from the storage, so a restart would repeat it", err);
	end

	local function note(removal)
		waiting[removal.id], count = removal, count + 1;
	end

	local function settle(removal)
		if not waiting[removal.id] then return; end
		waiting[removal.id], count = nil, count - 1;
		store_record(removal, nil);
	end

	local try_again;

	-- One timer each, however often it was tried out of turn.
	local function try_in(removal, seconds)
		if removal.timer then removal.timer:stop(); end
		removal.timer = module:add_timer(seconds, function () try_again(removal); end);
	end

	local function answered(removal, reply, failure)
		removal.is_asking = false;
		if reply then
			settle(removal);
			decider:answered(operation, reply.forgotten and "forgotten" or "unknown");
			module:log("info", "%s: %s@%s", operation, removal.username, host);
		elseif is_final[failure] or not waiting[removal.id] then
			settle(removal);
			decider:failed(operation, failure, "given up");
			module:log("error", "%s of %s@%s failed for good: %s", operation, removal.username, host, failure);
		else
			decider:failed(operation, failure, "told again");
			removal.tries = removal.tries + 1;
			try_in(removal, delay_of(removal));
		end
		local sessions = blocked[removal.username] or {};
		blocked[removal.username] = nil;
		for _, go_on in ipairs(sessions) do go_on(); end
	end

	local function try(removal)
		if removal.is_asking then return; end
		removal.is_asking = true;
		if not asker then return answered(removal, nil, "disconnected"); end
		asker:ask(operation, { user = removal.username.."@"..host }, {
			budget_ms = settings.budgets_ms[operation]; id = removal.id;
		}, function (reply, failure) answered(removal, reply, failure); end);
	end

	function try_again(removal)
		if waiting[removal.id] then try(removal); end
	end

	module:hook_global("user-deleted", function (event)
		if event.host ~= host then return; end
		local removal = { id = new_id(), username = event.username, tries = 1 };
		if count < max_waiting then
			note(removal);
			store_record(removal, { username = removal.username });
		else
			module:log("error", "%d removals wait to be acknowledged; that of %s@%s is told only once", count, event.username, host);
		end
		try(removal);
	end);

	local function of_name(username)
		local found = {};
		for _, removal in pairs(waiting) do
			if removal.username == username then found[#found + 1] = removal; end
		end
		return found;
	end

	local function hold_back(event)
		local session, username = event.session, event.session.username;
		local open = count > 0 and of_name(username) or {};
		if not open[1] then return nil; end
		if async.ready() then
			local wait, done = async.waiter();
			blocked[username] = blocked[username] or {};
			table.insert(blocked[username], done);
			for _, removal in ipairs(open) do try(removal); end
			wait();
			reading.go_on(session);
			if session.destroyed then return false; end
			if not of_name(username)[1] then return nil; end
		end
		module:log("warn", "%s@%s was made again before its removal could be told; it has to wait", username, host);
		event.error = { type = "wait", condition = "resource-constraint", text = "This account is not ready yet; try again later" };
		return false;
	end
	if settings.roster then module:hook("pre-resource-bind", hold_back, bind_priority); end

	local function take_up_again()
		local ids = {};
		for id in store:users() do ids[#ids + 1] = id; end
		for _, id in ipairs(ids) do
			local record = store:get(id);
			if type(record) == "table" and type(record.username) == "string" then
				local removal = { id = id, username = record.username, tries = 1 };
				note(removal);
				try_in(removal, math.random() * (1 + #ids / tries_a_second));
			end
		end
	end
	local ok, err = pcall(take_up_again);
	if not ok then module:log("error", "Removals that were not acknowledged could not be read from the storage: %s", err); end
end

return { start = start };
