-- POST /roster_admin/refresh: the users whose rosters have changed, in batches to the workers, and one sum of their
-- answers. Knows no HTTP.
--
-- local refresh = module:require "push_refresh".new(decider, asker);
-- refresh(body, done)     done(code, answer), exactly once, possibly before refresh() returns
--   body: a JSON array of user names of this host or bare JIDs
--   answer: { status, message, updated, errors, failed }; failed: by user, why not, where there are errors

local codec = module:require "codec";
local json = module:require "json";

local operation = "roster-refresh";

local batch_size = 100;
-- Of all calls together.
local max_outstanding = 4;
-- A worker fetches a whole batch before it answers.
local budget_ms = 60 * 1000;
-- What is longer is no JID, and would cost its whole batch the answer.
local max_jid_bytes = 3071;

-- Of what failed so, more of the same would fail the same way, or late.
local is_hopeless = { ["no-responders"] = true, disconnected = true, timeout = true };

-- nil where it is anything but a list of texts.
local function users_of(body)
	local names = type(body) == "string" and json.decode(body);
	if not codec.is_list(names) then return nil; end
	local users, unusable = {}, {};
	for _, name in ipairs(names) do
		if type(name) ~= "string" then return nil; end
		local user = name:find("@", 1, true) and name or name.."@"..module.host;
		if #user <= max_jid_bytes then
			users[#users + 1] = user;
		else
			unusable[#unusable + 1] = user;
		end
	end
	return users, unusable;
end

local function batches_of(users)
	local batches = {};
	for n, user in ipairs(users) do
		if (n - 1) % batch_size == 0 then batches[#batches + 1] = {}; end
		table.insert(batches[#batches], user);
	end
	return batches;
end

local function sum_of(call)
	local is_error = call.errors > 0 and call.updated == 0;
	return {
		status = is_error and "error" or "ok";
		message = is_error and (call.problem or "no roster could be had") or "roster update complete";
		updated = call.updated;
		errors = call.errors;
		failed = call.errors > 0 and call.failed or nil;
	};
end

local function fail(call, users, problem)
	for _, user in ipairs(users) do call.failed[user] = problem; end
	call.errors = call.errors + #users;
end

local function new(decider, asker)
	-- The calls that have batches left, in turn: one user does not wait behind ten thousand.
	local outstanding, calls = 0, {};
	-- An answer may come while the question is being sent.
	local is_sending = false;

	local go_on;

	local function settle(call, batch, reply, failure)
		if reply then
			decider:answered(operation, reply.status);
			call.updated, call.errors = call.updated + (reply.updated or 0), call.errors + (reply.errors or 0);
			for user, problem in pairs(reply.failed or {}) do call.failed[user] = problem; end
			if reply.status == "error" then call.problem = call.problem or reply.message; end
		else
			decider:failed(operation, failure, "not refreshed");
			call.problem = "the workers gave no answer ("..failure.."); send it again";
			fail(call, batch, call.problem);
			while is_hopeless[failure] and call.batches[call.next] do
				fail(call, call.batches[call.next], call.problem);
				call.next = call.next + 1;
			end
		end
		call.open = call.open - 1;
		if call.open == 0 and not call.batches[call.next] then call.done(200, sum_of(call)); end
	end

	local function send(call)
		local batch = call.batches[call.next];
		call.next, call.open, outstanding = call.next + 1, call.open + 1, outstanding + 1;
		asker:ask(operation, { users = batch, reason = "admin" }, { budget_ms = budget_ms }, function (reply, failure)
			outstanding = outstanding - 1;
			settle(call, batch, reply, failure);
			go_on();
		end);
	end

	function go_on()
		if is_sending then return; end
		is_sending = true;
		while outstanding < max_outstanding and calls[1] do
			local call = table.remove(calls, 1);
			if call.batches[call.next] then
				table.insert(calls, call);
				send(call);
			end
		end
		is_sending = false;
	end

	return function (body, done)
		local users, unusable = users_of(body);
		if not users then
			return done(400, { status = "error", message = "the body must be a JSON array of user names or bare JIDs" });
		end
		local call = { done = done, batches = batches_of(users), next = 1, open = 0, updated = 0, errors = 0, failed = {} };
		fail(call, unusable, "it is too long for a JID");
		if not call.batches[1] then return done(200, sum_of(call)); end
		if not asker then
			call.problem = "there is no connection to the workers";
			fail(call, users, call.problem);
			return done(200, sum_of(call));
		end
		table.insert(calls, call);
		go_on();
	end;
end

return { new = new };
