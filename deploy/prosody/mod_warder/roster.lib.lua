-- Rosters that are kept elsewhere, as clients meet them: had before anything that a client sends after its login, and
-- served instead of Prosody's own.
--
-- local rosters = module:require "roster".start(settings, decider, asker, feed);   nil where it cannot be done
--   as in roster_refresh.lib.lua, and:
-- rosters.logins                for module.save
-- rosters:take_over(logins)     for module.restore: those of the module that was here before a reload

local async = require "util.async";
local st = require "util.stanza";
local timer = require "util.timer";

local refresh = module:require "roster_refresh";
local probes = module:require "roster_probes";
local reading = module:require "reading";
local state = module:require "roster_state";

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

local function start_logins(rosters)
	local logins = {
		-- Sessions that wait for their roster, each with who is to be told.
		waiting = setmetatable({}, { __mode = "k" });
		-- Sessions that have no roster to be shown.
		without = setmetatable({}, { __mode = "k" });
	};

	-- In a reload the next one has taken it over before its answer comes.
	local function release(session)
		local waiting = logins.waiting[session];
		logins.waiting[session] = nil;
		for _, done in ipairs(waiting or {}) do done(); end
	end

	local function begin(session, waiting)
		logins.waiting[session] = waiting;
		rosters:login(session.username, function (has_roster)
			logins.without[session] = not has_roster or nil;
			release(session);
		end);
	end

	-- Waits for it, in the session's own runner.
	local function try_again(session)
		local wait, done = async.waiter();
		rosters:login(session.username, function (has_roster)
			logins.without[session] = not has_roster or nil;
			done();
		end);
		wait();
		reading.go_on(session);
	end

	function rosters.take_over(_, old)
		for session in pairs(old.without) do logins.without[session] = true; end
		for session, waiting in pairs(old.waiting) do
			old.waiting[session] = nil;
			if session.destroyed then
				for _, done in ipairs(waiting) do done(); end
			else
				begin(session, waiting);
			end
		end
	end

	local stop = rosters.stop;
	function rosters.stop()
		stop(rosters);
		-- Once a reload has taken over what it wants.
		timer.add_task(0, function ()
			for session in pairs(logins.waiting) do release(session); end
		end);
	end

	module:hook("resource-bind", function (event) begin(event.session, {}); end);

	-- Whatever the client sends first waits for the roster: presence sent before would reach no contact, and nothing
	-- would send it again.
	module:hook("pre-stanza", function (event)
		local session = event.origin;
		if not logins.waiting[session] or not async.ready() then return nil; end
		local wait, done = async.waiter();
		table.insert(logins.waiting[session], done);
		wait();
		reading.go_on(session);
		if session.destroyed then return true; end
	end, hold_priority);

	module:hook("iq/self/jabber:iq:roster:query", function (event)
		local session, stanza = event.origin, event.stanza;
		if stanza.attr.type ~= "get" then return nil; end
		if rosters:is_applied(session.username) then logins.without[session] = nil; end
		-- Asking again is what clients do after an error.
		if logins.without[session] and async.ready() then try_again(session); end
		if session.destroyed then return true; end
		if logins.without[session] then
			session.send(st.error_reply(stanza, "wait", "resource-constraint", "The contact list cannot be had now; try again later"));
		else
			serve(session, stanza);
		end
		return true;
	end, serve_priority);

	rosters.logins = logins;
end

local function start(settings, decider, asker, feed)
	-- Its pushes and its stream feature are still wanted. Without it everything else of Warder goes on.
	local is_there, err = pcall(module.depends, module, "roster");
	if not is_there then
		module:log("error", "warder_roster needs mod_roster: %s", err);
		return nil;
	end
	local rosters = refresh.start(settings, decider, asker, feed);
	start_logins(rosters);
	probes.start();

	module:hook("resource-unbind", function (event)
		local username = event.session.username;
		if not prosody.hosts[module.host].sessions[username] then rosters:left(username); end
	end);
	return rosters;
end

return { start = start };
