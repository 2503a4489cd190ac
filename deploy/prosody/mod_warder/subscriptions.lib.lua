-- Subscriptions between users: asked about before anything of them happens here, on their way out where they are sent and
-- on their way in where they arrive, which are two questions. Taking one back always passes, and the workers are told.
--
-- module:require "subscriptions".start(relations, verdicts, line);

local async = require "util.async";
local jid = require "util.jid";
local rostermanager = require "core.rostermanager";
local st = require "util.stanza";
local user_exists = require "core.usermanager".user_exists;

local exempt = module:require "exempt";
local reading = module:require "reading";

local hosts = prosody.hosts;
local host = module.host;

local operation = "roster-subscription";

-- Below what users block by themselves and what is denied as any stanza (stanza_check.lib.lua); above mod_presence (0).
local priority = 80;

-- Requests from elsewhere that are being asked about; whoever sends more is told to try again later.
local max_asking = 256;

-- Whether the sender waits for an answer of the workers.
local is_asked = {
	out = { subscribe = true, subscribed = true, unsubscribe = false, unsubscribed = false },
	-- Only a request is new to the user; all else answers what he has asked for, or takes something back.
	["in"] = { subscribe = true, subscribed = false, unsubscribe = false, unsubscribed = false },
};

-- What has had its answer and comes by again, by direction: what went out comes in elsewhere, possibly in this process.
local answered = { out = setmetatable({}, { __mode = "k" }), ["in"] = setmetatable({}, { __mode = "k" }) };

local function side_of(given)
	return hosts[jid.host(given)] and "local" or "remote";
end

local function event_of(direction, user, contact, stanza)
	return {
		user = user, contact = contact, direction = direction, action = stanza.attr.type,
		text = stanza:get_child_text("status"),
	};
end

local function report(event, verdict)
	module:log("info", "%s: %s for %s %s, %s to %s%s", operation, verdict.verdict, event.action, event.direction,
		event.user, event.contact, verdict.reason and (" ("..verdict.reason:sub(1, 200)..")") or "");
end

-- On its way again, in a runner of its own, where hooks of others can wait.
local function post(direction, origin, stanza, preevents)
	answered[direction][stanza] = true;
	exempt.mark_own(stanza);
	local runner = async.runner(function () prosody.core_post_stanza(origin, stanza, preevents); end, {
		error = function (_, err) module:log("error", "A subscription from %s was lost: %s", stanza.attr.from, err); end;
	});
	runner:run(true);
end

local function has(item, direction)
	return item ~= nil and (item.subscription == direction or item.subscription == "both");
end

-- Whether Prosody's roster of the user would become another one.
local changes = {
	subscribed = function (roster, contact) return roster[contact] ~= nil and roster[contact].ask ~= nil; end;
	unsubscribed = function (roster, contact)
		return has(roster[contact], "to") or roster[contact] ~= nil and roster[contact].ask ~= nil;
	end;
	unsubscribe = function (roster, contact)
		return has(roster[contact], "from") or roster[false].pending[contact] ~= nil;
	end;
};

-- A request that is nothing new: mod_presence grants it again, or the user has it before him already. Servers repeat
-- their users' open requests at each login.
local function is_settled(username, contact)
	return rostermanager.is_contact_subscribed(username, host, contact)
		or rostermanager.is_contact_pending_in(username, host, contact);
end

local function start_out(relations, verdicts, line)
	local function refuse(event, about, verdict)
		report(about, verdict);
		event.origin.send(verdicts:error_reply(operation, event.stanza, verdict));
		return true;
	end

	local function on_out(event)
		local origin, stanza = event.origin, event.stanza;
		local asked, to, from = is_asked.out[stanza.attr.type], stanza.attr.to, stanza.attr.from;
		-- What a client sends is stamped with its full JID; what the server sends for its users has their bare one.
		if asked == nil or answered.out[stanza] or not to or not from or not jid.resource(from) then return nil; end
		local user, contact = jid.bare(from), jid.bare(to);
		if user == contact then return nil; end
		if asked and not async.ready() then return line:take(event, true); end
		local about = event_of("out", user, contact, stanza);
		if not asked then
			relations:tell(about);
			return nil;
		end
		local verdict = relations:wait("local", about);
		reading.go_on(origin);
		if verdict.verdict ~= "allow" then return refuse(event, about, verdict); end
		if not origin.destroyed then return nil; end
		-- Its session was replaced meanwhile, but the workers know of it by now.
		post("out", hosts[host], stanza, true);
		return true;
	end

	for _, to in ipairs({ "bare", "full", "host" }) do module:hook("pre-presence/"..to, on_out, priority); end
end

local function start_in(relations, verdicts)
	-- By contact and user. A request waits outside of its sender's stream: one from another server would hold up all of
	-- that server's users, and Prosody walks a roster while it repeats its own users' requests.
	local asking, asking_count = {}, 0;

	local function reply(stanza)
		exempt.mark_own(stanza);
		module:send(stanza);
	end

	local function defer(request, verdict)
		reply(verdicts:error_reply(operation, request.stanza, verdict));
	end

	local function settle(request, verdict)
		local about, word = request.about, verdict.verdict;
		if request.withdrawn then return; end
		if word == "allow" or is_settled(request.username, about.contact) then
			post("in", request.origin.destroyed and hosts[host] or request.origin, request.stanza);
			return;
		end
		report(about, verdict);
		if word == "defer" then
			defer(request, verdict);
		elseif word ~= "drop" then
			reply(st.presence({ type = "unsubscribed", from = about.user, to = about.contact }));
		end
	end

	local function on_request(origin, stanza, about)
		local key = about.contact.." "..about.user;
		if asking[key] and not asking[key].withdrawn then return; end
		-- Who sends it may use the same one for others.
		local request = { origin = origin, stanza = st.clone(stanza), about = about, username = jid.node(about.user) };
		request.stanza.attr.to = about.user;
		if asking_count >= max_asking then
			module:log("warn", "%d requests for subscription wait for an answer; no more are taken", asking_count);
			return defer(request, { verdict = "defer" });
		end
		asking[key], asking_count = request, asking_count + 1;
		relations:ask(side_of(about.contact), about, function (verdict)
			asking_count = asking_count - 1;
			if asking[key] == request then asking[key] = nil; end
			local ok, err = xpcall(settle, debug.traceback, request, verdict);
			if not ok then module:log("error", "Could not act on %s: %s", verdict.verdict, err); end
		end);
	end

	local function withdraw(user, contact)
		local request = asking[contact.." "..user];
		if request then request.withdrawn = true; end
	end

	local function on_in(event)
		local origin, stanza = event.origin, event.stanza;
		local type, to, from = stanza.attr.type, stanza.attr.to, stanza.attr.from;
		local asked = is_asked["in"][type];
		if asked == nil or answered["in"][stanza] or not to or not from then return nil; end
		local user, contact = jid.bare(to), jid.bare(from);
		local username = jid.node(user);
		if user == contact or not user_exists(username, host) then return nil; end
		local about = event_of("in", user, contact, stanza);
		if asked then
			if is_settled(username, contact) then return nil; end
			on_request(origin, stanza, about);
			return true;
		end
		if type == "unsubscribe" then withdraw(user, contact); end
		-- Prosody's own answers come whether there is something to answer or not.
		if origin.type ~= "local" or changes[type](rostermanager.load_roster(username, host), contact) then
			relations:tell(about);
		end
		return nil;
	end

	module:hook("presence/bare", on_in, priority);
	module:hook("presence/full", on_in, priority);
end

local function start(relations, verdicts, line)
	start_out(relations, verdicts, line);
	start_in(relations, verdicts);
end

return { start = start };
