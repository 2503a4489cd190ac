-- stanza-check: where stanzas pass on their way, and what becomes of them there.
--
-- module:require "stanza_check".start(settings, decider, verdicts, line);

local async = require "util.async";
local jid_bare = require "util.jid".bare;
local jid_host = require "util.jid".host;

local exempt = module:require "exempt";
local reading = module:require "reading";

local hosts = prosody.hosts;
local bare_sessions = prosody.bare_sessions;

local operation = "stanza-check";

-- Below what users block by themselves (mod_blocklist, 100), so that it costs no question; above archives (0) and
-- carbons (-0.5), so that what is denied is in neither.
local priorities = { send = 90, route = 90, ["local"] = 89, receive = 88 };
-- Above the archive, which takes the message there (0), and the offline store (-1).
local offline_priority = 10;

local function is_from_other_server(origin)
	return origin.type == "s2sin" or origin.type == "s2sout";
end

local function has_available_session(jid)
	local user = bare_sessions[jid_bare(jid)];
	for _, session in pairs(user and user.sessions or {}) do
		if session.presence then return true; end
	end
	return false;
end

-- Held hits; beyond that all are let go, and held anew as they come. 0.4 KiB each.
local max_held = 10000;

-- Which of the ways each hook looks at.
local concerns = {
	send = function () return true; end;
	route = function (event) return is_from_other_server(event.origin); end;
	["local"] = function () return true; end;
	receive = function (event) return has_available_session(event.stanza.attr.to or ""); end;
};

local function side_of(from)
	return hosts[jid_host(from)] and "local" or "remote";
end

local function start(settings, decider, verdicts, line)
	local is_exempt = exempt.new(settings.kinds);

	-- A message that may pass is not lost because its sender's session was replaced meanwhile; for all else an answer
	-- or a session would be needed.
	local function pass_on_for_the_gone(event)
		local stanza = event.stanza;
		if stanza.name == "message" then
			exempt.mark_own(stanza);
			module:send(stanza);
		end
		return true;
	end

	-- Looked up one at a time, so one table is enough: Prosody's garbage collector makes each table of a message dear.
	local looked_up = {};

	local function recall(hook, from, stanza)
		local attr = stanza.attr;
		looked_up.hook, looked_up.from, looked_up.to, looked_up.kind, looked_up.type = hook, from, attr.to, stanza.name, attr.type;
		return decider:recall(operation, looked_up);
	end

	-- Messages that were allowed as they were sent, by type, sender and recipient. Whether such a one is checked depends on
	-- nothing else, so nothing else has to be looked at.
	local held, held_count = {}, 0;

	local function hold(from, stanza, verdict)
		local to, type = stanza.attr.to, stanza.attr.type or "";
		if held_count >= max_held then held, held_count = {}, 0; end
		local of_type = held[type] or {};
		local of_sender = of_type[from] or {};
		if not of_sender[to] then held_count = held_count + 1; end
		held[type], of_type[from], of_sender[to] = of_type, of_sender, decider:hold(operation, looked_up, verdict);
	end

	local function is_allowed_again(event)
		local stanza = event.stanza;
		local attr = stanza.attr;
		local of_type = held[attr.type or ""];
		local of_sender = of_type and of_type[attr.from];
		local hit = of_sender and of_sender[attr.to];
		return hit and stanza.name == "message" and not event.origin.destroyed and line:is_empty()
			and decider:again(operation, hit);
	end

	local function ask(hook, from, stanza)
		return decider:ask(operation, side_of(from), {
			hook = hook;
			from = from;
			to = stanza.attr.to;
			kind = stanza.name;
			type = stanza.attr.type;
			stanza = function () return tostring(stanza); end;
		}, verdicts:verify(stanza));
	end

	local function check(hook, event, preevents)
		local origin, stanza = event.origin, event.stanza;
		local is_client = origin.full_jid ~= nil;
		local from, can_wait = stanza.attr.from or origin.full_jid, async.ready();
		-- What is remembered needs no waiting.
		local verdict = (can_wait or not line:holds(event)) and recall(hook, from, stanza) or nil;
		if verdict and verdict.verdict == "allow" and not origin.destroyed then
			if hook == "send" and stanza.name == "message" then hold(from, stanza, verdict); end
			return nil;
		end
		if not verdict then
			if not can_wait then return line:take(event, preevents); end
			verdict = ask(hook, from, stanza);
			reading.go_on(origin);
		end
		local ok, stopped = xpcall(verdicts.apply, debug.traceback, verdicts, operation, hook, event, verdict);
		if not ok then
			module:log("error", "Could not act on %s: %s", verdict.verdict, stopped);
			stopped = verdict.verdict ~= "allow" or nil;
		end
		if not stopped and is_client and origin.destroyed then return pass_on_for_the_gone(event); end
		return stopped;
	end

	local function on_stanza(hook)
		local concerned, preevents = concerns[hook], hook == "send";
		return function (event)
			if preevents and is_allowed_again(event) or not concerned(event) or is_exempt(hook, event) then return nil; end
			return check(hook, event, preevents);
		end;
	end

	for hook in pairs(concerns) do
		if settings.hooks[hook] then
			local prefix, handler = hook == "send" and "pre-" or "", on_stanza(hook);
			for kind in pairs(settings.kinds) do
				module:hook(prefix..kind.."/bare", handler, priorities[hook]);
				module:hook(prefix..kind.."/full", handler, priorities[hook]);
				-- A local account is never asked for at its host.
				if hook ~= "receive" then module:hook(prefix..kind.."/host", handler, priorities[hook]); end
			end
		end
	end

	if settings.hooks.offline and settings.kinds.message then
		module:hook("message/offline/handle", function (event)
			local origin, stanza = event.origin, event.stanza;
			-- What a lost session had not acknowledged comes here a second time, brought by the recipient himself.
			local is_replay = origin.username == event.username and origin.host == module.host
				and jid_bare(stanza.attr.from) ~= event.username.."@"..module.host;
			if is_replay or is_exempt("offline", event) then return nil; end
			return check("offline", event, false);
		end, offline_priority);
	end
end

return { start = start };
