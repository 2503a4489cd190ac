-- Rosters that are kept elsewhere: asked for at login, served to the client instead of Prosody's own.
--
-- module:require "roster".start(settings, decider, asker);

local async = require "util.async";
local st = require "util.stanza";

local state = module:require "roster_state";

local operation = "roster-refresh";
-- Before anything looks at what a client sends.
local hold_priority = 1000;
-- Before mod_roster's own.
local serve_priority = 100;

local function serve(session, stanza)
	local roster = session.roster;
	local ver, known = state.version(roster), stanza.tags[1].attr.ver;
	local reply = st.reply(stanza);
	-- An empty result says that the client has it already (RFC 6121, section 2.6.3).
	if known == nil or known ~= ver then
		local query = reply:query("jabber:iq:roster");
		query.tags[1].attr.ver = ver;
		for jid, item in pairs(roster) do
			if jid then state.add_item(query, jid, item); end
		end
	end
	session.send(reply);
	session.interested = true;
end

local function start(settings, decider, asker)
	-- Its pushes and its stream feature are still wanted. Without it everything else of Warder goes on.
	local is_there, err = pcall(module.depends, module, "roster");
	if not is_there then
		module:log("error", "warder_roster needs mod_roster: %s", err);
		return;
	end
	local host = module.host;

	-- Users whose roster is being asked for: who wants to know when it is there.
	local in_flight = {};
	-- Sessions whose login waits for its roster.
	local logging_in = setmetatable({}, { __mode = "k" });
	-- Sessions that have no roster to be shown.
	local without = setmetatable({}, { __mode = "k" });

	local function failed(username, failure)
		local taken = settings.fallback[operation]["local"];
		if taken == "last-known" and not state.is_known(username) then taken = "error"; end
		decider:failed(operation, failure, taken);
		return taken ~= "error";
	end

	local function take(username, reply)
		local roster = reply.rosters[username.."@"..host];
		if not roster then
			local text = reply.failed[username.."@"..host];
			return failed(username, text == "too-large" and text or "source-unavailable");
		end
		local changes = state.apply(username, roster);
		decider:answered(operation, "ok");
		state.tell(username, changes);
		return true;
	end

	-- Asks once for all who ask meanwhile. done(has_roster)
	local function refresh(username, reason, done)
		if in_flight[username] then
			table.insert(in_flight[username], done);
			return;
		end
		local waiting = { done };
		in_flight[username] = waiting;
		local function finish(reply, failure)
			local ok, has_roster = xpcall(function ()
				if reply then return take(username, reply); end
				return failed(username, failure);
			end, debug.traceback);
			if not ok then
				module:log("error", "Could not take the roster of %s@%s: %s", username, host, has_roster);
				has_roster = false;
			end
			in_flight[username] = nil;
			for _, tell in ipairs(waiting) do tell(has_roster); end
		end
		if not asker then return finish(nil, "disconnected"); end
		local user = username.."@"..host;
		asker:ask(operation, { users = { user }, reason = reason }, {
			budget_ms = settings.budgets_ms[operation];
			verify = function (reply)
				return reply.rosters[user] ~= nil or (reply.failed ~= nil and reply.failed[user] ~= nil);
			end;
		}, finish);
	end

	-- Waits for it, in the session's own runner.
	local function refresh_now(session, reason)
		local wait, done = async.waiter();
		refresh(session.username, reason, function (has_roster)
			without[session] = not has_roster or nil;
			done();
		end);
		wait();
	end

	module:hook("resource-bind", function (event)
		local session = event.session;
		local waiting = {};
		logging_in[session] = waiting;
		refresh(session.username, "login", function (has_roster)
			without[session] = not has_roster or nil;
			logging_in[session] = nil;
			for _, done in ipairs(waiting) do done(); end
		end);
	end);

	-- Whatever the client sends first waits for the roster: presence sent before would reach no contact, and nothing
	-- would send it again.
	module:hook("pre-stanza", function (event)
		local session = event.origin;
		if not logging_in[session] or not async.ready() then return nil; end
		local wait, done = async.waiter();
		table.insert(logging_in[session], done);
		wait();
		if session.destroyed then return true; end
	end, hold_priority);

	module:hook("iq/self/jabber:iq:roster:query", function (event)
		local session, stanza = event.origin, event.stanza;
		if stanza.attr.type ~= "get" then return nil; end
		-- Asking again is what clients do after an error.
		if without[session] and async.ready() then refresh_now(session, "login"); end
		if session.destroyed then return true; end
		if without[session] then
			session.send(st.error_reply(stanza, "wait", "resource-constraint", "The contact list cannot be had now; try again later"));
		else
			serve(session, stanza);
		end
		return true;
	end, serve_priority);
end

return { start = start };
